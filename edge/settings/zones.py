"""Checking ``[[faces.zones]]`` with messages that name the zone and the point."""

import math
from typing import Any, get_args

from edge.errors import ConfigError
from edge.settings.messages import closest, shown
from edge.settings.types import Zone, fields_of

MOST_ZONES, MOST_POINTS = 64, 256
_FORM = 'allowed is a list of tables, each [[faces.zones]] with points = [[0, 0], [1, 0], [1, 1]] and kind = "include"'


def check_zones(zones: Any, origin: str) -> None:
    """Check what a file or a variable says of the zones.

    ``origin``: the file or the variable, for messages.
    Raises `ConfigError`: names the zone by its number, counted from 1, and what is wrong in it.
    """
    if not isinstance(zones, list) or not all(isinstance(zone, dict) for zone in zones):
        raise ConfigError(f"{origin}: faces.zones: found {shown(zones)}: {_FORM}")
    if len(zones) > MOST_ZONES:
        raise ConfigError(f"{origin}: faces.zones: found {len(zones)} zones: allowed are {MOST_ZONES} at most")
    for number, zone in enumerate(zones, start=1):
        _check_zone(zone, f"{origin}: faces.zones, zone {number}")


def _check_zone(zone: dict[str, Any], where: str) -> None:
    known = fields_of(Zone)
    for key in zone:
        if key not in known:
            raise ConfigError(f"{where}: there is no setting {shown(key)}{closest(key, known)}")
    kinds = get_args(known["kind"])
    if zone.get("kind", kinds[0]) not in kinds:
        raise ConfigError(f"{where}: kind: found {shown(zone['kind'])}: allowed is {' or '.join(kinds)}")
    points = zone.get("points")
    if not isinstance(points, list) or not 3 <= len(points) <= MOST_POINTS:
        found = f"{len(points)} points" if isinstance(points, list) else "none" if points is None else shown(points)
        raise ConfigError(f"{where}: points: found {found}: allowed is a list of 3 to {MOST_POINTS} points [x, y]")
    for number, point in enumerate(points, start=1):
        if not isinstance(point, list) or len(point) != 2 or not all(_is_share(value) for value in point):
            raise ConfigError(
                f"{where}: point {number}: found {shown(point)}: allowed is [x, y], shares of width and height, 0 to 1"
            )
    if _area(points) < 1e-6:
        raise ConfigError(f"{where}: points: found {shown(points)}: they lie on one line, so the zone is empty")


def _is_share(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and 0 <= value <= 1


def _area(points: list[list[float]]) -> float:
    """Twice the area of the largest triangle of the first corner and two others; 0 if all lie on one line."""
    (x, y), rest = points[0], points[1:]
    across = [(px - x, py - y) for px, py in rest]
    return max((abs(ax * by - ay * bx) for ax, ay in across for bx, by in across), default=0.0)
