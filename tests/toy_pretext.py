"""Clips of a few pictures that walk, and a tiny method that learns its pretext tasks: what tests of stages run."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vad.datamodules.pretext_data import PretextData
from vad.files import atomic_write
from vad.methods.pretext_method import PretextMethod, Seen
from vad.training.checkpoint import load_weights_only
from vad.types import ClipBatch


class ToyPretext(PretextMethod):
    """A convolution over grey clips; its encoder's file holds the weights alone."""

    def __init__(self, *, dim: int = 8, learning_rate: float = 0.01, speeds: int = 2) -> None:
        super().__init__(dim=dim, speeds=speeds, hidden=8, dropout=0.0, learning_rate=learning_rate)
        self.network = nn.Sequential(nn.Conv3d(1, dim, (3, 4, 4), (2, 4, 4)), nn.ReLU())

    def seen(self, batch: ClipBatch, *, learning: bool) -> Seen:
        grey = batch.clips.float().mean(-1).unsqueeze(1) / 255  # (B, 1, T, H, W)
        valid = grey.diff(dim=2).abs().mean((1, 2, 3, 4)) > 0
        if self.probe == "frozen":
            grey = grey[:, :, :1].expand_as(grey)
        if self.probe == "blank":
            grey = torch.zeros_like(grey)
        return Seen(grey, valid)

    def encoded(self, clips: Tensor) -> Tensor:
        vectors: Tensor = self.network(clips).mean((2, 3, 4))
        return vectors

    def save_encoder(self, path: str | Path, data: PretextData, **about: Any) -> None:
        with atomic_write(path) as stream:
            torch.save({"weights": self.network.state_dict(), "about": about}, stream)

    def take_over(self, path: str | Path) -> str:
        weights = load_weights_only(path)["weights"]
        self.network.load_state_dict(weights)
        return f"{len(weights)} tensors taken over"


EXPERIMENT = """
seed_everything: 0
model:
  class_path: toy_pretext.ToyPretext
data:
  class_path: vad.datamodules.clips.ClipData
  init_args:
    benchmark: UCSDPed2
    batch_size: 16
    size: [32, 24]
    length: 8
    speeds: [1, 2]
    steps: [1]
    gap: 8
    window: 20
    per_window: 2
    hold_out: videos
    validation: 0.4
    validation_clips: 16
    test_clips: 64
    checkpoint_every: 2
    seed: ${seed_everything}
trainer: {max_epochs: 2, accelerator: cpu, devices: 1, enable_progress_bar: false, enable_model_summary: false}
"""


def write_pretext_experiment(folder: Path) -> list[str]:
    """The options of a small pretext experiment on the tree of `ped_tree`, with log.csv alone."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "toy_pretext.yaml"
    path.write_text(EXPERIMENT)
    return ["--config", str(path), "--log", "csv"]
