"""ShanghaiTech Campus: the official split (Luo et al., ICCV 2017), and the weakly supervised one (Zhong et al., CVPR
2019), which deals the same videos anew."""

import re
from collections.abc import Mapping
from functools import cached_property, partial
from pathlib import Path
from typing import ClassVar

import numpy as np

from vad.benchmarks.benchmark import Grid, to_length
from vad.benchmarks.found_by_name import FoundByName
from vad.benchmarks.one_class import OneClassBenchmark, PublishedClips
from vad.benchmarks.regions import read_tracks, regions_from_masks
from vad.benchmarks.weak import Listed, Published, WeakBenchmark, read_lines
from vad.errors import DataError
from vad.files import read_npy
from vad.types import Regions, Split, Truth, Video

LISTS: dict[Split, str] = {"weak_train": "SH_Train.txt", "test": "SH_Test.txt"}
NORMAL_COUNTS = "frame_counts_weak_test_normal.json"
GRID_COUNTS = "frame_counts_weak_test_ceil16.json"
MASK_FOLDERS = ("test_frame_mask", "frame_masks")
PIXEL_MASK_FOLDERS = ("test_pixel_mask", "pixel_masks")
TRACK_FOLDERS = ("tracks",)
ADVICE = "it comes with the code of Zhong et al."
_ID = re.compile(r"\d{2}_\d{3,4}")


class _Campus(FoundByName):
    """What both splits share: names, scenes and masks. `01_001` and `01_0014` are different videos."""

    folder = "shanghaitech"
    frame_folder: ClassVar = _ID

    def scene(self, id: str) -> str:
        """The first two digits: one of 13 cameras."""
        return id[:2]

    def frame_mask(self, id: str) -> np.ndarray:
        """Labels uint8 (n,) of a video of the official test split."""
        path = self.official_in(MASK_FOLDERS, f"{id}.npy")
        if path is None:
            raise DataError(
                f"{self.name}: {MASK_FOLDERS[0]}/{id}.npy lies neither below {self._where} nor in {self.annotations}; "
                "it comes with the videos"
            )
        return read_frame_mask(path)


class ShanghaiTech(_Campus, OneClassBenchmark):
    """ShanghaiTech: 330 normal training videos as AVI files and 107 test videos (40,791 frames) as folders of frames.

    A name of three digits behind the scene is a training video, one of four a test video. Every test video has an
    abnormal frame, and 04_0011 no normal one. Scene 13 is in the training split alone.

    Regions are those of Georgescu et al. (`tracks/01_0014.txt`, 158 tracks) where the files are at hand, else derived
    from the pixel masks. Tracks and frame masks differ in 191 frames: neither is mended by the other.

    Args:
        root: Folder below which the tree starts, at any depth; `None` means `$VAD_DATA/shanghaitech`, which need not
            exist where the masks lie among the annotations.
    """

    fps = 24.0
    size = (856, 480)
    published: Mapping[Split, PublishedClips] = {
        "train": PublishedClips(330),
        "test": PublishedClips(107, 40_791, 17_326),
    }

    def clip(self, path: Path, name: str) -> tuple[Split, str] | None:
        if not _ID.fullmatch(name):
            return None
        return ("test" if abnormal(name) else "train"), name

    def expected(self, split: Split) -> Mapping[str, int | None]:
        """The test videos that have a mask; the names of training videos are in no list."""
        return self._mask_lengths if split == "test" else {}

    @property
    def has_labels(self) -> bool:
        return bool(self._mask_lengths)

    def labelled(self, video: Video) -> Truth:
        labels = self.frame_mask(video.id)
        pixels = self.official_in(PIXEL_MASK_FOLDERS, f"{video.id}.npy")
        size = self.size if pixels is None else size_of_masks(pixels, len(labels))
        if video.size not in (size, None):
            return Truth(frames=labels)
        return Truth(
            frames=labels,
            regions=self._regions(video.id, len(labels), pixels),
            masks=None if pixels is None else partial(read_pixel_mask, pixels),
        )

    def _regions(self, id: str, frames: int, pixels: Path | None) -> Regions | None:
        path = self.official_in(TRACK_FOLDERS, f"{id}.txt")
        if path is not None:
            return read_tracks(path, frames)
        if self._has_tracks:
            raise DataError(f"{self.name}: there are tracks of other videos, but no {TRACK_FOLDERS[0]}/{id}.txt")
        return None if pixels is None else regions_from_masks(read_npy(pixels, mmap=True))

    @cached_property
    def _has_tracks(self) -> bool:
        return any(self.official_in(TRACK_FOLDERS, f"{id}.txt") for id in self._mask_lengths)

    @cached_property
    def _mask_lengths(self) -> dict[str, int]:
        """Frames of each test video by its mask, by id, sorted."""
        names = {name for places in (self._below_root, self._annotated) for name in places}
        ids = sorted(name.removesuffix(".npy") for name in names if name.endswith(".npy"))
        known = ((id, self.official_in(MASK_FOLDERS, f"{id}.npy")) for id in ids if _ID.fullmatch(id) and abnormal(id))
        return {id: len(read_npy(path)) for id, path in known if path is not None}


class ShanghaiTechWeak(_Campus, WeakBenchmark):
    """ShanghaiTech with 238 training (63 abnormal) and 199 test videos (44 abnormal), from both official splits.

    A video is abnormal if its number has four digits, as in the official test split, whose frame masks label it; these
    videos lie as folders of frames, the normal ones as AVI files. `01_001` and `01_0014` are different videos.

    Grids: `official` is the published vector of 142,912 labels (RTFM), in which the last label is repeated to the next
    multiple of 16; the lengths of 41 normal videos in it are not those of the files.

    Args:
        root: Folder below which lists and videos lie, at any depth; `None` means `$VAD_DATA/shanghaitech`.
    """

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
        masks = {id: len(self.frame_mask(id)) for id, label in self.listed(split) if label}
        return masks | (self.counts(NORMAL_COUNTS) if split == "test" else {})

    def labels(self, video: Video, frames: int) -> Truth:
        if not abnormal(video.id):
            return Truth(frames=np.zeros(frames, np.uint8))
        return Truth(frames=to_length(self.frame_mask(video.id), frames))

    def grid_length(self, video: Video, grid: Grid) -> int:
        if grid != "official":
            return super().grid_length(video, grid)
        counts = self.counts(GRID_COUNTS)
        if video.id not in counts:
            raise DataError(f"{self.name}: the official grid needs {GRID_COUNTS} with {video.id}; take grid ceil16")
        return counts[video.id]


def abnormal(id: str) -> bool:
    """Four digits behind the scene: a video of the official test split, all of which are abnormal."""
    return len(id.partition("_")[2]) == 4


def read_frame_mask(path: Path) -> np.ndarray:
    """Labels uint8 (n,) of 0 and 1."""
    mask = read_npy(path)
    if mask.ndim != 1 or not np.isin(mask, (0, 1)).all():
        raise DataError(f"{path}: expected a vector of 0 and 1, got {mask.dtype} {mask.shape}")
    return mask.astype(np.uint8)


def size_of_masks(path: Path, frames: int) -> tuple[int, int]:
    """Width and height of a file of pixel masks, `DataError` unless it holds `frames` of them; no pixel is read."""
    masks = read_npy(path, mmap=True)
    if masks.ndim != 3 or len(masks) != frames or masks.dtype not in (np.uint8, np.bool_):
        raise DataError(
            f"{path}: expected uint8 or bool ({frames}, height, width), as the frame mask has {frames} labels, "
            f"got {masks.dtype} {masks.shape}"
        )
    return masks.shape[2], masks.shape[1]


def read_pixel_mask(path: Path, frame: int) -> np.ndarray:
    """One mask, bool (h, w). A file has up to 380 MB, of which only this is read."""
    return np.asarray(read_npy(path, mmap=True)[frame]) > 0
