"""Two processes learn and score as one does."""

import csv
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn

from vad.distributed import gather_by_key, summed
from vad.methods.lbr_spr import batch_statistics
from vad.training.batchnorm import GlobalBatchNorm, synchronise_batchnorm

SCRIPT = Path(__file__).parent / "fit_example.py"
SHARES = (slice(0, 5), slice(5, 8))  # of 8 samples: the ranks need not have equally many


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(2, 3, 1), nn.BatchNorm2d(3), nn.ReLU(), nn.Conv2d(3, 1, 1))


def samples() -> torch.Tensor:
    return torch.randn(8, 2, 4, 4, generator=torch.Generator().manual_seed(1)) * 3 + 1


def one_rank(rank: int, folder: str) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
    torch.set_num_threads(1)
    x = samples()[SHARES[rank]]
    net = network()
    synchronise_batchnorm(net, torch.device("cpu"))
    assert isinstance(net[1], GlobalBatchNorm)
    loss = net(x).square().sum()
    loss.backward()
    key = torch.tensor([[4, 0, 2], [1, 2, 3]][rank])
    result: dict[str, Any] = {
        "gradients": [summed(p.grad) for p in net.parameters()],
        "mean": net[1].running_mean,
        "var": net[1].running_var,
        "statistics": batch_statistics(samples()[SHARES[rank], 0, 0, 0]),
        "gathered": gather_by_key({"score": key * 10.0, "wide": key[:, None].repeat(1, 2)}, key),
        "empty": gather_by_key({"score": torch.ones(3 * rank)}, torch.arange(3 * rank)),
    }
    torch.save(result, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.slow
def test_batchnorm_statistics_and_gathered_columns_of_two_processes(tmp_path) -> None:
    mp.spawn(one_rank, args=(str(tmp_path),), nprocs=2)
    net, x = network(), samples()
    net(x).square().sum().backward()
    for rank in (0, 1):
        result = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        for ours, alone in zip(result["gradients"], net.parameters(), strict=True):
            torch.testing.assert_close(ours, alone.grad, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(result["mean"], net[1].running_mean)
        torch.testing.assert_close(result["var"], net[1].running_var)
        torch.testing.assert_close(result["statistics"], batch_statistics(x[:, 0, 0, 0]))
        assert result["gathered"]["key"].tolist() == [0, 1, 2, 3, 4]
        assert result["gathered"]["score"].tolist() == [0, 10, 20, 30, 40]
        assert result["gathered"]["wide"].tolist() == [[k, k] for k in range(5)]
        assert result["empty"]["score"].tolist() == [1, 1, 1]


def run(folder: Path, *options: str) -> None:
    folder.mkdir()
    command = [sys.executable, str(SCRIPT), str(folder), *options]
    done = subprocess.run(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, timeout=280)
    assert done.returncode == 0, done.stderr.decode()[-2000:]


def losses(folder: Path) -> list[float]:
    with (folder / "log.csv").open() as stream:
        return [float(row["loss"]) for row in csv.DictReader(stream)]


def check_two_against_one(tmp_path: Path, method: str, head: str) -> None:
    """Gradients are summed in another order, so weights differ by rounding, which training amplifies: two epochs."""
    what = ("--method", method, "--epochs", "2")
    run(tmp_path / "one", *what)
    run(tmp_path / "two", *what, "--devices", "2", "--score", str(tmp_path / "one/detector.ckpt"))
    np.testing.assert_allclose(losses(tmp_path / "two"), losses(tmp_path / "one"), rtol=2e-3)
    with np.load(tmp_path / "one/scores.npz") as one, np.load(tmp_path / "two/scores.npz") as two:
        np.testing.assert_allclose(two[head], one[head], rtol=2e-2)
    with np.load(tmp_path / "one/scores.npz") as one, np.load(tmp_path / "two/other.npz") as two:
        assert set(one.files) == set(two.files)
        assert all(np.array_equal(one[name], two[name]) for name in one.files), "one detector, one file"


def test_two_processes_fit_as_one_and_score_exactly_as_one(tmp_path) -> None:
    check_two_against_one(tmp_path, "lbr_spr", "appearance")


@pytest.mark.slow
def test_two_processes_learn_from_tubes_as_one(tmp_path) -> None:
    check_two_against_one(tmp_path, "ssmtl", "distillation")


@pytest.mark.slow
@pytest.mark.parametrize("method", ["mil_hims", "contrastive_clustering"])
def test_two_processes_learn_from_bags_as_one(tmp_path, method: str) -> None:
    check_two_against_one(tmp_path, method, "anomaly")


@pytest.mark.slow
def test_two_processes_follow_the_loss_of_one(tmp_path) -> None:
    for devices in ("1", "2"):
        run(tmp_path / devices, "--devices", devices, "--epochs", "12")
    one, two = losses(tmp_path / "1"), losses(tmp_path / "2")
    assert len(one) == len(two) == 12
    np.testing.assert_allclose(two, one, rtol=0.05)
