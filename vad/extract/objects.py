"""Objects of a video: detector boxes of every confidence, joined with motion boxes outside them.

frames -> detector -> boxes above 0.1 ----------------------------> rows with source 0
       -> motion mask -> for each confidence c: blank the boxes kept at c, cut the rest -> rows with source c
"""

import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any, ClassVar

import numpy as np

from vad.benchmarks import Benchmark
from vad.errors import ConfigError
from vad.extract.boxes import area, cover_filter
from vad.extract.clips import clips, whole
from vad.extract.detectors import Detections, Detector
from vad.extract.extraction import Extraction, Worker
from vad.extract.motion import Motion, motion_boxes
from vad.types import Objects, Video

BATCH = 16  # frames held at a time; a detector may cut them smaller


@dataclass(frozen=True)
class ObjectRecipe(Extraction):
    """Everything that decides the objects of a video. Areas are (w + 1)(h + 1), in pixels of the video.

    Source: LBR_SPR's public configuration for `min_area`, `cover`, `grow` and `max_aspect` (score 0.2).

    Args:
        detector: Finds objects; `None` for what moves alone.
        motion: Finds what moves outside them; `None` for detector boxes alone.
        motion_confidences: Motion boxes depend on which boxes were blanked: one set for each of these confidences.
        minimum_confidence: Detector boxes below are not stored.
        min_area: Smallest area of a detector box that is blanked, and of a motion box.
        cover: A box is not blanked when a larger one covers more than this share of it.
        grow: Pixels by which boxes are grown before they are blanked, and motion boxes after they were found.
        max_aspect: Longest side of a motion box over its shortest.
    """

    kind: ClassVar[str] = "objects"
    version: ClassVar[int] = 1

    detector: Detector | None = None
    motion: Motion | None = None
    motion_confidences: tuple[float, ...] = (0.2, 0.5, 0.8)
    minimum_confidence: float = 0.1
    min_area: float = 100.0
    cover: float = 0.6
    grow: int = 2
    max_aspect: float = 10.0

    def worker(self, device: str) -> Worker:
        """Load the detector and the motion mask."""
        if self.detector is None and self.motion is None:
            raise ConfigError("objects: neither a detector nor a motion mask is given, so there is nothing to find")
        if min(self.motion_confidences, default=1.0) < max(self.minimum_confidence, 1e-6):
            raise ConfigError(
                f"objects: motion_confidences {self.motion_confidences} must not lie below minimum_confidence "
                f"{self.minimum_confidence}, since boxes below it are not there to be blanked"
            )
        if self.detector is not None and self.minimum_confidence < self.detector.floor:
            raise ConfigError(
                f"objects: minimum_confidence {self.minimum_confidence} lies below {self.detector.floor}, "
                f"under which {type(self.detector).__name__} returns no boxes"
            )
        return ObjectWorker(self, device)


def object_recipe(
    detector: Detector | None, motion: Motion | None, *, confidence: float, min_area: float, cover: float | None
) -> ObjectRecipe:
    """The recipe of a method that takes detector boxes above a confidence, and motion boxes outside them.

    `cover` None leaves the recipe's own: it decides which boxes are blanked, not which are kept.
    """
    if detector is None and motion is None:
        raise ConfigError("detector, motion: at least one of them is needed to find objects")
    return ObjectRecipe(
        detector=detector,
        motion=motion,
        motion_confidences=tuple(sorted({*ObjectRecipe.motion_confidences, confidence})),
        min_area=min_area,
        cover=ObjectRecipe.cover if cover is None else cover,
    )


class ObjectWorker:
    """Finds the objects of one video after another."""

    def __init__(self, recipe: ObjectRecipe, device: str) -> None:
        self._recipe = recipe
        self._detector = recipe.detector.load(device) if recipe.detector is not None else None

    def __call__(self, benchmark: Benchmark, video: Video) -> tuple[Mapping[str, np.ndarray], Mapping[str, Any]]:
        started = time.perf_counter()
        with benchmark.open(video) as reader:
            count = len(reader)
            frames = list(self.stream(whole(reader, video), video, count))
        objects = concatenate(frames)
        arrays = {name: getattr(objects, name) for name in Objects.ARRAYS}
        return arrays, {"frames": count, "objects": len(objects), "seconds": round(time.perf_counter() - started, 3)}

    def stream(self, frames: Iterable[np.ndarray], video: Video, count: int) -> Iterator[Objects]:
        """The objects of each of `count` frames uint8 RGB (h, w, 3), in order. `BATCH` frames are held, and those
        that wait for their mask."""
        motion = self._recipe.motion
        pairs: Iterator[tuple[np.ndarray | None, np.ndarray | None]]
        if motion is None:
            pairs = ((frame, None) for frame in frames)
        else:  # no motion across a cut
            parts = (clip for _, clip in clips(frames, count, video.cuts))
            pairs = chain.from_iterable(self._with_masks(motion, clip) for clip in parts)
        first = 0
        while batch := list(islice(pairs, BATCH)):
            indices = range(first, first + len(batch))
            seen: Sequence[Detections] = [NOTHING] * len(batch)
            if self._detector is not None:
                seen = self._detector(
                    np.stack([frame for frame, _ in batch if frame is not None]), video=video.id, indices=indices
                )
            for index, detections, (_, mask) in zip(indices, seen, batch, strict=True):
                yield self._frame(index, detections, mask)
            first += len(batch)

    def _with_masks(
        self, motion: Motion, clip: Iterable[np.ndarray]
    ) -> Iterator[tuple[np.ndarray | None, np.ndarray | None]]:
        """Each frame with its mask. Frames wait for their masks only where a detector wants to see them."""
        waiting: deque[np.ndarray | None] = deque()

        def passing() -> Iterator[np.ndarray]:
            for frame in clip:
                waiting.append(None if self._detector is None else frame)
                yield frame

        for mask in motion.masks(passing()):
            yield waiting.popleft(), mask

    def _frame(self, index: int, seen: Detections, mask: np.ndarray | None) -> Objects:
        """Detector rows of one frame, then for each motion confidence the motion rows."""
        recipe = self._recipe
        stored = seen.confidence >= recipe.minimum_confidence
        box, confidence = seen.box[stored], seen.confidence[stored]
        rows = [_rows(index, box, confidence, seen.probability[stored], source=0.0)]
        if mask is None:
            return rows[0]
        for level in recipe.motion_confidences:
            sure = box[confidence > level]
            sure = sure[area(sure) >= recipe.min_area]
            blanked = sure[cover_filter(sure, recipe.cover)]
            moving = motion_boxes(
                mask, blanked, min_area=recipe.min_area, grow=recipe.grow, max_aspect=recipe.max_aspect
            )
            rows.append(_rows(index, moving, np.zeros(len(moving)), seen.inside(moving), source=level))
        return concatenate(rows)


def concatenate(objects: Sequence[Objects]) -> Objects:
    """Objects one after another; those without any class probabilities adopt the number of classes of the others."""
    classes = max((o.probability.shape[1] for o in objects), default=0)
    empty = _rows(0, np.zeros((0, 4)), np.zeros(0), np.zeros((0, classes)), source=0.0)
    parts = [empty, *(o for o in objects if len(o))]
    return Objects(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in Objects.ARRAYS})


def _rows(index: int, box: np.ndarray, confidence: np.ndarray, probability: np.ndarray, *, source: float) -> Objects:
    return Objects(
        frame=np.full(len(box), index, np.int32),
        box=box.astype(np.float32),
        confidence=confidence.astype(np.float32),
        probability=probability.astype(np.float16),
        source=np.full(len(box), source, np.float32),
    )


NOTHING = Detections(
    box=np.zeros((0, 4), np.float32),
    confidence=np.zeros(0, np.float32),
    probability=np.zeros((0, 0), np.float16),
    inside=lambda boxes: np.zeros((len(boxes), 0), np.float16),
)
