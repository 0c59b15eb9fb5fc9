"""Metrics of frames: AUROC, average precision, EER, false alarms; tie-correct and exact.

Every rank metric is a function of *counts*: for each distinct score, ascending, how many abnormal and how many normal
frames have it. Counts may carry a second axis, one column for each bootstrap draw.

Labels are 0 or 1, 1 is abnormal; scores are any floats but NaN, higher is more abnormal. A metric that is not defined
(one class only) is NaN.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from vad.errors import ScoresError

SingleClass = Literal["skip", "pad", "pad01", "one"]


def auroc(label: np.ndarray, score: np.ndarray) -> float:
    """Probability that an abnormal frame has a higher score than a normal one, ties counting half.

    The smaller class is looked up in the larger one: two sorts of values, no argsort, and integers up to the division.
    """
    label, score = checked(label, score)
    positive, negative = np.sort(score[label]), np.sort(score[~label])
    if len(positive) == 0 or len(negative) == 0:
        return float("nan")
    few, many = (positive, negative) if len(positive) <= len(negative) else (negative, positive)
    wins = int(np.searchsorted(many, few, side="left").sum()) + int(np.searchsorted(many, few, side="right").sum())
    pairs = 2 * len(few) * len(many)
    return (wins if few is positive else pairs - wins) / pairs


def counts(label: np.ndarray, score: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Abnormal and normal frames at each distinct score, ascending; int64 (g,) each."""
    label, score = checked(label, score)
    positive, negative = np.sort(score[label]), np.sort(score[~label])
    values = np.unique(score)
    return _histogram(positive, values), _histogram(negative, values)


def _histogram(ordered: np.ndarray, values: np.ndarray) -> np.ndarray:
    return np.diff(np.searchsorted(ordered, values, side="right"), prepend=0).astype(np.int64)


def checked(label: np.ndarray, score: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Label as bool (n,) and score as float64 (n,); raises `ScoresError` for NaN, lengths that differ, other labels."""
    label, score = np.asarray(label), np.asarray(score, dtype=np.float64)
    if label.shape != score.shape or label.ndim != 1:
        raise ScoresError(f"metrics: labels {label.shape} and scores {score.shape} must be two vectors of one length")
    if np.isnan(score).any():
        raise ScoresError(f"metrics: the score of frame {int(np.argmax(np.isnan(score)))} is NaN")
    if label.dtype != bool:
        if ((label != 0) & (label != 1)).any():
            raise ScoresError("metrics: labels must be 0 or 1")
        label = label.astype(bool)
    return label, score


def auroc_of_counts(positive: np.ndarray, negative: np.ndarray) -> np.ndarray:
    """AUROC from counts (g,) or (g, draws)."""
    below = np.cumsum(negative, axis=0) - negative
    with np.errstate(invalid="ignore", divide="ignore"):
        wins = np.sum(positive * (2 * below + negative), axis=0)
        return wins / (2.0 * positive.sum(axis=0) * negative.sum(axis=0))


def ap_step_of_counts(positive: np.ndarray, negative: np.ndarray) -> np.ndarray:
    """Average precision by steps, sum over thresholds of (gain in recall) x precision: scikit-learn's."""
    gain, precision = _precision_recall(positive, negative)
    return (gain * precision).sum(axis=0)


def ap_trapezoid_of_counts(positive: np.ndarray, negative: np.ndarray) -> np.ndarray:
    """Area under the precision-recall curve by trapezoids, from recall 0 and precision 1: XD-Violence's official
    metric.

    Optimistic where there are few distinct scores.
    """
    gain, precision = _precision_recall(positive, negative)
    before = np.concatenate([np.ones_like(precision[:1]), precision[:-1]])
    return (gain * (precision + before) / 2).sum(axis=0)


def _precision_recall(positive: np.ndarray, negative: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Gain in recall and precision at each distinct score, descending."""
    positive, negative = positive[::-1], negative[::-1]
    hits = np.cumsum(positive, axis=0, dtype=np.float64)
    alarms = hits + np.cumsum(negative, axis=0)
    precision = np.divide(hits, alarms, out=np.ones_like(hits), where=alarms > 0)
    with np.errstate(invalid="ignore"):
        return positive / positive.sum(axis=0), precision


def eer_of_counts(positive: np.ndarray, negative: np.ndarray) -> np.ndarray:
    """Rate at which false positives and misses are equally frequent, interpolated between vertices of the ROC."""
    with np.errstate(invalid="ignore"):
        fpr = np.cumsum(negative[::-1], axis=0) / negative.sum(axis=0)
        tpr = np.cumsum(positive[::-1], axis=0) / positive.sum(axis=0)
    origin = np.zeros((1, *fpr.shape[1:]))
    fpr, tpr = np.concatenate([origin, fpr]), np.concatenate([origin, tpr])
    excess = fpr + tpr - 1  # FPR - FNR, from -1 to 1
    after = np.argmax(excess >= 0, axis=0)[None]
    before = np.maximum(after - 1, 0)
    (f0, e0), (f1, e1) = ([np.take_along_axis(a, i, axis=0)[0] for a in (fpr, excess)] for i in (before, after))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(e1 > e0, f0 - e0 * (f1 - f0) / (e1 - e0), np.nan)


def ap_step(label: np.ndarray, score: np.ndarray) -> float:
    """Average precision by steps."""
    return float(ap_step_of_counts(*counts(label, score)))


def ap_trapezoid(label: np.ndarray, score: np.ndarray) -> float:
    """Area under the precision-recall curve by trapezoids."""
    return float(ap_trapezoid_of_counts(*counts(label, score)))


def eer(label: np.ndarray, score: np.ndarray) -> float:
    """Equal error rate, interpolated."""
    return float(eer_of_counts(*counts(label, score)))


def video_auroc(label: np.ndarray, score: np.ndarray, single_class: SingleClass) -> float:
    """AUROC of one video under one of the conventions for videos of a single class.

    `skip`: NaN for a video of one class. `one`: 1.0 for it. `pad`: a normal frame below and an abnormal frame above all
    others are added to every video, also to mixed ones. `pad01`: the same with the scores 0 and 1, as published code
    has it; not extreme unless scores lie inside (0, 1).
    """
    label, score = checked(label, score)
    if single_class in ("pad", "pad01"):
        low, high = (0.0, 1.0) if single_class == "pad01" else (-np.inf, np.inf)
        if single_class == "pad" and np.isinf(score).any():  # infinite scores must not tie with what is added
            score = np.unique(score, return_inverse=True)[1].astype(np.float64)
        return auroc(np.append(label, [False, True]), np.append(score, [low, high]))
    value = auroc(label, score)
    return 1.0 if single_class == "one" and np.isnan(value) and len(label) else value


def macro_auroc(labels: Sequence[np.ndarray], scores: Sequence[np.ndarray], single_class: SingleClass) -> float:
    """Mean over videos of their AUROC, unweighted; NaN if there is none."""
    return mean_of_defined([video_auroc(y, s, single_class) for y, s in zip(labels, scores, strict=True)])


def mean_of_defined(values: Sequence[float] | np.ndarray) -> float:
    """Mean of what is not NaN; NaN if nothing is."""
    known = np.asarray(values, dtype=np.float64)
    known = known[~np.isnan(known)]
    return float(known.mean()) if len(known) else float("nan")


def share_of_ties(score: np.ndarray) -> float:
    """Frames in the largest group of equal scores over all frames."""
    return float(np.unique(score, return_counts=True)[1].max() / len(score)) if len(score) else 0.0
