"""Waits between attempts grow, are bounded and differ."""

from edge.backoff import Backoff


def test_waits_double_up_to_the_bound_with_jitter() -> None:
    backoff = Backoff(first_s=1, most_s=60)
    for failures, step_s in [(1, 1), (2, 2), (4, 8), (7, 60), (5000, 60)]:
        drawn = [backoff.delay_s(failures) for _ in range(200)]
        assert all(step_s / 2 <= delay_s <= step_s for delay_s in drawn)
        assert len(set(drawn)) > 100


def test_a_refusal_is_retried_slowly() -> None:
    assert Backoff(first_s=1, most_s=60).delay_s(1, refused=True) >= 30
