"""What detectors that learn from labels of videos share: plain top-k MIL, its scores, what it logs."""

from dataclasses import replace
from typing import Any

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from bag_batches import at, bag_batch, bags_of
from toy_bags import bag_data

from vad.errors import ConfigError
from vad.methods.mil_detector import MILDetector, logit_of_mean
from vad.metrics.frame import auroc
from vad.mil import cross_entropy


def make(**options: Any) -> MILDetector:
    torch.manual_seed(0)
    model = MILDetector(**{"dims": (6,), "width": 16, "heads": 2, "window": 4, "dropout": 0.0, **options})
    return at(model, 0.5)


def trainer(**options: Any) -> pl.Trainer:
    return pl.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
                      enable_model_summary=False, use_distributed_sampler=False, num_sanity_val_steps=0,
                      **options)  # fmt: skip


# The loss


@pytest.mark.parametrize("of", ["probability", "logit"])
def test_a_bag_s_probability_comes_from_its_k_highest_rows_by_the_mean_over_crops(of) -> None:
    score = torch.rand(3, 2, 40, generator=torch.Generator().manual_seed(0)) * 0.98 + 0.01
    bags = bags_of(score, label=[0, 1, 1], length=[40, 17, 1])
    model = make(bag_score=of)
    for bag, (length, k) in enumerate(((40, 3), (17, 2), (1, 1))):
        rows = score[bag, :, :length].mean(0).topk(k).indices
        chosen = score[bag][:, rows]
        expected = chosen.mean() if of == "probability" else chosen.logit().mean().sigmoid()
        torch.testing.assert_close(model.bag_probability(bags)[bag], expected)


def test_k_may_be_fixed_scaled_and_other_in_normal_bags() -> None:
    bags = bags_of(torch.rand(3, 1, 40), label=[0, 1, 1], length=[40, 40, 1])
    assert make().top(bags).tolist() == [3, 3, 1]
    assert make(top_scale=2).top(bags).tolist() == [6, 6, 1]
    assert make(top_count=5).top(bags).tolist() == [5, 5, 1]
    assert make(normal_top_count=1).top(bags).tolist() == [1, 3, 1]


def test_the_loss_is_cross_entropy_and_what_keeps_abnormal_bags_smooth_and_sparse() -> None:
    batch = bag_batch([9, 17, 33, 20], [0, 0, 1, 1], crops=2)
    model = make(smooth=0.3, sparse=0.2)
    bags = model.bags(batch)
    expected = cross_entropy(model.bag_probability(bags), batch.label).mean()
    for bag in (2, 3):
        p = bags.probability[bag, :, : int(batch.length[bag])]
        expected = expected + 0.3 / 2 * p.diff(dim=-1).square().sum(-1).mean() + 0.2 / 2 * p.sum(-1).mean()
    torch.testing.assert_close(model.training_step(batch, 0), expected)


def test_a_term_begins_after_the_warm_up_and_rises() -> None:
    class Term(MILDetector):
        def additional(self, bags: Any, strength: float) -> torch.Tensor:
            return torch.tensor(strength * 1000)

    batch = bag_batch([9, 9], [0, 1])
    torch.manual_seed(0)
    model = Term(dims=(6,), width=8, heads=2, dropout=0.0)
    losses = [at(model, progress).training_step(batch, 0).item() for progress in (0.0, 0.099, 0.15, 0.2, 0.9)]
    assert losses[0] == losses[1]
    assert [loss - losses[0] for loss in losses[2:]] == pytest.approx([500, 1000, 1000], rel=1e-3)


# The network


@pytest.mark.parametrize("fuse", ["concat", "sum", "gated", "late"])
def test_streams_are_fused_or_scored_apart(fuse) -> None:
    batch = bag_batch([9, 5], [0, 1], dims=(6, 3), crops=2)
    model = make(dims=(6, 3), fuse=fuse, projection=4)
    bags = model.bags(batch)
    assert bags.logit.shape == (2, 2, 9) and bags.embedding.shape == (2, 2, 9, 4)
    torch.testing.assert_close(bags.embedding.norm(dim=-1), torch.ones(2, 2, 9))
    if fuse == "late":
        apart = []
        for scorer, stream in zip(model.scorers, batch.streams, strict=True):
            apart.append(torch.stack([scorer([stream[:, c]], bags.real)[1] for c in range(2)], 1))
        torch.testing.assert_close(bags.logit, sum(apart) / 2)
    bags.logit.sum().backward()
    assert all(p.grad is not None for p in model.scorers.parameters())


def test_one_stream_may_be_learned_from_alone() -> None:
    batch = bag_batch([9, 5], [0, 1], dims=(6, 3))
    model = make(dims=(6, 3), stream=1)
    other = replace(batch, streams=(torch.randn_like(batch.streams[0]), batch.streams[1]))
    assert torch.equal(model.bags(batch).logit, model.bags(other).logit)
    torch.testing.assert_close(
        model.bags(batch).logit, make(dims=(3,)).bags(replace(batch, streams=batch.streams[1:])).logit
    )


def test_an_embedding_is_made_last_so_that_the_rest_begins_alike() -> None:
    with_it, without = make(projection=4).state_dict(), make().state_dict()
    assert all(torch.equal(with_it[name], tensor) for name, tensor in without.items())


def test_padding_changes_neither_loss_nor_scores() -> None:
    batch = bag_batch([9, 12], [0, 1])
    padded = replace(batch, streams=tuple(torch.nn.functional.pad(s, (0, 0, 0, 7)) for s in batch.streams))
    model = make().eval()
    torch.testing.assert_close(model.training_step(padded, 0), model.training_step(batch, 0))
    torch.testing.assert_close(model.columns(padded), model.columns(batch))


def test_what_does_not_fit_together_is_said() -> None:
    with pytest.raises(ConfigError, match=r"dims: the bags' streams are \[6, 3\] wide, the model takes \[6\]"):
        make().bags(bag_batch([3, 3], [0, 1], dims=(6, 3)))
    for wrong, words in (
        ({"dims": ()}, "dims"), ({"stream": 1}, "stream"), ({"width": 0}, "width"), ({"top_scale": 0}, "top_scale"),
    ):  # fmt: skip
        with pytest.raises(ConfigError, match=words):
            make(**wrong)


# Scores


def test_a_score_is_the_logit_of_the_mean_probability_over_crops_of_each_real_row_in_order() -> None:
    batch = bag_batch([5, 9], [0, 1], crops=3)
    model = make().eval()
    column = model.columns(batch)["anomaly"]
    assert column.dtype == torch.float32 and column.shape == (14,)
    probability = model.bags(batch).logit.double().sigmoid().mean(1)
    expected = torch.cat([probability[0, :5], probability[1]]).logit()
    torch.testing.assert_close(column.double(), expected, rtol=1e-4, atol=1e-5)


def test_scores_never_saturate() -> None:
    logit = torch.tensor([[[200.0, -200.0, 150.0], [100.0, -100.0, -150.0]]])
    assert logit_of_mean(logit)[0].tolist() == pytest.approx([100 + np.log(2), -100 - np.log(2), 0], rel=1e-5, abs=1e-5)
    assert torch.equal(logit_of_mean(logit[:, :1]), logit[:, 0])


def test_a_crop_is_scored_at_a_time(monkeypatch) -> None:
    """Ten crops of a video of three hours would take gigabytes at once."""
    model, seen = make().eval(), []
    scorer = model.scorers[0]
    monkeypatch.setattr(
        scorer, "forward", lambda streams, real, f=scorer.forward: seen.append(len(real)) or f(streams, real)
    )
    model.columns(bag_batch([5, 9], [0, 1], crops=3))
    assert seen == [2, 2, 2]


def test_a_long_video_in_pieces_scores_as_the_whole() -> None:
    model = make().eval()
    batch = bag_batch([90], [1], crops=2)
    whole, halo = model.columns(batch)["anomaly"], 1 + 2 * 4
    for start in range(0, 90, 30):
        first, end = max(0, start - halo), min(90, start + 30 + halo)
        piece = replace(batch, streams=(batch.streams[0][:, :, first:end],), length=torch.tensor([end - first]))
        score = model.columns(piece)["anomaly"][start - first :][:30]
        torch.testing.assert_close(score, whole[start : start + 30], rtol=1e-4, atol=1e-5)


# What is logged


def test_means_of_an_epoch_are_logged() -> None:
    model, logged = make(), {}
    model.log_dict = logged.update  # type: ignore
    model._seen = []
    losses = [float(model.training_step(bag_batch([9, 9], [0, 1], seed=seed), seed)) for seed in range(3)]
    model.on_train_epoch_end()
    assert logged["loss"] == pytest.approx(np.mean(losses)) == logged["bag_loss"]
    assert model._seen == []


def test_validation_logs_loss_and_auroc_of_the_bags_held_out() -> None:
    model = make(dims=(12, 8))
    data = bag_data(validation=0.4)
    result = trainer().validate(model, datamodule=data, verbose=False)[0]
    label, probability = [], []
    with torch.no_grad():
        for batch in data.val_dataloader():
            label.append(batch.label)
            probability.append(model.bag_probability(model.bags(batch)))
    label, probability = torch.cat(label), torch.cat(probability)
    assert result["val_loss"] == pytest.approx(float(cross_entropy(probability, label).mean()), rel=1e-5)
    assert result["val_bag_auroc"] == auroc(label.numpy(), probability.numpy())


def test_bags_of_one_label_have_a_loss_and_no_auroc() -> None:
    model, logged = make(), {}
    model.log = lambda name, value: logged.update({name: float(value)})  # type: ignore
    with torch.no_grad():
        model.validation_step(bag_batch([9, 5], [1, 1]), 0)
    model.on_validation_epoch_end()
    assert logged.keys() == {"val_loss"}


def test_rows_whose_probability_is_1_in_32_bits_are_still_told_apart() -> None:
    bags = bags_of(torch.full((1, 1, 4), 0.5), label=[1], length=[4])
    bags = replace(bags, logit=torch.tensor([[[40.0, 60.0, 50.0, 90.0]]]))
    assert (bags.probability == 1).all() and bags.rank[0].tolist() == [3, 1, 2, 0]
