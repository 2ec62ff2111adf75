"""Settings of a training. This module does not load Keras, so that help texts can show the defaults."""

from dataclasses import dataclass, field
from typing import Any

from edge.errors import UsageError
from train.data.augment import Augmentation


@dataclass(frozen=True, slots=True)
class FitSettings:
    """Settings of a training. Everything random comes from ``seed``.

    Raises ``UsageError`` if a number is out of range.
    """

    epochs: int = 60
    batch: int = 128
    peak_learning_rate: float = 0.1
    """reached after ``warmup_share`` of the steps, then a cosine down to zero (one cycle)"""
    warmup_share: float = 0.15
    weight_decay: float = 5e-3
    """decoupled: a step at rate r shrinks a kernel by r * weight_decay; with momentum 0.9 as L2 of 5e-4"""
    vote_share: float = 0.3
    """share of FER+ votes in the target of a picture that has some"""
    label_smoothing: float = 0.05
    balance: float = 0.5
    """exponent of the class weights: 0 none, 1 every class counts the same (`train.fit.targets.class_weights`)"""
    average_momentum: float = 0.998
    """of the exponential average of the weights, a step; the averaged weights are the result"""
    other_classes: bool = False
    """also train on faces of other classes (disgust, fear) that have votes, with the votes as target"""
    growing_sides: tuple[tuple[float, int], ...] = ()
    """(share of the epochs, side in pixels), ascending: pictures are shrunk to that side until then, whole after the
    last; a third of the work or less at first (progressive resizing, Tan and Le 2021, arXiv:2104.00298)"""
    teacher_share: float = 0.0
    """share of the target that teachers give, the rest is label and votes (distillation, Hinton et al. 2015,
    arXiv:1503.02531)"""
    views: int = 8
    """warped copies of each training picture that teachers score: one an epoch, then again from the first"""
    mix_share: float = 0.0
    """share of a view's pictures that another picture is mixed into (mixup)"""
    seed: int = 0
    augmentation: Augmentation = field(default_factory=Augmentation)

    def __post_init__(self) -> None:
        for name, least in (("epochs", 1), ("batch", 2), ("views", 1), ("seed", 0)):
            if getattr(self, name) < least:
                raise UsageError(f"{name} must be at least {least}, found {getattr(self, name)}")
        for name in ("vote_share", "teacher_share", "label_smoothing", "balance", "mix_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise UsageError(f"{name} must be 0..1, found {getattr(self, name)}")
        shares = [share for share, _ in self.growing_sides]
        if shares != sorted(shares) or not all(0 < s <= 1 and 16 <= px <= 48 for s, px in self.growing_sides):
            raise UsageError(
                f"growing_sides must be ascending shares 0..1 with sides of 16..48, found {self.growing_sides}"
            )

    def side_px(self, epoch: int) -> int | None:
        """Side in pixels that pictures are shrunk to in an epoch (0 is the first); None: they are not shrunk."""
        return next((side for share, side in self.growing_sides if epoch < share * self.epochs), None)

    def phases(self) -> list[tuple[int, int]]:
        """(first epoch, epoch after the last) of each run of epochs with one picture size."""
        starts = [e for e in range(self.epochs) if e == 0 or self.side_px(e) != self.side_px(e - 1)]
        return list(zip(starts, [*starts[1:], self.epochs], strict=True))


TAUGHT: dict[str, Any] = {"teacher_share": 0.5, "label_smoothing": 0.0, "vote_share": 0.4, "other_classes": True}
"""Settings that change if there are teachers: their scores are soft already, and cover faces of other classes."""
