"""SIGKILL at a random moment of a training, the same command again: the same end, bit for bit."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from vad.training import load_weights_only

SCRIPT = Path(__file__).parent / "fit_example.py"


def start(folder: Path, *options: str) -> subprocess.Popen[bytes]:
    """The training in a session of its own, so that a kill takes its workers too."""
    folder.mkdir(parents=True, exist_ok=True)
    return subprocess.Popen(
        [sys.executable, str(SCRIPT), str(folder), *options],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=(folder / "errors.txt").open("wb"),
        start_new_session=True,
    )


def finish(folder: Path, *options: str) -> None:
    process = start(folder, *options)
    assert process.wait(timeout=280) == 0, (folder / "errors.txt").read_text()[-2000:]


def epochs_logged(folder: Path) -> int:
    log = folder / "log.csv"
    return max(0, len(log.read_text().splitlines()) - 1) if log.is_file() else 0


def kill_in(folder: Path, epoch: int, seconds: float, *options: str) -> bool:
    """Kill so many seconds after `epoch` epochs are in the log; False if the training ended before."""
    process = start(folder, *options)
    while process.poll() is None and epochs_logged(folder) < epoch:
        time.sleep(0.002)
    try:
        process.wait(timeout=seconds)
        return False
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return True


def assert_same_end(one: Path, other: Path) -> None:
    a, b = (load_weights_only(folder / "last.ckpt") for folder in (one, other))
    for name, tensor in a["state_dict"].items():
        assert torch.equal(tensor, b["state_dict"][name]), name
    states = [checkpoint["optimizer_states"][0]["state"].values() for checkpoint in (a, b)]
    for ours, theirs in zip(*states, strict=True):
        assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert (one / "log.csv").read_text() == (other / "log.csv").read_text()
    best_a, best_b = (load_weights_only(folder / "best.ckpt") for folder in (one, other))
    assert best_a["epoch"] == best_b["epoch"]
    with np.load(one / "scores.npz") as ours, np.load(other / "scores.npz") as theirs:
        assert all(np.array_equal(ours[name], theirs[name]) for name in ours.files)


def test_a_killed_training_continues_to_the_same_end(tmp_path) -> None:
    finish(tmp_path / "whole")
    tries = (tmp_path / f"killed-{number}" for number in range(6))  # a fast machine may end before the kill
    folder = next((folder for folder in tries if kill_in(folder, 2, random.uniform(0.0, 0.1))), None)
    assert folder is not None, "the training ended before it could be killed"
    finish(folder)
    assert_same_end(tmp_path / "whole", folder)


@pytest.mark.slow
@pytest.mark.timeout(1500)
@pytest.mark.parametrize(
    ("method", "each"), [("lbr_spr", 4), ("ssmtl", 4), ("mil_hims", 2), ("contrastive_clustering", 2)]
)
def test_kills_at_random_moments(tmp_path, method: str, each: int) -> None:
    what = ("--method", method, "--epochs", "25")
    for twin in ("whole", "twin"):
        finish(tmp_path / twin, *what)
    assert_same_end(tmp_path / "whole", tmp_path / "twin")
    draw = random.Random(time.time_ns())
    kills = 0
    for run in range(5):
        folder = tmp_path / f"killed-{run}"
        for left in range(each, 0, -1):
            logged = epochs_logged(folder)
            epoch = draw.randint(logged, logged + max(0, 24 - logged) // left)
            workers = ("--workers", str(draw.choice([0, 2])))
            kills += kill_in(folder, epoch, draw.uniform(0.0, 0.1), *what, *workers)
        finish(folder, *what)
        assert_same_end(tmp_path / "whole", folder)
    assert kills >= 0.75 * 5 * each, "most runs ended before they could be killed"
