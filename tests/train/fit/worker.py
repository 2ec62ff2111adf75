"""One process of a distributed training: ``python -m tests.train.fit.worker DATA RUN KIND EPOCHS [--resume]``.

Two logical CPUs stand for two GPUs where KIND is mirrored. One process makes the shares of two where it is ``alone``.
"""

import os
import sys
from pathlib import Path

from edge.errors import EmotionEdgeError
from train.data.dataset import load_dataset
from train.networks.backend import choose_backend


def main() -> None:
    """Train and print nothing but what `fit` reports."""
    data, run, kind, epochs = sys.argv[1:5]
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"  # as the command does
    choose_backend()
    import keras

    if kind == "mirrored":
        import tensorflow as tf

        cpu = tf.config.list_physical_devices("CPU")[0]
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    from train.fit.distribute import Distribution, open_distribution
    from train.fit.loop import fit
    from train.fit.settings import FitSettings

    def build(classes: int) -> keras.Model:
        """No dropout: each worker draws masks of its own."""
        layers = [
            keras.Input((48, 48, 1)),
            keras.layers.Rescaling(1 / 255),
            keras.layers.Conv2D(4, 5, strides=4),
            keras.layers.BatchNormalization(momentum=0.9),
            keras.layers.ReLU(),
            keras.layers.Flatten(),
            keras.layers.Dense(classes),
        ]
        return keras.Sequential(layers, name="tiny")

    if kind == "alone":
        distribution = Distribution()
        distribution.workers = 2
    else:
        distribution = open_distribution(kind)  # type: ignore[arg-type]
    settings = FitSettings(
        epochs=int(epochs),
        batch=40,
        seed=3,
        average_momentum=0.8,
        peak_learning_rate=0.02,
        mix_share=0.0,
        degrade_share=0.0,
    )
    resume = "--resume" in sys.argv
    try:
        fit(
            build, load_dataset(Path(data)), Path(run), settings, resume=resume, report=print, distribution=distribution
        )
    except EmotionEdgeError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
