"""Waits between attempts grow, are bounded and differ."""

from edge.backoff import HOLDS_S, Attempts, Backoff
from tests.fakes.clock import FakeClock


def test_waits_double_up_to_the_bound_with_jitter() -> None:
    backoff = Backoff(first_s=1, most_s=60)
    for failures, step_s in [(1, 1), (2, 2), (4, 8), (7, 60), (5000, 60)]:
        drawn = [backoff.delay_s(failures) for _ in range(200)]
        assert all(step_s / 2 <= delay_s <= step_s for delay_s in drawn)
        assert len(set(drawn)) > 100


def test_a_refusal_is_retried_slowly() -> None:
    assert Backoff(first_s=1, most_s=60).delay_s(1, refused=True) >= 30


def test_only_a_connection_that_holds_ends_a_row_of_failures() -> None:
    clock = FakeClock()
    attempts = Attempts(Backoff(first_s=1, most_s=60), clock)
    for failures in (1, 2, 3):
        assert 2 ** (failures - 1) / 2 <= attempts.failed() <= 2 ** (failures - 1)
        assert attempts.failures == failures
    for lost_early in (1, 2, 3):
        attempts.connected()
        clock.pass_time(HOLDS_S - 1)
        assert not attempts.has_held()
        attempts.failed()
        assert (attempts.failures, attempts.lost_early) == (3 + lost_early, lost_early)
    attempts.connected()
    clock.pass_time(HOLDS_S)
    assert attempts.has_held()
    assert attempts.failed() <= 1
    assert (attempts.failures, attempts.lost_early) == (1, 0)
    assert not attempts.has_held()
    assert attempts.failed(refused=True) >= 30
