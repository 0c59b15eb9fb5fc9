"""Scores of objects, snippets or frames to scores of frames."""

import itertools
from collections.abc import Sequence

import numpy as np

from vad.errors import ScoresError
from vad.types import Record


def frame_scores(record: Record, score: np.ndarray, *, floor: float | None) -> list[np.ndarray]:
    """Scores of frames, one float64 (n,) for each video of the record.

    Objects: the maximum over a frame's boxes, `floor` for a frame without any. Snippets: the score of the snippet that
    covers the frame (the mean where several do), the last one repeated to the end. Frames: as they are.

    Raises `ScoresError` for a frame that no snippet or row covers, and for objects without a floor.
    """
    lengths = np.array([video.frames for video in record.videos], dtype=np.int64)
    starts = np.concatenate([[0], np.cumsum(lengths)])
    row_video = np.repeat(np.arange(len(lengths)), np.diff(record.offsets))
    score = np.asarray(score, dtype=np.float64)
    if record.kind == "snippets":
        flat = _snippets_to_frames(record, score, lengths, starts, row_video)
    else:
        assert record.frame is not None  # a record of objects or frames has it
        position = starts[row_video] + record.frame
        count = np.bincount(position, minlength=int(starts[-1]))
        if record.kind == "frames":
            _refuse_gaps(record, count != 1, starts, "the scores do not give every frame once")
            flat = np.empty(int(starts[-1]))
            flat[position] = score
        else:
            if floor is None and (count == 0).any():
                raise ScoresError("the scores' header has no floor, the score of a frame without objects")
            flat = np.full(int(starts[-1]), -np.inf)
            np.maximum.at(flat, position, score)
            flat[count == 0] = floor
    return [flat[a:b] for a, b in itertools.pairwise(starts)]


def _snippets_to_frames(
    record: Record, score: np.ndarray, lengths: np.ndarray, starts: np.ndarray, row_video: np.ndarray
) -> np.ndarray:
    assert record.first is not None and record.end is not None
    first = record.first.astype(np.int64)
    end = np.minimum(record.end.astype(np.int64), lengths[row_video])
    covered = np.maximum(end - first, 0)
    row = np.repeat(np.arange(len(score)), covered)
    within = np.arange(len(row)) - np.repeat(np.cumsum(covered) - covered, covered)
    position = starts[row_video[row]] + first[row] + within
    total = int(starts[-1])
    count = np.bincount(position, minlength=total)
    with np.errstate(invalid="ignore"):  # frames that nothing covers yet
        flat = np.bincount(position, weights=score[row], minlength=total) / count
    by_end = np.lexsort((first, end, row_video))
    for last in by_end[np.flatnonzero(np.diff(row_video[by_end], append=-1))]:  # each video's snippet that ends last
        video = row_video[last]
        tail = slice(int(starts[video] + end[last]), int(starts[video + 1]))
        flat[tail], count[tail] = score[last], 1
    _refuse_gaps(record, count == 0, starts, "no snippet covers all of its frames")
    return flat


def _refuse_gaps(record: Record, wrong: np.ndarray, starts: np.ndarray, what: str) -> None:
    if wrong.any():
        position = int(np.argmax(wrong))
        video = int(np.searchsorted(starts, position, side="right")) - 1
        raise ScoresError(f"{record.videos[video].id}: {what} (first at frame {position - int(starts[video])})")


def smooth(
    frames: Sequence[np.ndarray], *, radius: int = 5, cuts: Sequence[Sequence[int]] | None = None
) -> list[np.ndarray]:
    """The suite's own smoothing: the mean over the frames t - radius .. t + radius of the same clip that exist.

    `cuts[i]` are frames of video i at which material was joined; no mean crosses one.
    """
    smoothed = []
    for index, video in enumerate(frames):
        borders = [] if cuts is None else [c for c in cuts[index] if 0 < c < len(video)]
        pieces = np.split(video, sorted(borders))
        smoothed.append(np.concatenate([_mean_inside(piece, radius) for piece in pieces]))
    return smoothed


def _mean_inside(clip: np.ndarray, radius: int) -> np.ndarray:
    """Mean of what exists around each frame.

    Summed as differences from the frame itself, so that equal scores stay equal: rounding would otherwise tell the ends
    of a clip from its middle, and ties of a rank metric would be broken by position.
    """
    total = np.zeros_like(clip)
    count = np.ones(len(clip))
    for shift in range(1, min(radius, len(clip) - 1) + 1):
        step = clip[shift:] - clip[:-shift]
        total[:-shift] += step
        total[shift:] -= step
        count[:-shift] += 1
        count[shift:] += 1
    return clip + total / count
