"""Footage without files of video: a square that walks over still ground; and detectors that need no weights."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from vad.benchmarks import Benchmark
from vad.errors import VideoError
from vad.extract.detectors import Detections, Detector
from vad.types import Report, Split, Truth, Video
from vad.video import VideoReader

WIDTH, HEIGHT, SIDE, STEP = 160, 96, 24, 4


def square_at(index: int) -> tuple[int, int, int, int]:
    """The square's box in frame `index`."""
    x = 10 + STEP * (index % 30)
    return x, 40, x + SIDE, 40 + SIDE


def walk(count: int = 12, seed: int = 0) -> list[np.ndarray]:
    """Frames uint8 RGB; each frame's top left pixel is its index, and every colour differs from the others."""
    random = np.random.default_rng(seed)
    ground = cv2.GaussianBlur(random.integers(60, 120, (HEIGHT, WIDTH, 3), np.uint8), (5, 5), 0)
    square = cv2.GaussianBlur(random.integers(150, 255, (SIDE, SIDE, 3), np.uint8), (3, 3), 0)
    frames = []
    for index in range(count):
        frame = ground.copy()
        x1, y1, x2, y2 = square_at(index)
        frame[y1:y2, x1:x2] = square
        frame[0, 0] = index
        frames.append(frame)
    return frames


class WalkReader(VideoReader):
    """Reads a file that holds the number of frames; 'broken' is a file that cannot be read."""

    backend = "walk"

    def __init__(self, path: Path) -> None:
        text = path.read_text()
        if text == "broken":
            raise VideoError(path, "cannot be decoded")
        self._frames = walk(int(text), seed=len(path.name))
        self.closed = False

    def __len__(self) -> int:
        return len(self._frames)

    @property
    def fps(self) -> float | None:
        return 25.0

    @property
    def size(self) -> tuple[int, int]:
        return WIDTH, HEIGHT

    def frames(self, indices: Sequence[int] | np.ndarray, *, size: tuple[int, int] | None = None) -> np.ndarray:
        return np.stack([cv2.resize(self._frames[i], size or self.size) for i in indices])

    def __iter__(self) -> Iterator[np.ndarray]:
        return iter(self._frames)

    def close(self) -> None:
        self.closed = True


class Walks(Benchmark):
    """One video for each file of the root, `<id>.walk`."""

    folder = "walks"
    splits = ("test",)
    dataset = "walks"

    def __init__(self, root: str, delay: float = 0.0) -> None:
        super().__init__(root)
        self.delay = delay

    def videos(self, split: Split) -> list[Video]:
        paths = sorted(self.root.glob("*.walk"))
        return [Video(p.stem, split, path=p, frames=len(p.read_text()) and self._frames(p)) for p in paths]

    def _frames(self, path: Path) -> int | None:
        text = path.read_text()
        return int(text) if text.isdigit() else None

    def open(self, video: Video) -> VideoReader:
        time.sleep(self.delay)
        assert video.path is not None
        return WalkReader(video.path)

    def truth(self, video: Video) -> Truth:
        raise AssertionError("extraction never asks for truth")

    def check(self, *, decode: bool = False) -> Report:
        return Report(self.name, "", {})


@dataclass(frozen=True)
class SquareDetector(Detector):
    """Sees the square where it is, with the confidence given, and a second box of low confidence beside it."""

    confidence: float = 0.9
    low: float = 0.05

    def load(self, device: str) -> "LoadedSquareDetector":
        return LoadedSquareDetector(self)


class LoadedSquareDetector:
    def __init__(self, settings: SquareDetector) -> None:
        self._settings = settings

    def __call__(self, frames: np.ndarray, *, video: str, indices: Sequence[int]) -> list[Detections]:
        assert frames.dtype == np.uint8 and frames.shape == (len(indices), HEIGHT, WIDTH, 3)
        assert [frame[0, 0, 0] for frame in frames] == list(indices)
        return [
            Detections(
                box=np.array([square_at(i), (0, 0, 15, 15)], np.float32),
                confidence=np.array([self._settings.confidence, self._settings.low], np.float32),
                probability=np.array([[0.5, i / 100]] * 2, np.float16),
                inside=lambda boxes: np.full((len(boxes), 2), 0.25, np.float16),
            )
            for i in indices
        ]


@dataclass(frozen=True)
class DeadlyDetector(Detector):
    """Ends its process without a word, as the kernel does when memory runs out."""

    def load(self, device: str) -> "LoadedSquareDetector":
        import os
        import signal

        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError


@dataclass(frozen=True)
class FaultyDetector(Detector):
    """Raises what nobody foresaw."""

    def load(self, device: str) -> "LoadedSquareDetector":
        raise ZeroDivisionError("one over nothing")
