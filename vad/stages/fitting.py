"""Training of any method, from the last checkpoint of its run if there is one."""

import logging
import time
from typing import IO, Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback

from vad import provenance
from vad.datamodules.video_data import VideoData
from vad.errors import ConfigError
from vad.methods.anomaly_detector import AnomalyDetector
from vad.methods.pretext_method import PretextMethod
from vad.runs import RunFolder, find_run, lock, write_config
from vad.stages.encoder import require_tasks
from vad.stages.experiment import Experiment, note_surroundings
from vad.tracking import close, keep_id, run_id, tracker
from vad.training.allocation import keep_large_blocks
from vad.training.checkpoint import AtomicCheckpointIO, EpochCheckpoint, require_checkpoint
from vad.training.randomness import StepSeed
from vad.training.throughput import Throughput

logger = logging.getLogger(__name__)


class LearningRate(Callback):
    """Logs the learning rate of the first optimiser's first group, once an epoch."""

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.optimizers:
            pl_module.log("learning_rate", float(trainer.optimizers[0].param_groups[0]["lr"]))


class OpenRun(Callback):
    """Rank 0 writes what makes a folder a run, after all processes have joined and before the first step."""

    def __init__(self, folder: RunFolder, experiment: Experiment, identifier: str) -> None:
        self.folder = folder
        self.experiment = experiment
        self.identifier = identifier
        self.before = 0.0
        self.started = 0.0
        self.lock: IO[bytes] | None = None

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if stage != "fit" or not trainer.is_global_zero:
            return
        self.lock = lock(self.folder)
        if not self.folder.config.is_file():
            write_config(self.folder, self.experiment.config)
        keep_id(self.folder, self.identifier)
        note_surroundings(self.experiment, self.folder, trainer, skipped=self.experiment.data.broken())
        self.before = provenance.seconds(self.folder, "fit")
        self.started = time.monotonic()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Seconds of a fit that is killed later count too."""
        if trainer.is_global_zero:
            provenance.update(self.folder, seconds={"fit": self.before + time.monotonic() - self.started})


def fit(experiment: Experiment, folder: RunFolder) -> Trainer:
    """Train, from the last checkpoint of the folder if there is one. Extracts nothing.

    Raises `CacheError` with the missing command where something was not extracted, `RunError` for a checkpoint that is
    damaged or of another method, `ConfigError` for what is no method, or one of pretext tasks that are not the data's.
    """
    if isinstance(experiment.model, PretextMethod):
        require_tasks(experiment.model, experiment.data)
    elif not isinstance(experiment.model, AnomalyDetector):
        raise ConfigError(f"model: {type(experiment.model).__name__} is neither an AnomalyDetector nor a PretextMethod")
    experiment.data.require_cache()
    tell_skipped(experiment.data)
    if experiment.finetune is not None:
        take_over(experiment, experiment.finetune)
    identifier = run_id(folder)
    chosen = tracker(experiment.log, folder, experiment.settings, identifier=identifier, about=experiment.about)
    opened = OpenRun(folder, experiment, identifier)
    trainer = fitting_trainer(
        experiment,
        default_root_dir=str(folder.path),
        logger=chosen if chosen is not None else False,
        callbacks=[
            opened,
            StepSeed(experiment.seed),
            LearningRate(),
            Throughput(),
            EpochCheckpoint(folder.checkpoints, log=folder.log),
        ],
        plugins=[AtomicCheckpointIO()],
        use_distributed_sampler=False,  # it would deal out anew what BatchOrder has dealt
        num_sanity_val_steps=0,
    )
    if trainer.strategy.root_device.type == "cpu":
        keep_large_blocks()
    last = str(folder.last) if folder.last.is_file() else None
    if last is not None:
        require_checkpoint(last, experiment.model)
    try:
        trainer.fit(experiment.model, datamodule=experiment.data, ckpt_path=last, weights_only=True)
    except SystemExit as error:  # Lightning's answer to Ctrl-C
        if isinstance(error.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from None
        raise
    finally:
        if opened.lock is not None:
            opened.lock.close()
        close(chosen)
    return trainer


def tell_skipped(data: VideoData) -> None:
    """Say which videos are left out, since extraction could not read them."""
    if broken := data.broken():
        logger.warning(
            "%s: %d videos are left out, since they could not be read: %s",
            data.benchmark.name,
            len(broken),
            ", ".join(broken),
        )


def fitting_trainer(experiment: Experiment, **fixed: Any) -> Trainer:
    """The Trainer of a fit, told to look for unused parameters where several processes train a method that leaves some.

    Raises `ConfigError` for a training without an end, and before processes are started that the batch cannot be shared
    by.
    """
    trainer = experiment.trainer(**fixed)
    by_time = experiment.config["trainer"].get("max_time") is not None  # else Lightning takes 1000 epochs
    if trainer.max_steps == -1 and (trainer.max_epochs == -1 or (trainer.max_epochs is None and by_time)):
        raise ConfigError("trainer: schedules follow the whole of a training; give max_steps or max_epochs")
    processes = trainer.num_devices * trainer.num_nodes
    if experiment.data.batch_size % processes:
        raise ConfigError(
            f"batch_size: {experiment.data.batch_size} samples of a step cannot be shared by {processes} processes; "
            "give a multiple, or other --trainer.devices"
        )
    leaves_unused = isinstance(experiment.model, AnomalyDetector) and experiment.model.leaves_unused
    if processes > 1 and leaves_unused and experiment.config["trainer"].get("strategy") in ("auto", "ddp"):
        return experiment.trainer(**fixed, strategy="ddp_find_unused_parameters_true")
    return trainer


def take_over(experiment: Experiment, run: str) -> None:
    """Start from another run, and say what matched: an encoder from an encoder, a detector from either."""
    folder, model = find_run(run), experiment.model
    matched: object
    if isinstance(model, PretextMethod):
        matched = model.take_over(folder.encoder)
    else:
        assert isinstance(model, AnomalyDetector)  # as `fit` requires
        of_encoder = folder.encoder.is_file() and not folder.detector.is_file()
        matched = model.take_over(folder.encoder) if of_encoder else model.load_matching(folder.detector)
    logger.info("--finetune %s: %s", run, matched)
