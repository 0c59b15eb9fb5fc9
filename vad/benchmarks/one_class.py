"""What Avenue and ShanghaiTech share: normal clips to learn from and labelled test clips, as files or as frames."""

import os
import re
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import ClassVar

import numpy as np

from vad.benchmarks.benchmark import to_length
from vad.benchmarks.footage import suffix_of
from vad.benchmarks.found_by_name import FoundByName, check_files
from vad.benchmarks.frame_folders import (
    IMAGE_SUFFIXES,
    first_number,
    image_size,
    in_words,
    missing_numbers,
    numbered,
)
from vad.errors import DataError, VadError, VideoError
from vad.types import Regions, Report, Split, Truth, Video
from vad.video import VideoReader, open_video
from vad.video.lengths import Length, lengths


@dataclass(frozen=True)
class PublishedClips:
    """What is published of a split; None where it is not."""

    videos: int
    frames: int | None = None
    abnormal_frames: int | None = None


class OneClassBenchmark(FoundByName):
    """Clips of a split named `train` and of one named `test`, found below the root by their names.

    A clip is a video file, or a folder of numbered frames that counts from 0 or from 1, padded or not; a file comes
    before a folder of its frames. Labels suffice for evaluation: without any footage, the test clips are those that
    have labels, and `Video.path` is None.

    Args:
        root: Folder below which the tree starts, at any depth; `None` means `$VAD_DATA/<folder>`, which need not exist
            where labels lie among the annotations.
    """

    splits = ("train", "test")

    fps: ClassVar[float]  # published, for folders of frames, which do not say
    size: ClassVar[tuple[int, int]]  # published width and height
    frame_folder: ClassVar[re.Pattern[str]]

    def __init__(self, root: str | None = None) -> None:
        super().__init__(root)
        self._videos: dict[Split, list[Video]] = {}
        self._truths: dict[str, Truth] = {}

    @property
    @abstractmethod
    def published(self) -> Mapping[Split, PublishedClips]:
        """Counts of each split."""

    @abstractmethod
    def clip(self, path: Path, name: str) -> tuple[Split, str] | None:
        """Split and id of the clip that `path` holds by its place and its `name`, which has no suffix; else None."""

    @property
    @abstractmethod
    def has_labels(self) -> bool:
        """Whether labels of the test clips are at hand."""

    @abstractmethod
    def expected(self, split: Split) -> Mapping[str, int | None]:
        """The clips that are published of a split, sorted by id, with their frames; empty or None where unknown."""

    @abstractmethod
    def labelled(self, video: Video) -> Truth:
        """The truth of a test clip by its labels, at their own length."""

    def scene(self, id: str) -> str | None:
        """The scene that a clip's id names, if it does."""
        return None

    def videos(self, split: Split) -> list[Video]:
        """The clips of a split, sorted by id; test clips carry no label.

        A file that cannot be opened is listed without a length, for extraction to stop at or skip. Raises `DataError`
        also for a clip that lacks a frame between others, since its labels would be shifted.
        """
        self.has(split)
        if split not in self._videos:
            if split == "test" and self.has_labels and not any(self._places.values()):
                known = self.expected(split).items()
                found = [Video(id, split, frames=frames, fps=self.fps, scene=self.scene(id)) for id, frames in known]
            else:
                found, problems = self._clips(split)
                if wrong := [problem for problem in problems if not isinstance(problem, VideoError)]:
                    raise wrong[0]
            if not found:
                raise DataError(f"{self.name}: there are no clips of the split '{split}' below {self.root}")
            self._videos[split] = found
        return list(self._videos[split])

    def open(self, video: Video) -> VideoReader:
        if video.path is None:
            raise DataError(f"{self.name}: there is no file of {video.id} below {self._where}, only its labels")
        reader = open_video(video.path)
        if len(reader) != video.frames and video.path.is_dir():
            raise DataError(
                f"{video.path}: holds {len(reader)} images, but {video.frames} numbered ones; remove others"
            )
        return reader

    def truth(self, video: Video) -> Truth:
        """Labels at the length of the footage; a training clip is normal.

        A file may have one frame more or less than there are labels, since decoders differ by it at the end of a clip:
        the last label is repeated, or left out. Any other difference is a `DataError`, and so are missing labels.
        Masks and regions are left out where they are not of the size of the frames.
        """
        if video.id not in self._truths:
            if video.split == "train":
                found = Truth(frames=np.zeros(self.length(video), np.uint8))
            else:
                found = self._fitted(self.labelled(video), video)
            self._truths[video.id] = found
        return self._truths[video.id]

    def check(self, *, decode: bool = False) -> Report:
        """Compare clips, lengths and labels with what is published. Pixels are read only with `decode`."""
        counts: dict[str, dict[str, int]] = {}
        problems: list[str] = []
        notes: list[str] = []
        try:
            footage = any(self._places.values())
        except VadError as error:
            return Report(self.name, str(self._where), {}, (str(error),))
        if not footage and self.has_labels:
            notes.append(f"there is no footage below {self._where}: labels only, with which scores can be evaluated")
        for split in self.splits:
            videos, found = self._check_clips(split, footage)
            counts[split] = {"videos": len(videos), "frames": sum(video.frames or 0 for video in videos)}
            if footage:
                found += check_files((video for video in videos if video.frames is not None), decode=decode)
                lost = [id for id in self.expected(split) if id not in self._places[split]]
                found += [f"{split}: {_listed(lost)} missing below {self._where}"] if lost else []
            if split == "test":
                abnormal, wrong = self._check_labels(videos)
                found += wrong
                if abnormal is not None:
                    counts[split]["abnormal_frames"] = abnormal
                notes += self._other_lengths(videos)
                if scaled := [video.id for video in videos if video.size not in (self.size, None)]:
                    width, height = self.size
                    notes.append(
                        f"{_listed(scaled)} not {width} x {height} as published: masks and regions of another size "
                        "than the frames are left out"
                    )
            if not found and (footage or split == "test"):
                found += self._other_counts(split, counts[split])
            problems += found
        return Report(self.name, str(self._where), counts, tuple(dict.fromkeys(problems)), tuple(notes))

    @cached_property
    def _places(self) -> dict[Split, dict[str, list[Path]]]:
        """Where the clips of each split may lie, by id, sorted."""
        found: dict[Split, dict[str, list[Path]]] = {split: {} for split in self.splits}
        for name, paths in self._below_root.items():
            suffix = suffix_of(name)
            for path in paths:
                clip = self.clip(path, name[: len(name) - len(suffix)])
                if clip is not None and (path.is_file() if suffix else _holds_images(path)):
                    found[clip[0]].setdefault(clip[1], []).append(path)
        return {split: dict(sorted(clips.items())) for split, clips in found.items()}

    def _clips(self, split: Split) -> tuple[list[Video], list[DataError]]:
        """The clips of a split, sorted by id, and what is wrong with any of them."""
        chosen: dict[str, Path] = {}
        problems: list[DataError] = []
        for id, places in self._places[split].items():
            files = [path for path in places if path.is_file()]
            chosen[id], *others = files or places
            if others:
                where = " and ".join(map(str, files or places))
                problems.append(DataError(f"{self.name}: {id} is there more than once, in {where}: move one away"))
        measured = lengths([path for path in chosen.values() if path.is_file()])
        problems += [found for found in measured.values() if isinstance(found, VideoError)]
        videos = []
        for id, path in chosen.items():
            label = 0 if split == "train" else None
            length = measured.get(path)
            try:
                length = self._length_of_folder(id, path) if length is None else length
            except DataError as error:
                problems.append(error)
                continue
            known = length._asdict() if isinstance(length, Length) else {}
            videos.append(Video(id, split, path, label, scene=self.scene(id), **known))
        return videos, problems

    def _length_of_folder(self, id: str, path: Path) -> Length:
        images = numbered(path, sorted(name for name in os.listdir(path) if not name.startswith(".")))
        if missing := missing_numbers(images):
            first, last = first_number(images), max(images)
            raise DataError(f"{self.name}: {id} lacks frame {in_words(missing)} (of {first} to {last} in {path})")
        return Length(len(images), self.fps, image_size(next(iter(images.values()))))

    def _fitted(self, truth: Truth, video: Video) -> Truth:
        """The truth at the length of the footage."""
        labels, frames = len(truth.frames), self.length(video)
        tolerated = 0 if video.path is None or video.path.is_dir() else 1
        if abs(labels - frames) > tolerated:
            raise DataError(f"{self.name}: {video.id} has {frames} frames, but labels of {labels} ({video.path})")
        if labels == frames:
            return truth
        masks = truth.masks
        return replace(
            truth,
            frames=to_length(truth.frames, frames),
            regions=None if truth.regions is None else _before(truth.regions, frames),
            masks=None if masks is None else partial(_mask_up_to, masks, labels - 1),
        )

    def _check_clips(self, split: Split, footage: bool) -> tuple[list[Video], list[str]]:
        if footage:
            videos, problems = self._clips(split)
            return videos, [str(problem) for problem in problems]
        try:
            return self.videos(split) if split == "test" else [], []
        except VadError as error:
            return [], [str(error)]

    def _check_labels(self, videos: Sequence[Video]) -> tuple[int | None, list[str]]:
        """Abnormal frames of all test clips, where the labels of each are right, and what is wrong with the others."""
        abnormal, problems = 0, []
        for video in videos:
            if video.frames is None:
                continue
            try:
                abnormal += int(self.truth(video).frames.sum())
            except VadError as error:
                problems.append(str(error))
        known = videos and all(video.frames is not None for video in videos) and not problems
        return abnormal if known else None, problems

    def _other_counts(self, split: Split, counts: Mapping[str, int]) -> Iterator[str]:
        for name, expected in vars(self.published[split]).items():
            if expected is not None and counts.get(name, expected) != expected:
                yield f"{split}: {counts[name]:,} {name.replace('_', ' ')}, {expected:,} are published"

    def _other_lengths(self, videos: Sequence[Video]) -> Iterator[str]:
        for video in videos:
            known = self.expected("test").get(video.id)
            if known is not None and video.frames is not None and video.frames != known:
                yield f"{video.id} has {video.frames} frames, {known} are published; labels are cut or extended to them"


def _before(regions: Regions, frames: int) -> Regions:
    rows = regions.frame < frames
    return replace(regions, frame=regions.frame[rows], box=regions.box[rows], track=regions.track[rows])


def _mask_up_to(masks: Callable[[int], np.ndarray], last: int, frame: int) -> np.ndarray:
    return masks(min(frame, last))


def _holds_images(path: Path) -> bool:
    if not path.is_dir():
        return False
    with os.scandir(path) as entries:
        return any(os.path.splitext(e.name)[1].lower() in IMAGE_SUFFIXES and e.name[0] != "." for e in entries)


def _listed(ids: Sequence[str]) -> str:
    if len(ids) > 3:
        return f"{len(ids)} clips, first {ids[0]}, are"
    return f"{' and '.join(ids)} {'is' if len(ids) == 1 else 'are'}"
