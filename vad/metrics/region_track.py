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

    before: np.ndarray  # int64 (d + 1,), false positives with a rank below 0, 1, ... d
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
    # Only the order of equal scores needs a stable sort, and only where it counts.
    order = np.argsort(-score, kind="stable" if ties == "order" else None)
    rank = np.empty(detections, dtype=np.int64)
    rank[order] = np.arange(detections)
    hit, region_rank = _first_hits(
        np.asarray(frame), np.asarray(box), rank, np.asarray(region_frame), np.asarray(region_box), beta
    )

    track_rank, track_of = _track_ranks(np.asarray(region_track), region_rank, alpha)
    start, stop = _moments(score[order], ties)
    units = np.zeros(detections, dtype=np.int64) if unit is None else np.asarray(unit)[order]
    region_units = np.zeros(regions, dtype=np.int64) if region_unit is None else np.asarray(region_unit)
    wrong = ~hit[order]
    false_positive = np.flatnonzero(wrong)
    return Found(
        np.append(0, np.cumsum(wrong)),
        false_positive,
        units[false_positive],
        start[region_rank],
        stop[region_rank],
        region_units,
        start[track_rank],
        stop[track_rank],
        region_units[track_of],
    )


def _first_hits(
    frame: np.ndarray,
    box: np.ndarray,
    rank: np.ndarray,
    region_frame: np.ndarray,
    region_box: np.ndarray,
    beta: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Whether each detection overlaps a region, and the least rank of those that overlap each region (d for never)."""
    by_frame = np.argsort(region_frame, kind="stable")
    frames = int(max(frame.max(initial=-1), region_frame.max(initial=-1))) + 1
    count = np.bincount(region_frame, minlength=frames)
    first = np.cumsum(count) - count
    region_corners = _corners(region_box[by_frame])
    found_at = np.full(len(region_frame), len(frame), dtype=np.int64)  # regions by frame
    hit = np.zeros(len(frame), dtype=bool)
    candidates = np.flatnonzero(count[frame])
    for at in range(0, len(candidates), SLICE):
        candidate = candidates[at : at + SLICE]
        size = count[frame[candidate]]
        detection = np.repeat(candidate, size)
        within = np.arange(len(detection)) - np.repeat(np.cumsum(size) - size, size)
        region = first[frame[detection]] + within
        kept = _iou(_corners(box[detection]), [side[region] for side in region_corners]) >= beta
        detection, region = detection[kept], region[kept]
        hit[detection] = True
        np.minimum.at(found_at, region, rank[detection])
    region_rank = np.empty_like(found_at)
    region_rank[by_frame] = found_at
    return hit, region_rank


def _corners(box: np.ndarray) -> list[np.ndarray]:
    """x1, y1, x2, y2 as float64 (n,) each."""
    return list(np.ascontiguousarray(np.asarray(box, dtype=np.float64).reshape(-1, 4).T))


def _iou(one: list[np.ndarray], other: list[np.ndarray]) -> np.ndarray:
    """Intersection over union of boxes, pair by pair; 0 where both are empty."""
    width = np.minimum(one[2], other[2]) - np.maximum(one[0], other[0])
    height = np.minimum(one[3], other[3]) - np.maximum(one[1], other[1])
    intersection = np.maximum(width, 0) * np.maximum(height, 0)
    areas = [(x2 - x1) * (y2 - y1) for x1, y1, x2, y2 in (one, other)]
    union = areas[0] + areas[1] - intersection
    return np.divide(intersection, union, out=np.zeros(len(union)), where=union > 0)


def _track_ranks(track: np.ndarray, region_rank: np.ndarray, alpha: float) -> tuple[np.ndarray, np.ndarray]:
    """The rank at which each track is found, and one of its regions."""
    order = np.lexsort((region_rank, track))
    begin = np.flatnonzero(np.diff(track[order], prepend=track[order][:1] - 1))
    length = np.diff(begin, append=len(track))
    needed = np.ceil(alpha * length).astype(np.int64)
    needed -= (needed - 1) / length >= alpha  # the least k with k / length >= alpha: 0.07 * 100 is above 7
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
        credit = _credit(found.before[start], found.before[stop], frames)
        return float(np.where(start < 0, 0.0, credit).mean())

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
