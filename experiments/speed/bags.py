"""How fast do bags get to a training? Ratios to public code's way, in the same run: `python experiments/speed/bags.py`.

    P9    the data path of an epoch, warm, to a DataLoader over one float32 .npy file for each video    >= 20

Beside it: the first epoch, which reads and pools every bag; the data path without memory, pooled anew from memory maps;
and the whole epoch both ways, with the steps of a small MIL head.

Input, made here: as many training videos as UCF-Crime has, with lengths spread alike (810 abnormal, 800 normal, median
120 snippets, mean 490, the longest 61,031), one crop of random vectors of 1,024 values; `--share` of each length, by
default as much as fits a quarter of the free disk and an eighth of the memory. Batches hold 64 + 64 bags of 200
segments. The other side reads a file for each bag, takes the mean of each segment in turn, and stacks, as the public
code of UR-DMU does: one loader for each half, without workers. Each data path ends with what is copied to the device,
float16 here and float32 there; the whole epoch holds the conversion too. All files lie in the page cache, and medians
are of interleaved turns.

With `--memory` it measures the peak of scoring one video of 3 hours instead: 20,250 snippets, ten crops of 2,048,
by the detector of mil_hims_ucf_crime.yaml.
"""

import argparse
import itertools
import os
import resource
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from vad import cache
from vad.benchmarks import Benchmark
from vad.datamodules.bags import BagData
from vad.datamodules.rows import available_memory
from vad.extract.packs import PackRecipe
from vad.types import Report, Split, Truth, Video
from vad.video import VideoReader

ABNORMAL, NORMAL, SEGMENTS, DIM = 810, 800, 200, 1024
PACK = PackRecipe(name="i3d", dim=DIM)


class UCFSize(Benchmark):
    """Training videos of which only features exist."""

    folder = "ucf_size"
    dataset = "ucf_size"
    splits = ("weak_train", "test")

    def __init__(self, share: float) -> None:
        super().__init__()
        count = ABNORMAL + NORMAL
        quantile = statistics.NormalDist().inv_cdf
        drawn = np.random.default_rng(0).permutation(count)  # which video has which length
        spread = np.exp([1.68 * quantile((rank + 0.5) / count) for rank in drawn])
        self.snippets = np.maximum(np.clip(120 * spread, 9, 61_031) * share, 1).astype(int)

    def videos(self, split: Split) -> list[Video]:
        return [
            Video(f"{i:04d}", split, label=int(i < ABNORMAL), frames=16 * int(n)) for i, n in enumerate(self.snippets)
        ]

    def open(self, video: Video) -> VideoReader:
        raise NotImplementedError

    def truth(self, video: Video) -> Truth:
        raise NotImplementedError

    def check(self, *, decode: bool = False) -> Report:
        raise NotImplementedError


class OneFileEach(Dataset[Tensor]):
    """Bags as public code reads them."""

    def __init__(self, paths: list[Path]) -> None:
        self.paths = paths

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Tensor:
        features = np.load(self.paths[index])
        bounds = np.linspace(0, len(features), SEGMENTS + 1, dtype=int)
        bag = np.zeros((SEGMENTS, features.shape[1]), np.float32)
        for i in range(SEGMENTS):
            start, stop = bounds[i], bounds[i + 1]
            bag[i] = features[start] if start == stop else np.mean(features[start:stop], axis=0)
        return torch.from_numpy(bag)


def write(benchmark: UCFSize, folder: Path) -> tuple[list[Path], list[Path]]:
    """The same vectors as cache entries and as float32 files; paths of the normal and of the abnormal files."""
    random = np.random.default_rng(1)
    noise = np.abs(random.standard_normal((4096, DIM), np.float32))
    paths: tuple[list[Path], list[Path]] = ([], [])
    for video, count in zip(benchmark.videos("weak_train"), benchmark.snippets, strict=True):
        features = np.roll(np.resize(noise, (count, DIM)), int(random.integers(DIM)), axis=1)
        first = 16 * np.arange(count, dtype=np.int32)
        entry = cache.entry(benchmark.dataset, PACK, video.id)
        arrays = {"first": first, "end": first + np.int32(16), PACK.name: features.astype(np.float16)[:, None]}
        entry.write(arrays, identity={})
        paths[video.label or 0].append(folder / f"{video.id}.npy")
        np.save(folder / f"{video.id}.npy", features)
    return paths


def ours(data: BagData) -> Callable[[], Iterator[Tensor]]:
    """The batches of an epoch from the datamodule, of the next one each time."""
    loader, epochs = data.train_dataloader(), itertools.count()

    def batches() -> Iterator[Tensor]:
        loader.sampler.set_epoch(next(epochs))  # type: ignore[attr-defined]  # what Lightning calls
        for batch in loader:
            yield batch.streams[0][:, 0]

    return batches


def public(paths: tuple[list[Path], list[Path]], half: int) -> Callable[[], Iterator[Tensor]]:
    """The batches of an epoch, each half with a loader of its own, for as many steps."""
    loaders = [DataLoader(OneFileEach(side), batch_size=half, shuffle=True, drop_last=True) for side in paths]

    def batches() -> Iterator[Tensor]:
        for normal, abnormal in zip(*loaders, strict=True):
            yield torch.cat([normal, abnormal])

    return batches


def trained(batches: Callable[[], Iterator[Tensor]]) -> Callable[[], None]:
    """An epoch of steps of a small MIL head: the mean of the largest scores of a bag against its label."""
    torch.manual_seed(0)
    head = torch.nn.Sequential(torch.nn.Linear(DIM, 128), torch.nn.ReLU(), torch.nn.Linear(128, 1))
    optimizer = torch.optim.Adam(head.parameters(), 1e-4)

    def epoch() -> None:
        for bags in batches():
            label = torch.repeat_interleave(torch.tensor([0.0, 1.0]), len(bags) // 2)
            score = head(bags.float())[..., 0].sigmoid().topk(SEGMENTS // 16 + 1, dim=1).values.mean(1)
            optimizer.zero_grad()
            torch.nn.functional.binary_cross_entropy(score, label).backward()
            optimizer.step()

    return epoch


def seconds(work: Callable[[], Any]) -> float:
    """Wall time."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def fitting_share(folder: Path) -> float:
    """The share of the lengths that disk and memory take."""
    nbytes = int(UCFSize(1.0).snippets.sum()) * DIM * 6  # float32 files and the cache
    return min(1.0, shutil.disk_usage(folder).free / 4 / nbytes, available_memory() / 8 / nbytes * 6 / 4)


def main() -> None:
    """Generate, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--share", type=float, help="of each video's length; by default what disk and memory take")
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--memory", action="store_true", help="the peak of scoring a video of 3 hours instead")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["VAD_CACHE"] = str(Path(folder) / "cache")
        measure_memory() if options.memory else measure(Path(folder), options)


def measure_memory() -> None:
    """Print the peak of this process before and after scoring a video of 3 hours; Linux says it in kB."""
    from lightning.pytorch import Trainer

    from vad.methods.mil_hims import MILHIMS
    from vad.training.collecting import collect

    snippets, crops, dim = 20_250, 10, 2048
    benchmark, pack = UCFSize(1.0), PackRecipe(name="i3d", dim=dim)
    benchmark.snippets = np.array([snippets])
    first = 16 * np.arange(snippets, dtype=np.int32)
    scratch = np.memmap(Path(os.environ["VAD_CACHE"] + ".features"), np.float16, "w+", shape=(snippets, crops, dim))
    random = np.random.default_rng(0)
    for row in range(0, snippets, 1000):
        scratch[row : row + 1000] = random.random((min(1000, snippets - row), crops, dim), np.float32)
    entry = cache.entry(benchmark.dataset, pack, benchmark.videos("test")[0].id)
    entry.write({"first": first, "end": first + np.int32(16), pack.name: scratch}, identity={})
    size = scratch.nbytes
    del scratch
    data = BagData(benchmark=benchmark, features=[pack], batch_size=2, segments=SEGMENTS, crops="all")
    detector = MILHIMS(dims=[dim], temporal="conv_tf", width=512)
    trainer = Trainer(accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False)
    before = peak()
    taken = seconds(lambda: collect(trainer, detector, data, "score"))
    print(f"{snippets:,} snippets x {crops} crops x {dim:,} values ({size / 2**30:.2f} GiB) scored in {taken:.0f} s:")
    print(f"peak {peak():.2f} GiB, of which {before:.2f} were reached before")


def peak() -> float:
    """The most that this process held so far, in GiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def measure(folder: Path, options: argparse.Namespace) -> None:
    """Print the figures."""
    share = fitting_share(folder) if options.share is None else options.share
    benchmark = UCFSize(share)
    with mock.patch("os.fsync"):  # these files need not survive a power cut
        paths = write(benchmark, folder)
    of_data = {"benchmark": benchmark, "features": [PACK], "batch_size": options.batch_size, "segments": SEGMENTS}
    data = BagData(**of_data, in_memory=True)
    take(lambda: iter(data.estimate_dataloader()))  # now every bag has been asked for
    held = ours(data)
    mapped = ours(BagData(**of_data, in_memory=False))
    files = public(paths, options.batch_size // 2)
    steps = sum(1 for _ in held())
    half, snippets = options.batch_size // 2, benchmark.snippets.sum()
    print(f"{len(benchmark.snippets)} videos, {share:.0%} of each, {snippets:,} snippets of {DIM} values;")
    print(f"{half} + {half} bags of {SEGMENTS} segments, {steps} steps an epoch,")
    print(f"{options.threads} threads, medians of {options.repeats} turns (range)")

    first = seconds(lambda: take(ours(BagData(**of_data, in_memory=True))))
    works: dict[str, Callable[[], Any]] = {
        "files": lambda: take(files),
        "memory": lambda: take(held),
        "mapped": lambda: take(mapped),
        "whole, files": trained(files),
        "whole, memory": trained(held),
    }
    times: dict[str, list[float]] = {name: [] for name in works}
    for turn in range(options.repeats + 1):  # the first warms up
        for name, work in works.items():
            taken = seconds(work)
            if turn:
                times[name].append(taken)
    show("P9: data path, memory", times["files"], times["memory"], "target >= 20")
    show("data path, pooled anew", times["files"], times["mapped"])
    show("whole epoch", times["whole, files"], times["whole, memory"])
    middle = {name: statistics.median(taken) for name, taken in times.items()}
    print(f"{'':4}seconds of an epoch: " + ", ".join(f"{name} {taken:.2f}" for name, taken in middle.items()))
    print(f"{'':4}seconds of the first epoch from memory, which pools: {first:.2f}")


def take(batches: Callable[[], Iterator[Any]]) -> None:
    """Take all batches, keep none."""
    for _ in batches():
        pass


def show(name: str, reference: list[float], taken: list[float], target: str = "") -> None:
    """One line: median of how many times as fast, and its spread."""
    ratio = [a / b for a, b in zip(reference, taken, strict=True)]
    print(f"{name:<28} {statistics.median(ratio):8.1f}  ({min(ratio):.1f} to {max(ratio):.1f})   {target}")


if __name__ == "__main__":
    main()
