"""Squares that move towards their bright side: footage of which every pretext task can be told."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from videos import write_clip

from vad import cache
from vad.benchmarks import Benchmark
from vad.datamodules.clips import ClipData
from vad.datamodules.drawn_clips import DrawnClips
from vad.datamodules.pretext import TASKS, Rules, Task
from vad.extract.frames import FrameRecipe
from vad.types import Report, Split, Truth, Video
from vad.video import VideoReader, open_video

SIZE = (40, 32)  # width and height of a frame
OPTIONS: dict[str, Any] = {
    "batch_size": 32,
    "length": 8,
    "speeds": (1, 2, 4),
    "steps": (1,),
    "gap": 8,
    "window": 40,
    "validation": 0.25,
    "validation_clips": 32,
    "test_clips": 64,
    "checkpoint_every": 4,
}


class Squares(Benchmark):
    """Eight videos of 48 frames, half of them labelled abnormal; without a root there are no files."""

    folder = "squares"
    splits = ("weak_train",)

    @property
    def dataset(self) -> str:
        return "toy-squares"

    def offered(self) -> tuple[Split, ...]:
        return self.splits

    def videos(self, split: Split) -> list[Video]:
        self.has(split)
        return [Video(str(i), split, label=i % 2, frames=48, scene=str(i // 2)) for i in range(8)]

    def open(self, video: Video) -> VideoReader:
        return open_video(self.root / f"{video.id}.mp4")

    def truth(self, video: Video) -> Truth:
        raise AssertionError("pretext tasks never ask for truth")

    def check(self, *, decode: bool = False) -> Report:
        return Report(self.name, "", {})


def pictures(video: int, frames: np.ndarray, size: tuple[int, int] = SIZE) -> np.ndarray:
    """Frames int64 (n,) of a video, uint8 (n, h, w, 3): its square goes one pixel a frame, and around the edge."""
    random = np.random.default_rng(video)
    width, height = size
    side = height // 2
    forward = random.choice([-1, 1])
    travelled = random.integers(width) + forward * frames
    depth = (np.arange(width) - travelled[:, None]) * forward % width  # columns behind the square's dark edge
    top = random.integers(1, height - side)
    colour, ground = random.uniform(0.7, 1.0, 3), random.uniform(60, 120, 3)
    found = np.broadcast_to(ground, (len(frames), height, width, 3)).copy()
    shade = (depth / side * 255)[:, None, :, None] * colour
    inside = (depth < side)[:, None, :, None]
    found[:, top : top + side] = np.where(inside, shade, found[:, top : top + side])
    return found.astype(np.uint8)


def write_squares(folder: Path) -> None:
    """The videos as files below a root."""
    folder.mkdir()
    for video in Squares(str(folder)).videos("weak_train"):
        number = int(video.id)

        def picture(frame: int, size: tuple[int, int], number: int = number) -> np.ndarray:
            return pictures(number, np.array([frame]), size)[0]

        write_clip(folder / f"{video.id}.mp4", frames=video.frames or 0, size=SIZE, picture=picture)


def square_data(root: Path | None = None, **options: Any) -> ClipData:
    """Clips of the videos: of the files below a root, or of frames in the cache."""
    options = {**OPTIONS, **options}
    if root is not None:
        return ClipData(benchmark=Squares(str(root)), size=SIZE, **options)
    recipe = FrameRecipe(size=SIZE)
    data = ClipData(benchmark=Squares(), frames=recipe, **options)
    for _, video in data.missing():
        frames = pictures(int(video.id), np.arange(video.frames or 0))
        cache.entry(data.benchmark.dataset, recipe, video.id).write({"frames": frames}, identity={})
    return data


class Drawn:
    """Frames of any number of videos, drawn when they are asked for."""

    def __init__(self, size: tuple[int, int]) -> None:
        self._size = size

    def read(self, video: int, frames: np.ndarray) -> np.ndarray:
        return pictures(video, frames, self._size)


def drawn_squares(*, tasks: Sequence[Task] = TASKS, size: tuple[int, int] = SIZE, stage: int = 0) -> DrawnClips:
    """Clips of sixteen videos without a file; another stage draws others."""
    rules = Rules(length=8, speeds=(1, 2, 4), steps=(1,), gap=8)
    return DrawnClips(Drawn(size), [str(i) for i in range(16)], np.full(16, 48), np.arange(16) % 2, tasks=tasks,
                      rules=rules, window=40, per_window=4, seed=0, stage=stage)  # fmt: skip
