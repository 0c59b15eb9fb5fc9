"""SSMTL: its networks, the tubes that tasks are made of, and what an object costs each head, against obvious twins."""

import itertools
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor, nn
from torch.nn import functional
from toy_tubes import CLASSES, LOGITS, odd_objects, tube_data

from vad.distributed import summed
from vad.errors import ConfigError
from vad.methods.ssmtl import (
    SSMTL,
    Encoder,
    absolute_error,
    consecutive,
    convolved,
    decoder,
    irregular,
    irregular_offsets,
    pixels,
    without_middle,
)
from vad.metrics.frame import auroc
from vad.scores import Scores
from vad.training.batchnorm import synchronise_batchnorm
from vad.training.collecting import collect
from vad.training.randomness import random_order
from vad.types import Record, ScoredVideo, TubeBatch

SHAPES = [
    (False, False, 43_008, 186),
    (False, True, 168_960, 669),
    (True, False, 105_456, 632),
    (True, True, 418_272, 2452),
]
HEADS = ("arrow", "irregularity", "middle", "distillation")


def numbered(frames: int, count: int = 2) -> Tensor:
    """Tubes (count, frames, 1, 1, 1) whose pixels are the number of their frame, and 100 more for the second."""
    return (torch.arange(frames) + 100 * torch.arange(count)[:, None]).to(torch.uint8)[:, :, None, None, None]


# Networks


@pytest.mark.parametrize(("deep", "wide", "parameters", "millions"), SHAPES)
def test_an_encoder_has_the_paper_s_parameters_and_multiply_adds(deep, wide, parameters, millions) -> None:
    encoder = Encoder(3, deep=deep, wide=wide).to("meta")
    assert sum(parameter.numel() for parameter in encoder.parameters()) == parameters
    work: list[int] = []
    for convolution in encoder.convolutions:
        convolution.register_forward_hook(lambda c, _, out: work.append(out.numel() * c.weight[0].numel()))
    assert encoder(torch.zeros(1, 3, 7, 64, 64, device="meta")).shape == (1, encoder.widths[-1], 8, 8)
    assert round(sum(work) / 1e6) == millions


@pytest.mark.parametrize("deep", [False, True])
@pytest.mark.parametrize("frames", [7, 6, 1])
def test_an_encoder_is_convolution_norm_relu_and_pools_the_last_one_over_time(deep, frames) -> None:
    torch.manual_seed(0)
    encoder = Encoder(1, deep=deep, wide=False)
    x = torch.randn(2, 1, frames, 16, 16)
    y = x
    pairs = list(zip(encoder.convolutions, encoder.norms[0], strict=True))
    for number, (convolution, norm) in enumerate(pairs, start=1):
        y = functional.batch_norm(convolution(y), None, None, norm.weight, norm.bias, training=True, eps=1e-3).relu()
        if not deep or number % 2 == 0:
            y = functional.max_pool3d(y, (frames if number == len(pairs) else 1, 2, 2))
    torch.testing.assert_close(encoder(x), y[:, :, 0])


@pytest.mark.parametrize("channels", [1, 3])
def test_a_single_frame_is_convolved_as_a_picture_with_the_same_result(channels, monkeypatch) -> None:
    torch.manual_seed(0)
    convolution = nn.Conv3d(channels, 16, 3, padding=1)
    for frames in (1, 7):
        x = torch.randn(2, channels, frames, 16, 16)
        found, expected = convolved(x, convolution), convolution(x)
        torch.testing.assert_close(found, expected)
        gradients = [torch.autograd.grad(y.square().sum(), convolution.weight)[0] for y in (found, expected)]
        torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-4)
    encoder = Encoder(channels, deep=True, wide=False)
    monkeypatch.setattr(functional, "conv3d", None)  # as nn.Conv3d finds it
    assert encoder(x[:, :, :1]).shape == (2, 32, 2, 2)
    with pytest.raises(TypeError):
        encoder(x)


@pytest.mark.parametrize(("deep", "convolutions"), [(False, [64, 64, 32, 3]), (True, [64, 64, 64, 64, 32, 32, 3])])
def test_the_decoder_mirrors_the_encoder_and_ends_linear(deep, convolutions) -> None:
    network = decoder((32, 64, 64), 3, depth=1 + deep)
    assert [layer.out_channels for layer in network if isinstance(layer, nn.Conv2d)] == convolutions
    assert isinstance(network[-1], nn.Conv2d)
    assert network(torch.zeros(2, 64, 8, 8)).shape == (2, 3, 64, 64)


# Tubes


@pytest.mark.parametrize("max_stride", [2, 3, 4])
def test_irregular_steps_are_every_way_but_the_regular_one_equally_often(max_stride) -> None:
    ways = max_stride**6 - 1
    offsets = irregular_offsets(torch.arange(ways), max_stride)
    found = {tuple(row) for row in offsets.diff(dim=1).tolist()}
    every = set(itertools.product(range(1, max_stride + 1), repeat=6)) - {(1,) * 6}
    assert len(offsets) == len(every) and found == every
    assert not offsets[:, 3].any()
    assert torch.equal(irregular_offsets(torch.arange(ways) + 7 * ways, max_stride), offsets)


def test_irregular_frames_are_those_of_the_offsets() -> None:
    number = torch.tensor([5, 3000])
    for reach in (12, 15):
        frames = irregular(numbered(2 * reach + 1), number, 4).flatten(1).long() - torch.tensor([[0], [100]])
        assert torch.equal(frames, irregular_offsets(number, 4) + reach)
    with pytest.raises(ConfigError, match="reach: 12"):
        irregular(numbered(23), number, 4)


def test_the_other_tubes_lie_round_the_middle_frame() -> None:
    tubes = consecutive(numbered(25, 1))
    assert tubes.flatten().tolist() == [9, 10, 11, 12, 13, 14, 15]
    assert without_middle(tubes).flatten().tolist() == [9, 10, 11, 13, 14, 15]
    assert consecutive(tubes, 1).flatten().tolist() == [12]
    for frames in (6, 8, 5):
        with pytest.raises(ConfigError, match=f"hold {frames}"):
            consecutive(numbered(frames))


def test_pixels_are_in_0_to_1_and_channels_last() -> None:
    colour = torch.randint(0, 256, (2, 7, 4, 4, 3), dtype=torch.uint8)
    volume = pixels(colour, 3)
    assert volume.is_contiguous(memory_format=torch.channels_last_3d)
    assert torch.equal(volume[1, 2, 5], colour[1, 5, :, :, 2].float() / 255)
    grey = colour[..., :1]
    assert torch.equal(pixels(grey, 3), pixels(grey.repeat(1, 1, 1, 1, 3), 3)) and pixels(grey, 1).shape[1] == 1
    with pytest.raises(ConfigError, match="channels"):
        pixels(colour, 1)


def test_errors_are_means_in_fp32() -> None:
    output, target = torch.rand(3, 1, 8, 8).bfloat16(), torch.rand(3, 1, 8, 8)
    error = absolute_error(output, target)
    assert error.dtype == torch.float32
    torch.testing.assert_close(error, (output.float() - target).abs().mean((1, 2, 3)))


# What an object costs


def make(**options: Any) -> SSMTL:
    torch.manual_seed(0)
    small = {"deep": False, "wide": False, "channels": 1, "size": 16, "head_width": 8}
    model = SSMTL(**{**small, "teacher_classes": LOGITS, "detector_classes": CLASSES, **options})
    model.trainer = SimpleNamespace(global_step=5)  # type: ignore[assignment]
    for norm in (module for module in model.modules() if isinstance(module, nn.BatchNorm2d | nn.BatchNorm3d)):
        nn.init.uniform_(norm.running_mean)
        nn.init.uniform_(norm.running_var, 0.01, 0.02)  # small, so that what networks see shows in what they say
        nn.init.uniform_(norm.bias)
    return model


@pytest.fixture
def batch() -> TubeBatch:
    random = torch.Generator().manual_seed(3)
    return TubeBatch(
        tubes=torch.randint(0, 256, (6, 25, 16, 16, 1), dtype=torch.uint8, generator=random),
        probability=torch.rand(6, CLASSES, generator=random).half(),
        logits=torch.randn(6, LOGITS, generator=random).half(),
        key=torch.arange(6) + 40,
        size=6,
    )


def rows(batch: TubeBatch, chosen: Any) -> TubeBatch:
    kept = (batch.tubes[chosen], batch.probability[chosen], None if batch.logits is None else batch.logits[chosen])
    return TubeBatch(*kept, batch.key[chosen], size=batch.size)


def without(batch: TubeBatch, *, classes: int = CLASSES) -> TubeBatch:
    return TubeBatch(batch.tubes, batch.probability[:, :classes], None, batch.key, size=batch.size)


@pytest.mark.parametrize("per_task_bn", [False, True])
def test_terms_are_those_of_each_object_by_itself(batch, per_task_bn) -> None:
    model = make(distillation_weight=0.3, per_task_bn=per_task_bn).eval()
    terms = model.terms(batch, 5)
    for i in range(6):
        volume = batch.tubes[i, ..., 0].float()[None, None] / 255  # (1, 1, 25, 16, 16)
        number = random_order(batch.key[i : i + 1], 1, 5)[0].long()
        steps = (12 + irregular_offsets(number, 4)[0]).tolist()
        seen = lambda head, frames, kind: model.tasks[head](model.encoder(volume[:, :, frames], kind))[0]  # noqa: B023, E731
        kinds = [0, 1, 2] if per_task_bn else [0, 0, 0]
        forward = list(range(9, 16))
        expected: dict[str, Tensor] = {}
        for head, changed in (("arrow", forward[::-1]), ("irregularity", steps)):
            right, wrong = (seen(head, frames, kinds[0]).log_softmax(0) for frames in (forward, changed))
            expected[head] = -(right[0] + wrong[1]) / 2
            expected[f"{head}_accuracy"] = ((right[0] > right[1]).float() + (wrong[1] > wrong[0]).float()) / 2
        expected["middle"] = (seen("middle", [9, 10, 11, 13, 14, 15], kinds[1]) - volume[0, :, 12]).abs().mean()
        said = seen("distillation", [12], kinds[2])
        expected["distillation_logits"] = (said[:LOGITS] - batch.logits[i]).abs().mean()
        expected["distillation_classes"] = (said[LOGITS:].sigmoid() - batch.probability[i]).abs().mean()
        expected["distillation"] = expected["distillation_logits"] + expected["distillation_classes"]
        expected["loss"] = expected["arrow"] + expected["irregularity"] + expected["middle"]
        expected["loss"] = expected["loss"] + 0.3 * expected["distillation"]
        assert expected.keys() == terms.keys()
        for name, value in expected.items():
            torch.testing.assert_close(terms[name][i], value, rtol=1e-4, atol=1e-5, msg=lambda m, n=name: f"{n}: {m}")


def test_a_step_is_the_mean_over_the_whole_batch_and_does_not_depend_on_how_it_is_shared(batch) -> None:
    model = make(flip=True).eval()
    whole = model.training_step(batch, 0)
    shares = [model.training_step(rows(batch, share), 0) for share in ([0, 4, 1, 3], [5, 2])]
    torch.testing.assert_close(whole, sum(shares))
    model.trainer.global_step = 6  # type: ignore[misc]
    assert not torch.isclose(model.training_step(batch, 0), whole), "another step, other irregular tubes"


def test_half_of_the_objects_are_mirrored_if_asked_for(monkeypatch) -> None:
    many = 64
    tubes = torch.randint(0, 256, (many, 25, 16, 16, 1), dtype=torch.uint8)
    batch = TubeBatch(tubes, torch.zeros(many, 0), None, torch.arange(many), size=many)
    seen: list[Tensor] = []
    monkeypatch.setattr(SSMTL, "terms", lambda self, b, step: seen.append(b.tubes) or {"loss": torch.zeros(many)})
    for flip in (False, True):
        make(flip=flip).training_step(batch, 0)
    same = (seen[1] == tubes).flatten(1).all(1)
    mirrored = (seen[1] == tubes.flip(3)).flatten(1).all(1)
    assert torch.equal(seen[0], tubes) and bool((same | mirrored).all()) and 16 < int(same.sum()) < 48


def test_still_objects_teach_no_arrow_if_asked_for(batch) -> None:
    batch.tubes[:2] = 128
    terms = {motion: make(min_motion=motion).eval().terms(batch, 0) for motion in (0.0, 0.2)}
    assert terms[0.2]["arrow"][:2].tolist() == [0, 0]
    assert torch.equal(terms[0.2]["arrow"][2:], terms[0.0]["arrow"][2:])
    assert torch.equal(terms[0.2]["irregularity"], terms[0.0]["irregularity"])


@pytest.mark.parametrize("head", HEADS)
def test_a_head_alone_has_a_network_a_loss_and_a_column_of_its_own(batch, head) -> None:
    model = make(heads=[head])
    model.training_step(batch, 0).backward()
    assert list(model.tasks) == [head] and list(model.columns(batch)) == [head]
    assert not [name for name, p in model.named_parameters() if p.grad is None]
    assert torch.equal(model.terms(batch, 5)["loss"], model.terms(batch, 5)[head] * (0.5 if head == HEADS[3] else 1))


def test_columns_say_how_much_an_object_fails_the_tasks(batch) -> None:
    model = make().eval()
    terms, columns = model.terms(batch, 0), model.columns(rows(batch, slice(None)))
    assert list(columns) == list(HEADS) and all(c.dtype == torch.float32 for c in columns.values())
    features = model.encoder(pixels(batch.tubes[:, 9:16], 1))
    for head in HEADS[:2]:
        torch.testing.assert_close(columns[head], model.tasks[head](features).softmax(1)[:, 1])
    assert torch.equal(columns["middle"], terms["middle"])
    assert torch.equal(columns["distillation"], terms["distillation_classes"])
    short = TubeBatch(batch.tubes[:, 9:16], batch.probability, None, batch.key, size=6)
    assert all(torch.equal(column, columns[head]) for head, column in model.columns(short).items())


def test_losses_are_fp32_under_autocast(batch) -> None:
    with torch.autocast("cpu", torch.bfloat16):
        terms = make().terms(batch, 0)
    assert {term.dtype for term in terms.values()} == {torch.float32}


def test_norms_are_shared_or_of_each_task(batch) -> None:
    shared, own = make(per_task_bn=False), make()
    for model in (shared, own):
        model.terms(batch, 0)
    assert [int(norms[0].num_batches_tracked) for norms in shared.encoder.norms] == [3]
    assert [int(norms[0].num_batches_tracked) for norms in own.encoder.norms] == [1, 1, 1]


def test_norms_estimated_anew_see_the_samples_of_all_tasks(batch) -> None:
    model = make()
    model._estimating_batchnorm = True
    assert "loss" in model.columns(batch)


# Teachers


def test_without_a_teacher_the_probabilities_are_learned_alone(batch) -> None:
    terms = make(teacher_classes=0).eval().terms(without(batch), 0)
    assert torch.equal(terms["distillation"], terms["distillation_classes"]) and "distillation_logits" not in terms


def test_without_a_detector_the_logits_are_learned_and_scored(batch) -> None:
    model = make(detector_classes=0).eval()
    terms = model.terms(batch, 0)
    assert torch.equal(terms["distillation"], terms["distillation_logits"])
    assert torch.equal(model.columns(batch)["distillation"], terms["distillation"])
    with pytest.raises(ConfigError, match="detector_classes"):
        model.columns(without(batch))


def test_a_distillation_that_has_nothing_to_learn_is_refused(batch) -> None:
    with pytest.raises(ConfigError, match="neither"):
        make(teacher_classes=0, detector_classes=0)
    assert make(teacher_classes=0, detector_classes=0, heads=HEADS[:3]).terms(batch, 0)
    with pytest.raises(ConfigError, match="teacher_classes: 0"):
        make().terms(without(batch), 0)
    with pytest.raises(ConfigError, match="detector_classes: the tubes come with 0"):
        make(teacher_classes=0).terms(without(batch, classes=0), 0)


@pytest.mark.parametrize(
    ("options", "word"), [({"heads": []}, "heads"), ({"heads": ["arrow", "arrow"]}, "heads"), ({"size": 40}, "size"),
                          ({"max_stride": 1}, "max_stride")]
)  # fmt: skip
def test_what_does_not_fit_is_said(options, word, batch) -> None:
    with pytest.raises(ConfigError, match=word):
        make(**options)
    with pytest.raises(ConfigError, match="size"):
        make(size=32).columns(batch)


# Training


def trainer(epochs: int = 1) -> pl.Trainer:
    return pl.Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        num_sanity_val_steps=0,
    )


def test_validation_logs_means_over_the_held_out_objects() -> None:
    model, data = make(), tube_data()
    logged = trainer().validate(model, datamodule=data, verbose=False)[0]
    terms = [model.eval().terms(batch, 0) for batch in data.val_dataloader()]
    assert set(logged) == {f"val_{name}" for name in terms[0]}
    for name in terms[0]:
        mean = float(torch.cat([term[name] for term in terms]).mean())
        assert logged[f"val_{name}"] == pytest.approx(mean, rel=1e-5)


def test_every_head_beats_chance_on_held_out_objects_and_most_find_odd_ones() -> None:
    model, data = make(learning_rate=1e-2, schedule="cosine"), tube_data(videos=8)
    run = trainer(12)
    run.fit(model, datamodule=data)
    logged = {name: float(value) for name, value in run.callback_metrics.items()}
    held_out = list(data.val_dataloader())
    middle = torch.cat([batch.tubes[:, 12].float() / 255 for batch in held_out])
    classes = torch.cat([batch.probability.float() for batch in held_out])
    constant = [float((values - values.median(0).values).abs().mean()) for values in (middle, classes)]
    assert logged["val_arrow_accuracy"] > 0.9 and logged["val_irregularity_accuracy"] > 0.8, logged
    assert logged["val_middle"] < 0.95 * constant[0], logged
    assert logged["val_distillation_classes"] < 0.8 * constant[1], logged
    columns, odd = collect(run, model, data, "score"), odd_objects(data)
    for head in ("arrow", "middle", "distillation"):
        assert auroc(odd.astype(np.int64), columns[head].astype(np.float64)) > 0.9, head


def test_heads_can_be_chosen_among_after_training() -> None:
    model = make()
    columns = {head: np.random.default_rng(i).random(4).astype(np.float32) for i, head in enumerate(HEADS)}
    model.estimate(columns)
    record = Record(
        (ScoredVideo("a", "test", 4),), np.array([0, 4]), np.arange(4, dtype=np.int32), np.zeros((4, 4), np.float32)
    )
    statistics = {head: [vars(s) for s in known] for head, known in model.statistics.items()}
    scores = Scores(record=record, score=model.score(columns), heads=columns, header={"statistics": statistics})
    assert scores.score.min() >= 0, "z-scores of at least 0"
    for head in HEADS:
        weights = {other: float(other == head) for other in HEADS}
        alone = scores.fused("zscore", weights=weights)
        z = (columns[head].astype(np.float64) - model.statistics[head][0].mean) / model.statistics[head][0].deviation
        np.testing.assert_allclose(alone.score, z)


# Several processes

SHARES = ([0, 4, 1, 3], [5, 2])


def gradients(model: SSMTL, batch: TubeBatch) -> dict[str, Tensor]:
    model.training_step(batch, 0).backward()
    return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


def one_rank(rank: int, folder: str, batch: TubeBatch) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
    torch.set_num_threads(1)
    model = make(flip=True)
    synchronise_batchnorm(model, torch.device("cpu"))
    found = gradients(model, rows(batch, SHARES[rank]))
    averaged = {name: summed(gradient) / 2 for name, gradient in found.items()}
    torch.save([averaged, dict(model.named_buffers())], f"{folder}/{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.slow
def test_two_processes_learn_as_one(batch, tmp_path: Path) -> None:
    mp.spawn(one_rank, args=(str(tmp_path), batch), nprocs=2)
    model = make(flip=True)
    expected = gradients(model, batch)
    for rank in (0, 1):
        averaged, buffers = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        for name, gradient in expected.items():  # rounding may decide which of two pixels a maximum is taken from
            difference = float((averaged[name] - gradient).norm())
            assert difference < 0.05 * float(gradient.norm()) + 1e-4, name
        for name, buffer in model.named_buffers():
            torch.testing.assert_close(buffers[name], buffer, rtol=1e-4, atol=1e-5)
