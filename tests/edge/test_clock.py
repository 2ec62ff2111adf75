"""What lasts is timed by what does not jump."""

import pytest

from edge.clock import SystemClock, elapsed_s, time_synced
from tests.fakes.clock import FakeClock

YEAR_S = 365 * 86_400.0


@pytest.mark.parametrize("jump_s", [YEAR_S, -YEAR_S, 0.0])
def test_a_date_that_jumps_changes_no_distance(jump_s: float) -> None:
    clock = FakeClock()
    before = clock.stamp()
    clock.pass_time(60)
    clock.jump(jump_s)
    assert elapsed_s(before, clock.stamp()) == 60


def test_over_a_reboot_the_date_counts_where_it_was_known_before_and_after() -> None:
    clock = FakeClock()
    before = clock.stamp()
    clock.reboot(away_s=500)
    assert elapsed_s(before, clock.stamp()) == 500
    clock.knows_date = False
    assert elapsed_s(before, clock.stamp()) is None
    unsure = clock.stamp()
    clock.knows_date = True
    clock.reboot(away_s=10)
    assert elapsed_s(unsure, clock.stamp()) is None


def test_a_date_that_went_back_over_a_reboot_is_no_negative_time() -> None:
    clock = FakeClock()
    before = clock.stamp()
    clock.reboot(away_s=10, lost_date_s=YEAR_S)
    assert elapsed_s(before, clock.stamp()) == 0


def test_the_machines_own_clock_fits_the_seam() -> None:
    clock = SystemClock()
    first, second = clock.stamp(), clock.stamp()
    assert first.kernel_boot == second.kernel_boot
    assert 0 <= (elapsed_s(first, second) or 0.0) < 60
    assert clock.synced() == time_synced()
    assert clock.unix_s() >= first.unix_s
    assert clock.monotonic() <= clock.monotonic()
