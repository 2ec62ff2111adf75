"""What the retained messages say of each device now, and which devices need somebody."""

from dataclasses import dataclass, field

from edge.record.messages import Row, Value

SILENT_MS = 120_000
"""A health message older than this, four times the usual interval, is a sign of trouble while the device is online."""
HOT_C = 75.0
"""Temperature from which the daemon skips frames by default."""


@dataclass(slots=True)
class DeviceNow:
    """One device: the newest row of each kind."""

    name: str
    rows: dict[str, dict[str, Value]] = field(default_factory=dict)
    """table to the values of its newest row"""
    missing: int = 0
    """events that are missing in a record, if one was looked at"""

    def value(self, table: str, name: str) -> Value:
        """Return a value of the newest row of a table, None if there is none."""
        return self.rows.get(table, {}).get(name)

    @property
    def status(self) -> str:
        """``online``, ``stopped``, ``offline``, or ``unknown``."""
        return str(self.value("status", "state") or "unknown")

    @property
    def last_ms(self) -> int | None:
        """Time of the newest event, else of the newest state; milliseconds since 1970 UTC by the device's clock."""
        for table in ("event", "state"):
            if isinstance(moment := self.value(table, "time_ms"), int):
                return moment
        return None

    def troubles(self, now_ms: int) -> list[str]:
        """Return what is wrong, in words, the worst first; empty if all is well."""
        found = [] if self.status == "online" else [self.status]
        camera = self.value("health", "camera") or self.value("state", "camera")
        if camera == "failed":
            found.append(f"camera failed: {self.value('health', 'camera_fault') or 'no reason given'}")
        if self._number("health", "outbox_dropped"):
            found.append(f"{self._number('health', 'outbox_dropped'):,.0f} events dropped")
        if self.missing:
            found.append(f"{self.missing:,} events missing in the record")
        if self.value("health", "outbox_on_disk") is False:
            found.append("its disk cannot be written")
        if self._number("health", "outbox_depth") > 100:
            found.append(f"{self._number('health', 'outbox_depth'):,.0f} events waiting")
        if self._number("health", "temperature_c") >= HOT_C:
            found.append(f"{self._number('health', 'temperature_c'):.0f} °C")
        if self.value("health", "time_synced") is False:
            found.append("it does not know the date")
        elif self.status == "online" and "health" in self.rows:
            age_ms = now_ms - self._number("health", "time_ms")
            found += ["no health for two minutes"] if age_ms > SILENT_MS else []
        return found

    def _number(self, table: str, name: str) -> float:
        value = self.value(table, name)
        return float(value) if isinstance(value, int | float) else 0.0


class Fleet:
    """All devices that have been heard of."""

    def __init__(self) -> None:
        self.devices: dict[str, DeviceNow] = {}

    def note(self, row: Row) -> DeviceNow:
        """Note the newest row of a table; return its device."""
        name = str(row.values["device"])
        one = self.devices.setdefault(name, DeviceNow(name))
        one.rows[row.table] = row.values
        return one

    def by_trouble(self, now_ms: int) -> list[DeviceNow]:
        """Return all devices: those that are not online, then those with the most troubles, then by name."""
        return sorted(
            self.devices.values(),
            key=lambda one: (one.status == "online", -len(one.troubles(now_ms)), one.name),
        )
