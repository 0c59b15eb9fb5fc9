"""Avenue's labels as they are published: masks of every frame in one MATLAB file a clip, or labels of frames."""

import hashlib
import json
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vad import files
from vad.benchmarks.regions import regions_from_masks
from vad.errors import DataError
from vad.types import Regions

MASKS = "volLabel"  # cell array (1, n) of masks uint8 (h, w)
VERSION = 1  # of what is kept: raise it when the same file gives other masks or regions


@dataclass(frozen=True)
class ClipMasks:
    """The masks of one clip: those that are not empty as packed bits, 29 kB a frame."""

    frames: np.ndarray  # uint8 (n,), 1 where a pixel is marked
    size: tuple[int, int]  # width, height
    marked: np.ndarray  # int32 (k,), the frames that have a mask, ascending
    bits: np.ndarray  # uint8 (k, ceil(h * w / 8))
    regions: Regions

    def mask(self, frame: int) -> np.ndarray:
        """The mask of a frame, bool (h, w)."""
        width, height = self.size
        if not self.frames[frame]:
            return np.zeros((height, width), bool)
        row = self.bits[np.searchsorted(self.marked, frame)]
        return np.unpackbits(row, count=height * width).reshape(height, width).astype(bool)


def variables(path: Path) -> set[str]:
    """Names of the variables of a MATLAB file, which is not read in full."""
    from scipy.io import whosmat  # 0.3 s, which commands that read no such file do not wait for

    try:
        return {name for name, _, _ in whosmat(path)}
    except (OSError, ValueError, NotImplementedError, TypeError) as error:
        raise _unreadable(path, error) from None


def read_frame_labels(path: Path) -> dict[int, np.ndarray]:
    """Labels uint8 (n,) of each test clip by its number, from variables named 01 to 21."""
    labels: dict[int, np.ndarray] = {}
    for name, value in _load(path).items():
        if not name.isdecimal():
            continue
        if value.size != max(value.shape) or not np.isin(value, (0, 1)).all():
            raise DataError(f"{path}: expected a vector of 0 and 1 as '{name}', got {value.dtype} {value.shape}")
        labels[int(name)] = value.ravel().astype(np.uint8)
    return labels


def kept_masks(path: Path) -> ClipMasks:
    """The masks of a clip, kept in `$VAD_CACHE/masks` by path, size and modification time.

    The largest file holds 330 MB of masks and takes seconds to read; what is kept of it is some 100 kB.
    """
    stat = path.stat()
    state = json.dumps([VERSION, str(path.absolute()), stat.st_size, stat.st_mtime_ns])
    place = files.cache_root() / "masks" / f"{hashlib.sha256(state.encode()).hexdigest()[:24]}.npz"
    try:
        with np.load(place, allow_pickle=False) as kept:
            return _from_arrays(dict(kept))
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error):
        masks = read_masks(path)
    with suppress(OSError), files.atomic_write(place) as stream:  # it costs time, and is right, without
        np.savez_compressed(stream, **_as_arrays(masks))
    return masks


def read_masks(path: Path) -> ClipMasks:
    """The masks of a clip from its official file, and the regions derived from them."""
    content = _load(path, MASKS)
    if MASKS not in content:
        raise DataError(f"{path}: there is no variable '{MASKS}'")
    cells = content[MASKS].ravel()
    if not cells.size or cells.dtype != object or cells[0].ndim != 2:
        raise DataError(f"{path}: expected a cell array of masks as '{MASKS}', got {cells.dtype} {cells.shape}")
    height, width = cells[0].shape
    bits: list[np.ndarray] = []
    marked: list[int] = []

    def masks() -> Iterator[np.ndarray]:
        for frame, cell in enumerate(cells):
            if cell.shape != (height, width):
                raise DataError(f"{path}: the mask of frame {frame} is {cell.shape}, the first one {(height, width)}")
            mask = cell > 0
            if mask.any():
                marked.append(frame)
                bits.append(np.packbits(mask))
            yield mask

    regions = regions_from_masks(masks())
    frames = np.zeros(len(cells), np.uint8)
    frames[marked] = 1
    packed = np.stack(bits) if bits else np.zeros((0, -(-height * width // 8)), np.uint8)
    return ClipMasks(frames, (width, height), np.array(marked, np.int32), packed, regions)


def _as_arrays(masks: ClipMasks) -> dict[str, Any]:
    regions = masks.regions
    return {
        **{name: np.asarray(getattr(masks, name)) for name in ("frames", "size", "marked", "bits")},
        **{name: getattr(regions, name) for name in ("frame", "box", "track")},
    }


def _from_arrays(kept: dict[str, np.ndarray]) -> ClipMasks:
    width, height = (int(side) for side in kept["size"])
    regions = Regions(kept["frame"], kept["box"], kept["track"], derived=True)
    return ClipMasks(kept["frames"], (width, height), kept["marked"], kept["bits"], regions)


def _load(path: Path, *names: str) -> dict[str, Any]:
    from scipy.io import loadmat

    try:
        return loadmat(path, variable_names=names or None)
    except Exception as error:  # a cut file gives whatever zlib and the parser meet
        raise _unreadable(path, error) from None


def _unreadable(path: Path, error: Exception) -> DataError:
    return DataError(f"{path}: cannot be read as a MATLAB file ({' '.join(str(error).split())})")
