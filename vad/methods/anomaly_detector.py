"""The base of what scores footage, and the file that a detector is kept in.

    fit -> [batchnorm] -> estimate -> detector.ckpt -> score

What a stage does with it:

    detector.finish()                                    # weights that score: averages in place of the last step's
    if detector.precise_batchnorm:
        detector.estimate_batchnorm(trainer, data)
    detector.estimate(collect(trainer, detector, data, "estimate"))
    detector.save_detector(path)
    columns = collect(trainer, AnomalyDetector.load_detector(path), data, "score")
    score = detector.score(columns)                      # float64 (N,), row i belongs to row i of data.score_record()
"""

import importlib
import inspect
import sys
from abc import abstractmethod
from collections.abc import Mapping
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import lightning.pytorch as pl
import numpy as np
import torch
from torch import Tensor

from vad import __version__
from vad.aggregation import Fusion, HeadStatistics, fuse
from vad.datamodules.video_data import VideoData
from vad.errors import ConfigError, RunError, VadError
from vad.files import atomic_write
from vad.training.batchnorm import estimating_batchnorm, synchronise_batchnorm
from vad.training.checkpoint import load_weights_only
from vad.training.collecting import Collecting, collect

Columns = Mapping[str, np.ndarray]  # head -> float32 (N,), and "group" int16 (N,) where there are several models


@dataclass(frozen=True)
class Matched:
    """What a detector took over from another one: names of tensors of the state."""

    taken: tuple[str, ...]  # same name, same shape
    made_anew: tuple[str, ...]  # not in the other one, or of another shape there
    left_out: tuple[str, ...]  # in the other one only

    def __str__(self) -> str:
        parts = [f"{len(self.taken)} tensors taken over", f"{len(self.made_anew)} made anew"]
        parts += [f"made anew: {', '.join(self.made_anew)}"] if self.made_anew else []
        parts += [f"left out: {', '.join(self.left_out)}"] if self.left_out else []
        return "; ".join(parts)


class AnomalyDetector(Collecting):
    """A LightningModule whose `columns` say how abnormal samples are.

    A subclass gives `__init__` with typed, documented, keyword-only arguments, `training_step`, `configure_optimizers`
    and `columns`. Every argument stays in an attribute of its name: `arguments` reads them there, and a detector's file
    holds them. A subclass that overrides `setup` or a hook of prediction calls the base's.

    Scoring computes in fp32 whatever the trainer's precision, since scores are compared across runs.

    Args:
        fusion: How heads become one score: `single`, `mean` or `zscore`.
        weights: Weight of each head in the fusion; `None` for equal ones.
        clip: Lower bound of a z-score; `None` for none.
        precise_batchnorm: Estimate BatchNorm's statistics anew on the training samples before the estimate. Our choice.
    """

    score_range: str = "raw"  # or "logit"
    score_in_fp32: bool = True

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
        self.statistics: dict[str, list[HeadStatistics]] | None = None  # head -> one for each group
        self.floor: float | None = None  # the lowest fused score of a training sample: a frame without objects gets it
        self.detector_extra: dict[str, Any] = {}
        self._scoring = ExitStack()
        self._estimating_batchnorm = False

    @abstractmethod
    def columns(self, batch: Any) -> dict[str, Tensor]:
        """One float32 column (N,) for each head; where there are several models, int16 `group` (N,) too."""

    @property
    def groups(self) -> int:
        """How many groups `columns` knows; each has statistics of its own."""
        return 1

    @property
    def leaves_unused(self) -> bool:
        """Whether a step leaves parameters without gradients, which several processes must be told."""
        return False

    def finish(self) -> None:
        """Become what scores, after the checkpoint that will be tested was loaded: training does not go on from here.

        Overridden where averaged weights take the place of the last step's, or where the training holds more than the
        score needs; such tensors leave the state.
        """

    # Estimate and score

    def estimate(self, columns: Columns) -> None:
        """Set `statistics` and `floor` from the columns of the training samples."""
        self.statistics = head_statistics(columns, self.groups)
        self.floor = float(self.score(columns).min())

    def estimate_batchnorm(self, trainer: pl.Trainer, data: VideoData) -> None:
        """Average BatchNorm's statistics over one epoch of training batches, with the weights fixed. Our choice.

        In a trial of LBR it gave +0.02 to 0.03 AUROC in early epochs: running statistics lag behind the weights.
        """
        self._estimating_batchnorm = True
        try:
            collect(trainer, self, data, "batchnorm")
        finally:
            self._estimating_batchnorm = False

    def score(self, columns: Columns) -> np.ndarray:
        """The fused score float64 (N,) of columns; higher is more abnormal."""
        heads = {name: column for name, column in columns.items() if name != "group"}
        score = fuse(
            heads,
            self.statistics,
            kind=self.fusion,
            weights=self.weights,
            clip=self.clip,
            group=columns.get("group"),
        )
        if not np.isfinite(score).all():
            raise VadError(
                f"{type(self).__name__}: {np.count_nonzero(~np.isfinite(score))} of {len(score)} are no numbers, "
                "for the training diverged: lower the learning rate"
            )
        return score

    # What Lightning calls

    def setup(self, stage: str) -> None:
        synchronise_batchnorm(self, self.trainer.strategy.root_device)

    def on_predict_epoch_start(self) -> None:
        super().on_predict_epoch_start()
        self._scoring = ExitStack()
        if self._estimating_batchnorm:
            self._scoring.enter_context(estimating_batchnorm(self))
        elif self.score_in_fp32:
            self._scoring.enter_context(_full_precision(self.device))

    def predict_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> dict[str, Tensor]:
        if self._estimating_batchnorm:
            return self.columns(batch)
        with self._fp32():
            return super().predict_step(batch, batch_idx, dataloader_idx)

    def on_predict_epoch_end(self) -> None:
        self._scoring.close()
        if not self._estimating_batchnorm:
            super().on_predict_epoch_end()

    def _fp32(self) -> AbstractContextManager[Any]:
        return torch.autocast(self.device.type, enabled=False) if self.score_in_fp32 else nullcontext()

    # The detector's file

    @classmethod
    def argument_names(cls) -> list[str]:
        """The constructor's arguments; what it passes on as keywords is among them."""
        return list(constructor_arguments(cls))

    @property
    def arguments(self) -> dict[str, Any]:
        """The constructor's arguments, as this object was given them."""
        return {name: _plain(getattr(self, name)) for name in self.argument_names()}

    def detector_state(self) -> dict[str, Tensor]:
        """The tensors that a detector consists of; overridden where the state holds more until `finish`."""
        return self.state_dict()

    def save_detector(self, path: str | Path, **extra: Any) -> None:
        """Write `detector.ckpt`: class path, arguments, weights, statistics, floor, version; no optimiser.

        Args:
            path: The file.
            extra: Plain values that are kept beside them, for example the recipe's hash.
        """
        if self.statistics is None or self.floor is None:
            raise RunError(f"{path}: a detector is written after its estimate, and this one has none")
        content = {
            "class_path": f"{type(self).__module__}.{type(self).__qualname__}",
            "arguments": self.arguments,
            "weights": {name: tensor.detach().cpu() for name, tensor in self.detector_state().items()},
            "statistics": {head: [asdict(s) for s in groups] for head, groups in self.statistics.items()},
            "floor": self.floor,
            "version": __version__,
            "extra": extra,
        }
        with atomic_write(path) as stream:
            torch.save(content, stream)

    @classmethod
    def load_detector(cls, path: str | Path) -> Self:
        """Read a `detector.ckpt`; `extra` of the file is in `detector_extra`. One of another method is a `RunError`.

        Called on `AnomalyDetector` it gives whatever the file holds, if that is a part of `vad` or of a module that is
        imported already: no file makes Python import what it likes.
        """
        content = read_detector(path)
        found = _named_class(content["class_path"], path)
        if not issubclass(found, cls):
            raise RunError(f"{path}: holds a detector of {found.__name__}, not of {cls.__name__}")
        try:
            detector = found(**content["arguments"])
            detector.finish()  # what only the training needs is no part of a detector
            detector.load_state_dict(content["weights"])
            statistics = {head: [HeadStatistics(**s) for s in groups] for head, groups in content["statistics"].items()}
            floor = float(content["floor"])
        except (TypeError, RuntimeError, AttributeError, ValueError) as error:
            reason = " ".join(str(error).split())[:200]
            raise RunError(f"{path}: does not fit {found.__name__} of this version ({reason})") from None
        detector.statistics, detector.floor = statistics, floor
        detector.detector_extra = content["extra"]
        return detector.eval()

    def load_matching(self, path: str | Path) -> Matched:
        """Take over every tensor of another run's detector that has the same name and shape (`--finetune`).

        Raises:
            RunError: The file is no detector, or nothing in it matches.
        """
        theirs, ours = read_detector(path)["weights"], self.detector_state()
        taken = [name for name, tensor in ours.items() if name in theirs and theirs[name].shape == tensor.shape]
        if not taken:
            raise RunError(f"{path}: no tensor of {type(self).__name__} has the name and shape of one in this detector")
        self.load_state_dict({name: theirs[name] for name in taken}, strict=False)
        self.on_matching_loaded()
        return Matched(
            taken=tuple(taken),
            made_anew=tuple(name for name in ours if name not in taken),
            left_out=tuple(name for name in theirs if name not in taken),
        )

    def take_over(self, path: str | Path) -> str:
        """Take over what a pretext run learned, from its `encoder.ckpt` (`--finetune`); says what matched.

        Overridden by detectors that have such an encoder.
        """
        raise ConfigError(f"{path}: {type(self).__name__} has no encoder that pretext tasks train")

    def on_matching_loaded(self) -> None:
        """Called after weights were taken over; overridden where the training holds copies of them."""


def constructor_arguments(cls: type) -> dict[str, inspect.Parameter]:
    """Arguments of a class's constructor; in place of `**keywords` those of the next class that has a constructor."""
    lineage = iter(cls.__mro__)
    found: dict[str, inspect.Parameter] = {}
    for owner in lineage:
        if "__init__" not in vars(owner):
            continue
        parameters = list(inspect.signature(vars(owner)["__init__"]).parameters.values())[1:]
        found |= {p.name: p for p in parameters if p.kind is not p.VAR_KEYWORD and p.name not in found}
        if not any(p.kind is p.VAR_KEYWORD for p in parameters):
            break
    return found


def head_statistics(columns: Columns, groups: int) -> dict[str, list[HeadStatistics]]:
    """Count, mean, population deviation and minimum of each head on each group, in float64.

    A group without samples has a count of 0, and 0 for the rest.
    """
    heads = {name: np.asarray(column, np.float64) for name, column in columns.items() if name != "group"}
    group = np.asarray(columns.get("group", np.zeros(len(next(iter(heads.values()))), np.int16)))
    return {name: [_statistics(column[group == g]) for g in range(groups)] for name, column in heads.items()}


def _statistics(values: np.ndarray) -> HeadStatistics:
    if len(values) == 0:
        return HeadStatistics(count=0, mean=0.0, deviation=0.0, minimum=0.0)
    return HeadStatistics(len(values), float(values.mean()), float(values.std()), float(values.min()))


def read_detector(path: str | Path) -> dict[str, Any]:
    """The content of a `detector.ckpt` as it stands there; anything else is a `RunError` that names the file."""
    content = load_weights_only(path)
    expected = {
        "class_path": str,
        "arguments": dict,
        "weights": dict,
        "statistics": dict,
        "floor": float,
        "extra": dict,
    }
    if not isinstance(content, dict) or not all(isinstance(content.get(k), t) for k, t in expected.items()):
        raise RunError(f"{path}: is not a detector's file; vad fit writes one as detector.ckpt")
    return content


def _named_class(class_path: str, path: str | Path) -> type[AnomalyDetector]:
    module, _, name = class_path.rpartition(".")
    try:
        known = importlib.import_module(module) if module.startswith("vad.methods.") else sys.modules[module]
        found = getattr(known, name)
    except (ImportError, KeyError, AttributeError):
        raise RunError(
            f"{path}: holds a detector of {class_path}, which is not there; import its module first"
        ) from None
    if not (isinstance(found, type) and issubclass(found, AnomalyDetector)):
        raise RunError(f"{path}: {class_path} is no AnomalyDetector")
    return found


def _plain(value: Any) -> Any:
    """Tuples and mappings as what a file read with `weights_only=True` may hold."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


def _full_precision(device: torch.device) -> AbstractContextManager[Any]:
    """Without TF32, whose convolutions are on by default and differ by 1e-3 between batch sizes."""
    if device.type != "cuda":
        return nullcontext()
    return torch.backends.cudnn.flags(
        enabled=True, benchmark=False, deterministic=torch.backends.cudnn.deterministic, allow_tf32=False
    )
