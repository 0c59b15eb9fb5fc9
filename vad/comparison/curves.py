"""Score curves of several methods over the same videos, on one scale."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import yaml

from vad import benchmarks
from vad.aggregation import frame_scores, smooth
from vad.benchmarks import Benchmark
from vad.comparison.collect import Row, Run
from vad.errors import RunError
from vad.scores import Scores
from vad.types import Video

POINTS = 600  # of a curve, at most: a page of a long benchmark stays readable and below some megabytes


@dataclass(frozen=True)
class VideoCurves:
    """One test video: its abnormal stretches, and one curve for each method."""

    id: str
    frames: int
    abnormal: list[tuple[int, int]]  # half-open intervals
    curves: Mapping[str, list[int]]  # method -> rank in per mille, at most POINTS values evenly spread over the frames


def benchmark_of(run: Run) -> Benchmark:
    """The benchmark that a run was scored on, from its configuration; raises `RunError` where it is not to be had."""
    config = run.folder.config
    if not config.is_file():
        raise RunError(f"{run.folder.path}: has no config.yaml, so its benchmark is not known")
    try:
        described = yaml.safe_load(config.read_text(encoding="utf-8"))["data"]["init_args"]["benchmark"]
        name = described if isinstance(described, str) else described["class_path"]
        arguments = {} if isinstance(described, str) else described.get("init_args") or {}
        return _construct(name, arguments)
    except (KeyError, TypeError, AttributeError, yaml.YAMLError) as error:
        raise RunError(f"{config}: names no benchmark that can be opened ({error})") from None


def _construct(name: str, arguments: Mapping[str, Any]) -> Benchmark:
    found = getattr(benchmarks, name.rpartition(".")[2])
    if not (isinstance(found, type) and issubclass(found, Benchmark)):
        raise TypeError(f"{name} is no benchmark")
    return found(**arguments)


def test_ranks(run: Run, benchmark: Benchmark) -> dict[str, np.ndarray]:
    """Smoothed frame scores of the test videos, as ranks in [0, 1] among all of them.

    A rank is the share of test frames that score lower: a monotone map of the score, so curves of methods whose scores
    have other scales can be drawn in one picture.
    """
    scores = Scores.load(run.folder.scores)
    by_video = dict(
        zip(scores.record.videos, frame_scores(scores.record, scores.score, floor=_floor(scores)), strict=True)
    )
    cuts = {video.id: video.cuts for video in benchmark.videos("test")}
    test = [video for video in by_video if video.split == "test"]
    smoothed = smooth([by_video[video] for video in test], cuts=[cuts.get(video.id, ()) for video in test])
    pooled = np.sort(np.concatenate(smoothed))
    return {
        video.id: np.searchsorted(pooled, values, side="left") / len(pooled)
        for video, values in zip(test, smoothed, strict=True)
    }


def _floor(scores: Scores) -> float | None:
    floor = scores.header.get("floor")
    return None if floor is None else float(floor)


def thin(values: np.ndarray, points: int = POINTS) -> list[int]:
    """Per mille at `points` evenly spread places; each is the maximum of its stretch, so that no peak is lost."""
    if len(values) > points:
        edges = np.linspace(0, len(values), points, endpoint=False).astype(np.int64)
        values = np.maximum.reduceat(values, edges)
    return [int(value) for value in np.rint(1000 * values)]


def intervals(labels: np.ndarray) -> list[tuple[int, int]]:
    """The half-open stretches of ones in a vector of 0 and 1."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], labels.astype(np.int8), [0]])))
    return [(int(start), int(stop)) for start, stop in zip(edges[::2], edges[1::2], strict=True)]


def video_curves(rows: Sequence[Row], benchmark: Benchmark) -> list[VideoCurves]:
    """The curves of the first seed of each row over every test video; a row without scores has none.

    Raises `VadError` where a scores file is damaged or the benchmark's truth is not to be had.
    """
    ranks = {row.name: test_ranks(row.runs[0], benchmark) for row in rows if row.runs[0].folder.scores.is_file()}
    videos = [video for video in benchmark.videos("test") if any(video.id in found for found in ranks.values())]
    return [_curves(benchmark, video, ranks) for video in videos]


def _curves(benchmark: Benchmark, video: Video, ranks: Mapping[str, Mapping[str, np.ndarray]]) -> VideoCurves:
    labels = benchmark.truth(video).frames
    curves = {name: thin(by_video[video.id]) for name, by_video in ranks.items() if video.id in by_video}
    return VideoCurves(video.id, len(labels), intervals(labels), curves)
