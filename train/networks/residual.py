"""A residual CNN, the device's network up to version 0.1, in Keras 3. Importing this module loads Keras."""

from dataclasses import dataclass, replace

import keras
from keras import layers

from edge.emotions import EMOTIONS


@dataclass(frozen=True, slots=True)
class ResidualShape:
    """Shape of a residual CNN; by default 41 million multiply-adds."""

    stem: int = 32
    """channels of the 5x5 stride-2 stem"""
    stages: tuple[int, ...] = (32, 64, 96)
    """channels of each stage; every stage but the first halves the resolution"""
    blocks: tuple[int, ...] = (1, 2, 2)
    """residual blocks of each stage"""
    dropout: float = 0.3

    def scaled(self, width: float) -> "ResidualShape":
        """Return the shape with ``width`` times the channels."""
        return replace(self, stem=round(self.stem * width), stages=tuple(round(n * width) for n in self.stages))


def residual_cnn(shape: ResidualShape | None = None, *, classes: int = len(EMOTIONS)) -> keras.Model:
    """Build a residual CNN.

    Plain 3x3 convolutions with BatchNorm and ReLU (folded into one int8 operator each), average-pooled
    shortcuts (ResNet-D, He et al. 2018, arXiv:1812.01187), global average pooling: no operator that int8 TFLite
    lacks.

    Returns a model from pixels [batch, 48, 48, 1], 0..255 in any numeric type, to logits [batch, classes].
    """
    shape = shape or ResidualShape()
    inputs = keras.Input((48, 48, 1), name="chip")
    x = layers.Rescaling(1 / 127.5, offset=-1.0, name="scale")(inputs)
    x = layers.ReLU(name="stem_relu")(_conv(x, shape.stem, kernel=5, strides=2, name="stem"))
    for stage, (channels, count) in enumerate(zip(shape.stages, shape.blocks, strict=True)):
        for block in range(count):
            strides = 2 if stage > 0 and block == 0 else 1
            x = _residual(x, channels, strides=strides, name=f"stage{stage}_block{block}")
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    x = layers.Dropout(shape.dropout, name="dropout")(x)
    return keras.Model(inputs, layers.Dense(classes, name="logits", dtype="float32")(x), name="residual_cnn")


def _conv(x: keras.KerasTensor, channels: int, *, kernel: int, strides: int = 1, name: str) -> keras.KerasTensor:
    x = layers.Conv2D(
        channels, kernel, strides=strides, padding="same", use_bias=False, kernel_initializer="he_normal",
        name=f"{name}_conv",
    )(x)  # fmt: skip
    return layers.BatchNormalization(momentum=0.97, epsilon=1e-3, name=f"{name}_bn")(x)


def _residual(x: keras.KerasTensor, channels: int, *, strides: int, name: str) -> keras.KerasTensor:
    y = layers.ReLU(name=f"{name}_relu1")(_conv(x, channels, kernel=3, strides=strides, name=f"{name}_1"))
    y = _conv(y, channels, kernel=3, name=f"{name}_2")
    if strides > 1:
        x = layers.AveragePooling2D(strides, name=f"{name}_shrink")(x)
    if x.shape[-1] != channels:
        x = _conv(x, channels, kernel=1, name=f"{name}_match")
    return layers.ReLU(name=f"{name}_relu2")(layers.Add(name=f"{name}_add")([x, y]))
