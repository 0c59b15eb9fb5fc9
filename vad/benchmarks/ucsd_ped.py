"""UCSD Ped1 and Ped2 (Mahadevan et al., CVPR 2010): grey clips of two walkways, as folders of images.

Read from the official archive (`UCSDped2/Train/Train001/001.tif`, masks in `Test/Test001_gt`, labels in
`Test/UCSDped2.m`) and from the re-packed trees in use (`ped2/training/frames/01/000.jpg`, labels in `ped2.mat`; or
`Train001` inside `frames`).
"""

from functools import partial
from pathlib import Path
from typing import ClassVar

import numpy as np

from vad.benchmarks.benchmark import Benchmark
from vad.benchmarks.frame_folders import image_size, read_mask
from vad.benchmarks.regions import regions_from_masks
from vad.benchmarks.ucsd_check import checked_labels, clip_problems, missing_clips, missing_masks
from vad.benchmarks.ucsd_tree import (
    Clip,
    Tree,
    best_label_list,
    contradiction,
    is_label_list,
    listed_labels,
    mask_problem,
    numbering_problem,
    scan,
)
from vad.errors import DataError
from vad.types import Report, Split, Truth, Video
from vad.video import VideoReader


class _UCSDPed(Benchmark):
    """What Ped1 and Ped2 share. Both may lie below one root: `ped1` or `ped2` in the names of folders tells them apart.

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
        reader = open_video(video.path)
        if len(reader) != video.frames:
            raise DataError(
                f"{video.path}: holds {len(reader)} images, but {video.frames} numbered ones; remove others"
            )
        return reader

    def truth(self, video: Video) -> Truth:
        """Labels from the list, masks from the images beside the clip, regions derived from the masks.

        Without a list, masks of every frame stand for it: on Ped2 both agree in all frames. Ped1 has masks for 10 of
        its 36 test clips; the others have neither masks nor regions.

        Raises `DataError` where the list lacks a clip, leaves it, or contradicts its masks, and for missing masks.
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
        """Compare the tree with the published one; images and masks are decoded in full, whatever `decode` says."""
        tree = scan(self.root, self.part)
        path = self._label_list(tree)
        mask_problems, notes = missing_masks(tree, self.masked)
        problems = [*tree.problems, *mask_problems]
        counts: dict[str, dict[str, int]] = {}
        for split in self.splits:
            clips = [clip for clip in tree.clips.values() if clip.split == split]
            counts[split] = {"videos": len(clips), "frames": sum(len(clip.images) for clip in clips)}
            problems += missing_clips(tree, split, len(self.lengths[split]))
            for clip in clips:
                problems += clip_problems(clip, self.lengths[split])
        abnormal, label_problems = self._checked_labels(tree, path)
        if abnormal is not None:
            counts["test"]["abnormal_frames"] = abnormal
        return Report(self.name, str(self.root), counts, tuple(dict.fromkeys(problems + label_problems)), tuple(notes))

    def _checked_labels(self, tree: Tree, path: Path | None) -> tuple[int | None, list[str]]:
        """Abnormal frames of all test clips, where the labels of each are known, and what is wrong with the labels."""
        tests = [clip for clip in tree.clips.values() if clip.split == "test"]
        problems: list[str] = []
        if path is None and not all(clip.masks for clip in tests):
            problems.append(f"there is no list of labels (UCSDped{self.part}.m or ped{self.part}.mat)")
        abnormal: int | None = 0
        for clip in tests:
            labels, found = checked_labels(tree, path, clip)
            problems += found
            abnormal = None if labels is None or abnormal is None else abnormal + int(labels.sum())
        if (
            abnormal is not None
            and not problems
            and abnormal != self.abnormal_frames
            and len(tests) == len(self.lengths["test"])
        ):
            problems.append(f"{abnormal} test frames are abnormal, {self.abnormal_frames} are published")
        return abnormal, problems

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


class UCSDPed1(_UCSDPed):
    """UCSD Ped1: people walking to and from the camera, 34 training and 36 test clips of 200 frames, 238 x 158.

    Args:
        root: Folder below which the tree starts, at any depth; `None` means `$VAD_DATA/ucsd_ped`.
    """

    part = 1
    lengths: ClassVar = {"train": (200,) * 34, "test": (200,) * 36}
    abnormal_frames = 4045
    masked = (3, 4, 14, 18, 19, 21, 22, 23, 24, 32)
    masks_agree = False


class UCSDPed2(_UCSDPed):
    """UCSD Ped2: people walking across the view, 16 training (2,550 frames) and 12 test clips (2,010), 360 x 240.

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


def _read_mask_of(paths: list[Path], frame: int) -> np.ndarray:
    return read_mask(paths[frame])
