"""A benchmark without videos, whose tubes are generated straight into the cache: what tests of SSMTL learn from.

Everything moves to the right, a few pixels a frame and round its box: so arrow and steps of time can be seen. There are
two kinds of things, discs and grids, which class probabilities and a teacher tell apart. One in eight that is scored is
odd: noise that moves to the left, three times as fast, of a class that nobody has seen.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from toy_cubes import NoMotion, ToyBenchmark

from vad import cache
from vad.datamodules.tubes import TubeData
from vad.extract.crops import CropRecipe
from vad.extract.detectors import Detector
from vad.extract.teachers import Teacher, TeacherRecipe
from vad.types import Split, Video

CLASSES, LOGITS, FRAMES = 4, 6, 40


@dataclass(frozen=True)
class ToyTeacher(Teacher):
    """Stands for a teacher in the recipe's hash; nothing is ever extracted here."""

    def load(self, device: str) -> Any:
        raise AssertionError("nothing is extracted in these tests")


@dataclass(frozen=True)
class ToyDetector(Detector):
    """Stands for a detector in the recipe's hash."""

    def load(self, device: str) -> Any:
        raise AssertionError("nothing is extracted in these tests")


class ToyTracks(ToyBenchmark):
    """The toy benchmark with longer videos, so that long tubes find room."""

    @property
    def dataset(self) -> str:
        return f"{super().dataset}-tracks"

    def videos(self, split: Split) -> list[Video]:
        self.has(split)
        size = (self.size, self.size)
        return [Video(f"{split}/{i:02d}", split, frames=FRAMES, fps=25.0, size=size) for i in range(self.count)]


def tube_data(
    *, videos: int = 4, grey: bool = True, teacher: bool = True, objects: int = 2, **options: Any
) -> TubeData:
    """Tubes of the toy benchmark, in the cache: 16 x 16, with `CLASSES` probabilities and `LOGITS` of a teacher, of
    tubes that are scored too where no `detector` is given."""
    options = {"batch_size": 16, "size": 16, "validation": 0.25, **options}
    benchmark = ToyTracks(videos=videos, grey=grey)
    data = TubeData(benchmark=benchmark, motion=NoMotion(), teacher=ToyTeacher() if teacher else None, **options)
    fill(data, objects)
    return data


def fill(data: TubeData, objects: int = 2) -> None:
    """Generate the entries that are missing, with up to so many objects in a frame."""
    for recipe, video in data.missing():
        if isinstance(recipe, CropRecipe):
            arrays = generate(video, recipe, objects)
        elif isinstance(recipe, TeacherRecipe):
            probability = cache.entry(data.benchmark.dataset, recipe.crops, video.id).read("probability", mmap=False)
            arrays = {"logits": np.pad(probability * 4 - 2, ((0, 0), (0, LOGITS - CLASSES))).astype(np.float16)}
        else:
            arrays = {}
        cache.entry(data.benchmark.dataset, recipe, video.id).write(arrays, identity={}, extra={})


def generate(video: Video, recipe: CropRecipe, objects: int) -> dict[str, np.ndarray]:
    """The arrays of one video's entry; `odd` bool (m,) is there beside those of a real one."""
    random = np.random.default_rng([ord(letter) for letter in video.id])
    reach = recipe.offsets[-1] if recipe.border == "drop" else 0
    frame = np.arange(reach, FRAMES - reach, dtype=np.int32)
    frame = np.repeat(frame, random.integers(0, objects + 1, len(frame)))
    frame = frame[frame % recipe.every == 0]
    m, size = len(frame), recipe.size
    kind = random.integers(0, 2, m)
    odd = random.random(m) < (1 / 8 if video.split == "test" else 0)
    kind[odd] = 2
    pictures = np.stack([picture(random, k, size) for k in kind]) if m else np.zeros((0, size, size))
    step = np.where(odd, -3, 1)[:, None] * max(size // 16, 1) * np.array(recipe.offsets)  # (m, T) pixels
    column = (np.arange(size) - step[..., None]) % size  # (m, T, size)
    moved = np.take_along_axis(pictures[:, None], column[:, :, None], axis=3)  # (m, T, size, size)
    noise = random.normal(0, 4, (*moved.shape, 1 if recipe.grey else 3))
    probability = random.uniform(0, 0.1, (m, CLASSES))
    probability[np.arange(m), kind] += 0.8
    corner = random.uniform(0, 76, (m, 2))
    return {
        "crop": np.clip(moved[..., None] + noise, 0, 255).astype(np.uint8),
        "frame": frame,
        "box": np.concatenate([corner, corner + 20], 1).astype(np.float32),
        "confidence": np.zeros(m, np.float32),
        "source": np.full(m, recipe.confidence, np.float32),
        "probability": probability.astype(np.float16),
        "odd": odd,
    }


def picture(random: np.random.Generator, kind: int, size: int) -> np.ndarray:
    """A bright disc, a grid, or noise on grey, float (size, size); periodic in its columns."""
    y, x = np.mgrid[:size, :size] / size
    if kind == 0:
        return 60 + 140 * (np.hypot(y - random.uniform(0.4, 0.6), x - random.uniform(0.3, 0.5)) < 0.25)
    if kind == 1:
        stripe = (x - random.random()) % 1 < 0.5  # a wide one, so that a step of any length can be seen
        return 60 + 70 * ((4 * y).astype(int) % 2) + 70 * stripe
    return random.uniform(0, 255, (size, size))


def odd_objects(data: TubeData) -> np.ndarray:
    """Which rows of `score_record` are odd, bool (m,)."""
    entries = [cache.entry(data.benchmark.dataset, data.scored, video.id) for video in data.score_videos()]
    return np.concatenate([entry.read("odd", mmap=False) for entry in entries])
