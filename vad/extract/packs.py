"""Feature packs that people share, imported once into the cache.

files -> `pack_layout.find`: names, axes, crops, width, rows over all of them -> `import_pack`: a video at a time, into
an entry as of `FeatureRecipe`
"""

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from vad import cache
from vad.benchmarks import Benchmark
from vad.errors import CacheError, ConfigError, DataError
from vad.extract import pack_files
from vad.extract.extraction import Worker
from vad.extract.features import Features
from vad.extract.launch import Done, OnBroken, Progress, Summary
from vad.extract.pack_files import PackFile, norm_is_last
from vad.extract.pack_layout import NO_FILE, SEGMENTS, Pack, PackedVideo

CHUNK = 1 << 24  # values that are converted at once: memory is the video in half precision and a little


@dataclass(frozen=True, kw_only=True)
class PackRecipe(Features):
    """Features that others computed; `vad extract packs` imports them. An entry is as one of `FeatureRecipe`.

    Args:
        name: What the pack is called in the cache, such as `i3d` or `clip`: its only stream has this name.
        dim: Width of a vector.
        snippet: Frames that a row covers.
        segments: Rows that every video has, each an equal share of it, as in the text files of UCF-Crime's authors;
            `None` where rows are snippets. `snippet` does not count then.
    """

    kind: ClassVar[str] = "pack"
    version: ClassVar[int] = 1
    of_footage: ClassVar[bool] = False

    name: str
    dim: int
    snippet: int = 16
    segments: int | None = None

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[A-Za-z0-9][\w.-]*", self.name) or self.name in ("first", "end", "entry"):
            raise ConfigError(f"name: expected a word for the pack, such as i3d, got '{self.name}'")
        if self.dim < 1 or self.snippet < 1:
            raise ConfigError(f"dim, snippet: expected at least 1, got {self.dim} and {self.snippet}")
        if self.segments not in (None, SEGMENTS):
            raise ConfigError(f"segments: expected {SEGMENTS} or none, got {self.segments}")

    @property
    def streams(self) -> tuple[str, ...]:
        return (self.name,)

    def command(self, benchmark: str) -> str:
        """What imports this pack."""
        rows = f" --snippet {self.snippet}" if self.snippet != 16 else ""
        rows = " --layout segments32" if self.segments else rows
        return f"vad extract packs --benchmark {benchmark} --source FOLDER --name {self.name} --dim {self.dim}{rows}"

    def worker(self, device: str) -> Worker:
        """Raises `CacheError`, which names the command that imports a pack."""
        raise CacheError(f"the features '{self.name}' are not computed but imported; run  {self.command('BENCHMARK')}")


def import_pack(
    pack: Pack,
    recipe: PackRecipe,
    benchmark: Benchmark,
    *,
    on_broken: OnBroken = "stop",
    progress: Callable[[Progress], None] = lambda progress: None,
) -> Summary:
    """Put a pack into the cache, one video at a time; what is there already, from files in this state, stays.

    A killed call leaves whole entries only; the same call continues.

    Raises `DataError` for values that are not finite or beyond half precision, and for broken files; with `skip` such
    videos are marked, so that whatever follows leaves them out.
    """
    if recipe.dim != pack.dim:
        raise DataError(f"the pack's vectors have {pack.dim:,} values, {recipe.dim:,} were expected")
    started = time.perf_counter()
    dataset = benchmark.dataset
    cache.declare(dataset, recipe)
    skipped = []
    for video, reason in pack.skipped.items():
        entry = cache.entry(dataset, recipe, video.id)
        if reason == NO_FILE and entry.exists() and entry.broken is None:
            continue  # another folder had it
        if entry.broken != reason:
            entry.mark_broken(reason, identity={"pack": []})
        skipped.append((video.id, reason))
    computed = frames = 0
    progress(Progress(recipe, None, 0, len(pack.videos)))
    for index, packed in enumerate(pack.videos, start=1):
        before = time.perf_counter()
        entry = cache.entry(dataset, recipe, packed.video.id)
        identity = identity_of(pack, packed)
        covered = 0
        if not entry.exists(identity) or entry.broken is not None:
            try:
                arrays = arrays_of(pack, packed, recipe)
            except DataError as error:
                if on_broken == "stop":
                    raise
                entry.mark_broken(str(error), identity=identity)
                skipped.append((packed.video.id, str(error)))
            else:
                covered = int(arrays["end"][-1])
                entry.write(arrays, identity=identity, extra={"frames": covered})
                computed += 1
                frames += covered
        done = Done(packed.video.id, covered, time.perf_counter() - before)
        progress(Progress(recipe, done, index, len(pack.videos)))
    present = len(pack.videos) + len(pack.skipped) - computed - len(skipped)
    return Summary(recipe, computed, present, frames, time.perf_counter() - started, tuple(skipped))


def identity_of(pack: Pack, packed: PackedVideo) -> dict[str, Any]:
    """The state of a video's files, wherever the pack lies, and what else decides how they are read."""
    return {
        "pack": [file.state for file in packed.files],
        "layout": pack.layout,
        "frames": packed.known.frames,
    }


def arrays_of(pack: Pack, packed: PackedVideo, recipe: PackRecipe) -> dict[str, np.ndarray]:
    """The arrays of an entry: `first` and `end` int32 (n,), and the features float16 (n, C, D).

    Rows that begin behind the known end of a video are left out, and the last one ends there.
    """
    frames = packed.known.frames
    if recipe.segments is not None:
        bounds = segment_bounds(frames or 0, recipe.segments)
    else:
        rows = packed.rows if frames is None else min(packed.rows, -(-frames // recipe.snippet))
        bounds = np.arange(rows + 1, dtype=np.int64) * recipe.snippet
        bounds[-1] = bounds[-1] if frames is None else min(int(bounds[-1]), frames)
    features = np.empty((len(bounds) - 1, pack.crops[packed.video.split], pack.dim), np.float16)
    if pack.crop_axis is None:
        for crop, file in enumerate(packed.files):
            _fill(features[:, crop : crop + 1], pack_files.read(file)[:, None], file, pack)
    else:
        (file,) = packed.files
        _fill(features, np.moveaxis(pack_files.read(file), pack.crop_axis, 1), file, pack)
    bounds = bounds.astype(np.int32)
    return {"first": bounds[:-1], "end": bounds[1:], recipe.name: features}


def segment_bounds(frames: int, segments: int) -> np.ndarray:
    """int64 (segments + 1,): the frames at which equal shares of a video begin, and its end.

    Our choice: shares of the frames, where the authors cut a whole number of clips of 16 frames into 32 parts.
    """
    return np.linspace(0, frames, segments + 1).astype(np.int64)


def _fill(target: np.ndarray, source: np.ndarray, file: PackFile, pack: Pack) -> None:
    """Write (n, C, D) of a file into float16, in pieces; raise `DataError` for what does not fit."""
    for start, piece in _pieces(source[: len(target)]):
        if pack.has_norm and not norm_is_last(piece):
            raise DataError(f"{file.path}: its last channel is not the norm of the others, as in the pack's first file")
        with np.errstate(over="ignore"):
            half = piece[..., : pack.dim].astype(np.float16)
        finite = np.isfinite(half)
        if not finite.all():
            row, crop, channel = (int(i) for i in np.argwhere(~finite)[0])
            value = piece[row, crop, channel]
            why = "does not fit half precision (65,504 at most)" if np.isfinite(value) else "is not finite"
            raise DataError(f"{file.path}: row {start + row}, channel {channel}: {value:g} {why}")
        target[start : start + len(half)] = half


def _pieces(source: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    rows = max(1, CHUNK // max(1, source[0].size))
    for start in range(0, len(source), rows):
        yield start, source[start : start + rows]
