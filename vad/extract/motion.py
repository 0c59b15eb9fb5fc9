"""Where does something move? Three answers that need no weights: optical flow, frame differences, background subtraction."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from vad.cache import Content


@dataclass(frozen=True)
class Motion(Content, ABC):
    """Settings of a motion mask, and of the boxes that are cut out of it."""

    @abstractmethod
    def masks(self, frames: Iterable[np.ndarray]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Stream frames uint8 RGB (h, w, 3) of one video to (frame, mask bool (h, w)), in order, with bounded memory."""
