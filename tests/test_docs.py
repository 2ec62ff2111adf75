"""What the docs promise is there, and what is there is in the docs."""

import re
import tomllib
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest
import typer.main

import edge.cli
import edge.errors
import export.cli
import train.cli
from edge.events.schema import CHANNELS

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("models/*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("systemd/*.md")])
TEXT = "\n".join(page.read_text() for page in PAGES)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    links = re.findall(r"\]\((?!https?://|#)([^)#]+)", page.read_text())
    assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.mark.parametrize(
    ("program", "app"), [("edge", edge.cli.app), ("train", train.cli.app), ("export", export.cli.app)]
)
def test_every_command_is_documented(program: str, app: typer.Typer) -> None:
    group = typer.main.get_group(app)
    inner = [f"{name} {sub}" for name, one in group.commands.items() for sub in getattr(one, "commands", ())]
    names = [*group.commands, *inner]
    assert len(names) >= 2
    missing = [name for name in names if not re.search(rf"(emotion-|python -m ){program} {name}\b", TEXT)]
    assert missing == []


def test_every_topic_and_each_of_its_fields_is_documented() -> None:
    page = (ROOT / "docs/mqtt.md").read_text()
    for channel in CHANNELS:
        assert f"`{channel.name}`" in page or f"/{channel.name}`" in page
        assert [field.name for field in msgspec.structs.fields(channel.payload) if field.name not in page] == []


def test_every_error_is_in_the_tree_that_is_drawn() -> None:
    drawn = edge.errors.__doc__ or ""
    tree = edge.errors.EmotionEdgeError
    kinds = [kind for kind in vars(edge.errors).values() if isinstance(kind, type) and issubclass(kind, tree)]
    assert len(kinds) > 5
    for kind in kinds:
        assert re.search(rf"{kind.__name__}\s+exit {kind.exit_code}\b", drawn)


ROOMS = ("edge", "train", "export", "models", "systemd", "examples", "tests", "benchmarks", "scripts", "docs")


def test_architecture_names_only_paths_that_exist() -> None:
    page = (ROOT / "docs/architecture.md").read_text()
    paths = {path for path in re.findall(r"`([\w/.]+)`", page) if path.partition("/")[0] in ROOMS and "/" in path}
    assert len(paths) > 60
    assert sorted(path for path in paths if not (ROOT / path).exists()) == []


def test_architecture_names_every_room_in_the_checked_order() -> None:
    page = (ROOT / "docs/architecture.md").read_text()
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    for contract in contracts:
        if not (package := contract.get("containers", [""])[0]):
            continue
        section = page.partition(f"### The rooms of `{package}/`")[2].partition("\n#")[0]
        table = [re.findall(rf"`{package}/(\w+)", line) for line in section.splitlines() if line.startswith("| ")]
        lines = {name: number for number, names in enumerate(table) for name in names}
        layers = [[room for room in re.split(r" [|:] ", layer) if room[0] != "("] for layer in contract["layers"]]
        assert {room for layer in layers for room in layer} == set(lines) - {package}, package
        places = [[lines[room] for room in layer] for layer in layers if layer]
        assert all(max(upper) < min(lower) for upper, lower in pairwise(places)), package
