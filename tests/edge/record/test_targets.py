"""Databases and files: a row is stored once, and is there after a restart."""

import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa

from edge.errors import UsageError
from edge.record.database import EVENT, open_engine
from edge.record.messages import Row, read
from edge.record.targets import TargetAwayError, open_target

Rows = Callable[..., Row]


def seqs(path: Path) -> list[int]:
    engine = open_engine(str(path))
    with engine.connect() as connection:
        found = list(connection.execute(sa.select(EVENT.c.seq).order_by(EVENT.c.seq)).scalars())
    engine.dispose()
    return found


def test_target_stores_an_event_once(target_file: Path, row: Rows) -> None:
    first, second = row(seq=1), row(seq=2)
    target = open_target(str(target_file))
    assert target.store([first, second, first]) == (2, 0)
    assert target.store([second, row(seq=3)]) == (1, 0)
    target.close()
    target = open_target(str(target_file))
    assert target.store([first, row(seq=4)]) == (1, 0)
    target.close()
    assert seqs(target_file) == [1, 2, 3, 4]


def test_target_tells_devices_apart(target_file: Path, row: Rows) -> None:
    target = open_target(str(target_file))
    same_id = row(device="hall").values["id"]
    assert target.store([row(id=same_id), row(id=same_id, device="door"), row(id=same_id)]) == (2, 0)
    target.close()


@pytest.mark.parametrize("cut", [1, 100])
@pytest.mark.parametrize("suffix", ["jsonl", "csv"])
def test_lines_remove_one_that_a_kill_has_cut(suffix: str, cut: int, tmp_path: Path, row: Rows) -> None:
    path = tmp_path / f"events.{suffix}"
    torn = row(seq=2)
    target = open_target(str(path))
    target.store([row(seq=1), torn])
    target.close()
    os.truncate(path, path.stat().st_size - cut)
    target = open_target(str(path))
    assert seqs(path) == [1]
    assert target.store([torn]) == (1, 0)
    target.close()
    assert seqs(path) == [1, 2]


def test_lines_of_which_nothing_is_whole_begin_anew(tmp_path: Path, row: Rows) -> None:
    path = tmp_path / "events.csv"
    path.write_text("device,id")
    target = open_target(str(path))
    target.store([row(seq=1)])
    target.close()
    assert seqs(path) == [1]


def test_lines_of_a_full_disk_are_all_or_nothing(tmp_path: Path, row: Rows, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "events.jsonl"
    target = open_target(str(path))
    target.store([row(seq=1)])
    write = os.write

    def half(file: int, content: bytes) -> int:
        write(file, content[: len(content) // 2])
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", half)
        with pytest.raises(TargetAwayError, match="No space left"):
            target.store([row(seq=2)])
    assert target.store([row(seq=3)]) == (1, 0)
    target.close()
    assert seqs(path) == [1, 3]


def test_database_has_tables_of_their_own_for_state_and_health(tmp_path: Path) -> None:
    path = tmp_path / "events.db"
    health = b'{"time": "2026-11-27T10:00:00Z", "frames": 3}'
    target = open_target(str(path))
    rows = [
        read("emotion/1/hall/health", health, 5),
        read("emotion/1/hall/health", health, 6),  # retained, it comes again at each subscription
        read("emotion/1/hall/status", b'{"state": "online", "boot": "b", "version": "1"}', 5),
    ]
    assert target.store(rows) == (2, 0)
    target.close()
    with sqlite3.connect(path) as database:
        assert database.execute("SELECT frames FROM health").fetchall() == [(3,)]
        assert database.execute("SELECT state FROM status").fetchall() == [("online",)]
        assert database.execute("SELECT count(*) FROM state").fetchall() == [(0,)]
    database.close()


def test_database_of_an_earlier_version_gets_new_columns(tmp_path: Path, row: Rows) -> None:
    path = tmp_path / "events.db"
    target = open_target(str(path))
    target.store([row(seq=1)])
    target.close()
    with sqlite3.connect(path) as database:
        database.execute("ALTER TABLE health DROP COLUMN frames")
    database.close()
    target = open_target(str(path))
    target.store([read("emotion/1/hall/health", b'{"time": "2026-11-27T10:00:00Z", "frames": 3}', 5)])
    target.close()


def test_database_that_is_locked_is_away(tmp_path: Path, row: Rows, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge.record.database._BUSY_S", 0)
    path = tmp_path / "events.db"
    target = open_target(str(path))
    target.store([row(seq=1)])
    other = sqlite3.connect(path)
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(TargetAwayError, match=r"events\.db: database is locked"):
        target.store([row(seq=2)])
    other.close()
    assert target.store([row(seq=2)]) == (1, 0)
    target.close()


def test_database_stores_all_but_the_row_that_it_refuses(tmp_path: Path, row: Rows) -> None:
    target = open_target(str(tmp_path / "events.db"))
    poisoned = row(seq=2)
    poisoned.values["seq"] = 2**70
    assert target.store([row(seq=1), poisoned, row(seq=3)]) == (2, 1)
    target.close()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("events", "allowed is FILE.db"),
        ("mysql://host/name", "allowed is FILE.db"),
        ("postgresql://me:secret@host/name", "password does not belong"),
        ("postgresql://host:port/name", "no valid address"),
        ("postgresql://host/name?password=secret", "password does not belong"),
        ("/nonexistent/events.jsonl", "cannot be opened"),
    ],
)
def test_target_that_cannot_be_is_refused(text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said) as refused:
        open_target(text)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("text", ["device,id\n1,2\n", "{}\n", '{"device": 1}\n', "\n", "\xff"])
@pytest.mark.parametrize("suffix", ["jsonl", "csv"])
def test_lines_that_are_no_record_are_refused(suffix: str, text: str, tmp_path: Path) -> None:
    path = tmp_path / f"events.{suffix}"
    path.write_bytes(f"{text}\n".encode("latin-1"))
    with pytest.raises(UsageError, match=r"line [12]"):
        open_target(str(path))
    with pytest.raises(UsageError, match=r"line [12]"):
        open_engine(str(path))


def test_record_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such file"):
        open_engine(str(tmp_path / "events.db"))
    (tmp_path / "empty.db").touch()
    with pytest.raises(UsageError, match="no record"):
        open_engine(str(tmp_path / "empty.db"))
    (tmp_path / "other.db").write_text("something else" * 1000)
    with pytest.raises(UsageError, match="not a database"):
        open_engine(str(tmp_path / "other.db"))
