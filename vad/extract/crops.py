"""Crops of objects over time: cubes of 5 x 32 x 32 for LBR, tubes of 64 x 64 for SSMTL.

(index, frame) pairs -> ring buffer -> (row of objects, uint8 (T, size, size, C))
"""

import functools
import itertools
import math
import tempfile
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import cv2
import numpy as np

from vad import cache
from vad.benchmarks import Benchmark
from vad.errors import CacheError, ConfigError
from vad.extract.boxes import area, cover_filter
from vad.extract.clips import clips, whole
from vad.extract.extraction import Extraction, Worker
from vad.extract.motion import OpticalFlow
from vad.extract.objects import ObjectRecipe
from vad.types import Objects, Video

Border = Literal["repeat", "drop"]
Planes = tuple[np.ndarray, ...]  # one frame: pixels uint8 (h, w, C), with flow also float32 (h, w, 2)
BoxesOf = Callable[[int], np.ndarray]  # frame -> boxes (k, 4)
HELD_BYTES = 256 << 20  # larger arrays are filled on disk, so that a long video does not fill the memory


@dataclass(frozen=True)
class CropRecipe(Extraction):
    """Crops of the objects of another entry, with a method's own filters.

    An entry holds `crop` uint8 (m, T, size, size, C), with `flow` also `flow` float16 (m, T, size, size, 2) in pixels
    of a 512 x 384 frame, and the arrays `frame`, `box`, `confidence`, `source` of the objects that were cut, with
    `probability` also that one. Bytes of an object: T * size^2 * C, 4 * T * size^2 for flow, 2 * k for k classes. In
    colour a cube of LBR takes 15,360, a tube of SSMTL 86,016 for scoring and 307,200 for training; grey, a third.

    Args:
        objects: The recipe of the objects.
        confidence: Detector boxes above this.
        motion: With the motion boxes made for that confidence.
        min_area: Smallest (w + 1)(h + 1) of a detector box, in pixels of the video.
        cover: A detector box goes when a larger one covers more than this share of it; `None` to keep all.
        offsets: Frames of a crop, relative to the object's own.
        size: Width and height of a crop.
        border: At clip ends `repeat` the nearest frame of the clip, or `drop` the object.
        grey: One channel instead of three.
        flow: Optical flow of each frame beside the pixels: that of the objects' recipe, else `OpticalFlow()`.
        probability: The detector's class probabilities of each object too, those of motion boxes included.
        every: Objects of every so manieth frame alone, counted in the source video from its first one.
    """

    kind: ClassVar[str] = "crops"
    version: ClassVar[int] = 1

    objects: ObjectRecipe
    confidence: float = 0.2
    motion: bool = True
    min_area: float = 100.0
    cover: float | None = 0.6
    offsets: tuple[int, ...] = (-2, -1, 0, 1, 2)
    size: int = 32
    border: Border = "repeat"
    grey: bool = False
    flow: bool = False
    probability: bool = False
    every: int = 1

    def content(self) -> dict[str, Any]:
        """Without settings that came later, where they change nothing: older entries keep their keys."""
        content = super().content()
        for name, unchanged in (("probability", False), ("every", 1)):
            if content[name] == unchanged:
                del content[name]
        return content

    @property
    def arrays(self) -> tuple[str, ...]:
        """The arrays of an entry that come from the objects."""
        return ("frame", "box", "confidence", "source", *(["probability"] if self.probability else []))

    def worker(self, device: str) -> Worker:
        """Cut crops out of a sequential decode."""
        if not self.offsets or self.size < 1 or self.every < 1:
            raise ConfigError("crops: expected at least one offset, and a size and every of at least 1")
        if self.motion and self.objects.motion is None:
            raise ConfigError("crops: motion boxes are asked for, but the recipe of the objects has no motion")
        if self.motion and self.confidence not in self.objects.motion_confidences:
            known = ", ".join(f"{c:g}" for c in self.objects.motion_confidences)
            raise ConfigError(
                f"crops: motion boxes are made for the confidences {known}, not for {self.confidence:g}: "
                "add it to motion_confidences of the objects' recipe"
            )
        return CropWorker(self)


class CropWorker:
    """Cuts the crops of one video after another."""

    def __init__(self, recipe: CropRecipe) -> None:
        self._recipe = recipe

    def __call__(self, benchmark: Benchmark, video: Video) -> tuple[Mapping[str, np.ndarray], Mapping[str, Any]]:
        started = time.perf_counter()
        recipe = self._recipe
        source = cache.entry(benchmark.dataset, recipe.objects, video.id)
        objects = choose(Objects(**{name: source.read(name, mmap=False) for name in Objects.ARRAYS}), recipe)
        with benchmark.open(video) as reader:
            count = len(reader)
            if len(objects) and objects.frame[-1] >= count:
                raise CacheError(f"{source.folder}: has objects in frame {objects.frame[-1]}, the video {count} frames")
            planes = self._planes(whole(reader, video), count, video.cuts)
            pixels, rows = self._cut(planes, objects, video.cuts)
        kept = objects.rows(rows)
        arrays = pixels | {name: getattr(kept, name) for name in recipe.arrays}
        large = [array for name, array in arrays.items() if name in (*pixels, "probability")]
        return arrays, {
            "frames": count,
            "objects": len(kept),
            "bytes_per_object": sum(a.itemsize * int(np.prod(a.shape[1:])) for a in large),
            "seconds": round(time.perf_counter() - started, 3),
        }

    def _planes(self, frames: Iterable[np.ndarray], count: int, cuts: Sequence[int]) -> Iterator[tuple[int, Planes]]:
        """Frames with their index, and with their flow where it is asked for; flow crosses no cut either."""
        if not self._recipe.flow:
            yield from ((index, (self._colour(frame),)) for index, frame in enumerate(frames))
            return
        motion = self._recipe.objects.motion
        flow = motion if isinstance(motion, OpticalFlow) else OpticalFlow()
        for first, clip in clips(frames, count, cuts):
            for index, (frame, field) in enumerate(flow.fields(clip), start=first):
                yield index, (self._colour(frame), field)

    def _colour(self, frame: np.ndarray) -> np.ndarray:
        return cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)[..., None] if self._recipe.grey else frame

    def _cut(
        self, planes: Iterable[tuple[int, Planes]], objects: Objects, cuts: Sequence[int]
    ) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """The arrays of pixels and flow, and the rows of `objects` that they belong to."""
        recipe = self._recipe
        shape = (len(objects), len(recipe.offsets), recipe.size, recipe.size)
        arrays = {"crop": scratch((*shape, 1 if recipe.grey else 3), np.uint8)}
        if recipe.flow:
            arrays["flow"] = scratch((*shape, 2), np.float16)
        rows: list[int] = []
        for row, cut in crop_planes(
            planes, objects, offsets=recipe.offsets, size=recipe.size, border=recipe.border, cuts=cuts
        ):
            for array, plane in zip(arrays.values(), cut, strict=True):
                array[len(rows)] = plane
            rows.append(row)
        return {name: array[: len(rows)] for name, array in arrays.items()}, np.array(rows, np.int64)


def choose(objects: Objects, recipe: CropRecipe) -> Objects:
    """The objects that a recipe cuts: detector rows above its confidence after its filters, and the motion rows, both
    of every `every`-th frame."""
    box = objects.box
    detector = (objects.source == 0) & (objects.confidence > recipe.confidence) & (area(box) >= recipe.min_area)
    keep = detector.copy()
    if recipe.cover is not None:
        index = np.flatnonzero(detector)
        for rows in np.split(index, np.flatnonzero(np.diff(objects.frame[index])) + 1):
            keep[rows] = False
            keep[rows[cover_filter(box[rows], recipe.cover)]] = True
    if recipe.motion:
        keep |= objects.source == np.float32(recipe.confidence)
    return objects.rows(keep & (objects.frame % recipe.every == 0))


def crops(
    frames: Iterable[tuple[int, np.ndarray]],
    objects: Objects | BoxesOf,
    *,
    offsets: Sequence[int],
    size: int,
    border: Border,
    cuts: Collection[int] = (),
) -> Iterator[tuple[int, np.ndarray]]:
    """Cut every object out of the frames around its own, same box in all of them.

    Args:
        frames: (index, frame (h, w, C)) in ascending order. A cut, or a gap between indices, ends a clip.
        objects: The objects of a whole video, or a function that says the boxes (k, 4) of a frame when it is due.
        offsets: Frames of a crop, relative to the object's own.
        size: Side of a crop; pixels are resized bilinearly, whatever the box's shape.
        border: At clip ends `repeat` the nearest frame of the clip, or `drop` the object.
        cuts: First frames of new material, which no crop reaches across.

    Yields:
        (row, crop (T, size, size, C)), rows ascending: rows of `objects`, or counted from 0 where it is a function. A
        box that holds no pixel of the image (edges rounded up, end exclusive) is left out. As many frames are held as
        the offsets reach over, and their own one.
    """
    planes = ((index, (frame,)) for index, frame in frames)
    for row, cut in crop_planes(planes, objects, offsets=offsets, size=size, border=border, cuts=cuts):
        yield row, cut[0]


def crop_planes(
    planes: Iterable[tuple[int, Planes]],
    objects: Objects | BoxesOf,
    *,
    offsets: Sequence[int],
    size: int,
    border: Border,
    cuts: Collection[int] = (),
) -> Iterator[tuple[int, Planes]]:
    """`crops` of several planes at a time, such as pixels and flow, which share index and size."""
    before, after = max(0, -min(offsets)), max(0, *offsets)
    starts = frozenset(cuts)
    boxes_of = _numbered(objects)
    held: deque[tuple[int, Planes]] = deque(maxlen=before + after + 1)  # a clip's last frames
    start = due = 0  # the clip's first frame, and the next whose objects are cut

    def cut(frame: int) -> Iterator[tuple[int, Planes]]:
        last = held[-1][0]
        complete = start <= frame + min(offsets) and frame + max(offsets) <= last
        for row, box in boxes_of(frame):
            if complete or border == "repeat":
                at = [held[min(max(frame + o, start), last) - last - 1][1] for o in offsets]
                height, width = at[0][0].shape[:2]
                pixels = _pixels(box, width, height)
                if pixels is not None:
                    yield row, tuple(_resize([plane[i][pixels] for plane in at], size) for i in range(len(at[0])))

    for index, plane in planes:
        if held and (index in starts or index != held[-1][0] + 1):
            for frame in range(due, held[-1][0] + 1):
                yield from cut(frame)
            held.clear()
        if not held:
            start = due = index
        held.append((index, plane))
        if index - after >= due:
            yield from cut(due)
            due += 1
    if held:
        for frame in range(due, held[-1][0] + 1):
            yield from cut(frame)


def _numbered(objects: Objects | BoxesOf) -> Callable[[int], Iterator[tuple[int, np.ndarray]]]:
    """Frame -> its (row, box), from either form of objects."""
    if isinstance(objects, Objects):
        first = functools.partial(np.searchsorted, objects.frame)

        def stored(frame: int) -> Iterator[tuple[int, np.ndarray]]:
            for row in range(first(frame), first(frame + 1)):
                yield row, objects.box[row]

        return stored
    rows = itertools.count()
    return lambda frame: ((next(rows), box) for box in objects(frame))


def _pixels(box: np.ndarray, width: int, height: int) -> tuple[slice, slice] | None:
    """Rows and columns of the image inside a box, its edges rounded up; `None` where there are none."""
    x1, y1, x2, y2 = (math.ceil(edge) for edge in box)
    x1, y1, x2, y2 = max(x1, 0), max(y1, 0), min(x2, width), min(y2, height)
    return (slice(y1, y2), slice(x1, x2)) if x1 < x2 and y1 < y2 else None


def _resize(patches: Sequence[np.ndarray], size: int) -> np.ndarray:
    """Patches (h, w, C) -> (T, size, size, C)."""
    resized = [cv2.resize(patch, (size, size), interpolation=cv2.INTER_LINEAR) for patch in patches]
    return np.stack(resized).reshape(len(patches), size, size, patches[0].shape[2])


def scratch(shape: tuple[int, ...], dtype: type) -> np.ndarray:
    """An array to fill, in memory; a large one in a nameless file on the cache's disk, which no kill leaves behind."""
    if math.prod(shape) * np.dtype(dtype).itemsize <= HELD_BYTES:
        return np.empty(shape, dtype)
    root = cache.cache_root()
    root.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=root) as file:
        return np.memmap(file, dtype, "w+", shape=shape)
