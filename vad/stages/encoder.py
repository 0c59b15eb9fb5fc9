"""What follows the training of a pretext method: the encoder's file, and what its tasks and probes say of it."""

import logging
import time
from typing import get_args

import torch
from lightning.pytorch import Trainer

from vad import files, provenance
from vad.datamodules.pretext_data import PretextData
from vad.datamodules.video_data import VideoData
from vad.distributed import summed
from vad.errors import ConfigError, RunError
from vad.evaluation import Metrics
from vad.evaluation.pretext import evaluate_pretext
from vad.methods.pretext_method import PretextMethod, Probe
from vad.networks.encoder_files import EncoderFile, read_encoder
from vad.runs import RunFolder
from vad.stages.experiment import Experiment, chosen_checkpoint, note_surroundings, testing_trainer
from vad.tracking import log_results
from vad.training.checkpoint import load_weights_only, require_checkpoint
from vad.training.collecting import collect

logger = logging.getLogger(__name__)


def require_tasks(model: PretextMethod, data: VideoData) -> PretextData:
    """The data as what has pretext tasks; raises `ConfigError` unless they are the method's."""
    if not isinstance(data, PretextData):
        raise ConfigError(f"data: {type(model).__name__} learns from clips of pretext tasks, not {type(data).__name__}")
    if set(model.tasks) != set(data.tasks):
        raise ConfigError(f"model.tasks: {', '.join(model.tasks)} are not data.tasks: {', '.join(data.tasks)}")
    if "speed" in model.tasks and model.speeds != len(data.speeds):
        raise ConfigError(f"model.speeds: {model.speeds} are told apart, and data.speeds has {len(data.speeds)}")
    return data


def keep(experiment: Experiment, folder: RunFolder, trainer: Trainer) -> None:
    """Write `encoder.ckpt` from the checkpoint that will be tested."""
    method = experiment.model
    assert isinstance(method, PretextMethod)
    data = require_tasks(method, experiment.data)
    broken = found_broken(method, data, trainer)
    if not trainer.is_global_zero:
        return
    checkpoint = chosen_checkpoint(experiment, folder)
    if checkpoint.is_file():  # a fast_dev_run writes none
        method.load_state_dict(load_weights_only(checkpoint)["state_dict"])
    method.save_encoder(
        folder.encoder,
        data,
        experiment=experiment.settings.experiment,
        variant=experiment.settings.variant,
        seed=experiment.seed,
        benchmark=data.benchmark.measured_as,
        dataset=data.benchmark.dataset,
        learned_from=[video.id for video in data.fit_videos()],
    )
    if broken:
        provenance.update(folder, skipped={video: "could not be read while clips were drawn" for video in broken})


def test(experiment: Experiment, run: RunFolder, target: RunFolder) -> Metrics | None:
    """Measure tasks and probes on clips of held-out videos, and write `metrics.json` into `target`.

    Ranks other than 0 return `None`. Raises `RunError` where the run is not finished, or without its checkpoint: the
    encoder's file has no heads. Raises `ConfigError` for options that hold out what was learned from.
    """
    started = time.monotonic()
    method = experiment.model
    assert isinstance(method, PretextMethod)
    data = require_tasks(method, experiment.data)
    if not run.encoder.is_file():
        raise RunError(f"{run.path}: has no encoder.ckpt; 'vad fit' with the run's options finishes it")
    checkpoint = chosen_checkpoint(experiment, run)
    require_checkpoint(checkpoint, method)
    require_unseen(read_encoder(run.encoder), data)
    method.load_state_dict(load_weights_only(checkpoint)["state_dict"])
    data.require_cache()
    trainer = testing_trainer(experiment, run)
    seen = {}
    for probe in get_args(Probe):
        method.probe = probe
        seen[probe] = collect(trainer, method, data, "score")
    method.probe = "none"
    learned = collect(trainer, method, data, "estimate")
    broken = found_broken(method, data, trainer)
    if not trainer.is_global_zero:
        return None
    seconds = time.monotonic() - started
    clips = sum(len(columns["task"]) for columns in (*seen.values(), learned))
    note_surroundings(experiment, target, trainer, seconds={"score": seconds}, clips_per_second=clips / seconds)
    started = time.monotonic()
    metrics = evaluate_pretext(
        seen.pop("none"),
        seen,
        learned,
        method=type(method).__name__,
        benchmark=data.benchmark.measured_as,
        classes={task: data.rules.classes(task) for task in method.tasks},
        counts={
            "training_videos": len(data.fit_videos()),
            "too_short_videos": data.left_out,
            "broken_videos": len(data.broken().keys() | set(broken)),
        },
    )
    files.write_json(target.metrics, metrics.to_json())
    provenance.update(target, seconds={"evaluate": time.monotonic() - started})
    log_results(experiment.log, run, experiment.settings, metrics, None, about=experiment.about)
    return metrics


def require_unseen(encoder: EncoderFile, data: PretextData) -> None:
    """Raise `ConfigError` where videos to test on were learned from; files of earlier versions do not say."""
    if encoder.about.get("dataset") != data.benchmark.dataset:
        return
    learned_from = set(encoder.about["learned_from"])
    held_out = data.validation_videos()
    if learned := [video.id for video in held_out if video.id in learned_from]:
        raise ConfigError(
            f"{data.benchmark.name}: the encoder learned from {len(learned)} of the {len(held_out)} videos that are "
            f"held out here, among them {learned[0]}; which are held out follows from benchmark, seed, validation, "
            "hold_out, max_videos and the frames that tasks need: leave them as they were"
        )


def found_broken(method: PretextMethod, data: PretextData, trainer: Trainer) -> list[str]:
    """Videos that any process could not read while clips were drawn, and says so; the same list on every rank."""
    videos = [video.id for video in data.needed()]
    flags = torch.tensor([video in method.broken for video in videos], device=trainer.strategy.root_device)
    found = summed(flags.long()).tolist()
    broken = [video for video, times in zip(videos, found, strict=True) if times]
    if broken and trainer.is_global_zero:
        logger.warning(
            "%s: in place of %d videos others were drawn, since they could not be read: %s",
            data.benchmark.name,
            len(broken),
            ", ".join(broken),
        )
    return broken
