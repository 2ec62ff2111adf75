"""Ids and times of events."""

import re
import uuid

from edge import clock as identifiers


def test_uuid7_follows_the_rfc() -> None:
    made = uuid.UUID(identifiers.uuid7(0x017F22E279B0))
    assert (made.version, made.variant) == (7, uuid.RFC_4122)
    assert made.int >> 80 == 0x017F22E279B0  # RFC 9562, appendix A.6: its first 48 bits
    assert str(made).startswith("017f22e2-79b0-7")


def test_ids_differ_and_sort_by_time() -> None:
    assert len({identifiers.uuid7(5) for _ in range(1000)}) == 1000
    assert identifiers.uuid7(1000) < identifiers.uuid7(1001)
    assert identifiers.new_boot_id() != identifiers.new_boot_id()


def test_time_is_utc_with_milliseconds() -> None:
    assert identifiers.utc_time(0.0) == "1970-01-01T00:00:00.000Z"
    assert identifiers.utc_time(1738324800.1239) == "2025-01-31T12:00:00.123Z"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", identifiers.utc_time())
