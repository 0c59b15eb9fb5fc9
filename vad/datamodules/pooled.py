"""Pooled bags, held in memory: a bag is read and pooled when it is first asked for, and only gathered from then on."""

import mmap
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from vad.datamodules.rows import fits_in_memory
from vad.datamodules.segments import Pooling, pool, pooled_length
from vad.datamodules.snippets import Snippets


class PooledBags:
    """Every video as a bag of segments.

    Held bags lie in memory that worker processes share if they are forked, as all rows (sum of crops * `length` + 1, D)
    of a stream, bag by bag and crop by crop; the last row is the zeros that short bags are padded with. A batch is then
    one gather of rows for each stream.

    Args:
        snippets: Of the videos.
        segments: Rows of a bag; `None` for every snippet.
        pooling: What becomes of bags with fewer snippets than segments.
        in_memory: Hold the bags, or pool them anew each time; `auto` holds what takes less than a quarter of what is
            free.
    """

    def __init__(
        self, snippets: Snippets, *, segments: int | None, pooling: Pooling, in_memory: bool | Literal["auto"] = "auto"
    ) -> None:
        self.snippets = snippets
        self.segments = segments
        self.pooling: Pooling = pooling
        self.length = np.array([pooled_length(int(n), segments, pooling) for n in snippets.length], np.int64)  # (v,)
        self.offsets = np.concatenate([[0], np.cumsum(self.length)])  # int64 (v + 1,)
        self.hold = fits_in_memory(self.nbytes, in_memory)
        self._held: list[Tensor] = []
        self._filled = np.zeros(0, bool)

    def __len__(self) -> int:
        return len(self.length)

    @property
    def nbytes(self) -> int:
        """Bytes of all bags."""
        streams = range(self.snippets.streams)
        return sum(2 * self._count(stream) * self.snippets.dim(stream) for stream in streams)

    def gather(self, bags: np.ndarray, crops: np.ndarray) -> tuple[Tensor, ...]:
        """Some crops of some bags: float16 (B, C, L, D) for each stream, zeros behind the length of a bag.

        Args:
            bags: int64 (B,).
            crops: int64 (B, C); a stream with one crop gives it for each.

        L is `segments`, or the length of the longest of these bags.
        """
        longest = int(self.length[bags].max()) if self.segments is None else self.segments
        if not self.hold:
            return self._pooled_anew(bags, crops, longest)
        self._fill(bags)
        segment = np.arange(longest)
        length = self.length[bags, None, None]  # (B, 1, 1)
        streams = []
        for number, held in enumerate(self._held):
            in_stream = self.snippets.crops(number)
            crop = crops[..., None] * (in_stream > 1)
            row = in_stream * self.offsets[bags, None, None] + crop * length + segment  # (B, C, L)
            row = np.where(segment < length, row, len(held) - 1)
            # numpy asks for huge pages where torch does not: without 13,000 page faults it takes a third of the time
            out = torch.from_numpy(np.empty((row.size, held.shape[1]), np.float16))
            torch.index_select(held, 0, torch.from_numpy(row.ravel()), out=out)
            streams.append(out.view(*crops.shape, longest, held.shape[1]))
        return tuple(streams)

    def _pooled_anew(self, bags: np.ndarray, crops: np.ndarray, longest: int) -> tuple[Tensor, ...]:
        streams = []
        for number in range(self.snippets.streams):
            shape = (*crops.shape, longest, self.snippets.dim(number))
            out = torch.zeros(shape, dtype=torch.float16)
            for row, (bag, its_crops) in enumerate(zip(bags.tolist(), crops, strict=True)):
                pooled = self._pool(bag, number)
                out[row, :, : pooled.shape[1]] = pooled[its_crops if len(pooled) > 1 else [0]]
            streams.append(out)
        return tuple(streams)

    def _pool(self, bag: int, stream: int) -> Tensor:
        """One bag, (crops, length, D)."""
        return pool(self.snippets.read(bag, stream), self.segments, self.pooling).transpose(0, 1)

    def _count(self, stream: int) -> int:
        return self.snippets.crops(stream) * int(self.offsets[-1]) + 1

    def _fill(self, bags: np.ndarray) -> None:
        """Pool what nobody has asked for before. Two workers may fill one bag, with the same values."""
        if not self._held:
            self.share()
        for bag in np.unique(bags[~self._filled[bags]]).tolist():
            for number, held in enumerate(self._held):
                start, stop = (self.snippets.crops(number) * self.offsets[bag : bag + 2]).tolist()
                held[start:stop] = self._pool(bag, number).reshape(stop - start, -1)
            self._filled[bag] = True

    def share(self) -> None:
        """Take the memory, before workers are forked that shall share it."""
        if self.hold and not self._held:
            for number in range(self.snippets.streams):
                shape = (self._count(number), self.snippets.dim(number))
                memory = mmap.mmap(-1, 2 * shape[0] * shape[1])  # zeros, that take room when they are written
                self._held.append(torch.frombuffer(memory, dtype=torch.float16).view(shape))
            self._filled = np.frombuffer(mmap.mmap(-1, len(self)), bool)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_held": [], "_filled": np.zeros(0, bool)}  # a worker that is not forked holds its own
