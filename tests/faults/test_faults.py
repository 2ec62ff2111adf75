"""What `benchmarks/faults` measures, made small: nothing is lost, whatever breaks."""

from pathlib import Path

import pytest

from benchmarks.faults import __main__ as benchmark
from benchmarks.faults import scenarios
from benchmarks.faults.proxy import Mode
from benchmarks.faults.tally import Tally, tally
from tests.fakes.mosquitto import missing


@pytest.fixture(autouse=True)
def needs_a_broker() -> None:
    if reason := missing():
        pytest.skip(reason)


pytestmark = pytest.mark.broker


def assert_nothing_is_lost(result: Tally) -> None:
    assert result.sent > 10
    assert (result.lost, result.gaps, result.in_order) == (0, 0, True), result
    assert result.holds, result


def test_a_broker_that_is_killed(tmp_path: Path) -> None:
    result = scenarios.broker_killed(tmp_path, kills=2, rate=50, down_s=0.3, up_s=0.5)
    assert_nothing_is_lost(result)
    assert result.most_duplicates == 1


@pytest.mark.parametrize("mode", ["cut", "blackhole", "slow", "reset"])
def test_a_link_that_breaks(tmp_path: Path, mode: Mode) -> None:
    result = scenarios.link_broken(tmp_path, mode, times=2, rate=40, broken_s=0.6, up_s=0.4)
    assert_nothing_is_lost(result)
    assert result.faults >= 1


def test_a_device_that_is_killed(tmp_path: Path) -> None:
    assert_nothing_is_lost(scenarios.device_killed(tmp_path, kills=3, rate=100))


@pytest.mark.parametrize(
    ("max_events", "max_age_s", "kept"), [(700, 1e6, 700), (10_000, 600.0, 300), (10_000, 1e6, 2000)]
)
def test_a_broker_that_is_away_for_long(tmp_path: Path, max_events: int, max_age_s: float, kept: int) -> None:
    result = scenarios.broker_away(tmp_path, events=2000, max_events=max_events, max_age_s=max_age_s)
    assert_nothing_is_lost(result)
    assert (result.received, result.dropped, result.duplicates) == (kept, 2000 - kept, 0)


def test_a_loss_would_be_seen() -> None:
    """The tally itself can fail."""
    assert tally("", [1, 2, 3], [1, 3]).lost == 1
    assert tally("", [1, 2, 3], [1, 3]).gaps == 1
    assert (tally("", [1, 2, 3, 4], [3, 4], dropped=2).lost, tally("", [1, 2, 3, 4], [4], dropped=2).lost) == (0, 1)
    assert tally("", [1, 2], [1, 2, 2, 1]).duplicates == 2
    assert not tally("", [1, 2, 3], [2, 1, 3]).in_order
    assert tally("", [1, 2, 3], [1, 2, 3, 1]).in_order
    for received, most, holds in [
        ([1, 2, 3], None, True), ([1, 3], None, False), ([2, 1, 3], None, False), ([1, 1, 1, 1, 2, 3], None, True),
        ([1, 1, 2, 2, 3], 1, True), ([1, 1, 2, 2, 3, 3], 1, False),
    ]:  # fmt: skip
        assert tally("", [1, 2, 3], received, faults=2, most_duplicates=most).holds is holds, (received, most)


@pytest.mark.parametrize(("twice", "code"), [(2, 0), (3, 1)])
def test_broker_with_two_duplicates_a_kill_is_a_failure(
    twice: int, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    received = [*range(1, twice + 1), *range(1, 11)]
    result = tally("broker killed (-9)", range(1, 11), received, faults=2, most_duplicates=1)
    monkeypatch.setattr(benchmark, "RUNS", {"broker": [lambda _: result]})
    monkeypatch.setattr("sys.argv", ["faults"])
    monkeypatch.setattr("logging.disable", lambda: None)
    assert benchmark.main() == code
    printed = capsys.readouterr().out
    assert f"{twice / 2:.1f} (≤ 1)" in printed
    assert "autosave_on_changes" in printed
