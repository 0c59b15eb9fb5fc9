"""What an encoder learned: accuracy of its pretext tasks on held-out videos, and probes of what that rests on.

<task>             share of clips whose class was told, of those whose class can be told
<task>_frozen      the same for clips that repeat one frame: above chance, it was not told by time
<task>_blank       the same for clips whose middle is hidden: above chance, borders tell it, or what moves there
pretext_accuracy   mean over the tasks, each counting as much; with the same suffixes
neighbours_auroc   how well held-out abnormal videos are told from normal ones, without training, by the labels of
                   their nearest neighbours among the training videos
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from vad.datamodules.pretext import TASKS, Task
from vad.errors import DataError
from vad.evaluation.measured import Estimate, Metrics
from vad.metrics import bootstrap
from vad.metrics.frame import auroc, auroc_of_counts

Columns = Mapping[str, np.ndarray]  # what `PretextMethod.columns` says of the clips of a pass, (N, ...) each

HEADLINE = "pretext_accuracy"
NEIGHBOURS = 20


def evaluate_pretext(
    seen: Columns,
    probes: Mapping[str, Columns],
    learned: Columns,
    *,
    method: str,
    benchmark: str,
    classes: Mapping[Task, int],
    counts: Mapping[str, Any] | None = None,
    draws: int = 1000,
    seed: int = 0,
) -> Metrics:
    """Accuracies and neighbours with 95 % intervals from a bootstrap over the held-out videos. Deterministic.

    Args:
        seen: Clips of held-out videos.
        probes: Name -> the same clips, changed so that time cannot be told from them.
        learned: Clips of the videos that were learned from.
        method: Name of the method.
        benchmark: What the benchmark is measured as.
        classes: Number of classes of each task.
        counts: What else the figures rest on.
        draws: Of the bootstrap.
        seed: Of the bootstrap.

    Raises:
        DataError: There is no clip whose class can be told.
    """
    units, unit = np.unique(seen["video"], return_inverse=True)
    label = np.zeros(len(units), np.int64)
    label[unit] = seen["label"]
    weights = bootstrap.draw_weights(label, draws, seed)
    told = {task: (seen["task"] == TASKS.index(task)) & (seen["valid"] == 1) for task in classes}
    tasks = [task for task in classes if told[task].any()]
    if not tasks:
        raise DataError(f"{benchmark}: in none of {len(unit)} clips enough moves to tell the class of a task")
    chance = {HEADLINE: float(np.mean([1 / classes[task] for task in tasks]))}
    chance |= {task: 1 / classes[task] for task in tasks}
    metrics: dict[str, Estimate] = {}
    constant: dict[str, float] = {}
    for suffix, columns in {"": seen, **{f"_{name}": columns for name, columns in probes.items()}}.items():
        for name, estimate in _accuracies(columns, {task: told[task] for task in tasks}, unit, weights).items():
            metrics[name + suffix] = estimate
            constant[name + suffix] = chance[name]
    neighbours = _neighbours_auroc(seen, unit, label, learned, weights)
    if neighbours is not None:
        metrics["neighbours_auroc"], constant["neighbours_auroc"] = neighbours, 0.5
    of_task = {task: int((seen["task"] == TASKS.index(task)).sum()) for task in classes}
    return Metrics(
        method=method,
        benchmark=benchmark,
        protocol="pretext",
        grid="clips",
        headline=HEADLINE,
        metrics=metrics,
        constant=constant,
        chain={},
        counts={
            "clips": len(unit),
            "videos": len(units),
            **(counts or {}),
            "valid_share": {task: int(told[task].sum()) / max(1, of_task[task]) for task in classes},
            "draws": draws,
        },
    )


def _accuracies(
    columns: Columns, told: Mapping[Task, np.ndarray], unit: np.ndarray, weights: np.ndarray
) -> dict[str, Estimate]:
    """The accuracy of each task, and their mean. `told` bool (N,), `unit` int64 (N,), `weights` (units, draws)."""
    right = columns["said"] == columns["target"]
    value, samples = {}, {}
    for task, clips in told.items():
        hits, count = (np.bincount(unit[rows], minlength=len(weights)) for rows in (clips & right, clips))
        value[str(task)] = float(right[clips].mean())
        samples[str(task)] = bootstrap.ratio_draws(hits, count, weights)
    value[HEADLINE] = float(np.mean(list(value.values())))
    samples[HEADLINE] = np.mean(list(samples.values()), axis=0)
    return {name: Estimate(value[name], *bootstrap.interval(samples[name])) for name in value}


def _neighbours_auroc(
    seen: Columns, unit: np.ndarray, label: np.ndarray, learned: Columns, weights: np.ndarray
) -> Estimate | None:
    """AUROC over held-out videos; `None` where normal and abnormal videos are not known on both sides."""
    known = np.flatnonzero(whole(learned) & (learned["label"] >= 0))
    of_clip = learned["label"][known]
    clips = whole(seen)
    videos = np.flatnonzero((label >= 0) & (np.bincount(unit[clips], minlength=len(label)) > 0))
    if set(of_clip) != {0, 1} or set(label[videos]) != {0, 1}:
        return None
    sums = np.zeros((len(label), seen["vector"].shape[1]))
    np.add.at(sums, unit[clips], _unit_length(seen["vector"][clips]))
    score = neighbours_share(sums[videos], learned["vector"][known], of_clip)
    abnormal = label[videos] == 1
    bins = bootstrap.RankBins.of(score, np.arange(len(videos)), len(videos))
    (samples,) = bootstrap.draw_metrics(bins.table(abnormal), bins.table(~abnormal), weights[videos], auroc_of_counts)
    return Estimate(auroc(abnormal, score), *bootstrap.interval(samples))


def neighbours_share(vector: np.ndarray, among: np.ndarray, label: np.ndarray, count: int = NEIGHBOURS) -> np.ndarray:
    """Share of label 1 among the `count` nearest of `among` (M, D), by cosine, for each vector (V, D); (V,)."""
    cosine = _unit_length(vector) @ _unit_length(among).T
    nearest = np.argsort(-cosine, axis=1, kind="stable")[:, :count]
    return label[nearest].mean(axis=1)


def whole(columns: Columns) -> np.ndarray:
    """bool (N,): clips of one video alone; one that was changed shows two of them."""
    return ~((columns["task"] == TASKS.index("change")) & (columns["target"] == 1))


def _unit_length(vectors: np.ndarray) -> np.ndarray:
    vectors = vectors.astype(np.float64)
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
