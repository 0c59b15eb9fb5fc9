"""Intervals by a bootstrap over videos: frames of one video depend on each other, so whole videos are drawn.

A draw is a vector of integer weights, one for each *unit*: a video, or, where videos were composed and clips recur, the
source of a frame. All frames of a unit have its weight, in whichever videos they stand. Metrics of a draw are computed
from counts by weight, never by sorting again.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

BINS = 2048  # rank bins of a table; with fewer distinct scores a table is exact
CELLS = 1 << 22  # bound on bins x units
CHUNK = 128  # draws at once: their counts stay in the processor's cache


def draw_weights(strata: np.ndarray, draws: int, seed: int) -> np.ndarray:
    """How often each unit is drawn, int64 (units, draws): with replacement, inside each stratum as often as it is
    large.

    A function of its arguments alone, so that two methods are compared on the same draws.
    """
    generator = np.random.Generator(np.random.PCG64(seed))
    weights = np.zeros((len(strata), draws), dtype=np.int64)
    for stratum in np.unique(strata):
        members = np.flatnonzero(strata == stratum)
        weights[members] = generator.multinomial(len(members), np.full(len(members), 1 / len(members)), size=draws).T
    return weights


class Interval(NamedTuple):
    """A 95 % percentile interval; `None` where fewer than half of the draws have a value."""

    low: float | None
    high: float | None


def interval(samples: np.ndarray) -> Interval:
    """The 2.5th and the 97.5th percentile of the draws that are defined."""
    known = samples[np.isfinite(samples)]
    if len(known) == 0 or 2 * len(known) < len(samples):
        return Interval(None, None)
    low, high = np.percentile(known, [2.5, 97.5])
    return Interval(float(low), float(high))


@dataclass(frozen=True)
class RankBins:
    """Frames by rank of their score and by unit: all that a rank metric needs of a draw.

    Our choice: where there are more distinct scores than bins, neighbouring ones are joined to bins of about equally
    many frames; equal scores stay together. This moves the AUROC of a draw by less than 1 / (2 bins), far less than the
    noise of a thousand draws. Figures themselves are never computed from bins.
    """

    cell: np.ndarray  # int64 (n,), bin * units + unit of each frame, bins ascending with the score
    bins: int
    units: int

    @classmethod
    def of(cls, score: np.ndarray, unit: np.ndarray, units: int, *, bins: int = BINS) -> "RankBins":
        """Sort scores (n,) of frames that belong to `unit` (n,) into at most `bins` bins."""
        bins = max(64, min(bins, CELLS // max(units, 1)))
        values, rank, size = np.unique(score, return_inverse=True, return_counts=True)
        used = len(values)
        if used > bins:  # the bin of a score is that of its middle frame; numbered without gaps
            middle = np.cumsum(size) - (size + 1) // 2
            kept, of_value = np.unique(middle * bins // len(score), return_inverse=True)
            rank, used = of_value[rank], len(kept)
        return cls(rank.astype(np.int64) * units + unit, used, units)

    def table(self, frames: np.ndarray) -> np.ndarray:
        """How many of the chosen frames, bool (n,), are in each bin and unit; float64 (bins, units)."""
        count = np.bincount(self.cell[frames], minlength=self.bins * self.units)
        return count.reshape(self.bins, self.units).astype(np.float64)


def draw_metrics(
    positive: np.ndarray,
    negative: np.ndarray,
    weights: np.ndarray,
    *metrics: Callable[[np.ndarray, np.ndarray], np.ndarray],
) -> list[np.ndarray]:
    """Metrics of counts for every draw, float64 (draws,) each.

    Takes tables (bins, units) of abnormal and normal frames, and weights (units, draws).
    """
    parts = []
    for start in range(0, weights.shape[1], CHUNK):
        weight = weights[:, start : start + CHUNK].astype(np.float64)
        counts = positive @ weight, negative @ weight  # whole numbers: exact in any order of summation
        parts.append([metric(*counts) for metric in metrics])
    return [np.concatenate([part[i] for part in parts]) for i in range(len(metrics))]


def mean_draws(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Weighted mean of one value for each unit, (draws,); units whose value is NaN are left out."""
    known = ~np.isnan(values)
    with np.errstate(invalid="ignore"):
        return (values[known] @ weights[known]) / weights[known].sum(axis=0)


def ratio_draws(numerator: np.ndarray, denominator: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Ratio of weighted sums over units, (draws,)."""
    with np.errstate(invalid="ignore"):
        return (numerator @ weights) / (denominator @ weights)
