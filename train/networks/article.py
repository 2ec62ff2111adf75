"""The convolutional network of the article that this project grew from, at any number of filters.

One 4x4 convolution, BatchNorm, a 3x3 pool with stride 4, dropout, a dense layer of 2,000, five logits. With the
article's 5,000 filters the dense layer alone holds 1.44 billion weights.
"""

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from edge.emotions import EMOTIONS
from edge.errors import UsageError
from train.data.csv_rows import SIDE_PX

if TYPE_CHECKING:
    import keras

ARTICLE_FILTERS = 5000
HIDDEN = 2000
ARTICLE_PEAK_LEARNING_RATE = 0.005
"""at the device CNN's 0.1 its wide dense layer, which has no BatchNorm, diverges within an epoch"""
POOLED_PX = SIDE_PX // 4
BYTES_A_PARAMETER = 32
"""weight, gradient, momentum and average, float32 each, and as much again when a run is resumed"""
BYTES_A_FILTER_AND_PICTURE = 5 * 4 * SIDE_PX * SIDE_PX
"""convolution, BatchNorm and ReLU on the way in, and two of them on the way back, float32"""


def article_cnn(filters: int, *, classes: int = len(EMOTIONS), dropout: float = 0.5) -> "keras.Model":
    """Build it: pixels [batch, 48, 48, 1], 0..255, to logits [batch, classes].

    The article names no activation and no dropout rate: ReLU and 0.5 are ours.
    """
    import keras
    from keras import layers

    return keras.Sequential(
        [
            keras.Input((SIDE_PX, SIDE_PX, 1), name="chip"),
            layers.Rescaling(1 / 127.5, offset=-1.0, name="scale"),
            layers.Conv2D(filters, 4, padding="same", activation="relu", name="conv"),
            layers.BatchNormalization(momentum=0.97, name="conv_bn"),
            layers.MaxPooling2D(3, strides=4, padding="same", name="pool"),
            layers.Dropout(dropout, name="dropout"),
            layers.Flatten(name="flatten"),
            layers.Dense(HIDDEN, activation="relu", name="hidden"),
            layers.Dense(classes, dtype="float32", name="logits"),
        ],
        name="article_cnn",
    )


def count_parameters(filters: int) -> int:
    """Parameters of `article_cnn`, moving averages of BatchNorm included, without building it."""
    convolution = 4 * 4 * filters + filters
    hidden = POOLED_PX * POOLED_PX * filters * HIDDEN + HIDDEN
    return convolution + 4 * filters + hidden + HIDDEN * len(EMOTIONS) + len(EMOTIONS)


def training_bytes(filters: int, *, batch: int) -> int:
    """Least memory that its training takes, in bytes."""
    return count_parameters(filters) * BYTES_A_PARAMETER + filters * batch * BYTES_A_FILTER_AND_PICTURE


def require_memory(filters: int, *, batch: int, free_bytes: int | None = None) -> None:
    """Raise an error if training the network does not fit into this machine's free memory.

    Raises ``UsageError``, with its number of parameters, what it takes, and the largest that fits.
    """
    free = available_bytes() if free_bytes is None else free_bytes
    needed = training_bytes(filters, batch=batch)
    if free is None or needed <= free:
        return
    none = training_bytes(0, batch=batch)
    largest = max(0, (free - none) // (training_bytes(1, batch=batch) - none))
    raise UsageError(
        f"{filters:,} filters make {count_parameters(filters):,} parameters; training them takes "
        f"{needed / 1e9:.1f} GB, {free / 1e9:.1f} GB are free here; --filters {largest} fits"
    )


def available_bytes() -> int | None:
    """Memory that a new process can use, in bytes; None if the system does not say."""
    found = []
    with suppress(OSError):
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        found += [int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")]
    with suppress(OSError, ValueError):  # a container's share, which is "max" where there is no limit
        group = Path("/sys/fs/cgroup")
        limit = int((group / "memory.max").read_text(encoding="ascii"))
        found.append(limit - int((group / "memory.current").read_text(encoding="ascii")))
    return min(found, default=None)
