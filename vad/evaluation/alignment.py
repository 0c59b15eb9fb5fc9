"""Scores and truth of the same videos, frame by frame."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from vad.benchmarks import Benchmark
from vad.benchmarks.benchmark import Grid
from vad.errors import ScoresError
from vad.scores import Scores
from vad.types import Record, Split, Truth, Video, protocol_splits


@dataclass(frozen=True)
class Aligned:
    """The scored videos of some splits in the benchmark's order, with their truth on a grid."""

    videos: tuple[Video, ...]
    truths: tuple[Truth, ...]
    lengths: tuple[int, ...]  # frames of each video on the grid
    record: Record
    score: np.ndarray  # float64 (m,), rows of the record
    skipped: int  # videos that the scores leave out on purpose

    def on_grid(self, per_video: Sequence[np.ndarray]) -> list[np.ndarray]:
        """One array for each video, cut to the grid or extended by its last value."""
        return [fit(array, length) for array, length in zip(per_video, self.lengths, strict=True)]

    def labels(self) -> list[np.ndarray]:
        """uint8 (n,) for each video, on the grid; frames of a training split are normal."""
        return self.on_grid([truth.frames for truth in self.truths])

    def cuts(self) -> list[tuple[int, ...]]:
        return [video.cuts for video in self.videos]


def fit(array: np.ndarray, length: int) -> np.ndarray:
    """Cut an array to `length`, or repeat its last value up to it."""
    if len(array) >= length:
        return array[:length]
    if len(array) == 0:
        raise ScoresError("evaluation: a video without frames cannot be extended to the grid")
    return np.concatenate([array, np.repeat(array[-1:], length - len(array))])


def align(scores: Scores, benchmark: Benchmark, protocol: str, grid: Grid) -> dict[Split, Aligned]:
    """Match scores with the videos that the protocol scores, split by split.

    Raises `ScoresError` for videos that the benchmark does not have, that are missing although the header does not list
    them as skipped, or whose length differs; `ConfigError` for an unknown protocol.
    """
    splits = protocol_splits(protocol).score
    if not splits:
        raise ScoresError(f"the protocol {protocol} scores no videos, so there is nothing to evaluate")
    named = scores.header.get("benchmark")
    if named and named != benchmark.name:
        raise ScoresError(f"these are scores of {named}, not of {benchmark.name}: give --benchmark {named}")
    skipped = _skipped(scores)
    position = {(video.split, video.id): index for index, video in enumerate(scores.record.videos)}
    found: dict[Split, Aligned] = {}
    known: set[tuple[Split, str]] = set()
    for split in splits:
        videos = benchmark.videos(split)
        known |= {(split, video.id) for video in videos}
        missing = [video.id for video in videos if (split, video.id) not in position and video.id not in skipped]
        if missing:
            raise ScoresError(
                f"{len(missing)} of {len(videos)} {split} videos of {benchmark.name} have no scores, first {missing[0]}"
            )
        scored = [video for video in videos if (split, video.id) in position]
        if not scored:
            raise ScoresError(f"no {split} video of {benchmark.name} has scores")
        rows = _take(scores, [position[split, video.id] for video in scored])
        truths = [benchmark.truth(video) if split == "test" else None for video in scored]
        lengths = [benchmark.grid_length(video, grid) for video in scored]
        found[split] = _checked(benchmark, scored, truths, lengths, rows, len(videos) - len(scored))
    unknown = [video for video in scores.record.videos if (video.split, video.id) not in known]
    if unknown:
        raise ScoresError(
            f"{benchmark.name} has no {unknown[0].split} video {unknown[0].id} to score under the protocol {protocol}, "
            f"but the scores name it{f' and {len(unknown) - 1} others' if len(unknown) > 1 else ''}"
        )
    return found


def _skipped(scores: Scores) -> set[str]:
    skipped = scores.header.get("skipped") or []
    if not isinstance(skipped, list) or not all(isinstance(id, str) for id in skipped):
        raise ScoresError("scores: the header's skipped must be a list of video ids")
    return set(skipped)


def _take(scores: Scores, order: Sequence[int]) -> tuple[Record, np.ndarray]:
    """The record and the scores of some videos, in this order."""
    record, offsets = scores.record, scores.record.offsets
    rows = np.concatenate([np.arange(offsets[i], offsets[i + 1]) for i in order])
    taken = {
        name: None if (array := getattr(record, name)) is None else array[rows]
        for name in ("frame", "box", "first", "end")
    }
    sizes = [offsets[i + 1] - offsets[i] for i in order]
    videos = tuple(record.videos[i] for i in order)
    return Record(videos, np.cumsum([0, *sizes], dtype=np.int64), **taken), np.asarray(scores.score, np.float64)[rows]


def _checked(
    benchmark: Benchmark,
    videos: Sequence[Video],
    truths: Sequence[Truth | None],
    lengths: Sequence[int],
    rows: tuple[Record, np.ndarray],
    skipped: int,
) -> Aligned:
    record, score = rows
    complete = []
    for video, truth, length, scored in zip(videos, truths, lengths, record.videos, strict=True):
        if truth is None:  # a training video is normal by definition of the benchmark
            truth = Truth(frames=np.zeros(scored.frames if video.frames is None else video.frames, dtype=np.uint8))
        if scored.frames not in (len(truth.frames), length):
            raise ScoresError(
                f"{video.id}: has scores of {scored.frames} frames, but {len(truth.frames)} frames in {benchmark.name}"
                + ("" if length == len(truth.frames) else f", {length} on this grid")
            )
        if not np.isin(truth.frames, (0, 1)).all():
            raise ScoresError(f"{video.id}: its truth in {benchmark.name} holds labels other than 0 and 1")
        complete.append(replace(truth, frames=np.asarray(truth.frames, dtype=np.uint8)))
    return Aligned(tuple(videos), tuple(complete), tuple(lengths), record, score, skipped)
