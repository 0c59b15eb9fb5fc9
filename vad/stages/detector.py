"""What follows the training of a detector: estimate, score, evaluate."""

import hashlib
import logging
import time
from dataclasses import asdict

import torch
from lightning.pytorch import LightningModule, Trainer

from vad import __version__, files, provenance
from vad.benchmarks import Benchmark
from vad.datamodules.video_data import VideoData
from vad.errors import DataError, RunError
from vad.evaluation import Metrics, evaluate
from vad.methods.anomaly_detector import AnomalyDetector
from vad.runs import RunFolder
from vad.scores import Scores
from vad.stages.experiment import (
    Experiment,
    chosen_checkpoint,
    note_surroundings,
    recipe_key,
    testing_trainer,
)
from vad.tracking import log_results
from vad.training.checkpoint import load_weights_only
from vad.training.collecting import collect
from vad.types import Record, protocol_splits

logger = logging.getLogger(__name__)


def estimate(experiment: Experiment, folder: RunFolder, trainer: Trainer) -> None:
    """Statistics of the checkpoint that will be tested, on the training samples alone; writes `detector.ckpt`."""
    detector = experiment.model
    assert isinstance(detector, AnomalyDetector)  # as `fit` requires
    started = time.monotonic()
    checkpoint = chosen_checkpoint(experiment, folder)
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
    columns = collect(trainer or testing_trainer(experiment, folder), detector, experiment.data, "score")
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


def test(experiment: Experiment, run: RunFolder, target: RunFolder) -> Metrics | None:
    """Score with the detector of `run`, evaluate, and write both into `target`.

    Ranks other than 0 return `None`, and so does footage that nobody has labelled: it is scored, and that is said.
    """
    started = time.monotonic()
    trainer = testing_trainer(experiment, run)
    scores = score(experiment, run, trainer)
    if not trainer.is_global_zero:
        return None
    seconds = time.monotonic() - started
    scores.save(target.scores)
    frames = sum(video.frames for video in scores.record.videos)
    note_surroundings(experiment, target, trainer, seconds={"score": seconds}, frames_per_second=frames / seconds)
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


def weights_hash(module: LightningModule) -> str:
    """A hash of names and values of all weights; where and how they were saved does not count."""
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)} ".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]
