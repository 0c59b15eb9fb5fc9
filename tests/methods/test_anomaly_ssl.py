"""Pretext tasks on footage: what teaches and what does not, what the encoder is shown, and that it learns."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader
from toy_squares import SIZE, drawn_squares, square_data

from vad.datamodules.order import DrawnOrder
from vad.datamodules.pretext import TASKS
from vad.errors import ConfigError, RunError
from vad.extract.encoders import RunEncoder
from vad.methods import pretext_method
from vad.methods.anomaly_ssl import AnomalySSL
from vad.methods.pretext_method import rates
from vad.networks.encoder_files import read_encoder, write_encoder
from vad.types import ClipBatch

ARROW, CHANGE = TASKS.index("arrow"), TASKS.index("change")


def make(**options: Any) -> AnomalySSL:
    torch.manual_seed(0)
    return AnomalySSL(**{"encoder": "small", "size": (24, 24), "speeds": 3, "hidden": 8, **options})


def batch_of(*pairs: int) -> ClipBatch:
    """Eight clips of each pair of windows, two of each task."""
    return drawn_squares()[pairs]


def parts(batch: ClipBatch, rows: Tensor) -> ClipBatch:
    columns = {name: getattr(batch, name)[rows] for name in ("clips", "task", "target", "video", "label", "key")}
    return replace(batch, **columns)


def stopped(batch: ClipBatch) -> ClipBatch:
    return replace(batch, clips=batch.clips[:, :1].expand_as(batch.clips))


def slopes(method: AnomalySSL, task: str) -> list[Tensor]:
    """Gradients of a head: all there, as several processes expect."""
    found = [parameter.grad for parameter in method.heads[task].parameters()]
    assert all(gradient is not None for gradient in found)
    return [gradient for gradient in found if gradient is not None]


def test_what_stands_still_tells_of_changes_alone() -> None:
    method, batch = make(), batch_of(0, 1)
    for learning in (True, False):
        assert method.seen(batch, learning=learning).valid.all()
        assert torch.equal(method.seen(stopped(batch), learning=learning).valid, batch.task == CHANGE)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"size": (0, 24)}, "size: expected a width and a height"),
        ({"jitter": 3.0}, "jitter: expected a share"),
        ({"mask": -0.5}, "mask: expected a share"),
        ({"hidden": 0}, "hidden of at least 1"),
        ({"warmup": 3.0}, "warmup from 0 to 1"),
        ({"learning_rate": -1.0}, "learning_rate"),
    ],
)
def test_arguments_without_a_meaning_are_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        make(**options)


def test_a_clip_that_one_of_two_processes_has_counts_as_much_as_on_one(monkeypatch: pytest.MonkeyPatch) -> None:
    alone = make()._everywhere(torch.tensor(1.0))
    monkeypatch.setattr(pretext_method, "world_size", lambda: 2)
    monkeypatch.setattr(pretext_method, "summed", lambda count: count + 0)  # the other one has none
    shared = make()._everywhere(torch.tensor(1.0))
    assert (1 / shared + 0 / shared) / 2 == 1 / alone, "the strategy takes the mean over processes"


def test_tasks_without_a_valid_clip_leave_the_loss_finite_and_their_heads_alone() -> None:
    method = make()
    loss, sums = method.terms(stopped(batch_of(0, 1)), learning=True)
    loss.backward()
    assert loss.isfinite() and loss == sums["change_loss"] / sums["change_count"] > 0
    assert all(sums[f"{task}_count"] == 0 for task in ("order", "speed", "arrow"))
    assert all(not slope.any() for task in ("order", "speed", "arrow") for slope in slopes(method, task))
    assert any(slope.any() for slope in slopes(method, "change"))


def test_heads_get_no_clips_while_the_first_tasks_are_learned_alone() -> None:
    method, batch = make(), batch_of(0, 1)
    loss, sums = method.terms(parts(batch, batch.task == ARROW), learning=True)
    loss.backward()
    assert loss.isfinite() and loss == sums["arrow_loss"] / sums["arrow_count"]
    assert all(not slope.any() for task in ("order", "speed", "change") for slope in slopes(method, task))
    assert any(slope.any() for slope in slopes(method, "arrow"))
    assert set(rates([sums], TASKS)) == {"arrow", "arrow_loss", "loss"}


def test_the_loss_weighs_the_means_of_the_tasks() -> None:
    weights = {"order": 0.5, "speed": 2.0, "arrow": 0.0, "change": 1.0}
    method = make(task_weights=weights).eval()
    loss, sums = method.terms(batch_of(0, 1), learning=False)
    expected = sum(weight * sums[f"{task}_loss"] / sums[f"{task}_count"] for task, weight in weights.items())
    torch.testing.assert_close(loss, torch.as_tensor(expected))
    with pytest.raises(ConfigError, match="task_weights: expected one for each of"):
        make(task_weights={"order": 1.0})


def test_frozen_clips_hold_one_frame_and_blank_ones_have_nothing_in_the_middle() -> None:
    method, batch = make(), batch_of(0, 1)
    whole = method.seen(batch, learning=False)
    method.probe = "frozen"
    frozen = method.seen(batch, learning=False)
    assert torch.equal(frozen.clips, whole.clips[:, :, :1].expand_as(whole.clips))
    method.probe = "blank"
    blank = method.seen(batch, learning=False)
    hidden = torch.zeros(24, 24, dtype=torch.bool)
    hidden[4:20, 4:20] = True
    assert not blank.clips[..., hidden].any()
    assert torch.equal(blank.clips[..., ~hidden], whole.clips[..., ~hidden])
    assert torch.equal(frozen.valid, whole.valid) and torch.equal(blank.valid, whole.valid)


def test_the_arrow_is_learned_both_ways_and_measured_one_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in for encoder and head tells brightening clips from darkening ones: always right, if classes are."""

    def told(clips: Tensor) -> Tensor:
        assert torch.equal(clips[16:], clips[:16][batch.task == ARROW].flip(2)) or len(clips) == 16
        change = (clips[:, :, -1] - clips[:, :, 0]).mean((1, 2, 3))
        return torch.stack([change, -change], 1)

    batch, method = batch_of(0, 1), make()
    ramp = torch.arange(8, dtype=torch.uint8).view(8, 1, 1, 1) * 30
    backward = ((batch.task == ARROW) & (batch.target == 1)).view(-1, 1, 1, 1, 1)
    batch.clips[..., : SIZE[0] // 4, :] = torch.where(backward, ramp.flip(0), ramp)  # so that some of it moves
    batch.clips[..., SIZE[0] // 4 :, :] = 0
    monkeypatch.setattr(method, "encoded", told)
    method.heads["arrow"] = torch.nn.Identity()
    for head in ("order", "speed", "change"):
        method.heads[head] = torch.nn.Linear(2, 3 if head == "speed" else 2)
    for learning, count in ((True, 8), (False, 4)):
        _, sums = method.terms(batch, learning=learning)
        assert sums["arrow_count"] == sums["arrow"] == count
        assert all(sums[f"{task}_count"] == 4 for task in ("order", "speed", "change"))
    method.both_ways = False
    assert method.terms(batch, learning=True)[1]["arrow_count"] == 4


def test_what_is_measured_of_a_clip_depends_on_nothing_else() -> None:
    method, batch = make().eval(), batch_of(0, 1)
    with torch.inference_mode():
        whole, again = method.columns(batch), method.columns(batch)
        order = torch.randperm(16)
        mixed = method.columns(parts(batch, order))
        alone = [method.columns(parts(batch, torch.tensor([row]))) for row in range(16)]
        assert method.terms(batch, learning=False)[0] == method.terms(batch, learning=False)[0]
    for name, column in whole.items():
        assert torch.equal(column, again[name]), name
        for other in (mixed[name][order.argsort()], torch.cat([columns[name] for columns in alone])):
            torch.testing.assert_close(other, column, msg=name)
    assert (whole["said"] >= 0).all() and whole["vector"].shape == (16, method.dim)


def test_learning_shows_other_pieces_and_colours_each_time() -> None:
    method, batch = make(), batch_of(0)
    torch.manual_seed(1)
    one, other = (method.seen(batch, learning=True).clips for _ in range(2))
    torch.manual_seed(1)
    assert not torch.equal(one, other) and torch.equal(one, method.seen(batch, learning=True).clips)


@pytest.mark.parametrize(("name", "kind"), [("sgd", torch.optim.SGD), ("adamw", torch.optim.AdamW)])
def test_norms_and_biases_do_not_decay_and_the_learning_rate_rises_then_falls(name: Any, kind: type) -> None:
    method = make(optimizer=name, learning_rate=0.1, weight_decay=0.01, warmup=0.2)
    method.trainer = SimpleNamespace(estimated_stepping_batches=20)  # type: ignore[assignment]
    made = method.configure_optimizers()
    optimizer, schedule = made["optimizer"], made["lr_scheduler"]["scheduler"]
    assert type(optimizer) is kind and optimizer.defaults.get("momentum", 0.9) == 0.9
    decay = {p: group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    flat = {p for module in method.modules() if isinstance(module, torch.nn.BatchNorm3d) for p in module.parameters()}
    flat |= {p for name, p in method.named_parameters() if name.endswith("bias")}
    assert decay == {p: 0.0 if p in flat else 0.01 for p in method.parameters()}
    rate = list[float]()
    for _ in range(20):
        rate.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    assert rate[:5] == pytest.approx([0.02, 0.04, 0.06, 0.08, 0.1]) and rate[4:] == sorted(rate[4:])[::-1]
    assert 0 < rate[-1] < 0.002


def test_another_run_s_encoder_is_taken_over_without_its_heads(tmp_path: Path) -> None:
    ours = make(tasks=["arrow"])
    theirs = make()
    for parameter in theirs.parameters():
        torch.nn.init.normal_(parameter)
    theirs.save_encoder(tmp_path / "encoder.ckpt", square_data(), benchmark="toy")
    head = [parameter.clone() for parameter in ours.heads.parameters()]
    assert "0 made anew, 0 left out" in ours.take_over(tmp_path / "encoder.ckpt")
    assert all(torch.equal(t, ours.network.state_dict()[n]) for n, t in theirs.network.state_dict().items())
    assert all(map(torch.equal, head, ours.heads.parameters()))
    file = read_encoder(tmp_path / "encoder.ckpt")
    write_encoder(tmp_path / "other.ckpt", replace(file, weights={"of.another": torch.zeros(1)}))
    with pytest.raises(RunError, match="has no tensor of the name and shape"):
        ours.take_over(tmp_path / "other.ckpt")


def test_the_encoder_s_file_describes_whole_frames_as_the_method_does(tmp_path: Path) -> None:
    method, batch = make(size=None), batch_of(0, 1)
    method.encoded(method.seen(batch, learning=False).clips)  # moves the norms' statistics
    method.eval().save_encoder(tmp_path / "encoder.ckpt", square_data(), seed=0)
    loaded = RunEncoder(run=str(tmp_path)).load("cpu")
    assert (loaded.size, loaded.frames) == (SIZE, 8)
    with torch.inference_mode():
        ours = method.encoded(method.seen(batch, learning=False).clips)
    torch.testing.assert_close(torch.from_numpy(loaded(batch.clips.numpy())), ours, rtol=1e-4, atol=1e-4)
    with pytest.raises(ConfigError, match="AnomalySSL: learns from ClipData, not from"):
        method.save_encoder(tmp_path / "encoder.ckpt", object())  # type: ignore[arg-type]


def test_what_can_be_told_of_moving_squares_is_learned() -> None:
    """Squares move towards their bright side: measured were 1.00 of speed and arrow, 0.95 of change."""
    tasks, steps, size = ("speed", "arrow", "change"), 150, (24, 16)
    method = make(tasks=tasks, size=(16, 16), hidden=256, dropout=0.0, optimizer="adamw", learning_rate=3e-3,
                  jitter=0.0, blur=0.0, mask=0.0)  # fmt: skip
    clips = drawn_squares(tasks=tasks, size=size)
    order = DrawnOrder(batch_size=4, steps=steps)
    trainer = pl.Trainer(
        max_steps=steps,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
    )
    trainer.fit(method, DataLoader(clips, sampler=order, batch_size=None, collate_fn=lambda batch: batch))
    with torch.inference_mode():
        seen = [method.eval().terms(clips[range(pair, pair + 8)], learning=False)[1] for pair in range(0, 64, 8)]
    found = rates(seen, tasks)
    assert found["speed"] > 0.9 and found["change"] > 0.9 and found["arrow"] > 0.85, found
    print("FOUND", found)
