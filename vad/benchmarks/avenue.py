"""CUHK Avenue (Lu et al., ICCV 2013): a walkway before a building, seen by one camera.

Read from the official archives (`training_videos/01.avi`, labels in `testing_label_mask/1_label.mat`) and from the
re-packed tree in use (`training/frames/01/0000.jpg`, labels in `avenue.mat`).
"""

import re
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import ClassVar, Literal, get_args

import numpy as np

from vad.benchmarks.avenue_labels import kept_masks, read_frame_labels, variables
from vad.benchmarks.intervals import Intervals, labels_from_intervals, read_matlab_cells
from vad.benchmarks.one_class import OneClassBenchmark, PublishedClips
from vad.errors import ConfigError, DataError
from vad.types import Split, Truth, Video

Labels = Literal["mask", "interval"]

TRAIN_CLIPS = 16
TRAIN_FRAMES = 15_328
TEST_LENGTHS = (
    *(1439, 1211, 923, 947, 1007, 1283, 605, 36, 1175, 841, 472),
    *(1271, 549, 507, 1001, 740, 426, 294, 248, 273, 76),
)
ABNORMAL_FRAMES: Mapping[Labels, int] = {"mask": 3712, "interval": 3867}
LABEL_LIST = "avenue.mat"  # the name of two lists in use
KEYS: Mapping[Labels, str] = {"mask": "01", "interval": "gt"}  # a variable that tells them apart
_NUMBER = re.compile(r"\d{1,2}")


class Avenue(OneClassBenchmark):
    """Avenue: 16 training clips (15,328 frames) and 21 test clips (15,324), 640 x 360, 25 frames per second.

    Two different labels of frames are both called Avenue, and results name which: `mask` marks the frames whose mask
    is not empty (3,712; clips 8 and 18 are abnormal throughout), `interval` the list of Hasan et al. (3,867 frames, no
    clip of one class). They differ in 441 frames; each taken for a score of the other gives an AUROC of 0.968 or
    0.955. Scores can be evaluated by either, whatever they were made for.

    Masks, and the regions derived from them, come with the labels `mask` alone, and only from the official masks:
    `avenue.mat` of the mask labels (variables 01 to 21) holds labels of frames. The intervals are in another
    `avenue.mat` (variable gt).

    Ids are `train/01` and `test/01`.

    Args:
        root: Folder below which the tree starts, at any depth; `None` means `$VAD_DATA/avenue`, which need not exist
            where labels lie among the annotations.
        truth: Which labels of frames are the truth.
    """

    folder = "avenue"
    frame_folder: ClassVar = _NUMBER
    fps = 25.0
    size = (640, 360)

    def __init__(self, root: str | None = None, *, truth: Labels = "mask") -> None:
        super().__init__(root)
        if truth not in get_args(Labels):
            raise ConfigError(f"truth: expected one of {', '.join(get_args(Labels))}, got '{truth}'")
        self.labels = truth

    @property
    def measured_as(self) -> str:
        return f"{self.name} ({self.labels})"

    @property
    def published(self) -> Mapping[Split, PublishedClips]:
        return {
            "train": PublishedClips(TRAIN_CLIPS, TRAIN_FRAMES),
            "test": PublishedClips(len(TEST_LENGTHS), sum(TEST_LENGTHS), ABNORMAL_FRAMES[self.labels]),
        }

    def clip(self, path: Path, name: str) -> tuple[Split, str] | None:
        """A number below a folder whose name starts with `train` or `test`: 01.avi names a clip of both splits."""
        if not _NUMBER.fullmatch(name):
            return None
        above = (self.root.absolute().name, *path.relative_to(self.root).parts[:-1])
        for part in reversed(above):
            for split in self.splits:
                if part.lower().startswith(split):
                    return split, f"{split}/{int(name):02d}"
        return None

    def expected(self, split: Split) -> Mapping[str, int | None]:
        lengths = TEST_LENGTHS if split == "test" else (None,) * TRAIN_CLIPS
        return {f"{split}/{number:02d}": frames for number, frames in enumerate(lengths, start=1)}

    @property
    def has_labels(self) -> bool:
        masks = self.labels == "mask" and any(self._masks(number) for number in range(1, len(TEST_LENGTHS) + 1))
        return masks or self._list is not None

    def labelled(self, video: Video) -> Truth:
        number = int(video.id.rpartition("/")[2])
        if self.labels == "interval":
            return Truth(frames=self._within_intervals(number, self.length(video)))
        path = self._masks(number)
        if path is not None:
            masks = kept_masks(path)
            if video.size not in (masks.size, None):
                return Truth(frames=masks.frames)
            return Truth(frames=masks.frames, regions=masks.regions, masks=masks.mask)
        if self._list is None:
            raise self._missing(number)
        labels = read_frame_labels(self._list).get(number)
        if labels is None:
            raise DataError(f"{self._list}: has no labels of clip {number:02d}")
        return Truth(frames=labels)

    def _within_intervals(self, number: int, frames: int) -> np.ndarray:
        """Labels uint8 (frames,), or as many as the last interval needs."""
        intervals = self._intervals
        if number > len(intervals):
            raise DataError(f"{self._list}: has intervals of {len(intervals)} clips, but there is clip {number:02d}")
        end = max((end for _, end in intervals[number - 1]), default=0)
        return labels_from_intervals(intervals[number - 1], max(frames, end))

    @cached_property
    def _intervals(self) -> list[Intervals]:
        if self._list is None:
            raise self._missing(1)
        return read_matlab_cells(self._list, KEYS["interval"])

    @cached_property
    def _list(self) -> Path | None:
        """The `avenue.mat` of the labels asked for; which of the two a file is, its variables say."""
        return next((path for path in self._lists if KEYS[self.labels] in variables(path)), None)

    @property
    def _lists(self) -> list[Path]:
        return [path for places in (self._below_root, self._annotated) for path in places.get(LABEL_LIST, ())]

    def _masks(self, number: int) -> Path | None:
        """The official masks of a test clip, whose name has no leading zero."""
        for name in (f"{number}_label.mat", f"{number:02d}_label.mat"):
            for places in (self._below_root, self._annotated):
                if name in places:
                    return places[name][0]
        return None

    def _missing(self, number: int) -> DataError:
        expected = f"no {number}_label.mat, nor {LABEL_LIST} with the variables 01 to 21,"
        other: Labels = "interval"
        if self.labels == "interval":
            expected, other = f"no {LABEL_LIST} with the variable gt", "mask"
        there = [path for path in self._lists if KEYS[other] in variables(path)]
        return DataError(
            f"{self.name}: there is {expected} below {self._where} or in {self.annotations}, as truth: {self.labels} "
            f"needs{f'; {there[0]} is for truth: {other}' if there else ''}"
        )
