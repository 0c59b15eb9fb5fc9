"""LBR-SPR: closed forms of the weights, the schedule of k, and one step of training, against obvious twins."""

import itertools
import math
from types import SimpleNamespace
from typing import Any

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from torch import nn
from toy_cubes import cube_data

from vad.errors import ConfigError, RunError
from vad.methods.lbr_spr import (
    LBRSPR,
    Autoencoder,
    batch_statistics,
    flow_planes,
    learning_rate_factor,
    pixels,
    spr_weights,
    squared_error,
)
from vad.training.collecting import collect
from vad.types import CubeBatch

WEIGHTINGS = ("none", "hard", "linear", "huber", "mixture")


def slow_weight(error: float, mean: float, deviation: float, k: float, weighting: str) -> float:
    """One cube at a time, as the closed forms read."""
    if weighting == "none":
        return 1.0
    lam = mean + max(k, 1.0) * deviation
    if weighting == "hard":
        return 1.0 if error < lam else 0.0
    if weighting == "linear":
        return 1.0 - error / lam if error < lam else 0.0
    if weighting == "huber":
        return 1.0 if error < lam else lam / error
    l1 = mean + deviation
    l2 = max(mean + k * deviation, l1)
    if error <= l1:
        return 1.0
    if error >= l2:
        return 0.0
    return l1 * (l2 - error) / (error * (l2 - l1))


def weights(error: list[float], mean: float, deviation: float, k: float, weighting: Any) -> list[float]:
    of = lambda value: torch.tensor(value, dtype=torch.float64)  # noqa: E731
    return spr_weights(of(error), of(mean), of(deviation), k, weighting).tolist()


@pytest.mark.parametrize("weighting", WEIGHTINGS)
@pytest.mark.parametrize("k", [4.0, 2.5, 1.0, 0.3, -1.0])
def test_weights_are_those_of_the_closed_form(weighting, k) -> None:
    error = np.random.default_rng(0).gamma(2.0, 10.0, 400).tolist()
    mean, deviation = float(np.mean(error)), float(np.std(error, ddof=1))
    expected = [slow_weight(e, mean, deviation, k, weighting) for e in error]
    np.testing.assert_allclose(weights(error, mean, deviation, k, weighting), expected, rtol=1e-12)


def test_toy_weights() -> None:
    error = [5.0, 12.0, 15.0, 18.0, 19.0]  # mean 10, deviation 2: l1 = 12, l2 = 18 at k = 4
    assert weights(error, 10.0, 2.0, 4.0, "mixture") == pytest.approx([1, 1, 12 * 3 / (15 * 6), 0, 0])
    assert weights(error, 10.0, 2.0, 4.0, "hard") == [1, 1, 1, 0, 0]
    assert weights(error, 10.0, 2.0, 4.0, "linear") == pytest.approx([1 - 5 / 18, 1 - 12 / 18, 1 - 15 / 18, 0, 0])
    assert weights(error, 10.0, 2.0, 4.0, "huber") == pytest.approx([1, 1, 1, 1, 18 / 19])


def test_mixture_is_continuous_and_its_empty_middle_is_a_hard_cut() -> None:
    assert weights([12.0, 12.0 + 1e-9, 18.0 - 1e-9, 18.0], 10.0, 2.0, 4.0, "mixture") == pytest.approx(
        [1, 1, 0, 0], abs=1e-8
    )
    for k in (1.0, 0.5, -3.0):
        assert weights([11.0, 12.0, 12.0 + 1e-9, 30.0], 10.0, 2.0, k, "mixture") == [1, 1, 0, 0]
    assert weights([10.0, 10.0], 10.0, 0.0, 4.0, "mixture") == [1, 1], "equal errors: no cube stands out"


@pytest.mark.parametrize("weighting", WEIGHTINGS)
def test_a_batch_of_one_cube_counts_in_full(weighting) -> None:
    error = torch.tensor([7.0])
    mean, deviation = batch_statistics(error)
    assert float(mean) == 7.0 and math.isnan(float(deviation))
    assert spr_weights(error, mean, deviation, 4.0, weighting).tolist() == [1.0]


def test_statistics_of_a_batch_are_torch_s_mean_and_unbiased_deviation() -> None:
    error = torch.rand(50) * 1000 + 5000
    mean, deviation = batch_statistics(error)
    torch.testing.assert_close(mean, error.double().mean().float())
    torch.testing.assert_close(deviation, error.double().std().float())


@pytest.mark.parametrize(("outputs", "count"), [(15, 2_534_671), (10, 2_534_506)])
def test_the_networks_have_the_authors_number_of_parameters(outputs, count) -> None:
    network = Autoencoder(15, outputs)
    assert sum(parameter.numel() for parameter in network.parameters()) == count
    assert network(torch.zeros(2, 15, 32, 32)).shape == (2, outputs, 32, 32)
    assert isinstance(list(network.modules())[-1], nn.Conv2d), "the last layer is linear"


def test_channels_stand_frame_after_frame() -> None:
    cubes = torch.randint(0, 256, (2, 5, 8, 8, 3), dtype=torch.uint8)
    planes = pixels(cubes, 3)
    assert planes.shape == (2, 15, 8, 8) and planes.is_contiguous(memory_format=torch.channels_last)
    for t in range(5):
        for c in range(3):
            torch.testing.assert_close(planes[:, 3 * t + c], cubes[:, t, :, :, c] / 255)
    flow = torch.randn(2, 5, 8, 8, 2).half()
    assert torch.equal(flow_planes(flow)[:, 2 * 3 + 1], flow[:, 3, :, :, 1].float())


def test_grey_cubes_are_spread_over_three_equal_channels_or_taken_as_one() -> None:
    grey = torch.randint(0, 256, (2, 5, 8, 8, 1), dtype=torch.uint8)
    assert torch.equal(pixels(grey, 3), pixels(grey.repeat(1, 1, 1, 1, 3), 3))
    assert pixels(grey, 1).shape == (2, 5, 8, 8)
    with pytest.raises(ConfigError, match="channels"):
        pixels(grey.repeat(1, 1, 1, 1, 3), 1)


def test_errors_are_sums_in_fp32() -> None:
    output, target = torch.rand(3, 15, 8, 8).bfloat16(), torch.rand(3, 15, 8, 8)
    expected = ((output.double() - target.double()) ** 2).flatten(1).sum(1)
    error = squared_error(output, target)
    assert error.dtype == torch.float32
    torch.testing.assert_close(error.double(), expected, rtol=1e-6, atol=0)


def test_cosine_rises_and_falls_to_zero_and_constant_stays() -> None:
    assert [learning_rate_factor(step, 100, "constant") for step in (0, 50, 100)] == [1, 1, 1]
    curve = [learning_rate_factor(step, 1000, "cosine") for step in range(1001)]
    assert curve[0] == pytest.approx(1 / 50) and curve[500] == pytest.approx(0.5) and curve[1000] == 0
    assert all(later <= earlier for earlier, later in itertools.pairwise(curve[50:]))


# One step


def make(**options: Any) -> LBRSPR:
    torch.manual_seed(0)
    model = LBRSPR(**{"width": 4, "warmup_epochs": 0, "channels": 1, **options})
    model.trainer = SimpleNamespace(current_epoch=0, num_training_batches=10)  # type: ignore[assignment]
    return model


@pytest.fixture
def batch() -> CubeBatch:
    random = torch.Generator().manual_seed(3)
    return CubeBatch(
        cubes=torch.randint(0, 256, (12, 5, 32, 32, 1), dtype=torch.uint8, generator=random),
        flow=torch.randn(12, 5, 32, 32, 2, generator=random).half(),
        group=torch.zeros(12, dtype=torch.int16),
        key=torch.arange(12),
        size=12,
    )


@pytest.mark.parametrize("motion", [False, True])
def test_a_step_is_the_weighted_error_over_the_number_of_cubes(batch, motion, monkeypatch) -> None:
    model, twin = make(motion=motion, initial_k=1.2), make(motion=motion)
    x = batch.cubes[..., 0].float() / 255
    networks = twin.networks[0]
    networks.eval()
    with torch.no_grad():
        error = (networks["appearance"](x) - x).square().flatten(1).sum(1)
    networks.train()
    mean, deviation = float(error.double().mean()), float(error.double().std())
    weight = torch.tensor([slow_weight(float(e), mean, deviation, 1.2, "mixture") for e in error])
    assert 0 < float((weight < 1).float().mean()) < 1
    loss = (weight * (networks["appearance"](x) - x).square().flatten(1).mean(1)).sum() / 12
    if motion:
        flow = torch.cat([batch.flow[:, t].permute(0, 3, 1, 2) for t in range(5)], 1).float()
        loss = loss + (weight * (networks["motion"](x) - flow).square().flatten(1).mean(1)).sum() / 12
    loss.backward()
    ours = model.training_step(batch, 0)
    ours.backward()
    torch.testing.assert_close(ours, loss)
    for (name, a), b in zip(model.named_parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-3, atol=1e-5, msg=name)
    for (name, a), b in zip(model.networks.named_buffers(), twin.networks.buffers(), strict=True):
        torch.testing.assert_close(a, b, msg=lambda text, name=name: f"{name} moved twice: {text}")


def test_k_falls_with_every_step_after_the_warm_up_and_for_its_own_band(batch) -> None:
    model = make(warmup_epochs=1, shrink_rate=0.5, bands=2)
    for epoch, step, band in ((0, 0, 0), (0, 9, 0), (1, 0, 0), (1, 1, 1), (1, 2, 0), (1, 3, 0)):
        model.trainer.current_epoch = epoch
        batch.group.fill_(band)
        model.training_step(batch, step)
    assert model.shrink_steps.tolist() == [3, 1]
    assert model.k.tolist() == [3.0, 4.0]
    assert {"shrink_steps", "k"} <= model.state_dict().keys()


def test_a_warm_up_may_end_inside_an_epoch(batch) -> None:
    model = make(warmup_epochs=0.35)
    for step in range(10):
        model.training_step(batch, step)
    assert model.shrink_steps.tolist() == [6]


def test_the_scaled_rate_follows_the_authors_course(batch) -> None:
    model = make(shrink_scaled=True, warmup_epochs=5, shrink_rate=0.005)
    model.trainer.estimated_stepping_batches = 300  # 30 epochs of 10 steps
    model.trainer.datamodule = SimpleNamespace(batch_size=256)
    assert model._rate == pytest.approx(0.005)
    model.trainer.estimated_stepping_batches = 100
    assert model._rate == pytest.approx(0.005 * 25 / 5)
    model.trainer.datamodule.batch_size = 128
    assert model._rate == pytest.approx(0.005 * 25 / 5 / 2)


def test_refinement_under_autocast_leaves_every_weight_its_gradient(batch) -> None:
    """Autocast keeps casts of weights: one made without gradients must not serve the step that needs them, as it did in
    some versions of torch."""
    model = make(initial_k=1.0)
    with torch.autocast("cpu", torch.bfloat16):
        loss = model.training_step(batch, 0)
    loss.backward()
    without = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum()]
    convolution_biases = [name for name in without if name.endswith(".bias")]  # BatchNorm cancels some of them
    assert without == convolution_biases


def test_a_band_learns_as_if_it_were_alone() -> None:
    def fitted(bands: int, keep: int | None) -> dict[str, torch.Tensor]:
        torch.manual_seed(0)
        model = LBRSPR(width=4, channels=1, bands=2, warmup_epochs=1)
        data = cube_data(bands=bands, protocol="one_class")
        order = data.training_order
        if keep is not None:  # the same batches, those of the other band left out
            data.training_order = lambda count, groups: Only(order(count, groups), groups, keep)  # type: ignore
        pl.Trainer(max_epochs=3, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
                   enable_model_summary=False, use_distributed_sampler=False).fit(model, datamodule=data)  # fmt: skip
        return model.state_dict()

    both, alone = fitted(2, None), fitted(2, 1)
    names = [name for name in both if name.startswith("networks.1.")]
    assert names and all(torch.equal(both[name], alone[name]) for name in names)
    assert not torch.equal(both["networks.0.appearance.0.0.weight"], alone["networks.0.appearance.0.0.weight"])


class Only(torch.utils.data.Sampler):
    """The batches of one group of an order."""

    def __init__(self, order: Any, groups: np.ndarray, keep: int) -> None:
        self.order, self.groups, self.keep = order, groups, keep

    def set_epoch(self, epoch: int) -> None:
        self.order.set_epoch(epoch)

    def __iter__(self) -> Any:
        return (batch for batch in self.order if self.groups[batch[0]] == self.keep)

    def __len__(self) -> int:
        return sum(self.groups[batch[0]] == self.keep for batch in self.order)


def test_columns_of_bands_come_from_their_own_networks(batch) -> None:
    model = make(bands=2, motion=True).eval()
    batch.group[::2] = 1
    columns = model.columns(batch)
    for band in (0, 1):
        rows = batch.group == band
        expected = model._errors(model.networks[band], pixels(batch.cubes[rows], 1), batch.flow[rows])
        for head, error in expected.items():
            torch.testing.assert_close(columns[head][rows], error)
    assert columns["group"].tolist() == batch.group.tolist()


def test_what_does_not_fit_together_is_said(batch) -> None:
    batch.group.fill_(3)
    with pytest.raises(ConfigError, match="band 3"):
        make(bands=2).training_step(batch, 0)
    with pytest.raises(ConfigError, match="frames"):
        make(frames=3).columns(batch)
    batch = CubeBatch(cubes=batch.cubes, flow=None, group=batch.group * 0, key=batch.key, size=12)
    with pytest.raises(ConfigError, match="flow: true"):
        make(motion=True).training_step(batch, 0)


def test_a_detector_of_other_sizes_is_refused_and_taken_over_in_part(tmp_path) -> None:
    columns = {"appearance": np.ones(4, np.float32)}
    narrow, wide = LBRSPR(width=4, channels=1), LBRSPR(width=4, channels=3)
    wide.estimate(columns)
    wide.save_detector(tmp_path / "detector.ckpt")
    matched = narrow.load_matching(tmp_path / "detector.ckpt")
    assert {tuple(name.split(".")[3:]) for name in matched.made_anew} == {
        ("0", "0", "weight"),
        ("13", "weight"),
        ("13", "bias"),
    }
    assert "3 made anew" in str(matched)
    content = torch.load(tmp_path / "detector.ckpt", weights_only=True)
    content["arguments"]["width"] = 8
    torch.save(content, tmp_path / "other.ckpt")
    with pytest.raises(RunError, match="LBRSPR"):
        LBRSPR.load_detector(tmp_path / "other.ckpt")


def test_validation_loss_is_the_mean_squared_error_of_the_held_out_videos() -> None:
    torch.manual_seed(0)
    model = LBRSPR(width=4, channels=1)
    data = cube_data(protocol="one_class", validation=0.5)
    trainer = pl.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False)
    result = trainer.validate(model, datamodule=data, verbose=False)[0]
    x = torch.cat([pixels(batch.cubes, 1) for batch in data.val_dataloader()])
    with torch.no_grad():
        expected = (model.eval().networks[0]["appearance"](x) - x).square().mean()
    assert result["val_loss"] == pytest.approx(float(expected), rel=1e-5)


def test_rare_cubes_keep_the_higher_error() -> None:
    torch.manual_seed(0)
    model = LBRSPR(width=8, channels=1, warmup_epochs=2, learning_rate=3e-3)
    data = cube_data(videos=6)
    trainer = pl.Trainer(max_epochs=6, accelerator="cpu", logger=False, enable_checkpointing=False,
                         enable_progress_bar=False, enable_model_summary=False)  # fmt: skip
    trainer.fit(model, datamodule=data)
    score = collect(trainer, model, data, "score")["appearance"]
    cubes = np.concatenate([batch.cubes.numpy() for batch in data.test_dataloader()])
    odd = np.abs(np.diff(cubes.astype(int), axis=2)).mean((1, 2, 3, 4)) > 40
    assert 0 < odd.sum() < len(odd) / 5
    assert score[odd].min() > score[~odd].max()
