"""Which Keras backend a command uses, decided before anything loads Keras."""

import os


def choose_backend() -> None:
    """Take TensorFlow where ``KERAS_BACKEND`` names no other, and keep its C++ part from talking on stderr.

    Call it before the first import of keras: both are read once, on import.
    """
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
