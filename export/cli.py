"""``python -m export``: one command from a trained network to the bundle that a device runs."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from edge.cli_support import DEBUG_FLAG, run
from edge.errors import EmotionEdgeError, UsageError
from edge.inference.manifest import Quantization

QUANTIZE_FLAG = "--quantize"

app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def main() -> None:
    """Run the command line and exit."""
    sys.exit(run(app, with_default_quantization(sys.argv[1:]), name="python -m export"))


def with_default_quantization(arguments: Sequence[str]) -> list[str]:
    """Give a bare ``--quantize`` its value, int8; typer's options take a value always or never."""
    out = []
    for index, word in enumerate(arguments):
        following = arguments[index + 1] if index + 1 < len(arguments) else "-"
        bare = word == QUANTIZE_FLAG and following.startswith("-")
        out.append(f"{QUANTIZE_FLAG}=int8" if bare else word)
    return out


@app.command()
def export(
    *,
    quantize: Annotated[Quantization, typer.Option(help="Number format of the weights; alone it means int8.")] = "int8",
    model: Annotated[Path, typer.Option(metavar="RUN", help="Run folder or .keras file.")] = Path("runs/cnn-device"),
    data: Annotated[Path, typer.Option(metavar="FILE", help="Prepared data set that it was trained on.")] = Path(
        "data/fer2013.npz"
    ),
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Where the bundle goes.")] = Path("models/default"),
    name: Annotated[
        str | None, typer.Option(help="Bundle's name: a-z, 0-9, dot, dash; by default from network and format.")
    ] = None,
    sign: Annotated[
        Path | None, typer.Option(metavar="KEY", help="Sign the bundle with this Ed25519 private key (PEM).")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    debug: Annotated[bool, typer.Option(DEBUG_FLAG, help="Show the traceback of an error.")] = False,
) -> None:
    """Convert a trained network, check it against the original, and install it as a bundle.

    The bundle appears whole, with the one before kept as FOLDER.previous; or, where a check fails, not at all (exit 1).

    For example:

    - `python -m export --quantize`
    - `python -m export --quantize float16 --out models/float16`
    - `python -m export --quantize=int8 --model runs/short --json`
    - `python -m export --sign ~/bundle-key.pem`
    """
    del debug  # `run` takes it out before it comes here
    from rich.console import Console

    from export.pipeline import Request
    from export.pipeline import export as run_export
    from export.report import print_tables

    _check_name(name)
    progress = Console(stderr=True)
    request = Request(model, data, out, quantize, name, key=sign)
    outcome = run_export(request, report=lambda line: progress.print(f"{line} …", style="dim", highlight=False))
    if as_json:
        print(json.dumps(outcome.as_dict()))
    else:
        print_tables(outcome, Console())
    if outcome.identity is None:
        raise EmotionEdgeError("no bundle written: " + "; ".join(outcome.verification.missed))
    print(f"{out} is now {outcome.identity}", file=sys.stderr if as_json else sys.stdout)


def _check_name(name: str | None) -> None:
    import msgspec

    from edge.inference.manifest import Name

    try:
        msgspec.convert(name, Name | None)
    except msgspec.ValidationError:
        raise UsageError(
            f"--name: found {name!r}: a bundle's name has a-z, 0-9, dot, dash and underscore, at most 64 characters"
        ) from None
