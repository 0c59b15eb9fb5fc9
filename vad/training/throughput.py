"""How fast is the training, and how much of it is waiting for data?"""

import time
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import Callback


class Throughput(Callback):
    """Logs once an epoch `samples_per_second`, over all processes, and `data_wait`, the share of time between steps.

    The time between the end of a step and the start of the next holds the wait for the loader, the copy to the device
    and Lightning's own work. On a GPU, steps are only started by the host: there `data_wait` is the host's, and the
    device waited at most that long. The first step of an epoch is left out, with its start of workers and warming of
    caches.
    """

    def __init__(self) -> None:
        self._reset()

    def _reset(self) -> None:
        self.samples = 0
        self.waited = 0.0
        self.started = self.ended = 0.0

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._reset()

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        if self.ended:
            self.waited += time.perf_counter() - self.ended
            self.samples += len(batch)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self.ended = time.perf_counter()
        self.started = self.started or self.ended

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        seconds = self.ended - self.started
        if seconds > 0:
            pl_module.log_dict(
                {
                    "samples_per_second": self.samples * trainer.world_size / seconds,
                    "data_wait": self.waited / seconds,
                }
            )
