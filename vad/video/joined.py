"""Several videos, or parts of them, as one; nothing is encoded again."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from vad.errors import VideoError
from vad.video.local_reader import LocalReader
from vad.video.resize import resize
from vad.video.video_reader import VideoReader


class JoinedReader(LocalReader):
    """Frames [start, stop) of each reader, one after the other.

    Frames that are asked for at another size are scaled once, by the readers, and not from the size of the whole: a
    frame that FFmpeg scaled may differ by a grey level or two from one that was stretched here, with Pillow.

    Args:
        readers: Open readers, which this one closes; a reader may occur more than once.
        parts: One (start, stop) for each reader; `None` takes all of each.
        size: Width and height that every frame is stretched to; `None` where all readers have one size.
        path: What errors name; by default the first reader's path.

    Raises `VideoError` where sizes differ without `size`, and `ValueError` for a part outside its reader.
    """

    backend = "joined"

    def __init__(
        self,
        readers: Sequence[VideoReader],
        parts: Sequence[tuple[int, int]] | None = None,
        *,
        size: tuple[int, int] | None = None,
        path: str | Path | None = None,
    ) -> None:
        super().__init__(
            Path(path if path is not None else getattr(readers[0], "path", "joined") if readers else "joined")
        )
        if not readers:
            raise ValueError("a joined reader needs at least one reader")
        self._readers = list(readers)
        self._parts = [(0, len(r)) for r in readers] if parts is None else [(int(a), int(b)) for a, b in parts]
        if len(self._parts) != len(self._readers):
            raise ValueError(f"{self.path}: {len(self._readers)} readers, but {len(self._parts)} parts")
        for reader, (start, stop) in zip(self._readers, self._parts, strict=True):
            if not 0 <= start < stop <= len(reader):
                raise ValueError(f"{self.path}: no frames [{start}, {stop}) in a video of {len(reader)} frames")
        sizes = {reader.size for reader in self._readers}
        if size is None and len(sizes) > 1:
            words = ", ".join(f"{w} x {h}" for w, h in sorted(sizes))
            raise VideoError(
                self.path, f"joins videos of several sizes ({words}): give the size that all are stretched to"
            )
        self._size = self._readers[0].size if size is None else (size[0], size[1])
        self._ends = np.cumsum([stop - start for start, stop in self._parts])
        self.reasons = tuple(dict.fromkeys(reason for reader in self._readers for reason in reader.reasons))

    @property
    def cuts(self) -> tuple[int, ...]:
        """Frames at which another part begins."""
        return tuple(int(end) for end in self._ends[:-1])

    def __len__(self) -> int:
        return int(self._ends[-1])

    @property
    def fps(self) -> float | None:
        """That of the readers; `None` where they differ."""
        rates = {reader.fps for reader in self._readers}
        return rates.pop() if len(rates) == 1 else None

    @property
    def size(self) -> tuple[int, int]:
        return self._size

    def frames(self, indices: Sequence[int] | np.ndarray, *, size: tuple[int, int] | None = None) -> np.ndarray:
        wanted = self._wanted(indices)
        pictures = self._empty(len(wanted), size)
        own = size is None or tuple(size) == self._size
        part = np.searchsorted(self._ends, wanted, side="right")
        for k in np.unique(part):
            rows = np.flatnonzero(part == k)
            start, stop = self._parts[k]
            inside = wanted[rows] - (self._ends[k] - (stop - start)) + start
            if not own:
                pictures[rows] = self._readers[k].frames(inside, size=size)
                continue
            for row, picture in zip(rows, self._readers[k].frames(inside), strict=True):
                pictures[row] = resize(picture, self._size)
        return pictures

    def __iter__(self) -> Iterator[np.ndarray]:
        self._check()
        for reader, (start, stop) in zip(self._readers, self._parts, strict=True):
            if start == 0:
                for index, picture in enumerate(reader):
                    if index < stop:
                        yield resize(picture, self._size)
                    if index + 1 >= stop and stop < len(reader):
                        break  # a whole video is read to its end, where it shows that nothing is missing
            else:
                for index in range(start, stop):
                    yield resize(reader.frames([index])[0], self._size)

    def close(self) -> None:
        super().close()
        for reader in self._readers:
            reader.close()
