"""Which Keras backend a command uses, decided before anything loads Keras."""

import os


def choose_backend() -> None:
    """Take TensorFlow where ``KERAS_BACKEND`` names no other, and keep its C++ part from talking on stderr.

    Convolutions go through oneDNN on every processor: TensorFlow itself leaves it off on AMD's, where VGG16 then learns
    from 31 pictures a second in place of 83 (two cores of an EPYC, 2026-11-25).

    Call it before the first import of keras: all is read once, on import.
    """
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
