"""VGG16 (Simonyan and Zisserman 2014, arXiv:1409.1556) for small gray faces. Importing this module loads Keras."""

import keras
from keras import layers

from edge.emotions import EMOTIONS

BLOCKS = ((2, 64), (2, 128), (3, 256), (3, 512), (3, 512))
"""(convolutions, channels) of each block"""


def vgg16(*, width: float = 1.0, side_px: int | None = 48, dropout: float = 0.5) -> keras.Model:
    """Build VGG16's thirteen convolutions, each with BatchNorm, averaged over the picture, and a new head.

    Layers have the names of Keras's own VGG16. BatchNorm makes the network trainable from nothing; it folds into
    the convolutions, which then have the layout of VGG16 again.

    Parameters
    ----------
    width
        Share of VGG16's channels.
    side_px
        None takes pictures of any size from 32 px.

    Returns
    -------
    A model from pixels [batch, side_px, side_px, 1], 0..255 in any numeric type, to logits [batch, 5].
    """
    inputs = keras.Input((side_px, side_px, 1), name="chip")
    x = layers.Rescaling(1 / 127.5, offset=-1.0, name="scale")(inputs)
    for block, (count, channels) in enumerate(BLOCKS, start=1):
        for index in range(1, count + 1):
            name = f"block{block}_conv{index}"
            x = layers.Conv2D(
                int(channels * width), 3, padding="same", use_bias=False, kernel_initializer="he_normal", name=name
            )(x)
            x = layers.BatchNormalization(momentum=0.97, epsilon=1e-3, name=f"{name}_bn")(x)
            x = layers.ReLU(name=f"{name}_relu")(x)
        x = layers.MaxPooling2D(2, name=f"block{block}_pool")(x)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    x = layers.Dropout(dropout, name="dropout")(x)
    return keras.Model(inputs, layers.Dense(len(EMOTIONS), name="logits", dtype="float32")(x), name="vgg16")
