"""UCSD Ped1 and Ped2 (Mahadevan et al., CVPR 2010): grey clips of two walkways, as folders of images.

Read from the official archive (`UCSDped2/Train/Train001/001.tif`, masks in `Test/Test001_gt`, labels in `Test/UCSDped2.m`)
and from the re-packed trees in use (`ped2/training/frames/01/000.jpg`, labels in `ped2.mat`; or `Train001` inside `frames`).
"""

from functools import partial
from pathlib import Path
from typing import ClassVar

import numpy as np

from vad.benchmarks.benchmark import Benchmark
from vad.benchmarks.frame_folders import image_fault, image_size, in_words, read_mask
from vad.benchmarks.intervals import labels_from_intervals
from vad.benchmarks.regions import regions_from_masks
from vad.benchmarks.ucsd_tree import (
    Clip,
    Tree,
    best_label_list,
    is_label_list,
    mask_problem,
    numbering_problem,
    read_label_list,
    scan,
)
from vad.errors import DataError
from vad.types import Report, Split, Truth, Video
from vad.video import VideoReader


class UCSDPed(Benchmark):
    """What Ped1 and Ped2 share. Both may lie below one root: folders with `ped1` or `ped2` in their names tell them apart.

    Ids are `Train001` and `Test001` whatever the tree. No frame rate is stored with the clips, so `fps` is None.

    Args:
        root: Folder below which the tree starts, at any depth; `None` means `$VAD_DATA/ucsd_ped`.
    """

    folder = "ucsd_ped"
    splits = ("train", "test")
    grey = True

    part: ClassVar[int]
    masks_agree: ClassVar[bool]  # whether list and masks of the official archive are known to agree in every frame
    lengths: ClassVar[dict[Split, tuple[int, ...]]]  # published frames of each clip
    abnormal_frames: ClassVar[int]  # published
    masked: ClassVar[tuple[int, ...]]  # numbers of the test clips that have masks in the official archive

    def __init__(self, root: str | None = None) -> None:
        super().__init__(root)
        self._tree: Tree | None = None
        self._truths: dict[str, Truth] = {}

    @property
    def dataset(self) -> str:
        return f"{self.folder}{self.part}"

    def videos(self, split: Split) -> list[Video]:
        """The clips of a split, sorted by id; test clips carry no label.

        Raises `DataError` also for a clip that lacks a frame between others, since its labels would be shifted.
        """
        self.has(split)
        clips = [clip for clip in self._read_tree().clips.values() if clip.split == split]
        if not clips:
            raise DataError(f"{self.name}: there are no clips of the split '{split}' below {self.root}")
        return [self._video(clip) for clip in clips]

    def open(self, video: Video) -> VideoReader:
        from vad.video import open_video

        if video.path is None:
            raise DataError(f"{self.name}: {video.id} has no frames")
        return open_video(video.path)

    def truth(self, video: Video) -> Truth:
        """Labels from the list, masks from the images beside the clip, regions derived from the masks.

        Without a list, masks of every frame stand for it: on Ped2 both agree in all frames. Ped1 has masks for 10 of its
        36 test clips; the others have neither masks nor regions.

        Raises `DataError` where the list lacks a clip, leaves it, or contradicts its masks, and where a mask is missing.
        """
        tree = self._read_tree()
        if video.id not in tree.clips:
            raise DataError(f"{self.name}: there is no clip {video.id} below {self.root}")
        if video.id not in self._truths:
            try:
                self._truths[video.id] = self._read_truth(tree, tree.clips[video.id])
            except DataError as error:
                raise DataError(f"{self.name}: {error}") from None
        return self._truths[video.id]

    def check(self, *, decode: bool = False) -> Report:
        """Compare the tree with the published one; every image and mask is decoded, whatever `decode` says."""
        raise NotImplementedError

    def _read_truth(self, tree: Tree, clip: Clip) -> Truth:
        if clip.split == "train":
            return Truth(frames=np.zeros(len(clip.images), np.uint8))
        if problem := mask_problem(clip):
            raise DataError(problem)
        path = self._label_list(tree)
        labels = None if path is None else listed_labels(path, tree, clip)
        if clip.masks is None:
            if labels is None:
                raise DataError(
                    f"{clip.id} has no masks, and there is no list of labels below {self.root} or {self.annotations}"
                )
            return Truth(frames=labels)
        paths = list(clip.masks.values())
        masks = [read_mask(path) for path in paths]
        marked = np.array([mask.any() for mask in masks], np.uint8)
        if labels is None:
            labels = marked
        elif self.masks_agree and (problem := contradiction(clip, labels, marked)):
            raise DataError(f"{path}: {problem}")
        return Truth(frames=labels, regions=regions_from_masks(masks), masks=partial(_read_mask_of, paths))

    def _video(self, clip: Clip) -> Video:
        if problem := numbering_problem(clip):
            raise DataError(f"{self.name}: {problem}")
        return Video(
            id=clip.id,
            split=clip.split,
            path=clip.folder,
            label=0 if clip.split == "train" else None,
            frames=len(clip.images),
            size=image_size(next(iter(clip.images.values()))),
        )

    def _read_tree(self) -> Tree:
        """The tree below the root, read once; raises `DataError` for what could not be taken in."""
        if self._tree is None:
            tree = scan(self.root, self.part)
            if tree.problems:
                raise DataError(f"{self.name}: {tree.problems[0]}")
            self._tree = tree
        return self._tree

    def _label_list(self, tree: Tree) -> Path | None:
        """The list of labels below the root, else among the annotations."""
        if tree.label_list is not None or not self.annotations.is_dir():
            return tree.label_list
        return best_label_list(path for path in self.annotations.iterdir() if is_label_list(path.name, self.part))


class UCSDPed1(UCSDPed):
    """UCSD Ped1: people walking towards and away from the camera, 34 training and 36 test clips of 200 frames, 238 x 158.

    Args:
        root: Folder below which the tree starts, at any depth; `None` means `$VAD_DATA/ucsd_ped`.
    """

    part = 1
    lengths: ClassVar = {"train": (200,) * 34, "test": (200,) * 36}
    abnormal_frames = 4045
    masked = (3, 4, 14, 18, 19, 21, 22, 23, 24, 32)
    masks_agree = False


class UCSDPed2(UCSDPed):
    """UCSD Ped2: people walking parallel to the camera, 16 training clips (2,550 frames), 12 test clips (2,010), 360 x 240.

    Args:
        root: Folder below which the tree starts, at any depth; `None` means `$VAD_DATA/ucsd_ped`.
    """

    part = 2
    lengths: ClassVar = {
        "train": (120, 150, 150, 180, 180, 150, 150, 120, 180, 180, 180, 180, 180, 150, 150, 150),
        "test": (180, 180, 150, 180, 150, 180, 180, 180, 120, 150, 180, 180),
    }
    abnormal_frames = 1648
    masked = tuple(range(1, 13))
    masks_agree = True


def listed_labels(path: Path, tree: Tree, clip: Clip) -> np.ndarray:
    """Labels uint8 (n,) of a test clip by the list; raises `DataError` where the list does not fit the clips."""
    entries = read_label_list(path)
    last = max(other.number for other in tree.clips.values() if other.split == "test")
    if len(entries) < last:
        raise DataError(
            f"{path}: has labels of {len(entries)} clips, but there is Test{last:03d}, so a line is missing"
        )
    end = max((end for _, end in entries[clip.number - 1]), default=0)
    if end > len(clip.images):
        raise DataError(f"{path}: {clip.id} is abnormal up to frame {end}, but has {len(clip.images)} frames")
    return labels_from_intervals(entries[clip.number - 1], len(clip.images))


def contradiction(clip: Clip, labels: np.ndarray, marked: np.ndarray) -> str | None:
    """Where list and masks disagree."""
    different = np.flatnonzero(labels != marked)
    if not different.size:
        return None
    numbers = list(clip.images)
    frames = in_words([numbers[index] for index in different])
    return f"the labels of {clip.id} contradict its masks in {different.size} frames ({frames}): an older list says so, take the archive's own"


def _read_mask_of(paths: list[Path], frame: int) -> np.ndarray:
    return read_mask(paths[frame])
