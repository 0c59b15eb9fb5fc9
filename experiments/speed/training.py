"""How fast is a training on cubes? Ratios, each to a reference in the same run: `python experiments/speed/training.py`.

    data path   an epoch of batches from the cache, to a DataLoader that reads one cube after another    >= 10
    P7          samples per second of a fit, to the same step on one batch that stays on the device      >= 0.95
    P10         a step with refinement, to the same step without                                         <= 1.4
    P18         pause of a checkpoint, to the seconds of an epoch                                        < 0.01

Also printed: the share of time that the fit waited for data, and the whole epoch both ways. Cubes are generated; what
they show does not count for speed.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from vad.cache import Entry
from vad.datamodules.cubes import Cubes
from vad.datamodules.order import BatchOrder
from vad.datamodules.rows import StackedRows, Stretch
from vad.methods.lbr_spr import LBRSPR
from vad.training import AtomicCheckpointIO, EpochCheckpoint, Throughput
from vad.types import CubeBatch

VIDEOS = 12


class OneByOne(Dataset[tuple[torch.Tensor, int]]):
    """The cubes as published code keeps them: asked for one at a time, opened by video, made float on the way."""

    def __init__(self, stretches: list[Stretch]) -> None:
        self.places = [(stretch.entry, row) for stretch in stretches for row in range(stretch.start, stretch.stop)]

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        entry, row = self.places[index]
        cubes = np.load(entry.folder / "crop.npy", mmap_mode="r")
        return torch.from_numpy(cubes[row].astype(np.float32) / 255), index


def seconds(work: Callable[[], Any], device: torch.device) -> float:
    """Wall time of `work`, the device's included."""
    started = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - started


def interleaved(works: dict[str, Callable[[], Any]], device: torch.device, repeats: int) -> dict[str, list[float]]:
    """Seconds of each work, in turns, after one turn that does not count."""
    times: dict[str, list[float]] = {name: [] for name in works}
    for turn in range(repeats + 1):
        for name, work in works.items():
            taken = seconds(work, device)
            if turn:
                times[name].append(taken)
    return times


def show(name: str, ratio: list[float], target: str) -> None:
    """One line: median of a ratio, its spread, and what it should be."""
    print(f"{name:<44} {statistics.median(ratio):8.3f}  ({min(ratio):.3f} to {max(ratio):.3f})   target {target}")


def write_cubes(folder: Path, count: int) -> list[Stretch]:
    """Entries of some videos, grey cubes."""
    random = np.random.default_rng(0)
    stretches = []
    for video in range(VIDEOS):
        entry = Entry(folder / f"video-{video}")
        rows = count // VIDEOS
        entry.write({"crop": random.integers(0, 256, (rows, 5, 32, 32, 1), dtype=np.uint8)}, identity={})
        stretches.append(Stretch(entry, 0, rows))
    return stretches


def cubes_of(stretches: list[Stretch], *, held: bool) -> Cubes:
    """The dataset that trainings use, in memory or memory-mapped."""
    rows = StackedRows("crop", stretches)
    if held:
        rows.hold()
    return Cubes(rows, None, np.zeros(len(rows), np.int16), np.arange(len(rows)))


def batches(dataset: Cubes, batch_size: int) -> DataLoader:
    """As `CubeData` loads them."""
    order = BatchOrder(len(dataset), batch_size=batch_size)
    return DataLoader(dataset, sampler=order, batch_size=None, collate_fn=lambda batch: batch)


def data_path(stretches: list[Stretch], batch_size: int, repeats: int) -> None:
    """An epoch of batches without any training."""

    def one_by_one() -> None:
        for _ in DataLoader(OneByOne(stretches), batch_size=batch_size, shuffle=True):
            pass

    def gathered(dataset: Cubes) -> Callable[[], None]:
        def epoch() -> None:
            for batch in batches(dataset, batch_size):
                batch.cubes.float().div_(255)  # the reference ends with floats too

        return epoch

    held, mapped = cubes_of(stretches, held=True), cubes_of(stretches, held=False)
    works = {"one by one": one_by_one, "memory": gathered(held), "mapped": gathered(mapped)}
    times = interleaved(works, torch.device("cpu"), repeats)
    for name in ("memory", "mapped"):
        ratio = [a / b for a, b in zip(times["one by one"], times[name], strict=True)]
        show(f"data path of an epoch, {name}", ratio, ">= 10")
    print(
        f"{'':4}seconds of an epoch's data: " + ", ".join(f"{n} {statistics.median(t):.2f}" for n, t in times.items())
    )


def steps(model: LBRSPR, batch: CubeBatch, device: torch.device, precision: str) -> dict[str, Callable[[], None]]:
    """One training step on a batch that stays where it is, with and without refinement, outside of any trainer."""
    model.to(device).train()
    optimizer = torch.optim.Adam(model.networks.parameters(), 1e-3, fused=True)
    model.trainer = SimpleNamespace(current_epoch=0, num_training_batches=1)  # type: ignore[assignment]
    dtype = torch.bfloat16 if precision == "bf16-mixed" else torch.float32

    def step(warmup: float) -> Callable[[], None]:
        def one() -> None:
            model.warmup_epochs = warmup
            optimizer.zero_grad()
            with torch.autocast(device.type, dtype=dtype, enabled=dtype is torch.bfloat16):
                loss = model.training_step(batch, 0)
            loss.backward()
            optimizer.step()
            model._seen.clear()

        return one

    return {"plain": step(9.0), "refined": step(0.0)}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cubes", type=int, default=12_000, help="cubes of the data path's epoch")
    parser.add_argument("--steps", type=int, default=12, help="steps of an epoch of the fit")
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--width", type=int, default=32)
    parser.add_argument("--precision", choices=("32-true", "bf16-mixed"), default="bf16-mixed")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    device = torch.device(options.device)
    print(f"{options.cubes} grey cubes of 5 x 32 x 32 in {VIDEOS} videos, medians of {options.repeats} turns (range);")
    print(f"batch {options.batch_size}, width {options.width}, {options.precision}")
    print(f"{options.device}, {options.threads} threads")
    with tempfile.TemporaryDirectory() as folder:
        stretches = write_cubes(Path(folder), options.cubes)
        data_path(stretches, options.batch_size, options.repeats)

        dataset = cubes_of(stretches, held=True)
        dataset.positions = dataset.positions[: options.steps * options.batch_size]
        batch = next(iter(batches(dataset, options.batch_size))).to(device)
        torch.manual_seed(0)
        times = interleaved(
            steps(LBRSPR(width=options.width, channels=1), batch, device, options.precision), device, options.repeats
        )
        ratio = [a / b for a, b in zip(times["refined"], times["plain"], strict=True)]
        show("P10: step with refinement over without", ratio, "<= 1.4")

        rows = fit(dataset, Path(folder) / "run", options, device)
        bare = options.batch_size / statistics.median(times["plain"])
        show(
            "P7: samples/s of a fit over a resident batch",
            [row["samples_per_second"] / bare for row in rows],
            ">= 0.95",
        )
        show("share of time between steps", [row["data_wait"] for row in rows], "small")
        print(f"{'':4}samples per second: fit {rows[-1]['samples_per_second']:.0f}, resident batch {bare:.0f}")


def fit(dataset: Cubes, folder: Path, options: argparse.Namespace, device: torch.device) -> list[dict[str, float]]:
    """The rows of the log of a fit without refinement; also prints the pause of a checkpoint."""
    checkpoint = EpochCheckpoint(folder)
    save, pauses = checkpoint.on_train_epoch_end, []
    checkpoint.on_train_epoch_end = lambda *a: pauses.append(seconds(lambda: save(*a), device))  # type: ignore[method-assign]
    trainer = pl.Trainer(
        max_epochs=options.repeats,
        accelerator=options.device,
        devices=1,
        precision=options.precision,
        logger=False,
        plugins=[AtomicCheckpointIO()],
        callbacks=[Throughput(), checkpoint],
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
    )
    model = LBRSPR(width=options.width, channels=1, weighting="none")
    started = time.perf_counter()
    trainer.fit(model, batches(dataset, options.batch_size))
    epoch = (time.perf_counter() - started) / options.repeats
    print(
        f"{'':4}checkpoint: {statistics.median(pauses) * 1e3:.0f} ms, an epoch of {options.steps} steps: {epoch:.2f} s"
    )
    return checkpoint.rows.rows


if __name__ == "__main__":
    main()
