"""A training as a program of its own, to be killed or started on several processes: `python fit_cubes.py FOLDER ...`.

The same command continues. It fits LBR-SPR on generated cubes, then writes `detector.ckpt`, and `scores.npz` with its
columns.
"""

import argparse
import os
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import lightning.pytorch as pl
import numpy as np
import torch
from toy_cubes import cube_data

from vad.methods.anomaly_detector import AnomalyDetector, collect
from vad.methods.lbr_spr import LBRSPR
from vad.training import AtomicCheckpointIO, EpochCheckpoint, StepSeed


class Linger(pl.Callback):
    """A short pause at the end of every epoch, so that kills fall into every part of it."""

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        time.sleep(0.02)


def main() -> None:
    """Fit, estimate, score."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--devices", type=int, default=1)
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--score", type=Path, help="score with this detector too, into other.npz")
    options = parser.parse_args()
    os.environ["VAD_CACHE"] = str(options.folder / f"cache-{os.environ.get('LOCAL_RANK', '0')}")
    torch.set_num_threads(1)
    torch.manual_seed(0)
    data = cube_data(bands=1, num_workers=options.workers, validation=0.25)
    model = LBRSPR(
        width=4, channels=1, warmup_epochs=1, shrink_rate=0.05, schedule="cosine", average=0.9, precise_batchnorm=True
    )
    checkpoint = EpochCheckpoint(options.folder, log=options.folder / "log.csv")
    several: dict[str, Any] = {"devices": options.devices, "strategy": "ddp" if options.devices > 1 else "auto"}
    trainer = pl.Trainer(
        max_epochs=options.epochs,
        accelerator="cpu",
        logger=False,
        plugins=[AtomicCheckpointIO()],
        callbacks=[StepSeed(0), Linger(), checkpoint],
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        num_sanity_val_steps=0,
        **several,
    )
    last = str(checkpoint.last) if checkpoint.last.is_file() else None
    trainer.fit(model, datamodule=data, ckpt_path=last, weights_only=True)
    model.finish()
    model.estimate_batchnorm(trainer, data)
    model.estimate(collect(trainer, model, data, "estimate"))
    columns = collect(trainer, model, data, "score")
    if trainer.is_global_zero:
        model.save_detector(options.folder / "detector.ckpt")
        np.savez(options.folder / "scores.npz", **columns, score=model.score(columns))
    if options.score is not None:
        other = AnomalyDetector.load_detector(options.score)
        columns = collect(trainer, other, data, "score")
        if trainer.is_global_zero:
            np.savez(options.folder / "other.npz", **columns, score=other.score(columns))


if __name__ == "__main__":
    main()
