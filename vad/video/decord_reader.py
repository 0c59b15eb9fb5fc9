"""decord's random access, for the files in which it is right.

The policy never takes it unasked: on whole frames `PyAVReader` was the faster of the two in every file measured
(`experiments/speed/reader.py`), and decord is silent about frames that it gets wrong.
"""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from vad.errors import VideoError
from vad.video.local_reader import LocalReader
from vad.video.resize import resize
from vad.video.verdict import Verdict

if TYPE_CHECKING:
    from decord import VideoReader as Decord


class DecordReader(LocalReader):
    """Reads frames with decord. Raises `VideoError` where the verdict on the file has doubts about it."""

    backend = "decord"

    def __init__(self, path: Path, verdict: Verdict) -> None:
        super().__init__(path)
        if verdict.access != "any":
            raise VideoError(path, f"is not to be read with decord: {'; '.join(verdict.reasons)}")
        self.verdict = verdict
        self._decord: Decord | None = None

    def __len__(self) -> int:
        return self.verdict.frames

    @property
    def fps(self) -> float | None:
        return self.verdict.fps

    @property
    def size(self) -> tuple[int, int]:
        return self.verdict.size

    def frames(self, indices: Sequence[int] | np.ndarray, *, size: tuple[int, int] | None = None) -> np.ndarray:
        wanted = self._wanted(indices)
        unique, where = np.unique(wanted, return_inverse=True)
        scaled = self._empty(len(unique), size)
        if not len(unique):
            return scaled
        try:
            pictures = self._open().get_batch(unique.tolist()).asnumpy()
        except Exception as error:  # decord raises classes of its own, all derived from Exception
            self._decord = None
            raise VideoError(self.path, f"cannot be decoded ({str(error).strip().splitlines()[-1]})") from None
        if pictures.shape[1:] != (self.size[1], self.size[0], 3):
            raise VideoError(self.path, f"decord gives pictures of shape {pictures.shape[1:]}")
        if pictures.shape != scaled.shape:
            for row, picture in enumerate(pictures):
                scaled[row] = resize(picture, size or self.size)
            pictures = scaled
        return pictures if np.array_equal(wanted, unique) else pictures[where]

    def __iter__(self) -> Iterator[np.ndarray]:
        from vad.video.pyav_reader import PyAVReader

        self._check()
        with PyAVReader(self.path, self.verdict) as reader:  # notices where a file goes on, or ends early
            yield from reader

    def close(self) -> None:
        super().close()
        self._decord = None

    def _open(self) -> "Decord":
        if self._decord is None:
            # Without a bound decord waits for frames behind the end of a damaged file.
            os.environ.setdefault("DECORD_EOF_RETRY_MAX", "2048")
            import decord

            decord.logging.set_level(decord.logging.QUIET)
            self._decord = decord.VideoReader(str(self.path), num_threads=1)
            if len(self._decord) != len(self):
                raise VideoError(self.path, f"decord counts {len(self._decord)} frames, not {len(self)}")
        return self._decord
