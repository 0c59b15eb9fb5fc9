"""Checkpoints that are whole or not there, written at the ends of epochs only."""

import math
from pathlib import Path
from typing import Any, Literal

import lightning.pytorch as pl
import torch
from lightning.fabric.plugins.io.checkpoint_io import CheckpointIO
from lightning.pytorch.callbacks import Checkpoint

from vad.errors import ConfigError, RunError
from vad.files import atomic_write
from vad.networks.tensor_files import load_weights_only as load_weights_only
from vad.training.loggers import RowLog


def require_checkpoint(path: str | Path, module: pl.LightningModule) -> None:
    """Raise `RunError` where a training of `module` cannot go on from a file: no checkpoint, or of another model."""
    content = load_weights_only(path)
    parts = ("state_dict", "optimizer_states", "loops", "callbacks", "epoch", "pytorch-lightning_version")
    if not isinstance(content, dict) or any(part not in content for part in parts):
        raise RunError(f"{path}: is no checkpoint of a training; delete it to begin anew")
    ours, theirs = module.state_dict(), content["state_dict"]
    differing = [name for name in ours.keys() | theirs.keys() if _shape(ours.get(name)) != _shape(theirs.get(name))]
    if differing:
        raise RunError(
            f"{path}: is a checkpoint of another model than {type(module).__name__} with these arguments "
            f"({min(map(str, differing))} differs); give another --name, or --fresh to move the run aside"
        )


def _shape(tensor: Any) -> torch.Size | None:
    return tensor.shape if isinstance(tensor, torch.Tensor) else None


class AtomicCheckpointIO(CheckpointIO):
    """Writes beside the target, flushes, renames. Lightning writes to the system's temporary folder and moves, which
    across file systems is a copy that a kill leaves half done."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        try:
            with atomic_write(path) as stream:
                torch.save(checkpoint, stream)
        except (OSError, RuntimeError) as error:  # torch wraps a full disk into a RuntimeError
            raise RunError(
                f"{path}: the checkpoint cannot be written ({' '.join(str(error).split())[:200]})"
            ) from error

    def load_checkpoint(
        self, path: str | Path, map_location: Any = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        return load_weights_only(path, "cpu" if map_location is None else map_location)

    def remove_checkpoint(self, path: str | Path) -> None:
        Path(path).unlink(missing_ok=True)


class EpochCheckpoint(Checkpoint):
    """`last.ckpt` at the end of every epoch, `best.ckpt` beside it when a validation metric got better; then `log.csv`.

    The rows of the log are part of the checkpoint, and the file is written after it: a run that was killed anywhere
    continues with the log that its checkpoint knows, without a gap and without a row twice. Learning rates must follow
    steps, since Lightning moves schedules of epochs after this callback. An epoch whose `loss` is no number is not
    written but ends the training with a `RunError`.

    Args:
        folder: Where the checkpoints lie.
        log: `log.csv`; `None` to write none.
        monitor: The validation metric that `best.ckpt` is chosen by, wherever it is logged.
        mode: Whether less or more of it is better.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        log: str | Path | None = None,
        monitor: str = "val_loss",
        mode: Literal["min", "max"] = "min",
    ) -> None:
        self.folder = Path(folder)
        self.rows = RowLog(log)
        self.monitor = monitor
        self.sign = 1.0 if mode == "min" else -1.0
        self.best = math.inf

    @property
    def last(self) -> Path:
        """The checkpoint that a run continues from, `fit(..., ckpt_path=last)` if it exists."""
        return self.folder / "last.ckpt"

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if any(config.interval == "epoch" for config in trainer.lr_scheduler_configs):
            raise ConfigError(f"{type(pl_module).__name__}: learning-rate schedules must follow steps (interval: step)")
        if trainer.is_global_zero:
            self.rows.write()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
        loss = metrics.get("loss", 0.0)
        if not math.isfinite(loss):
            raise RunError(
                f"the training diverged in epoch {trainer.current_epoch}: its loss is {loss}; lower the learning rate"
            )
        self.rows.add({"epoch": trainer.current_epoch, "step": trainer.global_step, **metrics})
        value = self.sign * metrics.get(self.monitor, math.nan)
        improved = value < self.best
        if improved:
            self.best = value
            trainer.save_checkpoint(self.folder / "best.ckpt", weights_only=False)
        trainer.save_checkpoint(self.last, weights_only=False)  # False: the optimiser too
        if trainer.is_global_zero:
            self.rows.write()

    def state_dict(self) -> dict[str, Any]:
        return {"rows": self.rows.rows, "best": self.best}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.rows.rows = list(state_dict["rows"])
        self.best = float(state_dict["best"])
