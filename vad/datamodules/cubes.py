"""Cubes: a few frames of one object's box, cut and shrunk, as LBR reads them.

cache: crops of each video -> one index of (video, row) -> BatchOrder -> one gather a video -> CubeBatch
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from vad.benchmarks import Benchmark
from vad.datamodules.object_index import ObjectIndex, index_objects
from vad.datamodules.order import Share, evenly_spaced
from vad.datamodules.rows import StackedRows, hold_in_memory
from vad.datamodules.video_data import VideoData
from vad.errors import ConfigError, DataError
from vad.extract.crops import CropRecipe
from vad.extract.detectors import Detector
from vad.extract.extraction import Extraction
from vad.extract.motion import Motion
from vad.extract.objects import object_recipe
from vad.types import CubeBatch, Protocol, Record, Video


class Cubes(Dataset[CubeBatch]):
    """Asked for a list of indices, gives the batch; row i of a batch has as key its index in this dataset.

    Args:
        cubes: uint8 (m, T, H, W, C).
        flow: float16 (m, T, H, W, 2), or `None`.
        group: int16 (n,), of the samples.
        positions: Ascending int64 (n,): the samples among the m rows.
    """

    def __init__(self, cubes: StackedRows, flow: StackedRows | None, group: np.ndarray, positions: np.ndarray) -> None:
        self.cubes = cubes
        self.flow = flow
        self.group = group
        self.positions = positions

    def __len__(self) -> int:
        return len(self.positions)

    def __getitem__(self, indices: Sequence[int]) -> CubeBatch:
        keys = np.sort(np.asarray(indices, dtype=np.int64))  # inside a batch the order is free: this one reads forwards
        rows = self.positions[keys]
        return CubeBatch(
            cubes=torch.from_numpy(self.cubes.gather(rows)),
            flow=None if self.flow is None else torch.from_numpy(self.flow.gather(rows)),
            group=torch.from_numpy(self.group[keys]),
            key=torch.from_numpy(keys),
            size=indices.size if isinstance(indices, Share) else len(indices),
        )


class CubeData(VideoData):
    """Cubes of detected and moving objects. Defaults are LBR's on Ped2.

    Args:
        detector: Finds objects; `None` for moving ones alone.
        motion: Finds what moves outside the detector's boxes; `None` for detected ones alone.
        confidence: Detector boxes above this.
        min_area: Smallest (w + 1)(h + 1) of a box, in pixels of the video.
        cover: A box goes when a larger one covers more than this share of it; `None` to keep all.
        flow: Optical flow cubes too, for the motion variant.
        bands: Rows, or rows and columns, of equal cells that a frame is cut into; a cube's group is the cell of its
            box's centre. A model of its own may serve each group (LBR on Ped1: 4).
        size: Width and height of a cube.
        offsets: Frames of a cube relative to its object's; at the ends of a clip the nearest frame is repeated.
        shared: See `VideoData`.
    """

    def __init__(
        self,
        *,
        benchmark: Benchmark,
        protocol: Protocol = "unsupervised_partial",
        batch_size: int = 256,
        detector: Detector | None = None,
        motion: Motion | None = None,
        confidence: float = 0.2,
        min_area: float = 100.0,
        cover: float | None = 0.6,
        flow: bool = False,
        bands: int | tuple[int, int] = 1,
        size: int = 32,
        offsets: tuple[int, ...] = (-2, -1, 0, 1, 2),
        **shared: Any,
    ) -> None:
        super().__init__(benchmark=benchmark, protocol=protocol, batch_size=batch_size, **shared)
        self.bands = (bands, 1) if isinstance(bands, int) else tuple(bands)
        if min(self.bands) < 1:
            raise ConfigError(f"bands: expected at least one row and one column, got {bands}")
        if size < 1 or not offsets:
            raise ConfigError(
                f"size, offsets: expected at least one pixel and one frame, got {size} and {list(offsets)}"
            )
        self.flow = flow
        self.crops = CropRecipe(
            objects=object_recipe(detector, motion, confidence=confidence, min_area=min_area, cover=cover),
            confidence=confidence,
            motion=motion is not None,
            min_area=min_area,
            cover=cover,
            offsets=tuple(offsets),
            size=size,
            border="repeat",
            grey=benchmark.grey,
            flow=flow,
        )
        self._indices: dict[tuple[str, ...], ObjectIndex] = {}
        self._rows: dict[tuple[str, ...], list[StackedRows]] = {}

    def recipes(self) -> list[Extraction]:
        return [self.crops.objects, self.crops]

    def setup(self, stage: str) -> None:
        self.require_cache()

    def train_dataloader(self) -> DataLoader:
        samples = self.cubes(self.fit_videos(), at_most=self.max_items)
        return self.loader(samples, self.training_order(len(samples), samples.group))

    def val_dataloader(self) -> DataLoader | list[DataLoader]:
        if self.validation == 0:
            return []
        samples = self.cubes(self.validation_videos())
        return self.loader(samples, self.validation_order(len(samples), samples.group))

    def test_dataloader(self) -> DataLoader:
        samples = self.cubes(self.score_videos())
        return self.loader(samples, self.scoring_order(len(samples), samples.group))

    def estimate_dataloader(self) -> DataLoader:
        samples = self.cubes(self.fit_videos(), at_most=self.max_items)
        return self.loader(samples, self.scoring_order(len(samples), samples.group))

    def batchnorm_dataloader(self) -> DataLoader:
        samples = self.cubes(self.fit_videos(), at_most=self.max_items)
        return self.loader(samples, self.batchnorm_order(len(samples), samples.group))

    def score_record(self) -> Record:
        return self.index(self.score_videos()).record

    def cubes(self, videos: Sequence[Video], *, at_most: int | None = None) -> Cubes:
        """The cubes of some videos in order of video, frame and object; at most so many of them, evenly spaced."""
        index = self.index(videos)
        if len(index.frame) == 0:
            raise DataError(
                f"{self.benchmark.name}: no object was found in {len(videos)} videos; lower confidence or min_area"
            )
        key = tuple(video.id for video in videos)
        if key not in self._rows:
            names = ("crop", "flow") if self.flow else ("crop",)
            self._rows[key] = [StackedRows(name, index.stretches) for name in names]
            hold_in_memory(self._rows[key], self.in_memory)
        rows = self._rows[key]
        positions = evenly_spaced(len(index.frame), at_most)
        return Cubes(rows[0], rows[1] if self.flow else None, self._groups(videos)[positions], positions)

    def index(self, videos: Sequence[Video]) -> ObjectIndex:
        """Where the cubes of some videos lie."""
        key = tuple(video.id for video in videos)
        if key not in self._indices:
            self._indices[key] = index_objects(self.benchmark, self.crops, videos)
        return self._indices[key]

    def _groups(self, videos: Sequence[Video]) -> np.ndarray:
        """The cell int16 (m,) of each cube of some videos."""
        index = self.index(videos)
        if self.bands == (1, 1):
            return np.zeros(len(index.box), np.int16)
        sources = {s.id: s for split in {v.split for v in videos} for s in self.benchmark.sources(split)}
        groups = []
        first = 0
        for part, stretch in zip(index.parts, index.stretches, strict=True):
            size = sources[part.source].size
            if size is None:
                raise DataError(
                    f"{self.benchmark.name}: bands need the frame's size, which is not known of {part.source}"
                )
            last = first + stretch.stop - stretch.start
            groups.append(cells(index.box[first:last], size, self.bands))
            first = last
        return np.concatenate(groups)


def cells(box: np.ndarray, size: tuple[int, int], bands: tuple[int, ...]) -> np.ndarray:
    """The cell int16 (m,) of each box's centre, counted row by row; a centre on the far edge belongs to the last one.

    Args:
        box: float32 (m, 4), xyxy.
        size: Width and height of the frame.
        bands: Rows and columns of equal cells.
    """
    rows, columns = bands
    centre = (box[:, :2] + box[:, 2:]) / 2
    column = np.clip(np.floor(centre[:, 0] * columns / size[0]), 0, columns - 1)
    row = np.clip(np.floor(centre[:, 1] * rows / size[1]), 0, rows - 1)
    return (row * columns + column).astype(np.int16)
