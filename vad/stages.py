"""The stages of a run: fit, estimate, score, evaluate.

    fit       trains; checkpoints/last.ckpt at the ends of epochs, a killed fit goes on from there
    estimate  statistics of the tested checkpoint on the training samples; detector.ckpt
    score     the detector over the videos to score; scores.npz
    evaluate  metrics.json from scores.npz and the truth, the same way as for anybody else's scores

Every process runs every stage; rank 0 alone writes, and nobody waits for it while it evaluates.
"""

import hashlib
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any, Literal

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback

from vad import __version__, files, provenance
from vad.benchmarks import Benchmark
from vad.datamodules.video_data import VideoData, ends_of_chains
from vad.errors import ConfigError, DataError, RunError
from vad.evaluation import Metrics, evaluate
from vad.methods.anomaly_detector import AnomalyDetector
from vad.runs import RunFolder, Settings, lock, write_config
from vad.scores import Scores
from vad.tracking import Tracker, close, keep_id, log_results, run_id, tracker
from vad.training.checkpoint import AtomicCheckpointIO, EpochCheckpoint, load_weights_only, require_checkpoint
from vad.training.collecting import collect
from vad.training.randomness import StepSeed
from vad.training.throughput import Throughput
from vad.types import Record, protocol_splits

logger = logging.getLogger(__name__)


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
        data = self.experiment.data
        self.lock = lock(self.folder)
        if not self.folder.config.is_file():
            write_config(self.folder, self.experiment.config)
        keep_id(self.folder, self.identifier)
        provenance.update(
            self.folder,
            **provenance.surroundings(device=trainer.strategy.root_device.type, processes=trainer.world_size),
            **provenance.data(data.benchmark.dataset, data.recipes(), data.needed()),
            parameters=learned(pl_module),
            skipped=data.broken(),
        )
        self.before = provenance.seconds(self.folder, "fit")
        self.started = time.monotonic()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Seconds of a fit that is killed later count too."""
        if trainer.is_global_zero:
            provenance.update(self.folder, seconds={"fit": self.before + time.monotonic() - self.started})


def fit(experiment: Experiment, folder: RunFolder) -> Trainer:
    """Train, from the last checkpoint of the folder if there is one. Extracts nothing.

    Raises `CacheError` with the missing command where something was not extracted, `RunError` for a checkpoint that is
    damaged or of another method.
    """
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

    Raises `ConfigError` before processes are started that the batch cannot be shared by.
    """
    trainer = experiment.trainer(**fixed)
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
    """Start from the detector of another run, and say what matched."""
    if not isinstance(experiment.model, AnomalyDetector):
        raise ConfigError(f"--finetune: {type(experiment.model).__name__} is no anomaly detector")
    matched = experiment.model.load_matching(RunFolder(Path(run)).detector)
    logger.info("--finetune %s: %s", run, matched)


def estimate(experiment: Experiment, folder: RunFolder, trainer: Trainer) -> None:
    """Statistics of the checkpoint that will be tested, on the training samples alone; writes `detector.ckpt`."""
    detector = experiment.model
    if not isinstance(detector, AnomalyDetector):  # a pretext task yields no detector
        return
    started = time.monotonic()
    checkpoint = folder.checkpoints / f"{experiment.checkpoint}.ckpt"
    if experiment.checkpoint == "best" and not checkpoint.is_file():
        raise RunError(
            f"{checkpoint}: was not written; checkpoint: best needs data.validation above 0 and a logged val_loss"
        )
    if checkpoint.is_file():  # a fast_dev_run writes none
        detector.load_state_dict(load_weights_only(checkpoint)["state_dict"])
    detector.finish()
    if detector.precise_batchnorm:
        detector.estimate_batchnorm(trainer, experiment.data)
    detector.estimate(collect(trainer, detector, experiment.data, "estimate"))
    if trainer.is_global_zero:
        detector.save_detector(folder.detector, recipe=recipe_key(experiment.data))
        provenance.update(folder, seconds={"estimate": time.monotonic() - started})


def score(experiment: Experiment, folder: RunFolder, trainer: Trainer | None = None) -> Scores:
    """Score with the detector of a run; the same scores on every rank, and for any number of processes.

    Raises `RunError` where the run has no detector yet, or one of another method.
    """
    if not folder.detector.is_file():
        raise RunError(f"{folder.path}: has no detector.ckpt; 'vad fit' with the run's options finishes it")
    if not isinstance(experiment.model, AnomalyDetector):
        raise RunError(f"{folder.path}: {type(experiment.model).__name__} scores nothing")
    detector = type(experiment.model).load_detector(folder.detector)
    ours, theirs = experiment.model.arguments, detector.arguments
    if changed := [name for name in ours if ours[name] != theirs[name]]:
        raise RunError(
            f"{folder.path}: config.yaml and detector.ckpt differ in {', '.join(changed)}, so one of them was changed "
            "after training; put it back, or train again with --fresh"
        )
    experiment.data.require_cache()
    record = experiment.data.score_record()
    columns = collect(trainer or scoring_trainer(experiment, folder), detector, experiment.data, "score")
    return Scores(
        record=record,
        score=detector.score(columns),
        heads={name: column for name, column in columns.items() if name != "group"},
        group=columns.get("group"),
        header={
            "method": type(detector).__name__,
            "benchmark": experiment.data.benchmark.name,
            "protocol": experiment.data.protocol,
            "recipe": recipe_key(experiment.data),
            "weights": weights_hash(detector),
            "range": detector.score_range,
            "statistics": {
                head: [asdict(of_group) for of_group in groups] for head, groups in (detector.statistics or {}).items()
            },
            "fusion": {"kind": detector.fusion, "weights": detector.weights, "clip": detector.clip},
            "floor": detector.floor,
            "chain": [dict(step) for step in experiment.paper_chain],
            "skipped": skipped(experiment.data, record),
            "version": __version__,
        },
    )


def skipped(data: VideoData, record: Record) -> list[str]:
    """Ids of videos that the protocol scores and `max_videos` left out: evaluation counts them."""
    scored = {(video.split, video.id) for video in record.videos}
    videos = [video for split in protocol_splits(data.protocol).score for video in data.benchmark.videos(split)]
    return [video.id for video in videos if (video.split, video.id) not in scored]


def scoring_trainer(experiment: Experiment, folder: RunFolder) -> Trainer:
    """A Trainer that only predicts."""
    return experiment.trainer(default_root_dir=str(folder.path), logger=False, use_distributed_sampler=False)


def test(experiment: Experiment, run: RunFolder, target: RunFolder) -> Metrics | None:
    """Score with the detector of `run`, evaluate, and write both into `target`.

    Ranks other than 0 return `None`, and so does footage that nobody has labelled: it is scored, and that is said.
    """
    started = time.monotonic()
    trainer = scoring_trainer(experiment, run)
    scores = score(experiment, run, trainer)
    if not trainer.is_global_zero:
        return None
    seconds = time.monotonic() - started
    scores.save(target.scores)
    frames = sum(video.frames for video in scores.record.videos)
    provenance.update(
        target,
        **provenance.surroundings(device=trainer.strategy.root_device.type, processes=trainer.world_size),
        **provenance.data(experiment.data.benchmark.dataset, experiment.data.recipes(), experiment.data.needed()),
        parameters=learned(experiment.model),
        seconds={"score": seconds},
        frames_per_second=frames / seconds,
    )
    if not has_truth(scores, experiment.data.benchmark):
        logger.warning(
            "%s: scored, but not evaluated, since the footage has no truth; 'vad show --run %s --video ID' draws the "
            "scores; with labels/ID.csv for each video (a line 'start,end' for each abnormal interval, in frames) "
            "'vad test %s' evaluates them",
            target.scores,
            target.path,
            run.path,
        )
        return None
    started = time.monotonic()
    metrics = evaluate(scores, experiment.data.benchmark)
    files.write_json(target.metrics, metrics.to_json())
    provenance.update(target, seconds={"evaluate": time.monotonic() - started})
    log_results(experiment.log, run, experiment.settings, metrics, scores, about=experiment.about)
    return metrics


def has_truth(scores: Scores, benchmark: Benchmark) -> bool:
    """Whether there is truth to evaluate scores by; `DataError` where only a part of the test videos has it."""
    scored = {video.id for video in scores.record.videos if video.split == "test"}
    videos = [video for video in benchmark.videos("test") if video.id in scored]
    lacking = benchmark.without_truth(videos)
    if lacking and len(lacking) < len(videos):
        raise DataError(
            f"{benchmark.name}: {len(lacking)} of {len(videos)} test videos have no truth: "
            f"{', '.join(video.id for video in lacking)}; write labels/<id>.csv for each of them too"
        )
    return not lacking


def learned(module: LightningModule) -> int:
    """Number of parameters that are learned: an average of the weights counts none."""
    return sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)


def recipe_key(data: VideoData) -> str:
    """The recipes that scores were computed from, mostly one: a hash covers those of its sources."""
    return "+".join(recipe.key for recipe in ends_of_chains(data.recipes()))


def weights_hash(module: LightningModule) -> str:
    """A hash of names and values of all weights; where and how they were saved does not count."""
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)} ".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]
