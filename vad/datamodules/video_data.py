"""The base of all datamodules."""

from abc import abstractmethod
from typing import Literal

import lightning.pytorch as pl
from torch.utils.data import DataLoader

from vad.benchmarks import Benchmark
from vad.extract.extraction import Extraction
from vad.types import Protocol, Record, Video, protocol_splits


class VideoData(pl.LightningDataModule):
    """What every datamodule shares: which videos, in which order, in batches of which size.

    Args:
        benchmark: Where the videos come from.
        protocol: Which splits are learned from, and which are scored.
        batch_size: Samples of a step over all processes; a number that the processes do not divide is refused.
        validation: Share of the training videos (whole videos) held out for validation; 0 for none.
        max_videos: At most so many videos of each split (the first ones); `None` for all.
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

    @abstractmethod
    def recipes(self) -> list[Extraction]:
        """What must be in the cache, sources first; touches no video."""

    @abstractmethod
    def fit_videos(self) -> list[Video]:
        """The videos that are learned from, after `max_videos` and without those held out."""

    @abstractmethod
    def validation_videos(self) -> list[Video]:
        """The training videos that are held out."""

    @abstractmethod
    def score_videos(self) -> list[Video]:
        """The videos that are scored, after `max_videos`."""

    def needed(self) -> list[Video]:
        """Every source video whose entries this datamodule reads, each once, for extraction."""
        raise NotImplementedError

    def missing(self) -> list[tuple[Extraction, Video]]:
        """Entries that are not in the cache, or were made from another state of the video."""
        raise NotImplementedError

    @abstractmethod
    def estimate_dataloader(self) -> DataLoader:
        """The training samples once, in order, without augmentation."""

    @abstractmethod
    def score_record(self) -> Record:
        """What `test_dataloader` scores: row i of the record has key i in its batches."""
