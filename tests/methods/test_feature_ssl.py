"""Pretext tasks on features: what can be learned is learned, probes find nothing, and MIL goes on from the encoder."""

from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from bag_batches import bag_batch
from toy_bags import bag_data
from toy_sequences import sequence_data

from vad.cli.fit import main as fit
from vad.datamodules.pretext import TASKS
from vad.errors import ConfigError, RunError
from vad.methods.feature_ssl import FeatureSSL
from vad.methods.mil_detector import MILDetector
from vad.methods.mil_hims import MILHIMS
from vad.networks.encoder_files import EncoderFile, read_encoder, write_encoder
from vad.training.collecting import collect
from vad.types import ClipBatch

SMALL: dict[str, Any] = {"dims": (2, 3), "width": 32, "heads": 2, "window": 8, "layers": 1}


def trainer(**options: Any) -> pl.Trainer:
    return pl.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
                      enable_model_summary=False, use_distributed_sampler=False, num_sanity_val_steps=0,
                      **options)  # fmt: skip


def make(**options: Any) -> FeatureSSL:
    torch.manual_seed(0)
    return FeatureSSL(**{**SMALL, **options})


def clip_batch(clips: torch.Tensor, tasks: list[int] | None = None) -> ClipBatch:
    zeros = torch.zeros(len(clips), dtype=torch.int64)
    task = torch.arange(len(clips)) % 4 if tasks is None else torch.tensor(tasks)
    return ClipBatch(
        clips=clips.half(), task=task, target=zeros, video=zeros, label=zeros, key=torch.arange(len(clips)),
        size=len(clips),
    )  # fmt: skip


def accuracies(columns: dict[str, np.ndarray]) -> dict[str, float]:
    right = columns["said"] == columns["target"]
    return {name: float(right[columns["task"] == number].mean()) for number, name in enumerate(TASKS)}


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> FeatureSSL:
    """Taught by pointers that turn from snippet to snippet, in other videos than those it is asked of."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VAD_CACHE", str(tmp_path_factory.mktemp("cache")))
        model = make(norm="standard", temporal="conv", encoder_dropout=0.0, dropout=0.0, learning_rate=1e-2)
        trainer(max_steps=200).fit(model, sequence_data())
    return model.eval()


def test_which_way_a_pointer_turns_and_how_fast_is_learned(learned: FeatureSSL) -> None:
    found = accuracies(collect(trainer(), learned, sequence_data(), "score"))
    assert min(found["order"], found["speed"], found["arrow"]) > 0.9 and found["change"] > 0.7, found


@pytest.mark.parametrize("probe", ["frozen", "blank"])
def test_nothing_is_told_of_repeated_or_blank_snippets(learned: FeatureSSL, probe: Any) -> None:
    learned.probe = probe
    try:
        found = collect(trainer(), learned, sequence_data(), "score")
    finally:
        learned.probe = "none"
    assert all(value < 0.67 for value in accuracies(found).values()), accuracies(found)
    if probe == "blank":
        assert (found["vector"] == found["vector"][0]).all()


def test_clips_of_equal_snippets_teach_change_alone() -> None:
    clips = torch.randn(8, 16, 5)
    clips[:4] = clips[:4, :1]
    seen = make().seen(clip_batch(clips), learning=False)
    assert seen.valid.tolist() == [task == "change" for task in TASKS] + [True] * 4


def test_noise_is_added_while_learning_alone_and_leaves_what_stands_still() -> None:
    clips = torch.randn(8, 16, 5)
    clips[..., 0] = 3
    batch, model = clip_batch(clips), make(noise=0.5)
    assert torch.equal(model.seen(batch, learning=False).clips, batch.clips.float())
    noisy = model.seen(batch, learning=True).clips
    assert torch.equal(noisy[..., 0], batch.clips[..., 0].float())
    assert (noisy - batch.clips.float())[..., 1:].std().item() == pytest.approx(0.5, abs=0.1)


def test_rows_of_another_width_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"dims: the clips' rows hold 4 values, the model takes \[2, 3\]"):
        make().seen(clip_batch(torch.zeros(4, 16, 4)), learning=False)
    with pytest.raises(ConfigError, match="temporal: without a temporal encoder"):
        make(temporal="none")


def test_the_encoder_s_file_starts_another_run(tmp_path: Path) -> None:
    model, other = make(), FeatureSSL(**{**SMALL, "tasks": ["arrow"]})
    model.save_encoder(tmp_path / "encoder.ckpt", sequence_data(), benchmark="toy", seed=0)
    file = read_encoder(tmp_path / "encoder.ckpt")
    assert (file.kind, file.frames, file.size) == ("snippet", 16, None)
    assert file.about["features"] == [recipe.key for recipe in sequence_data().features]
    assert "15 of 15" in other.take_over(tmp_path / "encoder.ckpt")
    for name, tensor in model.network.state_dict().items():
        assert torch.equal(tensor, other.network.state_dict()[name])


@pytest.mark.parametrize("detector", [MILDetector, MILHIMS])
@pytest.mark.parametrize("norm", ["layer", "standard"])
def test_a_mil_detector_begins_with_the_rows_of_the_pretrained_encoder(
    tmp_path: Path, detector: Any, norm: Any
) -> None:
    model = make(norm=norm)
    batch = bag_batch([16, 16], [0, 1], dims=(2, 3))
    clips = torch.cat([stream[:, 0] for stream in batch.streams], -1)
    model.encoded(clips.float())  # moves the statistics of `standard`
    model.save_encoder(tmp_path / "encoder.ckpt", sequence_data())
    mil = detector(**SMALL, norm=norm)
    head = [p.clone() for p in mil.scorers[0].head.parameters()]
    said = mil.take_over(tmp_path / "encoder.ckpt")
    assert "0 left out" in said, said
    assert all(map(torch.equal, head, mil.scorers[0].head.parameters()))
    rows, _ = mil.eval().scorers[0]([s[:, 0].float() for s in batch.streams], torch.ones(2, 16).bool())
    torch.testing.assert_close(rows.mean(1), model.eval().encoded(clips.float()))


def test_what_no_detector_can_begin_with_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "encoder.ckpt"
    make().save_encoder(path, sequence_data())
    with pytest.raises(ConfigError, match="joins its streams early"):
        MILDetector(**SMALL, fuse="late").take_over(path)
    weights = {"fusion.project.0.bias": torch.zeros(32)}
    write_encoder(
        path,
        EncoderFile(kind="video", network="small", weights=weights, frames=16, size=(8, 8), mean=(0.0,), std=(1.0,),
                    about={}),
    )  # fmt: skip
    with pytest.raises(RunError, match="holds an encoder of videos"):
        MILDetector(**SMALL).take_over(path)
    with pytest.raises(ConfigError, match="learns from FeatureClipData, not from BagData"):
        make().save_encoder(path, bag_data())  # type: ignore[arg-type]


FEATURES = """
    benchmark: toy_sequences.Sequences
    features:
      - {class_path: toy_bags.ToyFeatures, init_args: {name: place, dim: 2, crops: 2}}
      - {class_path: toy_bags.ToyFeatures, init_args: {name: turn, dim: 3, crops: 1}}
"""
NETWORK = "{dims: [2, 3], width: 16, heads: 2, temporal: conv, norm: standard}"
TRAINER = (
    "trainer: {max_steps: 1, accelerator: cpu, devices: 1, enable_progress_bar: false, enable_model_summary: false}"
)


def test_finetune_names_the_run_of_pretext_tasks_that_a_detector_begins_with(tmp_path: Path) -> None:
    pretext, mil = tmp_path / "pretext.yaml", tmp_path / "mil.yaml"
    model = f"model: {{class_path: vad.methods.feature_ssl.FeatureSSL, init_args: {NETWORK}}}"
    data = f"data:\n  class_path: vad.datamodules.feature_clips.FeatureClipData\n  init_args:{FEATURES}"
    pretext.write_text(f"{model}\n{data}    batch_size: 32\n    checkpoint_every: 1\n{TRAINER}\n")
    model = f"model: {{class_path: vad.methods.mil_hims.MILHIMS, init_args: {NETWORK}}}"
    data = f"data:\n  class_path: vad.datamodules.bags.BagData\n  init_args:{FEATURES}"
    mil.write_text(f"{model}\n{data}    batch_size: 4\n    checkpoint_every: 1\n{TRAINER}\n")
    sequence_data()
    fit(["--config", str(pretext), "--log", "csv", "--out", str(tmp_path / "pretext")])
    fit(["--config", str(mil), "--log", "csv", "--out", str(tmp_path / "mil"), "--finetune", str(tmp_path / "pretext"),
         "--model.learning_rate", "0", "--model.weight_decay", "0"])  # fmt: skip
    learned = read_encoder(tmp_path / "pretext" / "encoder.ckpt").weights
    begun = MILDetector.load_detector(tmp_path / "mil" / "detector.ckpt").scorers[0].state_dict()
    for name in ("fusion.project.0.weight", "temporal.convolution.weight"):
        assert torch.equal(begun[name], learned[name])
