"""What the weakly supervised benchmarks share: official lists that work without the videos."""

from abc import abstractmethod
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from vad.benchmarks.benchmark import Grid
from vad.benchmarks.found_by_name import VIDEO_SUFFIXES, FoundByName, check_files
from vad.benchmarks.intervals import Intervals, labels_from_intervals
from vad.errors import DataError, VadError
from vad.files import read_json
from vad.types import Report, Split, Truth, Video
from vad.video import VideoReader


class Listed(NamedTuple):
    """A video of an official list."""

    id: str
    label: int  # 0 normal, 1 abnormal


@dataclass(frozen=True)
class Published:
    """What is published of a split; None where it is not."""

    videos: int
    abnormal_videos: int
    frames: int | None = None  # of the truth: real ones, of XD-Violence those of its grid
    abnormal_frames: int | None = None


class WeakBenchmark(FoundByName):
    """Videos with labels for training, and labels of frames for testing.

    The official lists lie anywhere below the root or in `$VAD_DATA/annotations/<folder>`. They suffice for all but
    pixels: without its file `Video.path` is None, and lengths are those of the public frame counts. Files of videos are
    found anywhere below the root by their names.

    Args:
        root: Folder below which lists and videos lie, at any depth; `None` means `$VAD_DATA/<folder>`, which need not
            exist where the lists lie among the annotations.
    """

    splits = ("weak_train", "test")
    headline = "micro_auroc"

    published: Mapping[Split, Published]  # never changed, but UCF-Crime's depends on an argument

    def __init__(self, root: str | None = None) -> None:
        super().__init__(root)
        self._videos: dict[Split, list[Video]] = {}
        self._lengths: dict[str, int] = {}

    @abstractmethod
    def listed(self, split: Split) -> list[Listed]:
        """The official list of a split, in its order."""

    @abstractmethod
    def known_lengths(self, split: Split) -> Mapping[str, int]:
        """Real lengths by id, as far as they are known without the files of the videos."""

    @abstractmethod
    def labels(self, video: Video, frames: int) -> Truth:
        """The truth of a video at the length `frames`, beyond its end as the published vectors have it.

        Raises `DataError` where the frames of the video are not labelled.
        """

    def annotated(self) -> Collection[str]:
        """Ids with labels of frames, where an own file lists them."""
        return ()

    def videos(self, split: Split) -> list[Video]:
        """The videos of a split in the order of the official list."""
        self.has(split)
        if split not in self._videos:
            lengths = self.known_lengths(split)
            self._videos[split] = [
                Video(
                    id=id, split=split, path=self._file(id), label=label, frames=lengths.get(id), scene=self.scene(id)
                )
                for id, label in self._distinct(split)
            ]
        return list(self._videos[split])

    def open(self, video: Video) -> VideoReader:
        from vad.video import open_video

        if video.path is None:
            raise DataError(
                f"{self.name}: there is no file of {video.id} below {self._where}, only its line in the list"
            )
        return open_video(video.path)

    def truth(self, video: Video) -> Truth:
        """Labels of the real frames of a test video, or of a training video that is normal.

        Raises `DataError` for an abnormal training video: only that it is abnormal is published.
        """
        return self.labels(video, self.length(video))

    def length(self, video: Video) -> int:
        """Real length: from the public frame counts, else from the file."""
        if video.frames is not None:
            return video.frames
        if video.path is None:
            raise DataError(
                f"{self.name}: the length of {video.id} is not known, since its file is not below {self._where}"
            )
        if video.id not in self._lengths:
            with self.open(video) as reader:
                self._lengths[video.id] = len(reader)
        return self._lengths[video.id]

    def truth_on_grid(self, video: Video, grid: Grid) -> Truth:
        return self.labels(video, self.grid_length(video, grid))

    def check(self, *, decode: bool = False) -> Report:
        """Compare lists, lengths and labels with the published counts, and see which videos have files."""
        counts: dict[str, dict[str, int]] = {}
        problems: list[str] = []
        notes: list[str] = []
        files = 0
        for split in self.splits:
            try:
                videos = self.videos(split)
                unlisted = sorted(set(self.annotated()) - {video.id for video in videos}) if split == "test" else []
            except VadError as error:
                problems.append(str(error))
                continue
            problems += [f"{id} has labels, but is not in the list of the split '{split}'" for id in unlisted]
            counts[split], found = self._check_counts(split, videos)
            problems += found
            files += counts[split]["files"]
            if 0 < counts[split]["files"] < len(videos):
                without = [video.id for video in videos if video.path is None]
                problems.append(
                    f"{split}: the files of {len(without)} of {len(videos)} videos are missing below {self._where}, "
                    f"the first is {without[0]}"
                )
            problems += check_files(videos, decode=decode)
        if not files:
            notes.append(f"there are no files of videos below {self._where}: lists and features only")
        return Report(self.name, str(self._where), counts, tuple(problems), tuple(notes))

    def _check_counts(self, split: Split, videos: list[Video]) -> tuple[dict[str, int], list[str]]:
        """What there is of a split, and where it is not what is published."""
        problems: list[str] = []
        published = self.published[split]
        counts = {
            "videos": len(videos),
            "abnormal_videos": sum(video.label == 1 for video in videos),
            "files": sum(video.path is not None for video in videos),
        }
        if split == "test":
            truths = []
            for video in videos:
                try:
                    truths.append(self.truth_on_grid(video, self.default_grid).frames)
                except VadError as error:
                    problems.append(str(error))
            if not problems:
                counts["frames"] = sum(len(frames) for frames in truths)
                counts["abnormal_frames"] = sum(int(frames.sum()) for frames in truths)
        elif all(video.frames is not None for video in videos):
            counts["frames"] = sum(video.frames or 0 for video in videos)
        for name, expected in vars(published).items():
            if expected is not None and counts.get(name, expected) != expected:
                problems.append(f"{split}: {counts[name]:,} {name.replace('_', ' ')}, {expected:,} are published")
        return counts, problems

    def scene(self, id: str) -> str | None:
        """The scene that a video's id names, if it does."""
        return None

    def labels_within(self, intervals: Mapping[str, Intervals], video: Video, frames: int) -> np.ndarray:
        """Labels uint8 (frames,) of an abnormal video; `DataError` where its intervals are not published or missing."""
        if video.id not in intervals:
            training = video.split == "weak_train"
            why = "of training videos only the label is published" if training else "its line is missing"
            raise DataError(f"{self.name}: there are no abnormal intervals of {video.id}: {why}")
        return labels_from_intervals(intervals[video.id], frames)

    def counts(self, name: str) -> dict[str, int]:
        """A file of public frame counts, id -> frames; empty where there is none."""
        try:
            path = self.official(name, advice="")
        except DataError:
            return {}
        counts = read_json(path)
        if not isinstance(counts, dict) or not all(type(n) is int and n > 0 for n in counts.values()):
            raise DataError(f"{path}: expected names of videos with numbers of frames")
        return counts

    def _file(self, id: str) -> Path | None:
        """The file, else the folder of frames, that holds a video."""
        found = next((self._below_root[id + s][0] for s in VIDEO_SUFFIXES if id + s in self._below_root), None)
        if found is None and self.frame_folder is not None:
            found = next((place for place in self._below_root.get(id, ()) if place.is_dir()), None)
        return found

    def _distinct(self, split: Split) -> list[Listed]:
        listed = self.listed(split)
        if not listed:
            raise DataError(f"{self.name}: the list of the split '{split}' is empty")
        id, times = Counter(video.id for video in listed).most_common(1)[0]
        if times > 1:
            raise DataError(f"{self.name}: the list of the split '{split}' names {id} {times} times")
        return listed


def read_lines(path: Path) -> list[str]:
    """The lines of an official list without blank ones; the last one often lacks its end."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read ({' '.join(str(error).split())})") from None
    return [line.strip() for line in lines if line.strip()]


def without_suffix(name: str) -> str:
    """A list's name of a video as its id: no folder, no literal `.mp4` or `.npy`.

    Never by `Path.stem`: `Bad.Boys.1995__#01-11-55_01-12-40_label_G-B2-B6` would lose what follows its last dot.
    """
    return name.rpartition("/")[2].removesuffix(".mp4").removesuffix(".npy")
