"""Where are a network's weights? By path, or by a name whose file is known by its hash."""

import hashlib
import http.client
import urllib.request
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import NamedTuple

from vad import files
from vad.benchmarks.benchmark import data_root
from vad.cache import cache_root
from vad.errors import VadError


class Published(NamedTuple):
    """Weights that everybody can have, in files that differ in other things alone."""

    file: str
    sha256: tuple[str, ...]  # of every such file; the first stands for the weights in recipes
    url: str  # gives one of them


PUBLISHED: Mapping[str, Published] = {
    # COCO, 80 classes; the same weights exported with free batch and size, and with 1 x 416 x 416
    "yolox_nano": Published(
        "yolox_nano.onnx",
        (
            "0ee790864a90c4eae9612e366c7b325b2e28a113b34165956264ce3cff49bad3",
            "695e750a5d5754bb5a8d5325643b59282191a7e7a564e435a415fd3c578eab14",
        ),
        "https://raw.githubusercontent.com/Kazuhito00/YOLOX-ONNX-TFLite-Sample/"
        "3d4f1119d0694200671c08069ecb847aa0d8495a/model/yolox_nano.onnx",
    ),
}


def weights_hash(weights: str) -> str:
    """SHA-256 of weights given by name or path; a known name needs no file."""
    return PUBLISHED[weights].sha256[0] if weights in PUBLISHED else file_hash(find_weights(weights))


def find_weights(weights: str) -> Path:
    """The file of weights given by name or path.

    A known name is looked for in `$VAD_DATA/weights` and `$VAD_CACHE/weights`, then downloaded to the latter. Raises
    `VadError` for a missing file, for one with another content than the name promises, and where there is no network.
    """
    if weights not in PUBLISHED:
        path = Path(weights)
        if path.is_file():
            return path.resolve()
        raise VadError(f"weights: there is no file '{weights}', and no published weights of that name ({_names()})")
    known = PUBLISHED[weights]
    cached = cache_root() / "weights" / known.file
    for path in (data_root() / "weights" / known.file, cached):
        if path.is_file():
            if file_hash(path) not in known.sha256:
                raise VadError(
                    f"{path}: is not the published {weights} (SHA-256 differs); move it away or give its path"
                )
            return path
    _download(known, cached)
    return cached


def _download(known: Published, target: Path) -> None:
    where = f"put {known.file} (SHA-256 {known.sha256[0]}) into {data_root() / 'weights'} or {target.parent}"
    try:
        with urllib.request.urlopen(known.url, timeout=30) as answer:
            content = answer.read()
    except (OSError, http.client.HTTPException) as error:  # urllib's own errors are OSErrors
        raise VadError(f"weights: {known.url} cannot be downloaded ({error}); {where}") from None
    if hashlib.sha256(content).hexdigest() not in known.sha256:
        raise VadError(f"weights: {known.url} gave another file than expected (SHA-256 differs); {where}")
    with files.atomic_write(target) as stream:
        stream.write(content)


def file_hash(path: Path) -> str:
    """SHA-256 of a file; `VadError` where it is missing or cannot be read."""
    try:
        state = path.stat()
        return _hash_state(str(path), state.st_size, state.st_mtime_ns)
    except FileNotFoundError:
        raise VadError(f"{path}: there is no such file") from None
    except OSError as error:
        raise VadError(f"{path}: cannot be read ({error.strerror})") from None


def model_hashes(folder: Path) -> dict[str, str]:
    """SHA-256 of the files by which transformers reads a model: how pixels are normalised may stand in one of them."""
    names = ["config.json", "model.safetensors"]
    names += [name for name in ("preprocessor_config.json",) if (folder / name).is_file()]
    return {name: file_hash(folder / name) for name in names}


@cache
def _hash_state(path: str, size: int, mtime_ns: int) -> str:
    """Recipes ask for the hash again and again; a file is read once for each of its states."""
    return files.sha256(path)


def _names() -> str:
    return ", ".join(PUBLISHED)
