"""A clock that a test controls."""

from edge.clock import Stamp


class FakeClock:
    """An `edge.clock.Clock`; `pass_time` advances all times, `jump` only the date; `reboot` restarts monotonic."""

    def __init__(self) -> None:
        self._monotonic_s = 100.0
        self._unix_s = 1_750_000_000.0
        self._boots = 1
        self.knows_date = True

    def monotonic(self) -> float:
        return self._monotonic_s

    def unix_s(self) -> float:
        return self._unix_s

    def synced(self) -> bool:
        return self.knows_date

    def stamp(self) -> Stamp:
        return Stamp(
            kernel_boot=f"boot-{self._boots}",
            boottime_s=self._monotonic_s,
            unix_s=self._unix_s,
            synced=self.knows_date,
        )

    def pass_time(self, seconds: float) -> None:
        self._monotonic_s += seconds
        self._unix_s += seconds

    def jump(self, seconds: float) -> None:
        self._unix_s += seconds

    def reboot(self, *, away_s: float, lost_date_s: float = 0.0) -> None:
        """Restart the machine after ``away_s``; ``lost_date_s`` of that time are missing from its date."""
        self._boots += 1
        self._monotonic_s = 3.0
        self._unix_s += away_s - lost_date_s
