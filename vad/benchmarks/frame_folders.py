"""Folders of numbered images, as benchmarks without video files are distributed."""

import os
import re
import warnings
from collections.abc import Collection, Iterator
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from vad.errors import DataError

IMAGE_SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff"})


def walk(root: Path, leaf: re.Pattern[str] | None = None) -> Iterator[tuple[Path, list[str]]]:
    """Every visible folder below `root` with the names of its visible files, sorted; links are followed, loops are not.

    Archives made on a Mac hold `.DS_Store` and `._001.tif` beside the frames: whatever starts with a dot is left out. A
    folder whose whole name matches `leaf` is not entered: it stands with no files, and costs no listing of its frames.
    One that cannot be read is a `DataError`, since its videos would be left out in silence.
    """
    seen: set[str] = set()
    for folder, folders, files in os.walk(root, followlinks=True, onerror=_refuse):
        real = os.path.realpath(folder)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        visible = sorted(name for name in folders if not name.startswith("."))
        leaves = [name for name in visible if leaf is not None and leaf.fullmatch(name)]
        folders[:] = [name for name in visible if name not in leaves]
        yield Path(folder), sorted(name for name in files if not name.startswith("."))
        for name in leaves:
            yield Path(folder, name), []


def _refuse(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError | NotADirectoryError):
        raise DataError(f"{error.filename}: cannot be read ({error.strerror}); mend its permissions") from None


def places_by_name(root: Path, leaf: re.Pattern[str] | None = None) -> dict[str, list[Path]]:
    """Every visible file and folder below `root` by its name, the shallowest first."""
    places: dict[str, list[Path]] = {}
    for folder, names in walk(root, leaf):
        for place in (folder, *(folder / name for name in names)):
            places.setdefault(place.name, []).append(place)
    return {name: sorted(paths, key=lambda path: (len(path.parts), path)) for name, paths in places.items()}


def numbered(folder: Path, names: list[str]) -> dict[int, Path]:
    """Image files of a folder by the last integer in their names, ascending.

    Never by the order of names: some packs are not padded (`0.jpg` ... `10.jpg`), some masks are called `frame001.bmp`.
    Raises `DataError` where two files have one number.
    """
    images: dict[int, str] = {}
    for name in names:
        stem, suffix = os.path.splitext(name)
        digits = re.findall(r"\d+", stem)
        if suffix.lower() not in IMAGE_SUFFIXES or not digits:
            continue
        number = int(digits[-1])
        if number in images:
            raise DataError(f"{folder}: {images[number]} and {name} are both number {number}, remove one of them")
        images[number] = name
    return {number: folder / images[number] for number in sorted(images)}


def first_number(numbers: Collection[int]) -> int:
    """Whether a sequence counts from 0 or from 1."""
    return 0 if 0 in numbers else 1


def missing_numbers(numbers: Collection[int]) -> list[int]:
    """The numbers that a sequence lacks before its last one; what lacks at its end cannot be seen."""
    return sorted(set(range(first_number(numbers), max(numbers, default=0) + 1)) - set(numbers))


def in_words(numbers: list[int]) -> str:
    """Ascending numbers as ranges: 3, 5-8 and 12."""
    ranges: list[list[int]] = []
    for number in numbers:
        if ranges and number == ranges[-1][1] + 1:
            ranges[-1][1] = number
        else:
            ranges.append([number, number])
    words = [str(first) if first == last else f"{first}-{last}" for first, last in ranges]
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def image_size(path: Path) -> tuple[int, int]:
    """Width and height from an image's header."""
    try:
        with Image.open(path) as image:
            return image.size
    except Exception as error:  # as in _decode
        raise DataError(f"{path}: cannot be read as an image ({_reason(error)})") from None


def read_mask(path: Path) -> np.ndarray:
    """A mask as bool (h, w): True where the image is not black; a damaged one is a `DataError` that names it."""
    # Pillow unpacks run-length BMPs, as UCSD's masks are, in Python: 5 ms each, OpenCV 0.1 ms, but without a reason.
    mask = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    return (_decode(path) if mask is None else mask) > 0


def image_fault(path: Path, size: tuple[int, int] | None = None) -> str | None:
    """Decode an image in full and say what is wrong with it, or its size if not the expected one."""
    try:
        height, width = _decode(path).shape
    except DataError as error:
        return str(error)
    if size is not None and (width, height) != size:
        return f"{path}: is {width} x {height}, but the clip's first frame {size[0]} x {size[1]}"
    return None


def _decode(path: Path) -> np.ndarray:
    """Grey values uint8 (h, w); whatever Pillow raises for a damaged file becomes a `DataError` that names it."""
    try:
        # Pillow warns about a cut TIFF's directory and then raises for its pixels: one of the two is enough.
        with warnings.catch_warnings(action="ignore"), Image.open(path) as image:
            return np.asarray(image.convert("L"))
    except Exception as error:  # Pillow's parsers raise whatever they meet: SyntaxError, struct.error, ...
        raise DataError(f"{path}: cannot be read as an image, it may be cut off ({_reason(error)})") from None


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())
