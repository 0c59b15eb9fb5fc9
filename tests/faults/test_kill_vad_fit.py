"""SIGKILL of `vad fit` itself, at random moments and while a checkpoint is written: the same end, bit for bit."""

import csv
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from ped_tree import write_experiment, write_ped_tree

from vad.files import PARTIAL_SUFFIX
from vad.training import load_weights_only

EPOCHS = 30


class Fit:
    """One experiment on a small tree, and processes that train it into runs folders of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        write_ped_tree(folder / "data")
        self.options = write_experiment(folder, "--trainer.max_epochs", str(EPOCHS), "--log", "csv")
        assert self.start("extract", "whole").wait(timeout=200) == 0, self.errors("whole")

    def start(self, verb: str, name: str) -> subprocess.Popen[bytes]:
        surroundings = {
            **os.environ,
            "OMP_NUM_THREADS": "1",
            "VAD_DATA": str(self.folder / "data"),
            "VAD_CACHE": str(self.folder / "cache"),
            "VAD_RUNS": str(self.folder / name),
        }
        return subprocess.Popen(
            [sys.executable, "-m", "vad.cli.main", verb, *self.options],
            env=surroundings,
            stdout=subprocess.DEVNULL,
            stderr=(self.folder / f"{name}.txt").open("wb"),
            start_new_session=True,
        )

    def errors(self, name: str) -> str:
        return (self.folder / f"{name}.txt").read_text()[-2000:]

    def run(self, name: str) -> Path:
        """Train to the end; the run's folder."""
        assert self.start("fit", name).wait(timeout=280) == 0, self.errors(name)
        (detector,) = (self.folder / name).rglob("detector.ckpt")
        return detector.parent

    def kill(self, name: str, when: Callable[[Path, float], bool]) -> bool:
        """Kill once `when` says so of the checkpoints' folder and its age in seconds; False if the end was first."""
        process = self.start("fit", name)
        born = None
        while process.poll() is None:
            found = list((self.folder / name).rglob("checkpoints"))
            born = born or (time.monotonic() if found else None)
            if born is not None and when(found[0], time.monotonic() - born):
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                return True
            time.sleep(0.0005)
        return False


def logged(run: Path) -> list[dict[str, str]]:
    """The rows of log.csv without the columns that the clock decides."""
    with (run / "log.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    return [{name: row[name] for name in row if name not in ("samples_per_second", "data_wait")} for row in rows]


def assert_same_end(one: Path, other: Path) -> None:
    for name, key in (("checkpoints/last.ckpt", "state_dict"), ("detector.ckpt", "weights")):
        a, b = (load_weights_only(run / name)[key] for run in (one, other))
        assert a.keys() == b.keys()
        assert all(torch.equal(tensor, b[weight]) for weight, tensor in a.items()), name
    assert logged(one) == logged(other)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_vad_fit_continues_after_kills_to_the_same_end(tmp_path: Path) -> None:
    fit = Fit(tmp_path)
    whole = fit.run("whole")
    draw = random.Random(time.time_ns())
    kills = 0
    for number in range(5):
        wait = draw.uniform(0, 0.6)
        kills += fit.kill(f"random-{number}", lambda folder, age, wait=wait: age > wait)
        assert_same_end(whole, fit.run(f"random-{number}"))
    assert kills >= 3, "most trainings ended before they could be killed"


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_kill_while_a_checkpoint_is_written_loses_nothing(tmp_path: Path) -> None:
    fit = Fit(tmp_path)
    whole = fit.run("whole")
    caught = 0
    for number in range(5):
        name = f"writing-{number}"
        caught += fit.kill(name, lambda folder, age: any(folder.glob(f".*{PARTIAL_SUFFIX}")))
        for checkpoint in (tmp_path / name).rglob("last.ckpt"):
            load_weights_only(checkpoint)  # whole, or not there
        assert_same_end(whole, fit.run(name))
    assert caught >= 3, "no kill came while a checkpoint was written"
