"""Files are written in one way: a temporary name beside the target, flush, rename. Nothing is ever unpickled."""

import errno
import hashlib
import json
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np

from vad.errors import VadError

PARTIAL_SUFFIX = ".partial"  # what a killed process may leave; never read, removed by `vad cache prune`


def cache_root() -> Path:
    """`$VAD_CACHE`, by default `cache/`: everything that can be computed again lies below it."""
    return Path(os.environ.get("VAD_CACHE", "cache"))


def runs_root() -> Path:
    """`$VAD_RUNS`, by default `runs/`: what was trained lies below it."""
    return Path(os.environ.get("VAD_RUNS", "runs"))


@contextmanager
def atomic_write(path: str | Path) -> Iterator[IO[bytes]]:
    """Open a binary stream whose content appears at `path` completely or not at all.

    The stream is a hidden file in the same folder (a rename across file systems would be a copy). It is flushed to the
    disk before it takes the name, and so is the folder afterwards. An exception inside the block removes it; an
    `OSError` (a full disk, a folder that is read-only) names the file.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.parent / f".{path.name}.{uuid.uuid4().hex}{PARTIAL_SUFFIX}"
    try:
        with temporary.open("wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    except OSError as error:  # numpy's own says neither number nor file
        temporary.unlink(missing_ok=True)
        raise OSError(error.errno or errno.EIO, error.strerror or str(error), str(path)) from error
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make a rename inside `folder` survive a power failure."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_text(path: str | Path, text: str) -> None:
    """Write UTF-8 text atomically."""
    with atomic_write(path) as stream:
        stream.write(text.encode())


def write_json(path: str | Path, value: Any) -> None:
    """Write JSON atomically, indented, keys in the order given; NaN and infinities are refused."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: str | Path) -> Any:
    """Read JSON; a damaged or missing file is a `VadError` that names it."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise VadError(f"{path}: no such file") from None
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise VadError(f"{path}: cannot be read as JSON ({error})") from None


def write_npy(path: str | Path, array: np.ndarray) -> None:
    """Write one `.npy` atomically; object arrays are refused."""
    with atomic_write(path) as stream:
        np.save(stream, array, allow_pickle=False)


def read_npy(path: str | Path, *, mmap: bool = False) -> np.ndarray:
    """Read one `.npy`, memory-mapped if asked; pickles and damaged files are a `VadError` that names the file."""
    try:
        if mmap and Path(path).stat().st_size > 0:
            return np.load(path, mmap_mode="r", allow_pickle=False)
        with Path(path).open("rb") as stream:
            return np.lib.format.read_array(stream, allow_pickle=False)
    except FileNotFoundError:
        raise VadError(f"{path}: no such file") from None
    except (OSError, ValueError, EOFError, SyntaxError, MemoryError, OverflowError) as error:
        raise VadError(f"{path}: cannot be read as a NumPy array ({' '.join(str(error).split())})") from None


def sha256(path: str | Path) -> str:
    """Hexadecimal SHA-256 of a file's content."""
    with Path(path).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def hash_json(value: Any, digits: int = 12) -> str:
    """A short hexadecimal hash of a JSON value; the order of keys does not count."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:digits]


def identity(path: str | Path) -> dict[str, int | str]:
    """What tells one state of a video from another without reading all of it.

    A file: size, modification time and the SHA-256 of its first and last 64 KiB. A folder of frames: number, summed
    size and latest modification time of its visible files, and a hash of their names and sizes.
    """
    path = Path(path)
    if path.is_dir():
        entries = sorted(
            (e for e in os.scandir(path) if e.is_file() and not e.name.startswith(".")), key=lambda e: e.name
        )
        stats = [entry.stat() for entry in entries]
        return {
            "files": len(entries),
            "size": sum(s.st_size for s in stats),
            "mtime_ns": max((s.st_mtime_ns for s in stats), default=0),
            "fingerprint": hash_json([[e.name, s.st_size] for e, s in zip(entries, stats, strict=True)], 16),
        }
    stat = path.stat()
    with path.open("rb") as stream:
        digest = hashlib.sha256(stream.read(65536))
        stream.seek(max(0, stat.st_size - 65536))
        digest.update(stream.read(65536))
    return {"size": stat.st_size, "mtime_ns": stat.st_mtime_ns, "fingerprint": digest.hexdigest()[:16]}
