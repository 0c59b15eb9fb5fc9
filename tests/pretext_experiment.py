"""An experiment of pretext tasks on the tree of `ped_tree`, small enough to go through all stages in seconds."""

from pathlib import Path

from ped_tree import write_ped_tree

EXPERIMENT = """
seed_everything: 0
model:
  class_path: vad.methods.anomaly_ssl.AnomalySSL
  init_args: {encoder: small, size: null, min_motion: 0.0, speeds: 2, hidden: 8}
data:
  class_path: vad.datamodules.clips.ClipData
  init_args:
    benchmark: UCSDPed2
    batch_size: 16
    size: [32, 24]
    length: 8
    speeds: [1, 2]
    steps: [1]
    gap: 8
    window: 20
    per_window: 2
    hold_out: videos
    validation: 0.4
    validation_clips: 16
    test_clips: 64
    checkpoint_every: 2
    seed: ${seed_everything}
trainer: {max_epochs: 2, accelerator: cpu, devices: 1, enable_progress_bar: false, enable_model_summary: false}
"""


def write_pretext_tree(data: Path) -> Path:
    """Six training clips, long enough for the experiment."""
    return write_ped_tree(data, train=6, test=1, frames=24)


def write_pretext_experiment(folder: Path, *more: str) -> list[str]:
    """The options of the experiment, written into `folder`, with log.csv alone."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "pretext.yaml"
    path.write_text(EXPERIMENT)
    return ["--config", str(path), "--log", "csv", *more]
