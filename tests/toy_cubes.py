"""A benchmark without videos, whose cubes are generated straight into the cache: what tests of training learn from."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from vad import cache
from vad.benchmarks import Benchmark
from vad.datamodules.cubes import CubeData
from vad.extract.motion import Motion
from vad.types import Report, Split, Truth, Video
from vad.video import VideoReader


@dataclass(frozen=True)
class NoMotion(Motion):
    """Stands for a motion mask in the recipe's hash; nothing is ever extracted here."""

    def masks(self, frames: Any) -> Any:
        raise AssertionError("nothing is extracted in these tests")


class ToyBenchmark(Benchmark):
    """Some videos of each split, of 10 frames, without files; asking for truth is an error."""

    folder = "toy"
    splits = ("train", "test")

    def __init__(self, root: str | None = None, videos: int = 4, grey: bool = True, size: int = 96) -> None:
        super().__init__(root)
        self.count = videos
        self.grey = grey  # type: ignore[misc]  # one class for both kinds of footage
        self.size = size

    @property
    def dataset(self) -> str:
        return f"toy-{self.count}-{self.grey}"

    def videos(self, split: Split) -> list[Video]:
        self.has(split)
        return [
            Video(f"{split}/{i:02d}", split, frames=10, fps=25.0, size=(self.size, self.size))
            for i in range(self.count)
        ]

    def open(self, video: Video) -> VideoReader:
        raise AssertionError("nothing is decoded in these tests")

    def truth(self, video: Video) -> Truth:
        raise AssertionError("fitting and scoring never ask for truth")

    def check(self) -> Report:
        return Report(self.name, "", {})


def cube_data(*, videos: int = 4, grey: bool = True, **options: Any) -> CubeData:
    """Cubes of the toy benchmark, in the cache."""
    options = {"batch_size": 16, "protocol": "unsupervised_merge", **options}
    data = CubeData(benchmark=ToyBenchmark(videos=videos, grey=grey), motion=NoMotion(), **options)
    fill(data)
    return data


def fill(data: CubeData, objects: int = 3) -> None:
    """Generate the entries that are missing: a moving ramp for each object, noise for one in fifteen."""
    for _, video in [pair for pair in data.missing() if pair[0] is data.crops]:
        random = np.random.default_rng([ord(letter) for letter in video.id])
        frame = np.repeat(np.arange(10, dtype=np.int32), random.integers(0, objects + 1, 10))
        cache.entry(data.benchmark.dataset, data.crops, video.id).write(
            generate(random, frame, data), identity={}, extra={}
        )
    for _, video in data.missing():
        cache.entry(data.benchmark.dataset, data.crops.objects, video.id).write({}, identity={}, extra={})


def generate(random: np.random.Generator, frame: np.ndarray, data: CubeData) -> dict[str, np.ndarray]:
    """The arrays of one video's entry."""
    m, t, size, colours = len(frame), len(data.crops.offsets), data.crops.size, 1 if data.crops.grey else 3
    slope = random.uniform(1, 4, (m, 1, 1, 1, colours))
    ramp = slope * np.arange(size)[:, None, None] + 10 * np.arange(t)[:, None, None, None] + np.zeros((size, 1))
    crop = np.clip(ramp + 60, 0, 255).astype(np.uint8)
    odd = random.random(m) < 1 / 15
    crop[odd] = random.integers(0, 256, (int(odd.sum()), t, size, size, colours), dtype=np.uint8)
    corner = random.uniform(0, data.benchmark.size - 20, (m, 2))  # type: ignore[attr-defined]  # the toy benchmark
    arrays = {
        "crop": crop,
        "frame": frame,
        "box": np.concatenate([corner, corner + 20], 1).astype(np.float32),
        "confidence": np.zeros(m, np.float32),
        "source": np.full(m, 0.2, np.float32),
    }
    if data.crops.flow:
        arrays["flow"] = random.normal(0, 1, (m, t, size, size, 2)).astype(np.float16)
    return arrays
