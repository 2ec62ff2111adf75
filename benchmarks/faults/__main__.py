"""Count what is lost when broker, link or device fail, and print one table.

    python -m benchmarks.faults [broker] [link] [device] [away]

Each fault runs against a real mosquitto on loopback, with persistence and a password; all together take some minutes.
``lost`` and ``gaps`` must be 0, and each kill of the broker may duplicate at most one event.
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
COLUMNS = ("fault", "times", "sent", "received", "lost", "duplicates", "a time", "gaps", "dropped", "in order", "s")
CAPTION = (
    "saving each change: with autosave_on_changes and autosave_interval 1, mosquitto itself resends after a kill what "
    "it delivered since it last saved; 24 events in 10 kills when this was measured"
)
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
    """Run and print; return 1 if something was lost or duplicated too often."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("which", nargs="*", choices=[*RUNS, []], help="default: all")
    which = parser.parse_args().which or list(RUNS)
    if reason := missing():
        raise SystemExit(reason)
    logging.disable()  # the publisher's log lines would break up the table
    found = list(_results([run for name in which for run in RUNS[name]]))
    Console(width=None if sys.stdout.isatty() else 130).print(_table(found))
    return int(not all(one.holds for one in found))


def _table(found: list[Tally]) -> Table:
    table = Table(title=f"faults, {os.cpu_count()} cores", caption=CAPTION)
    for name in COLUMNS:
        table.add_column(name, justify="left" if name == "fault" else "right")
    for one in found:
        counts = (one.faults, one.sent, one.received, one.lost, one.duplicates)
        a_time = f"{one.duplicates_a_fault:.1f}" + (f" (≤ {one.most_duplicates})" if one.most_duplicates else "")
        rest = (f"{one.gaps:,}", f"{one.dropped:,}", "yes" if one.in_order else "no", f"{one.took_s:.0f}")
        table.add_row(one.fault, *(f"{count:,}" for count in counts), a_time, *rest)
    return table


def _results(runs: list[Run]) -> Iterator[Tally]:
    for run in runs:
        with tempfile.TemporaryDirectory(prefix="emotion-edge-faults-") as folder:
            yield run(Path(folder))


if __name__ == "__main__":
    sys.exit(main())
