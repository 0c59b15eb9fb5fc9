"""A pretext run goes through the verbs as a detector's does: its encoder is kept, its tasks are measured, once."""

import csv
import json
import logging
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from ped_tree import extract_here, write_experiment
from pretext_experiment import write_pretext_experiment, write_pretext_tree

from vad import stages
from vad.cli import fit as fit_verb
from vad.cli import run as run_verb
from vad.cli import test as test_verb
from vad.cli.experiment import parse
from vad.cli.main import main
from vad.errors import ConfigError, RunError
from vad.methods.anomaly_ssl import AnomalySSL
from vad.networks.encoder_files import read_encoder
from vad.runs import RunFolder, decide
from vad.sweeps import Cell, Work
from vad.training import load_weights_only

Options = list[str]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data, and below it the run that tests of this module share."""
    folder = tmp_path_factory.mktemp("encoder_stages")
    write_pretext_tree(folder / "data")
    return folder


@pytest.fixture
def options(home: Path, monkeypatch: pytest.MonkeyPatch) -> Options:
    monkeypatch.setenv("VAD_DATA", str(home / "data"))
    monkeypatch.setenv("VAD_RUNS", str(home / "runs"))
    monkeypatch.setenv("VAD_RUN", "")
    return write_pretext_experiment(home)


@pytest.fixture
def run(home: Path, options: Options) -> RunFolder:
    """A run that is trained and tested; tests that write copy it."""
    folder = RunFolder(home / "runs" / "pretext" / "base" / "seed-0")
    if not folder.metrics.is_file():
        fit_verb.main(options)
        test_verb.main([str(folder.path)])
    return folder


def copy(run: RunFolder, place: Path) -> RunFolder:
    return RunFolder(Path(shutil.copytree(run.path, place)))


def read(path: Path) -> Any:
    return json.loads(path.read_text())


def test_a_pretext_run_leaves_an_encoder_and_what_was_measured(run: RunFolder) -> None:
    assert not run.detector.exists() and not run.scores.exists()
    metrics = read(run.metrics)
    assert (metrics["protocol"], metrics["headline"]) == ("pretext", "pretext_accuracy")
    for task in ("order", "speed", "arrow", "change", "pretext_accuracy"):
        assert {task, f"{task}_frozen", f"{task}_blank"} <= metrics["metrics"].keys()
    counts = metrics["counts"]
    assert (counts["clips"], counts["videos"], counts["training_videos"], counts["broken_videos"]) == (64, 2, 4, 0)
    provenance = read(run.provenance)
    assert set(provenance["seconds"]) == {"fit", "score", "evaluate"} and provenance["clips_per_second"] > 0
    assert [row["epoch"] for row in csv.DictReader(run.log.read_text().splitlines())] == ["0", "1"]


def test_the_encoder_is_that_of_the_checkpoint_and_says_where_it_is_from(run: RunFolder) -> None:
    kept, state = read_encoder(run.encoder), load_weights_only(run.last)["state_dict"]
    assert all(torch.equal(tensor, state[f"network.{name}"]) for name, tensor in kept.weights.items())
    about = {name: kept.about[name] for name in ("experiment", "variant", "seed", "benchmark")}
    assert about == {"experiment": "pretext", "variant": "base", "seed": 0, "benchmark": "UCSDPed2"}


def test_the_best_checkpoint_is_kept_and_measured_where_it_is_asked_for(options: Options, tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    words = [*options, "--checkpoint", "best", "--out", str(folder.path)]
    fit_verb.main(words)
    best = folder.checkpoints / "best.ckpt"
    content = load_weights_only(best)
    network = {name: t for name, t in content["state_dict"].items() if name.startswith("network.")}
    content["state_dict"] |= {name: torch.zeros_like(tensor) for name, tensor in network.items()}
    torch.save(content, best)
    folder.encoder.unlink()
    fit_verb.main(words)
    assert all(not tensor.any() for tensor in read_encoder(folder.encoder).weights.values())
    experiment = parse(words)
    stages.test(experiment, folder, folder)
    assert not any(tensor.any() for name, tensor in experiment.model.state_dict().items() if name in network)


def test_what_is_done_is_not_done_again(run: RunFolder, options: Options, capsys: pytest.CaptureFixture[str]) -> None:
    before = {path: path.stat().st_mtime_ns for path in run.path.rglob("*")}
    fit_verb.main(options)
    test_verb.main([str(run.path)])
    said = capsys.readouterr().out
    assert "is trained already" in said and "is tested already" in said
    assert {path: path.stat().st_mtime_ns for path in run.path.rglob("*")} == before
    assert decide(parse(options).config, run).kind == "finished"


def test_a_test_repeated_afresh_gives_the_same_bytes(run: RunFolder, tmp_path: Path) -> None:
    again = copy(run, tmp_path / "again")
    test_verb.main([str(again.path), "--fresh"])
    assert again.metrics.read_bytes() == run.metrics.read_bytes()


def test_the_table_speaks_of_chance_and_clips(
    run: RunFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copied = copy(run, tmp_path / "run")
    copied.metrics.unlink()
    capsys.readouterr()
    test_verb.main([str(copied.path)])
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "AnomalySSL on UCSDPed2 (pretext, 64 clips of 2 held-out videos)"
    assert said[1].split()[0] == "pretext_accuracy" and said[1].endswith("chance 0.5000")
    assert run_verb.summary(parse(["--config", str(run.config), "--out", str(run.path)]).settings).startswith(
        f"{run.path}: pretext_accuracy 0."
    )


def test_probes_are_of_the_same_clips(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    passes = []

    def columns(self: AnomalySSL, batch: Any) -> Any:
        passes.append((self.probe, batch.key.tolist(), batch.video.tolist(), batch.target.tolist()))
        return original(self, batch)

    original = AnomalySSL.columns
    monkeypatch.setattr(AnomalySSL, "columns", columns)
    experiment = parse(["--config", str(run.config), "--log", "csv"])
    stages.test(experiment, run, RunFolder(run.path.with_name("elsewhere")))
    assert [probe for probe, *_ in passes] == [p for p in ("none", "frozen", "blank", "none") for _ in range(4)]
    first, frozen, blank, learned = (passes[start : start + 4] for start in range(0, 16, 4))
    assert [rest for _, *rest in first] == [rest for _, *rest in frozen] == [rest for _, *rest in blank]
    assert [rest for _, *rest in first] != [rest for _, *rest in learned]
    assert isinstance(experiment.model, AnomalySSL) and experiment.model.probe == "none"


def test_finetuning_takes_over_the_encoder_of_a_run_by_its_name(
    run: RunFolder, options: Options, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    words = [*options, "--trainer.max_epochs", "1", "--model.learning_rate", "0", "--model.weight_decay", "0"]
    with caplog.at_level(logging.INFO, logger="vad"):
        fit_verb.main([*words, "--finetune", "pretext/base/seed-0", "--out", str(tmp_path / "run")])
    assert any("--finetune pretext/base/seed-0: " in record.getMessage() for record in caplog.records)
    ours, theirs = (read_encoder(path).weights for path in (tmp_path / "run" / "encoder.ckpt", run.encoder))
    name = next(name for name in theirs if name.endswith("weight"))
    assert torch.equal(ours[name], theirs[name])
    with pytest.raises(RunError, match="no such run, here or below"):
        fit_verb.main([*words, "--finetune", "pretext/base/seed-7", "--out", str(tmp_path / "other")])


def test_a_detector_without_such_an_encoder_refuses_a_pretext_run(
    run: RunFolder, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VAD_CACHE", str(tmp_path / "cache"))
    words = write_experiment(tmp_path, "--log", "csv", "--out", str(tmp_path / "run"))
    extract_here(parse(words).data)
    with pytest.raises(ConfigError, match="LBRSPR has no encoder"):
        fit_verb.main([*words, "--finetune", str(run.path)])


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--model.speeds", "3"], "model.speeds: 3 are told apart, and data.speeds has 2"),
        (["--data.tasks", "[order, arrow]"], "are not data.tasks: order, arrow"),
    ],
)
def test_tasks_that_are_not_the_datas_are_refused_before_training(
    options: Options, tmp_path: Path, words: Options, says: str
) -> None:
    with pytest.raises(ConfigError, match=says):
        fit_verb.main([*options, *words, "--out", str(tmp_path / "run")])
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("epochs", ["-1", "null"])
def test_a_training_without_an_end_is_refused(options: Options, tmp_path: Path, epochs: str) -> None:
    without_end = ["--trainer.max_epochs", epochs, "--trainer.max_time", "00:00:00:02"]
    with pytest.raises(ConfigError, match="give max_steps or max_epochs"):
        fit_verb.main([*options, *without_end, "--out", str(tmp_path / "run")])


def test_data_without_pretext_tasks_are_refused(options: Options, tmp_path: Path) -> None:
    experiment = parse(options)
    other = parse(write_experiment(tmp_path)).data
    with pytest.raises(ConfigError, match="AnomalySSL learns from clips of pretext tasks, not CubeData"):
        stages.fit(replace(experiment, data=other), RunFolder(tmp_path / "run"))


def test_videos_that_were_learned_from_are_not_tested_on(run: RunFolder, tmp_path: Path) -> None:
    copied = copy(run, tmp_path / "run")
    with pytest.raises(ConfigError, match="learned from 2 of the 4 videos that are held out here, among them"):
        test_verb.main([str(copied.path), "--data.validation", "0.6"])
    with pytest.raises(ConfigError, match="leave them as they were"):
        test_verb.main([str(copied.path), "--data.seed", "1"])
    assert not list(copied.path.glob("test/*"))
    test_verb.main([str(copied.path), "--data.test_clips", "16"])  # other clips of the same videos
    assert len(list(copied.path.glob("test/*"))) == 1


def test_a_run_without_encoder_or_checkpoint_says_what_to_do(run: RunFolder, tmp_path: Path) -> None:
    copied = copy(run, tmp_path / "run")
    copied.metrics.unlink()
    copied.last.unlink()
    with pytest.raises(RunError, match=r"last\.ckpt: no such file"):
        test_verb.main([str(copied.path)])
    copied.encoder.unlink()
    with pytest.raises(RunError, match="vad fit"):
        test_verb.main([str(copied.path)])


def test_videos_that_cannot_be_read_are_skipped_counted_and_named(
    options: Options, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    folder, words = RunFolder(tmp_path / "run"), [*options, "--data.on_broken", "skip", "--data.validation", "0.5"]
    data = parse(words).data
    broken = [data.fit_videos()[0], data.validation_videos()[0]]
    monkeypatch.setenv("VAD_DATA", str(shutil.copytree(home / "data", tmp_path / "data")))
    for video in broken:
        assert video.path is not None
        frames = sorted((tmp_path / "data" / video.path.relative_to(home / "data")).iterdir())
        for frame in frames[8:12]:
            frame.write_bytes(b"no picture")
    fit_verb.main([*words, "--out", str(folder.path)])
    assert broken[0].id in read(folder.provenance)["skipped"]
    caplog.clear()
    test_verb.main([str(folder.path)])
    said = [record.getMessage() for record in caplog.records if "could not be read" in record.getMessage()]
    assert len(said) == 1 and all(video.id in said[0] for video in broken)
    assert read(folder.metrics)["counts"]["broken_videos"] == 2


def test_a_sweeps_worker_carries_out_a_pretext_cell(run: RunFolder, options: Options, tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "cell")
    outcome = Work(parse, "group").load("cpu")(Cell(str(folder.path), (*options, "--out", str(folder.path))))
    assert outcome.error is None
    assert folder.metrics.read_bytes() == run.metrics.read_bytes()


def test_runs_with_a_tracker_get_the_metrics_and_no_curves(
    options: Options, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    folder = tmp_path / "run"
    fit_verb.main([*options, "--log", "wandb", "--trainer.max_epochs", "1", "--out", str(folder)])
    test_verb.main([str(folder)])
    tables = [path.name for path in (folder / "wandb").rglob("*.table.json")]
    assert any(name.startswith("metrics") for name in tables) and not any(name.startswith("scores") for name in tables)


def test_compare_sets_pretext_runs_apart(run: RunFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", str(run.path), "--out", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert "chance is 50.0 in order, 50.0 in speed, 50.0 in arrow, 50.0 in change" in said
    text, page = (tmp_path / "comparison.md").read_text(), (tmp_path / "comparison.html").read_text()
    assert "### UCSDPed2, pretext, 64 clips of held-out training videos" in text
    for nonsense in ("constant score", "kind of anomaly", "frames/s", "raw frame scores", "no curves", "grid"):
        assert nonsense not in page.split("<script")[0] + text, nonsense
    assert "speed_frozen" in page and "change_blank" in page


@pytest.mark.slow
def test_two_processes_make_one_run_and_measure_as_one_does(run: RunFolder, options: Options, tmp_path: Path) -> None:
    def two_processes(verb: str, *words: str) -> None:
        command = [sys.executable, "-m", "vad.cli.main", verb, *words]
        more = ["--trainer.devices", "2", "--trainer.strategy", "ddp"]
        done = subprocess.run([*command, *more], capture_output=True, text=True, timeout=240)
        assert done.returncode == 0, done.stderr[-2000:]

    two_processes("test", str(run.path), "--out", str(tmp_path / "tested"))
    assert (tmp_path / "tested" / "metrics.json").read_bytes() == run.metrics.read_bytes()
    two_processes("fit", *options, "--out", str(tmp_path / "fitted"))
    two_processes("test", str(tmp_path / "fitted"))
    assert read(tmp_path / "fitted" / "metrics.json")["counts"] == read(run.metrics)["counts"]
