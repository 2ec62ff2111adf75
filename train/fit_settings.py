"""How a network is fitted. Free of Keras, so that help texts can show the defaults."""

from dataclasses import dataclass, field

from edge.errors import UsageError
from train.augment import Augmentation


@dataclass(frozen=True, slots=True)
class FitSettings:
    """How a network is fitted. Everything random comes from ``seed``.

    Raises ``UsageError`` where a number makes no sense.
    """

    epochs: int = 60
    batch: int = 128
    peak_learning_rate: float = 0.1
    """reached after ``warmup_share`` of the steps, then a cosine down to zero (one cycle)"""
    warmup_share: float = 0.15
    weight_decay: float = 5e-3
    """decoupled: a step at rate r shrinks a kernel by r * weight_decay; with momentum 0.9 as L2 of 5e-4"""
    vote_share: float = 0.3
    """share of the target that FER+ votes give, where there are any"""
    label_smoothing: float = 0.05
    average_momentum: float = 0.998
    """of the exponential average of the weights, a step; the averaged weights are the result"""
    seed: int = 0
    augmentation: Augmentation = field(default_factory=Augmentation)

    def __post_init__(self) -> None:
        for name, least in (("epochs", 1), ("batch", 2), ("seed", 0)):
            if getattr(self, name) < least:
                raise UsageError(f"{name} must be at least {least}, found {getattr(self, name)}")
