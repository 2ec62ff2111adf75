"""Print the result of an export as tables."""

from rich.console import Console
from rich.table import Table

from edge.emotions import EMOTIONS
from export.bundle import Outcome
from export.verify import NetworkOutcome
from train.metrics import Summary


def print_tables(outcome: Outcome, console: Console) -> None:
    """Print the models, their runtimes, and their accuracy before and after."""
    for network in outcome.networks:
        _print_network(network, console)
    columns: dict[str, Summary] = {}
    for network in outcome.networks:
        columns[f"{network.kind} before"] = network.verification.before
        columns[f"{network.kind} after"] = network.verification.after
        columns[f"{network.kind} mirrored"] = network.verification.both
    if outcome.knn is not None:
        columns["knn"] = outcome.knn.test
        console.print(
            f"knn: {len(outcome.knn.content):,} bytes, {outcome.knn.samples:,} faces, {outcome.knn.cpu_ms:.2f} ms of "
            "CPU time a face"
        )
    if outcome.ensemble is not None:
        columns["ensemble"], columns["ensemble mirrored"] = outcome.ensemble
        console.print("ensemble: " + ", ".join(f"{kind} {weight:g}" for kind, weight in outcome.weights.items()))
    console.print(summaries(columns))


def summaries(columns: dict[str, Summary]) -> Table:
    """Accuracy, interval and recalls of several models on the same test pictures."""
    table = Table(title=f"on {next(iter(columns.values())).n:,} test pictures", title_justify="left")
    table.add_column("")
    for name in columns:
        table.add_column(name, justify="right")
    found = columns.values()
    table.add_row("accuracy", *(f"{s.accuracy:.2%}" for s in found))
    table.add_row("balanced accuracy", *(f"{s.balanced_accuracy:.2%}" for s in found))
    table.add_row("  95 % interval", *("{:.1%} to {:.1%}".format(*s.balanced_accuracy_interval) for s in found))
    table.add_row("calibration error", *(f"{s.expected_calibration_error:.3f}" for s in found))
    for emotion in EMOTIONS:
        table.add_row(f"recall {emotion}", *(f"{s.recall[emotion]:.1%}" if emotion in s.recall else "-" for s in found))
    return table


def _print_network(network: NetworkOutcome, console: Console) -> None:
    found = network.verification
    console.print(
        f"{network.kind}: {network.quantization}, {len(network.content):,} bytes, {network.parameters:,} parameters, "
        f"{network.macs / 1e6:.1f} million multiply-adds a face"
    )
    runtimes = Table(title=f"on {found.validation_n:,} validation pictures", title_justify="left")
    for column in ("runtime", "agrees with float", "balanced accuracy", "same top", "score differs by", "ms a face"):
        first = column == "runtime"
        runtimes.add_column(column, justify="left" if first else "right", no_wrap=first)
    runtimes.add_row("float network", "", f"{found.validation_balanced_accuracy:.2%}", "", "", "")
    for row in found.runtimes:
        runtimes.add_row(
            row.runtime, f"{row.agreement:.2%}", f"{row.balanced_accuracy:.2%}", f"{row.same:.2%}",
            f"{row.difference:.4f}", " ".join(f"{ms:.2f}" for ms in row.latency_ms.values()),
        )  # fmt: skip
    console.print(runtimes)
