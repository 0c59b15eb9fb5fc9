"""What all readers share: they belong to the process that opened them, and check indices in one way."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import numpy as np

from vad.errors import VideoError
from vad.video.video_reader import VideoReader


class LocalReader(VideoReader):
    """A reader that works only where it was opened: decoders do not survive a fork or a pickle."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._process = os.getpid()
        self._closed = False

    def close(self) -> None:
        self._closed = True

    def __getstate__(self) -> NoReturn:
        raise TypeError(f"a reader of {self.path} cannot be pickled: open the video in the process that reads it")

    def _check(self) -> None:
        if self._process != os.getpid():
            raise VideoError(self.path, "was opened before a fork: open it in the process that reads it")
        if self._closed:
            raise VideoError(self.path, "is read after its reader was closed")

    def _wanted(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        """`indices` as int64 (n,); raises `IndexError` for one outside [0, len)."""
        self._check()
        wanted = np.asarray(indices)
        if wanted.size == 0:
            return np.zeros(0, np.int64)
        if wanted.ndim != 1 or wanted.dtype.kind not in "iu":
            raise IndexError(
                f"{self.path}: frames are asked for by a list of integers, not {wanted.dtype} {wanted.shape}"
            )
        outside = (wanted < 0) | (wanted >= len(self))
        if outside.any():
            raise IndexError(f"{self.path}: there is no frame {wanted[outside][0]}, only 0 to {len(self) - 1}")
        return wanted.astype(np.int64)

    def _empty(self, count: int, size: tuple[int, int] | None = None) -> np.ndarray:
        """Room for `count` frames of that width and height, or of the footage's own."""
        width, height = self.size if size is None else size
        if min(width, height) < 1:
            raise ValueError(f"{self.path}: frames cannot be stretched to {width} x {height}")
        return np.empty((count, height, width, 3), np.uint8)
