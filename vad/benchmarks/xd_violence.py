"""XD-Violence (Wu et al., ECCV 2020): 4,754 untrimmed videos from films and the web, six kinds of violence."""

import re
from collections.abc import Collection, Mapping
from functools import cached_property
from pathlib import Path

import numpy as np

from vad.benchmarks.benchmark import Grid
from vad.benchmarks.intervals import Intervals, labels_from_intervals
from vad.benchmarks.weak import Listed, Published, WeakBenchmark, read_lines, without_suffix
from vad.errors import DataError
from vad.types import Split, Truth, Video

LISTS: dict[Split, str] = {"weak_train": "rgb.list", "test": "rgb_test.list"}
GRID_COUNTS = "frame_counts_test_grid16.json"
CODES = frozenset({"A", "B1", "B2", "B4", "B5", "B6", "G"})  # there is no B3
ADVICE = "it is distributed by the authors of the benchmark"


class XDViolence(WeakBenchmark):
    """XD-Violence: 3,954 training and 800 test videos, 500 of these with abnormal intervals.

    Real lengths are in no public list. The `official` grid, which is the default, has 16 * floor((n - 1) / 16) frames
    of each video (the last one is dropped so that frames align with flow), 2,330,384 in all. Without a video's file its
    truth has that length, and no other grid is known.

    Kinds are the codes of the names: B1 fighting, B2 shooting, B4 riot, B5 abuse, B6 car accident, G explosion.

    Args:
        root: Folder below which lists and videos lie, at any depth; `None` means `$VAD_DATA/xd_violence`.
    """

    folder = "xd_violence"
    headline = "ap_step"
    default_grid = "official"
    published: Mapping[Split, Published] = {
        "weak_train": Published(3954, 1905),
        "test": Published(800, 500, 2_330_384, 537_805),
    }

    def listed(self, split: Split) -> list[Listed]:
        """The lists name five crops of each video, `RGB/<name>__0.npy` to `__4.npy`."""
        lines = read_lines(self.official(LISTS[split], advice=ADVICE))
        ids = dict.fromkeys(re.sub(r"__[0-4]$", "", without_suffix(line)) for line in lines)
        return [Listed(id, int(codes(id) != ("A",))) for id in ids]

    def known_lengths(self, split: Split) -> Mapping[str, int]:
        return {}

    def truth(self, video: Video) -> Truth:
        """As for every weak benchmark, but at the official grid's length where a test video's file is not at hand."""
        frames = self.grid_length(video, "official") if video.path is None else self.length(video)
        return self.labels(video, frames)

    def labels(self, video: Video, frames: int) -> Truth:
        if codes(video.id) == ("A",):
            return Truth(frames=np.zeros(frames, np.uint8), kinds={})
        labels = self.labels_within(self.intervals, video, frames)
        return Truth(frames=labels, kinds=self._kinds(video.id, labels))

    def length(self, video: Video) -> int:
        if video.path is None:
            raise DataError(
                f"{self.name}: the real length of {video.id} is in no public list, and there is no file of it below "
                f"{self._where}: only the official grid of the test videos does without it, take grid official"
            )
        return super().length(video)

    def grid_length(self, video: Video, grid: Grid) -> int:
        if grid != "official":
            return super().grid_length(video, grid)
        if video.id in self._grid_counts:
            return self._grid_counts[video.id]
        return 16 * ((self.length(video) - 1) // 16)

    def annotated(self) -> Collection[str]:
        return self.intervals.keys()

    @cached_property
    def intervals(self) -> dict[str, Intervals]:
        """Abnormal intervals of the abnormal test videos."""
        return read_intervals(self.official("annotations.txt", advice=ADVICE))

    @cached_property
    def _grid_counts(self) -> dict[str, int]:
        return self.counts(GRID_COUNTS)

    @cached_property
    def _intervals_of_kinds(self) -> dict[str, dict[str, Intervals]] | None:
        """From the optional list of VadCLIP's authors; None where it is not at hand."""
        try:
            return read_intervals_of_kinds(self.official("annotations_multiclasses.txt", advice=""))
        except DataError:
            return None

    def _kinds(self, id: str, labels: np.ndarray) -> dict[str, np.ndarray] | None:
        """Labels of each kind, where the official labels are abnormal too: the two lists differ in 5 videos."""
        if self._intervals_of_kinds is None:
            return None
        kinds = self._intervals_of_kinds.get(id, {})
        return {kind: labels & labels_from_intervals(found, len(labels)) for kind, found in sorted(kinds.items())}


def codes(id: str) -> tuple[str, ...]:
    """The codes at the end of an id, in order of importance: ("G", "B2") for `..._label_G-B2-0`, ("A",) for normal.

    Film titles and video ids hold dots, `#`, `=` and runs of `_`: only the last `_label_` counts.
    """
    _, found, label = id.rpartition("_label_")
    named = tuple(code for code in label.split("-") if code != "0")
    if not found or not named or not CODES.issuperset(named):
        raise DataError(f"XDViolence: '{id}' does not end in _label_ and codes such as B1-0-0 or A")
    return named


def read_intervals(path: Path) -> dict[str, Intervals]:
    """Intervals from lines `name s1 e1 s2 e2 ...`, from 0, end exclusive; 14 of 500 names carry `.mp4`."""
    intervals: dict[str, Intervals] = {}
    for line in read_lines(path):
        name, *numbers = line.split()
        if not numbers or len(numbers) % 2 or not all(number.isdecimal() for number in numbers):
            raise DataError(f"{path}: expected 'name start end ...', got '{line}'")
        intervals[without_suffix(name)] = [(int(s), int(e)) for s, e in zip(numbers[::2], numbers[1::2], strict=True)]
    return intervals


def read_intervals_of_kinds(path: Path) -> dict[str, dict[str, Intervals]]:
    """Intervals of each kind from lines `name code s e code s e ...`; those of different kinds may overlap."""
    intervals: dict[str, dict[str, Intervals]] = {}
    for line in read_lines(path):
        name, *fields = line.split()
        triples = list(zip(fields[::3], fields[1::3], fields[2::3], strict=False))
        if len(fields) % 3 or not all(start.isdecimal() and end.isdecimal() for _, start, end in triples):
            raise DataError(f"{path}: expected 'name code start end ...', got '{line}'")
        kinds = intervals.setdefault(without_suffix(name), {})
        for code, start, end in triples:
            kinds.setdefault(code, []).append((int(start), int(end)))
    return intervals
