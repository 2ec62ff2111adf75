"""A network in TFLite's form: face chips in, five scores a face out."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.emotions import EMOTIONS
from edge.errors import BundleError
from edge.inference.manifest import Quantization
from edge.inference.runtime import open_interpreter

SIDE_PX = 48
INPUT_SHAPE = (1, SIDE_PX, SIDE_PX, 1)
OUTPUT_SHAPE = (1, len(EMOTIONS))


class TfliteClassifier:
    """A network that takes one chip at a time; TFLite releases the GIL while it runs.

    Raises
    ------
    BundleError
        No runtime can run the model, or its input or output is not what a model of this quantization has.
    """

    def __init__(
        self, model: bytes, *, name: str, quantization: Quantization, threads: int = 1, runtime: str | None = None
    ) -> None:
        self.name = name
        self._interpreter = open_interpreter(model, threads, runtime)
        source = _only(self._interpreter.get_input_details(), "input")
        result = _only(self._interpreter.get_output_details(), "output")
        _check("input", source, INPUT_SHAPE, np.uint8)
        _check("output", result, OUTPUT_SHAPE, np.uint8 if quantization == "int8" else np.float32)
        self._input, self._output = int(source["index"]), int(result["index"])
        scale, zero = result["quantization"]
        if quantization == "int8" and not 0 < scale <= 1:
            raise BundleError(f"its output has the impossible scale {scale}")
        self._scale, self._zero = (float(scale), float(zero)) if quantization == "int8" else (1.0, 0.0)
        self.scores(np.full((1, SIDE_PX, SIDE_PX), 127, dtype=np.uint8))

    def scores(
        self,
        chips: NDArray[np.uint8],
        points: NDArray[np.float32] | None = None,  # noqa: ARG002  # the seam's; a network looks at the chips alone
    ) -> NDArray[np.float32]:
        """Return float32 [n, 5], rows sum to 1, for face chips uint8 [n, 48, 48]; the landmarks are of no matter.

        Raises
        ------
        ValueError
            The chips have another shape or dtype.
        BundleError
            The model gives numbers that are no scores.
        """
        if chips.shape[1:] != (SIDE_PX, SIDE_PX) or chips.dtype != np.uint8:
            raise ValueError(f"chips must be uint8 [n, {SIDE_PX}, {SIDE_PX}], found {chips.dtype} {chips.shape}")
        chips = np.ascontiguousarray(chips)
        out = np.empty((len(chips), len(EMOTIONS)), dtype=np.float32)
        for index, chip in enumerate(chips):
            self._interpreter.set_tensor(self._input, chip.reshape(INPUT_SHAPE))
            self._interpreter.invoke()
            out[index] = self._interpreter.get_tensor(self._output)[0]
        out -= self._zero
        out *= self._scale
        total = out.sum(axis=1, keepdims=True)
        # A softmax rounded to 1/256 sums to within 5/512 of 1; far beyond that the output is something else.
        if not (np.isfinite(out).all() and (out >= 0).all() and (np.abs(total - 1) < 0.05).all()):
            raise BundleError("its output is no row of scores that sum to 1")
        out /= total
        return out


def _only(details: list[dict[str, Any]], what: str) -> dict[str, Any]:
    if len(details) != 1:
        raise BundleError(f"it has {len(details)} {what}s where 1 is due")
    return details[0]


def _check(what: str, found: dict[str, Any], shape: tuple[int, ...], dtype: type[np.generic]) -> None:
    if tuple(found["shape"]) != shape or found["dtype"] != dtype:
        kind = np.dtype(found["dtype"]).name
        raise BundleError(
            f"its {what} is {kind} {[*map(int, found['shape'])]}, due is {np.dtype(dtype).name} {[*shape]}"
        )
