"""Where the objects of some videos lie in the cache."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from vad import cache
from vad.benchmarks import Benchmark
from vad.datamodules.rows import Stretch
from vad.extract.crops import CropRecipe
from vad.types import Part, Record, ScoredVideo, Video


class ObjectIndex(NamedTuple):
    """Where the crops of some videos lie, and what is known of each without its pixels."""

    videos: tuple[ScoredVideo, ...]
    parts: list[Part]  # of all videos, one after another
    stretches: list[Stretch]  # of each part, its rows in the entry of its source
    offsets: np.ndarray  # int64 (v + 1,): objects offsets[i] to offsets[i + 1] belong to video i
    frame: np.ndarray  # int32 (m,), in its video
    box: np.ndarray  # float32 (m, 4)

    @property
    def record(self) -> Record:
        """The objects as what is scored."""
        return Record(videos=self.videos, offsets=self.offsets, frame=self.frame, box=self.box)


def index_objects(benchmark: Benchmark, crops: CropRecipe, videos: Sequence[Video]) -> ObjectIndex:
    """The objects of some videos, in order of video, frame and object: entries joined along the videos' parts."""
    scored: list[ScoredVideo] = []
    parts: list[Part] = []
    stretches: list[Stretch] = []
    counts: list[int] = []
    frames: list[np.ndarray] = []
    boxes: list[np.ndarray] = []
    for video in videos:
        length = count = 0
        for part in benchmark.parts(video):
            entry = cache.entry(benchmark.dataset, crops, part.source)
            frame = entry.read("frame", mmap=False)
            start, stop = (int(row) for row in np.searchsorted(frame, (part.start, part.stop)))
            parts.append(part)
            stretches.append(Stretch(entry, start, stop))
            frames.append((frame[start:stop] - part.start + length).astype(np.int32))
            boxes.append(entry.read("box", mmap=False)[start:stop].astype(np.float32))
            length += part.stop - part.start
            count += stop - start
        scored.append(ScoredVideo(video.id, video.split, length))
        counts.append(count)
    return ObjectIndex(
        videos=tuple(scored),
        parts=parts,
        stretches=stretches,
        offsets=np.concatenate([[0], np.cumsum(counts, dtype=np.int64)]).astype(np.int64),
        frame=np.concatenate([np.empty(0, np.int32), *frames]),
        box=np.concatenate([np.empty((0, 4), np.float32), *boxes]),
    )
