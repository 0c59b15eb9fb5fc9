"""What weakly supervised methods share, against obvious twins."""

import math

import pytest
import torch
import torch.multiprocessing as mp
from torch import distributed as dist

from vad.mil import (
    bag_probability,
    cross_entropy,
    global_mean,
    highest,
    ramp,
    ranks,
    smoothness,
    sparsity,
    top_count,
)


def test_k_grows_with_the_length_and_never_passes_it() -> None:
    length = torch.tensor([1, 2, 15, 16, 200])
    assert top_count(length).tolist() == [1, 1, 1, 2, 13]
    assert top_count(length, scale=2).tolist() == [1, 2, 2, 4, 26]
    assert top_count(length, count=3).tolist() == [1, 2, 3, 3, 3]
    assert top_count(length, ratio=10).tolist() == [1, 1, 2, 2, 21]


def test_ranks_follow_scores_and_of_equal_ones_the_earlier_row_is_first() -> None:
    score = torch.tensor([[0.2, 0.5, 0.5, 0.9], [0.1, 0.3, 0.9, 0.9]])
    real = torch.tensor([[True] * 4, [True, True, False, False]])
    assert ranks(score, real)[0].tolist() == [3, 1, 2, 0]
    assert ranks(score, real)[1, :2].tolist() == [1, 0], "rows behind the end rank last"


def test_the_highest_are_taken_among_some_rows_and_all_of_them_if_there_are_fewer() -> None:
    value = torch.tensor([[0.2, -0.5, 0.7, 0.7], [0.1, 0.3, 0.9, 0.8]])
    among = torch.tensor([[True, True, False, True], [True, False, False, False]])
    assert highest(value, among, torch.tensor([2, 2])).tolist() == [[True, False, False, True], [True] + [False] * 3]
    assert not highest(value, among, torch.tensor([0, 0])).any()


@pytest.mark.parametrize("of", ["probability", "logit"])
def test_a_bag_s_probability_is_the_mean_over_its_chosen_rows_and_crops(of) -> None:
    logit = torch.randn(2, 3, 5, generator=torch.Generator().manual_seed(0))
    chosen = torch.tensor([[True, False, True, False, False], [False] * 4 + [True]])
    for bag, rows in ((0, [0, 2]), (1, [4])):
        values = [float(logit[bag, crop, row]) for crop in range(3) for row in rows]
        sigmoid = lambda x: 1 / (1 + math.exp(-x))  # noqa: E731
        mean = sum(map(sigmoid, values)) / len(values)
        expected = mean if of == "probability" else sigmoid(sum(values) / len(values))
        assert float(bag_probability(logit, chosen, of=of)[bag]) == pytest.approx(expected, rel=1e-5)


def test_cross_entropy_is_finite_at_both_ends_and_in_fp32() -> None:
    loss = cross_entropy(torch.tensor([0.0, 1.0, 0.25]).bfloat16(), torch.tensor([1, 0, 1]))
    assert loss.dtype == torch.float32
    assert loss.tolist() == pytest.approx([-math.log(1e-6)] * 2 + [math.log(4)], rel=1e-2)


def test_smoothness_and_sparsity_end_with_the_bag() -> None:
    probability = torch.tensor([[[0.1, 0.4, 0.2, 0.9], [0.3, 0.3, 0.3, 0.0]]])
    real = torch.tensor([[True, True, True, False]])
    assert float(smoothness(probability, real)) == pytest.approx((0.09 + 0.04 + 0 + 0) / 2)
    assert float(sparsity(probability, real)) == pytest.approx((0.7 + 0.9) / 2)


def test_a_mean_over_nobody_is_zero_with_a_finite_gradient() -> None:
    values = torch.ones(3, requires_grad=True)
    mean = global_mean(values, torch.zeros(3))
    mean.backward()
    assert float(mean) == 0 and values.grad.tolist() == [0, 0, 0]
    assert float(global_mean(torch.tensor([1.0, 5.0]), torch.tensor([3.0, 1.0]))) == 2


def test_a_ramp_waits_rises_and_stays() -> None:
    assert [ramp(p, warmup=0.1, rise=0.2) for p in (0, 0.05, 0.0999)] == [0, 0, 0]
    assert ramp(0.2, warmup=0.1, rise=0.2) == pytest.approx(0.5)
    assert [ramp(p, warmup=0.1, rise=0.2) for p in (0.31, 1)] == [1, 1]
    assert ramp(0.1, warmup=0.1, rise=0) == 1 and ramp(0, warmup=0, rise=0) == 1


VALUES, WEIGHTS = [1.0, 2.0, 7.0], [1.0, 3.0, 0.5]


def one_rank(rank: int, folder: str) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
    share = slice(0, 1) if rank == 0 else slice(1, 3)
    values = torch.tensor(VALUES[share], requires_grad=True)
    mean = global_mean(values, torch.tensor(WEIGHTS[share]))
    mean.backward()
    torch.save([mean.detach(), values.grad], f"{folder}/{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.slow
def test_shares_of_a_mean_average_to_that_of_one_process(tmp_path) -> None:
    mp.spawn(one_rank, args=(str(tmp_path),), nprocs=2)
    parts = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1)]
    values = torch.tensor(VALUES, requires_grad=True)
    mean = global_mean(values, torch.tensor(WEIGHTS))
    mean.backward()
    torch.testing.assert_close((parts[0][0] + parts[1][0]) / 2, mean.detach())
    torch.testing.assert_close(torch.cat([gradient for _, gradient in parts]) / 2, values.grad)
