"""Crops of objects over time: cubes of 5 x 32 x 32 for LBR, tubes of 64 x 64 for SSMTL.

    (index, frame) pairs -> ring buffer -> (row of objects, uint8 (T, size, size, C))
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

from vad.extract.extraction import Extraction, Worker
from vad.extract.objects import ObjectRecipe

Border = Literal["repeat", "drop"]


@dataclass(frozen=True)
class CropRecipe(Extraction):
    """Crops of the objects of another entry, with a method's own filters.

    An entry holds `crop` uint8 (m, T, size, size, C), with `flow` also `flow` float16 (m, T, size, size, 2) in pixels of
    a 512 x 384 frame, and the arrays `frame`, `box`, `confidence`, `source` of the objects that were cut.
    Bytes of an object: T * size^2 * C, and 4 * T * size^2 for flow.
    """

    kind: ClassVar[str] = "crops"
    version: ClassVar[int] = 1

    objects: ObjectRecipe
    confidence: float = 0.2  # detector boxes above this
    motion: bool = True  # with the motion boxes made for that confidence
    min_area: float = 100.0  # (w + 1)(h + 1), detector boxes
    cover: float | None = 0.6  # None: no cover filter
    offsets: tuple[int, ...] = (-2, -1, 0, 1, 2)
    size: int = 32
    border: Border = "repeat"  # at clip ends: repeat the nearest frame of the clip, or drop the object
    grey: bool = False  # one channel
    flow: bool = False  # optical flow of each frame beside the pixels

    def worker(self, device: str) -> Worker:
        """Cut crops out of a sequential decode."""
        raise NotImplementedError
