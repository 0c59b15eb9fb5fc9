"""Contrastive clustering: numbers worked out by hand, and what must not change a loss."""

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from jsonargparse import ArgumentParser
from torch import Tensor
from torch.nn import functional

from vad.errors import ConfigError
from vad.methods.anomaly_detector import AnomalyDetector, constructor_arguments
from vad.methods.contrastive_clustering import (
    Assigned,
    ContrastiveClustering,
    assigned,
    centre_contrast,
    cluster_means,
    first_centres,
    joined,
    mixed_logit,
    reliable,
    thinned,
    two_means,
    vector_contrast,
)
from vad.methods.mil_detector import Bags, MILDetector
from vad.metrics.frame import auroc
from vad.mil import highest
from vad.training.randomness import random_order
from vad.types import BagBatch


def at(*degrees: float) -> Tensor:
    """One bag of unit vectors at angles, (1, L, 2)."""
    angle = torch.deg2rad(torch.tensor(degrees))
    return torch.stack([angle.cos(), angle.sin()], -1)[None]


def count(*numbers: int) -> Tensor:
    return torch.tensor(numbers)


def everywhere(rows: Tensor) -> Tensor:
    return torch.ones(rows.shape[:2], dtype=torch.bool)


def said(label: list[int], length: list[int], rows: int, *, width: int = 8, crops: int = 1, seed: int = 0) -> Bags:
    """What a network might say of some bags."""
    torch.manual_seed(seed)
    real = torch.arange(rows) < torch.tensor(length)[:, None]
    embedding = functional.normalize(torch.randn(len(label), crops, rows, width), dim=-1)
    logit = torch.randn(len(label), crops, rows)
    return Bags(logit, embedding, real, torch.tensor(length), torch.tensor(label), torch.arange(len(label)) + 3)


def members_of(bags: Bags, *, step: int = 0, most: int = 512, background: bool = False) -> Tensor:
    k = bags.length // 16 + 1
    found = assigned(joined(bags.embedding), bags.score, bags.real, k)
    order = random_order(bags.key, bags.real.shape[1], step)
    return thinned(reliable(found, bags.score, order, bags, k, background=background), order, most)


def random_batch(labels: list[int], rows: int = 20, dims: tuple[int, ...] = (12, 8), seed: int = 0) -> BagBatch:
    """Bags of noise; abnormal ones hold an event in their middle. Lengths differ."""
    random = np.random.default_rng(seed)
    length = random.integers(3, rows + 1, len(labels))
    length[0] = rows
    streams = [random.normal(0, 1, (len(labels), 1, rows, dim)) for dim in dims]
    for stream in streams:
        for bag, n in enumerate(length):
            stream[bag, :, n // 3 : n // 3 + max(n // 3, 1), 0] += 3 * labels[bag]
            stream[bag, :, n:] = 0
    return BagBatch(
        streams=tuple(torch.from_numpy(stream).half() for stream in streams),
        length=torch.from_numpy(length),
        label=torch.tensor(labels),
        key=torch.arange(len(labels)),
        size=len(labels),
    )


# The loss

FOUR = torch.tensor([[[0.6, 0.8], [0, 1], [1, 0], [0.8, 0.6]]])
OF_CATEGORY = torch.tensor([[[False, True], [False, True], [True, False], [True, False]]])  # normal, abnormal


def test_the_contrast_at_centres_is_that_of_the_worked_example() -> None:
    centres = torch.tensor([[[1.0, 0]], [[0, 1.0]]])
    assert centre_contrast(FOUR, OF_CATEGORY, centres, temperature=0.5).item() == pytest.approx(0.5437, abs=5e-5)


def test_the_contrast_at_features_is_a_cross_entropy_over_centres() -> None:
    centres = torch.tensor([[[1.0, 0]], [[0, 1.0]]])
    logit = FOUR[0] @ centres[:, 0].mT / 0.5
    expected = functional.cross_entropy(logit, torch.tensor([1, 1, 0, 0]))
    feature = centre_contrast(FOUR, OF_CATEGORY, centres, temperature=0.5, anchor="feature")
    torch.testing.assert_close(feature, expected)
    both = centre_contrast(FOUR, OF_CATEGORY, centres, temperature=0.5, anchor="both")
    torch.testing.assert_close(both, (expected + centre_contrast(FOUR, OF_CATEGORY, centres, temperature=0.5)) / 2)


@pytest.mark.parametrize("temperature", [0.1, 0.01])
def test_with_several_centres_each_member_is_held_against_its_nearest(temperature) -> None:
    torch.manual_seed(0)
    embedding = functional.normalize(torch.randn(3, 7, 4), dim=-1)
    centres = functional.normalize(torch.randn(2, 3, 4), dim=-1)
    members = torch.rand(3, 7, 2) < 0.4
    terms: list[list[float]] = [[], []]
    for y in (0, 1):
        others = embedding[members[..., 1 - y]].double()
        for z in embedding[members[..., y]].double():
            c = max(centres[y].double(), key=lambda c: float(c @ z))
            own = math.exp((float(c @ z) - 1) / temperature)
            rest = sum(math.exp((float(c @ other) - 1) / temperature) for other in others)
            terms[y].append(-math.log(own / (own + rest)))
    expected = sum(sum(part) / len(part) for part in terms) / 2
    assert centre_contrast(embedding, members, centres, temperature=temperature).item() == pytest.approx(
        expected, rel=1e-4
    )


def test_equal_embeddings_give_the_logarithm_of_one_more_than_the_negatives_and_a_finite_gradient() -> None:
    bags = said([0, 0, 1, 1], [20, 12, 20, 9], 20)
    same = at(*[30] * 20).expand(4, -1, -1).clone().requires_grad_()
    found = assigned(same.detach(), bags.score, bags.real, count(2, 1, 2, 1))
    assert found.doubtful.all() and torch.equal(found.abnormal, highest(bags.score, bags.real, count(2, 1, 2, 1)))
    order = random_order(bags.key, 20, 0)
    members = reliable(found, bags.score, order, bags, count(2, 1, 2, 1))
    assert members.sum((0, 1)).tolist() == [6, 3]
    loss = centre_contrast(same, members, at(30).expand(2, 1, 2))
    assert loss.item() == pytest.approx((math.log(1 + 3) + math.log(1 + 6)) / 2, rel=1e-5)
    loss.backward()
    assert same.grad.isfinite().all()
    no_negative = members & torch.tensor([True, False])
    assert centre_contrast(same, no_negative, at(30).expand(2, 1, 2)).item() == pytest.approx(0, abs=1e-6)


def test_a_step_down_the_loss_brings_members_to_their_centre_and_others_away() -> None:
    torch.manual_seed(0)
    embedding = functional.normalize(torch.randn(1, 6, 5), dim=-1).requires_grad_()
    members = torch.zeros(1, 6, 2, dtype=torch.bool)
    members[0, :3, 1] = members[0, 3:, 0] = True
    centres = functional.normalize(torch.randn(2, 1, 5), dim=-1) * torch.tensor([[[0.0]], [[1.0]]])  # one pulls alone
    centre_contrast(embedding, members, centres).backward()
    for row, (z, step) in enumerate(zip(embedding[0].detach(), -embedding.grad[0], strict=True)):
        towards = centres[1, 0] - (centres[1, 0] @ z) * z  # in the tangent space
        assert (step @ towards > 0) == (row < 3)


@pytest.mark.parametrize("source", ["ema", "batch"])
def test_gradient_passes_through_centres_of_the_batch_alone(source) -> None:
    bags = said([0, 1], [20, 20], 20)
    embedding = bags.embedding[:, 0].clone().requires_grad_()
    members = members_of(bags)
    means = cluster_means(embedding, members, torch.zeros(2, 1, 8))
    fixed = means.detach()
    (through,) = torch.autograd.grad(centre_contrast(embedding, members, means), embedding)
    (around,) = torch.autograd.grad(centre_contrast(embedding, members, fixed), embedding)
    assert not torch.allclose(through, around)
    model = detector(centre_source=source, projection=8, width=8)
    loss = model.clusters_loss(bags, embedding, model.centres)
    (ours,) = torch.autograd.grad(loss, embedding)
    torch.testing.assert_close(ours, through if source == "batch" else around)
    assert not model.centres.requires_grad


def test_pooled_embeddings_meet_the_vector_of_their_category() -> None:
    vectors = at(0, 90)[0]
    embedding = torch.cat([at(90, 0, 0), at(0, 90, 90)])  # the last row is behind the end
    logit = torch.tensor([[50.0, -50, -40], [0, -50, 99]])
    real = torch.tensor([[True, True, True], [True, True, False]])
    found = vector_contrast(embedding, logit, real, torch.tensor([1, 0]), vectors, temperature=1)
    assert found.item() == pytest.approx(math.log(1 + math.exp(-1)), rel=1e-4)  # each stands at its own vector
    swapped = vector_contrast(embedding, logit, real, torch.tensor([0, 1]), vectors, temperature=1)
    # Now the abnormal bag's high rows stand at the normal vector, its low ones at the abnormal, the normal bag's too.
    assert swapped.item() == pytest.approx(math.log(1 + math.e), rel=1e-4)


# The clusters


def test_two_means_recruit_a_row_outside_the_top_k() -> None:
    embedding, score = at(5, 15, 85, 75, 60, 0), torch.tensor([[0.1, 0.2, 0.9, 0.8, 0.3, 0.15]])
    real, k = everywhere(embedding), count(2)
    top, bottom = highest(score, real, k), highest(-score, real, k)
    for steps in (1, 2, 3):
        inside, centroids = two_means(embedding, top, bottom, real, steps=steps)
        assert inside.int().tolist() == [[0, 0, 1, 1, 1, 0]]
    angle = torch.rad2deg(torch.atan2(centroids[0, :, 1], centroids[0, :, 0]))
    assert angle.tolist() == pytest.approx([73.3, 6.7], abs=0.05)
    found = assigned(embedding, score, real, k)
    assert found.abnormal.int().tolist() == [[0, 0, 1, 1, 1, 0]] and not found.doubtful.any()
    assert score[found.abnormal].mean().item() == pytest.approx(0.6667, abs=1e-4)
    assert score[found.background].mean().item() == pytest.approx(0.15, abs=1e-6)
    assert assigned(embedding, score, real, k, by="topk").abnormal.int().tolist() == [[0, 0, 1, 1, 0, 0]]


def test_of_two_equally_near_centroids_the_second_has_the_row() -> None:
    embedding = torch.tensor([[[1.0, 0], [0, 1], [0.7, 0.7]]])
    first, second = torch.tensor([[True, False, False]]), torch.tensor([[False, True, False]])
    inside, _ = two_means(embedding, first, second, everywhere(embedding), steps=1)
    assert inside.tolist() == [[True, False, False]]


def test_the_cluster_of_the_larger_mean_score_is_abnormal() -> None:
    """One lonely high score begins the first cluster; the rest of that cluster scores low, and the others high."""
    embedding = at(0, 2, 4, 90, 92, 94, 45)
    score = torch.tensor([[0.7, 0.1, 0.1, 0.5, 0.5, 0.5, 0.05]]).logit()
    found = assigned(embedding, score, everywhere(embedding), count(1))
    assert not found.doubtful.any()
    assert found.abnormal.int().tolist() == [[0, 0, 0, 1, 1, 1, 1]]


@pytest.mark.parametrize(
    ("degrees", "score"),
    [
        ((0, 90, 91, 92, 93, 94), (0.1, 0.9, 0.8, 0.85, 0.9, 0.7)),  # more than 0.8 of the bag
        ((0, 3, 0, 4, 5, 1), (0.1, 0.2, 0.9, 0.8, 0.3, 0.1)),  # the centroids look alike
        ((0, 80, 60, 70, 5, 3), (0.1, 0.9, 0.1, 0.1, 0.1, 0.1)),  # the cluster scores below half of the bag
        ((0, 90, 88), (0.1, 0.9, 0.8)),  # too short
    ],
)
def test_where_clusters_are_not_believed_the_top_and_bottom_stand_for_them(degrees, score) -> None:
    embedding, score = at(*degrees), torch.tensor([score]).logit()
    found = assigned(embedding, score, everywhere(embedding), count(1))
    assert found.doubtful.all()
    assert found.abnormal.sum() == found.background.sum() == 1
    assert found.abnormal[0, score.argmax()] and found.background[0, score.argmin()]


def test_top_and_bottom_of_a_bag_of_one_row_do_not_overlap() -> None:
    found = assigned(at(0), torch.tensor([[0.5]]), torch.tensor([[True]]), count(1))
    assert found.abnormal.all() and not found.background.any()


def test_clusters_of_bags_of_several_lengths_are_those_of_each_bag_alone() -> None:
    bags = said([1] * 5, [20, 4, 17, 3, 9], 20)
    k, z = bags.length // 16 + 1, bags.embedding[:, 0]
    together = assigned(z, bags.score, bags.real, k)
    assert not together.doubtful.all()
    for bag, n in enumerate(bags.length.tolist()):
        one = slice(bag, bag + 1)
        alone = assigned(z[one, :n], bags.score[one, :n], bags.real[one, :n], k[one])
        for ours, theirs in zip(together, alone, strict=True):
            torch.testing.assert_close(ours[one, :n] if ours.ndim == 2 else ours[one], theirs)
        assert not together.abnormal[bag, n:].any() and not together.background[bag, n:].any()


# Members and centres


def test_normal_bags_are_no_abnormal_members_and_the_other_way_round() -> None:
    bags = said([0, 1, 0, 1], [64, 64, 5, 40], 64)
    members = members_of(bags)
    assert not members[bags.label == 0][..., 1].any() and not members[bags.label == 1][..., 0].any()
    assert not members[~bags.real].any()
    k = bags.length // 16 + 1
    assert members[..., 0].sum(1).tolist() == [2 * int(k[0]), 0, 2 * int(k[2]), 0]
    assert (members[..., 1].sum(1) <= 4 * k).all()
    hardest = highest(bags.score, bags.real, k) & (bags.label == 0)[:, None]
    assert members[..., 0][hardest].all()
    assert members_of(bags, background=True)[bags.label == 1][..., 0].any()


def test_at_most_four_k_rows_of_highest_score_are_abnormal_members() -> None:
    bags = said([1], [40], 40)
    every = Assigned(bags.real, ~bags.real, torch.tensor([False]))
    members = reliable(every, bags.score, bags.score, bags, count(3))
    assert torch.equal(members[..., 1], highest(bags.score, bags.real, count(12)))


def test_members_are_cut_down_to_an_equal_share_of_each_bag() -> None:
    bags = said([0] * 4 + [1] * 4, [200] * 8, 200)
    whole, cut = members_of(bags), members_of(bags, most=20)
    assert whole[..., 0].sum() == 4 * 26
    assert cut[..., 0].sum(1).tolist() == [5, 5, 5, 5, 0, 0, 0, 0] and (cut[..., 1].sum(1) <= 5).all()
    assert not (cut & ~whole).any()
    assert not torch.equal(cut, members_of(bags, most=20, step=1)), "drawn anew in every step"


def test_random_numbers_follow_from_bag_row_and_step_alone_and_spread_evenly() -> None:
    key = torch.arange(500)
    order = random_order(key, 200, 7)
    assert torch.equal(order[100:103, :50], random_order(key[100:103], 50, 7))
    assert len(order.unique()) > 0.99 * order.numel()
    assert order.min() >= 0 and order.max() < 2**32
    assert torch.histc(order / 2**32, 10, 0, 1).sub(1e4).abs().max() < 500
    first = order.argsort(1)
    assert torch.corrcoef(torch.stack([first[:, 0], random_order(key, 200, 8).argsort(1)[:, 0]]))[0, 1].abs() < 0.15
    assert torch.corrcoef(torch.stack([first[1:, 0], first[:-1, 0]]))[0, 1].abs() < 0.15


def test_neither_the_order_of_bags_nor_rows_behind_the_end_change_the_loss() -> None:
    bags = said([0, 0, 1, 1], [20, 7, 20, 11], 20, crops=2)
    loss = detector(width=8).clusters_loss(bags, joined(bags.embedding), torch.zeros(2, 1, 8))
    for order in ([1, 0, 3, 2], [2, 3, 0, 1]):
        other = Bags(*(getattr(bags, name)[order] for name in bags.__dataclass_fields__))
        torch.testing.assert_close(
            detector(width=8).clusters_loss(other, joined(other.embedding), torch.zeros(2, 1, 8)), loss
        )
    longer = Bags(
        functional.pad(bags.logit, (0, 5), value=9.0),
        functional.pad(bags.embedding, (0, 0, 0, 5), value=0.5),
        functional.pad(bags.real, (0, 5)),
        bags.length,
        bags.label,
        bags.key,
    )
    torch.testing.assert_close(
        detector(width=8).clusters_loss(longer, joined(longer.embedding), torch.zeros(2, 1, 8)), loss
    )


def test_centres_are_mean_directions_of_their_members() -> None:
    means = cluster_means(FOUR, OF_CATEGORY, torch.zeros(2, 1, 2))
    torch.testing.assert_close(means[:, 0], torch.tensor([[0.9487, 0.3162], [0.3162, 0.9487]]), atol=5e-5, rtol=0)
    kept = cluster_means(FOUR, OF_CATEGORY & torch.tensor([True, False]), torch.tensor([[[1.0, 0]], [[0, 1.0]]]))
    assert kept[1, 0].tolist() == [0, 1], "a centre without members stays"


def test_centres_begin_at_the_first_batch_and_then_move_a_tenth() -> None:
    model = detector(width=8)
    first, second = said([0, 1], [20, 20], 20), said([0, 1], [20, 20], 20, seed=1)
    means = [model.move(model.centres, first.embedding[:, 0], members_of(first))]
    torch.testing.assert_close(model.centres, means[0])
    expected = model.centres.clone()
    means.append(model.move(model.centres, second.embedding[:, 0], members_of(second)))
    torch.testing.assert_close(model.centres, functional.normalize(0.9 * expected + 0.1 * means[1], dim=-1))
    assert model.noted["drift"].item() == pytest.approx(1 - float((model.centres[1] * expected[1]).sum()), abs=1e-6)


def test_several_centres_begin_at_the_groups_that_a_category_has() -> None:
    groups = torch.stack([at(*(base + spread for spread in (-4, 0, 4)))[0] for base in (0, 120, 240)])
    members = torch.ones(3, 3, 2, dtype=torch.bool)
    centres = first_centres(groups, members, 3)
    angle = torch.rad2deg(torch.atan2(centres[0, :, 1], centres[0, :, 0])).remainder(360).add(1).remainder(360)
    assert sorted(angle.tolist()) == pytest.approx([1, 121, 241], abs=0.5)


# The method


class Noting(ContrastiveClustering):
    """Keeps what is noted, and has taken `step` steps."""

    step = 0

    @property
    def trainer(self) -> Any:
        return SimpleNamespace(global_step=self.step, estimated_stepping_batches=100)

    def note(self, **values: Any) -> None:
        self.noted = {**getattr(self, "noted", {}), **values}


def detector(**options: Any) -> Noting:
    return Noting(**{"dims": (12, 8), "width": 16, "temporal": "conv", "projection": 8, "dropout": 0.0, **options})


def learned(model: MILDetector, folder: Path, *, steps: int = 8) -> MILDetector:
    """Trained on a few bags of noise with events."""
    batches = [random_batch([0] * 4 + [1] * 4, seed=step) for step in range(steps)]
    trainer = pl.Trainer(
        max_epochs=1,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=str(folder),
    )
    torch.manual_seed(5)
    trainer.fit(model, torch.utils.data.DataLoader(batches, batch_size=None))
    return model


def test_without_contrast_it_is_plain_mil_bit_for_bit(tmp_path) -> None:
    options: dict[str, Any] = {"dims": (12, 8), "width": 16, "heads": 2, "dropout": 0.2, "learning_rate": 1e-2}
    models = []
    for cls, own in ((MILDetector, {}), (ContrastiveClustering, {"contrast": 0}), (ContrastiveClustering, {})):
        torch.manual_seed(0)
        models.append(learned(cls(**options, **own), tmp_path))
    plain, without, within = ({n: t for n, t in m.state_dict().items() if n.startswith("scorers")} for m in models)
    assert all(torch.equal(tensor, without[name]) for name, tensor in plain.items())
    assert not all(torch.equal(tensor, within[name]) for name, tensor in plain.items())


def test_heads_of_its_own_leave_the_others_as_they_begin() -> None:
    states = []
    for cls, own in ((MILDetector, {}), (ContrastiveClustering, {"pairing": "category_vector", "projection": 8})):
        torch.manual_seed(0)
        states.append(cls(dims=(12,), width=16, **own).state_dict())
    assert all(torch.equal(tensor, states[1][name]) for name, tensor in states[0].items())


@pytest.mark.parametrize(
    "options",
    [
        {"pairing": "category_vector"},
        {"projection": 0},
        {"assignment": "topk", "centre_source": "batch"},
        {"anchor": "feature", "clusters": 4},
        {"fuse": "late"},
        {"stream": 1, "temperature": 0.05},
    ],
)
def test_every_variant_teaches_all_of_its_weights(options) -> None:
    model = detector(**options)
    model.step = 90
    bags = model.bags(random_batch([0, 0, 0, 1, 1, 1]))
    loss = model.additional(bags, 1.0)
    (model.plain_loss(bags) + loss).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() and p.grad.any() for p in model.parameters())
    assert loss.item() == pytest.approx(0.1 * model.noted["contrast_loss"].item())


def test_nothing_is_contrasted_and_no_centre_moves_during_the_warm_up() -> None:
    model = detector()
    assert model.additional(model.bags(random_batch([0, 1])), 0.0) is None
    assert not model.centres.any()


def test_what_is_noted_tells_how_rows_were_assigned() -> None:
    model = detector()
    bags = said([0, 1, 1], [20, 20, 3], 20)
    model.clusters_loss(bags, bags.embedding[:, 0], model.centres)
    k = bags.length // 16 + 1
    found = assigned(bags.embedding[:, 0], bags.score, bags.real, k)
    top, sizes = bags.rank < k[:, None], found.abnormal.sum(1)
    noted = {name: float(value) for name, value in model.noted.items()}
    assert noted["abnormal_share"] == pytest.approx(float((sizes / bags.length)[1:].mean()))
    assert noted["in_top_k"] == pytest.approx(float(((found.abnormal & top).sum(1) / sizes)[1:].mean()))
    assert noted["doubtful"] == pytest.approx(float(found.doubtful[1:].float().mean())) and found.doubtful[2]
    members = members_of(bags).sum((0, 1))
    assert noted["contrast_chance"] == pytest.approx(sum(math.log(1 + n) for n in members.tolist()) / 2)


def test_a_mixed_score_is_the_logit_of_mixed_probabilities() -> None:
    logit, margin = torch.tensor([0.3, -2.0, 80.0, -80.0]), torch.tensor([1.0, 0.5, 80.0, -80.0])
    expected = 0.7 * logit[:2].sigmoid() + 0.3 * margin[:2].sigmoid()
    found = mixed_logit(logit, margin, 0.3)
    torch.testing.assert_close(found[:2].sigmoid(), expected)
    torch.testing.assert_close(found[2:], torch.tensor([80.0, -80.0]))


def test_centres_have_their_say_in_a_score() -> None:
    torch.manual_seed(0)
    model = detector(score_mix=0.4, clusters=2).eval()
    model.centres.copy_(functional.normalize(torch.randn(2, 2, 8), dim=-1))
    batch = random_batch([0, 1])
    bags = model.bags(batch)
    cosine = (bags.embedding[:, 0, :, None, None] * model.centres).sum(-1).amax(-1)
    margin = ((cosine[..., 1] - cosine[..., 0]) / 0.2).sigmoid()
    expected = (0.6 * bags.logit[:, 0].sigmoid() + 0.4 * margin)[bags.real]
    torch.testing.assert_close(model.columns(batch)["anomaly"].sigmoid(), expected)


@pytest.mark.parametrize("score_mix", [0.0, 0.3])
@pytest.mark.parametrize("pairing", ["feature", "category_vector"])
def test_a_detector_s_file_holds_centres_only_if_they_score(tmp_path, score_mix, pairing) -> None:
    model = ContrastiveClustering(dims=(12, 8), width=16, heads=2, score_mix=score_mix, pairing=pairing)
    named = [name for name in model.detector_state() if name.startswith(("embed", "centres"))]
    assert bool(named) == bool(score_mix)
    model.finish()
    assert model.detector_state().keys() == model.state_dict().keys()
    batch = random_batch([0, 1])
    model.eval()
    model.estimate({"anomaly": model.columns(batch)["anomaly"].detach().numpy()})
    model.save_detector(tmp_path / "detector.ckpt")
    loaded = AnomalyDetector.load_detector(tmp_path / "detector.ckpt")
    assert loaded.arguments["projection"] == 128
    torch.testing.assert_close(loaded.columns(batch), model.columns(batch), rtol=0, atol=0)


def test_its_own_default_of_projection_stands_for_the_shared_one() -> None:
    arguments = constructor_arguments(ContrastiveClustering)
    assert arguments["projection"].default == 128 and "window" in arguments and "shared" not in arguments
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(ContrastiveClustering, "model")
    parsed = parser.parse_args(["--model.contrast=0.2", "--model.window=7"])
    assert (parsed.model.projection, parsed.model.window, parsed.model.contrast) == (128, 7, 0.2)
    assert set(vars(parsed.model)) == set(arguments)
    made = ContrastiveClustering(**vars(parsed.model))
    assert made.arguments == ContrastiveClustering(contrast=0.2, window=7).arguments


def test_a_stream_of_larger_numbers_does_not_rule() -> None:
    torch.manual_seed(0)
    model, batch = detector().eval(), random_batch([0, 1])
    larger = BagBatch(
        streams=(batch.streams[0].float(), batch.streams[1].float() * 100),
        length=batch.length,
        label=batch.label,
        key=batch.key,
        size=2,
    )
    torch.testing.assert_close(model.bags(larger).logit, model.bags(batch).logit, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"temperature": 0.0}, "temperature"),
        ({"momentum": 1.0}, "momentum"),
        ({"clusters": 0}, "clusters"),
        ({"members": 0}, "members"),
        ({"contrast": 0.0, "score_mix": 0.3}, "score_mix"),
    ],
)
def test_settings_that_make_no_sense_are_refused_by_name(options, words) -> None:
    with pytest.raises(ConfigError, match=words):
        ContrastiveClustering(**options)


def source_batch(labels: list[int], seed: int) -> tuple[BagBatch, np.ndarray]:
    """Bags, and which rows are abnormal (B, 16).

    The first source tells a third of the normal rows (crowds, say) from all others. To the second these crowds look
    like anomalies, and it tells both from the rest.
    """
    random = np.random.default_rng(seed)
    abnormal = np.zeros((len(labels), 16), bool)
    for bag, label in enumerate(labels):
        start = random.integers(12)
        abnormal[bag, start : start + 4] = label
    crowd = (random.random(abnormal.shape) < 0.33) & ~abnormal
    streams = random.normal(0, 1, (2, len(labels), 1, 16, 6))
    streams[0, :, 0, :, 0] += 4 * crowd
    streams[1, :, 0, :, 1] += 4 * (abnormal | crowd)
    bags = len(labels)
    batch = BagBatch(
        streams=tuple(torch.from_numpy(stream).half() for stream in streams),
        length=torch.full((bags,), 16),
        label=torch.tensor(labels),
        key=torch.arange(bags) + 1000 * seed,
        size=bags,
    )
    return batch, abnormal


def test_fused_sources_beat_each_alone(tmp_path) -> None:
    batches = [source_batch([0] * 8 + [1] * 8, seed)[0] for seed in range(30)]
    test, abnormal = source_batch([0] * 30 + [1] * 30, 999)
    found = {}
    for stream in (0, 1, None):
        torch.manual_seed(0)
        model = ContrastiveClustering(
            dims=(6, 6), stream=stream, width=16, temporal="none", projection=8, learning_rate=2e-2, weight_decay=0
        )
        trainer = pl.Trainer(
            max_epochs=2,
            accelerator="cpu",
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            default_root_dir=str(tmp_path),
        )
        trainer.fit(model, torch.utils.data.DataLoader(batches, batch_size=None))
        score = model.eval().columns(test)["anomaly"].detach().numpy()
        found[stream] = auroc(abnormal.reshape(-1), score)
    assert found[None] > max(found[0], found[1]) + 0.1


# Several processes

VARIANTS: list[dict[str, Any]] = [
    {},
    {"anchor": "both", "centre_source": "batch", "clusters": 2, "use_bg_of_abnormal": True, "members": 12},
    {"pairing": "category_vector"},
]
ORDER = [0, 1, 4, 5], [2, 3, 6, 7]  # bags of the two processes: two normal, two abnormal


def share(bags: list[int]) -> BagBatch:
    batch = random_batch([0] * 4 + [1] * 4)
    return BagBatch(
        streams=tuple(stream[bags] for stream in batch.streams),
        length=batch.length[bags],
        label=batch.label[bags],
        key=batch.key[bags],
        size=8,
    )


def two_steps(options: dict[str, Any], batch: BagBatch) -> dict[str, Any]:
    """Losses, gradients and centres of two steps without an optimiser."""
    torch.manual_seed(0)
    model = detector(**options)
    losses = []
    for step in (50, 51):
        model.step = step
        bags = model.bags(batch)
        losses.append(model.plain_loss(bags) + model.additional(bags, 1.0))
    sum(losses).backward()
    return {
        "loss": torch.stack(losses).detach(),
        "gradients": [p.grad for p in model.parameters()],
        "centres": model.centres.detach(),
    }


def one_rank(rank: int, folder: str) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
    torch.set_num_threads(1)
    found = []
    for options in VARIANTS:
        mine = two_steps(options, share(ORDER[rank]))
        for tensor in (mine["loss"], *mine["gradients"]):  # as DDP does it
            dist.all_reduce(tensor)
            tensor /= 2
        found.append(mine)
    torch.save(found, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.slow
def test_two_processes_learn_as_one(tmp_path) -> None:
    mp.spawn(one_rank, args=(str(tmp_path),), nprocs=2)
    for rank in (0, 1):
        found = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        for options, several in zip(VARIANTS, found, strict=True):
            alone = two_steps(options, share([*range(8)]))
            torch.testing.assert_close(several, alone, rtol=1e-4, atol=1e-6)
