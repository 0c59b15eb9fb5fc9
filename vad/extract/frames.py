"""Whole frames, small enough to be kept: what methods read that see clips and not objects.

video -> decoded once, scaled as it is decoded -> uint8 (n, h, w, 3)
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from vad.benchmarks import Benchmark
from vad.errors import ConfigError
from vad.extract.crops import scratch
from vad.extract.extraction import Extraction, Worker
from vad.types import Video

TOGETHER = 32  # frames that are read in one call


@dataclass(frozen=True, kw_only=True)
class FrameRecipe(Extraction):
    """Every frame of a video at a small size.

    An entry holds `frames` uint8 RGB (n, h, w, 3), the pixels of `reader.frames(range(n), size=size)`. A frame takes
    3 * w * h bytes, 57,600 at the default size; grey footage takes as much, in three equal channels.

    Args:
        size: Width and height that each frame is stretched to.
    """

    kind: ClassVar[str] = "frames"
    version: ClassVar[int] = 1

    size: tuple[int, int] = (160, 120)

    def __post_init__(self) -> None:
        if min(self.size) < 1:
            raise ConfigError(f"frames: size is a width and a height of at least 1, got {list(self.size)}")

    def worker(self, device: str) -> Worker:
        """Read one video after another; nothing is loaded, and the device is not used."""
        return FrameWorker(self)


class FrameWorker:
    """Reads the small frames of one video after another."""

    def __init__(self, recipe: FrameRecipe) -> None:
        self._size = recipe.size

    def __call__(self, benchmark: Benchmark, video: Video) -> tuple[Mapping[str, np.ndarray], Mapping[str, Any]]:
        started = time.perf_counter()
        width, height = self._size
        with benchmark.open(video) as reader:
            count = len(reader)
            frames = scratch((count, height, width, 3), np.uint8)
            for first in range(0, count, TOGETHER):
                rows = range(first, min(first + TOGETHER, count))
                frames[first : rows.stop] = reader.frames(rows, size=self._size)
        return {"frames": frames}, {"frames": count, "seconds": round(time.perf_counter() - started, 3)}
