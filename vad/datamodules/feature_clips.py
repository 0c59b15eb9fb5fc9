"""Clips of snippet features for pretext tasks: `vad.datamodules.pretext_data` for who has features but no footage.

What the tasks call a frame is a snippet here. They move whole snippets: backward is the order of snippets alone, while
the footage inside each still runs forward; a speed skips snippets, while what moves inside them stays as fast. Our
extension: no paper pretrains on features, and no result on them is a paper's.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from vad.datamodules.bags import NO_END
from vad.datamodules.pretext_data import PretextData
from vad.datamodules.snippets import Align, Snippets, aligned, span
from vad.errors import ConfigError
from vad.extract.extraction import Extraction
from vad.extract.features import Features
from vad.types import Part, Video


class SnippetRows:
    """Snippets by their position in a video, their streams joined to one row of D values."""

    def __init__(self, snippets: Snippets) -> None:
        self._snippets = snippets

    def read(self, video: int, rows: np.ndarray) -> np.ndarray:
        """Rows int64 (n,), ascending, of a video: float16 (n, D)."""
        streams = [self._snippets.read(video, stream, rows)[:, 0].half() for stream in range(self._snippets.streams)]
        return torch.cat(streams, -1).numpy()


class FeatureClipData(PretextData):
    """Clips of pretext tasks on snippet features, memory-mapped. See `PretextData` for what else may be given.

    Of a composed benchmark the sources are read, not what was composed of them. Crops are replaced by their mean.

    Args:
        features: What a snippet is described by; a row holds each stream of each recipe, in order.
        align: See `vad.datamodules.bags.BagData`.
        tolerance: Likewise.
        speeds: Steps between snippets that are to be told apart.
        gap: Snippets at least that a change jumps over.
        window: Snippets of a window.
    """

    def __init__(
        self,
        *,
        features: list[Features],
        align: Align = "truncate",
        tolerance: int = 2,
        speeds: Sequence[int] = (1, 2, 4),
        gap: int = 16,
        window: int = 64,
        **shared: Any,
    ) -> None:
        super().__init__(speeds=speeds, gap=gap, window=window, **shared)
        if not features:
            raise ConfigError("features: at least one recipe is needed to describe a snippet")
        self.features = features
        self.align: Align = align
        self.tolerance = tolerance
        self._firsts: dict[str, np.ndarray] = {}

    def recipes(self) -> list[Extraction]:
        return list(self.features)

    def setup(self, stage: str) -> None:
        self.require_cache()

    def rows(self, videos: Sequence[Video]) -> SnippetRows:
        parts = [[Part(video.id, 0, NO_END)] for video in videos]
        return SnippetRows(
            Snippets(self.benchmark, self.features, videos, parts, align=self.align, tolerance=self.tolerance)
        )

    def row_counts(self, videos: Sequence[Video]) -> np.ndarray:
        return np.array([len(self._first(video)) for video in videos], np.int64)

    def row_cuts(self, video: Video) -> tuple[int, ...]:
        """The first snippets that begin at or after its cuts."""
        return tuple(np.searchsorted(self._first(video), video.cuts).tolist())

    def _first(self, video: Video) -> np.ndarray:
        """The first frame of each snippet of a source video, int32 (n,)."""
        if video.id not in self._firsts:
            part = Part(video.id, 0, NO_END)
            spans = [span(self.benchmark, recipe, part) for recipe in self.features]
            where = f"{self.benchmark.name}: {video.id}"
            cut, _ = aligned(spans, self.align, self.tolerance, where, self.features)
            self._firsts[video.id] = cut[0].first
        return self._firsts[video.id]
