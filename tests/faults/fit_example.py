"""A training as a program of its own, to be killed or started on several processes: `python fit_example.py FOLDER ...`.

The same command continues. It fits a method's example (tests/methods/example_<method>.py), then writes `detector.ckpt`,
and `scores.npz` with its columns.
"""

import argparse
import importlib
import os
import sys
import time
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch

from vad.distributed import leave
from vad.methods.anomaly_detector import AnomalyDetector
from vad.training import AtomicCheckpointIO, EpochCheckpoint, StepSeed
from vad.training.collecting import collect

# Where an example turns on what does not go together with several processes and the same loss.
SIMPLER: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "lbr_spr": ({"motion": False, "bands": 1, "warmup_epochs": 1}, {"flow": False, "bands": 1}),
    "ssmtl": ({}, {"max_items": 48}),  # of 49: two processes leave out a last batch of one
    "mil_hims": ({"dropout": 0.0}, {}),
    "contrastive_clustering": ({"dropout": 0.0}, {}),
}


class Linger(pl.Callback):
    """A short pause at the end of every epoch, so that kills fall into every part of it."""

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        time.sleep(0.02)


def main() -> None:
    """Fit, estimate, score."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--method", default="lbr_spr")
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--devices", type=int, default=1)
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--score", type=Path, help="score with this detector too, into other.npz")
    options = parser.parse_args()
    os.environ["VAD_CACHE"] = str(options.folder / f"cache-{os.environ.get('LOCAL_RANK', '0')}")
    torch.set_num_threads(1)
    torch.manual_seed(0)
    tests = Path(__file__).parents[1]
    sys.path[:0] = [str(tests), str(tests / "methods")]
    example = importlib.import_module(f"example_{options.method}")
    of_detector, of_data = SIMPLER.get(options.method, ({}, {}))
    data = example.data(num_workers=options.workers, validation=0.25, **of_data)
    model = example.detector(**of_detector)
    checkpoint = EpochCheckpoint(options.folder, log=options.folder / "log.csv")
    strategy = "ddp_find_unused_parameters_true" if model.leaves_unused else "ddp"
    several: dict[str, Any] = {"devices": options.devices, "strategy": strategy if options.devices > 1 else "auto"}
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
    if model.precise_batchnorm:
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
    leave()


if __name__ == "__main__":
    main()
