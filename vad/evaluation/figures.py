"""Figures of frames: every name of a variant, with its draws."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from vad.metrics import bootstrap, frame


class Figure(NamedTuple):
    """A metric, and its values on the draws of the bootstrap."""

    value: float
    samples: np.ndarray | None = None  # float64 (draws,), None where there is no interval


@dataclass(frozen=True)
class Frames:
    """Labels of the frames that are evaluated, and what they are grouped by; all but the first may be `None`."""

    labels: Sequence[np.ndarray]  # uint8 (n,) for each video
    abnormal: np.ndarray  # bool (v,), videos with an abnormal label
    scenes: Sequence[str] | None = None  # of each video
    groups: np.ndarray | None = None  # int64 (n,), the source of each frame over all videos
    kinds: Mapping[str, np.ndarray] | None = None  # kind -> bool (n,) over all videos

    @property
    def video(self) -> np.ndarray:
        """The video of each frame, int64 (n,)."""
        return np.repeat(np.arange(len(self.labels)), [len(label) for label in self.labels])

    @property
    def unit(self) -> np.ndarray:
        """What the bootstrap draws: the source of each frame where material was composed, else its video."""
        return self.video if self.groups is None else self.groups

    @property
    def units(self) -> int:
        return len(self.labels) if self.groups is None else int(self.groups.max()) + 1

    @property
    def groups_of_both_classes(self) -> int:
        """Those that `group_macro_auroc` is a mean over; 0 without groups."""
        if self.groups is None:
            return 0
        label = np.concatenate(self.labels).astype(bool)
        return len(np.intersect1d(self.groups[label], self.groups[~label]))


def frame_figures(
    frames: Frames,
    scores: Sequence[np.ndarray],
    weights: np.ndarray | None,
    *,
    suffix: str = "",
    threshold: float | None = None,
) -> dict[str, Figure]:
    """Every metric of frames that applies, by its name with `suffix`.

    Args:
        frames: What is true.
        scores: float64 (n,) for each video.
        weights: Draws of the bootstrap (units, draws), or `None` for values alone.
        suffix: Of the variant.
        threshold: Score at which a frame is an alarm, the logit of 0.5; `None` where scores are no logits. With it come
            `far_at_0.5` (share of the frames of normal videos that are alarms), `miss_at_0.5` (share of the abnormal
            frames that are none), `mean_normal` and `mean_abnormal` (mean probability of all such frames).
    """
    label = np.concatenate(frames.labels).astype(bool)
    score = np.concatenate(scores)
    unit, video = frames.unit, frames.video
    bins = None if weights is None else bootstrap.RankBins.of(score, unit, frames.units)

    def ranked(chosen: np.ndarray, **metrics: tuple) -> dict[str, Figure]:
        """Figures of the chosen frames: name -> (metric of counts, function of label and score)."""
        values = {name: float(exact(label[chosen], score[chosen])) for name, (_, exact) in metrics.items()}
        if bins is None or weights is None or all(np.isnan(v) for v in values.values()):
            return {name: Figure(value) for name, value in values.items()}
        drawn = bootstrap.draw_metrics(
            bins.table(chosen & label), bins.table(chosen & ~label), weights, *(m for m, _ in metrics.values())
        )
        return {name: Figure(value, samples) for (name, value), samples in zip(values.items(), drawn, strict=True)}

    auroc = (frame.auroc_of_counts, frame.auroc)
    ap_step = (frame.ap_step_of_counts, frame.ap_step)
    everything = np.ones(len(label), dtype=bool)
    found = ranked(
        everything,
        micro_auroc=auroc,
        ap_step=ap_step,
        ap_trapezoid=(frame.ap_trapezoid_of_counts, frame.ap_trapezoid),
        eer=(frame.eer_of_counts, frame.eer),
    )
    if not frames.abnormal.all():
        found |= ranked(frames.abnormal[video], auroc_abnormal_videos=auroc, ap_abnormal_videos=ap_step)
    for convention in ("skip", "pad", "one"):
        values = [frame.video_auroc(y, s, convention) for y, s in zip(frames.labels, scores, strict=True)]
        found[f"macro_auroc_{convention}"] = Figure(
            frame.mean_of_defined(values),
            # Videos that share clips are no sample of anything, so that groups leave this without an interval.
            None if weights is None or frames.groups is not None else bootstrap.mean_draws(np.array(values), weights),
        )
    if frames.scenes is not None and len(set(frames.scenes)) > 1:
        scene = np.array(frames.scenes)[video]
        each = [ranked(scene == name, auroc=auroc)["auroc"] for name in sorted(set(frames.scenes))]
        found["scene_macro_auroc"] = _mean_figure(each)
    if frames.groups is not None:
        values = [frame.auroc(label[unit == g], score[unit == g]) for g in range(frames.units)]
        samples = None if weights is None else bootstrap.mean_draws(np.array(values), weights)
        found["group_macro_auroc"] = Figure(frame.mean_of_defined(values), samples)
    if threshold is not None:
        alarm, probability = score >= threshold, np.exp(-np.logaddexp(0, threshold - score))
        # Normal videos as in Sultani et al. (2018), not all normal frames.
        found["far_at_0.5"] = _mean_over(frames, ~frames.abnormal[video], alarm, weights)
        found["miss_at_0.5"] = _mean_over(frames, label, ~alarm, weights)
        found["mean_normal"] = _mean_over(frames, ~label, probability, weights)
        found["mean_abnormal"] = _mean_over(frames, label, probability, weights)
    found = {name + suffix: figure for name, figure in found.items()}
    if frames.kinds and not suffix:
        for kind, frames_of_kind in frames.kinds.items():
            chosen = ~label | (frames_of_kind & label)
            found[f"micro_auroc[{kind}]"] = ranked(chosen, auroc=auroc)["auroc"]
    return {name: figure for name, figure in found.items() if np.isfinite(figure.value)}


def _mean_figure(figures: Sequence[Figure]) -> Figure:
    """The mean of those that are defined, in each draw."""
    drawn = [figure.samples for figure in figures if figure.samples is not None]
    value = frame.mean_of_defined([figure.value for figure in figures])
    if not drawn:
        return Figure(value)
    samples = np.stack(drawn)
    known = np.isfinite(samples)
    with np.errstate(invalid="ignore"):
        return Figure(value, np.where(known, samples, 0).sum(axis=0) / known.sum(axis=0))


def _mean_over(frames: Frames, chosen: np.ndarray, values: np.ndarray, weights: np.ndarray | None) -> Figure:
    """Mean of values (n,) over the chosen frames, bool (n,); NaN where there are none."""
    if not chosen.any():
        return Figure(float("nan"))
    value = float(values[chosen].mean())
    if weights is None:
        return Figure(value)
    total, count = (np.bincount(frames.unit, column, minlength=frames.units) for column in (values * chosen, chosen))
    return Figure(value, bootstrap.ratio_draws(total, count, weights))
