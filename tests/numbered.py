"""Encoders without weights: they read the number that every picture of `videos.write_clip` carries."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from videos import frame_number, write_clip

from vad.benchmarks import Footage
from vad.errors import VadError
from vad.extract.encoders import Encoder

SIZE = (160, 96)  # of the clips: whole frames pass through unchanged


@dataclass(frozen=True, kw_only=True)
class NumberEncoder(Encoder):
    """A frame's vector is (n, 2n); a clip's the numbers of its frames.

    `spoilt` multiplies those of the frames from 20 on; the frame `fails` raises, as when a device is lost.
    """

    clip: int | None = None
    spoilt: float = 1.0
    fails: int | None = None

    def load(self, device: str) -> "LoadedNumbers":
        return LoadedNumbers(self)


class LoadedNumbers:
    size = SIZE

    def __init__(self, settings: NumberEncoder) -> None:
        self._settings = settings
        self.frames = settings.clip
        self.seen: list[int] = []  # clips or frames of each call

    def __call__(self, clips: np.ndarray) -> np.ndarray:
        assert clips.dtype == np.uint8 and clips.shape[-3:] == (SIZE[1], SIZE[0], 3)
        assert clips.ndim == (4 if self.frames is None else 5)
        self.seen.append(len(clips))
        pictures = clips.reshape(-1, *clips.shape[-3:])
        numbers = np.array([frame_number(picture) for picture in pictures], np.float32)
        if self._settings.fails in numbers:
            raise VadError("the device is lost")
        numbers[numbers >= 20] *= self._settings.spoilt
        return numbers.reshape(-1, self.frames) if self.frames is not None else np.stack([numbers, 2 * numbers], 1)


def numbered_footage(folder: Path, lengths: Sequence[int]) -> Footage:
    """A benchmark of one MP4 file for each length, `0.mp4`, `1.mp4`, ..."""
    folder.mkdir()
    for index, frames in enumerate(lengths):
        write_clip(folder / f"{index}.mp4", frames=frames, size=SIZE)
    return Footage(str(folder))
