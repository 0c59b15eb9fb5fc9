"""A training of pretext tasks ends in the same state however often it is killed, and on two processes as on one."""

import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fit_pretext import fit
from test_kill_training import assert_same_end, epochs_logged
from test_two_processes import losses
from toy_squares import write_squares

EPOCHS = 14


def fit_apart(folder: Path, options: dict[str, Any]) -> None:
    """In a session of its own, so that a kill takes its workers too."""
    os.setsid()
    multiprocessing.set_start_method("fork", force=True)  # of workers, which inherit how this process was started
    errors = os.open(folder / "errors.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(errors, 1)
    os.dup2(errors, 2)
    fit(folder, epochs=EPOCHS, checkpoint_every=2, validation_clips=16, **options)


def start(folder: Path, **options: Any) -> BaseProcess:
    """A process of its own, forked from one that has imported what takes seconds."""
    folder.mkdir(exist_ok=True)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["lightning.pytorch", "vad.methods.anomaly_ssl", "vad.stages", "av"])
    process = context.Process(target=fit_apart, args=(folder, options))
    process.start()
    return process


def finish(folder: Path, **options: Any) -> None:
    process = start(folder, **options)
    process.join(200)
    assert process.exitcode == 0, (folder / "errors.txt").read_text()[-2000:]


def kill(folder: Path, draw: random.Random, **options: Any) -> bool:
    """Kill somewhere in the first two epochs from the last checkpoint on; False if the training ended before."""
    until = epochs_logged(folder) + draw.randint(0, 1)
    process = start(folder, **options)
    while process.is_alive() and epochs_logged(folder) < until:
        time.sleep(0.002)
    process.join(draw.uniform(0.0, 0.3))
    if not process.is_alive():
        return False
    try:
        os.killpg(process.pid or 0, signal.SIGKILL)
    except ProcessLookupError:  # it has no session yet
        process.kill()
    process.join()
    return True


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_twenty_kills_at_random_moments_change_nothing(tmp_path: Path) -> None:
    write_squares(tmp_path / "footage")
    footage = {"root": tmp_path / "footage"}
    for twin, workers in (("whole", 0), ("twin", 2)):
        finish(tmp_path / twin, **footage, num_workers=workers)
    assert_same_end(tmp_path / "whole", tmp_path / "twin")
    draw = random.Random(time.time_ns())
    kills = runs = 0
    while kills < 20 and runs < 10:
        folder = tmp_path / f"killed-{runs}"
        for _ in range(5):
            kills += kill(folder, draw, **footage, num_workers=draw.choice([0, 2]))
        finish(folder, **footage)
        assert_same_end(tmp_path / "whole", folder)
        runs += 1
    assert kills >= 15, "most trainings ended before they could be killed"


def run(folder: Path, *options: str) -> None:
    folder.mkdir()
    script = Path(__file__).parent / "fit_pretext.py"
    command = [sys.executable, str(script), str(folder), *options]
    done = subprocess.run(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, timeout=200)
    assert done.returncode == 0, done.stderr.decode()[-2000:]


@pytest.mark.slow
@pytest.mark.parametrize("method", ["anomaly_ssl", "feature_ssl"])
def test_two_processes_learn_as_one_and_tell_exactly_the_same(tmp_path: Path, method: str) -> None:
    run(tmp_path / "one", "--method", method, "--devices", "1")
    run(tmp_path / "two", "--method", method, "--devices", "2", "--other", str(tmp_path / "one" / "last.ckpt"))
    # BatchNorm of each process for itself makes a difference of 2e-3, rounding one of 1e-5.
    np.testing.assert_allclose(losses(tmp_path / "two"), losses(tmp_path / "one"), rtol=2e-4)
    with np.load(tmp_path / "one" / "scores.npz") as one, np.load(tmp_path / "two" / "other.npz") as two:
        assert set(one.files) == set(two.files) and len(one["said"]) == 96
        assert all(np.array_equal(one[name], two[name]) for name in one.files), "one encoder, one answer"
