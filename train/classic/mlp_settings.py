"""Settings of a multilayer perceptron. This module does not load Keras."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

from edge.errors import UsageError
from train.data.features import Kind

Recipe = Literal["best", "article"]


@dataclass(frozen=True, slots=True)
class MlpSettings:
    """Settings of a multilayer perceptron; the defaults are ours, `article` returns the article's.

    Raises ``UsageError`` if a number is out of range.
    """

    features: Kind = "landmarks"
    recipe: Recipe = "best"
    epochs: int = 14
    batch: int = 256
    learning_rate: float = 1e-3
    """AdamW's first, then a cosine down to zero; the article's SGD keeps it"""
    weight_decay: float = 1e-2
    dropout: float = 0.5
    """after each hidden layer; a quarter of it on what goes in"""
    whitened: int = 400
    """principal components that replace the features; 0: the standardised features themselves"""
    whitening_power: float = 0.75
    """0: components as spread as they are; 1: all equally"""
    vote_share: float = 0.3
    """share of FER+ votes in the target of a picture that has some"""
    label_smoothing: float = 0.05
    balanced: bool = True
    """weight each picture by the inverse size of its class"""
    mirrored: bool = True
    """train on mirrored faces too"""
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in (("epochs", 1), ("batch", 1), ("whitened", 0), ("seed", 0)):
            if getattr(self, name) < least:
                raise UsageError(f"{name} must be at least {least}, found {getattr(self, name)}")

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def article(features: Kind, *, epochs: int = 30, seed: int = 0) -> MlpSettings:
    """Return the article's: SGD 0.001 on standardised features, and nothing else. It does not give epochs or batch."""
    return MlpSettings(
        features=features, recipe="article", epochs=epochs, batch=32, learning_rate=1e-3, weight_decay=0.0, dropout=0.0,
        whitened=0, vote_share=0.0, label_smoothing=0.0, balanced=False, mirrored=False, seed=seed,
    )  # fmt: skip
