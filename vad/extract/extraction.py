"""The contract of a recipe that can be carried out."""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np

from vad.benchmarks import Benchmark
from vad.cache import Recipe
from vad.types import Video


class Worker(Protocol):
    """Computes the arrays of one video; holds the networks, so there is one for each process."""

    def __call__(self, benchmark: Benchmark, video: Video) -> tuple[Mapping[str, np.ndarray], Mapping[str, Any]]:
        """The arrays of the entry, and what goes into its `extra` (frames decoded, counts)."""


@dataclass(frozen=True)
class Extraction(Recipe):
    """A recipe whose entries `vad extract` computes, one source video at a time."""

    of_footage: ClassVar[bool] = True  # False: entries were imported, and a change of the video does not make them old

    def command(self, benchmark: str) -> str:
        """What makes entries of videos of a benchmark, for messages."""
        return "vad extract --config EXPERIMENT"

    @abstractmethod
    def worker(self, device: str) -> Worker:
        """Load what the work needs, once for each process."""
