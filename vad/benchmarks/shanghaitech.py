"""ShanghaiTech Campus in the weakly supervised split (Zhong et al., CVPR 2019)."""

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from vad.benchmarks.benchmark import Grid, to_length
from vad.benchmarks.weak import Listed, Published, WeakBenchmark, read_lines
from vad.errors import DataError
from vad.files import read_npy
from vad.types import Split, Truth, Video

LISTS: dict[Split, str] = {"weak_train": "SH_Train.txt", "test": "SH_Test.txt"}
NORMAL_COUNTS = "frame_counts_weak_test_normal.json"
GRID_COUNTS = "frame_counts_weak_test_ceil16.json"
MASK_FOLDERS = ("test_frame_mask", "frame_masks")
ADVICE = "it comes with the code of Zhong et al."
_ID = re.compile(r"\d{2}_\d{3,4}")


class ShanghaiTechWeak(WeakBenchmark):
    """ShanghaiTech with 238 training (63 abnormal) and 199 test videos (44 abnormal), from both official splits.

    A video is abnormal if its number has four digits, as in the official test split, whose frame masks label it; these
    videos lie as folders of frames, the normal ones as AVI files. `01_001` and `01_0014` are different videos.

    Grids: `official` is the published vector of 142,912 labels (RTFM), in which the last label is repeated to the next
    multiple of 16; the lengths of 41 normal videos in it are not those of the files.

    Args:
        root: Folder below which lists and videos lie, at any depth; `None` means `$VAD_DATA/shanghaitech`.
    """

    folder = "shanghaitech"
    frame_folder = _ID
    published: Mapping[Split, Published] = {
        "weak_train": Published(238, 63),
        "test": Published(199, 44, 141_870, 7_962),
    }

    def listed(self, split: Split) -> list[Listed]:
        path = self.official(LISTS[split], advice=ADVICE)
        lines = read_lines(path)
        for line in lines:
            if not _ID.fullmatch(line):
                raise DataError(f"{path}: expected names such as 01_001 or 01_0014, got '{line}'")
        return [Listed(line, int(abnormal(line))) for line in lines]

    def known_lengths(self, split: Split) -> Mapping[str, int]:
        """Of abnormal videos the length of their mask, of normal test videos a public count."""
        masks = {id: len(self._mask(id)) for id, label in self.listed(split) if label}
        return masks | (self.counts(NORMAL_COUNTS) if split == "test" else {})

    def labels(self, video: Video, frames: int) -> Truth:
        if not abnormal(video.id):
            return Truth(frames=np.zeros(frames, np.uint8))
        return Truth(frames=to_length(self._mask(video.id), frames))

    def scene(self, id: str) -> str:
        """The first two digits: one of 13 cameras."""
        return id[:2]

    def grid_length(self, video: Video, grid: Grid) -> int:
        if grid != "official":
            return super().grid_length(video, grid)
        counts = self.counts(GRID_COUNTS)
        if video.id not in counts:
            raise DataError(f"{self.name}: the official grid needs {GRID_COUNTS} with {video.id}; take grid ceil16")
        return counts[video.id]

    def _mask(self, id: str) -> np.ndarray:
        """Labels uint8 (n,) of a video of the official test split."""
        name = f"{id}.npy"
        for places in (self._below_root, self._annotated):
            for path in places.get(name, ()):
                if path.parent.name in MASK_FOLDERS:
                    return read_frame_mask(path)
        raise DataError(
            f"{self.name}: {MASK_FOLDERS[0]}/{name} lies neither below {self._where} nor in {self.annotations}; "
            "it comes with the videos"
        )


def abnormal(id: str) -> bool:
    """Four digits behind the scene: a video of the official test split, all of which are abnormal."""
    return len(id.partition("_")[2]) == 4


def read_frame_mask(path: Path) -> np.ndarray:
    """Labels uint8 (n,) of 0 and 1."""
    mask = read_npy(path)
    if mask.ndim != 1 or not np.isin(mask, (0, 1)).all():
        raise DataError(f"{path}: expected a vector of 0 and 1, got {mask.dtype} {mask.shape}")
    return mask.astype(np.uint8)
