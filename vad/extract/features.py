"""Features of snippets: one decode of a video, an encoder, one vector for each stream, crop and snippet.

An entry holds `first` and `end`, int32 (n,): snippet i covers the frames [first[i], end[i]) of its source, ascending
and without gaps; and for each stream an array of its name, float16 (n, C, D).
"""

from abc import ABC
from dataclasses import dataclass
from typing import ClassVar

from vad.extract.extraction import Extraction


@dataclass(frozen=True)
class Features(Extraction, ABC):
    """What bags are made of: features that were computed here (`FeatureRecipe`) or by others (`PackRecipe`)."""

    @property
    def streams(self) -> tuple[str, ...]:
        """Names of the arrays of an entry, one for each stream."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class FeatureRecipe(Features):
    """Features computed from footage. See the contract of an entry above."""

    kind: ClassVar[str] = "features"
    version: ClassVar[int] = 1
