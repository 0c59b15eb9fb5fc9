"""How many frames a second does SSMTL score, from video to frame score? `python experiments/speed/ssmtl.py`.

    decode -> detect (boxes, and what moves) -> crop (tubes) -> network (all heads) -> score (of frames, smoothed)

Each video is decoded once, and goes through one stage after another on one device, by one process. Also printed: the
share of each stage, and the frame rate over the paper's 51 (Georgescu et al., CVPR 2021, on a GPU that is not named).

Input: test videos as two experiments read them, with their networks untrained, which costs the same: UCSD Ped2 with
YOLOX-nano and optical flow (where $VAD_DATA has it), and Synthetic with background subtraction, made where it is not
there yet. Both networks are shallow and narrow.
"""

import argparse
import os
import statistics
import time
from pathlib import Path

import cv2
import numpy as np
import torch

from vad.aggregation import frame_scores, smooth
from vad.benchmarks import Synthetic
from vad.cli.experiment import parse
from vad.datamodules.tubes import TubeData
from vad.errors import VadError
from vad.extract.crops import CropRecipe, choose, crops
from vad.extract.objects import ObjectWorker, concatenate
from vad.methods.ssmtl import SSMTL
from vad.types import Objects, Record, ScoredVideo, TubeBatch, Video

EXPERIMENTS = Path(__file__).parents[1]
PUBLISHED = 51  # frames a second
STAGES = ("decode", "detect", "crop", "network", "score")


class Pipeline:
    """From videos to frame scores, with the seconds of each stage.

    Args:
        model: Scores tubes; its heads' statistics are those of the first video.
        data: Says which videos, objects and tubes.
        device: Of the detector and the network.
    """

    def __init__(self, model: SSMTL, data: TubeData, device: str) -> None:
        self.model = model.to(device).eval()
        self.data = data
        self.device = device
        self.worker = ObjectWorker(data.scored.objects, device)
        self.seconds = dict.fromkeys(STAGES, 0.0)
        self.frames = 0

    def run(self, video: Video) -> None:
        """Score one video, and add to the seconds."""
        marks = [time.perf_counter()]

        def done() -> None:
            marks.append(time.perf_counter())

        with self.data.benchmark.open(video) as reader:
            frames = list(reader)
        done()
        objects = choose(concatenate(list(self.worker.stream(frames, video, len(frames)))), self.data.scored)
        done()
        rows, tubes = cut(frames, objects, self.data.scored, video)
        done()
        objects = objects.rows(rows)
        size = self.data.batch_size
        batches = [slice(first, first + size) for first in range(0, len(tubes), size)]
        parts = [self.columns(tubes[these], objects.probability[these]) for these in batches]
        columns = {head: np.concatenate([part[head] for part in parts]) for head in parts[0]}
        done()
        if self.model.statistics is None:
            self.model.estimate(columns)
        scored = (ScoredVideo(video.id, video.split, len(frames)),)
        record = Record(scored, np.array([0, len(tubes)]), frame=objects.frame, box=objects.box)
        smooth(frame_scores(record, self.model.score(columns), floor=self.model.floor))
        done()
        self.frames += len(frames)
        for stage, taken in zip(STAGES, np.diff(marks), strict=True):
            self.seconds[stage] += float(taken)

    @torch.inference_mode()
    def columns(self, tubes: np.ndarray, probability: np.ndarray) -> dict[str, np.ndarray]:
        """What each head says of some tubes; copying it back waits for the device."""
        arrays = torch.from_numpy(tubes), torch.from_numpy(probability)
        batch = TubeBatch(*arrays, logits=None, key=torch.arange(len(tubes)), size=len(tubes)).to(self.device)
        return {head: column.cpu().numpy() for head, column in self.model.columns(batch).items()}


def cut(frames: list[np.ndarray], objects: Objects, recipe: CropRecipe, video: Video) -> tuple[np.ndarray, np.ndarray]:
    """Rows of the objects that were cut, and their tubes uint8 (n, T, H, W, C)."""
    grey = (cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)[..., None] for frame in frames)
    cutting = crops(
        enumerate(grey if recipe.grey else frames),
        objects,
        offsets=recipe.offsets,
        size=recipe.size,
        border=recipe.border,
        cuts=video.cuts,
    )
    rows, tubes = zip(*cutting, strict=True)
    return np.array(rows), np.stack(tubes)


def measure(name: str, options: argparse.Namespace) -> None:
    """Print the figures of one experiment."""
    experiment = parse(["--config", str(EXPERIMENTS / f"{name}.yaml")])
    model, data = experiment.model, experiment.data
    assert isinstance(model, SSMTL) and isinstance(data, TubeData)
    if isinstance(data.benchmark, Synthetic):
        data.benchmark.make(splits=("test",))
    videos = data.benchmark.videos("test")[: options.videos]
    pipeline = Pipeline(model, data, options.device)
    pipeline.run(videos[0])  # does not count
    turns = []
    for _ in range(options.repeats):
        pipeline.seconds, pipeline.frames = dict.fromkeys(STAGES, 0.0), 0
        for video in videos:
            pipeline.run(video)
        turns.append(pipeline.seconds)
    rates = [pipeline.frames / sum(turn.values()) for turn in turns]
    print(
        f"{name}: {statistics.median(rates):.1f} frames a second ({min(rates):.1f} to {max(rates):.1f}), "
        f"{statistics.median(rates) / PUBLISHED:.2f} times the paper's {PUBLISHED}; {pipeline.frames} frames"
    )
    for stage in STAGES:
        shares = [turn[stage] / sum(turn.values()) for turn in turns]
        print(f"    {stage:<8} {statistics.median(shares):6.1%}")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--videos", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    cv2.setNumThreads(options.threads)
    print(f"{options.videos} videos, medians of {options.repeats} turns (range); {options.device}")
    for name in ("ssmtl_ucsd_ped2_cpu", "ssmtl_synthetic"):
        try:
            measure(name, options)
        except VadError as error:
            print(f"{name}: skipped, since {error}")


if __name__ == "__main__":
    main()
