"""The base of all datamodules."""

import hashlib
from abc import abstractmethod
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal, TypeVar

import lightning.pytorch as pl
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from vad import cache
from vad.benchmarks import Benchmark
from vad.datamodules.order import BatchOrder, Order
from vad.errors import CacheError, ConfigError, DataError, VadError
from vad.extract.extraction import Extraction
from vad.extract.launch import identity_of
from vad.types import Protocol, Record, Split, Video, protocol_splits

Pass = Literal["score", "estimate", "batchnorm"]
T = TypeVar("T")


class VideoData(pl.LightningDataModule):
    """What every datamodule shares: which videos, in which order, in batches of which size.

    `predict_dataloader` serves three passes, chosen by `predict_on`: `score` is `test_dataloader`, `estimate` the
    training samples once in order, `batchnorm` the training samples once, shuffled and dealt out as in training.

    Args:
        benchmark: Where the videos come from.
        protocol: Which splits are learned from, and which are scored.
        batch_size: Samples of a step over all processes; a number that the processes do not divide is refused.
        validation: Share of the training videos (whole videos) held out for validation; 0 for none.
        max_videos: At most so many videos of each split, the first ones; of a split with normal and abnormal videos the
            first ones of both, half of each. `None` for all.
        max_items: At most so many training samples, evenly spaced; `None` for all. Scoring is never cut.
        checkpoint_every: Cut epochs after so many steps, since checkpoints lie at their ends; `None` for whole epochs.
        num_workers: Processes that gather batches; the stream of batches does not depend on it.
        in_memory: Hold the samples in memory; `auto` does if they take less than a quarter of what is free.
        seed: Seed of the order of batches; the experiment's `seed_everything` by interpolation.
    """

    def __init__(
        self,
        *,
        benchmark: Benchmark,
        protocol: Protocol,
        batch_size: int,
        validation: float = 0.0,
        max_videos: int | None = None,
        max_items: int | None = None,
        checkpoint_every: int | None = None,
        num_workers: int = 0,
        in_memory: bool | Literal["auto"] = "auto",
        seed: int = 0,
    ) -> None:
        super().__init__()
        protocol_splits(protocol)
        if not 0 <= validation < 1:
            raise ConfigError(f"validation: expected a share from 0 up to but not 1, got {validation}")
        limits = {"batch_size": batch_size, "max_videos": max_videos, "max_items": max_items}
        for name, limit in {**limits, "checkpoint_every": checkpoint_every}.items():
            if limit is not None and limit < 1:
                raise ConfigError(f"{name}: expected at least 1, got {limit}")
        if num_workers < 0:
            raise ConfigError(f"num_workers: expected at least 0, got {num_workers}")
        self.benchmark = benchmark
        self.protocol = protocol
        self.batch_size = batch_size
        self.validation = validation
        self.max_videos = max_videos
        self.max_items = max_items
        self.checkpoint_every = checkpoint_every
        self.num_workers = num_workers
        self.in_memory = in_memory
        self.seed = seed
        self.predict_on: Pass = "score"

    @abstractmethod
    def recipes(self) -> list[Extraction]:
        """What must be in the cache, sources first; touches no video."""

    def fit_videos(self) -> list[Video]:
        """The videos that are learned from, after `max_videos` and without those held out."""
        held_out = {(video.split, video.id) for video in self.validation_videos()}
        return [v for v in self._videos(protocol_splits(self.protocol).fit) if (v.split, v.id) not in held_out]

    def validation_videos(self) -> list[Video]:
        """The training videos that are held out: a function of seed and ids.

        In equal shares of every label and, within a label, of every scene as far as whole videos can be; at least one
        of a label that has two.
        """
        if self.validation == 0:
            return []
        videos = self._videos(protocol_splits(self.protocol).fit)
        held_out = set()
        for label in {video.label for video in videos}:
            drawn = sorted((video for video in videos if video.label == label), key=lambda video: self._draw(video.id))
            count = max(round(self.validation * len(drawn)), min(1, len(drawn) - 1))
            held_out |= {video.id for video in _scenes_in_turn(drawn)[:count]}
        if not held_out or len(held_out) == len(videos):
            raise ConfigError(
                f"validation: a share of {self.validation} of {len(videos)} training videos leaves one side empty"
            )
        return [video for video in videos if video.id in held_out]

    def score_videos(self) -> list[Video]:
        """The videos that are scored, after `max_videos`."""
        return self._videos(protocol_splits(self.protocol).score)

    def splits(self, recipe: Extraction | None = None) -> tuple[Split, ...]:
        """The splits whose videos are read through a recipe, each once; `None` for those read through any.

        A subclass that reads training videos through another recipe than those to score says so here.
        """
        splits = protocol_splits(self.protocol)
        return tuple(_unique((*splits.fit, *splits.score)))

    def needed(self, recipe: Extraction | None = None) -> list[Video]:
        """Every source video whose entry of a recipe this datamodule reads, each once; `None` for any recipe.

        This is what `extract` takes as its videos.
        """
        splits = self.splits(recipe)
        sources = {source.id: source for split in splits for source in self.benchmark.sources(split)}
        return _unique(sources[source] for video in self._listed(splits) for source in self._sources_of(video))

    def missing(self) -> list[tuple[Extraction, Video]]:
        """Entries that are not in the cache, or were made from another state of the video."""
        identities = {
            video.id: None if video.path is None else identity_of(self.benchmark, video) for video in self.needed()
        }
        return [
            (recipe, video)
            for recipe in self.recipes()
            for video in self.needed(recipe)
            if not cache.entry(self.benchmark.dataset, recipe, video.id).exists(
                identities[video.id] if recipe.of_footage else None
            )
        ]

    def require_cache(self) -> None:
        """Raise `CacheError` that names the command if anything is missing."""
        if missing := self.missing():
            recipe, video = missing[0]
            raise CacheError(
                f"{self.benchmark.name}: {len(missing)} cache entries are missing or older than their videos, first "
                f"'{recipe.kind}' of {video.id}; run  {recipe.command(self.benchmark.name)}"
            )

    @abstractmethod
    def estimate_dataloader(self) -> DataLoader:
        """The training samples once, in order, without augmentation."""

    @abstractmethod
    def batchnorm_dataloader(self) -> DataLoader:
        """The training samples once, shuffled and dealt out as in training, without augmentation."""

    @abstractmethod
    def score_record(self) -> Record:
        """What `test_dataloader` scores: row i of the record has key i in its batches."""

    def predict_dataloader(self) -> DataLoader:
        """The loader of the pass that `predict_on` names."""
        if self.predict_on == "score":
            return self.test_dataloader()
        return self.estimate_dataloader() if self.predict_on == "estimate" else self.batchnorm_dataloader()

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        return batch.to(device, non_blocking=True)  # Lightning's own copy waits

    # What subclasses build their loaders from.

    def training_order(self, count: int, groups: np.ndarray | None = None) -> BatchOrder:
        """Shuffled batches of `batch_size`, split over processes, cut after `checkpoint_every` steps."""
        rank, world = self._place()
        return BatchOrder(
            count,
            batch_size=self.batch_size,
            seed=self.seed,
            groups=groups,
            rank=rank,
            world=world,
            steps=self.checkpoint_every,
        )

    def batchnorm_order(self, count: int, groups: np.ndarray | None = None) -> BatchOrder:
        """One epoch of samples dealt out as in training; Lightning counts epochs, but this order must not change."""
        rank, world = self._place()
        return BatchOrder(
            count,
            batch_size=self.batch_size,
            seed=self.seed,
            shuffle="once",
            groups=groups,
            rank=rank,
            world=world,
        )

    def validation_order(self, count: int, groups: np.ndarray | None = None) -> BatchOrder:
        """Batches in order, split over processes."""
        rank, world = self._place()
        return BatchOrder(count, batch_size=self.batch_size, shuffle=False, groups=groups, rank=rank, world=world)

    def scoring_order(
        self, count: int, groups: np.ndarray | None = None, *, batch_size: int | None = None
    ) -> BatchOrder:
        """Batches in order, dealt out whole: the same batches for any number of processes."""
        rank, world = self._place()
        size = self.batch_size if batch_size is None else batch_size
        return BatchOrder(count, batch_size=size, shuffle=False, groups=groups, deal="whole", rank=rank, world=world)

    def loader(self, dataset: Dataset, order: Order) -> DataLoader:
        """A loader that asks `dataset` for the lists of indices of `order`."""
        on_gpu = self.trainer is not None and self.trainer.strategy.root_device.type == "cuda"
        return LateLoader(
            Telling(dataset) if self.num_workers else dataset,
            sampler=order,
            batch_size=None,
            collate_fn=_as_it_is,
            num_workers=self.num_workers,
            persistent_workers=self.num_workers > 0,
            pin_memory=on_gpu,
        )

    def _place(self) -> tuple[int, int]:
        """Rank of this process and number of processes."""
        return (0, 1) if self.trainer is None else (self.trainer.global_rank, self.trainer.world_size)

    def broken(self) -> dict[str, str]:
        """Source videos that extraction had to skip, with the reason: whatever consists of one is left out."""
        marks = (
            (video.id, cache.entry(self.benchmark.dataset, recipe, video.id).broken)
            for recipe in ends_of_chains(self.recipes())
            for video in self.needed(recipe)
        )
        return {video: reason for video, reason in marks if reason is not None}

    def _listed(self, splits: Iterable[Split]) -> list[Video]:
        return [video for split in splits for video in first_of_both(self.benchmark.videos(split), self.max_videos)]

    def _sources_of(self, video: Video) -> list[str]:
        if video.frames is None:  # its file cannot be opened, which extraction has to say, or only features are at hand
            return [video.id]
        return [part.source for part in self.benchmark.parts(video)]

    def _videos(self, splits: Iterable[Split]) -> list[Video]:
        listed, broken = self._listed(splits), self.broken()
        if not broken:
            return listed
        left = [v for v in listed if not any(source in broken for source in self._sources_of(v))]
        if not left:
            raise DataError(
                f"{self.benchmark.name}: none of {len(listed)} videos could be read, the first for this reason: "
                f"{next(iter(broken.values()))}"
            )
        return left

    def _draw(self, video_id: str) -> str:
        return hashlib.sha256(f"{self.seed}:{video_id}".encode()).hexdigest()


class Telling(Dataset[Any]):
    """A dataset for workers: gives what is wrong in place of a batch, for torch would put a traceback around it."""

    def __init__(self, dataset: Dataset[Any]) -> None:
        self.dataset = dataset

    def __getitem__(self, index: Any) -> Any:
        try:
            return self.dataset[index]
        except VadError as error:
            return error


class LateLoader(DataLoader):
    """Its iterator begins when the first batch is asked for, after `set_epoch`, and raises what workers tell.

    Where a training goes on, Lightning makes the iterator before it knows the epoch; workers would gather the batches
    of the first one.
    """

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]  # torch names its own class
        for batch in super().__iter__():
            if isinstance(batch, VadError):
                raise batch
            yield batch


def ends_of_chains(recipes: Sequence[Extraction]) -> list[Extraction]:
    """The recipes that no other one builds on: their entries and hashes cover those of their sources."""
    sources = [recipe.source for recipe in recipes]
    return [recipe for recipe in recipes if recipe not in sources]


def first_of_both(videos: Sequence[Video], at_most: int | None) -> list[Video]:
    """At most so many videos, in order: the first ones, or half of both labels where both occur, filled up with one
    label where there are fewer of the other.

    Lists of weakly supervised benchmarks start with all abnormal videos.
    """
    if at_most is None or {video.label for video in videos} != {0, 1}:
        return list(videos[:at_most])
    normal = sum(video.label == 0 for video in videos)
    abnormal = min(len(videos) - normal, max(at_most // 2, at_most - normal))
    left = {0: at_most - abnormal, 1: abnormal}
    kept = []
    for video in videos:
        if video.label is not None and left[video.label] > 0:
            left[video.label] -= 1
            kept.append(video)
    return kept


def _scenes_in_turn(videos: Sequence[Video]) -> list[Video]:
    """Videos reordered so that the first ones, however many, hold every scene's share; one scene stays as it is."""
    of_scene = Counter(video.scene for video in videos)
    seen: Counter[str | None] = Counter()
    place = {}
    for video in videos:
        place[video.id] = (seen[video.scene] + 0.5) / of_scene[video.scene]
        seen[video.scene] += 1
    return sorted(videos, key=lambda video: place[video.id])


def _unique(items: Iterable[T]) -> list[T]:
    return list(dict.fromkeys(items))


def _as_it_is(batch: Any) -> Any:
    return batch
