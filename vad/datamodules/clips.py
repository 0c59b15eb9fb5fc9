"""Clips of footage for pretext tasks: `vad.datamodules.pretext_data` on frames."""

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np

from vad import cache
from vad.datamodules.clip_frames import CachedFrames, ClipFrames, DecodedFrames
from vad.datamodules.pretext_data import PretextData
from vad.errors import ConfigError, VideoError
from vad.extract.extraction import Extraction
from vad.extract.frames import FrameRecipe
from vad.types import Video

SMALLEST = 8  # pixels: one cell of `vad.training.clip_augmentation.motion_map`


class ClipData(PretextData):
    """Clips of pretext tasks on frames. See `PretextData` for what else may be given.

    Args:
        size: Width and height that frames are stretched to as they are read.
        frames: Read small frames that were extracted before, in place of decoding; their size is this one's. Decoding
            on the fly reads each window from the key frame before it, and needs no space.
    """

    def __init__(self, *, size: tuple[int, int] = (171, 128), frames: FrameRecipe | None = None, **shared: Any) -> None:
        super().__init__(**shared)
        self.size = (size[0], size[1]) if frames is None else frames.size
        self.frames = frames
        if min(self.size) < SMALLEST:
            raise ConfigError(f"size: expected a width and a height of at least {SMALLEST}, got {list(self.size)}")

    def recipes(self) -> list[Extraction]:
        return [] if self.frames is None else [self.frames]

    def rows(self, videos: Sequence[Video]) -> ClipFrames:
        if self.frames is None:
            return DecodedFrames(self.benchmark, videos, self.size)
        return CachedFrames(self.benchmark, self.frames, videos)

    def row_counts(self, videos: Sequence[Video]) -> np.ndarray:
        if self.frames is not None:
            entries = (cache.entry(self.benchmark.dataset, self.frames, video.id) for video in videos)
            return np.array([len(entry.read("frames")) for entry in entries], np.int64)
        return np.array([self._lengths[video.id] for video in videos], np.int64)

    def broken(self) -> dict[str, str]:
        """Videos that cannot be opened, too, where they are decoded on the fly; what breaks later, batches name."""
        return {**super().broken(), **{name: said for name, said in self._lengths.items() if isinstance(said, str)}}

    @cached_property
    def _lengths(self) -> dict[str, int | str]:
        """Frames of each source, or why it cannot be opened."""
        return {} if self.frames is not None else {video.id: self._length(video) for video in self.needed()}

    def _length(self, video: Video) -> int | str:
        if video.frames is not None:
            return video.frames
        try:
            with self.benchmark.open(video) as reader:
                return len(reader)
        except VideoError as error:
            if self.on_broken == "stop":
                raise
            return error.reason
