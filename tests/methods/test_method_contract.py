"""What every method promises. A method in `vad/methods` joins by itself, and has to bring an example:

tests/methods/example_<module>.py with `detector(**options) -> AnomalyDetector` and `data(**options) -> VideoData`,
small, with everything in the cache that it reads.
"""

import importlib
import inspect
import pkgutil
from pathlib import Path
from types import ModuleType
from typing import Any

import lightning.pytorch as pl
import numpy as np
import pytest
import torch

import vad.methods
from vad.errors import RunError
from vad.methods.anomaly_detector import AnomalyDetector, constructor_arguments
from vad.training import AtomicCheckpointIO, EpochCheckpoint, StepSeed, load_weights_only
from vad.training.collecting import collect


def methods() -> dict[str, type[AnomalyDetector]]:
    """Every AnomalyDetector that a module of `vad.methods` defines and none other is made from, by its module."""
    found = {}
    for module in pkgutil.iter_modules(vad.methods.__path__):
        for _, member in inspect.getmembers(importlib.import_module(f"vad.methods.{module.name}"), inspect.isclass):
            own = member.__module__ == f"vad.methods.{module.name}"
            if own and issubclass(member, AnomalyDetector) and member is not AnomalyDetector:
                found[module.name] = member
    return {name: cls for name, cls in found.items() if not any(cls in other.__mro__[1:] for other in found.values())}


METHODS = methods()


@pytest.fixture(params=sorted(METHODS))
def example(request: pytest.FixtureRequest) -> ModuleType:
    path = Path(__file__).parent / f"example_{request.param}.py"
    assert path.is_file(), f"{request.param} brings no {path.name} for this suite"
    return importlib.import_module(path.stem)


def trainer(epochs: int = 0, folder: Path | None = None, kill: int | None = None, **options: Any) -> pl.Trainer:
    callbacks: list[Any] = []
    if folder is not None:
        callbacks = [StepSeed(0), EpochCheckpoint(folder, log=folder / "log.csv")]
    if kill is not None:
        callbacks.append(Kill(kill))
    return pl.Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        logger=False,
        plugins=[AtomicCheckpointIO()],
        callbacks=callbacks,
        enable_checkpointing=folder is not None,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        num_sanity_val_steps=0,
        **options,
    )


class Killed(Exception):
    """Stands for a kill."""


class Kill(pl.Callback):
    """Ends the training at the second step of an epoch."""

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch

    def on_train_batch_end(self, trainer: pl.Trainer, module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if (trainer.current_epoch, batch_idx) == (self.epoch, 1):
            raise Killed


def fit(
    example: ModuleType, folder: Path, epochs: int, kill: int | None = None, workers: int = 0, **options: Any
) -> AnomalyDetector:
    """Train up to `epochs`, from the folder's last checkpoint if there is one."""
    torch.manual_seed(0)
    detector, data = example.detector(), example.data(num_workers=workers)
    last = folder / "last.ckpt"
    try:
        trainer(epochs, folder, kill, **options).fit(
            detector, datamodule=data, ckpt_path=str(last) if last.is_file() else None, weights_only=True
        )
    except Killed:
        assert kill is not None
    return detector


def estimated(example: ModuleType, detector: AnomalyDetector) -> AnomalyDetector:
    detector.finish()
    if detector.precise_batchnorm:
        detector.estimate_batchnorm(trainer(), example.data())
    detector.estimate(collect(trainer(), detector, example.data(), "estimate"))
    return detector


def losses(folder: Path) -> list[float]:
    rows = load_weights_only(folder / "last.ckpt")["callbacks"]
    return [row["loss"] for row in next(state for name, state in rows.items() if "EpochCheckpoint" in name)["rows"]]


def test_the_loss_is_finite_and_falls(example, tmp_path) -> None:
    fit(example, tmp_path, 5)
    curve = losses(tmp_path)
    assert np.isfinite(curve).all()
    assert curve[-1] < curve[0]


def test_a_training_continued_with_workers_ends_with_the_same_state_bit_for_bit(example, tmp_path) -> None:
    fit(example, tmp_path / "whole", 3)
    for kill in (1, 2, None):
        fit(example, tmp_path / "parts", 3, kill, workers=1)
    whole, parts = (load_weights_only(tmp_path / name / "last.ckpt") for name in ("whole", "parts"))
    assert whole["state_dict"].keys() == parts["state_dict"].keys()
    for name, tensor in whole["state_dict"].items():
        assert torch.equal(tensor, parts["state_dict"][name]), name
    assert (tmp_path / "whole/log.csv").read_text() == (tmp_path / "parts/log.csv").read_text()


def test_a_score_is_the_same_for_any_batch_size_and_order(example) -> None:
    torch.manual_seed(0)
    detector = example.detector()
    scores = {size: collect(trainer(), detector, example.data(batch_size=size), "score") for size in (4, 7, 64)}
    for size in (4, 7):
        assert scores[size].keys() == scores[64].keys()
        for head, column in scores[64].items():
            np.testing.assert_allclose(scores[size][head], column, rtol=1e-6, atol=1e-6 * np.abs(column).max())


def test_columns_have_a_row_for_each_row_of_the_record(example) -> None:
    detector = example.detector()
    columns = collect(trainer(), detector, example.data(), "score")
    assert {len(column) for column in columns.values()} == {len(example.data().score_record())}
    assert all(c.dtype == (np.int16 if name == "group" else np.float32) for name, c in columns.items())


def test_scoring_is_in_fp32_whatever_the_trainer_s_precision(example) -> None:
    torch.manual_seed(0)
    detector = example.detector()
    full = collect(trainer(), detector, example.data(), "score")
    half = collect(trainer(precision="bf16-mixed"), detector, example.data(), "score")
    for head, column in full.items():
        np.testing.assert_array_equal(column, half[head])


def test_training_in_bf16_changes_every_weight(example, tmp_path) -> None:
    torch.manual_seed(0)
    before = {name: p.clone() for name, p in example.detector().named_parameters() if p.requires_grad}
    after = dict(fit(example, tmp_path, 2, precision="bf16-mixed").named_parameters())
    assert not [name for name, tensor in before.items() if torch.equal(tensor, after[name])]


def test_a_detector_s_file_gives_the_same_scores(example, tmp_path) -> None:
    detector = estimated(example, fit(example, tmp_path, 2))
    detector.save_detector(tmp_path / "detector.ckpt", recipe="r")
    loaded = AnomalyDetector.load_detector(tmp_path / "detector.ckpt")
    assert type(loaded) is type(detector) and loaded.arguments == detector.arguments
    assert loaded.statistics == detector.statistics and loaded.floor == detector.floor
    assert loaded.detector_extra == {"recipe": "r"}
    ours, theirs = (collect(trainer(), d, example.data(), "score") for d in (detector, loaded))
    np.testing.assert_array_equal(detector.score(ours), loaded.score(theirs))
    assert np.isfinite(detector.score(ours)).all()
    state = loaded.state_dict()
    assert state.keys() == detector.state_dict().keys()
    assert all(torch.equal(tensor, state[name]) for name, tensor in detector.state_dict().items())


def test_the_floor_is_the_lowest_score_of_a_training_sample(example) -> None:
    torch.manual_seed(0)
    detector = estimated(example, example.detector())
    columns = collect(trainer(), detector, example.data(), "estimate")
    assert detector.floor == detector.score(columns).min()
    for head, groups in detector.statistics.items():
        assert len(groups) == detector.groups
        group = columns.get("group", np.zeros(len(columns[head])))
        for index, known in enumerate(groups):
            column = columns[head][group == index].astype(np.float64)
            assert (known.count, known.minimum) == (len(column), column.min())
            assert known.mean == pytest.approx(column.mean()) and known.deviation == pytest.approx(column.std())


def test_another_method_s_file_is_refused_by_name(example, tmp_path) -> None:
    class Other(AnomalyDetector):
        def columns(self, batch: Any) -> dict[str, torch.Tensor]:
            return {}

    detector = estimated(example, example.detector())
    detector.save_detector(tmp_path / "detector.ckpt")
    with pytest.raises(RunError, match=type(detector).__name__):
        Other.load_detector(tmp_path / "detector.ckpt")


def test_a_detector_is_not_written_before_its_estimate(example, tmp_path) -> None:
    with pytest.raises(RunError, match="estimate"):
        example.detector().save_detector(tmp_path / "detector.ckpt")


def test_matching_weights_are_taken_over_and_reported(example, tmp_path) -> None:
    torch.manual_seed(1)
    other = estimated(example, example.detector())
    other.save_detector(tmp_path / "detector.ckpt")
    torch.manual_seed(2)
    ours = example.detector()
    matched = ours.load_matching(tmp_path / "detector.ckpt")
    assert set(matched.taken) == set(other.state_dict()) and not matched.made_anew and not matched.left_out
    learned = {name for name, _ in other.named_parameters()}
    assert all(torch.equal(ours.state_dict()[name], other.state_dict()[name]) for name in learned)


def test_every_argument_is_typed_documented_keyword_only_and_kept(example) -> None:
    cls = type(example.detector())
    documentation = "".join(inspect.getdoc(base) or "" for base in cls.__mro__ if issubclass(base, AnomalyDetector))
    for name, parameter in constructor_arguments(cls).items():
        assert parameter.kind is inspect.Parameter.KEYWORD_ONLY, name
        assert parameter.annotation is not inspect.Parameter.empty, name
        assert f"{name}: " in documentation, f"{name} is not documented"
    assert set(example.detector().arguments) == set(cls.argument_names())


def test_the_default_object_can_be_made(example) -> None:
    assert isinstance(type(example.detector())(), AnomalyDetector)
