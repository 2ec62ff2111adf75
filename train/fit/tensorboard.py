"""Write a run's curves for TensorBoard: ``tensorboard --logdir runs`` compares them."""

from pathlib import Path

from tensorboardX import SummaryWriter

FOLDER = "tensorboard"


def log_epoch(run: Path, epoch: int, figures: dict[str, float]) -> None:
    """Add the figures of an epoch (1 is the first) to the run's log.

    Each epoch has its own file, which is closed at once, so that a killed process leaves complete files. An epoch that
    is trained again after an interruption replaces its file; ``purge_step`` makes TensorBoard drop the old values.
    """
    suffix = f".epoch{epoch:04d}"
    for stale in (run / FOLDER).glob(f"*{suffix}"):
        stale.unlink()
    with SummaryWriter(str(run / FOLDER), purge_step=epoch, filename_suffix=suffix) as writer:
        for name, value in figures.items():
            writer.add_scalar(name, float(value), global_step=epoch)
