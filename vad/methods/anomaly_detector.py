"""The base of what scores footage."""

from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
from torch import Tensor

from vad.aggregation import Fusion


class AnomalyDetector(pl.LightningModule):
    """A LightningModule whose `columns` say how abnormal samples are.

    A subclass gives `__init__` with typed, documented arguments, `training_step`, `configure_optimizers` and `columns`. Fit ends
    with a stage *estimate* (see `vad.stages`): `columns` over the training samples gives `statistics` and `floor`, which are
    part of the detector. Prediction collects columns by key over all processes: `collected` holds them on every rank.

    Args:
        fusion: How heads become one score: `single`, `mean` or `zscore`.
        weights: Weight of each head in the fusion; `None` for equal ones.
        clip: Lower bound of a z-score; `None` for none.
        precise_batchnorm: Estimate BatchNorm's statistics anew on the training samples before the estimate. Our choice.
    """

    score_range: str = "raw"  # or "logit"

    def __init__(
        self,
        *,
        fusion: Fusion = "single",
        weights: Mapping[str, float] | None = None,
        clip: float | None = None,
        precise_batchnorm: bool = False,
    ) -> None:
        super().__init__()
        self.fusion = fusion
        self.weights = weights
        self.clip = clip
        self.precise_batchnorm = precise_batchnorm

    @abstractmethod
    def columns(self, batch: Any) -> dict[str, Tensor]:
        """One float32 column (N,) for each head; where there are several models, int16 `group` (N,) too."""

    def save_detector(self, path: Path, **extra: Any) -> None:
        """Write `detector.ckpt`: class path, arguments, weights, statistics, floor, version; no optimiser."""
        raise NotImplementedError

    @classmethod
    def load_detector(cls, path: Path) -> "AnomalyDetector":
        """Read a `detector.ckpt` with `weights_only=True`; one of another method is refused by name."""
        raise NotImplementedError
