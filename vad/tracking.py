"""Where curves go: Weights & Biases, TensorBoard, or log.csv alone, and how results reach them after training."""

import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
from lightning.pytorch.loggers import Logger, TensorBoardLogger, WandbLogger

from vad import files
from vad.aggregation import frame_scores
from vad.errors import MissingExtraError
from vad.evaluation import Metrics
from vad.runs import RunFolder, Settings, identity
from vad.scores import Scores
from vad.types import ScoredVideo

Tracker = Literal["wandb", "tensorboard", "csv"]

PROJECT = "vad"
CURVES = 8  # videos whose score curves go into the table: enough to look at, small enough to load


def run_id(folder: RunFolder) -> str:
    """The W&B id of a run: the one kept in its folder, else a new one, to be written with `keep_id`.

    A run that `wandb agent` started has the agent's.
    """
    if _by_agent() and "WANDB_RUN_ID" in os.environ:
        return os.environ["WANDB_RUN_ID"]
    path = _id_path(folder)
    return path.read_text(encoding="utf-8").strip() if path.is_file() else secrets.token_hex(4)


def _by_agent() -> bool:
    return "WANDB_SWEEP_ID" in os.environ


def keep_id(folder: RunFolder, identifier: str) -> None:
    """Keep the id, so that a continued run and its test go on in the same W&B run."""
    if not _id_path(folder).is_file():
        files.write_text(_id_path(folder), identifier + "\n")


def _id_path(folder: RunFolder) -> Path:
    return folder.path / "wandb" / "id"


def tracker(
    kind: Tracker, folder: RunFolder, settings: Settings, *, identifier: str, about: Mapping[str, Any]
) -> Logger | None:
    """The logger of a run, `None` where log.csv is enough.

    W&B stays offline unless `WANDB_MODE` says otherwise, or `wandb agent` started the run.

    Args:
        about: What to group runs by: method, benchmark, protocol, seed.
    """
    if kind == "csv":
        return None
    if kind == "tensorboard":
        try:
            return TensorBoardLogger(folder.path, name="tensorboard", version="")
        except ModuleNotFoundError:
            raise MissingExtraError("tensorboard", "tensorboard") from None
    import wandb

    folder.path.mkdir(parents=True, exist_ok=True)  # W&B falls back to a temporary folder where it is missing
    logger = WandbLogger(
        project=os.environ.get("WANDB_PROJECT", PROJECT),
        name=f"{settings.experiment}/{settings.variant}/seed-{settings.seed}",
        group=settings.group or f"{settings.experiment}/{settings.variant}",
        save_dir=folder.path,
        id=identifier,
        mode=os.environ.get("WANDB_MODE", "online" if _by_agent() else "offline"),
        config={**about, **identity(settings.config)},  # without roots: it goes into the run's file verbatim
        settings=wandb.Settings(silent=True, console="off", save_code=False, disable_git=True),
    )
    logger._wandb_init.pop("anonymous", None)  # Lightning gives it always, and W&B warns of it always
    return logger


def close(logger: Logger | None) -> None:
    """End a W&B run in this process: the next stage goes on in it under the same id."""
    if isinstance(logger, WandbLogger):
        import wandb

        if wandb.run is not None and wandb.run.id == logger.version:
            wandb.run.finish()


def log_results(
    kind: Tracker,
    folder: RunFolder,
    settings: Settings,
    metrics: Metrics,
    scores: Scores | None,
    *,
    about: Mapping[str, Any],
) -> None:
    """Add the final metrics with their intervals to the run's own tracker, and score curves of some videos where there
    are scores."""
    logger = tracker(kind, folder, settings, identifier=run_id(folder), about=about)
    if logger is None:
        return
    prefix = "" if metrics.benchmark == about["benchmark"] else f"{metrics.benchmark}/"
    figures = {f"{prefix}{name}": found.value for name, found in metrics.metrics.items()}
    shown = [] if scores is None else _curves(scores)
    if isinstance(logger, WandbLogger):
        import wandb

        run = logger.experiment
        run.summary.update(figures)
        table = wandb.Table(["metric", "value", "low", "high"], [[n, *e] for n, e in metrics.metrics.items()])
        tables = {f"{prefix}metrics": table}
        if shown:
            rows = [[video.id, i, float(s)] for video, curve in shown for i, s in enumerate(curve)]
            tables[f"{prefix}scores"] = wandb.Table(["video", "frame", "score"], rows)
        run.log(tables)
        close(logger)
    elif isinstance(logger, TensorBoardLogger):
        for name, value in figures.items():
            logger.experiment.add_scalar(name, value)
        for video, curve in shown:
            for i, s in enumerate(curve):
                logger.experiment.add_scalar(f"{prefix}scores/{video.id}", float(s), i)
        logger.finalize("success")


def _curves(scores: Scores) -> list[tuple[ScoredVideo, np.ndarray]]:
    """Frame scores of the first videos."""
    curves = frame_scores(scores.record, scores.score, floor=float(scores.header.get("floor", 0.0)))
    return list(zip(scores.record.videos, curves, strict=True))[:CURVES]
