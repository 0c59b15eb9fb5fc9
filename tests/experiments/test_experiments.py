"""Every experiment file parses, instantiates, keeps its promise's form, and trains one step on generated footage."""

from pathlib import Path

import numpy as np
import pytest
import yaml
from ped_tree import extract_here, write_ped_tree

from vad import cache
from vad.cli.experiment import parse, parse_settings
from vad.cli.fit import main as fit
from vad.extract.features import Features
from vad.methods.feature_ssl import FeatureSSL
from vad.methods.mil_detector import MILDetector
from vad.runs import RunFolder
from vad.sweeps import read_sweep

FOLDER = Path(__file__).parents[2] / "experiments"
EXPERIMENTS = sorted(path for path in FOLDER.glob("*.yaml") if path.name != "small.yaml")
TRAINERS = sorted((FOLDER / "trainers").glob("*.yaml"))

every_experiment = pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda path: path.stem)


@every_experiment
def test_an_experiment_parses_and_instantiates(path: Path) -> None:
    experiment = parse(["--config", str(path)])
    assert experiment.settings.variant == "base" and experiment.settings.experiment == path.stem
    assert experiment.data.seed == experiment.seed, "the order of batches follows the experiment's seed"
    assert parse(["--config", str(path), "--seed_everything", "3"]).data.seed == 3


@every_experiment
def test_an_experiment_trains_one_step_on_generated_footage(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = path.read_text()
    tubes, clips, features = "TubeData" in kind, ".clips.ClipData" in kind, "FeatureClipData" in kind
    frames = 26 if tubes or clips else 14  # the tubes that SSMTL learns from hold 25
    monkeypatch.setenv("VAD_DATA", str(write_ped_tree(tmp_path / "data", frames=frames)))
    words = ["--config", str(path), "--config", str(FOLDER / "small.yaml"), "--data.batch_size", "8"]
    words += ["--trainer.limit_train_batches", "1", "--trainer.accelerator", "cpu", "--log", "csv"]
    words += ["--trainer.enable_progress_bar", "false", "--out", str(tmp_path / "run")]
    if clips or features:  # short clips, of which two speeds fit
        words += ["--data.length", "8", "--data.speeds", "[1, 2]", "--model.speeds", "2", "--data.window", "20"]
        words += ["--data.gap", "6", "--data.per_window", "1", "--data.validation_clips", "8"]
        words += ["--data.hold_out", "videos", "--trainer.max_steps", "1", "--data.checkpoint_every", "1"]
    if "BagData" in kind or features:
        words += ["--benchmark", "toy_bags.ToyWeak", "--trainer.max_steps", "1", "--data.checkpoint_every", "1"]
        generate_features(words)
    elif clips:
        words += ["--benchmark", "UCSDPed2", "--data.frames", "null", "--data.size", "[24, 16]"]
        words += ["--model.encoder", "small", "--model.kinetics", "null", "--model.size", "null"]
    else:
        words += ["--benchmark", "UCSDPed2"]
        motion = (
            "BackgroundSubtraction" if tubes else "FrameDifference"
        )  # training clips move too little for the latter
        words += ["--data.detector", "null", "--data.motion", f"vad.extract.motion.{motion}"]  # needs no weights
        if "min_area" in kind:  # the squares are smaller than anybody in a real benchmark
            words += ["--data.min_area", "100"]
        if tubes:  # without weights there is nobody to learn from; small tubes, since the networks are whole
            words += ["--data.teacher", "null", "--model.heads", "[arrow, irregularity, middle]"]
            words += ["--data.every", "1", "--data.size", "16", "--model.size", "16"]
        extract_here(parse(words).data)
    fit(words)
    run = RunFolder(tmp_path / "run")
    assert run.encoder.is_file() if clips or features else run.detector.is_file()
    assert len(run.log.read_text().splitlines()) == 2


def generate_features(words: list[str]) -> None:
    """Noise of the right widths, where an experiment expects the features of its benchmark."""
    experiment = parse(words)
    assert isinstance(experiment.model, MILDetector | FeatureSSL)
    dims, random = iter(experiment.model.dims), np.random.default_rng(0)
    for recipe in experiment.data.recipes():
        assert isinstance(recipe, Features)
        widths = {stream: next(dims) for stream in recipe.streams}
        for video in experiment.data.needed():
            first = 16 * np.arange((video.frames or 0) // 16, dtype=np.int32)
            arrays = {name: random.random((len(first), 1, dim)).astype(np.float16) for name, dim in widths.items()}
            entry = cache.entry(experiment.data.benchmark.dataset, recipe, video.id)
            entry.write({**arrays, "first": first, "end": first + np.int32(16)}, identity={})


@pytest.mark.parametrize("path", sorted(FOLDER.glob("sweeps/*.yaml")), ids=lambda path: path.stem)
def test_every_cell_of_a_sweep_parses(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(FOLDER.parent)
    settings = [parse_settings(cell) for cell in read_sweep(path).cells]
    folders = {setting.folder.path for setting in settings}
    assert len(folders) == len(settings) > 1, "no two cells share a run"


def head(path: Path) -> dict[str, str]:
    """The promise at the top of a file: its words by their name."""
    promise: dict[str, str] = {}
    name = ""
    for line in path.read_text().splitlines()[1:]:
        if not line.startswith("#"):
            break
        label, text = line[2:15].strip(), line[15:].strip()
        if label:
            name = label
        if name:
            promise[name] = f"{promise.get(name, '')} {text}".strip()
    return promise


@every_experiment
def test_the_head_promises_and_the_table_of_results_agrees(path: Path) -> None:
    promise = head(path)
    assert {"Reproduces", "Command", "Measured", "Needs", "Our choices"} <= set(promise), promise
    command = promise["Command"].split(";")[-1].strip()
    rows = [row for row in (FOLDER / "README.md").read_text().splitlines() if f"`{command}`" in row]
    assert len(rows) == 1, f"{path.name}: experiments/README.md has {len(rows)} rows with the command '{command}'"
    measured = rows[0].split("|")[5].strip()
    assert promise["Measured"].startswith(measured), "head and table say different things"


def test_small_fits_every_experiment() -> None:
    small = yaml.safe_load((FOLDER / "small.yaml").read_text())
    assert set(small) == {"data", "trainer"} and set(small["data"]) == {"init_args"}
    from vad.datamodules.video_data import VideoData

    assert set(small["data"]["init_args"]) <= set(VideoData.__init__.__annotations__)


@pytest.mark.parametrize("path", TRAINERS, ids=lambda path: path.stem)
def test_a_trainer_file_changes_no_runs_identity(path: Path) -> None:
    settings = parse_settings(["--config", str(EXPERIMENTS[0]), "--trainer", str(path)])
    assert settings.variant == "base"
