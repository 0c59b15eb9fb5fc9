"""The contract of every reader."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Self

import numpy as np


class VideoReader(ABC):
    """Random and sequential access to the frames of one video.

    Promise: frame i is frame i of a sequential decode; otherwise a `VideoError` that names the file and the reason.
    Readers are opened in the process that uses them; they refuse to be pickled or used after a fork.
    """

    backend: str  # "decord", "pyav", "pyav-sequential", "folder", "joined"
    reasons: tuple[str, ...] = ()  # why this backend and not a faster one

    @abstractmethod
    def __len__(self) -> int:
        """Number of frames that a sequential decode gives."""

    @property
    @abstractmethod
    def fps(self) -> float | None:
        """Frames per second; `None` where the footage does not say (a folder of frames)."""

    @property
    @abstractmethod
    def size(self) -> tuple[int, int]:
        """Width and height of the frames as returned, rotation applied."""

    @abstractmethod
    def frames(self, indices: Sequence[int] | np.ndarray, *, size: tuple[int, int] | None = None) -> np.ndarray:
        """Frames at `indices` as uint8 RGB (n, h, w, 3), in the order asked; repeats are allowed.

        Args:
            size: Width and height that each frame is stretched to; `None` for the footage's own. Bilinear, averaging
                where it shrinks. FFmpeg scales as it decodes, other readers leave it to Pillow: grey differs by a level
                on average, colour at edges by more.

        Raises `IndexError` for an index outside [0, len) and `VideoError` where a frame cannot be decoded.
        """

    @abstractmethod
    def __iter__(self) -> Iterator[np.ndarray]:
        """Every frame once, in order, each uint8 RGB (h, w, 3): one sequential decode with bounded memory."""

    @abstractmethod
    def close(self) -> None:
        """Release file handles and threads; a closed reader raises on use."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
