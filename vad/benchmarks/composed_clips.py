"""The clips that `Composed` joins: two folders, a list of sources, lengths."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from vad.benchmarks.composed_plan import Clip
from vad.benchmarks.footage import suffix_of
from vad.benchmarks.frame_folders import walk
from vad.benchmarks.weak import read_lines
from vad.errors import DataError, VadError, VideoError
from vad.video import open_video
from vad.video.lengths import Length, lengths

MULTIPLE = 16  # frames: clips are trimmed to it, so that snippets of 16 frames never cross a cut
UNLISTED = "unlisted"  # the group of the clips that no source lists

_LISTED = re.compile(r"(\S.*?)\s*:(?:\s|$)")  # 'fi001: 0.13.50 - 0.15.60'; not 'https://...'
_RANGE = re.compile(r"\S+ - \S+")  # 'nofi062 - nofi076 : CamNet Dataset'


@dataclass(frozen=True)
class Located:
    """Where a clip lies, and how long it is."""

    path: Path
    length: Length

    @property
    def frames(self) -> int:
        """Frames that are used: the last ones are trimmed off."""
        return self.length.frames // MULTIPLE * MULTIPLE

    def damage(self) -> str | None:
        """What a full decode finds wrong; `None` if nothing is."""
        try:
            with open_video(self.path) as reader:
                decoded = sum(1 for _ in reader)
        except VadError as error:
            return str(error)
        if decoded != self.length.frames:
            return f"{self.path}: gives {decoded} frames, not {self.length.frames}"
        return None


@dataclass(frozen=True)
class Clips:
    """What lies in the two folders. What is left out is named with the reason."""

    used: tuple[Clip, ...]  # by label and id
    located: Mapping[str, Located]  # every clip that can be opened, by id
    broken: tuple[VideoError, ...]
    left_out: Mapping[str, tuple[str, ...]]  # reason -> ids
    unlisted: tuple[str, ...]  # clips without a source, which form one group
    lost: tuple[str, ...]  # clips that the list names and neither folder holds
    counts: tuple[int, int]  # normal and abnormal clips that are there


def find_clips(root: Path, normal: str, abnormal: str, groups: str | None) -> Clips:
    """Find, group and measure every clip; see `Composed` for the arguments.

    Raises `DataError` where a folder or the list is missing or a folder holds no clip, or two clips have one id.
    """
    tree = find_tree(root, normal, abnormal)
    listed = None if groups is None else read_sources(tree / groups)
    paths = _paths(tree, (normal, abnormal), below_folder=listed is not None)
    sources = {id: {id} for id in paths} if listed is None else listed
    measured = lengths([path for _, path in paths.values()])
    located = {
        id: Located(path, found) for id, (_, path) in paths.items() if isinstance(found := measured[path], Length)
    }
    left_out: dict[str, list[str]] = {}
    kept = []
    for id, clip in located.items():
        if clip.frames == 0:
            left_out.setdefault(f"shorter than {MULTIPLE} frames", []).append(id)
        elif len(sources.get(id, ())) > 1:
            left_out.setdefault("listed under several sources", []).append(id)
        else:
            kept.append(Clip(id, paths[id][0], next(iter(sources.get(id, [UNLISTED])))))
    if listed is not None:
        quiet = {clip.group for clip in kept if clip.label == 0}
        if alone := [clip.id for clip in kept if clip.group not in quiet]:
            left_out["from a source without normal clips, so that its camera would give the event away"] = alone
            kept = [clip for clip in kept if clip.group in quiet]
    return Clips(
        used=tuple(kept),
        located=located,
        broken=tuple(found for found in measured.values() if isinstance(found, VideoError)),
        left_out={reason: tuple(ids) for reason, ids in left_out.items()},
        unlisted=tuple(id for id in paths if id not in sources),
        lost=tuple(id for id in sources if id not in paths),
        counts=(sum(label == 0 for label, _ in paths.values()), sum(label == 1 for label, _ in paths.values())),
    )


def find_tree(root: Path, normal: str, abnormal: str) -> Path:
    """The folder at or below `root` that holds both folders; `DataError` where there is none."""
    for place, _ in walk(root):
        first, second = place / normal, place / abnormal
        if first.is_dir() and second.is_dir():
            if first.resolve().is_relative_to(second.resolve()) or second.resolve().is_relative_to(first.resolve()):
                raise DataError(f"{first} and {second}: normal and abnormal clips must lie in folders apart")
            return place
    raise DataError(f"{root}: there are no folders '{abnormal}' and '{normal}' beside each other")


def read_sources(path: Path) -> dict[str, set[str]]:
    """The sources of each listed clip, from lines `clip: anything` below a line that names their source.

    The list of surveillance_fight ends with two ranges of clips that overlap in one; ranges are passed over, so that
    all these clips count as unlisted.
    """
    found: dict[str, set[str]] = {}
    source = None
    for number, line in enumerate(read_lines(path), start=1):
        listed = _LISTED.match(line)
        if listed is None:
            source = line
        elif _RANGE.fullmatch(listed[1]):
            continue
        elif source is None:
            raise DataError(f"{path}, line {number}: {listed[1]} is listed before any source")
        else:
            found.setdefault(listed[1], set()).add(source)
    if not found:
        raise DataError(f"{path}: lists no clip; expected lines 'clip: ...' below a line that names their source")
    return found


def _paths(tree: Path, folders: tuple[str, str], *, below_folder: bool) -> dict[str, tuple[int, Path]]:
    """Label and path of each clip by its id, a path below its folder or below the tree; sorted by label and id."""
    found: dict[str, tuple[int, Path]] = {}
    for label, name in enumerate(folders):
        paths = [place / file for place, files in walk(tree / name) for file in files if suffix_of(file)]
        if not paths:
            raise DataError(f"{tree / name}: there is no video file below this folder")
        for path in paths:
            id = path.relative_to(tree / name if below_folder else tree).as_posix()[: -len(suffix_of(path.name))]
            if id in found:
                raise DataError(f"{found[id][1]} and {path} would have one id; rename one of them")
            found[id] = (label, path)
    return dict(sorted(found.items(), key=lambda item: (item[1][0], item[0])))
