"""Your own footage: any folder of video files or folders of frames."""

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, get_args

import numpy as np

from vad import files
from vad.benchmarks.benchmark import Benchmark
from vad.benchmarks.frame_folders import walk
from vad.errors import DataError, VadError, VideoError
from vad.types import Report, Split, Truth, Video
from vad.video import VideoReader, open_video
from vad.video.image_folder import SUFFIXES

VIDEO_SUFFIXES = (".avi", ".flv", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".ts", ".webm", ".wmv")
LABELS = "labels"  # the folder of truth below the root; holds no videos
LABELLING = (
    "with a line 'start,end' for each abnormal interval (frames from 0, end exclusive; empty if there is none), or a "
    ".npy with a 0 or 1 for each frame"
)


class Footage(Benchmark):
    """Videos without a published index: what lies below a folder is what there is.

        root/train/...        normal footage to learn from
        root/weak_train/...   footage of which only the video's label is known
        root/test/...         footage to score
        root/labels/...       truth, if there is any

    Without any of the three folders everything is `test`. A video is a file with a known suffix, or a folder that holds
    images and no video files. Its id is its path below the root, without the suffix of a file.

    A folder `normal` or `abnormal` on the way to a video gives its label; `train` is normal without one.

    Truth of a video lies in `<id>.csv` or `<id>.npy`, beside the video or at the same place below `labels`. In CSV each
    line is an interval `start,end` in frames, counted from 0, end exclusive, and may name its kind in a third column; a
    first line `start,end` is a header, an empty file says that nothing is abnormal. `.npy` holds one 0 or 1 for each
    frame. Of a video that is labelled normal no file is needed.

    Args:
        root: The folder.
    """

    folder: ClassVar[str] = "footage"
    splits: ClassVar[tuple[Split, ...]] = get_args(Split)

    def __init__(self, root: str) -> None:
        super().__init__(root)

    @property
    def dataset(self) -> str:
        return f"footage-{files.hash_json(str(self.root.resolve()))}"

    def videos(self, split: Split) -> list[Video]:
        self.has(split)
        paths = self._paths(split)
        if not paths:
            raise DataError(
                f"{self.name}: there is no video of {split} below {self._folder(split) or self.root / split}"
            )
        return [self._listed(split, video_id, path) for video_id, path in paths.items()]

    def offered(self) -> tuple[Split, ...]:
        return tuple(split for split in self.splits if self._paths(split))

    def open(self, video: Video) -> VideoReader:
        if video.path is None:
            raise DataError(f"{self.name}: {video.id} has no path")
        return open_video(video.path)

    def truth(self, video: Video) -> Truth:
        if video.frames is None:
            raise DataError(f"{self.name}: the length of {video.id} is not known")
        place = self._truth_file(video)
        if place is None:
            if video.label == 0:
                return Truth(np.zeros(video.frames, np.uint8))
            raise DataError(
                f"{self.name}: there is no truth of {video.id}; write {self.root / LABELS / video.id}.csv {LABELLING}"
            )
        return read_intervals(place, video.frames) if place.suffix == ".csv" else read_labels(place, video.frames)

    def without_truth(self, videos: Sequence[Video]) -> list[Video]:
        return [video for video in videos if video.label != 0 and self._truth_file(video) is None]

    def check(self, *, decode: bool = False) -> Report:
        counts: dict[str, dict[str, int]] = {}
        problems: list[str] = []
        notes: list[str] = []
        for split in self.splits:
            try:
                paths = self._paths(split)
            except DataError as error:
                problems.append(str(error))
                break
            count = {"videos": 0, "frames": 0, "with_truth": 0, "abnormal_frames": 0}
            for video_id, path in paths.items():
                try:
                    video = self._video(split, video_id, path)
                    if decode:
                        with self.open(video) as reader:
                            count["frames"] += sum(1 for _ in reader)
                    else:
                        count["frames"] += video.frames or 0
                    count["videos"] += 1
                    if self.without_truth([video]):
                        notes.append(f"{video_id}: has no truth, so it can be scored but not evaluated")
                        continue
                    count["abnormal_frames"] += int(self.truth(video).frames.sum())
                    count["with_truth"] += 1
                except VadError as error:
                    problems.append(str(error))
            if paths:
                counts[split] = count
        if not counts and not problems:
            problems.append(f"{self.name}: there is no video below {self.root}")
        return Report(self.name, str(self._root), counts, tuple(problems), tuple(notes))

    def _folder(self, split: Split) -> Path | None:
        """Where the videos of a split lie, if there is such a place."""
        root = self.root
        if any((root / name).is_dir() for name in self.splits):
            return root / split if (root / split).is_dir() else None
        return root if split == "test" else None

    def _paths(self, split: Split) -> dict[str, Path]:
        """Id and path of each video of a split, sorted by id; raises `DataError` where two have one id."""
        folder, root = self._folder(split), self.root
        paths: dict[str, Path] = {}
        if folder is None:
            return paths
        for place, names in walk(folder):
            if place.relative_to(root).parts[:1] == (LABELS,):
                continue
            videos = [name for name in names if name.lower().endswith(VIDEO_SUFFIXES)]
            found = [(place / name[: -len(suffix_of(name))], place / name) for name in videos]
            if not videos and any(name.lower().endswith(SUFFIXES) for name in names):
                found = [(place, place)]
            for named, path in found:
                video_id = named.relative_to(root).as_posix() if named != root else root.resolve().name
                if video_id in paths:
                    raise DataError(f"{self.name}: {paths[video_id]} and {path} would have one id; rename one of them")
                paths[video_id] = path
        return dict(sorted(paths.items()))

    def _listed(self, split: Split, video_id: str, path: Path) -> Video:
        """A video that cannot be opened has no length: extraction stops at it, or skips it."""
        try:
            return self._video(split, video_id, path)
        except VideoError:
            return Video(id=video_id, split=split, path=path, label=self._label(split, path))

    def _label(self, split: Split, path: Path) -> int | None:
        parts = path.relative_to(self.root).parts
        return 1 if "abnormal" in parts else 0 if "normal" in parts or split == "train" else None

    def _video(self, split: Split, video_id: str, path: Path) -> Video:
        with open_video(path) as reader:
            label = self._label(split, path)
            return Video(
                id=video_id, split=split, path=path, label=label, frames=len(reader), fps=reader.fps, size=reader.size
            )

    def _truth_file(self, video: Video) -> Path | None:
        """The file that holds the truth of a video; raises `DataError` where there are two."""
        places = [self.root / f"{video.id}{end}" for end in (".csv", ".npy")]
        places += [self.root / LABELS / f"{video.id}{end}" for end in (".csv", ".npy")]
        found = [place for place in places if place.is_file()]
        if len(found) > 1:
            raise DataError(f"{self.name}: {found[0]} and {found[1]} are both truth of {video.id}; remove one of them")
        return found[0] if found else None


def suffix_of(name: str) -> str:
    """The video suffix of a file name, as it is written there; '' if it has none."""
    return next((name[-len(suffix) :] for suffix in VIDEO_SUFFIXES if name.lower().endswith(suffix)), "")


def read_intervals(path: Path, frames: int) -> Truth:
    """Truth of a video of `frames` frames from CSV lines `start,end` or `start,end,kind`, end exclusive."""
    labels, kinds = np.zeros(frames, np.uint8), dict[str, np.ndarray]()
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read as text ({error})") from None
    for number, line in enumerate(lines, 1):
        cells = [cell.strip() for cell in line.split(",")]
        if cells == [""] or cells[0].startswith("#") or (number == 1 and cells[:2] == ["start", "end"]):
            continue
        try:
            start, end = int(cells[0]), int(cells[1])
        except (IndexError, ValueError):
            raise DataError(f"{path}: line {number} is not 'start,end' or 'start,end,kind': {line}") from None
        if not 0 <= start < end <= frames:
            raise DataError(f"{path}: line {number} names the frames {start} to {end} of a video of {frames}: {line}")
        labels[start:end] = 1
        if len(cells) > 2 and cells[2]:
            kinds.setdefault(cells[2], np.zeros(frames, np.uint8))[start:end] = 1
    return Truth(labels, kinds=kinds or None)


def read_labels(path: Path, frames: int) -> Truth:
    """Truth of a video of `frames` frames from an array of one 0 or 1 for each."""
    labels = files.read_npy(path)
    if labels.shape != (frames,):
        raise DataError(f"{path}: has the shape {labels.shape}, but the video has {frames} frames")
    if not np.isin(labels, (0, 1)).all():
        raise DataError(f"{path}: holds values other than 0 and 1")
    return Truth(labels.astype(np.uint8))
