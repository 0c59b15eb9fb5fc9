"""Object detectors: settings that are light to construct, and the networks that they load."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from vad.cache import Content


@dataclass(frozen=True)
class Detections:
    """What a detector saw in one frame."""

    box: np.ndarray  # float32 (n, 4), xyxy in pixels of the frame, clipped to it
    confidence: np.ndarray  # float32 (n,)
    probability: np.ndarray  # float16 (n, k), class probabilities
    inside: Callable[[np.ndarray], np.ndarray]  # boxes (q, 4) -> float16 (q, k): class probabilities of motion boxes


class LoadedDetector(Protocol):
    """A detector with its weights on a device."""

    def __call__(self, frames: np.ndarray, *, video: str, indices: Sequence[int]) -> list[Detections]:
        """Detect in frames uint8 RGB (B, H, W, 3), which are the frames `indices` of the video with id `video`."""


@dataclass(frozen=True)
class Detector(Content, ABC):
    """Settings of a detector. `content` holds the weights' hash instead of their path."""

    @abstractmethod
    def load(self, device: str) -> LoadedDetector:
        """Read the weights; a missing or wrong file is a `VadError` that names it."""
