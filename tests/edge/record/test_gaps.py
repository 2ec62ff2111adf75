"""Numbers that are missing are found, whatever a device went through."""

from collections.abc import Callable
from pathlib import Path

import pytest

from edge.record.database import open_engine
from edge.record.gaps import find_gaps
from edge.record.messages import Row
from edge.record.targets import open_target

Rows = Callable[..., Row]
MINUTE_MS = 60_000
NOW_MS = 1_800_000_000_000


@pytest.fixture
def gaps(tmp_path: Path, row: Rows) -> Callable[..., list[tuple[str, int, int]]]:
    """Stores starts of a daemon, ``(boot, minutes, numbers)``, and returns the gaps."""

    def find(*starts: tuple[str, float, list[int]], device: str = "hall") -> list[tuple[str, int, int]]:
        path = str(tmp_path / "events.db")
        target = open_target(path)
        for boot, minutes, numbers in starts:
            received_ms = NOW_MS + round(minutes * MINUTE_MS)
            target.store([row(seq=seq, boot=boot, device=device, received_ms=received_ms) for seq in numbers])
        target.close()
        return [(gap.device, gap.first_seq, gap.last_seq) for gap in find_gaps(open_engine(path))]

    return find


def test_gaps_of_a_whole_record_are_none(gaps: Callable[..., object]) -> None:
    assert gaps(("a", 0, [5])) == []
    assert gaps(("a", 0, [5, 6, 7]), ("b", 9, [8, 9])) == []


def test_gaps_within_a_start_and_between_two(gaps: Callable[..., object]) -> None:
    assert gaps(("a", 0, [1, 2, 5, 6]), ("b", 9, [10, 11, 13])) == [("hall", 3, 4), ("hall", 7, 9), ("hall", 12, 12)]


def test_gaps_not_seen_where_a_device_begins_again_at_one(gaps: Callable[..., object]) -> None:
    assert gaps(("a", 0, [1, 2, 3]), ("b", 9, [1, 2]), ("c", 19, [3, 4])) == []


def test_gaps_unseen_if_the_first_numbers_of_a_start_are_lost(gaps: Callable[..., object]) -> None:
    assert gaps(("a", 0, [5000, 5001]), ("b", 9, [3, 4])) == []


def test_gaps_unseen_if_the_second_count_overtakes_the_first(gaps: Callable[..., object]) -> None:
    assert gaps(("a", 0, [1, 2, 3]), ("b", 9, [1, 2]), ("c", 19, [3, 4, 5, 7])) == [("hall", 6, 6)]


def test_gaps_unseen_if_two_starts_are_stored_in_wrong_order(gaps: Callable[..., object]) -> None:
    assert gaps(("b", 0, [101, 102]), ("a", 0.1, [99, 100])) == []


def test_gap_of_a_damaged_outbox_is_one_gap(gaps: Callable[..., object]) -> None:
    assert gaps(("a", 0, [1, 2]), ("b", 9, [1_795_000_000_000])) == [("hall", 3, 1_794_999_999_999)]


def test_gaps_are_of_each_device(gaps: Callable[..., object]) -> None:
    gaps(("a", 0, [1, 3]))
    assert gaps(("a", 0, [1, 2]), device="door") == [("hall", 2, 2)]
