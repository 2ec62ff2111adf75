"""The outbox keeps what it was given, in order, over restarts, damage and full disks."""

import logging
import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge.errors import DeliveryError
from edge.mqtt.outbox import Outbox


class FakeClock:
    def __init__(self) -> None:
        self.now_s = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now_s


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
    assert [box.append(payload) for _ in range(5)] == [1, 2, 3, 4, 5]
    assert [(event.seq, event.payload) for event in box.batch(1, 2)] == [(2, b"event 2"), (3, b"event 3")]
    box.acknowledge(1, 3)
    box.acknowledge(3)
    assert (stored(box), box.depth(), box.dropped) == ([2, 4, 5], 3, 0)
    box.close()


def test_seq_goes_on_after_a_restart_with_an_empty_outbox(reopen: Callable[..., Outbox]) -> None:
    box = reopen()
    box.acknowledge(*[box.append(payload) for _ in range(3)])
    box.close()
    box = reopen()
    assert (box.depth(), box.append(payload)) == (0, 4)
    box.close()


def test_a_number_is_not_used_up_when_the_event_cannot_be_built(reopen: Callable[..., Outbox]) -> None:
    box = reopen()
    with pytest.raises(ZeroDivisionError):
        box.append(lambda seq: bytes(seq // 0))
    assert (box.append(payload), stored(box)) == (1, [1])
    box.close()


def test_the_oldest_go_first_when_there_are_too_many_and_are_counted(reopen: Callable[..., Outbox]) -> None:
    box = reopen(max_events=3)
    for _ in range(5):
        box.append(payload)
    assert (stored(box), box.dropped) == ([3, 4, 5], 2)
    box.close()
    box = reopen(max_events=2)
    box.append(payload)
    assert (stored(box), box.depth(), box.dropped) == ([5, 6], 2, 4)
    box.close()


def test_too_old_events_are_given_up_and_counted(reopen: Callable[..., Outbox], clock: FakeClock) -> None:
    box = reopen(max_age_s=60)
    box.append(payload)
    clock.now_s += 40
    box.append(payload)
    clock.now_s += 30
    assert (stored(box), box.dropped) == ([2], 1)
    clock.now_s += 100
    box.append(payload)
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
            assert box.append(payload) == last
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
                box.append(lambda seq: dict[int, bytes]()[seq])
        assert (stored(box), box.depth(), box.dropped) == (expected, len(expected), dropped)
    box.close()


def test_a_killed_process_loses_nothing_that_was_stored(path: Path, reopen: Callable[..., Outbox]) -> None:
    script = (
        "import os, pathlib, signal, sys; from edge.mqtt.outbox import Outbox\n"
        "box = Outbox(pathlib.Path(sys.argv[1]), max_events=100, max_age_s=1e9)\n"
        "for _ in range(7): box.append(lambda seq: b'event %d' % seq)\n"
        "box.acknowledge(1)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    subprocess.run(
        [sys.executable, "-c", script, str(path)], check=False, timeout=60, env={**os.environ, "PYTHONPATH": "."}
    )
    box = reopen(max_age_s=1e9)
    assert (stored(box), box.append(payload)) == ([2, 3, 4, 5, 6, 7], 8)
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
        box.append(payload)
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
    assert [box.append(payload), box.append(payload)] == [int(clock.now_s * 1000) + 1, int(clock.now_s * 1000) + 2]
    box.close()
    (aside,) = path.parent.glob("outbox.sqlite.damaged-*")
    assert aside.read_bytes().startswith(b"this was never")
    assert "is damaged; set aside as outbox.sqlite.damaged-" in caplog.text


def test_a_damaged_database_whose_numbers_can_be_read_is_continued(
    path: Path, reopen: Callable[..., Outbox], caplog: pytest.LogCaptureFixture
) -> None:
    box = reopen()
    for _ in range(300):
        box.append(lambda seq: payload(seq) * 100)
    box.close()
    raw = bytearray(path.read_bytes())
    raw[-4096 * 8 :] = os.urandom(4096 * 8)  # the last pages: events
    path.write_bytes(raw)
    box = reopen()
    assert "is damaged" in caplog.text
    assert (box.depth(), box.append(payload)) == (0, 301)
    box.close()


def test_a_start_that_was_cut_off_while_repairing_does_not_number_twice(
    path: Path, reopen: Callable[..., Outbox], clock: FakeClock
) -> None:
    path.parent.mkdir()
    (path.parent / "outbox.sqlite.damaged-20250101T000000Z").write_bytes(b"x")
    path.write_bytes(b"")
    box = reopen()
    assert box.append(payload) > clock.now_s
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


def test_a_full_disk_is_one_line_and_what_was_stored_stays(reopen: Callable[..., Outbox]) -> None:
    box = reopen()
    box.append(payload)
    box._append_db.execute("PRAGMA max_page_count = 8")  # SQLite's own answer to a full disk, without filling one
    with pytest.raises(DeliveryError, match="the disk is full; free some space") as raised:
        box.append(lambda _: bytes(100_000))
    assert "\n" not in str(raised.value)
    assert (stored(box), box.append(payload)) == ([1], 2)
    box.close()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(DeliveryError, match="cannot be written"):
        Outbox(tmp_path / "outbox.sqlite", max_events=1, max_age_s=1)


def test_a_state_folder_that_is_a_file_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("")
    with pytest.raises(DeliveryError, match=r"cannot be written: .*; check state_dir"):
        Outbox(tmp_path / "state" / "outbox.sqlite", max_events=1, max_age_s=1)
