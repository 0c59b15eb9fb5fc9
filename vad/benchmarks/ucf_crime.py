"""UCF-Crime (Sultani et al., CVPR 2018): 1,900 surveillance videos of 13 kinds of crime and of normal life."""

import re
from collections.abc import Collection, Mapping
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np

from vad.benchmarks.benchmark import Grid
from vad.benchmarks.intervals import Intervals
from vad.benchmarks.weak import Listed, Published, WeakBenchmark, read_lines, without_suffix
from vad.errors import ConfigError, DataError
from vad.types import Split, Truth, Video

LISTS: dict[Split, str] = {"weak_train": "Anomaly_Train.txt", "test": "Anomaly_Test.txt"}
COUNTS: dict[Split, str] = {"weak_train": "frame_counts_train.json", "test": "frame_counts_test.json"}
INTERVALS = ("Temporal_Anomaly_Annotation_for_Testing_Videos.txt", "Temporal_Anomaly_Annotation.txt")
ADVICE = "it comes with the benchmark, in UCF_Crimes-Train-Test-Split.zip and beside it"

# Multiples of 16 that the published vector of 1,109,680 labels holds one snippet short (UR-DMU, issue 13).
ONE_SNIPPET_SHORT = frozenset(
    f"{name}_x264"
    for name in (
        "Assault006",
        "Burglary037",
        "Normal_Videos_881",
        "Normal_Videos_914",
        "RoadAccidents010",
        "RoadAccidents016",
        "Shooting046",
        "Shoplifting010",
        "Shoplifting015",
    )
)


class UCFCrime(WeakBenchmark):
    """UCF-Crime: 1,610 training and 290 test videos, 140 of these with one or two abnormal intervals.

    Files are found by name, whatever folder they lie in: the folder `Training_Normal_Videos_Anomaly` of the lists is in
    none of the archives. Normal videos stand twice in the archives, as equal copies.

    Grids: `official` is the vector of 1,109,680 labels in use since UR-DMU, `floor16` but for nine videos that it holds
    a snippet short; `ceil16` lays the intervals on the longer grid, as RTFM's vector of 1,114,144.

    Args:
        root: Folder below which lists and videos lie, at any depth; `None` means `$VAD_DATA/ucf_crime`.
        ucf_end: Whether the last frame of an interval is abnormal. The authors count from 1 with both ends inclusive;
            later code counts from 0, mostly `exclusive`; they differ in at most 156 of 84,182 frames.
    """

    folder = "ucf_crime"

    def __init__(self, root: str | None = None, ucf_end: Literal["exclusive", "inclusive"] = "exclusive") -> None:
        super().__init__(root)
        if ucf_end not in ("exclusive", "inclusive"):
            raise ConfigError(f"ucf_end: expected exclusive or inclusive, got '{ucf_end}'")
        self.ucf_end = ucf_end
        abnormal_frames = 84_331 if ucf_end == "inclusive" else 84_182
        self.published = {
            "weak_train": Published(1610, 810, 12_656_615),
            "test": Published(290, 140, 1_111_808, abnormal_frames),
        }

    def listed(self, split: Split) -> list[Listed]:
        ids = [without_suffix(line) for line in read_lines(self.official(LISTS[split], advice=ADVICE))]
        return [Listed(id, int(kind_of(id) is not None)) for id in ids]

    def known_lengths(self, split: Split) -> Mapping[str, int]:
        return self.counts(COUNTS[split])

    def labels(self, video: Video, frames: int) -> Truth:
        kind = kind_of(video.id)
        if kind is None:
            return Truth(frames=np.zeros(frames, np.uint8), kinds={})
        labels = self.labels_within(self.intervals, video, frames)
        return Truth(frames=labels, kinds={kind: labels})

    def grid_length(self, video: Video, grid: Grid) -> int:
        if grid != "official":
            return super().grid_length(video, grid)
        return super().grid_length(video, "floor16") - 16 * (video.id in ONE_SNIPPET_SHORT)

    def annotated(self) -> Collection[str]:
        return self.intervals.keys()

    @cached_property
    def intervals(self) -> dict[str, Intervals]:
        """Of the abnormal test videos. Two intervals end beyond their videos, which longer grids show."""
        return read_intervals(self.official(*INTERVALS, advice=ADVICE), last_counts=self.ucf_end == "inclusive")


def kind_of(id: str) -> str | None:
    """The kind of crime that an id names, None for a normal video: `Abuse028_x264`, `Normal_Videos_003_x264`."""
    kind = re.sub(r"_?\d+(_x264)?$", "", id)
    return None if kind.startswith("Normal_Videos") else kind


def read_intervals(path: Path, *, last_counts: bool) -> dict[str, Intervals]:
    """Intervals of the abnormal videos, half open from 0, from lines `name class s1 e1 s2 e2`.

    Fields stand two blanks apart with blanks behind them, unused ones are -1, and one copy in use drops `.mp4`. Ends
    may lie some frames beyond the video.
    """
    intervals: dict[str, Intervals] = {}
    for line in read_lines(path):
        name, *fields = line.split()
        if len(fields) != 5 or not all(re.fullmatch(r"-?\d+", number) for number in fields[1:]):
            raise DataError(f"{path}: expected 'name class start end start end', got '{line}'")
        numbers = [int(number) for number in fields[1:]]
        found = [(start, end + last_counts) for start, end in (numbers[:2], numbers[2:]) if start >= 0]
        if any(start >= end for start, end in found):
            raise DataError(f"{path}: an interval ends before it starts in '{line}'")
        if fields[0] != "Normal":
            intervals[without_suffix(name)] = found
    return intervals
