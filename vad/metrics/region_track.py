"""Region- and track-based detection criteria, RBDC and TBDC, in closed form.

Ramachandra and Jones, "Street Scene", WACV 2020. Detections are ranked by score. A region is found by the first
detection of its frame that overlaps it by IoU >= beta, a track once the share alpha of its regions is found. What
overlaps no region of its frame is a false positive; further detections of a region already found are neither. Both
criteria are areas under the share of regions (tracks) found against false positives per frame, from 0 to 1:

    RBDC = mean over regions g of max(0, 1 - F(r_g) / N)        F(r): false positives ranked before r
    TBDC = mean over tracks  t of max(0, 1 - F(r_t) / N)        N: number of all frames, also of those without a region

Boxes are half open; plain IoU on them is the published code's IoU of inclusive corners.
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from vad.errors import ScoresError

Ties = Literal["group", "order"]
SLICE = 1 << 18  # detections that are paired with regions at once


class Criteria(NamedTuple):
    """The two areas; NaN where there is no region."""

    rbdc: float
    tbdc: float


@dataclass(frozen=True)
class Found:
    """When each region and each track is found: false positives before and after the detections of that moment.

    `start` and `stop` are ranks: false positives with a rank below `start` come before the detection (or the group of
    detections of equal score), those below `stop` before the next one. A region that is never found has the rank of no
    detection.
    """

    false_positive: np.ndarray  # int64 (f,), ranks of false positives, ascending
    false_positive_unit: np.ndarray  # int64 (f,), the unit (video) of each
    region_start: np.ndarray  # int64 (g,), -1 where the region is never found
    region_stop: np.ndarray
    region_unit: np.ndarray
    track_start: np.ndarray  # int64 (t,)
    track_stop: np.ndarray
    track_unit: np.ndarray


def find(
    *,
    frame: np.ndarray,
    box: np.ndarray,
    score: np.ndarray,
    region_frame: np.ndarray,
    region_box: np.ndarray,
    region_track: np.ndarray,
    unit: np.ndarray | None = None,
    region_unit: np.ndarray | None = None,
    beta: float = 0.1,
    alpha: float = 0.1,
    ties: Ties = "group",
) -> Found:
    """Rank detections and say when regions and tracks are found.

    Args:
        frame: int (d,), the frame of each detection, counted over all videos.
        box: float (d, 4), xyxy, half open.
        score: float (d,).
        region_frame: int (g,), the frame of each region, counted over all videos.
        region_box: float (g, 4).
        region_track: int (g,), unique over all videos.
        unit: int (d,), what a bootstrap draws (the video) of each detection; `None` for one unit.
        region_unit: int (g,), the same of each region.
        beta: Least IoU.
        alpha: Least share of a track's regions.
        ties: `group`: detections of equal score enter together. `order`: as they stand, as the published code does.
    """
    score = np.asarray(score, dtype=np.float64)
    if np.isnan(score).any():
        raise ScoresError("metrics: a detection's score is NaN")
    detections, regions = len(score), len(region_frame)
    order = np.argsort(-score, kind="stable")
    by_frame = np.argsort(region_frame, kind="stable")
    frame, box = np.asarray(frame)[order], np.asarray(box, dtype=np.float64)[order]
    region_boxes = np.asarray(region_box, dtype=np.float64)[by_frame]
    first = np.searchsorted(region_frame[by_frame], frame, side="left")
    last = np.searchsorted(region_frame[by_frame], frame, side="right")

    never = detections
    found_at = np.full(regions, never, dtype=np.int64)  # regions by frame
    hit = np.zeros(detections, dtype=bool)
    for at in range(0, detections, SLICE):
        size = last[at : at + SLICE] - first[at : at + SLICE]
        rank = np.repeat(np.arange(at, at + len(size)), size)
        region = first[rank] + np.arange(len(rank)) - np.repeat(np.cumsum(size) - size, size)
        kept = iou(box[rank], region_boxes[region]) >= beta
        rank, region = rank[kept], region[kept]
        hit[rank] = True
        np.minimum.at(found_at, region, rank)
    region_rank = np.empty(regions, dtype=np.int64)
    region_rank[by_frame] = found_at

    track_rank, track_of = _track_ranks(np.asarray(region_track), region_rank, alpha)
    start, stop = _moments(score[order], ties)
    units = np.zeros(detections, dtype=np.int64) if unit is None else np.asarray(unit)[order]
    region_units = np.zeros(regions, dtype=np.int64) if region_unit is None else np.asarray(region_unit)
    false_positive = np.flatnonzero(~hit)
    return Found(
        false_positive,
        units[false_positive],
        start[region_rank],
        stop[region_rank],
        region_units,
        start[track_rank],
        stop[track_rank],
        region_units[track_of],
    )


def iou(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Intersection over union of boxes (n, 4) and (n, 4), row by row; 0 where both are empty."""
    side = np.minimum(one[:, 2:], other[:, 2:]) - np.maximum(one[:, :2], other[:, :2])
    intersection = np.prod(np.maximum(side, 0), axis=1)
    union = np.prod(one[:, 2:] - one[:, :2], axis=1) + np.prod(other[:, 2:] - other[:, :2], axis=1) - intersection
    return np.divide(intersection, union, out=np.zeros(len(one)), where=union > 0)


def _track_ranks(track: np.ndarray, region_rank: np.ndarray, alpha: float) -> tuple[np.ndarray, np.ndarray]:
    """The rank at which each track is found, and one of its regions."""
    order = np.lexsort((region_rank, track))
    begin = np.flatnonzero(np.diff(track[order], prepend=track[order][:1] - 1))
    length = np.diff(begin, append=len(track))
    needed = np.ceil(alpha * length).astype(np.int64)  # the least k with k / length >= alpha, whatever the rounding
    needed -= (needed > 0) & ((needed - 1) / length >= alpha)
    needed += needed / length < alpha
    chosen = order[begin + np.maximum(needed, 1) - 1]
    return region_rank[chosen], chosen


def _moments(ranked: np.ndarray, ties: Ties) -> tuple[np.ndarray, np.ndarray]:
    """For each rank, and -1 for "never" behind the last: first rank of its group, and first rank after it."""
    rank = np.arange(len(ranked))
    if ties == "order":
        start, stop = rank, rank
    else:
        begin = np.flatnonzero(np.append(True, ranked[1:] != ranked[:-1]))[: len(ranked)]
        size = np.diff(begin, append=len(ranked))
        start, stop = np.repeat(begin, size), np.repeat(begin + size, size)
    return np.append(start, -1), np.append(stop, -1)


def criteria(found: Found, frames: int) -> Criteria:
    """RBDC and TBDC over `frames` frames in all."""

    def area(start: np.ndarray, stop: np.ndarray) -> float:
        if len(start) == 0 or frames == 0:
            return float("nan")
        before, after = (np.searchsorted(found.false_positive, rank, side="left") for rank in (start, stop))
        return float(np.where(start < 0, 0.0, _credit(before, after, frames)).mean())

    return Criteria(area(found.region_start, found.region_stop), area(found.track_start, found.track_stop))


def _credit(before: np.ndarray, after: np.ndarray, frames: "int | np.ndarray") -> np.ndarray:
    """Area right of the straight line from `before` to `after` false positives, cut at one false positive per frame."""
    whole = 1 - (before + after) / (2 * frames)
    rest = np.maximum(frames - before, 0)
    cut = rest * rest / (2 * frames * np.maximum(after - before, 1))
    return np.where(after <= frames, whole, np.where(before >= frames, 0.0, cut))


def draws(found: Found, frames: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """RBDC and TBDC of every draw, float64 (draws,) each.

    Takes the frames of each unit (units,) and weights (units, draws): a video that is drawn twice counts twice, with
    its frames, regions, tracks and false positives.
    """
    ranks = np.unique(np.concatenate([found.region_start, found.region_stop, found.track_start, found.track_stop]))
    units = len(frames)
    # False positives of each unit between two ranks that matter, then before each of them.
    between = np.searchsorted(ranks, found.false_positive, side="right")
    cell = between * units + found.false_positive_unit
    earlier = np.bincount(cell, minlength=(len(ranks) + 1) * units).reshape(-1, units)[: len(ranks)]
    earlier = np.cumsum(earlier, axis=0).astype(np.float64)
    sides = [
        (np.searchsorted(ranks, start), np.searchsorted(ranks, stop), unit, start < 0)
        for start, stop, unit in (
            (found.region_start, found.region_stop, found.region_unit),
            (found.track_start, found.track_stop, found.track_unit),
        )
    ]
    drawn: list[list[np.ndarray]] = [[], []]
    chunk = max(1, (1 << 22) // max(len(ranks) + len(found.region_start), 1))
    for at in range(0, weights.shape[1], chunk):
        weight = weights[:, at : at + chunk].astype(np.float64)
        before = earlier @ weight
        total = frames @ weight
        for side, (start, stop, unit, never) in enumerate(sides):
            credit = np.where(never[:, None], 0.0, _credit(before[start], before[stop], total))
            with np.errstate(invalid="ignore", divide="ignore"):
                drawn[side].append((credit * weight[unit]).sum(axis=0) / weight[unit].sum(axis=0))
    return np.concatenate(drawn[0]), np.concatenate(drawn[1])
