"""Files of feature packs: found below folders, read without unpickling anything."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vad import files
from vad.benchmarks.frame_folders import walk
from vad.errors import DataError, VadError

READ = (".npy", ".txt")

# How a file that is not read becomes `.npy`: what `f` is loaded by. Only those of unpickled kinds are safe to load.
_LOADED = {
    ".npz": "next(iter(n.load(f).values()))",
    ".npy": "n.load(f, allow_pickle=True)",
    ".pkl": "n.load(f, allow_pickle=True)",
    ".pickle": "n.load(f, allow_pickle=True)",
    ".pt": "torch.load(f, 'cpu')",
    ".pth": "torch.load(f, 'cpu')",
}
_HDF5 = (".h5", ".hdf5")
REFUSED = (*(suffix for suffix in _LOADED if suffix not in READ), *_HDF5)


@dataclass(frozen=True)
class PackFile:
    """One file: what its header says, and the state that it was in."""

    path: Path
    shape: tuple[int, ...]
    size: int
    mtime_ns: int

    @property
    def state(self) -> list[str | int]:
        """What tells a changed file, wherever the pack lies."""
        return [self.path.name, self.size, self.mtime_ns]

    @property
    def is_text(self) -> bool:
        return self.path.suffix == ".txt"


def below(sources: Sequence[Path]) -> list[tuple[Path, tuple[str, ...]]]:
    """Every visible file of a kind that packs come in, with the parts of its path below its source."""
    found = []
    for source in sources:
        if not source.is_dir():
            raise DataError(f"--source: there is no folder {source}")
        for folder, names in walk(source):
            parts = folder.relative_to(source).parts
            found += [(folder / name, (*parts, name)) for name in names if name.endswith((*READ, *REFUSED))]
    return found


def inspect(path: Path) -> PackFile:
    """Shape and state of a file, from its header; of a text all lines are counted.

    Raises `DataError` for one that is empty, cut short, pickled, of another type, or no text of numbers.
    """
    try:
        stat = path.stat()
        if not stat.st_size:
            raise DataError(f"{path}: is empty")
        shape = _text_shape(path) if path.suffix == ".txt" else _npy_shape(path)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from None
    return PackFile(path, shape, stat.st_size, stat.st_mtime_ns)


def read(file: PackFile) -> np.ndarray:
    """What a file holds, memory-mapped where it can be. Raises `DataError` where it is not what `inspect` found."""
    if file.is_text:
        try:
            array = np.loadtxt(file.path, np.float32, comments=None, ndmin=2, encoding="utf-8")
        except (OSError, ValueError) as error:
            raise DataError(f"{file.path}: cannot be read as text of numbers ({_line(error)})") from None
    else:
        array = _mapped(file.path)
    if array.shape != file.shape:
        raise DataError(f"{file.path}: was changed while it was imported")
    return array


def ends_in_norm(file: PackFile) -> bool:
    """Whether the last of 128 k + 1 channels is the norm of the others."""
    return file.shape[-1] % 128 == 1 and file.shape[-1] > 128 and norm_is_last(read(file))


def norm_is_last(array: np.ndarray) -> bool:
    """Whether the last channel is the L2 norm of the others, to the precision of float16."""
    vectors = array.reshape(-1, array.shape[-1]).astype(np.float32)
    return bool(np.allclose(np.linalg.norm(vectors[:, :-1], axis=1), vectors[:, -1], rtol=5e-3, atol=1e-3))


def conversion(path: Path) -> str:
    """The command that makes `.npy` files of those of a kind that is not read."""
    suffix = path.suffix
    if suffix in _HDF5:
        loop = "[n.save(k.split('.npy')[0] + '.npy', h[k]) for f in sys.argv[1:] for h in [h5py.File(f)] for k in h]"
        return f'python -c "import h5py, numpy as n, sys; {loop}" "{path}"'
    imports = "numpy as n, sys, torch" if "torch" in _LOADED[suffix] else "numpy as n, sys"
    rows = f"n.stack([n.asarray(row, 'f4') for row in {_LOADED[suffix]}])"
    return (
        f"python -c \"import {imports}; [n.save(f[:-{len(suffix)}] + '.npy', {rows}) for f in sys.argv[1:]]\" "
        f'"{path.parent}"/*{suffix}'
    )


def refuse(path: Path) -> DataError:
    """The error for a file that would have to be unpickled, or is of a kind that is not read."""
    if path.suffix in (".npz", *_HDF5):
        return DataError(f"{path}: {path.suffix} is not read; convert it:  {conversion(path)}")
    return DataError(
        f"{path}: is a pickle, which can run any code when it is read; if you trust its authors, convert it:  "
        f"{conversion(path)}"
    )


def _text_shape(path: Path) -> tuple[int, ...]:
    lines = [line for line in path.read_bytes().splitlines() if line.strip()]
    return (len(lines), len(lines[0].split()) if lines else 0)


def _npy_shape(path: Path) -> tuple[int, ...]:
    with path.open("rb") as stream:
        head = stream.read(128)
    if path.suffix in REFUSED or b"|O" in head or head.startswith((b"\x80", b"PK")):
        raise refuse(path)
    array = _mapped(path)
    if array.dtype.kind != "f":
        raise DataError(f"{path}: holds {array.dtype}, expected floats")
    return array.shape


def _mapped(path: Path) -> np.ndarray:
    try:
        return files.read_npy(path, mmap=True)
    except VadError as error:
        raise DataError(str(error)) from None


def _line(error: Exception) -> str:
    return " ".join(str(error).split())
