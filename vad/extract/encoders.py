"""Encoders: settings that are light to construct, and the networks that turn snippets into vectors."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from vad.cache import Content


class LoadedEncoder(Protocol):
    """An encoder with its weights on a device."""

    size: tuple[int, int]  # width and height of the frames that it takes
    frames: int | None  # frames of a clip that becomes one vector; None for an encoder of single frames

    def __call__(self, clips: np.ndarray) -> np.ndarray:
        """Vectors float32 (B, D) of clips uint8 RGB (B, frames, H, W, 3), or of single frames (B, H, W, 3)."""


@dataclass(frozen=True)
class Encoder(Content, ABC):
    """Settings of an encoder. `content` holds the weights' hash instead of their path."""

    @abstractmethod
    def load(self, device: str) -> LoadedEncoder:
        """Read the weights; a missing or wrong file, or a missing extra, is a `VadError` that names it."""
