"""The outbox keeps what it was given, in order, over restarts, damage and full disks."""

import contextlib
import logging
import os
import random
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge.errors import DeliveryError
from edge.mqtt.outbox import Outbox
from tests.fakes.clock import FakeClock

SEED = 20_261_122
YEAR_S = 365 * 86_400.0


def payload(seq: int) -> bytes:
    return f"event {seq}".encode()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "outbox.sqlite"


@pytest.fixture
def reopen(path: Path, clock: FakeClock) -> Callable[..., Outbox]:
    def open_(max_events: int = 1000, max_age_s: float = 3600) -> Outbox:
        return Outbox(path, max_events=max_events, max_age_s=max_age_s, clock=clock)

    return open_


def stored(box: Outbox) -> list[int]:
    return [event.seq for event in box.batch(0, 10_000)]


def test_events_wait_in_order_and_leave_when_acknowledged(reopen: Callable[..., Outbox]) -> None:
    box = reopen()
    assert [box.append([payload])[0] for _ in range(5)] == [1, 2, 3, 4, 5]
    assert [(event.seq, event.payload) for event in box.batch(1, 2)] == [(2, b"event 2"), (3, b"event 3")]
    box.acknowledge(1, 3)
    box.acknowledge(3)
    assert (stored(box), box.depth(), box.dropped) == ([2, 4, 5], 3, 0)
    box.close()


def test_seq_goes_on_after_a_restart_with_an_empty_outbox(reopen: Callable[..., Outbox]) -> None:
    box = reopen()
    box.acknowledge(*[box.append([payload])[0] for _ in range(3)])
    box.close()
    box = reopen()
    assert (box.depth(), box.append([payload])[0]) == (0, 4)
    box.close()


def test_a_number_is_not_used_up_when_the_event_cannot_be_built(reopen: Callable[..., Outbox]) -> None:
    box = reopen()
    with pytest.raises(ZeroDivisionError):
        box.append([lambda seq: bytes(seq // 0)])
    assert (box.append([payload])[0], stored(box)) == (1, [1])
    box.close()


def test_events_of_one_frame_are_one_write_and_all_or_none_are_stored(reopen: Callable[..., Outbox]) -> None:
    box = reopen()
    box.append([payload])
    before = box.commits
    assert box.append([payload] * 5) == [2, 3, 4, 5, 6]
    assert box.commits - before == 1
    with pytest.raises(ZeroDivisionError):
        box.append([payload, payload, lambda seq: bytes(seq // 0)])
    assert (box.append([payload, payload]), stored(box), box.depth()) == ([7, 8], list(range(1, 9)), 8)
    assert [event.payload for event in box.batch(0, 10)] == [payload(seq) for seq in range(1, 9)]
    box.close()


def test_more_events_at_once_than_are_kept_leave_the_newest_and_a_count(reopen: Callable[..., Outbox]) -> None:
    box = reopen(max_events=3)
    assert box.append([payload] * 5) == [1, 2, 3, 4, 5]
    assert (stored(box), box.depth(), box.dropped) == ([3, 4, 5], 3, 2)
    box.close()


def test_the_oldest_go_first_when_there_are_too_many_and_are_counted(reopen: Callable[..., Outbox]) -> None:
    box = reopen(max_events=3)
    for _ in range(5):
        box.append([payload])
    assert (stored(box), box.dropped) == ([3, 4, 5], 2)
    box.close()
    box = reopen(max_events=2)
    box.append([payload])
    assert (stored(box), box.depth(), box.dropped) == ([5, 6], 2, 4)
    box.close()


def test_too_old_events_are_given_up_and_counted(reopen: Callable[..., Outbox], clock: FakeClock) -> None:
    box = reopen(max_age_s=60)
    box.append([payload])
    clock.pass_time(40)
    box.append([payload])
    clock.pass_time(30)
    assert (stored(box), box.dropped) == ([2], 1)
    clock.pass_time(100)
    box.append([payload])
    assert (stored(box), box.dropped) == ([3], 2)
    box.close()


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(actions=st.lists(st.sampled_from(["append", "append", "acknowledge", "reopen", "fail"]), max_size=25))
def test_nothing_is_lost_or_numbered_twice(tmp_path_factory: pytest.TempPathFactory, actions: list[str]) -> None:
    where = tmp_path_factory.mktemp("box") / "outbox.sqlite"
    limit = 6
    box = Outbox(where, max_events=limit, max_age_s=3600)
    expected: list[int] = []
    last = dropped = 0
    for action in actions:
        if action == "append":
            last += 1
            assert box.append([payload])[0] == last
            expected.append(last)
            dropped += max(0, len(expected) - limit)
            expected = expected[-limit:]
        elif action == "acknowledge" and expected:
            box.acknowledge(expected.pop(len(expected) // 2))
        elif action == "reopen":
            box.close()
            box = Outbox(where, max_events=limit, max_age_s=3600)
        elif action == "fail":
            with pytest.raises(KeyError):
                box.append([lambda seq: dict[int, bytes]()[seq]])
        assert (stored(box), box.depth(), box.dropped) == (expected, len(expected), dropped)
    box.close()


def test_a_killed_process_loses_nothing_that_was_stored(path: Path, reopen: Callable[..., Outbox]) -> None:
    script = (
        "import os, pathlib, signal, sys; from edge.mqtt.outbox import Outbox\n"
        "box = Outbox(pathlib.Path(sys.argv[1]), max_events=100, max_age_s=1e9)\n"
        "for _ in range(7): box.append([lambda seq: b'event %d' % seq])\n"
        "box.acknowledge(1)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    subprocess.run(
        [sys.executable, "-c", script, str(path)], check=False, timeout=60, env={**os.environ, "PYTHONPATH": "."}
    )
    box = reopen(max_age_s=1e9)
    assert (stored(box), box.append([payload])[0]) == ([2, 3, 4, 5, 6, 7], 8)
    box.close()


def test_one_thread_appends_while_another_reads_and_acknowledges(reopen: Callable[..., Outbox]) -> None:
    box = reopen()
    seen: list[int] = []

    def read() -> None:
        while len(seen) < 200:
            for event in box.batch(seen[-1] if seen else 0, 20):
                seen.append(event.seq)
                box.acknowledge(event.seq)

    reader = threading.Thread(target=read)
    reader.start()
    for _ in range(200):
        box.append([payload])
    reader.join(60)
    assert (seen, box.depth()) == (list(range(1, 201)), 0)
    box.close()


def test_what_is_no_database_is_set_aside_and_seq_jumps_ahead(
    path: Path, reopen: Callable[..., Outbox], clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    path.parent.mkdir()
    path.write_bytes(b"this was never a database" * 100)
    with caplog.at_level(logging.ERROR):
        box = reopen()
    assert [box.append([payload])[0], box.append([payload])[0]] == [
        int(clock.unix_s() * 1000) + 1,
        int(clock.unix_s() * 1000) + 2,
    ]
    box.close()
    (aside,) = path.parent.glob("outbox.sqlite.damaged-*")
    assert aside.read_bytes().startswith(b"this was never")
    assert "is damaged; set aside as outbox.sqlite.damaged-" in caplog.text


def test_a_damaged_database_whose_numbers_can_be_read_is_continued(
    path: Path, reopen: Callable[..., Outbox], caplog: pytest.LogCaptureFixture
) -> None:
    box = reopen()
    for _ in range(300):
        box.append([lambda seq: payload(seq) * 100])
    box.close()
    raw = bytearray(path.read_bytes())
    raw[-4096 * 8 :] = os.urandom(4096 * 8)  # the last pages: events
    path.write_bytes(raw)
    box = reopen()
    assert "is damaged" in caplog.text
    assert (0 < box.depth() < 300, box.depth() + box.dropped, box.append([payload])[0]) == (True, 300, 301)
    box.close()


def test_a_start_that_was_cut_off_while_repairing_does_not_number_twice(
    path: Path, reopen: Callable[..., Outbox], clock: FakeClock
) -> None:
    path.parent.mkdir()
    (path.parent / "outbox.sqlite.damaged-20250101T000000Z").write_bytes(b"x")
    path.write_bytes(b"")
    box = reopen()
    assert box.append([payload])[0] > clock.unix_s()
    box.close()


def test_another_daemon_on_the_same_outbox_is_refused(reopen: Callable[..., Outbox]) -> None:
    box = reopen()
    with pytest.raises(DeliveryError, match="another emotion-edge uses it"):
        reopen()
    box.close()
    reopen().close()


def test_an_outbox_of_a_newer_version_is_refused_and_left_alone(path: Path, reopen: Callable[..., Outbox]) -> None:
    reopen().close()
    database = sqlite3.connect(path)
    database.execute("PRAGMA user_version = 99")
    database.close()
    with pytest.raises(DeliveryError, match="a newer emotion-edge made it"):
        reopen()
    assert not list(path.parent.glob("*.damaged-*"))


def test_a_full_disk_is_said_and_events_wait_in_memory_until_there_is_room(
    reopen: Callable[..., Outbox], clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    box = reopen()
    for _ in range(3):
        box.append([payload])
    # SQLite's own answer to a full disk, without filling one.
    box._store._writer.execute("PRAGMA max_page_count = 1")
    assert box.append([lambda seq: payload(seq) * 1000])[0] == 4
    assert not box.on_disk
    box.acknowledge(1)
    assert (stored(box), box.append([payload])[0]) == ([2, 3, 4], 5)
    (record,) = caplog.records
    assert "the disk is full; free some space; until then events wait in memory" in record.message
    assert "\n" not in record.message
    clock.pass_time(61)
    assert stored(box) == [2, 3, 4, 5]
    assert box.on_disk
    assert "can be written again" in caplog.text
    box.close()
    box = reopen()
    assert (stored(box), box.append([payload])[0], box.dropped) == ([2, 3, 4, 5], 6, 0)
    box.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a small disk")
def test_a_disk_that_is_really_full(tmp_path: Path, clock: FakeClock) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "none", disk], check=False, capture_output=True
    )
    if mounted.returncode:
        pytest.skip(f"no disk can be mounted here: {mounted.stderr.decode().strip()}")
    try:
        box = Outbox(disk / "outbox.sqlite", max_events=10_000, max_age_s=3600, clock=clock)
        for _ in range(20):
            box.append([payload])
        (disk / "other").write_bytes(b"")
        with contextlib.suppress(OSError), (disk / "other").open("wb", buffering=0) as other:
            while True:
                other.write(bytes(512))
        for _ in range(300):
            box.append([lambda seq: payload(seq).ljust(1000)])
        assert not box.on_disk
        box.acknowledge(*range(1, 11))
        assert stored(box) == list(range(11, 321))
        (disk / "other").unlink()
        box.acknowledge(*range(11, 301))
        clock.pass_time(61)
        assert (stored(box), box.on_disk) == (list(range(301, 321)), True)
        box.close()
        box = Outbox(disk / "outbox.sqlite", max_events=10_000, max_age_s=3600, clock=clock)
        assert (stored(box), box.append([payload])[0], box.dropped) == (list(range(301, 321)), 321, 0)
        box.close()
    finally:
        subprocess.run(["umount", disk], check=True)


def test_a_process_that_is_killed_while_events_wait_in_memory_gives_no_number_twice(
    path: Path, reopen: Callable[..., Outbox], clock: FakeClock
) -> None:
    box = reopen()
    box.append([payload])
    box._store._writer.execute("PRAGMA max_page_count = 1")
    assert box.append([lambda seq: payload(seq) * 1000])[0] == 2
    # As a kill would leave it: nothing is closed, nothing goes back to the disk.
    os.close(box._lock_file._descriptor)
    box._lock_file._descriptor = -1
    box._store.abandon()
    box = reopen()
    assert box.append([payload])[0] > clock.unix_s()
    box.close()


@pytest.mark.parametrize("folder", ["/proc/self/emotion-edge", "file"])
def test_a_folder_that_cannot_be_written_does_not_stop_anything(
    folder: str, tmp_path: Path, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    box = Outbox(tmp_path / folder / "outbox.sqlite", max_events=100, max_age_s=60, clock=clock)
    assert [box.append([payload])[0] for _ in range(3)] == [1, 2, 3]
    clock.pass_time(61)
    assert (box.append([payload])[0], stored(box), box.dropped, box.on_disk) == (4, [4], 3, False)
    assert caplog.text.count("cannot be written; check state_dir") == 1
    box.close()


def test_a_read_only_disk_gives_what_it_holds(
    path: Path, reopen: Callable[..., Outbox], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    box = reopen()
    for _ in range(3):
        box.append([payload])
    box.close()
    before = path.read_bytes()

    def read_only(path: Path, *, synchronous: str) -> sqlite3.Connection:
        return sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, isolation_level=None)

    monkeypatch.setattr("edge.mqtt.outbox_file.connect", read_only)
    monkeypatch.setattr("edge.mqtt.outbox.connect", read_only)
    box = reopen()
    assert (stored(box), box.append([payload])[0]) == ([1, 2, 3], 4)
    assert not box.on_disk
    assert "cannot be written" in caplog.text
    box._lock_file.close()
    box._store.abandon()
    assert path.read_bytes() == before


@pytest.mark.parametrize("jump_s", [YEAR_S, -YEAR_S])
def test_a_date_that_jumps_drops_nothing_and_ages_go_on(
    reopen: Callable[..., Outbox], clock: FakeClock, jump_s: float
) -> None:
    box = reopen(max_age_s=60)
    box.append([payload])
    clock.pass_time(20)
    clock.jump(jump_s)
    box.append([payload])
    assert [box.age_s(event) for event in box.batch(0, 9)] == pytest.approx([20, 0])
    box.close()
    clock.jump(jump_s)
    clock.pass_time(20)
    box = reopen(max_age_s=60)
    assert [box.age_s(event) for event in box.batch(0, 9)] == pytest.approx([40, 20])
    clock.pass_time(30)
    assert (stored(box), box.dropped) == ([2], 1)
    box.close()


def test_over_a_reboot_events_age_by_the_date_where_it_is_known(
    reopen: Callable[..., Outbox], clock: FakeClock
) -> None:
    box = reopen(max_age_s=1000)
    box.append([payload])
    box.close()
    clock.reboot(away_s=600)
    box = reopen(max_age_s=1000)
    assert [box.age_s(event) for event in box.batch(0, 9)] == pytest.approx([600])
    box.close()
    clock.knows_date = False
    clock.reboot(away_s=YEAR_S)
    box = reopen(max_age_s=1000)
    assert stored(box) == [1], "nobody knows how long it was away: kept"
    box.close()


def test_bytes_are_bounded_too(path: Path, clock: FakeClock) -> None:
    box = Outbox(path, max_events=1000, max_age_s=60, max_bytes=1000, clock=clock)
    for _ in range(10):
        box.append([lambda _: bytes(300)])
    assert (stored(box), box.dropped) == ([8, 9, 10], 7)
    box.append([lambda _: bytes(5000)])
    assert (stored(box), box.dropped) == ([11], 10), "the newest is kept, whatever its size"
    box.close()


@pytest.mark.parametrize("synchronous", ["off", "normal", "full"])
def test_what_reaches_the_disk_when_is_as_set(path: Path, clock: FakeClock, synchronous: Any) -> None:
    box = Outbox(path, max_events=9, max_age_s=60, synchronous=synchronous, clock=clock)
    box.append([payload])
    levels = [db.execute("PRAGMA synchronous").fetchone()[0] for db in (box._store._writer, box._store._reader)]
    assert levels == {"off": [0, 0], "normal": [1, 1], "full": [2, 1]}[synchronous]
    assert box.commits >= 1
    box.close()


@pytest.mark.parametrize("when", ["between two starts", "while it is used"])
def test_damage_at_random_bytes_a_hundred_times(
    when: str, tmp_path: Path, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    """What is read is what was stored, in order; the rest is counted; the outbox goes on and gives no number twice."""
    chance = random.Random(SEED)
    kept = lost = set_aside = 0
    for round_ in range(50):
        path = tmp_path / str(round_) / "outbox.sqlite"
        box = Outbox(path, max_events=1000, max_age_s=3600, synchronous="off", clock=clock)
        for _ in range(60):
            box.append([lambda seq: b"event %d " % seq * 20])
        if when == "between two starts":
            box.close()
            _damage(path, chance)
            box = Outbox(path, max_events=1000, max_age_s=3600, synchronous="off", clock=clock)
        else:
            box._store._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            for database in (box._store._writer, box._store._reader):
                database.execute("PRAGMA cache_size = 0")
            _damage(path, chance)
        for _ in range(5):
            events = box.batch(0, 1000)
            assert all(event.payload == b"event %d " % event.seq * 20 for event in events)
            assert [event.seq for event in events] == sorted({event.seq for event in events})
            seq = box.append([lambda seq: b"event %d " % seq * 20])[0]
            assert seq > 60
            assert box.batch(seq - 1, 9)[0].seq == seq
        found = [event.seq for event in box.batch(0, 1000) if event.seq <= 60]
        kept, lost, set_aside = kept + len(found), lost + 60 - len(found), set_aside + box.set_aside
        if found != list(range(1, 61)):
            assert box.dropped > 0 or box.append([payload])[0] > clock.unix_s(), "a loss is counted, or seen as a gap"
        box.close()
    assert set_aside > 10
    assert kept > 500, "what can be read is saved"
    assert not any(record.exc_info for record in caplog.records)


def _damage(path: Path, chance: random.Random) -> None:
    """A few bytes, a sector, or everything behind some place."""
    raw = bytearray(path.read_bytes())
    how = chance.randrange(3)
    if how == 0:
        for _ in range(chance.randrange(1, 40)):
            raw[chance.randrange(len(raw))] = chance.randrange(256)
    elif how == 1:
        at = chance.randrange(len(raw)) // 512 * 512
        raw[at : at + 512] = chance.randbytes(512)
    else:
        del raw[chance.randrange(100, len(raw)) :]
    path.write_bytes(raw)  # in place: the same file, also for whoever has it open
