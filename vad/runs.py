"""The run folder: layout, continue, provenance.

    runs/<experiment>/<variant>/seed-<n>/
        config.yaml  checkpoints/{last,best}.ckpt  detector.ckpt  scores.npz  metrics.json  provenance.json  log.csv  wandb/
"""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class RunFolder:
    """Where the files of one run lie."""

    path: Path

    @property
    def config(self) -> Path:
        return self.path / "config.yaml"

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def detector(self) -> Path:
        return self.path / "detector.ckpt"

    @property
    def scores(self) -> Path:
        return self.path / "scores.npz"

    @property
    def metrics(self) -> Path:
        return self.path / "metrics.json"

    @property
    def provenance(self) -> Path:
        return self.path / "provenance.json"

    @property
    def log(self) -> Path:
        return self.path / "log.csv"
