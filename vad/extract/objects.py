"""Objects of a video: detector boxes of every confidence, joined with motion boxes outside them.

    frames -> detector -> boxes above 0.1 ----------------------------> rows with source 0
           -> motion mask -> for each confidence c: blank the boxes kept at c, cut the rest -> rows with source c
"""

from dataclasses import dataclass
from typing import ClassVar

from vad.extract.detectors import Detector
from vad.extract.extraction import Extraction, Worker
from vad.extract.motion import Motion


@dataclass(frozen=True)
class ObjectRecipe(Extraction):
    """Everything that decides the objects of a video.

    Source: LBR_SPR's public configuration for `min_area`, `cover`, `grow` and `max_aspect` (score 0.2).
    """

    kind: ClassVar[str] = "objects"
    version: ClassVar[int] = 1

    detector: Detector | None = None  # None: motion boxes alone
    motion: Motion | None = None  # None: detector boxes alone
    motion_confidences: tuple[float, ...] = (0.2, 0.5, 0.8)  # motion boxes depend on which boxes were blanked
    minimum_confidence: float = 0.1  # detector boxes below are not stored
    min_area: float = 100.0  # (w + 1)(h + 1) of a box, detector and motion, in pixels of the video
    cover: float = 0.6  # a box goes when a larger one covers more than this share of it
    grow: int = 2  # pixels by which boxes are grown before they are blanked, and motion boxes afterwards
    max_aspect: float = 10.0  # of motion boxes, either way

    def worker(self, device: str) -> Worker:
        """Load the detector and the motion mask."""
        raise NotImplementedError
