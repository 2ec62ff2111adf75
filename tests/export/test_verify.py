from dataclasses import replace

import pytest

from export.verify import RuntimeFigures, _missed

SOUND = RuntimeFigures(
    "ai_edge_litert", agreement=0.995, balanced_accuracy=0.748, difference=0.0, same=1.0, latency_ms={1: 0.3}
)


def test_figures_within_the_bounds_miss_nothing() -> None:
    assert _missed([SOUND, replace(SOUND, runtime="tensorflow", difference=0.05)], 0.75, "int8", 0) == []


@pytest.mark.parametrize(
    ("figures", "float_tensors", "expected"),
    [
        (replace(SOUND, agreement=0.9899), 0, "ai_edge_litert: agrees with the float network on 98.99%"),
        (replace(SOUND, balanced_accuracy=0.7449), 0, "ai_edge_litert: loses 0.51 points of balanced accuracy"),
        (replace(SOUND, same=0.98), 0, "ai_edge_litert: has ai_edge_litert's top emotion on 98.00%, expected 99%"),
        (replace(SOUND, difference=0.11), 0, "ai_edge_litert: a score differs by 0.1100"),
        (SOUND, 2, "2 tensors of the int8 graph hold floating-point numbers"),
    ],
)
def test_each_bound_is_checked(figures: RuntimeFigures, float_tensors: int, expected: str) -> None:
    missed = _missed([figures], 0.75, "int8", float_tensors)
    assert len(missed) == 1
    assert missed[0].startswith(expected)
