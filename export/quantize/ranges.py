"""Choose the range of each tensor of an int8 graph. Importing this module loads Keras."""

import keras
import numpy as np
from numpy.typing import NDArray

KEPT_PERCENT = 99.999
"""Percentile of a tensor's values at which its range ends. A small step and little clipping are a trade-off: on 757
validation pictures whose first two emotions are less than one logit apart, int8 disturbs the distance of these two by
0.069 logits with the whole range and by 0.059 with 99.999 % (simulated on the device CNN, 2026-11-26); 99.99 % was
worse than the whole range."""

Range = tuple[float, float]


def activation_ranges(network: keras.Model, chips: NDArray[np.uint8]) -> dict[str, Range]:
    """Find the range of every tensor that int8 rounds, except the logits and those that share their input's range.

    These are the outputs of ReLU layers, and the summands of an Add before a ReLU. A summand needs only what ReLU
    keeps: if the other summand is at most h, every value below -h gives 0.

    A MaxPooling2D layer and the ReLU layer that feeds it alone get one range, that of the pooled values: the last pool
    of VGG16 leaves out a row and a column. TFLite's pool has its input's step, but the converter rounds the bias after
    it with the step that calibration found for the pool, which disturbed VGG16's logits by 0.43 instead of 0.04.

    ``network``: functional, from pixels [batch, 48, 48, 1].
    ``chips``: uint8 [n, 48, 48].
    Returns (lowest, highest) by the layer's name; each contains 0.
    """
    summands = {layer.name: _sources(layer) for layer in network.layers if isinstance(layer, keras.layers.Add)}
    names = [layer.name for layer in network.layers if isinstance(layer, keras.layers.ReLU)]
    names += [name for both in summands.values() for name in both if _is_rounded(network.get_layer(name))]
    if not names:
        return {}
    pools = _pooled(network)
    probe = keras.Model(network.inputs, [network.get_layer(pools.get(name, name)).output for name in names])
    values = probe.predict(chips[..., None], batch_size=64, verbose=0)
    ranges = {name: _range(np.asarray(tensor)) for name, tensor in zip(names, _as_list(values), strict=True)}
    ranges |= {pool: ranges[relu] for relu, pool in pools.items()}
    for add, both in summands.items():
        if len(both) == 2 and all(isinstance(taker, keras.layers.ReLU) for taker in _takers(network.get_layer(add))):
            for name, beside in (both, both[::-1]):
                if name in ranges and beside in ranges and len(_takers(network.get_layer(name))) == 1:
                    low, high = ranges[name]
                    ranges[name] = max(low, -ranges[beside][1]), high
    return ranges


def _pooled(network: keras.Model) -> dict[str, str]:
    """Return the name of the MaxPooling2D layer for each ReLU layer that feeds it alone, by the ReLU's name."""
    takers = {layer.name: _takers(layer) for layer in network.layers if isinstance(layer, keras.layers.ReLU)}
    return {
        name: taken[0].name
        for name, taken in takers.items()
        if len(taken) == 1 and isinstance(taken[0], keras.layers.MaxPooling2D)
    }


def _range(values: NDArray[np.float32]) -> Range:
    low, high = np.percentile(values, [100 - KEPT_PERCENT, KEPT_PERCENT])
    return min(0.0, float(low)), max(1e-6, float(high))


def _is_rounded(layer: keras.layers.Layer) -> bool:
    return isinstance(layer, keras.layers.BatchNormalization | keras.layers.Conv2D)


def _takers(layer: keras.layers.Layer) -> list[keras.layers.Layer]:
    """Return the layers that its output feeds, once each; Keras has no public access to them."""
    found = [node.operation for node in layer._outbound_nodes]  # noqa: SLF001
    return list(dict.fromkeys(found))  # a layer is called again when a network is rebuilt around it


def _sources(layer: keras.layers.Layer) -> list[str]:
    return [tensor._keras_history.operation.name for tensor in _as_list(layer.input)]  # noqa: SLF001


def _as_list(values: object) -> list:  # type: ignore[type-arg]
    return list(values) if isinstance(values, list | tuple) else [values]
