"""How fast are tubes gathered? A ratio, in the same run: `python experiments/speed/tubes.py`.

    data path   an epoch of training batches (25 x 64 x 64, grey) from the cache, mapped and held in memory, to a
                DataLoader that opens one tube after another and makes it float                          >= 10

Tubes are generated; what they show does not count for speed.
"""

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from vad.cache import Entry
from vad.datamodules.order import BatchOrder
from vad.datamodules.rows import StackedRows, Stretch
from vad.datamodules.tubes import TubeRows, Tubes

VIDEOS = 8


class OneByOne(Dataset[tuple[torch.Tensor, torch.Tensor]]):
    """Tubes as published code keeps them: a file for each object, made float on the way."""

    def __init__(self, files: list[Path], probability: np.ndarray) -> None:
        self.files = files
        self.probability = probability

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        tube = np.load(self.files[index]).astype(np.float32) / 255
        return torch.from_numpy(tube), torch.from_numpy(self.probability[index])


def seconds(loader: DataLoader) -> float:
    """Wall time of an epoch."""
    started = time.perf_counter()
    for _ in loader:
        pass
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description="Tubes of the cache against tubes one by one.")
    parser.add_argument("--tubes", type=int, default=2400)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    random = np.random.default_rng(0)
    each = options.tubes // VIDEOS
    with tempfile.TemporaryDirectory() as folder:
        os.environ["VAD_CACHE"] = folder
        stretches, files = [], []
        for video in range(VIDEOS):
            crop = random.integers(0, 255, (each, 25, 64, 64, 1), np.uint8)
            probability = random.random((each, 80)).astype(np.float16)
            entry = Entry(Path(folder) / f"{video}")
            logits = np.zeros((each, 1000), np.float16)
            entry.write({"crop": crop, "probability": probability, "logits": logits}, identity={})
            stretches.append(Stretch(entry, 0, each))
            for row in range(each):
                files.append(Path(folder) / f"{video}-{row}.npy")
                np.save(files[-1], crop[row])
        names = ("crop", "probability", "logits")
        held, mapped = (TubeRows(*(StackedRows(name, stretches) for name in names)) for _ in range(2))
        for rows in held:
            if rows is not None:
                rows.hold()
        count = each * VIDEOS
        order = BatchOrder(count, batch_size=256)

        def gathered(rows: TubeRows) -> DataLoader:
            return DataLoader(Tubes(rows, np.arange(count)), sampler=order, batch_size=None, collate_fn=lambda b: b)

        loaders = {
            "one by one": DataLoader(OneByOne(files, np.zeros((count, 80), np.float16)), batch_size=256, shuffle=True),
            "mapped": gathered(mapped),
            "in memory": gathered(held),
        }
        times: dict[str, list[float]] = {name: [] for name in loaders}
        for turn in range(options.repeats + 1):  # the first turn does not count
            for name, loader in loaders.items():
                taken = seconds(loader)
                if turn:
                    times[name].append(taken)
    for name, of_loader in times.items():
        ratio = [a / b for a, b in zip(times["one by one"], of_loader, strict=True)]
        rate = count / statistics.median(of_loader)
        print(
            f"{name:<12} {rate:9,.0f} tubes a second   {statistics.median(ratio):6.2f} times "
            f"({min(ratio):.2f} to {max(ratio):.2f})"
        )


if __name__ == "__main__":
    main()
