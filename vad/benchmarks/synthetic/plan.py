"""What each video of a size shows: scene, length and events, known before anything is rendered."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from vad.benchmarks.synthetic.events import KINDS
from vad.benchmarks.synthetic.scene import SCENES
from vad.types import Split

Size = Literal["demo", "full"]

SPLITS: tuple[Split, ...] = ("train", "weak_train", "test")
COUNTS: dict[Size, dict[Split, tuple[int, int]]] = {  # normal and abnormal videos
    "demo": {"train": (8, 0), "weak_train": (12, 12), "test": (4, 8)},
    "full": {"train": (48, 0), "weak_train": (72, 72), "test": (24, 48)},
}
LENGTHS: dict[Size, tuple[int, int]] = {"demo": (300, 330), "full": (400, 640)}  # frames
EVENTS_PER_VIDEO = (1, 2, 2, 2)  # dealt in turn to the abnormal videos
EVENT_FRAMES = 200  # a video holds at most one event for so many frames, beyond its first


@dataclass(frozen=True)
class Plan:
    """One video to be rendered."""

    id: str
    split: Split
    index: int
    scene: int  # position in `SCENES`
    frames: int
    kinds: tuple[str, ...]  # events in order of time; none in a normal video
    key: tuple[int, int, int]  # seed, split and index: everything random in the video comes from it


def plan(size: Size, seed: int) -> list[Plan]:
    """Every video of a benchmark, splits in order. Scenes and kinds are dealt evenly, then shuffled."""
    plans = []
    for s, split in enumerate(SPLITS):
        normal, abnormal = COUNTS[size][split]
        rng = np.random.default_rng([seed, 100, s])
        scenes = np.concatenate([rng.permutation(np.arange(n) % len(SCENES)) for n in (normal, abnormal)])
        labels = np.repeat([0, 1], [normal, abnormal])
        lengths = rng.integers(*LENGTHS[size], size=normal + abnormal)
        deck = _deal(rng)
        order = rng.permutation(normal + abnormal)
        events = 0
        for index, k in enumerate(order):
            kinds: tuple[str, ...] = ()
            if labels[k]:
                count = EVENTS_PER_VIDEO[events % len(EVENTS_PER_VIDEO)] + max(0, int(lengths[k]) // EVENT_FRAMES - 2)
                kinds = tuple(next(deck) for _ in range(count))
                events += 1
            plans.append(
                Plan(
                    id=f"{split}-{index:03d}",
                    split=split,
                    index=index,
                    scene=int(scenes[k]),
                    frames=int(lengths[k]),
                    kinds=kinds,
                    key=(seed, s, index),
                )
            )
    return plans


def _deal(rng: np.random.Generator) -> Iterator[str]:
    """Kinds without end; each occurs once before any occurs again."""
    while True:
        yield from rng.permutation(list(KINDS)).tolist()
