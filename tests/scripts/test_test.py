"""`scripts/test --fast` leaves out markers that exist."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_fast_tier_leaves_out_declared_markers() -> None:
    options = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["pytest"]["ini_options"]
    declared = {re.split(r"[:(]", line)[0] for line in options["markers"]}
    expression = re.search(r"-m \"(.*)\"", (ROOT / "scripts/test").read_text())
    assert expression
    left_out = set(re.findall(r"not (\w+)", expression[1]))
    assert left_out == {"training", "broker", "service", "slow"}
    assert left_out <= declared


def test_slow_tests_give_a_reason() -> None:
    bare = re.compile(r"pytest\.mark\.slow\b(?!\(\")")
    assert [str(path) for path in (ROOT / "tests").rglob("test_*.py") if bare.search(path.read_text())] == [], "say why"
