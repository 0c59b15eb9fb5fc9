"""Columns of a pass over a datamodule, gathered by key, alike for any number of processes."""

from abc import abstractmethod
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from torch import Tensor

from vad.datamodules.video_data import Pass, VideoData
from vad.distributed import gather_by_key


class Collecting(pl.LightningModule):
    """A LightningModule whose `columns` `Trainer.predict` collects over all processes: `collected` holds them then.

    A subclass that overrides a hook of prediction calls the base's.
    """

    def __init__(self) -> None:
        super().__init__()
        self.collected: dict[str, np.ndarray] = {}
        self._parts: list[dict[str, Tensor]] = []

    @abstractmethod
    def columns(self, batch: Any) -> dict[str, Tensor]:
        """What is collected of a batch, each (B, ...), in the order of its keys."""

    def on_predict_epoch_start(self) -> None:
        self._parts = []

    def predict_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> dict[str, Tensor]:
        columns = self.columns(batch)
        self._parts.append({**columns, "key": batch.key})
        return columns

    def on_predict_epoch_end(self) -> None:
        parts, self._parts = self._parts, []
        joined = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
        gathered = gather_by_key({name: column for name, column in joined.items() if name != "key"}, joined["key"])
        self.collected = {name: column.cpu().numpy() for name, column in gathered.items() if name != "key"}


def collect(trainer: pl.Trainer, module: Collecting, data: VideoData, what: Pass) -> dict[str, np.ndarray]:
    """Run a module over the samples of a pass; its columns, row i for key i, on every rank."""
    before, data.predict_on = data.predict_on, what
    try:
        trainer.predict(module, datamodule=data, return_predictions=False, weights_only=True)
    finally:
        data.predict_on = before
    collected, module.collected = module.collected, {}
    return collected
