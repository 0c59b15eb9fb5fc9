"""Where the frames of clips come from: decoded when they are asked for, or read from the cache."""

from collections import OrderedDict
from collections.abc import Sequence
from typing import Protocol

import numpy as np

from vad import cache
from vad.benchmarks import Benchmark
from vad.errors import VideoError
from vad.extract.frames import FrameRecipe
from vad.types import Video
from vad.video import VideoReader

OPEN = 8  # readers, or memory maps, that a process holds at a time


class ClipFrames(Protocol):
    """Frames of some videos, in the process that asks."""

    def read(self, video: int, frames: np.ndarray) -> np.ndarray:
        """Frames int64 (n,), ascending, of a video, by its position: uint8 RGB (n, h, w, 3).

        Raises `VideoError` for a video that cannot be read.
        """


class DecodedFrames:
    """Decodes what is asked for, at reduced size, with a bounded number of open readers.

    Args:
        benchmark: Opens the videos.
        videos: In the order of their positions.
        size: Width and height that frames are stretched to.
    """

    def __init__(self, benchmark: Benchmark, videos: Sequence[Video], size: tuple[int, int]) -> None:
        self._benchmark = benchmark
        self._videos = tuple(videos)
        self._size = size
        self._readers: OrderedDict[int, VideoReader] = OrderedDict()

    def read(self, video: int, frames: np.ndarray) -> np.ndarray:
        reader = self._readers.pop(video, None) or self._benchmark.open(self._videos[video])
        self._readers[video] = reader  # the latest is the last
        while len(self._readers) > OPEN:
            self._readers.popitem(last=False)[1].close()
        if len(frames) and frames[-1] >= len(reader):  # a published length that is not this file's
            of = self._videos[video]
            raise VideoError(str(of.path or of.id), f"has {len(reader)} frames, and {of.frames} are published")
        return reader.frames(frames, size=self._size)

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_readers": OrderedDict()}  # readers stay in the process that opened them


class CachedFrames:
    """Reads small frames that were extracted before, memory-mapped.

    Args:
        benchmark: Its data set names the entries.
        recipe: What was extracted.
        videos: In the order of their positions.
    """

    def __init__(self, benchmark: Benchmark, recipe: FrameRecipe, videos: Sequence[Video]) -> None:
        self._entries = [cache.entry(benchmark.dataset, recipe, video.id) for video in videos]
        self._maps: OrderedDict[int, np.ndarray] = OrderedDict()

    def read(self, video: int, frames: np.ndarray) -> np.ndarray:
        held = self._maps.pop(video, None)
        self._maps[video] = self._entries[video].read("frames") if held is None else held
        while len(self._maps) > OPEN:
            self._maps.popitem(last=False)
        return self._maps[video][frames]

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_maps": OrderedDict()}
