"""What lasts is timed by what does not jump."""

import ctypes
from pathlib import Path
from types import SimpleNamespace

import pytest

from edge import clock as module
from edge import time_service
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


def test_elapsed_over_a_reboot_needs_a_date_known_at_both_ends() -> None:
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
    assert clock.unix_s() >= first.unix_s
    assert clock.monotonic() <= clock.monotonic()


class Machine:
    """What `time_synced` looks at, as a test wants it: no mark, no filter, a kernel that says no, no other service."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
        self.mark = folder / "synchronized"
        self.status = folder / "status"
        self.kernel = -1
        self.asked_kernel = 0
        self.other_service = False
        self.filter_calls(0)
        monkeypatch.setattr(module, "_TIMESYNCD_MARK", self.mark)
        monkeypatch.setattr(module, "_STATUS", self.status)
        monkeypatch.setattr(ctypes, "CDLL", lambda _name: SimpleNamespace(adjtimex=self._adjtimex))
        monkeypatch.setattr(time_service, "synced", lambda: self.other_service)

    def filter_calls(self, mode: int) -> None:
        self.status.write_text(f"Name:\tpython3\nNoNewPrivs:\t1\nSeccomp:\t{mode}\nSeccomp_filters:\t0\n")

    def _adjtimex(self, buffer: "ctypes.Array[ctypes.c_char]") -> int:
        assert not any(buffer.raw), "modes is 0: it asks, and sets nothing"
        self.asked_kernel += 1
        return self.kernel


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Machine:
    return Machine(monkeypatch, tmp_path)


def test_the_mark_of_timesyncd_is_enough(machine: Machine) -> None:
    assert not time_synced()
    machine.filter_calls(2)
    machine.mark.touch()
    assert time_synced()
    assert SystemClock().synced()
    assert SystemClock().stamp().synced


def test_a_mark_that_may_not_be_looked_at_is_none(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_path: Path) -> bool:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "exists", refuse)
    assert not time_synced()


@pytest.mark.parametrize(("state", "synced"), [(0, True), (1, True), (5, False), (-1, False)])
def test_the_kernel_is_asked_where_nothing_filters_system_calls(machine: Machine, state: int, synced: bool) -> None:
    machine.kernel = state
    assert time_synced() is synced
    assert machine.asked_kernel == 1


@pytest.mark.parametrize("answer", [True, False])
def test_kernel_is_not_asked_under_a_system_call_filter(machine: Machine, answer: bool) -> None:
    machine.filter_calls(2)
    machine.kernel, machine.other_service = 0, answer
    assert time_synced() is answer
    assert machine.asked_kernel == 0


def test_where_the_filter_cannot_be_known_there_may_be_one(machine: Machine) -> None:
    machine.status.unlink()
    machine.kernel = 0
    assert not time_synced()
    assert machine.asked_kernel == 0


def test_what_the_service_can_know_can_be_asked_from_outside(machine: Machine) -> None:
    machine.kernel = 0
    assert time_synced()
    assert not time_synced(as_service=True)
    machine.other_service = True
    assert time_synced(as_service=True)
