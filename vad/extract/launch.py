"""Carry out recipes: each video once, several at a time, and continued where it stopped."""

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from vad import cache, files
from vad.benchmarks import Benchmark
from vad.cache import Recipe
from vad.errors import CacheError, ConfigError, DataError, VideoError
from vad.extract.extraction import Extraction, Worker
from vad.extract.pool import Pool
from vad.types import Video

OnBroken = Literal["stop", "skip"]


class Done(NamedTuple):
    """One video is in the cache, or was skipped."""

    video: str
    frames: int
    seconds: float
    broken: str | None = None  # the reason, where it was skipped
    present: bool = False  # another call of `extract` was faster


class Progress(NamedTuple):
    """How far a recipe is."""

    recipe: Extraction
    last: Done | None  # None before the first
    done: int
    total: int


@dataclass(frozen=True)
class Summary:
    """What was done for one recipe."""

    recipe: Extraction
    computed: int
    present: int  # entries that were there already
    frames: int
    seconds: float  # from start to end
    skipped: tuple[tuple[str, str], ...] = ()  # (video, reason)


def extract(
    recipes: Sequence[Extraction],
    benchmark: Benchmark,
    videos: Sequence[Video] | Callable[[Extraction], Sequence[Video]],
    *,
    processes: int = 1,
    device: str = "cpu",
    on_broken: OnBroken = "stop",
    progress: Callable[[Progress], None] = lambda progress: None,
) -> list[Summary]:
    """Put the entries of source videos into the cache, those that are missing or of another state of the video.

    Started by torchrun or SLURM, each rank takes a share of whole videos, dealt out by length, and carries out every
    recipe for it, so that it waits for nobody's sources. A killed call leaves whole entries only; the same call
    continues.

    Args:
        recipes: What to compute, sources first (`VideoData.recipes`). The source of the first must be in the cache.
        benchmark: Opens the videos.
        videos: Sources (`benchmark.sources`), each once, or what says those of a recipe (`VideoData.needed`).
        processes: Worker processes on this machine; their threads share its cores.
        device: `cpu`, `cuda`, `cuda:1`; with `cuda`, processes take the devices in turn.
        on_broken: `stop` raises at the first video that cannot be read; `skip` counts it in the summary and marks it in
            the cache, so that it is left out of what follows. `stop` tries marked videos again.
        progress: Called before the first video of a recipe, and after each.

    Raises `CacheError` where a source entry is missing, `VideoError` for a broken video, and whatever a process raised.
    """
    if processes < 1:
        raise ConfigError(f"processes: expected at least 1, got {processes}")
    if on_broken not in ("stop", "skip"):
        raise ConfigError(f"on_broken: expected 'stop' or 'skip', got '{on_broken}'")
    rank, ranks = placement()
    of_recipe = [videos(recipe) if callable(videos) else videos for recipe in recipes]
    every = {video.id: video for wanted in of_recipe for video in wanted}
    mine = [video.id for video in deal(list(every.values()), ranks)[rank]]  # all of a video's recipes: its sources
    summaries = []
    for recipe, wanted in zip(recipes, of_recipe, strict=True):
        job = Job(recipe, benchmark, on_broken)
        own = {video.id: video for video in wanted}
        share = [own[video] for video in mine if video in own]
        summaries.append(_carry_out(job, share, processes=processes, device=device, progress=progress))
    return summaries


def _carry_out(
    job: "Job", videos: Sequence[Video], *, processes: int, device: str, progress: Callable[[Progress], None]
) -> Summary:
    started = time.perf_counter()
    todo = job.todo(videos)
    if todo and not job.recipe.of_footage:
        name = job.benchmark.name
        raise CacheError(
            f"{name}: {len(todo)} of {len(videos)} videos have no entry of {job.recipe.key}, first {todo[0].id}; such "
            f"are not computed but imported: run  {job.recipe.command(name)}"
        )
    _require_sources(job.recipe, job.benchmark, todo)
    cache.declare(job.benchmark.dataset, job.recipe)
    finished: list[Done] = []
    progress(Progress(job.recipe, None, 0, len(todo)))
    with Pool(job, processes=min(processes, len(todo)), device=device) as pool:
        for done in pool.map(todo):
            finished.append(done)
            progress(Progress(job.recipe, done, len(finished), len(todo)))
    computed = sum(done.broken is None and not done.present for done in finished)
    skipped = tuple(
        (video.id, reason) for video in videos if (reason := job.entry(job.recipe, video).broken) is not None
    )
    return Summary(
        recipe=job.recipe,
        computed=computed,
        present=len(videos) - computed - len(skipped),
        frames=sum(done.frames for done in finished),
        seconds=time.perf_counter() - started,
        skipped=skipped,
    )


@dataclass(frozen=True)
class Job:
    """What a process does: load once, then one video after another."""

    recipe: Extraction
    benchmark: Benchmark
    on_broken: OnBroken

    def load(self, device: str) -> Callable[[Video], Done]:
        worker = self.recipe.worker(device)
        return lambda video: self._compute(worker, video)

    def entry(self, recipe: Recipe, video: Video) -> cache.Entry:
        """Where a recipe's arrays of a video lie."""
        return cache.entry(self.benchmark.dataset, recipe, video.id)

    def todo(self, videos: Sequence[Video]) -> list[Video]:
        """The videos to compute; those that were skipped once are tried again where nothing may be skipped."""
        lacking = {video.id for video in missing(self.recipe, self.benchmark, videos)}
        if self.on_broken == "stop" and self.recipe.of_footage:  # who imported others' work has decided already
            lacking |= {video.id for video in videos if self.entry(self.recipe, video).broken is not None}
        return [video for video in videos if video.id in lacking]

    def _compute(self, worker: Worker, video: Video) -> Done:
        started = time.perf_counter()
        identity = identity_of(self.benchmark, video)  # of the state before it was read
        entry = self.entry(self.recipe, video)
        if entry.exists(identity) and (self.on_broken == "skip" or entry.broken is None):
            return Done(video.id, 0, 0.0, present=True)  # several calls may fill one cache
        try:
            if self.recipe.source is not None and (reason := self.entry(self.recipe.source, video).broken) is not None:
                raise VideoError(str(video.path), reason)
            arrays, extra = worker(self.benchmark, video)
        except VideoError as error:
            if self.on_broken == "stop":
                raise
            entry.mark_broken(error.reason, identity=identity)
            return Done(video.id, 0, time.perf_counter() - started, error.reason)
        entry.write(arrays, identity=identity, extra=extra)
        return Done(video.id, int(extra.get("frames", 0)), time.perf_counter() - started)


def missing(recipe: Recipe, benchmark: Benchmark, videos: Sequence[Video]) -> list[Video]:
    """The videos whose entry is not in the cache, or was made from another state of the video.

    An entry that was imported needs no footage, and is of no state of it.
    """
    of_footage = not isinstance(recipe, Extraction) or recipe.of_footage
    return [
        video
        for video in videos
        if not cache.entry(benchmark.dataset, recipe, video.id).exists(
            identity_of(benchmark, video) if of_footage else None
        )
    ]


def identity_of(benchmark: Benchmark, video: Video) -> dict[str, int | str]:
    """The state of a video's files; `DataError` where it has none."""
    if video.path is None:
        raise DataError(f"{benchmark.name}: {video.id} has no footage to extract from")
    try:
        return files.identity(video.path)
    except OSError as error:
        raise DataError(f"{benchmark.name}: {video.path} cannot be read ({error.strerror})") from None


def deal(videos: Sequence[Video], ranks: int) -> list[list[Video]]:
    """Whole videos for each rank: longest first, each to the rank with the least to do. Unknown lengths count alike."""
    known = [video.frames for video in videos if video.frames is not None]
    typical = sum(known) / len(known) if known else 1.0
    length = {video.id: typical if video.frames is None else video.frames for video in videos}
    shares: list[list[Video]] = [[] for _ in range(ranks)]
    load = [0.0] * ranks
    for video in sorted(videos, key=lambda video: (-length[video.id], video.id)):
        least = load.index(min(load))
        shares[least].append(video)
        load[least] += length[video.id]
    return shares


def placement() -> tuple[int, int]:
    """(rank, ranks) as torchrun or SLURM say; (0, 1) for a process that was started by hand."""
    if not {"TORCHELASTIC_RUN_ID", "SLURM_NTASKS"} & os.environ.keys():  # what the two are told by; saves the import
        return 0, 1
    from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
    from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment

    for environment in (TorchElasticEnvironment, SLURMEnvironment):
        if environment.detect():
            try:
                found = environment()
            except RuntimeError as error:  # options of sbatch that Lightning refuses
                raise ConfigError(" ".join(str(error).split())) from None
            return found.global_rank(), found.world_size()
    return 0, 1


def _require_sources(recipe: Extraction, benchmark: Benchmark, videos: Sequence[Video]) -> None:
    source = recipe.source
    lacking = missing(source, benchmark, videos) if source is not None else []
    if source is not None and lacking:
        raise CacheError(
            f"{recipe.key} is made from {source.key}, which lacks {len(lacking)} of {len(videos)} videos of "
            f"{benchmark.name} (the first is {lacking[0].id}): extract that first"
        )
