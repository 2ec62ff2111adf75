"""Train VGG16 by transfer: a new head on frozen convolutions, then all layers. Importing this loads Keras."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal

import keras
import numpy as np

from edge.errors import UsageError
from train.data.dataset import Dataset
from train.fit.distribute import Distribution
from train.fit.loop import fit
from train.fit.settings import TAUGHT, FitSettings
from train.networks.transfer import BODY_FACES, copy_imagenet_layout, copy_weights
from train.networks.vgg import vgg16


@dataclass(frozen=True, slots=True)
class VggPlan:
    """Settings of the three stages; each stage is a resumable run of its own."""

    weights: Path | Literal["imagenet", "none"] = "none"
    width: float = 0.5
    """share of VGG16's channels; ImageNet's weights need 1"""
    pretrain_epochs: int = 20
    frozen_epochs: int = 1
    epochs: int = 8
    """of fine-tuning"""
    batch: int = 128
    seed: int = 0
    teachers: tuple[Path, ...] = ()
    """models whose scores are learned too, in pretraining and fine-tuning"""
    views: int = FitSettings().views
    """warped copies of each training picture that teachers score"""
    mix_share: float = FitSettings().mix_share
    """share of these that another picture is mixed into (mixup)"""

    def __post_init__(self) -> None:
        if self.weights != "none" and self.width != 1:
            raise UsageError(f"weights of VGG16's layout need --width 1, found {self.width}")

    def pretraining(self) -> FitSettings:
        """Return settings for training from scratch: every face that has votes, growing pictures."""
        settings = FitSettings(
            epochs=self.pretrain_epochs, batch=self.batch, seed=self.seed, peak_learning_rate=0.08, vote_share=0.4,
            other_classes=True, growing_sides=((0.6, 32), (0.85, 40)),
        )  # fmt: skip
        return self._taught(settings)

    def frozen(self) -> FitSettings:
        """Return settings for the new head on frozen convolutions."""
        return FitSettings(epochs=self.frozen_epochs, batch=self.batch, seed=self.seed, peak_learning_rate=0.05)

    def fine_tuning(self) -> FitSettings:
        """Return settings for fine-tuning all layers, at a low learning rate."""
        settings = replace(self.frozen(), epochs=self.epochs, peak_learning_rate=0.02)
        return self._taught(settings)

    def _taught(self, settings: FitSettings) -> FitSettings:
        return replace(settings, views=self.views, mix_share=self.mix_share, **TAUGHT) if self.teachers else settings


def train_vgg(
    dataset: Dataset,
    run: Path,
    plan: VggPlan,
    *,
    resume: bool = False,
    report: Callable[[str], None] = lambda _line: None,
    distribution: Distribution | None = None,
) -> keras.Model:
    """Pretrain if there are no weights, train a new head, fine-tune all layers.

    ``run/pretrain`` and ``run/frozen`` are run folders of the first two stages, ``run`` is that of the last.

    Raises
    ------
    UsageError, DataError
        As `train.fit.loop.fit`; also if ``weights`` cannot be loaded.
    """
    stage = partial(fit, resume=resume, report=report, distribution=distribution)
    taught = partial(stage, teachers=plan.teachers, scores_folder=run / "teacher-scores")
    body: Path | None = None
    if plan.weights == "none":
        report("pretraining on every face with votes, since no weights are given")
        body = run / "pretrain"
        taught(lambda: vgg16(width=plan.width, side_px=None), dataset, body, plan.pretraining())
    report("training the new head on frozen convolutions")
    stage(lambda: _with_new_head(dataset, plan, body), dataset, run / "frozen", plan.frozen())
    report("fine-tuning all layers")
    return taught(lambda: vgg16(width=plan.width), dataset, run, plan.fine_tuning(), start=run / "frozen")


def _with_new_head(dataset: Dataset, plan: VggPlan, body: Path | None) -> keras.Model:
    model = vgg16(width=plan.width)
    fresh = [weights.copy() for weights in model.layers[-1].get_weights()]
    if body is not None:
        copy_weights(body, model)
        model.layers[-1].set_weights(fresh)
    elif plan.weights != "none":
        rows = dataset.select("train")
        some = np.random.default_rng(plan.seed).choice(rows, size=min(BODY_FACES, len(rows)), replace=False)
        copy_imagenet_layout(plan.weights, model, dataset.images[some])
    for layer in model.layers[:-1]:
        layer.trainable = False
    return model
