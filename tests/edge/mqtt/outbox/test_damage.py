"""Damage is found, what cannot be read is counted as lost, and no number is given twice."""

import contextlib
import logging
import os
import random
import sqlite3
from pathlib import Path

import pytest

from edge.errors import ConfigError
from edge.mqtt.outbox import Outbox
from tests.fakes.clock import FakeClock
from tests.fakes.outbox import EVENT, Opens, long_event, payload, stored

SEED = 20_261_122
WHEN = ["between two starts", "while it is used"]


def test_what_is_no_database_is_set_aside_and_seq_jumps_ahead(
    path: Path, reopen: Opens, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    path.parent.mkdir()
    path.write_bytes(b"this was never a database" * 100)
    with caplog.at_level(logging.ERROR):
        box = reopen()
    assert [box.append([EVENT])[0], box.append([EVENT])[0]] == [
        int(clock.unix_s() * 1000) + 1,
        int(clock.unix_s() * 1000) + 2,
    ]
    box.close()
    (aside,) = path.parent.glob("outbox.sqlite.damaged-*")
    assert aside.read_bytes().startswith(b"this was never")
    assert "is damaged; set aside as outbox.sqlite.damaged-" in caplog.text


def test_damaged_database_with_readable_numbers_is_continued(
    path: Path, reopen: Opens, caplog: pytest.LogCaptureFixture
) -> None:
    box = reopen()
    for _ in range(300):
        box.append([long_event(1000)])
    box.close()
    raw = bytearray(path.read_bytes())
    raw[-4096 * 8 :] = os.urandom(4096 * 8)  # the last pages: events
    path.write_bytes(raw)
    box = reopen()
    assert "is damaged" in caplog.text
    assert (0 < box.depth < 300, box.depth + box.dropped, box.append([EVENT])[0]) == (True, 300, 301)
    box.close()


def test_interrupted_repair_gives_no_number_twice(path: Path, reopen: Opens, clock: FakeClock) -> None:
    path.parent.mkdir()
    (path.parent / "outbox.sqlite.damaged-20250101T000000Z").write_bytes(b"x")
    path.write_bytes(b"")
    box = reopen()
    assert box.append([EVENT])[0] > clock.unix_s()
    box.close()


def test_an_outbox_of_a_newer_version_is_refused_and_left_alone(path: Path, reopen: Opens) -> None:
    reopen().close()
    change(path, "PRAGMA user_version = 99", f"PRAGMA application_id = {0x454F0000 + 99}")
    with pytest.raises(ConfigError, match="a newer emotion-edge made it") as caught:
        reopen()
    assert caught.value.exit_code == 78, "the service is not started again and again"
    assert not list(path.parent.glob("*.damaged-*"))


def test_format_nobody_wrote_is_damage_and_no_newer_version(path: Path, reopen: Opens) -> None:
    box = reopen()
    box.append([EVENT])
    box.close()
    change(path, "PRAGMA user_version = 66")
    box = reopen()
    assert (stored(box), box.append([EVENT])[0], box.set_aside) == ([1], 2, 1)
    box.close()


def test_outbox_gives_no_number_twice_after_a_flipped_bit(path: Path, reopen: Opens, clock: FakeClock) -> None:
    box = reopen(synchronous="off")
    box.acknowledge(*box.append([EVENT] * 1000))
    box.close()
    sound = path.read_bytes()
    at = sound.rindex(b"seq" + (1000).to_bytes(2)) + 3
    for bit in range(16):
        raw = bytearray(sound)
        raw[at + bit // 8] ^= 1 << bit % 8
        path.write_bytes(raw)
        box = reopen(synchronous="off")
        assert (box.append([EVENT])[0], box.set_aside) == (int(clock.unix_s() * 1000) + 1, 1)
        box.close()


@pytest.mark.parametrize("when", WHEN)
def test_a_counter_that_is_too_low_costs_no_event(when: str, path: Path, reopen: Opens) -> None:
    box = reopen()
    box.append([EVENT] * 9)
    too_low = "UPDATE counter SET value = 4, twin = ~4 WHERE name = 'seq'"
    if when == "between two starts":
        box.close()
        change(path, too_low)
        box = reopen()
    else:
        change(path, too_low)
    assert (box.append([EVENT]), stored(box), box.set_aside) == ([10], list(range(1, 11)), 1)
    assert box.batch(9, 1)[0].payload == payload(10)
    box.close()


@pytest.mark.parametrize("when", WHEN)
@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE event SET stored_s = x'0102' WHERE seq = 1",
        "UPDATE event SET stored_s = 'long ago' WHERE seq = 2",
        "UPDATE event SET stored_s = stored_s - 7 WHERE seq = 2",
        "UPDATE event SET payload = 'event 2' WHERE seq = 2",
        "UPDATE event SET seq = 77 WHERE seq = 2",
        "DELETE FROM counter WHERE name = 'seq'",
        "DELETE FROM counter WHERE name = 'depth'",
        "DELETE FROM counter",
        "UPDATE counter SET value = 'many' WHERE name = 'bytes'",
        "UPDATE counter SET value = value + 1 WHERE name = 'dropped'",
        "UPDATE time SET outbox_s = x'0102'",
        "UPDATE time SET outbox_s = 9e99",
        "UPDATE time SET stamp = 5",
    ],
)
def test_rows_never_written_are_damage_and_stop_nothing(when: str, damage: str, path: Path, reopen: Opens) -> None:
    box = reopen(synchronous="off")
    box.append([EVENT] * 3)
    if when == "between two starts":
        box.close()
        change(path, damage)
        box = reopen(synchronous="off")
        assert box.set_aside == 1
    else:
        change(path, damage)
    assert box.append([EVENT])[0] > 3
    waiting = box.batch(0, 9)
    assert {1, 3} <= {event.seq for event in waiting} | ({1} if "seq = 1" in damage else set())
    assert all(event.payload == payload(event.seq) for event in waiting)
    assert 0 <= box.depth == len(waiting)
    box.close()


def test_damaged_event_counts_as_dropped_if_the_depth_is_unknown(path: Path, reopen: Opens) -> None:
    box = reopen()
    box.append([EVENT] * 3)
    box.close()
    change(path, "UPDATE event SET payload = x'00' WHERE seq = 2", "DELETE FROM counter WHERE name = 'depth'")
    box = reopen()
    assert (stored(box), box.dropped, box.append([EVENT])) == ([1, 3], 1, [4])
    box.close()


@pytest.mark.slow("damages a hundred files")
@pytest.mark.parametrize("when", WHEN)
@pytest.mark.parametrize("waiting", [60, 0])
def test_damage_at_random_bytes_a_hundred_times(
    when: str,
    waiting: int,
    tmp_path: Path,
    clock: FakeClock,
    connections: list[sqlite3.Connection],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """What is read is what was stored, in order; the rest is counted; the outbox goes on and gives no number twice."""
    chance = random.Random(SEED)
    kept = set_aside = 0
    for round_ in range(50):
        path = tmp_path / str(round_) / "outbox.sqlite"
        box = Outbox(path, max_events=1000, max_age_s=3600, synchronous="off", clock=clock)
        for _ in range(60):
            box.append([long_event(180)])
        box.acknowledge(*range(1, 61 - waiting))
        if when == "between two starts":
            box.close()
            _damage(path, chance)
            box = Outbox(path, max_events=1000, max_age_s=3600, synchronous="off", clock=clock)
        else:
            connections[-2].execute("PRAGMA wal_checkpoint(TRUNCATE)")
            for database in connections[-2:]:
                database.execute("PRAGMA cache_size = 0")
            _damage(path, chance)
        for _ in range(5):
            events = box.batch(0, 1000)
            assert all(event.payload == payload(event.seq, 180) for event in events)
            assert [event.seq for event in events] == sorted({event.seq for event in events})
            seq = box.append([long_event(180)])[0]
            assert seq > 60
            assert box.batch(seq - 1, 9)[0].seq == seq
        found = [event.seq for event in box.batch(0, 1000) if event.seq <= 60]
        kept, set_aside = kept + len(found), set_aside + box.set_aside
        if len(found) != waiting:
            assert box.dropped > 0 or box.append([EVENT])[0] > clock.unix_s(), "a loss is counted, or seen as a gap"
        box.close()
    assert set_aside > 10
    assert kept > 500 or not waiting, "what can be read is saved"
    assert not any(record.exc_info for record in caplog.records)


def change(path: Path, *statements: str) -> None:
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as database:
        for statement in statements:
            database.execute(statement)


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
