"""A clock that a test sets."""


class FakeClock:
    """An `edge.clock.Clock`; `pass_time` moves both of its times."""

    def __init__(self) -> None:
        self._monotonic_s = 100.0
        self._unix_s = 1_750_000_000.0

    def monotonic(self) -> float:
        return self._monotonic_s

    def unix_s(self) -> float:
        return self._unix_s

    def pass_time(self, seconds: float) -> None:
        self._monotonic_s += seconds
        self._unix_s += seconds
