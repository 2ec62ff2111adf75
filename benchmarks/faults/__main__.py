"""What is lost when things break: one table.

    python -m benchmarks.faults [broker] [link] [device] [away]

Each fault runs against a real mosquitto on loopback, with persistence and a password, and ends by itself; all of them
take some minutes. ``lost`` and ``gaps`` must be 0.
"""

import argparse
import logging
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.faults import scenarios
from benchmarks.faults.tally import Tally
from tests.fakes.mosquitto import missing

Run = Callable[[Path], Tally]
DAY_S = 86_400.0
RUNS: dict[str, list[Run]] = {
    "broker": [scenarios.broker_killed, lambda folder: scenarios.broker_killed(folder, autosave=True)],
    "link": [
        lambda folder: scenarios.link_broken(folder, "cut"),
        lambda folder: scenarios.link_broken(folder, "blackhole"),
        lambda folder: scenarios.link_broken(folder, "blackhole", times=1, broken_s=60),
        lambda folder: scenarios.link_broken(folder, "slow", broken_s=10),
        lambda folder: scenarios.link_broken(folder, "reset"),
    ],
    "device": [scenarios.device_killed],
    "away": [
        lambda folder: scenarios.broker_away(folder, max_events=20_000, max_age_s=7 * DAY_S),
        lambda folder: scenarios.broker_away(folder, max_events=100_000, max_age_s=DAY_S / 4),
    ],
}


def main() -> int:
    """Run and print; 1 where something was lost."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("which", nargs="*", choices=[*RUNS, []], help="default: all")
    which = parser.parse_args().which or list(RUNS)
    if reason := missing():
        raise SystemExit(reason)
    logging.disable()  # what the publisher says of each fault would tear the table
    table = Table(title=f"faults, {os.cpu_count()} cores")
    for name in ("fault", "times", "sent", "received", "lost", "duplicates", "gaps", "dropped", "in order", "s"):
        table.add_column(name, justify="left" if name == "fault" else "right")
    found = list(_results([run for name in which for run in RUNS[name]]))
    for one in found:
        counts = (one.faults, one.sent, one.received, one.lost, one.duplicates, one.gaps, one.dropped)
        table.add_row(one.fault, *(f"{n:,}" for n in counts), "yes" if one.in_order else "no", f"{one.took_s:.0f}")
    Console(width=None if sys.stdout.isatty() else 130).print(table)
    return int(any(one.lost or one.gaps or not one.in_order for one in found))


def _results(runs: list[Run]) -> Iterator[Tally]:
    for run in runs:
        with tempfile.TemporaryDirectory(prefix="emotion-edge-faults-") as folder:
            yield run(Path(folder))


if __name__ == "__main__":
    sys.exit(main())
