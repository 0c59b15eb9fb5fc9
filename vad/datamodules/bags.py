"""Bags: the snippets of a video as one sample, for methods that learn from labels of whole videos.

cache: features of each source -> joined along the parts -> pooled to segments -> PairedOrder -> one gather -> BagBatch
"""

from typing import Literal

from torch.utils.data import DataLoader

from vad.benchmarks import Benchmark
from vad.datamodules.video_data import VideoData
from vad.extract.extraction import Extraction
from vad.extract.features import Features
from vad.types import Protocol, Record

Crops = Literal["mean", "random", "all"]
Align = Literal["truncate", "strict", "interpolate"]
Relative = Literal["none", "subtract", "append"]


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
    """

    def __init__(
        self,
        *,
        benchmark: Benchmark,
        features: list[Features],
        protocol: Protocol = "weak",
        batch_size: int = 128,
        segments: int | None = 200,
        pooling: Literal["pad", "mean"] = "pad",
        crops: Crops = "mean",
        align: Align = "truncate",
        tolerance: int = 2,
        relative: Relative = "none",
        validation: float = 0.0,
        max_videos: int | None = None,
        max_items: int | None = None,
        checkpoint_every: int | None = None,
        num_workers: int = 0,
        in_memory: bool | Literal["auto"] = "auto",
        seed: int = 0,
    ) -> None:
        super().__init__(
            benchmark=benchmark,
            protocol=protocol,
            batch_size=batch_size,
            validation=validation,
            max_videos=max_videos,
            max_items=max_items,
            checkpoint_every=checkpoint_every,
            num_workers=num_workers,
            in_memory=in_memory,
            seed=seed,
        )
        self.features = features

    def recipes(self) -> list[Extraction]:
        return list(self.features)

    def train_dataloader(self) -> DataLoader:
        raise NotImplementedError

    def estimate_dataloader(self) -> DataLoader:
        """The training bags, as in training, once and in order; their keys are rows, as in scoring."""
        raise NotImplementedError

    def batchnorm_dataloader(self) -> DataLoader:
        raise NotImplementedError

    def score_record(self) -> Record:
        raise NotImplementedError
