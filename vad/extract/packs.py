"""Feature packs that people share, imported once into the cache."""

from dataclasses import dataclass
from typing import ClassVar

from vad.extract.extraction import Worker
from vad.extract.features import Features


@dataclass(frozen=True, kw_only=True)
class PackRecipe(Features):
    """Features that others computed; `vad extract packs` imports them. An entry is as one of `FeatureRecipe`.

    Args:
        name: What the pack is called in the cache, such as `i3d` or `clip`: its only stream has this name.
        dim: Width of a vector.
        snippet: Frames that a row covers.
    """

    kind: ClassVar[str] = "pack"
    version: ClassVar[int] = 1
    of_footage: ClassVar[bool] = False

    name: str
    dim: int
    snippet: int = 16

    @property
    def streams(self) -> tuple[str, ...]:
        return (self.name,)

    def worker(self, device: str) -> Worker:
        """Raises `CacheError`, which names the command that imports a pack."""
        raise NotImplementedError
