"""Reference rows of a weakly supervised comparison: what an experiment's features can give, and what needs no learning.

    python experiments/references.py --config experiments/mil_hims_composed.yaml

    supervised_on_snippets  logistic regression on snippets, told the labels of the training videos' frames: no weakly
                            supervised method on these features can be expected to do much better
    motion_energy           mean absolute difference of consecutive grey frames, the mean over a snippet

Writes a run folder of each below $VAD_RUNS/references_<experiment>, which 'vad compare' takes.
"""

import sys
from itertools import pairwise

import numpy as np
import torch
from torch.nn import functional

from vad import files
from vad.benchmarks import Benchmark
from vad.cli.experiment import parse
from vad.datamodules.bags import BagData
from vad.datamodules.snippets import Snippets
from vad.errors import ConfigError
from vad.evaluation import evaluate
from vad.metrics.frame import auroc
from vad.runs import RunFolder, runs_root
from vad.scores import Scores
from vad.types import Video

PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1)  # of the squared weights, chosen on training groups alone
FOLDS = 3


def main(arguments: list[str]) -> None:
    """Compute, evaluate and print both rows."""
    experiment = parse(arguments)
    data = experiment.data
    if not isinstance(data, BagData):
        raise ConfigError("references: expected an experiment on bags of features")
    data.require_cache()
    rows = {"supervised_on_snippets": supervised(data), "motion_energy": motion_energy(data)}
    for name, score in rows.items():
        folder = RunFolder(runs_root() / f"references_{experiment.settings.experiment}" / name / "seed-0")
        header = {"method": name, "benchmark": data.benchmark.name, "protocol": data.protocol, "range": "raw"}
        scores = Scores(data.score_record(), score, header=header)
        scores.save(folder.scores)
        metrics = evaluate(scores, data.benchmark)
        files.write_json(folder.metrics, metrics.to_json())
        found = metrics.metrics[metrics.headline]
        print(f"{folder.path}: {metrics.headline} {found.value:.4f} [{found.low:.4f}, {found.high:.4f}]")


def supervised(data: BagData) -> np.ndarray:
    """Scores float64 (rows of the record,) of logistic regression on the snippets of the training videos."""
    videos = data.training_bags()
    train = data.snippets(videos, [data.benchmark.parts(video) for video in videos])
    label, group = snippet_truth(data.benchmark, train)
    known, unknown = vectors(train), vectors(data.scored())
    mean, deviation = known.mean(0), known.std(0) + 1e-6
    known, unknown = (known - mean) / deviation, (unknown - mean) / deviation
    fold = torch.from_numpy(np.unique(group, return_inverse=True)[1] % FOLDS)
    target = torch.from_numpy(label)

    def held_out(penalty: float) -> float:
        logit = torch.empty(len(target))
        for k in range(FOLDS):
            logit[fold == k] = fitted(known[fold != k], target[fold != k], penalty)(known[fold == k])
        return auroc(label, logit.double().numpy())

    penalty = max(PENALTIES, key=held_out)
    return fitted(known, target, penalty)(unknown).double().numpy()


def fitted(features: torch.Tensor, label: torch.Tensor, penalty: float) -> torch.nn.Module:
    """A linear classifier at the minimum of cross-entropy and penalty."""
    linear = torch.nn.Linear(features.shape[1], 1)
    torch.nn.init.zeros_(linear.weight)
    optimizer = torch.optim.LBFGS(linear.parameters(), max_iter=100, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        value = functional.binary_cross_entropy_with_logits(linear(features)[:, 0], label.float())
        value = value + penalty * linear.weight.square().sum()
        value.backward()
        return value

    optimizer.step(loss)
    return torch.nn.Sequential(linear.requires_grad_(False), torch.nn.Flatten(0))


def vectors(snippets: Snippets) -> torch.Tensor:
    """Streams beside each other, mean over crops: float32 (rows, sum of D)."""
    return torch.cat(
        [
            torch.cat([snippets.read(video, stream).float().mean(1) for stream in range(snippets.streams)], 1)
            for video in range(len(snippets.videos))
        ]
    )


def snippet_truth(benchmark: Benchmark, snippets: Snippets) -> tuple[np.ndarray, np.ndarray]:
    """Label (most of its frames are abnormal) and group of each snippet, (rows,)."""
    label, group = [], []
    for index, video in enumerate(snippets.videos):
        truth = benchmark.truth(video)
        groups = np.full(len(truth.frames), index) if truth.groups is None else truth.groups
        rows = slice(snippets.offsets[index], snippets.offsets[index + 1])
        for first, end in zip(snippets.first[rows], snippets.end[rows], strict=True):
            label.append(truth.frames[first:end].mean() > 0.5)
            group.append(groups[first])
    return np.array(label, np.uint8), np.array(group)


def motion_energy(data: BagData) -> np.ndarray:
    """Mean absolute difference of consecutive grey frames of each snippet, float64 (rows of the record,)."""
    snippets = data.scored()
    energy = []
    for index, video in enumerate(snippets.videos):
        of_frame = frame_differences(data.benchmark, video)
        rows = slice(snippets.offsets[index], snippets.offsets[index + 1])
        energy += [of_frame[a:b].mean() for a, b in zip(snippets.first[rows], snippets.end[rows], strict=True)]
    return np.array(energy, np.float64)


def frame_differences(benchmark: Benchmark, video: Video) -> np.ndarray:
    """Mean absolute difference of each frame to the one before, float64 (frames,); the next one's at a cut."""
    with benchmark.open(video) as reader:
        grey = (frame.mean(2, dtype=np.float32) for frame in reader)
        difference = np.array([0.0, *(np.abs(after - before).mean() for before, after in pairwise(grey))])
    for first in (0, *video.cuts):
        if first + 1 < len(difference):
            difference[first] = difference[first + 1]
    return difference


if __name__ == "__main__":
    main(sys.argv[1:])
