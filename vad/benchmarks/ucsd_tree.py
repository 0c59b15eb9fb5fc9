"""How the UCSD clips lie on a disk: the official archive with its irregular names, and the re-packed trees in use."""

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vad.benchmarks.frame_folders import first_number, in_words, missing_numbers, numbered, walk
from vad.benchmarks.intervals import Intervals, labels_from_intervals, read_matlab_cells, read_matlab_list
from vad.errors import DataError
from vad.types import Split

_SPLITS: dict[str, Split] = {"train": "train", "training": "train", "test": "test", "testing": "test"}
_CLIP = re.compile(r"(train|test)?(\d{1,3})", re.IGNORECASE)
_PART = re.compile(r"ped_?([12])(?!\d)", re.IGNORECASE)
_LIST = re.compile(r"(?:ucsd)?ped([12])\.(m|mat)", re.IGNORECASE)


@dataclass(frozen=True)
class Clip:
    """One clip as it lies on the disk."""

    split: Split
    number: int  # from 1; of a test clip its place in the list of labels
    folder: Path
    images: dict[int, Path]  # by number in the file name, ascending
    masks: dict[int, Path] | None  # likewise; None where there is no folder of masks

    @property
    def id(self) -> str:
        return f"{self.split.capitalize()}{self.number:03d}"


@dataclass(frozen=True)
class Tree:
    """What lies below a root; `problems` says what could not be taken in."""

    clips: dict[str, Clip]  # by id, sorted
    label_list: Path | None
    problems: tuple[str, ...]


def scan(root: Path, part: int) -> Tree:
    """Find the clips of Ped1 or Ped2 at any depth below `root`, by names alone.

    A clip is a folder of numbered images that is called `Train001`, or `01` somewhere below `train` or `training`. The
    masks of `Test001` lie beside it in `Test001_gt`. The nearest folder with `ped1` or `ped2` in its name, up to the
    root, says which of the two a clip belongs to; where no name says it, it is the one asked for.
    """
    files = dict(walk(root))
    found: defaultdict[str, list[Clip]] = defaultdict(list)
    label_lists: list[Path] = []
    problems: list[str] = []
    for folder, names in files.items():
        label_lists += [folder / name for name in names if is_label_list(name, part)]
        parts = (root.absolute().name, *folder.relative_to(root).parts)
        split = _split_of(parts)
        if split is None or _part_of(parts) not in (part, None):
            continue
        mask_folder = folder.with_name(f"{folder.name}_gt")
        try:
            images = numbered(folder, names)
            masks = numbered(mask_folder, files[mask_folder]) if mask_folder in files else None
        except DataError as error:
            problems.append(str(error))
            continue
        if images:
            clip = Clip(split, int(re.sub(r"\D", "", folder.name)), folder, images, masks)
            found[clip.id].append(clip)
    for name, clips in found.items():
        if len(clips) > 1:
            places = " and ".join(str(clip.folder) for clip in clips)
            problems.append(f"{name} is there more than once, in {places}: give benchmark.root of one tree")
    return Tree({name: found[name][0] for name in sorted(found)}, best_label_list(label_lists), tuple(problems))


def is_label_list(name: str, part: int) -> bool:
    """Whether a file name is that of a list of labels: `UCSDped2.m`, `ped2.mat`."""
    match = _LIST.fullmatch(name)
    return match is not None and int(match[1]) == part


def best_label_list(paths: Iterable[Path]) -> Path | None:
    """The archive's own `.m` file before a re-packed `.mat`."""
    return min(paths, key=lambda path: (path.suffix.lower() != ".m", path), default=None)


def read_label_list(path: Path) -> list[Intervals]:
    """Abnormal intervals of each test clip, in order."""
    return read_matlab_list(path) if path.suffix.lower() == ".m" else read_matlab_cells(path)


def numbering_problem(clip: Clip) -> str | None:
    """What lacks between the frames of a clip."""
    missing = missing_numbers(clip.images)
    if not missing:
        return None
    first, last = first_number(clip.images), max(clip.images)
    return f"{clip.id} lacks frame {in_words(missing)} (of {first} to {last} in {clip.folder})"


def mask_problem(clip: Clip) -> str | None:
    """Frames without a mask, or masks without a frame."""
    if clip.masks is None:
        return None
    frames = {number - first_number(clip.images): number for number in clip.images}
    masks = {number - first_number(clip.masks): number for number in clip.masks}
    missing = [frames[position] for position in sorted(set(frames) - set(masks))]
    surplus = [masks[position] for position in sorted(set(masks) - set(frames))]
    where = f"in {next(iter(clip.masks.values()), clip.folder).parent}"
    if missing:
        return f"{clip.id} lacks the mask of frame {in_words(missing)} {where}"
    return f"{clip.id} has a mask {in_words(surplus)}, but no such frame, {where}" if surplus else None


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
    return f"the labels of {clip.id} contradict its masks in frame {frames}: take list and masks of the same archive"


def _split_of(parts: tuple[str, ...]) -> Split | None:
    """The split of a folder that is named like a clip, from its own name or the nearest one above it."""
    name = _CLIP.fullmatch(parts[-1])
    if name is None:
        return None
    above = (part.lower() for part in reversed(parts[:-1]))
    return _SPLITS[name[1].lower()] if name[1] else next((_SPLITS[part] for part in above if part in _SPLITS), None)


def _part_of(parts: tuple[str, ...]) -> int | None:
    """1 or 2 where the folder's name or the nearest one above it says so."""
    return next((int(match[1]) for part in reversed(parts) if (match := _PART.search(part))), None)
