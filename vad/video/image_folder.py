"""A folder of images as a video: sorted by the last number in their names."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from vad.errors import VideoError
from vad.video.local_reader import LocalReader
from vad.video.resize import resize

SUFFIXES = (".tif", ".tiff", ".jpg", ".jpeg", ".png", ".bmp")


def image_files(folder: Path) -> list[Path]:
    """Images of a folder by the last number in their names; hidden files (`._001.tif` of macOS archives) are none."""
    images = [
        p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES and not p.name.startswith(".") and p.is_file()
    ]
    return sorted(images, key=lambda p: (_last_number(p.stem), p.name))


def _last_number(name: str) -> int:
    numbers = re.findall(r"[0-9]+", name)
    return int(numbers[-1]) if numbers else -1


def read_image(path: Path) -> np.ndarray:
    """An image as uint8 RGB (h, w, 3), grey expanded to three equal channels.

    Raises `VideoError` where it is truncated, damaged, or has more than 8 bits a channel.
    """
    from PIL import Image

    try:
        with Image.open(path, formats=("TIFF", "JPEG", "PNG", "BMP")) as image:
            if image.mode.startswith(("I", "F")):
                raise VideoError(path, f"holds {image.mode} pixels of more than 8 bits; convert the frames to 8 bits")
            return np.asarray(image.convert("RGB"))
    except VideoError:
        raise
    except FileNotFoundError:
        raise VideoError(path, "no such file") from None
    except Exception as error:  # Pillow's plugins raise whatever their parsers meet: SyntaxError, struct.error, ...
        raise VideoError(path, f"cannot be read as an image ({' '.join(str(error).split())})") from None


class ImageFolderReader(LocalReader):
    """Frames that lie as images in one folder. All must have the size of the first.

    Raises `VideoError` where the folder holds no image.
    """

    backend = "folder"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._images = image_files(folder)
        if not self._images:
            raise VideoError(folder, f"holds no images ({', '.join(SUFFIXES)})")
        height, width = read_image(self._images[0]).shape[:2]
        self._size = (width, height)

    def __len__(self) -> int:
        return len(self._images)

    @property
    def fps(self) -> None:
        """A folder does not say."""
        return None

    @property
    def size(self) -> tuple[int, int]:
        return self._size

    def frames(self, indices: Sequence[int] | np.ndarray, *, size: tuple[int, int] | None = None) -> np.ndarray:
        wanted = self._wanted(indices)
        unique, where = np.unique(wanted, return_inverse=True)
        pictures = self._empty(len(unique), size)
        for row, index in enumerate(unique):
            pictures[row] = resize(self._read(index), size or self._size)
        return pictures if np.array_equal(wanted, unique) else pictures[where]

    def __iter__(self) -> Iterator[np.ndarray]:
        self._check()
        for index in range(len(self)):
            yield self._read(index)

    def _read(self, index: int) -> np.ndarray:
        picture = read_image(self._images[index])
        if picture.shape[1::-1] != self._size:
            width, height = picture.shape[1::-1]
            raise VideoError(
                self._images[index],
                f"is {width} x {height}, the first frame of its folder is {self._size[0]} x {self._size[1]}",
            )
        return picture
