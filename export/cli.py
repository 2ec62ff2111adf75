"""``python -m export``: one command from a trained network to the bundle that a device runs."""

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console

from edge.cli.support import DEBUG_FLAG, run
from edge.errors import EmotionEdgeError, UsageError
from edge.inference.manifest import Quantization
from train.cli.options import DATA, DataOption, JsonOption

QUANTIZE_FLAG = "--quantize"

DEFAULT_MODEL = Path("runs/cnn-device")
Sign = Annotated[Path | None, typer.Option(metavar="KEY", help="Sign the bundle with this Ed25519 private key (PEM).")]

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
    """Give a bare ``--quantize`` the value int8; an option of typer takes a value always or never."""
    out = []
    for index, word in enumerate(arguments):
        following = arguments[index + 1] if index + 1 < len(arguments) else "-"
        bare = word == QUANTIZE_FLAG and following.startswith("-")
        out.append(f"{QUANTIZE_FLAG}=int8" if bare else word)
    return out


@app.callback(invoke_without_command=True)
def export(
    context: typer.Context,
    *,
    quantize: Annotated[Quantization, typer.Option(help="Number format of the weights; alone it means int8.")] = "int8",
    model: Annotated[
        list[Path] | None,
        typer.Option(metavar="RUN", help="Run folder or .keras file; one of each kind. [default: runs/cnn-device]"),
    ] = None,
    knn: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Add this pickled landmark KNN, and an ensemble.")
    ] = None,
    ensemble: Annotated[
        Literal["validation", "equal"],
        typer.Option(help="Weights of the ensemble: chosen on the validation part, or networks alone, all the same."),
    ] = "validation",
    data: DataOption = DATA,
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Where the bundle goes.")] = Path("models/default"),
    name: Annotated[
        str | None, typer.Option(help="Bundle's name: a-z, 0-9, dot, dash; by default from network and format.")
    ] = None,
    sign: Sign = None,
    as_json: JsonOption = False,
    debug: Annotated[
        bool, typer.Option(DEBUG_FLAG, help="Show the traceback of an error. May stand anywhere.")
    ] = False,
) -> None:
    """Convert trained networks, check them against the originals, and install them as a bundle.

    The bundle appears whole, with the one before kept as FOLDER.previous; or, where a check fails, not at all (exit 1).

    For example:

    - `python -m export --quantize`
    - `python -m export --quantize float16 --out models/float16`
    - `python -m export --quantize=int8 --model runs/short --json`
    - `python -m export --knn runs/knn/landmark-knn.pkl --sign ~/bundle-key.pem`
    """
    del debug  # `run` removes it from the command line
    if context.invoked_subcommand is not None:
        _refuse_options_before(context)
        return
    from export.report import print_tables
    from export.run import Request
    from export.run import export as run_export

    _check_name(name)
    request = Request(
        tuple(model or [DEFAULT_MODEL]), data, out, quantize, name, key=sign, knn=knn, equal=ensemble == "equal"
    )
    outcome = run_export(request, report=_progress())
    if as_json:
        print(json.dumps(outcome.as_dict()))
    else:
        print_tables(outcome, Console())
    if outcome.identity is None:
        raise EmotionEdgeError("no bundle written: " + "; ".join(outcome.missed))
    print(f"{out} is now {outcome.identity}", file=sys.stderr if as_json else sys.stdout)


@app.command("compare", epilog="Example: python -m export compare --model runs/cnn-device --model runs/vgg")
def compare_command(
    *,
    model: Annotated[
        list[Path] | None, typer.Option(metavar="RUN", help="Run folder or .keras file. [default: runs/cnn-device]")
    ] = None,
    data: DataOption = DATA,
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="For models, JSON and picture.")] = Path("out/compare"),
    pictures: Annotated[
        int | None, typer.Option(min=1, help="Most validation and test pictures to use; default: all.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Compare all number formats of some networks: a table, a JSON file and a picture; installs nothing.

    The JSON file grows by a format at a time: the same command again goes on with what is missing.
    """
    from export.compare import PICTURE_NAME, compare, print_comparison

    found = compare(tuple(model or [DEFAULT_MODEL]), data, out, pictures=pictures, report=_progress())
    if as_json:
        print(json.dumps({"networks": found}))
    else:
        print_comparison(found, Console())
    print(f"{out / PICTURE_NAME}", file=sys.stderr if as_json else sys.stdout)


@app.command("card", epilog="Example: python -m export card models/default")
def card_command(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="Folder of the bundle.")],
    *,
    sign: Sign = None,
) -> None:
    """Write a bundle's model card again from its manifest; keeps the previous bundle, and drops its signature."""
    from edge.inference import open_bundle
    from export.bundle import install, load_signer, with_card

    before = open_bundle(bundle)
    files = {name: before.read(name) for name in before.manifest.files}
    install(bundle, *with_card(before.manifest, files), None if sign is None else load_signer(sign))
    print(f"{bundle} is now {open_bundle(bundle).identity}")


def _progress() -> Callable[[str], None]:
    console = Console(stderr=True)
    return lambda line: console.print(f"{line} …", style="dim", highlight=False)


def _refuse_options_before(context: typer.Context) -> None:
    """Options before a subcommand would change nothing."""
    for name in context.params:
        source = context.get_parameter_source(name)
        if name != "debug" and source is not None and source.name == "COMMANDLINE":
            raise UsageError(f"--{name.replace('as_', '')} changes nothing before {context.invoked_subcommand}")


def _check_name(name: str | None) -> None:
    import msgspec

    from edge.inference.manifest import Name

    try:
        msgspec.convert(name, Name | None)
    except msgspec.ValidationError:
        raise UsageError(
            f"--name: found {name!r}: a bundle's name has a-z, 0-9, dot, dash and underscore, at most 64 characters"
        ) from None
