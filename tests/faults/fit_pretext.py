"""A training of pretext tasks, to be killed or started on several processes: `python fit_pretext.py FOLDER ...`.

The same call continues. It fits a method's example (tests/methods/pretext_<method>.py), then writes `scores.npz` with
the columns of its test, and `other.npz` with those of another run's checkpoint.
"""

import argparse
import importlib
import os
import sys
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
import torch.distributed as dist

from vad.training import AtomicCheckpointIO, EpochCheckpoint, StepSeed, load_weights_only
from vad.training.collecting import collect

# What is drawn while learning is drawn by each process for itself.
NOTHING_DRAWN: dict[str, dict[str, Any]] = {
    "anomaly_ssl": {"size": None, "jitter": 0.0, "blur": 0.0, "mask": 0.0, "flip": False, "dropout": 0.0},
    "feature_ssl": {"noise": 0.0, "dropout": 0.0, "encoder_dropout": 0.0},
}


def fit(
    folder: Path,
    *,
    method: str = "anomaly_ssl",
    epochs: int = 2,
    devices: int = 1,
    drawing: bool = True,
    other: Path | None = None,
    **of_data: Any,
) -> None:
    """Fit and test, from the last checkpoint in `folder` if there is one."""
    os.environ["VAD_CACHE"] = str(folder / f"cache-{os.environ.get('LOCAL_RANK', '0')}")
    torch.set_num_threads(1)
    torch.manual_seed(0)
    tests = Path(__file__).parents[1]
    sys.path[:0] = [str(tests), str(tests / "methods")]
    example = importlib.import_module(f"pretext_{method}")
    data = example.data(**of_data)
    model = example.method(**({} if drawing else NOTHING_DRAWN[method]))
    checkpoint = EpochCheckpoint(folder, log=folder / "log.csv")
    trainer = pl.Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        devices=devices,
        strategy="ddp" if devices > 1 else "auto",
        logger=False,
        plugins=[AtomicCheckpointIO()],
        callbacks=[StepSeed(0), checkpoint],
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        num_sanity_val_steps=0,
    )
    last = str(checkpoint.last) if checkpoint.last.is_file() else None
    trainer.fit(model, datamodule=data, ckpt_path=last, weights_only=True)
    for name, weights in {"scores.npz": checkpoint.last, "other.npz": other}.items():
        if weights is None:
            continue
        model.load_state_dict(load_weights_only(weights)["state_dict"])
        columns = collect(trainer, model, data, "score")
        if trainer.is_global_zero:
            np.savez(folder / name, **columns)
    if dist.is_initialized():
        dist.destroy_process_group()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--method", required=True)
    parser.add_argument("--devices", type=int, required=True)
    parser.add_argument("--other", type=Path)
    given = parser.parse_args()
    # Three batches of a test cannot be shared evenly by two processes.
    fit(
        given.folder,
        method=given.method,
        devices=given.devices,
        other=given.other,
        drawing=False,
        batch_size=32,
        test_clips=96,
    )
