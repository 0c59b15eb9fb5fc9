"""Rows of many cache entries, read as if they were one array."""

import os
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from vad.cache import Entry
from vad.errors import CacheError

MAPS = 128  # files mapped at once: far below the usual limit of 1,024 open files of a process


class Stretch(NamedTuple):
    """Rows [start, stop) of the arrays of one entry."""

    entry: Entry
    start: int
    stop: int


class StackedRows:
    """One array over stretches of entries, one after another: position p is a row of the stretch that p falls into.

    A gather touches each entry once and copies each row once. Rows are read through memory maps, of which at most
    `MAPS` stay open, or are held in memory.
    """

    def __init__(self, name: str, stretches: Sequence[Stretch]) -> None:
        self.name = name
        self.stretches = [stretch for stretch in stretches if stretch.stop > stretch.start]
        lengths = [stretch.stop - stretch.start for stretch in self.stretches]
        self._starts = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
        self._maps: OrderedDict[int, np.ndarray] = OrderedDict()
        self._held: np.ndarray | None = None
        self.dtype = np.dtype(np.uint8)
        self.row_shape: tuple[int, ...] = ()
        for number, stretch in enumerate(self.stretches):
            dtype, shape = stretch.entry.describe()["arrays"].get(name, ["", [0]])
            if number == 0 and dtype:
                self.dtype, self.row_shape = np.dtype(dtype), tuple(shape[1:])
            if dtype != str(self.dtype) or tuple(shape[1:]) != self.row_shape or shape[0] < stretch.stop:
                raise CacheError(
                    f"{stretch.entry.folder}: '{name}' is {dtype or 'missing'} {tuple(shape)}, expected {self.dtype} "
                    f"(>= {stretch.stop}, {', '.join(map(str, self.row_shape))}); delete the folder and extract again"
                )

    def __len__(self) -> int:
        return int(self._starts[-1])

    @property
    def nbytes(self) -> int:
        """Bytes of all rows."""
        return len(self) * self.dtype.itemsize * int(np.prod(self.row_shape, dtype=np.int64))

    def hold(self) -> None:
        """Read all rows into memory."""
        if self._held is None:
            held = np.empty((len(self), *self.row_shape), self.dtype)
            for number, stretch in enumerate(self.stretches):
                target = held[self._starts[number] : self._starts[number + 1]]
                target[:] = stretch.entry.read(self.name)[stretch.start : stretch.stop]
            self._held = held

    def gather(self, positions: np.ndarray) -> np.ndarray:
        """The rows at ascending `positions`, (len(positions), ...)."""
        rows = np.empty((len(positions), *self.row_shape), self.dtype)
        if self._held is not None:  # mode="clip" lets numpy write into `out` without a copy between
            return np.take(self._held, positions, axis=0, out=rows, mode="clip")
        cuts = np.searchsorted(positions, self._starts)
        for number in np.flatnonzero(np.diff(cuts)):
            part = slice(cuts[number], cuts[number + 1])
            inside = positions[part] - self._starts[number] + self.stretches[number].start
            np.take(self._map(int(number)), inside, axis=0, out=rows[part], mode="clip")
        return rows

    def _map(self, number: int) -> np.ndarray:
        if number not in self._maps:
            self._maps[number] = self.stretches[number].entry.read(self.name)
            if len(self._maps) > MAPS:
                self._maps.popitem(last=False)
        self._maps.move_to_end(number)
        return self._maps[number]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_maps": OrderedDict()}  # a pickled memory map would carry its whole file


def hold_in_memory(arrays: Sequence[StackedRows], in_memory: bool | Literal["auto"]) -> None:
    """Hold arrays in memory where `fits_in_memory` says so."""
    if fits_in_memory(sum(array.nbytes for array in arrays), in_memory):
        for array in arrays:
            array.hold()


def fits_in_memory(nbytes: int, in_memory: bool | Literal["auto"]) -> bool:
    """Whether to hold so much in memory: as asked, or with `auto` if it is less than a quarter of what is free here.

    Processes on one machine (`LOCAL_WORLD_SIZE`) share what is free.
    """
    if in_memory == "auto":
        return nbytes < available_memory() / 4 / int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    return in_memory


def available_memory() -> int:
    """Bytes that can be taken without swapping; 0 where the system does not say."""
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError):
        return 0
