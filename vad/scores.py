"""The scores file: `scores.npz`, no pickle, equal for equal scores. What a method scored is the record.

Members: `header` (UTF-8 JSON as uint8), `offsets` int64 (v + 1,), `score` float64 (m,), `head.<name>` float32 (m,), where there
are several models `group` int16 (m,); for objects `frame` int32 (m,) and `box` float32 (m, 4), for snippets `first` and `end`
int32 (m,), for frames `frame` int32 (m,).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from vad.types import Record


@dataclass(frozen=True)
class Scores:
    """Scores of one method over one benchmark; higher is more abnormal, always.

    `header` holds `method`, `benchmark`, `protocol`, `recipe` (hash), `weights` (hash), `range` ("raw" or "logit"), `statistics`
    (head -> one mapping for each group), `fusion` (kind, weights, clip), `floor` (the score of a frame without objects), `chain`
    (the steps of `paper_chain`, or none) and `version`; the videos are added from the record when the file is written. No
    times, paths, devices or run names.
    """

    record: Record
    score: np.ndarray  # float64 (m,)
    heads: Mapping[str, np.ndarray] = field(default_factory=dict)  # name -> float32 (m,)
    group: np.ndarray | None = None  # int16 (m,)
    header: Mapping[str, Any] = field(default_factory=dict)

    def check(self) -> None:
        """Raise `ScoresError` for NaN, lengths that differ, frames outside their video, boxes of negative size."""
        raise NotImplementedError

    def save(self, path: str | Path) -> None:
        """Write the file atomically; equal scores give equal bytes."""
        raise NotImplementedError

    @classmethod
    def load(cls, path: str | Path) -> "Scores":
        """Read and check a file; raises `ScoresError` that names it."""
        raise NotImplementedError
