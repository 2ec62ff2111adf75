"""Settings of a training. This module does not load Keras, so that help texts can show the defaults."""

from dataclasses import dataclass, field
from typing import Any

from edge.errors import UsageError
from train.data.augment import Augmentation


@dataclass(frozen=True, slots=True)
class FitSettings:
    """Settings of a training from scratch; everything random comes from ``seed``.

    Raises ``UsageError`` if a number is out of range.
    """

    epochs: int = 180
    batch: int = 256
    peak_learning_rate: float = 0.1
    """reached after ``warmup_share`` of the steps, then a cosine down to zero (one cycle)"""
    warmup_share: float = 0.08
    weight_decay: float = 5e-3
    """decoupled: a step at rate r shrinks a kernel by r * weight_decay; with momentum 0.9 as L2 of 5e-4"""
    vote_share: float = 0.4
    """share of FER+ votes in the target of a picture that has some"""
    label_smoothing: float = 0.03
    balance: float = 0.5
    """exponent of the class weights: 0 none, 1 every class counts the same (`train.fit.targets.class_weights`)"""
    average_momentum: float = 0.999
    """of the exponential average of the weights, a step; the averaged weights are the result"""
    teacher_share: float = 0.0
    """share of the target that teachers give, the rest is label and votes (distillation, Hinton et al. 2015,
    arXiv:1503.02531)"""
    views: int = 8
    """warped copies of each training picture that teachers score: one an epoch, then again from the first"""
    mix_share: float = 0.6
    """share of the batches in which each picture is mixed with another (mixup, Zhang et al. 2018, arXiv:1710.09412)"""
    degrade_share: float = 0.4
    """share of the pictures that are blurred, darkened, covered and so on; with it some chips show no face
    (`train.data.degrade`)"""
    seed: int = 0
    augmentation: Augmentation = field(default_factory=Augmentation)

    def __post_init__(self) -> None:
        for name, least in (("epochs", 1), ("batch", 2), ("views", 1), ("seed", 0)):
            if getattr(self, name) < least:
                raise UsageError(f"{name} must be at least {least}, found {getattr(self, name)}")
        for name in ("vote_share", "teacher_share", "label_smoothing", "balance", "mix_share", "degrade_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise UsageError(f"{name} must be 0..1, found {getattr(self, name)}")


TAUGHT: dict[str, Any] = {"teacher_share": 0.7, "weight_decay": 2.5e-3}
"""Settings that change if there are teachers."""
