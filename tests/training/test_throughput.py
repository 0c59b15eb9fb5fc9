"""How much of a training is waiting for data."""

import time
from types import SimpleNamespace
from typing import Any

import pytest

from vad.training import Throughput


class Clock:
    """A clock that stands still until it is moved."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_samples_and_waiting_are_counted_from_the_end_of_the_first_step(monkeypatch) -> None:
    clock = Clock()
    monkeypatch.setattr(time, "perf_counter", clock)
    logged: dict[str, float] = {}
    trainer: Any = SimpleNamespace(world_size=2)
    module: Any = SimpleNamespace(log_dict=logged.update)
    throughput = Throughput()
    throughput.on_train_epoch_start(trainer, module)
    for step in range(5):
        clock.now += 50.0 if step == 0 else 1.0  # waiting; the first step's start of workers does not count
        throughput.on_train_batch_start(trainer, module, range(8), step)
        clock.now += 3.0  # computing
        throughput.on_train_batch_end(trainer, module, None, range(8), step)
    throughput.on_train_epoch_end(trainer, module)
    assert logged["data_wait"] == pytest.approx(4 * 1 / (4 * 4))
    assert logged["samples_per_second"] == pytest.approx(2 * 4 * 8 / 16)


def test_an_epoch_of_one_step_logs_nothing() -> None:
    trainer: Any = SimpleNamespace(world_size=1)
    module: Any = SimpleNamespace(log_dict=lambda _: pytest.fail("there is no time between steps to speak of"))
    throughput = Throughput()
    throughput.on_train_epoch_start(trainer, module)
    throughput.on_train_batch_start(trainer, module, range(8), 0)
    throughput.on_train_batch_end(trainer, module, None, range(8), 0)
    throughput.on_train_epoch_end(trainer, module)
