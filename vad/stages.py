"""The stages of a run: fit, estimate, score, evaluate."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from lightning.pytorch import LightningModule, Trainer

from vad.datamodules.video_data import VideoData
from vad.runs import Settings


@dataclass(frozen=True)
class Experiment:
    """What the stages take: the objects that a command line describes."""

    settings: Settings
    model: LightningModule
    data: VideoData
    trainer: Callable[..., Trainer]  # further arguments of the Trainer win over the experiment's
    paper_chain: tuple[Mapping[str, Mapping[str, Any]], ...] = ()
    checkpoint: Literal["last", "best"] = "last"
    finetune: str | None = None
    log: Literal["wandb", "tensorboard", "csv"] = "wandb"

    @property
    def config(self) -> Mapping[str, Any]:
        """The complete configuration."""
        return self.settings.config

    @property
    def seed(self) -> int:
        """The seed of everything."""
        return self.settings.seed
