"""Randomness as a function of (seed, epoch, step, process), so that a continued run draws what the whole one would
have."""

from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor


def step_seed(seed: int, epoch: int, step: int, rank: int = 0) -> int:
    """A seed of 64 bits for one step of one process."""
    return int(np.random.SeedSequence((seed, epoch, step, rank)).generate_state(1, np.uint64)[0])


class StepSeed(Callback):
    """Seeds torch anew before every training step: dropout and augmentation on the device draw from it.

    Args:
        seed: The experiment's `seed_everything`.
    """

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        torch.manual_seed(step_seed(self.seed, trainer.current_epoch, batch_idx, trainer.global_rank))


def random_order(key: Tensor, rows: int, step: int) -> Tensor:
    """Random numbers float64 (B, rows) that follow from bag, row and step alone, not from how bags are shared out."""
    row = torch.arange(rows, device=key.device)
    return _mixed(_mixed(_mixed(key[:, None] + 1) + row) + step).double()


def _mixed(number: Tensor) -> Tensor:
    """A hash of int64 numbers, 32 bits of each."""
    number = number & 0xFFFFFFFF
    for _ in range(2):
        number = ((number >> 16) ^ number) * 0x45D9F3B & 0xFFFFFFFF
    return (number >> 16) ^ number
