"""The curves of a run for TensorBoard: ``tensorboard --logdir runs`` shows them beside each other."""

from pathlib import Path

from tensorboardX import SummaryWriter

FOLDER = "tensorboard"


def log_epoch(run: Path, epoch: int, figures: dict[str, float]) -> None:
    """Add the figures of an epoch (1 is the first) to the run's log.

    Each epoch is a file of its own, closed at once, so that a killed process leaves whole ones. One that is written
    again, after an interruption, takes the place of the one before it: TensorBoard drops what ``purge_step`` names.
    """
    suffix = f".epoch{epoch:04d}"
    for stale in (run / FOLDER).glob(f"*{suffix}"):
        stale.unlink()
    with SummaryWriter(str(run / FOLDER), purge_step=epoch, filename_suffix=suffix) as writer:
        for name, value in figures.items():
            writer.add_scalar(name, float(value), global_step=epoch)
