"""What every method of pretext tasks promises. One in `vad/methods` joins by itself, and has to bring an example:

tests/methods/pretext_<module>.py with `method(**options) -> PretextMethod` and `data(**options) -> PretextData`, small,
with everything in the cache that it reads.
"""

import importlib
import inspect
import pkgutil
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from test_method_contract import Killed, losses, trainer

import vad.methods
from vad.methods.anomaly_detector import constructor_arguments
from vad.methods.pretext_method import PretextMethod
from vad.networks.encoder_files import read_encoder
from vad.stages.encoder import require_tasks
from vad.training import load_weights_only
from vad.training.collecting import collect


def methods() -> dict[str, type[PretextMethod]]:
    """Every PretextMethod that a module of `vad.methods` defines and none other is made from, by its module."""
    found = {}
    for module in pkgutil.iter_modules(vad.methods.__path__):
        for _, member in inspect.getmembers(importlib.import_module(f"vad.methods.{module.name}"), inspect.isclass):
            own = member.__module__ == f"vad.methods.{module.name}"
            if own and issubclass(member, PretextMethod) and member is not PretextMethod:
                found[module.name] = member
    return {name: cls for name, cls in found.items() if not any(cls in other.__mro__[1:] for other in found.values())}


METHODS = methods()


@pytest.fixture(params=sorted(METHODS))
def example(request: pytest.FixtureRequest) -> ModuleType:
    path = Path(__file__).parent / f"pretext_{request.param}.py"
    assert path.is_file(), f"{request.param} brings no {path.name} for this suite"
    return importlib.import_module(path.stem)


def made(example: ModuleType, seed: int = 0, **options: Any) -> PretextMethod:
    torch.manual_seed(seed)
    return example.method(**options)


def fit(
    example: ModuleType, folder: Path, epochs: int, kill: int | None = None, workers: int = 0, **options: Any
) -> PretextMethod:
    """Train up to `epochs`, from the folder's last checkpoint if there is one."""
    method, data, last = made(example), example.data(num_workers=workers), folder / "last.ckpt"
    try:
        trainer(epochs, folder, kill, **options).fit(
            method, datamodule=data, ckpt_path=str(last) if last.is_file() else None, weights_only=True
        )
    except Killed:
        assert kill is not None
    return method


def test_the_example_s_data_have_its_method_s_tasks(example) -> None:
    assert require_tasks(example.method(), example.data()).validation > 0


def test_the_loss_is_finite_and_falls(example, tmp_path) -> None:
    fit(example, tmp_path, 6)
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


def test_training_in_bf16_changes_every_weight(example, tmp_path) -> None:
    before = {name: p.clone() for name, p in made(example).named_parameters() if p.requires_grad}
    after = dict(fit(example, tmp_path, 2, precision="bf16-mixed").named_parameters())
    assert not [name for name, tensor in before.items() if torch.equal(tensor, after[name])]


def test_columns_are_the_same_for_any_batch_size(example) -> None:
    method = made(example)
    whole, *others = (collect(trainer(), method, example.data(batch_size=size), "score") for size in (64, 8, 32))
    assert {len(column) for column in whole.values()} == {example.data().test_clips}
    for other in others:
        assert other.keys() == whole.keys()
        for name, column in whole.items():
            if name == "vector":
                np.testing.assert_allclose(other[name], column, rtol=1e-4, atol=1e-5 * np.abs(column).max())
            else:
                np.testing.assert_array_equal(other[name], column, err_msg=name)


def test_columns_say_a_class_of_each_task(example) -> None:
    method, data = made(example), example.data()
    columns = collect(trainer(), method, data, "score")
    for number, task in enumerate(method.tasks):
        of_task = columns["task"] == number
        classes = range(data.rules.classes(task))
        assert set(columns["target"][of_task]) == set(classes) >= set(columns["said"][of_task])
    assert columns["vector"].shape == (data.test_clips, method.dim) and columns["vector"].dtype == np.float32


@pytest.mark.parametrize("probe", ["frozen", "blank"])
def test_a_probe_changes_what_is_seen_and_nothing_else(example, probe) -> None:
    method = made(example)
    plain = collect(trainer(), method, example.data(), "score")
    method.probe = probe
    probed = collect(trainer(), method, example.data(), "score")
    same = {name for name, column in plain.items() if np.array_equal(column, probed[name])}
    assert same >= {"target", "task", "video", "label", "valid"} and "vector" not in same
    method.probe = "none"
    again = collect(trainer(), method, example.data(), "score")
    assert all(np.array_equal(column, again[name]) for name, column in plain.items())


def test_another_s_encoder_is_taken_over_whole(example, tmp_path) -> None:
    ours, theirs, data = made(example, 1), made(example, 2), example.data()
    theirs.save_encoder(tmp_path / "theirs.ckpt", data, seed=0)
    ours.take_over(tmp_path / "theirs.ckpt")
    ours.save_encoder(tmp_path / "ours.ckpt", data, seed=1)
    one, other = (read_encoder(tmp_path / name) for name in ("ours.ckpt", "theirs.ckpt"))
    assert one.sha256 == other.sha256 and (one.frames, one.about["seed"]) == (data.length, 1)
    clips = next(iter(data.test_dataloader()))
    with torch.inference_mode():
        vectors = [m.eval().encoded(m.seen(clips, learning=False).clips) for m in (ours, theirs)]
    assert torch.equal(*vectors)


def test_every_argument_is_typed_documented_and_keyword_only(example) -> None:
    cls = type(example.method())
    documentation = "".join(inspect.getdoc(base) or "" for base in cls.__mro__ if issubclass(base, PretextMethod))
    for name, parameter in constructor_arguments(cls).items():
        assert parameter.kind is inspect.Parameter.KEYWORD_ONLY, name
        assert parameter.annotation is not inspect.Parameter.empty, name
        assert f"{name}: " in documentation, f"{name} is not documented"


def test_the_default_object_can_be_made(example) -> None:
    assert isinstance(type(example.method())(), PretextMethod)
