"""Teachers: classifiers whose answers about an object's middle frame are learned by a student.

crops of each video -> middle frame, resized to 224 x 224 -> classifier -> logits, row for row
"""

import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np

from vad import cache
from vad.benchmarks import Benchmark
from vad.cache import Content
from vad.errors import ConfigError
from vad.extract.crops import CropRecipe
from vad.extract.encoders import LITE0_SHA256, check_batch
from vad.extract.extraction import Extraction, Worker
from vad.extract.weights import model_hashes
from vad.types import Video

READ = 256  # pictures read at a time; a teacher may cut them smaller


class LoadedTeacher(Protocol):
    """A teacher with its weights on a device."""

    classes: int

    def __call__(self, pictures: np.ndarray) -> np.ndarray:
        """Logits float32 (B, classes) of pictures uint8 RGB (B, H, W, 3)."""


@dataclass(frozen=True)
class Teacher(Content, ABC):
    """Settings of a teacher. `content` holds the weights' hash instead of their path."""

    speed_only: ClassVar[tuple[str, ...]] = ("batch",)

    @abstractmethod
    def load(self, device: str) -> LoadedTeacher:
        """Read the weights; a missing or wrong file, or a missing extra, is a `VadError` that names it."""


@dataclass(frozen=True, kw_only=True)
class EfficientNetLite0(Teacher):
    """EfficientNet-Lite0, trained on ImageNet, with its weights in a package (extra `encoders`): 1,000 logits.

    Args:
        batch: Pictures at a time; changes no result but the last digits. `None` for 2 on a CPU, where its caches hold
            no more, and 64 on a GPU.
    """

    batch: int | None = None

    def __post_init__(self) -> None:
        check_batch(self, self.batch)

    def content(self) -> dict[str, Any]:
        return {**super().content(), "weights": LITE0_SHA256}

    def load(self, device: str) -> LoadedTeacher:
        from vad.extract.loaded_teachers import LoadedEfficientNetLite0

        return LoadedEfficientNetLite0(self, device)


@dataclass(frozen=True, kw_only=True)
class ResNet50(Teacher):
    """ResNet-50 out of a local folder, through transformers (extra `hf`): SSMTL's teacher, 1,000 logits on ImageNet.

    Args:
        model: Folder with `config.json` and `model.safetensors`, as `microsoft/resnet-50` is published; nothing is
            downloaded. Mean and deviation of colours are those of its `preprocessor_config.json`, else ImageNet's.
        batch: Pictures at a time; changes no result but the last digits. `None` for 8 on a CPU and 64 on a GPU.
    """

    model: str
    batch: int | None = None

    def __post_init__(self) -> None:
        check_batch(self, self.batch)

    def content(self) -> dict[str, Any]:
        return {**super().content(), "model": model_hashes(Path(self.model))}

    def load(self, device: str) -> LoadedTeacher:
        from vad.extract.loaded_teachers import LoadedResNet50

        return LoadedResNet50(self, device)


@dataclass(frozen=True)
class TeacherRecipe(Extraction):
    """A teacher's answers about the objects of a crops entry.

    An entry holds `logits` float16 (m, classes), row for row those of the crops' own frame (offset 0): 2,000 bytes of
    an object for the classes of ImageNet.
    """

    kind: ClassVar[str] = "teacher"
    version: ClassVar[int] = 1

    crops: CropRecipe
    teacher: Teacher

    def worker(self, device: str) -> Worker:
        """Load the teacher."""
        if 0 not in self.crops.offsets:
            raise ConfigError(
                f"teacher: sees the object's own frame, which the offsets {list(self.crops.offsets)} leave out"
            )
        return TeacherWorker(self, self.teacher.load(device))


class TeacherWorker:
    """Asks a teacher about one video's crops after another's."""

    def __init__(self, recipe: TeacherRecipe, teacher: LoadedTeacher) -> None:
        self._recipe = recipe
        self._teacher = teacher

    def __call__(self, benchmark: Benchmark, video: Video) -> tuple[Mapping[str, np.ndarray], Mapping[str, Any]]:
        started = time.perf_counter()
        crops = self._recipe.crops
        entry = cache.entry(benchmark.dataset, crops, video.id)
        pixels = entry.read("crop")  # (m, T, H, W, C), mapped: one frame in T is read
        own = crops.offsets.index(0)
        logits = np.empty((len(pixels), self._teacher.classes), np.float16)
        for first in range(0, len(pixels), READ):
            pictures = pixels[first : first + READ, own]
            logits[first : first + READ] = self._teacher(np.repeat(pictures, 3 // pictures.shape[-1], axis=-1))
        return {"logits": logits}, {
            "frames": entry.describe()["extra"].get("frames", 0),
            "objects": len(logits),
            "bytes_per_object": logits.itemsize * logits.shape[1],
            "seconds": round(time.perf_counter() - started, 3),
        }
