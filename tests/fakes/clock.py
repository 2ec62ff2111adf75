"""A clock that a test sets."""

from edge.clock import Stamp


class FakeClock:
    """An `edge.clock.Clock`; `pass_time` moves all of its times, `jump` the date alone, `reboot` begins anew."""

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
        """Start the machine again after a while; its date may be behind by what it did not notice."""
        self._boots += 1
        self._monotonic_s = 3.0
        self._unix_s += away_s - lost_date_s
