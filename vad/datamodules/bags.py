"""Bags: the snippets of a video as one sample, for methods that learn from labels of whole videos.

cache: features of each source -> joined along the parts -> pooled to segments -> PairedOrder -> one gather -> BagBatch
"""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from vad.benchmarks import Benchmark
from vad.datamodules.order import PairedOrder, Share, evenly_spaced
from vad.datamodules.pooled import PooledBags
from vad.datamodules.segments import Pooling
from vad.datamodules.snippets import Align, Relative, Snippets
from vad.datamodules.video_data import VideoData
from vad.errors import ConfigError, DataError
from vad.extract.extraction import Extraction
from vad.extract.features import Features
from vad.types import BagBatch, Part, Protocol, Record, ScoredVideo, Video

Crops = Literal["mean", "random", "all"]

NO_END = int(np.iinfo(np.int32).max)


class Bags(Dataset[BagBatch]):
    """Asked for a list of bags, gives the batch, in this order.

    Args:
        bags: What to gather from.
        label: int64 (v,), 0 normal, 1 abnormal.
        drawn: Indices are `bag * crops + crop`, and the batch holds that crop; otherwise every crop.
        key: By what scores find the way home: the `bag`, or each real row (`segment`).
    """

    def __init__(
        self, bags: PooledBags, label: np.ndarray, *, drawn: bool = False, key: Literal["bag", "segment"] = "bag"
    ) -> None:
        self.bags = bags
        self.label = label
        self.drawn = drawn
        self.key = key

    def __len__(self) -> int:
        return len(self.bags)

    def __getitem__(self, indices: Sequence[int]) -> BagBatch:
        bag = np.asarray(indices, dtype=np.int64)
        crops = np.broadcast_to(np.arange(self.bags.snippets.most_crops), (len(bag), self.bags.snippets.most_crops))
        if self.drawn:
            bag, drawn = np.divmod(bag, self.bags.snippets.most_crops)
            crops = drawn[:, None]
        length, offsets = self.bags.length[bag], self.bags.offsets[bag]
        rows = np.repeat(offsets - np.cumsum(length) + length, length) + np.arange(length.sum())
        return BagBatch(
            streams=self.bags.gather(bag, crops),
            length=torch.from_numpy(length),
            label=torch.from_numpy(self.label[bag]),
            key=torch.from_numpy(rows if self.key == "segment" else bag),
            size=indices.size if isinstance(indices, Share) else len(indices),
        )


class WholeVideos(Dataset[BagBatch]):
    """Asked for a list of one video, gives every snippet of it; keys are rows, counted over all videos."""

    def __init__(self, snippets: Snippets) -> None:
        self.snippets = snippets

    def __len__(self) -> int:
        return len(self.snippets.videos)

    def __getitem__(self, indices: Sequence[int]) -> BagBatch:
        (video,) = indices
        snippets, crops = self.snippets, self.snippets.most_crops
        label = snippets.videos[video].label
        streams = []
        for stream in range(snippets.streams):
            rows = snippets.read(video, stream).half().transpose(0, 1)
            streams.append(rows.expand(crops, -1, -1).contiguous()[None])
        return BagBatch(
            streams=tuple(streams),
            length=torch.from_numpy(snippets.length[[video]]),
            label=torch.tensor([-1 if label is None else label]),
            key=torch.arange(int(snippets.offsets[video]), int(snippets.offsets[video + 1])),
            size=1,
        )


class BagData(VideoData):
    """Bags of snippet features. A training batch holds half normal and half abnormal bags, normal ones first.

    Args:
        features: What a snippet is described by; each stream of each recipe becomes a stream of the batch, in order.
        segments: Rows of a training bag; `None` for every snippet. Scoring always takes every snippet.
        pooling: `pad`: longer videos are mean-pooled to `segments` rows, shorter ones padded. `mean`: shorter ones too,
            which repeats rows (Sultani, RTFM, UR-DMU).
        crops: What becomes of a snippet's crops in training: their `mean`, one at `random`, or `all`. In scoring `mean`
            takes their mean, the others score every crop.
        align: What to do where streams differ in length: `truncate` to the shortest if they differ by at most
            `tolerance` snippets, `interpolate` all to the first, or refuse (`strict`).
        tolerance: See `align`.
        relative: Features relative to their video: minus the mean over its snippets (`subtract`), or both
            (`append`). Our choice: it takes a camera's look out of the features; a live stream has no such mean.
        batch_size: Bags of a step over all processes; even, and each process takes an equal share of both halves.
        max_items: At most so many training bags, half of each label, evenly spaced.
        checkpoint_every: Steps of an epoch; `None` for a lap of the label with more bags.
        shared: See `VideoData`.
    """

    def __init__(
        self,
        *,
        benchmark: Benchmark,
        features: list[Features],
        protocol: Protocol = "weak",
        batch_size: int = 128,
        segments: int | None = 200,
        pooling: Pooling = "pad",
        crops: Crops = "mean",
        align: Align = "truncate",
        tolerance: int = 2,
        relative: Relative = "none",
        **shared: Any,
    ) -> None:
        super().__init__(benchmark=benchmark, protocol=protocol, batch_size=batch_size, **shared)
        if not features:
            raise ConfigError("features: at least one recipe is needed to describe a snippet")
        if (segments is not None and segments < 1) or tolerance < 0:
            raise ConfigError(
                f"segments, tolerance: expected at least 1 and at least 0, got {segments} and {tolerance}"
            )
        if self.max_items == 1:
            raise ConfigError("max_items: expected at least 2, a normal and an abnormal bag")
        self.features = features
        self.segments = segments
        self.pooling: Pooling = pooling
        self.crops: Crops = crops
        self.align: Align = align
        self.tolerance = tolerance
        self.relative: Relative = relative
        self._pooled: dict[tuple[Video, ...], PooledBags] = {}
        self._scored: Snippets | None = None

    def recipes(self) -> list[Extraction]:
        return list(self.features)

    def setup(self, stage: str) -> None:
        self.require_cache()

    def train_dataloader(self) -> DataLoader:
        videos = self.training_bags()
        bags = self.pooled(videos)
        return self.loader(Bags(bags, labels(videos), drawn=self._draws), self.paired_order(videos, bags))

    def val_dataloader(self) -> DataLoader | list[DataLoader]:
        """The bags that were held out, in order, each batch with both labels, normal ones first."""
        if self.validation == 0:
            return []
        videos = interleaved(self.validation_videos(), self.batch_size)
        return self.loader(Bags(self.pooled(videos), labels(videos)), self.validation_order(len(videos)))

    def test_dataloader(self) -> DataLoader:
        snippets = self.scored()
        return self.loader(WholeVideos(snippets), self.scoring_order(len(snippets.videos), batch_size=1))

    def estimate_dataloader(self) -> DataLoader:
        """The training bags, as in training, once and in order; their keys are rows, as in scoring."""
        videos = self.training_bags()
        bags = Bags(self.pooled(videos), labels(videos), key="segment")
        return self.loader(bags, self.scoring_order(len(videos)))

    def batchnorm_dataloader(self) -> DataLoader:
        """The first epoch of training, every time."""
        videos = self.training_bags()
        bags = self.pooled(videos)
        return self.loader(Bags(bags, labels(videos), drawn=self._draws), self.paired_order(videos, bags, once=True))

    def score_record(self) -> Record:
        snippets = self.scored()
        lengths = [sum(part.stop - part.start for part in self._scored_parts(video)) for video in snippets.videos]
        return Record(
            videos=tuple(ScoredVideo(v.id, v.split, n) for v, n in zip(snippets.videos, lengths, strict=True)),
            offsets=snippets.offsets,
            first=snippets.first,
            end=snippets.end,
        )

    def training_bags(self) -> list[Video]:
        """The videos that are learned from, after `max_items`."""
        videos = self.fit_videos()
        label = labels(videos)
        if self.max_items is None:
            return videos
        kept = [np.flatnonzero(label == side) for side in (0, 1)]
        kept = [side[evenly_spaced(len(side), self.max_items // 2)] for side in kept]
        return [videos[row] for row in np.sort(np.concatenate(kept)).tolist()]

    def pooled(self, videos: Sequence[Video]) -> PooledBags:
        """The bags of some videos, pooled once for all loaders."""
        key = tuple(videos)
        if key not in self._pooled:
            snippets = self.snippets(videos, [self._known_parts(video) for video in videos])
            self._pooled[key] = PooledBags(
                snippets, segments=self.segments, pooling=self.pooling, in_memory=self.in_memory
            )
            if self.num_workers:
                self._pooled[key].share()
        return self._pooled[key]

    def snippets(self, videos: Sequence[Video], parts: Sequence[Sequence[Part]]) -> Snippets:
        """The snippets of some videos."""
        return Snippets(
            self.benchmark,
            self.features,
            videos,
            parts,
            align=self.align,
            tolerance=self.tolerance,
            mean_of_crops=self.crops == "mean",
            relative=self.relative,
        )

    def scored(self) -> Snippets:
        """The snippets of the videos that are scored."""
        if self._scored is None:
            videos = self.score_videos()
            self._scored = self.snippets(videos, [self._scored_parts(video) for video in videos])
        return self._scored

    def paired_order(self, videos: Sequence[Video], bags: PooledBags, *, once: bool = False) -> PairedOrder:
        """Half normal, half abnormal bags, split over processes."""
        rank, world = self._place()
        return PairedOrder(
            labels(videos),
            batch_size=self.batch_size,
            seed=self.seed,
            crops=bags.snippets.most_crops if self._draws else 1,
            rank=rank,
            world=world,
            steps=self.checkpoint_every,
            once=once,
        )

    @property
    def _draws(self) -> bool:
        return self.crops == "random"

    def _known_parts(self, video: Video) -> list[Part]:
        """What a video consists of; where its length is not known, all that its entry covers."""
        return [Part(video.id, 0, NO_END)] if video.frames is None else self.benchmark.parts(video)

    def _scored_parts(self, video: Video) -> list[Part]:
        """The same with the length that evaluation expects: its grid's, of a video that only features are left of."""
        if video.frames is None and video.path is None:
            return [Part(video.id, 0, self.benchmark.grid_length(video, self.benchmark.default_grid))]
        return self.benchmark.parts(video)


def labels(videos: Sequence[Video]) -> np.ndarray:
    """Labels int64 (v,); raises `DataError` that names a video without one."""
    for video in videos:
        if video.label is None:
            raise DataError(f"{video.id}: has no label, which training on bags needs of every video")
    return np.array([video.label for video in videos], np.int64)


def interleaved(videos: Sequence[Video], batch_size: int) -> list[Video]:
    """Videos reordered so that every batch holds its share of both labels, and normal ones first."""
    label = labels(videos)
    place = np.empty(len(videos))
    for side in np.unique(label):
        place[label == side] = (np.arange((label == side).sum()) + 0.5) / (label == side).sum()
    order = np.argsort(place, kind="stable")
    batch = np.arange(len(videos)) // batch_size
    order = order[np.lexsort((label[order], batch))]
    return [videos[row] for row in order.tolist()]
