"""What every benchmark answers: which videos are there, and what in them is abnormal?"""

import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import ClassVar, Literal, get_args

import numpy as np

from vad.errors import ConfigError, DataError
from vad.types import Part, Report, Split, Truth, Video
from vad.video import VideoReader

Grid = Literal["frames", "floor16", "ceil16", "official"]  # the lengths that frame scores and truth are compared at


def data_root() -> Path:
    """`$VAD_DATA`, by default `data/`: where benchmarks lie. Nothing is ever written below it."""
    return Path(os.environ.get("VAD_DATA", "data"))


class Benchmark(ABC):
    """A data set with its splits and its truth.

    Args:
        root: Folder below which the official tree starts, at any depth. `None` means `$VAD_DATA/<folder>` at the time
            of opening, so that no experiment and no run's configuration holds a machine's path.
    """

    folder: ClassVar[str]  # below $VAD_DATA, and below its annotations/
    splits: ClassVar[tuple[Split, ...]]  # the splits that this benchmark has
    grey: ClassVar[bool] = False  # one-channel footage: cubes are cached with one channel
    headline: ClassVar[str] = "micro_auroc_smoothed"  # the metric that comparison ranks by
    default_grid: ClassVar[Grid] = "frames"

    def __init__(self, root: str | None = None) -> None:
        self._root = root

    @property
    def name(self) -> str:
        """The class's name, as in experiment files."""
        return type(self).__name__

    @property
    def measured_as(self) -> str:
        """What results name: the benchmark and, where it has several truths, which of them. Scores know no truth."""
        return self.name

    @property
    @abstractmethod
    def dataset(self) -> str:
        """First part of the cache key; benchmarks over the same videos share it."""

    @property
    def root(self) -> Path:
        """The root given, or `$VAD_DATA/<folder>`; raises `DataError` if it is no folder."""
        root = Path(self._root) if self._root is not None else data_root() / self.folder
        if not root.is_dir():
            how = "give benchmark.root" if self._root is not None else "set VAD_DATA or give benchmark.root"
            raise DataError(f"{self.name}: there is no folder {root}; {how}")
        return root

    @property
    def annotations(self) -> Path:
        """`$VAD_DATA/annotations/<folder>`: official lists that do not lie below the root (it need not exist)."""
        return data_root() / "annotations" / self.folder

    @abstractmethod
    def videos(self, split: Split) -> list[Video]:
        """The videos of a split, sorted by id unless the official list has an order of its own.

        Raises `DataError` for a split that the benchmark does not have, a missing root, or a folder without videos.
        """

    @abstractmethod
    def open(self, video: Video) -> VideoReader:
        """The only way to pixels."""

    @abstractmethod
    def truth(self, video: Video) -> Truth:
        """What is abnormal in a video. Fitting and scoring never call this."""

    def without_truth(self, videos: Sequence[Video]) -> list[Video]:
        """The videos whose truth is a person's to write, who has not: none of a published benchmark's."""
        return []

    @abstractmethod
    def check(self, *, decode: bool = False) -> Report:
        """Compare what is there with what is published, down to single frames and masks.

        Small images are always read in full; video files, and large folders of frames that stand for them, only with
        `decode`, since that takes as long as watching all of them. Never raises for what is wrong with the data: that
        is what the report says.
        """

    def sources(self, split: Split) -> list[Video]:
        """The videos that extraction and pretraining read: cache entries belong to these."""
        return self.videos(split)

    def parts(self, video: Video) -> list[Part]:
        """What a video consists of, in order: one part that covers everything, unless it was composed."""
        return [Part(video.id, 0, self.length(video))]

    def length(self, video: Video) -> int:
        """The real number of frames; raises `DataError` where it is not known."""
        if video.frames is None:
            raise DataError(f"{self.name}: the length of {video.id} is not known")
        return video.frames

    def grid_length(self, video: Video, grid: Grid) -> int:
        """Number of frames of a video on a grid, by which evaluation cuts or extends its truth and its scores.

        `frames`: the real length. `floor16`, `ceil16`: the multiple of 16 below or above it. `official`: the length in
        the benchmark's published vector of labels, where there is one. Where the grid is longer than the video,
        the last label and the last score are repeated, as in the published vectors.

        Raises `DataError` where the grid is not known for this benchmark.
        """
        if grid not in get_args(Grid):
            raise ConfigError(f"grid: expected one of {', '.join(get_args(Grid))}, got '{grid}'")
        if grid == "official":
            raise DataError(f"{self.name} has no official grid of its own: take grid frames")
        frames = self.length(video)
        return {"frames": frames, "floor16": frames // 16 * 16, "ceil16": -(-frames // 16) * 16}[grid]

    def truth_on_grid(self, video: Video, grid: Grid) -> Truth:
        """`truth` with frames, groups and kinds cut to the grid, or extended to it by their last value.

        Regions and masks stay as they are, since they belong to real frames.
        """
        truth = self.truth(video)
        length = self.grid_length(video, grid)
        return replace(
            truth,
            frames=to_length(truth.frames, length),
            groups=None if truth.groups is None else to_length(truth.groups, length),
            kinds=None if truth.kinds is None else {k: to_length(v, length) for k, v in truth.kinds.items()},
        )

    def offered(self) -> tuple[Split, ...]:
        """The splits that there are videos of: all of a published benchmark's."""
        return self.splits

    def has(self, split: Split) -> None:
        """Raise `DataError` for a split that this benchmark does not have."""
        if split not in self.splits:
            raise DataError(f"{self.name} has no split '{split}', only {' and '.join(self.splits)}")


def to_length(values: np.ndarray, length: int) -> np.ndarray:
    """Cut (n,) to (length,), or repeat its last value."""
    return np.pad(values[:length], (0, max(0, length - len(values))), mode="edge")
