"""The `.npz` of a scores file: ordinary enough for `numpy.load`, and safe to read from anybody.

Members are stored, not compressed: the size of what is read is the size of what lies there, and equal arrays are equal
bytes whatever library wrote them. Nothing is unpickled.
"""

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO

import numpy as np

from vad import files
from vad.errors import ScoresError

MEMBERS: Mapping[str, tuple[str, int]] = {  # name -> dtype, columns (0: a vector)
    "header": ("|u1", 0),
    "offsets": ("<i8", 0),
    "score": ("<f8", 0),
    "group": ("<i2", 0),
    "frame": ("<i4", 0),
    "box": ("<f4", 4),
    "first": ("<i4", 0),
    "end": ("<i4", 0),
}
HEAD = ("<f4", 0)


def member(name: str) -> tuple[str, int]:
    """The dtype and the number of columns (0: a vector) of the member `name`."""
    return MEMBERS.get(name, HEAD)


def write_members(path: str | Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays atomically, sorted by name, each with the dtype that belongs to it."""
    with files.atomic_write(path) as stream, zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        for name, array in sorted(arrays.items()):
            _write_member(archive, name, np.ascontiguousarray(array, dtype=member(name)[0]))


def _write_member(archive: zipfile.ZipFile, name: str, array: np.ndarray) -> None:
    info = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
    info.create_system = 3  # the same bytes on every system
    info.external_attr = 0o644 << 16
    info.file_size = array.nbytes + 128  # lets zipfile choose the format for large members beforehand
    with archive.open(info, "w") as stream:
        np.lib.format.write_array(stream, array, version=(1, 0), allow_pickle=False)


def read_members(path: Path) -> dict[str, np.ndarray]:
    """Every member as an array. Nothing is allocated that the file does not hold."""
    arrays: dict[str, np.ndarray] = {}
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            if sum(entry.file_size for entry in entries) > path.stat().st_size:
                raise ScoresError("holds members that are larger than the file")
            for entry in entries:
                name = entry.filename.removesuffix(".npy")
                if not (name in MEMBERS or name.startswith("head.")) or name in arrays:
                    raise ScoresError(f"has the member '{entry.filename}', which a scores file has not, or twice")
                if entry.compress_type != zipfile.ZIP_STORED or entry.flag_bits & 1:
                    raise ScoresError(f"has the compressed or encrypted member '{name}', which vad does not write")
                with archive.open(entry) as stream:
                    arrays[name] = _read_array(stream, entry.file_size, name)
    except (zipfile.BadZipFile, NotImplementedError) as error:
        raise ScoresError(f"is no scores file ({error})") from None
    except (
        Exception
    ) as error:  # zipfile meets damaged archives with errors of many kinds (struct.error, UnicodeError, ...)
        if isinstance(error, ScoresError | FileNotFoundError):
            raise
        raise ScoresError(f"is no scores file ({' '.join(str(error).split()) or type(error).__name__})") from None
    return arrays


def _read_array(stream: IO[bytes], size: int, name: str) -> np.ndarray:
    """One array of the dtype that belongs to its name; its size is checked before it is allocated."""
    if np.lib.format.read_magic(stream) != (1, 0):
        raise ScoresError(f"member '{name}' is of another npy version than 1.0")
    shape, fortran, dtype = np.lib.format.read_array_header_1_0(stream)
    wanted, columns = member(name)
    if dtype != np.dtype(wanted) or fortran or len(shape) != (2 if columns else 1) or (columns and shape[1] != columns):
        raise ScoresError(f"member '{name}' must be {np.dtype(wanted).name}, one row for each score, C order")
    if int(np.prod(shape, dtype=object)) * dtype.itemsize != size - stream.tell():
        raise ScoresError(f"member '{name}' claims the shape {shape}, but holds {size - stream.tell()} bytes")
    array = np.empty(shape, dtype=dtype)
    view = memoryview(array.data).cast("B") if array.size else memoryview(b"")
    at = 0
    while at < len(view):
        block = stream.read(min(1 << 20, len(view) - at))
        if not block:
            raise ScoresError(f"member '{name}' is cut short")
        view[at : at + len(block)] = block
        at += len(block)
    stream.read(1)  # at its end zipfile compares the checksum
    return array
