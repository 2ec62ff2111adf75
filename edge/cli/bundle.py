"""`emotion-edge bundle`: check, install, list and choose the model bundles of a device."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from edge.cli.options import AsJson, BundleKey, Config, StateDir
from edge.cli.support import echo_json
from edge.settings import Settings

bundle_app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="Check, install and choose the model bundle that this device runs.",
)

Source = Annotated[str, typer.Argument(metavar="SOURCE", help="Folder, .tar.gz archive, or https address of one.")]

RELOAD_HINT = "to load it into the running service: sudo systemctl reload emotion-edge"


@bundle_app.command(epilog="Example: emotion-edge bundle verify bundle.tar.gz --bundle-key bundle-key.pub.pem")
def verify(source: Source, config: Config = None, bundle_key: BundleKey = None, *, as_json: AsJson = False) -> None:
    """Check a bundle as an install would, with the self-test, and change nothing."""
    from edge.bundles.self_test import load_tested, self_test
    from edge.bundles.source import bring
    from edge.emotions import EMOTIONS
    from edge.inference.signature import load_trusted_keys

    settings = _settings(config, bundle_key=bundle_key)
    keys = load_trusted_keys(settings.bundle_key)
    with tempfile.TemporaryDirectory(prefix="emotion-edge-bundle-") as scratch:
        bundle = bring(source, Path(scratch), keys)
        scores = self_test(load_tested(bundle.folder, settings.classifier, keys), bundle.folder)
    signed = _signature_in_words(bundle.signature, checked=keys is not None)
    if not as_json:
        typer.echo(f"{source}: {bundle.identity} is sound and works here; {signed}")
        return
    models = {
        kind: {"file": one.file, "bytes": bundle.manifest.files[one.file].bytes}
        for kind, one in bundle.manifest.models.items()
    }
    tested = dict(zip(map(str, EMOTIONS), (round(float(score), 4) for score in scores), strict=True))
    echo_json({"source": source, "name": bundle.identity, "created": bundle.manifest.created, "models": models,
               "signature": signed, "self_test": tested})  # fmt: skip


@bundle_app.command(epilog="Example: sudo emotion-edge bundle install https://example.org/device-cnn-int8.tar.gz")
def install(
    source: Source,
    config: Config = None,
    state_dir: StateDir = None,
    bundle_key: BundleKey = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Check a bundle, store it and choose it; the previous one stays for `rollback`."""
    from edge.bundles.source import bring
    from edge.inference.signature import load_trusted_keys

    settings = _settings(config, state_dir=state_dir, bundle_key=bundle_key)
    keys = load_trusted_keys(settings.bundle_key)
    store = _store(settings)
    name = store.install(lambda scratch: bring(source, scratch, keys, store.files), _check(settings))
    _print_choice(settings, name, as_json=as_json)


@bundle_app.command(epilog="Example: sudo emotion-edge bundle use device-cnn-int8@1a2b3c4d")
def use(
    name: Annotated[str, typer.Argument(metavar="NAME", help="One that `list` shows; `shipped` is one.")],
    config: Config = None,
    state_dir: StateDir = None,
    bundle_key: BundleKey = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Choose a stored bundle."""
    settings = _settings(config, state_dir=state_dir, bundle_key=bundle_key)
    _print_choice(settings, _store(settings).use(name, _check(settings)), as_json=as_json)


@bundle_app.command(epilog="Example: sudo emotion-edge bundle rollback && sudo systemctl reload emotion-edge")
def rollback(
    config: Config = None, state_dir: StateDir = None, bundle_key: BundleKey = None, *, as_json: AsJson = False
) -> None:
    """Go back to the previous bundle; called again, return to the newer one."""
    settings = _settings(config, state_dir=state_dir, bundle_key=bundle_key)
    _print_choice(settings, _store(settings).rollback(_check(settings)), as_json=as_json)


@bundle_app.command("list", epilog="Example: emotion-edge bundle list --json")
def list_bundles(
    config: Config = None, state_dir: StateDir = None, bundle_key: BundleKey = None, *, as_json: AsJson = False
) -> None:
    """Show the stored bundles, which one is chosen, and whether they are sound."""
    from rich.console import Console
    from rich.table import Table

    from edge.inference.signature import load_trusted_keys

    settings = _settings(config, state_dir=state_dir, bundle_key=bundle_key)
    rows = _rows(settings, load_trusted_keys(settings.bundle_key))
    if as_json:
        echo_json(rows)
        return
    table = Table("name", "chosen", "created", "kB", "sound", title=str(_store(settings).folder))
    for row in rows:
        size = "" if row["bytes"] is None else str(round(row["bytes"] / 1000))
        name = row["name"] if row["identity"] in (None, row["name"]) else f"{row['name']} ({row['identity']})"
        table.add_row(name, row["chosen"] or "", row["created"] or "", size, row["refused"] or "yes")
    Console().print(table)


def _rows(settings: Settings, keys: Any) -> list[dict[str, Any]]:
    """Return what `list` shows of each bundle."""
    from edge.bundles.store import SHIPPED
    from edge.errors import BundleError
    from edge.inference import open_bundle, shipped_bundle

    store = _store(settings)
    chosen = store.selection()
    current, previous = (chosen.current, chosen.previous) if chosen else (None, "")
    rows: list[dict[str, Any]] = []
    for name in [*store.names(), None]:
        mark = "current" if name == current else "previous" if name == previous else None
        row: dict[str, Any] = {"name": name or SHIPPED, "identity": name, "chosen": mark}
        try:
            bundle = open_bundle(store.path_of(name) or shipped_bundle(), keys)
            size = sum(entry.bytes for entry in bundle.manifest.files.values())
            row |= {"identity": bundle.identity, "created": bundle.manifest.created, "bytes": size, "refused": None}
        except BundleError as error:
            row |= {"created": None, "bytes": None, "refused": str(error)}
        rows.append(row)
    return rows


def _settings(config: Path | None, **flags: str | None) -> Settings:
    from edge.settings import load_settings

    return load_settings(config, flags=flags)


def _store(settings: Settings) -> Any:
    from edge.bundles.store import BundleStore
    from edge.settings import require_state_dir

    return BundleStore.of(str(require_state_dir(settings)))


def _check(settings: Settings) -> Callable[[Path | None], object]:
    from edge.bundles.self_test import load_tested
    from edge.inference.signature import load_trusted_keys

    keys = load_trusted_keys(settings.bundle_key)
    return lambda folder: load_tested(folder, settings.classifier, keys)


def _print_choice(settings: Settings, name: str, *, as_json: bool) -> None:
    from edge.bundles.store import SHIPPED

    chosen = _store(settings).selection()
    previous = (chosen.previous if chosen else None) or SHIPPED
    if as_json:
        echo_json({"current": name, "previous": previous})
    else:
        typer.echo(f"{name} is chosen; {RELOAD_HINT}")
    if settings.bundle:
        typer.echo(
            f"warning: the setting bundle = {settings.bundle!r} overrides this; remove it to run the chosen bundle",
            err=True,
        )


def _signature_in_words(signature: bytes | None, *, checked: bool) -> str:
    if checked:
        return "signed by bundle_key"
    return "not signed" if signature is None else "signed, not checked: no bundle_key is set"
