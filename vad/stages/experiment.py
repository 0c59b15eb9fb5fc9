"""What every stage takes, and what all of them say about it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from lightning.pytorch import LightningModule, Trainer

from vad import provenance
from vad.datamodules.video_data import VideoData, ends_of_chains
from vad.errors import RunError
from vad.runs import RunFolder, Settings
from vad.tracking import Tracker


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
    log: Tracker = "wandb"

    @property
    def config(self) -> Mapping[str, Any]:
        """The complete configuration."""
        return self.settings.config

    @property
    def seed(self) -> int:
        """The seed of everything."""
        return self.settings.seed

    @property
    def about(self) -> dict[str, Any]:
        """What to group runs by."""
        return {
            "benchmark": self.data.benchmark.measured_as,
            "method": type(self.model).__name__,
            "protocol": self.data.protocol,
            "seed": self.seed,
        }


def chosen_checkpoint(experiment: Experiment, folder: RunFolder) -> Path:
    """The checkpoint that is tested; raises `RunError` where `best` was asked for and nothing was chosen by."""
    checkpoint = folder.checkpoints / f"{experiment.checkpoint}.ckpt"
    if experiment.checkpoint == "best" and not checkpoint.is_file():
        raise RunError(
            f"{checkpoint}: was not written; checkpoint: best needs data.validation above 0 and a logged val_loss"
        )
    return checkpoint


def testing_trainer(experiment: Experiment, folder: RunFolder) -> Trainer:
    """A Trainer that only predicts."""
    return experiment.trainer(default_root_dir=str(folder.path), logger=False, use_distributed_sampler=False)


def note_surroundings(experiment: Experiment, folder: RunFolder, trainer: Trainer, **more: Any) -> None:
    """Write into the provenance of a run what its figures come from."""
    data = experiment.data
    provenance.update(
        folder,
        **provenance.surroundings(device=trainer.strategy.root_device.type, processes=trainer.world_size),
        **provenance.data(data.benchmark.dataset, data.recipes(), data.needed()),
        parameters=learned(experiment.model),
        **more,
    )


def learned(module: LightningModule) -> int:
    """Number of parameters that are learned: an average of the weights counts none."""
    return sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)


def recipe_key(data: VideoData) -> str:
    """The recipes that scores were computed from, mostly one: a hash covers those of its sources."""
    return "+".join(recipe.key for recipe in ends_of_chains(data.recipes()))
