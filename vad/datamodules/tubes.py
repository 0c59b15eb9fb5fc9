"""Tubes: an object's box cut out of the frames around its own, as SSMTL reads them.

cache: crops of each video, longer ones of training videos -> one index of (video, row) -> BatchOrder -> TubeBatch
"""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from vad import cache
from vad.benchmarks import Benchmark
from vad.datamodules.object_index import ObjectIndex, index_objects
from vad.datamodules.order import Share, evenly_spaced
from vad.datamodules.rows import StackedRows, Stretch, hold_in_memory
from vad.datamodules.video_data import VideoData
from vad.errors import ConfigError, DataError
from vad.extract.crops import CropRecipe
from vad.extract.detectors import Detector
from vad.extract.extraction import Extraction
from vad.extract.motion import Motion
from vad.extract.objects import object_recipe
from vad.extract.teachers import Teacher, TeacherRecipe
from vad.types import Protocol, Record, Split, TubeBatch, Video, protocol_splits

REACH = 3  # frames to each side of a tube that is scored: 7 in all


class TubeRows(NamedTuple):
    """What the cache holds of the objects of some videos."""

    crop: StackedRows  # uint8 (m, T, H, W, C)
    probability: StackedRows  # float16 (m, k)
    logits: StackedRows | None  # float16 (m, c)


class Tubes(Dataset[TubeBatch]):
    """Asked for a list of indices, gives the batch; row i of a batch has as key its index in this dataset.

    Args:
        rows: Of m objects.
        positions: Ascending int64 (n,): the samples among the m rows.
        frames: So many frames of each, those in the middle; `None` for all.
    """

    def __init__(self, rows: TubeRows, positions: np.ndarray, *, frames: int | None = None) -> None:
        self.rows = rows
        self.positions = positions
        stored = rows.crop.row_shape[0]
        kept = stored if frames is None else frames
        self.window = slice((stored - kept) // 2, (stored + kept) // 2)

    def __len__(self) -> int:
        return len(self.positions)

    def __getitem__(self, indices: Sequence[int]) -> TubeBatch:
        keys = np.sort(np.asarray(indices, dtype=np.int64))  # inside a batch the order is free: this one reads forwards
        rows = self.positions[keys]
        logits = self.rows.logits
        return TubeBatch(
            tubes=torch.from_numpy(np.ascontiguousarray(self.rows.crop.gather(rows)[:, self.window])),
            probability=torch.from_numpy(self.rows.probability.gather(rows)),
            logits=None if logits is None else torch.from_numpy(logits.gather(rows)),
            key=torch.from_numpy(keys),
            size=indices.size if isinstance(indices, Share) else len(indices),
        )


class TubeData(VideoData):
    """Tubes of detected and moving objects. Defaults are SSMTL's on Ped2.

    Training and validation give the whole window of 2 * `reach` + 1 frames, out of which the method takes its tubes;
    the estimate gives the 7 in its middle, and scoring 7, repeated at the ends of a clip. An object of 64 x 64 pixels
    takes 102,400 bytes in training and 28,672 in scoring if it is grey, three times that in colour; its teacher's
    logits 2,000 and its class probabilities 160. Training frames of UCSD Ped2 have some 14 objects, moving ones among
    them: `every` = 2 makes about 1.6 GB.

    Args:
        detector: Finds objects; `None` for moving ones alone.
        motion: Finds what moves outside the detector's boxes; `None` for detected ones alone.
        confidence: Detector boxes above this.
        min_area: Smallest (w + 1)(h + 1) of a box, in pixels of the video.
        cover: A box goes when a larger one covers more than this share of it; `None` to keep all.
        teacher: Whose logits are learned; `None` for none. Without a detector, whose class probabilities say how odd an
            object is, tubes that are scored come with its logits too.
        every: Objects of every so manieth training frame are learned from.
        reach: Frames to each side that a training tube holds; objects without them are left out.
        size: Width and height of a tube.
        shared: See `VideoData`.
    """

    def __init__(
        self,
        *,
        benchmark: Benchmark,
        protocol: Protocol = "one_class",
        batch_size: int = 256,
        detector: Detector | None = None,
        motion: Motion | None = None,
        confidence: float = 0.5,
        min_area: float = 100.0,
        cover: float | None = None,
        teacher: Teacher | None = None,
        every: int = 1,
        reach: int = 12,
        size: int = 64,
        validation: float = 0.15,
        **shared: Any,
    ) -> None:
        super().__init__(benchmark=benchmark, protocol=protocol, batch_size=batch_size, validation=validation, **shared)
        if every < 1 or size < 1:
            raise ConfigError(f"every, size: expected at least 1, got {every} and {size}")
        if reach < REACH:
            raise ConfigError(f"reach: expected at least the {REACH} frames of a tube that is scored, got {reach}")
        objects = object_recipe(detector, motion, confidence=confidence, min_area=min_area, cover=cover)

        def tubes(reach: int, border: Literal["repeat", "drop"], every: int) -> CropRecipe:
            return CropRecipe(
                objects=objects,
                confidence=confidence,
                motion=motion is not None,
                min_area=min_area,
                cover=cover,
                offsets=tuple(range(-reach, reach + 1)),
                size=size,
                border=border,
                grey=benchmark.grey,
                probability=True,
                every=every,
            )

        self.learned = tubes(reach, "drop", every)
        self.scored = tubes(REACH, "repeat", 1)
        self.teachers: dict[CropRecipe, TeacherRecipe] = {}  # of tubes -> who says what they show
        if teacher is not None:
            taught = (self.learned, self.scored) if detector is None else (self.learned,)
            self.teachers = {recipe: TeacherRecipe(recipe, teacher) for recipe in taught}
        self._indices: dict[tuple[CropRecipe, tuple[str, ...]], ObjectIndex] = {}
        self._rows: dict[tuple[CropRecipe, tuple[str, ...]], TubeRows] = {}

    def recipes(self) -> list[Extraction]:
        return [self.learned.objects, self.learned, self.scored, *self.teachers.values()]

    def splits(self, recipe: Extraction | None = None) -> tuple[Split, ...]:
        splits = protocol_splits(self.protocol)
        for tubes, read in ((self.learned, splits.fit), (self.scored, splits.score)):
            if recipe is not None and recipe in (tubes, self.teachers.get(tubes)):
                return read
        return super().splits(recipe)

    def setup(self, stage: str) -> None:
        self.require_cache()

    def train_dataloader(self) -> DataLoader:
        samples = self.training_tubes()
        return self.loader(samples, self.training_order(len(samples)))

    def val_dataloader(self) -> DataLoader | list[DataLoader]:
        if self.validation == 0:
            return []
        samples = Tubes(*self._objects(self.learned, self.validation_videos()))
        return self.loader(samples, self.validation_order(len(samples)))

    def test_dataloader(self) -> DataLoader:
        samples = Tubes(*self._objects(self.scored, self.score_videos()))
        return self.loader(samples, self.scoring_order(len(samples)))

    def estimate_dataloader(self) -> DataLoader:
        samples = self.training_tubes(frames=2 * REACH + 1)
        return self.loader(samples, self.scoring_order(len(samples)))

    def batchnorm_dataloader(self) -> DataLoader:
        samples = self.training_tubes()
        return self.loader(samples, self.batchnorm_order(len(samples)))

    def score_record(self) -> Record:
        return self.index(self.scored, self.score_videos()).record

    def training_tubes(self, *, frames: int | None = None) -> Tubes:
        """The tubes that are learned from, in order of video, frame and object: all frames, or those in the middle."""
        return Tubes(*self._objects(self.learned, self.fit_videos(), at_most=self.max_items), frames=frames)

    def index(self, tubes: CropRecipe, videos: Sequence[Video]) -> ObjectIndex:
        """Where the tubes of some videos lie, those of a recipe."""
        key = (tubes, tuple(video.id for video in videos))
        if key not in self._indices:
            self._indices[key] = index_objects(self.benchmark, tubes, videos)
        return self._indices[key]

    def _objects(
        self, tubes: CropRecipe, videos: Sequence[Video], *, at_most: int | None = None
    ) -> tuple[TubeRows, np.ndarray]:
        """The rows of some videos, and the positions of at most so many of them, evenly spaced."""
        index = self.index(tubes, videos)
        if len(index.frame) == 0:
            longer = (
                f" with {tubes.offsets[-1]} frames on each side; lower reach," if tubes.border == "drop" else "; lower"
            )
            raise DataError(
                f"{self.benchmark.name}: no object was found in {len(videos)} videos{longer} confidence or min_area"
            )
        key = (tubes, tuple(video.id for video in videos))
        if key not in self._rows:
            self._rows[key] = self._read(tubes, index)
        return self._rows[key], evenly_spaced(len(index.frame), at_most)

    def _read(self, tubes: CropRecipe, index: ObjectIndex) -> TubeRows:
        logits = None
        if (teacher := self.teachers.get(tubes)) is not None:
            answers = [cache.entry(self.benchmark.dataset, teacher, part.source) for part in index.parts]
            logits = StackedRows(
                "logits", [Stretch(a, s.start, s.stop) for a, s in zip(answers, index.stretches, strict=True)]
            )
        rows = TubeRows(StackedRows("crop", index.stretches), StackedRows("probability", index.stretches), logits)
        hold_in_memory([array for array in rows if array is not None], self.in_memory)
        return rows
