"""A tree like UCSD Ped2's, small enough to go through all stages in seconds, and how it gets into the cache."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from vad import cache, files
from vad.datamodules.video_data import VideoData


def write_ped_tree(data: Path, *, train: int = 2, test: int = 2, frames: int = 14, name: str = "UCSDped2") -> Path:
    """Below `data`, clips of 48 x 32 in which squares walk; in test clips a second one runs later on, and is masked."""
    random = np.random.default_rng(0)
    for split, count in (("Train", train), ("Test", test)):
        for clip in range(1, count + 1):
            folder = data / "ucsd_ped" / name / split / f"{split}{clip:03d}"
            folder.mkdir(parents=True)
            masks = folder.with_name(folder.name + "_gt")
            ground = random.integers(60, 80, (32, 48), dtype=np.uint8)
            for frame in range(frames):
                picture, mask = ground.copy(), np.zeros((32, 48), np.uint8)
                picture[4:16, 2 + frame : 12 + frame] = 220
                if split == "Test" and frame >= frames // 2:
                    left = 2 + 4 * (frame - frames // 2)
                    picture[18:30, left : left + 12] = 250
                    mask[18:30, left : left + 12] = 255
                Image.fromarray(picture).save(folder / f"{frame + 1:03d}.tif")
                if split == "Test":
                    masks.mkdir(exist_ok=True)
                    Image.fromarray(mask).save(masks / f"{frame + 1:03d}.bmp")
    return data


def extract_here(data: VideoData) -> None:
    """Fill the cache in this process, without the launcher."""
    for recipe in data.recipes():
        worker = recipe.worker("cpu")
        for video in data.needed():
            arrays, extra = worker(data.benchmark, video)
            entry = cache.entry(data.benchmark.dataset, recipe, video.id)
            entry.write(arrays, identity=files.identity(video.path) if video.path else {}, extra=extra)


EXPERIMENT = """
seed_everything: 0
model:
  class_path: vad.methods.lbr_spr.LBRSPR
  init_args: {width: 2, channels: 1, warmup_epochs: 1, precise_batchnorm: true}
data:
  class_path: vad.datamodules.cubes.CubeData
  init_args:
    benchmark: UCSDPed2
    batch_size: 8
    motion: {class_path: vad.extract.motion.FrameDifference}
    seed: ${seed_everything}
trainer: {max_epochs: 3, accelerator: cpu, devices: 1, enable_progress_bar: false, enable_model_summary: false}
paper_chain:
  - fill: {value: -20}
  - moving_average: {taps: 10, padding: zero, across_clips: true}
"""


def write_experiment(folder: Path, *more: str) -> list[str]:
    """The options of a small experiment on the tree, written into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "small_lbr.yaml"
    path.write_text(EXPERIMENT)
    return ["--config", str(path), *more]


def without_log(options: Sequence[str]) -> list[str]:
    """The same options with log.csv alone."""
    return [*options, "--log", "csv"]
