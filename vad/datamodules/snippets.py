"""Snippets of videos: entries of the cache joined along the videos' parts, streams row by row beside each other."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from vad import cache
from vad.benchmarks import Benchmark
from vad.datamodules.rows import StackedRows, Stretch
from vad.errors import DataError
from vad.extract.features import Features
from vad.types import Part, Video

Align = Literal["truncate", "strict", "interpolate"]
Relative = Literal["none", "subtract", "append"]


class Span(NamedTuple):
    """The snippets of an entry that lie in a part."""

    stretch: Stretch
    first: np.ndarray  # int32 (n,), of the source
    end: np.ndarray  # int32 (n,), exclusive

    def __len__(self) -> int:
        return len(self.first)

    def cut(self, count: int) -> "Span":
        """The first `count` of them."""
        entry, start, _ = self.stretch
        return Span(Stretch(entry, start, start + count), self.first[:count], self.end[:count])


class Snippets:
    """The snippets of some videos, as every stream describes them.

    Args:
        benchmark: Says what each video consists of.
        recipes: What a snippet is described by; each of their streams becomes one here, in order.
        videos: In the order in which they are asked for.
        parts: What each of them consists of.
        align: See `aligned`.
        tolerance: See `aligned`.
        mean_of_crops: Replace the crops of a snippet by their mean.
        relative: `subtract` the mean over the video's snippets, in each crop, or `append` the difference to it.

    Raises:
        DataError: A video without snippets, a gap in a part, streams that do not fit each other.
        CacheError: Entries that are missing, damaged or of another width.
    """

    def __init__(
        self,
        benchmark: Benchmark,
        recipes: Sequence[Features],
        videos: Sequence[Video],
        parts: Sequence[Sequence[Part]],
        *,
        align: Align = "truncate",
        tolerance: int = 2,
        mean_of_crops: bool = True,
        relative: Relative = "none",
    ) -> None:
        self.videos = tuple(videos)
        self.mean_of_crops = mean_of_crops
        self.relative = relative
        spans: list[list[Span]] = [[] for _ in recipes]  # of each recipe, one for each part
        places: list[list[np.ndarray]] = [[] for _ in recipes]
        firsts: list[np.ndarray] = []
        ends: list[np.ndarray] = []
        counts: list[int] = []
        for video, its_parts in zip(videos, parts, strict=True):
            shift = count = 0
            for part in its_parts:
                found = [span(benchmark, recipe, part) for recipe in recipes]
                found, rows = aligned(found, align, tolerance, f"{benchmark.name}: {video.id}", recipes)
                for number, (of_recipe, place) in enumerate(zip(found, rows, strict=True)):
                    spans[number].append(of_recipe)
                    places[number].append(place)
                firsts.append(found[0].first - part.start + shift)
                ends.append(found[0].end - part.start + shift)
                shift += part.stop - part.start
                count += len(found[0])
            if count == 0:
                raise DataError(f"{benchmark.name}: {video.id} has no snippet, so it can be neither learned nor scored")
            counts.append(count)
        self.length = np.array(counts, np.int64)  # (v,)
        self.offsets = np.concatenate([[0], np.cumsum(self.length)])  # int64 (v + 1,)
        self.first = np.concatenate([np.empty(0, np.int32), *firsts]).astype(np.int32)  # (sum of length,), of the video
        self.end = np.concatenate([np.empty(0, np.int32), *ends]).astype(np.int32)
        self._rows: list[StackedRows] = []
        self._places: list[np.ndarray] = []  # of each stream, float64 (sum of length,)
        for recipe, its_spans, its_places in zip(recipes, spans, places, strict=True):
            starts = np.cumsum([0, *(len(s) for s in its_spans)])[:-1]
            place = np.concatenate(
                [np.empty(0), *(start + place for start, place in zip(starts, its_places, strict=True))]
            )
            for name in recipe.streams:
                self._rows.append(StackedRows(name, [s.stretch for s in its_spans]))
                self._places.append(place)
        self._check_crops(benchmark, recipes)

    @property
    def streams(self) -> int:
        """How many there are."""
        return len(self._rows)

    def crops(self, stream: int) -> int:
        """Crops of one stream: `self.most_crops`, or one that stands for all of them."""
        return 1 if self.mean_of_crops else int(self._rows[stream].row_shape[0])

    @property
    def most_crops(self) -> int:
        """Crops of a snippet."""
        return max(self.crops(stream) for stream in range(self.streams))

    def dim(self, stream: int) -> int:
        """Width of a vector as `read` gives it."""
        return int(self._rows[stream].row_shape[1]) * (2 if self.relative == "append" else 1)

    def read(self, video: int, stream: int, among: np.ndarray | None = None) -> Tensor:
        """Snippets of one video, (n, crops, dim), float16 or float32: all, or those at int64 (n,), ascending.

        What is relative is so to the snippets that are read. Raises `DataError` for a value that is no finite number.
        """
        place = self._places[stream][self.offsets[video] : self.offsets[video + 1]]
        if among is not None:
            place = place[among]
        lower = np.floor(place).astype(np.int64)
        rows = torch.from_numpy(self._rows[stream].gather(lower))
        if (place != lower).any():  # interpolated
            upper = torch.from_numpy(self._rows[stream].gather(np.ceil(place).astype(np.int64)))
            rows = torch.lerp(
                rows.float(), upper.float(), torch.from_numpy((place - lower).astype(np.float32))[:, None, None]
            )
        if self.mean_of_crops and rows.shape[1] > 1:
            rows = rows.mean(1, keepdim=True, dtype=torch.float32)
        mean = rows.mean(0, keepdim=True, dtype=torch.float32)
        if not mean.isfinite().all():
            raise DataError(
                f"'{self._rows[stream].name}' of {self.videos[video].id}: holds a value that is no finite number; "
                "delete its entry and extract or import it again"
            )
        if self.relative == "none":
            return rows
        difference = rows.float() - mean
        return difference if self.relative == "subtract" else torch.cat([rows.float(), difference], -1)

    def _check_crops(self, benchmark: Benchmark, recipes: Sequence[Features]) -> None:
        names = [name for recipe in recipes for name in recipe.streams]
        for name, rows in zip(names, self._rows, strict=True):
            if len(rows.row_shape) != 2:
                raise DataError(
                    f"{benchmark.name}: '{name}' should hold (n, crops, width), but a row is {rows.row_shape}; "
                    "extract or import it again"
                )
        crops = {name: rows.row_shape[0] for name, rows in zip(names, self._rows, strict=True)}
        if len(set(crops.values()) - {1}) > 1 and not self.mean_of_crops:
            found = ", ".join(f"{name} {count}" for name, count in crops.items())
            raise DataError(
                f"{benchmark.name}: streams need equally many crops, or one, but there are {found}; take crops: mean"
            )


def span(benchmark: Benchmark, recipe: Features, part: Part) -> Span:
    """The snippets that lie in a part; one that ends beyond it is left out.

    Raises `DataError` where frames before the last snippet are in none.
    """
    entry = cache.entry(benchmark.dataset, recipe, part.source)
    first, end = entry.read("first", mmap=False), entry.read("end", mmap=False)
    start = int(np.searchsorted(first, part.start))
    stop = int(np.searchsorted(end, part.stop, side="right"))
    first, end = first[start:stop], end[start:stop]
    covered = np.concatenate([[part.start], end[:-1]]) if len(end) else end
    if (gap := first > covered).any():
        row = int(np.argmax(gap))
        raise DataError(
            f"{benchmark.name}: '{recipe.key}' of {part.source} has no snippet for its frames {covered[row]} to "
            f"{first[row]}; delete {entry.folder} and extract or import it again"
        )
    return Span(Stretch(entry, start, max(start, stop)), first, end)


def aligned(
    spans: Sequence[Span], align: Align, tolerance: int, where: str, recipes: Sequence[Features]
) -> tuple[list[Span], list[np.ndarray]]:
    """Streams of one part beside each other: row i of each covers the same frames.

    Args:
        spans: One for each recipe.
        align: `truncate` to the shortest where lengths differ by at most `tolerance` rows, refuse (`strict`), or
            `interpolate`: stretch each to the length of the first, linearly. Our choice: the middles of both ends meet,
            as if both sampled the same time at other rates.
        tolerance: See `align`.
        where: What an error names.
        recipes: What it names too.

    Returns:
        The spans, and for each the rows float64 (n,) inside it that stand beside those of the first.
    """
    lengths = [len(s) for s in spans]
    widths = [int((s.end - s.first).max(initial=0)) for s in spans]
    named = ", ".join(f"{recipe.key} {n} of {w} frames" for recipe, n, w in zip(recipes, lengths, widths, strict=True))
    if min(lengths) == 0 < max(lengths):
        raise DataError(f"{where}: one of its features has no snippet where others have some ({named})")
    if min(lengths) > 1 and len(set(widths)) > 1:  # the last snippet may be shorter
        raise DataError(f"{where}: the snippets of all features must be equally long, but there are {named}")
    if align == "interpolate":
        return list(spans), [resampled(length, lengths[0]) for length in lengths]
    if max(lengths) - min(lengths) > (0 if align == "strict" else tolerance):
        raise DataError(
            f"{where}: streams differ too much in length ({named}); import what belongs together, or set align or "
            "tolerance"
        )
    cut = [s.cut(min(lengths)) for s in spans]
    if any((s.first != cut[0].first).any() for s in cut):
        raise DataError(
            f"{where}: the snippets of its features cover different frames ({named}); set align: interpolate"
        )
    return cut, [np.arange(min(lengths), dtype=np.float64) for _ in spans]


def resampled(count: int, wanted: int) -> np.ndarray:
    """Where in `count` rows the middles of `wanted` equal pieces of them lie, float64 (wanted,)."""
    middle = (np.arange(wanted) + 0.5) * count / max(wanted, 1) - 0.5
    return np.clip(middle, 0, max(count - 1, 0))
