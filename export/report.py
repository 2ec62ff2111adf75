"""What an export found, as tables."""

from rich.console import Console
from rich.table import Table

from edge.emotions import EMOTIONS
from export.pipeline import Outcome


def print_tables(outcome: Outcome, console: Console) -> None:
    """Print the model, its runtimes, and its accuracy before and after."""
    found = outcome.verification
    console.print(
        f"{outcome.name}: {outcome.quantization}, {outcome.bytes:,} bytes, {outcome.parameters:,} parameters, "
        f"{outcome.macs / 1e6:.1f} million multiply-adds a face"
    )
    runtimes = Table(title=f"on {found.validation_n:,} validation pictures", title_justify="left")
    for column in ("runtime", "agrees with float", "balanced accuracy", "score differs by", "ms a face"):
        runtimes.add_column(column, justify="left" if column == "runtime" else "right")
    runtimes.add_row("float network", "", f"{found.validation_balanced_accuracy:.2%}", "", "")
    for row in found.runtimes:
        runtimes.add_row(
            row.runtime, f"{row.agreement:.2%}", f"{row.balanced_accuracy:.2%}", f"{row.difference:.4f}",
            f"{row.latency_ms:.2f}",
        )  # fmt: skip
    console.print(runtimes)
    test = Table(title=f"on {found.before.n:,} test pictures", title_justify="left")
    for column in ("", "before", "after"):
        test.add_column(column, justify="left" if not column else "right")
    both = (found.before, found.after)
    test.add_row("accuracy", *(f"{s.accuracy:.2%}" for s in both))
    test.add_row("balanced accuracy", *(f"{s.balanced_accuracy:.2%}" for s in both))
    test.add_row("  95 % interval", *("{:.1%} to {:.1%}".format(*s.balanced_accuracy_interval) for s in both))
    for emotion in EMOTIONS:
        test.add_row(f"recall {emotion}", *(f"{s.recall[emotion]:.1%}" if emotion in s.recall else "-" for s in both))
    console.print(test)
