"""A weakly labelled benchmark without videos, whose features are generated straight into the cache."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from vad import cache
from vad.benchmarks import Benchmark
from vad.datamodules.bags import BagData
from vad.extract.extraction import Worker
from vad.extract.features import Features
from vad.types import Report, Split, Truth, Video
from vad.video import VideoReader

SNIPPET = 16


@dataclass(frozen=True, kw_only=True)
class ToyFeatures(Features):
    """Stands for an extraction of one stream; nothing is ever extracted here."""

    kind: ClassVar[str] = "toy"
    version: ClassVar[int] = 1
    name: str
    dim: int
    crops: int = 2

    @property
    def streams(self) -> tuple[str, ...]:
        return (self.name,)

    def worker(self, device: str) -> Worker:
        raise AssertionError("nothing is extracted in these tests")


class ToyWeak(Benchmark):
    """Videos of 2 to 30 snippets and some frames, half of each split abnormal, without files; no truth.

    Abnormal videos hold an event of a third of their snippets. As in the official lists, they stand first.
    """

    folder = "toy_weak"
    splits = ("weak_train", "test")

    def __init__(self, root: str | None = None, videos: int = 12) -> None:
        super().__init__(root)
        self.count = videos

    @property
    def dataset(self) -> str:
        return f"toy-weak-{self.count}"

    def videos(self, split: Split) -> list[Video]:
        self.has(split)
        return [
            Video(
                f"{split}/{i:02d}",
                split,
                label=int(i < self.count // 2),
                frames=SNIPPET * (2 + i * 7 % 29) + i % 5,
                scene=f"scene {i % 3}",
            )
            for i in range(self.count)
        ]

    def open(self, video: Video) -> VideoReader:
        raise AssertionError("nothing is decoded in these tests")

    def truth(self, video: Video) -> Truth:
        raise AssertionError("fitting and scoring never ask for truth")

    def check(self, *, decode: bool = False) -> Report:
        return Report(self.name, "", {})

    def event(self, video: Video) -> np.ndarray:
        """bool (n,), the snippets of the event: what `truth` would say."""
        n = self.length(video) // SNIPPET
        start = n // 3
        return (np.arange(n) >= start) & (np.arange(n) < start + max(n // 3, 1)) & (video.label == 1)


def bag_data(*, videos: int = 12, **options: Any) -> BagData:
    """Bags of the toy benchmark with two streams of 12 and 8 values and 2 crops, in the cache."""
    options = {
        "batch_size": 8,
        "segments": 12,
        "features": [ToyFeatures(name="look", dim=12), ToyFeatures(name="move", dim=8)],
        **options,
    }
    data = BagData(benchmark=ToyWeak(videos=videos), **options)
    fill(data)
    return data


def fill(data: BagData) -> None:
    """Generate the entries that are missing: noise around the video's own mean; events add 2 to the first value."""
    benchmark = data.benchmark
    assert isinstance(benchmark, ToyWeak)
    for recipe, video in data.missing():
        assert isinstance(recipe, ToyFeatures)
        event = benchmark.event(video)
        random = np.random.default_rng([recipe.dim, *map(ord, video.id)])
        features = random.normal(0, 0.5, (len(event), recipe.crops, recipe.dim)) + random.normal(0, 0.3, recipe.dim)
        features[event, :, 0] += 2
        write(data, recipe, video.id, features)


def write(data: BagData, recipe: ToyFeatures, source: str, features: np.ndarray) -> None:
    """Write one entry, (n, C, D)."""
    first = SNIPPET * np.arange(len(features), dtype=np.int32)
    arrays = {"first": first, "end": first + np.int32(SNIPPET), recipe.name: features.astype(np.float16)}
    cache.entry(data.benchmark.dataset, recipe, source).write(arrays, identity={}, extra={})
