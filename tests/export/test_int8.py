"""What int8 loses: ranges of tensors, rounding of weights, and the converter taking over both."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

pytest.importorskip("tensorflow", reason="converts networks")

import keras
from keras import layers

from export.quantize.convert import convert
from export.quantize.ranges import activation_ranges
from export.quantize.rounding import LEVELS, round_kernel, round_weights

pytestmark = pytest.mark.training
CHIPS = np.random.default_rng(0).integers(0, 256, size=(20, 48, 48), dtype=np.uint8)


def residual_network() -> keras.Model:
    keras.utils.set_random_seed(0)
    inputs = keras.Input((48, 48, 1), name="chip")
    x = layers.Rescaling(1 / 127.5, offset=-1.0)(inputs)
    x = layers.ReLU(name="stem")(layers.Conv2D(6, 5, strides=4, padding="same", name="stem_conv")(x))
    y = layers.Conv2D(6, 3, padding="same", use_bias=False, name="branch_conv")(x)
    y = layers.BatchNormalization(name="branch")(y)
    x = layers.ReLU(name="sum")(layers.Add(name="add")([x, y]))
    x = layers.Dropout(0.5)(layers.GlobalAveragePooling2D(name="mean")(x))
    model = keras.Model(inputs, layers.Dense(5, name="logits")(x))
    model.get_layer("branch").gamma.assign(np.linspace(20, 200, 6))  # far beyond what the stem puts beside it
    return model


def test_a_range_leaves_out_what_relu_drops_and_outliers() -> None:
    network = residual_network()
    ranges = activation_ranges(network, CHIPS)
    assert set(ranges) == {"stem", "branch", "sum"}
    assert all(low <= 0 < high for low, high in ranges.values())
    probe = keras.Model(network.inputs, [network.get_layer(name).output for name in ("stem", "branch")])
    stem, branch = probe.predict(CHIPS[..., None], verbose=0)
    assert branch.min() < -2 * stem.max()
    assert ranges["branch"][0] == pytest.approx(-ranges["stem"][1])
    assert stem.max() >= ranges["stem"][1] >= 0.9 * stem.max()
    convert(network, "none", CHIPS)  # goes over the same layers
    assert activation_ranges(network, CHIPS) == ranges


@pytest.mark.parametrize("relu", [False, True])
def test_a_summand_whose_low_end_something_needs_keeps_it(*, relu: bool) -> None:
    """No ReLU after the sum, or another layer that takes the summand too."""
    inputs = keras.Input((48, 48, 1))
    x = layers.Conv2D(2, 3, name="one")(inputs)
    total = layers.Add()([x, layers.ReLU(name="other")(x if relu else layers.Conv2D(2, 1)(inputs[:, 2:, 2:]))])
    total = layers.ReLU(name="sum")(total) if relu else total
    network = keras.Model(inputs, layers.Dense(5)(layers.GlobalAveragePooling2D()(total)))
    low, _ = activation_ranges(network, CHIPS)["one"]
    assert low < -10


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), n=st.integers(2, 40), channels=st.integers(1, 6))
def test_a_rounded_kernel_is_on_the_converters_grid(seed: int, n: int, channels: int) -> None:
    rng = np.random.default_rng(seed)
    kernel = rng.normal(size=(n, channels))
    inputs: NDArray[np.float64] = rng.normal(size=(100, n)) @ rng.normal(size=(n, n))
    rounded = round_kernel(kernel, inputs.T @ inputs)
    assert np.abs(rounded).max(axis=0) == pytest.approx(np.abs(kernel).max(axis=0))
    levels = rounded / (np.abs(rounded).max(axis=0) / LEVELS)
    assert levels == pytest.approx(np.rint(levels), abs=1e-9)


def test_rounding_by_the_inputs_changes_the_output_less() -> None:
    rng = np.random.default_rng(0)
    kernel = rng.normal(size=(72, 16))
    inputs = rng.normal(size=(2000, 12)) @ rng.normal(size=(12, 72)) + 0.1 * rng.normal(size=(2000, 72))
    step = np.abs(kernel).max(axis=0) / LEVELS
    nearest = np.rint(kernel / step) * step
    rounded = round_kernel(kernel, inputs.T @ inputs)
    assert np.square(inputs @ (rounded - kernel)).sum() < 0.3 * np.square(inputs @ (nearest - kernel)).sum()


@pytest.mark.parametrize("kernel", [np.zeros((4, 2)), np.eye(4)[:, :1] * 3.0])
def test_rounding_does_without_weights_or_inputs(kernel: NDArray[np.float64]) -> None:
    assert round_kernel(kernel, np.zeros((4, 4))) == pytest.approx(kernel)


def test_the_converter_takes_over_ranges_and_weights() -> None:
    from edge.inference import available_runtimes, open_interpreter

    network = residual_network()
    interpreter = open_interpreter(convert(network, "int8", CHIPS), runtime=available_runtimes()[0])
    tensors = interpreter.get_tensor_details()
    low, high = activation_ranges(network, CHIPS)["branch"]
    steps = [tensor["quantization"][0] for tensor in tensors if tuple(tensor["shape"]) == (1, 12, 12, 6)]
    assert any(step == pytest.approx((high - low) / 255, rel=0.01) for step in steps)
    kernel = np.asarray(round_weights(network, CHIPS).get_layer("branch_conv").kernel)
    levels = np.rint(kernel / (np.abs(kernel).max(axis=(0, 1, 2)) / LEVELS))
    (stored,) = (tensor["index"] for tensor in tensors if tuple(tensor["shape"]) == (6, 3, 3, 6))
    assert np.array_equal(np.moveaxis(interpreter.get_tensor(stored), 0, -1), levels)
    assert not any(tuple(tensor["shape"]) == (1, 6) for tensor in tensors)  # the mean is part of the last convolution


def test_pool_without_the_largest_values_keeps_the_next_bias() -> None:
    """VGG16's last pool takes 2 x 2 of 3 x 3 values."""
    from edge.inference import available_runtimes, open_interpreter

    inputs = keras.Input((48, 48, 1), name="chip")
    x = layers.Rescaling(1 / 127.5, offset=-1.0)(inputs)
    x = layers.ReLU(name="relu")(layers.Conv2D(6, 16, strides=16, kernel_initializer="ones")(x))
    x = layers.GlobalAveragePooling2D()(layers.MaxPooling2D(2, name="pool")(x))
    network = keras.Model(inputs, layers.Dense(5, name="logits", bias_initializer="ones")(x))
    brighter = (np.full((10, 48, 48), 140) + 50 * (np.indices((48, 48)) >= 32).any(axis=0)).astype(np.uint8)
    interpreter = open_interpreter(convert(network, "int8", brighter), runtime=available_runtimes()[0])

    def steps(shape: tuple[int, ...]) -> NDArray[np.float32]:
        found = [t["quantization_parameters"]["scales"] for t in interpreter.get_tensor_details()
                 if tuple(t["shape"]) == shape]  # fmt: skip
        return np.asarray(found[-1])

    bias = next(t for t in interpreter.get_tensor_details() if tuple(t["shape"]) == (5,) and t["dtype"] == np.int32)
    due = steps((1, 1, 1, 6)) * steps((5, 1, 1, 6))
    assert bias["quantization_parameters"]["scales"] == pytest.approx(due, rel=1e-3)
    pooled = keras.Model(network.inputs, network.get_layer("pool").output).predict(brighter[..., None], verbose=0)
    ranges = activation_ranges(network, brighter)
    assert ranges["relu"] == ranges["pool"]
    assert ranges["pool"][1] == pytest.approx(pooled.max())
