"""Hard instance mining: a case with numbers, who is chosen against obvious twins, and what a step learns."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import torch.multiprocessing as mp
from bag_batches import at, bag_batch, bags_of
from torch import distributed as dist
from torch.nn import functional

from vad.errors import ConfigError
from vad.methods.mil_detector import Bags, MILDetector
from vad.methods.mil_hims import MILHIMS, moved_prototypes
from vad.mil import cross_entropy
from vad.training import load_weights_only

KEYS = ("rank", "gate", "margin", "similarity", "batch")

ABNORMAL = [0.10, 0.15, 0.62, 0.90, 0.85, 0.58, 0.30, 0.12, 0.08, 0.20]
NORMAL = [0.40, 0.05, 0.33, 0.10, 0.28, 0.07, 0.31, 0.02, 0.26, 0.12]
RAW = [(1, 0), (0.98, 0.20), (0.30, 0.95), (0, 1), (0.10, 0.99), (0.90, 0.44), (0.95, 0.31), (1, 0.05), (0.99, 0.10),
       (0.60, 0.80)]  # fmt: skip


def make(progress: float = 0.5, **options: Any) -> MILHIMS:
    """Mining at its full weight, without dropout."""
    torch.manual_seed(0)
    model = MILHIMS(**{"dims": (6,), "width": 16, "heads": 2, "projection": 4, "dropout": 0.0, **options})
    return at(model, progress)


def toy_bags() -> Bags:
    """An abnormal bag in front of a normal one, whose rows all lie at (1, 0)."""
    embedding = torch.stack([functional.normalize(torch.tensor(RAW).float(), dim=-1), torch.tensor([[1.0, 0]] * 10)])
    return bags_of(torch.tensor([[ABNORMAL], [NORMAL]]), embedding[:, None], label=[1, 0], length=[10, 10])


def toy(**options: Any) -> MILHIMS:
    return make(**{"width": 2, "heads": 1, "projection": 2, "top_count": 2, "mining": 1.0, "key": "gate", **options})


def mined(model: MILHIMS, bags: Bags) -> tuple[torch.Tensor, Any]:
    """The margins (B, L) and what is chosen."""
    top = bags.rank < model.top(bags)[:, None]
    margin = model.compare(bags, top).detach().mean(1)
    return margin, model.mine(bags, top, margin)


def rows(chosen: torch.Tensor) -> list[int]:
    return chosen.nonzero()[:, 0].tolist()


# The case with numbers


def test_toy_prototypes_and_margins() -> None:
    model = toy()
    margin, _ = mined(model, toy_bags())
    assert model.prototypes.tolist() == [pytest.approx([1, 0]), pytest.approx([0.0503, 0.9987], abs=1e-4)]
    expected = [-0.9497, -0.7308, 0.6664, 0.9987, 0.8982, -0.4145, -0.5930, -0.8986, -0.8445, 0.2292]
    assert margin[0].tolist() == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize(
    ("key", "positives", "loss"),
    [("rank", [2, 5], (-math.log(0.62) - math.log(0.58)) / 2), ("margin", [2, 9], 0.7676), ("gate", [2], 0.4780)],
)
def test_toy_mining(key, positives, loss) -> None:
    bags = toy_bags()
    model = toy(key=key, contrast=0.5)
    _, found = mined(model, bags)
    assert rows(found.positive[0]) == positives and rows(found.negative[1]) == [4, 6]
    assert not found.positive[1].any() and not found.negative[0].any()
    total = model.additional(bags, 1.0)
    noted = model._seen[-1]
    assert float(noted["negatives_loss"]) == pytest.approx(0.3498, abs=1e-4)
    assert float(noted["positives_loss"]) == pytest.approx(loss, abs=1e-4)
    terms = {2: 0.0013, 9: 0.0963, 5: 4.1607, None: math.log1p(math.exp(-9.497))}  # None: rows of the normal bag
    contrast = np.mean([terms[t] for t in (*positives, None, None)])
    assert float(noted["contrast_loss"]) == pytest.approx(contrast, abs=1e-4)
    assert float(total) == pytest.approx(0.3498 + loss + 0.5 * contrast, abs=2e-4)
    assert float(noted["mined"]) == len(positives) / 2 and float(noted["mined_share"]) == len(positives) / 8


def test_toy_losses_of_plain_mil_and_of_unweighted_positives() -> None:
    bags = toy_bags()
    model = toy(key="margin")
    assert float(cross_entropy(model.bag_probability(bags), bags.label).mean()) == pytest.approx(0.2938, abs=1e-4)
    _, found = mined(model, bags)
    chosen = found.positive > 0
    assert float(functional.softplus(-bags.logit[:, 0])[chosen].mean()) == pytest.approx(1.0437, abs=1e-4)


def test_of_equal_scores_the_earlier_row_is_in_the_top_and_the_next_one_is_mined() -> None:
    bags = bags_of(torch.full((2, 1, 3), 0.5), label=[1, 0], length=[3, 3])
    model = make(key="rank", top_count=1)
    assert (bags.rank < 1).nonzero()[:, 1].tolist() == [0, 0]
    _, found = mined(model, bags)
    assert rows(found.positive[0]) == [1] and rows(found.negative[1]) == [1]


# Who is chosen


def random_bags(seed: int = 0, crops: int = 2, bags: int = 12, length: int = 30) -> Bags:
    random = torch.Generator().manual_seed(seed)
    score = (torch.rand(bags, crops, length, generator=random) * 50).round() / 50 * 0.98 + 0.01  # with ties
    path = torch.randn(bags, 1, length, 3, generator=random).cumsum(2)  # neighbours resemble one another
    embedding = functional.normalize(path + 0.3 * torch.randn(bags, crops, length, 3, generator=random), dim=-1)
    lengths = [1, 2, 3, length, *torch.randint(4, length, (bags - 4,), generator=random).tolist()]
    return bags_of(score, embedding, label=[i % 2 for i in range(bags)], length=lengths)


def twin(model: MILHIMS, bags: Bags, margin: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Negatives and weights of positives, a bag and a row at a time."""
    negative, positive = np.zeros(bags.real.shape, bool), np.zeros(bags.real.shape)
    pool, wanted = [], []
    for bag, (length, label) in enumerate(zip(bags.length.tolist(), bags.label.tolist(), strict=True)):
        score, m = bags.score[bag].tolist(), margin[bag].tolist()
        order = sorted(range(length), key=lambda t: (-score[t], t))
        k = length // 16 + 1
        top, rest = order[:k], order[k:]
        h = min(math.ceil(model.hard_ratio * k), len(rest))
        chance = bags.score[bag].sigmoid().tolist()
        least = model.gate * sum(chance[t] for t in top) / k
        wanted.append(h * label)
        if label == 0:
            negative[bag, rest[:h]] = True
            continue
        pool += [(score[t], bag, t) for t in rest]
        alike = lambda a, b, bag=bag: float((bags.embedding[bag, :, a] * bags.embedding[bag, :, b]).sum(-1).mean())  # noqa: E731
        chosen = {
            "gate": [t for t in rest if m[t] > 0 and chance[t] >= least],
            "margin": sorted([t for t in sorted(rest) if m[t] > 0], key=lambda t: (-m[t], t)),
            "similarity": [t for t in rest if any(abs(t - u) <= 2 and alike(t, u) > 0.8 for u in top)],
        }.get(model.key, rest)[:h]
        for t in chosen:
            positive[bag, t] = min(m[t], 1) if model.key in ("gate", "margin") else 1
    if model.key == "batch":
        threshold = sorted((score for score, _, _ in pool), reverse=True)[sum(wanted) - 1]
        for score, bag, t in pool:
            positive[bag, t] = float(score >= threshold or positive[bag, t])
    for bag in range(len(negative)):
        sure = sorted((s, t) for s, b, t in pool if b == bag and margin[bag, t] < -0.5 and not positive[bag, t])
        negative[bag, [t for _, t in sure[: wanted[bag]]]] = True
    return negative, positive


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("ratio", [0.5, 1.0, 4.0])
def test_mining_is_that_of_an_obvious_twin(key, ratio) -> None:
    for seed in range(3):
        bags = random_bags(seed)
        model = toy(key=key, hard_ratio=ratio, background=True, top_count=None, contrast=0.1, projection=3)
        margin, found = mined(model, bags)
        negative, positive = twin(model, bags, margin)
        np.testing.assert_array_equal(found.negative.numpy(), negative)
        np.testing.assert_allclose(found.positive.numpy(), positive, rtol=1e-6)
        assert positive.any() and negative.any()


@pytest.mark.parametrize("key", KEYS)
def test_what_is_chosen_is_real_disjoint_and_of_the_right_bags(key) -> None:
    bags = random_bags(3)
    model = toy(key=key, hard_ratio=4.0, background=True, top_count=None, contrast=0.1, projection=3)
    _, found = mined(model, bags)
    top, positive = bags.rank < model.top(bags)[:, None], found.positive > 0
    assert not (top & (positive | found.negative)).any() and not (positive & found.negative).any()
    assert not ((positive | found.negative) & ~bags.real).any()
    assert not positive[bags.label == 0].any()
    assert found.contrasted[bags.label == 0].any() and not (found.contrasted & found.negative)[bags.label == 1].any()


def test_none_and_naive_recruit_nobody_and_naive_takes_the_rest_of_every_bag_for_normal() -> None:
    bags = random_bags()
    rest = bags.real & ~(bags.rank < (bags.length // 16 + 1)[:, None])
    _, found = mined(make(key="naive"), bags)
    assert not found.positive.any() and torch.equal(found.negative, rest)
    _, found = mined(make(key="none"), bags)
    assert not found.positive.any() and not found.negative[bags.label == 1].any() and found.negative.any()
    _, found = mined(make(key="rank", negatives=False), bags)
    assert found.positive.any() and not found.negative.any()


def test_bags_without_rest_give_zero_and_finite_gradients() -> None:
    score = torch.full((2, 1, 2), 0.4, requires_grad=True)
    embedding = functional.normalize(torch.ones(2, 1, 2, 2), dim=-1)
    for key in (*KEYS, "none", "naive"):
        model = toy(key=key, contrast=1.0, top_count=None, background=True)
        loss = model.additional(bags_of(score, embedding, label=[1, 0], length=[1, 1]), 1.0)
        (gradient,) = torch.autograd.grad(loss, score)
        assert float(loss.detach()) == 0 and not gradient.any() and gradient.isfinite().all()


def test_rows_of_two_are_mined_once() -> None:
    _, found = mined(make(key="rank", hard_ratio=4.0), bags_of(torch.rand(2, 1, 2), label=[1, 0], length=[2, 2]))
    assert found.positive.sum() == 1 and found.negative.sum() == 1


def test_rows_are_chosen_by_the_mean_over_crops_and_learned_in_each_crop() -> None:
    score = torch.tensor([[[0.9, 0.2, 0.8, 0.2], [0.9, 0.9, 0.2, 0.1]]]).requires_grad_()  # means .9, .55, .5, .15
    bags = bags_of(score, label=[1], length=[4])
    model = make(key="rank", top_count=1)
    _, found = mined(model, bags)
    assert rows(found.positive[0]) == [1]
    model.additional(bags, 1.0).backward()
    assert (score.grad[0] != 0).tolist() == [[False, True, False, False]] * 2


# Prototypes


def test_prototypes_begin_with_the_first_batch_and_then_follow_slowly() -> None:
    z = functional.normalize(torch.randn(4, 2, 5, 3, generator=torch.Generator().manual_seed(0)), dim=-1)
    real = torch.arange(5) < torch.tensor([5, 3, 4, 5])[:, None]
    top = real & (torch.arange(5) < 2)
    label = torch.tensor([0, 0, 1, 1])

    def unit(v: torch.Tensor) -> torch.Tensor:
        return v / v.norm()

    normal = unit(z[0].mean((0, 1)) + z[1, :, :3].mean((0, 1)))
    abnormal = unit(z[2, :, :2].mean((0, 1)) + z[3, :, :2].mean((0, 1)))
    first = moved_prototypes(torch.zeros(2, 3), z, real, top, label, decay=0.95)
    torch.testing.assert_close(first, torch.stack([normal, abnormal]))
    second = moved_prototypes(first.flip(0), z, real, top, label, decay=0.95)
    torch.testing.assert_close(second[0], unit(0.95 * abnormal + 0.05 * normal))
    alone = moved_prototypes(first, z[:2], real[:2], top[:2], label[:2], decay=0.95)
    torch.testing.assert_close(alone[1], abnormal), "no abnormal bag: it stays"


def test_prototypes_move_in_the_warm_up_and_the_loss_is_the_plain_one() -> None:
    batch = bag_batch([9, 12, 9, 12], [0, 0, 1, 1])
    model = make(progress=0.05, key="gate", contrast=0.1)
    assert model.strength == 0
    plain = model.plain_loss(model.bags(batch))
    model._seen.clear()
    assert torch.equal(model.training_step(batch, 0), plain)
    assert model.prototypes.norm(dim=1).tolist() == pytest.approx([1, 1])


def test_the_detector_s_file_holds_only_what_scores_and_the_checkpoint_holds_all(tmp_path) -> None:
    model = make(key="margin", contrast=0.1)
    assert "prototypes" in model.state_dict() and any(name.startswith("embed.") for name in model.state_dict())
    model.estimate({"anomaly": np.ones(3, np.float32)})
    model.save_detector(tmp_path / "detector.ckpt")
    model.finish()
    assert load_weights_only(tmp_path / "detector.ckpt")["weights"].keys() == model.state_dict().keys()
    assert not [name for name in model.state_dict() if name.startswith(("embed", "prototypes"))]
    again = MILHIMS.load_detector(tmp_path / "detector.ckpt")
    assert (again.key, again.contrast, again.projection) == ("margin", 0.1, 4)


# A step


def trained(model: MILDetector, steps: int = 4) -> dict[str, torch.Tensor]:
    batch, optimizer = bag_batch([9, 17, 33, 20], [0, 0, 1, 1]), model.configure_optimizers()
    torch.manual_seed(1)
    for step in range(steps):
        optimizer.zero_grad()
        model.training_step(batch, step).backward()
        optimizer.step()
    return dict(model.named_parameters())


@pytest.mark.parametrize("key", ["rank", "gate"])
def test_without_mining_it_is_plain_mil_bit_for_bit(key) -> None:
    shared = {"dims": (6,), "width": 16, "heads": 2, "dropout": 0.3, "learning_rate": 1e-2}
    torch.manual_seed(0)
    plain = trained(at(MILDetector(**shared), 0.5))
    off = trained(make(mining=0, key=key, contrast=0.1, background=True, **shared))
    assert plain.keys() == off.keys() and all(torch.equal(plain[name], off[name]) for name in plain)
    on = trained(make(key="rank", **shared))
    assert not all(torch.equal(plain[name], on[name]) for name in plain)


def test_the_loss_reaches_chosen_rows_alone_and_selection_has_no_gradient() -> None:
    bags = toy_bags()
    logit, embedding = bags.logit.clone().requires_grad_(), bags.embedding.clone().requires_grad_()
    bags = replace(bags, logit=logit, embedding=embedding)
    model = toy(key="margin")
    _, found = mined(model, bags)
    assert not found.positive.requires_grad and not bags.score.requires_grad and not model.prototypes.requires_grad
    model.additional(bags, 1.0).backward()
    assert embedding.grad is None, "margins choose and weigh; only the contrast teaches embeddings"
    assert torch.equal(logit.grad[:, 0] != 0, found.negative | (found.positive > 0))
    toy(key="margin", contrast=1.0).additional(bags, 1.0).backward()
    assert torch.equal(embedding.grad[:, 0].abs().sum(-1) > 1e-9, found.contrasted)


@pytest.mark.parametrize("key", KEYS)
def test_padding_changes_nothing(key) -> None:
    bags = random_bags(5)
    padded = replace(
        bags,
        logit=functional.pad(bags.logit, (0, 7), value=9.0),
        embedding=functional.pad(bags.embedding, (0, 0, 0, 7)),
        real=functional.pad(bags.real, (0, 7)),
    )
    options = {"key": key, "contrast": 0.1, "background": True, "top_count": None, "projection": 3}
    ours, theirs = toy(**options), toy(**options)
    torch.testing.assert_close(ours.additional(padded, 1.0), theirs.additional(bags, 1.0))
    torch.testing.assert_close(ours.prototypes, theirs.prototypes)
    (_, a), (_, b) = mined(toy(**options), padded), mined(toy(**options), bags)
    for name in ("negative", "positive", "contrasted"):
        assert torch.equal(getattr(a, name)[:, :30], getattr(b, name)) and not getattr(a, name)[:, 30:].any()


def test_labels_drive_the_loss_not_the_place_in_the_batch() -> None:
    batch = bag_batch([9, 17, 33, 20], [0, 0, 1, 1])
    other = share_of(batch, [2, 3, 0, 1])
    losses = [make(key="gate", contrast=0.1).training_step(b, 0) for b in (batch, other)]
    torch.testing.assert_close(*losses)


@pytest.mark.parametrize("key", KEYS)
def test_saturated_scores_in_bf16_give_numbers(key) -> None:
    batch = bag_batch([9, 17, 33, 20], [0, 0, 1, 1])
    model = make(key=key, contrast=0.1, background=True)
    with torch.no_grad():
        last = model.scorers[0].head[-1]  # made to give probabilities of exactly 0 and 1
        last.weight.mul_(1e5)
        last.bias.sub_(model.bags(batch).logit.median())
    with torch.autocast("cpu", torch.bfloat16):
        loss = model.training_step(batch, 0)
    loss.backward()
    probability = model.bags(batch).probability
    assert probability.min() == 0 and probability.max() == 1
    assert loss.dtype == torch.float32 and loss.isfinite()
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())


def test_sparsity_steps_back_once_positives_are_mined() -> None:
    assert make(progress=0.05).sparsity_weight == 8e-5
    assert make(progress=0.2).sparsity_weight == 8e-6
    assert make(progress=0.2, sparse_with_hims=0.0).sparsity_weight == 0
    assert make(progress=0.2, sparse=0.0).sparsity_weight == 0
    for off in ({"key": "none"}, {"key": "naive"}, {"mining": 0.0}, {"positives": 0.0}):
        assert make(progress=0.2, **off).sparsity_weight == 8e-5


def test_embeddings_are_made_where_something_asks_for_them_and_projected_where_something_teaches_it() -> None:
    assert make(key="rank").embed is None and make(key="rank").prototypes is None
    gate = make(key="gate")
    assert not list(gate.embed.parameters()) and gate.prototypes.shape == (2, 16) and not gate.leaves_unused
    contrast = make(key="rank", contrast=0.1)
    assert contrast.prototypes.shape == (2, 4) and contrast.leaves_unused
    assert make(key="rank", contrast=0.1, projection=0).prototypes.shape == (2, 16)
    assert make(mining=0, key="gate", contrast=0.1).embed is None


def test_a_finished_detector_can_be_asked_what_it_would_mine() -> None:
    model = MILHIMS(dims=(6,), width=16, heads=2).eval()
    model.finish()
    _, found = mined(model, model.bags(bag_batch([20, 20], [0, 1])))
    assert (found.positive > 0).sum(1).tolist() == [0, 2]


def test_what_cannot_be_is_said() -> None:
    for wrong in ({"hard_ratio": 0.0}, {"temperature": 0.0}, {"prototype_decay": 1.0}):
        with pytest.raises(ConfigError, match="hard_ratio, temperature, prototype_decay"):
            make(**wrong)


def test_after_training_hard_positives_are_abnormal_more_often_than_what_they_were_chosen_from() -> None:
    """Every third row of abnormal bags is abnormal, of random strength; noise of a scene on all rows of a bag."""
    random = torch.Generator().manual_seed(0)
    label = torch.arange(48) % 2
    truth = (label[:, None] == 1) & (torch.rand(48, 40, generator=random) < 1 / 3)
    x = torch.randn(48, 1, 40, 6, generator=random) + 0.3 * torch.randn(48, 1, 1, 6, generator=random)
    x[..., 0] += truth[:, None] * 4 * torch.rand(48, 1, 40, generator=random)
    batch = replace(bag_batch([40] * 48, label.tolist()), streams=(x.half(),))
    for key in ("rank", "gate", "margin"):
        model = make(key=key, temporal="none", width=32, learning_rate=3e-3, norm="none")
        optimizer = model.configure_optimizers()
        for step in range(120):
            at(model, step / 120)
            optimizer.zero_grad()
            model.training_step(batch, step).backward()
            optimizer.step()
        bags = model.bags(batch)
        _, found = mined(model, bags)
        rest = bags.real & ~(bags.rank < model.top(bags)[:, None]) & (label == 1)[:, None]
        precision = truth[found.positive > 0].float().mean()
        assert precision > truth[rest].float().mean() + 0.15, key


# Several processes

SHARES = ([0, 2, 5, 7], [1, 3, 4, 6, 8, 9])


def share_of(batch: Any, bags: list[int]) -> Any:
    return replace(batch, streams=tuple(s[bags] for s in batch.streams), length=batch.length[bags],
                   label=batch.label[bags], key=batch.key[bags])  # fmt: skip


def step_of(key: str, bags: list[int]) -> dict[str, Any]:
    batch = bag_batch([9, 17, 33, 20, 12, 25, 1, 40, 5, 3], [0, 0, 1, 1, 0, 1, 1, 0, 1, 0])
    model = make(key=key, contrast=0.1, background=True)
    losses = [model.training_step(share_of(batch, bags), step) for step in range(2)]
    sum(losses).backward()
    gradients = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    noted = {name: float(value) for name, value in model._seen[-1].items()}
    return {"gradients": gradients, "prototypes": model.prototypes, "noted": noted}


def one_rank(rank: int, folder: str) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
    torch.set_num_threads(1)
    torch.save({key: step_of(key, SHARES[rank]) for key in ("gate", "batch")}, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.slow
def test_two_processes_mine_as_one(tmp_path) -> None:
    """Also with unequal shares: gradients are averaged over processes, prototypes equal, notes averaged."""
    mp.spawn(one_rank, args=(str(tmp_path),), nprocs=2)
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1))
    for key in ("gate", "batch"):
        alone = step_of(key, list(range(10)))
        a, b = first[key], second[key]
        assert torch.equal(a["prototypes"], b["prototypes"])
        torch.testing.assert_close(a["prototypes"], alone["prototypes"])
        for name, gradient in alone["gradients"].items():
            both = (a["gradients"][name] + b["gradients"][name]) / 2
            torch.testing.assert_close(both, gradient, rtol=1e-4, atol=1e-6, msg=lambda m, name=name: f"{name}: {m}")
        for name, value in alone["noted"].items():
            assert (a["noted"][name] + b["noted"][name]) / 2 == pytest.approx(value, rel=1e-4, abs=1e-6), name
