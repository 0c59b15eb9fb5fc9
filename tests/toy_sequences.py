"""Snippet features whose values say which snippet of which video they are of, for pretext tasks on features."""

from itertools import product
from typing import Any

import numpy as np
from toy_bags import SNIPPET, ToyFeatures, ToyWeak

from vad import cache
from vad.datamodules.feature_clips import FeatureClipData
from vad.types import Split, Video

PLACE = ToyFeatures(name="place", dim=2, crops=2)  # number of the video, of the snippet
TURN = ToyFeatures(name="turn", dim=3, crops=1)  # a pointer that turns by 0.3 a snippet, and noise

OPTIONS: dict[str, Any] = {
    "batch_size": 32,
    "validation": 0.25,
    "validation_clips": 64,
    "test_clips": 256,
    "checkpoint_every": 10,
}


class Sequences(ToyWeak):
    """Eight videos of 60 (too short for the fastest speed), 70, 80, ... 130 snippets."""

    def __init__(self, root: str | None = None) -> None:
        super().__init__(root, videos=8)

    @property
    def dataset(self) -> str:
        return "toy-sequences"

    def videos(self, split: Split) -> list[Video]:
        self.has(split)
        return [
            Video(f"{split}/{i}", split, label=i % 2, frames=SNIPPET * (60 + 10 * i), scene=f"scene {i // 2}")
            for i in range(self.count)
        ]


def sequence_data(**options: Any) -> FeatureClipData:
    """Clips of rows (video, snippet, cosine, sine, noise), in the cache; the crops of a place differ by 2."""
    data = FeatureClipData(benchmark=Sequences(), features=[PLACE, TURN], **{**OPTIONS, **options})
    for recipe, video in product((PLACE, TURN), (v for s in data.benchmark.splits for v in data.benchmark.videos(s))):
        if cache.entry(data.benchmark.dataset, recipe, video.id).exists():
            continue
        number, count = int(video.id[-1]), (video.frames or 0) // SNIPPET
        place = np.stack([np.full(count, number), np.arange(count)], -1)
        crops = place[:, None] + np.array([-1, 1])[:, None]
        write(recipe, video.id, crops if recipe == PLACE else pointer(number, count)[:, None])
    return data


def pointer(number: int, count: int) -> np.ndarray:
    """The second stream of a video, (n, 3)."""
    random = np.random.default_rng(number)
    angle = random.uniform(0, 2 * np.pi) + 0.3 * np.arange(count)
    return np.stack([np.cos(angle), np.sin(angle), 0.5 * random.normal(size=count)], -1)


def write(recipe: Any, source: str, features: np.ndarray) -> None:
    """One entry, (n, C, D)."""
    first = SNIPPET * np.arange(len(features), dtype=np.int32)
    arrays = {"first": first, "end": first + np.int32(SNIPPET), recipe.name: features.astype(np.float16)}
    cache.entry(Sequences().dataset, recipe, source).write(arrays, identity={})
