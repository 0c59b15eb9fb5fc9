"""Teachers: classifiers whose answers about an object's middle frame are learned by a student."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from vad.cache import Content


class LoadedTeacher(Protocol):
    """A teacher with its weights on a device."""

    classes: int

    def __call__(self, pictures: np.ndarray) -> np.ndarray:
        """Logits float32 (B, classes) of pictures uint8 RGB (B, H, W, 3)."""


@dataclass(frozen=True)
class Teacher(Content, ABC):
    """Settings of a teacher. `content` holds the weights' hash instead of their path."""

    @abstractmethod
    def load(self, device: str) -> LoadedTeacher:
        """Read the weights; a missing or wrong file, or a missing extra, is a `VadError` that names it."""
