"""Every stage is done once, continues where it stopped, and asks for no truth before the last one."""

import csv
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from ped_tree import extract_here, without_log, write_experiment, write_ped_tree

from vad import cache, stages
from vad.benchmarks import UCSDPed2
from vad.cli import fit as fit_verb
from vad.cli import test as test_verb
from vad.cli.experiment import parse, run_arguments
from vad.errors import CacheError, ConfigError, DataError, RunError
from vad.methods.anomaly_detector import read_detector
from vad.runs import RunFolder
from vad.scores import Scores
from vad.training import load_weights_only

Options = list[str]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data, and below it what all tests of this module share."""
    folder = tmp_path_factory.mktemp("stages")
    write_ped_tree(folder / "data")
    return folder


@pytest.fixture
def options(home: Path, monkeypatch: pytest.MonkeyPatch) -> Options:
    """The experiment, with everything extracted and log.csv alone."""
    monkeypatch.setenv("VAD_DATA", str(home / "data"))
    monkeypatch.setenv("VAD_CACHE", str(home / "cache"))
    monkeypatch.setenv("VAD_RUN", "")
    words = without_log(write_experiment(home))
    if not (home / "cache").exists():
        extract_here(parse(words).data)
    return words


@pytest.fixture
def run(home: Path, options: Options) -> RunFolder:
    """A run that is trained and tested; tests that write copy it."""
    folder = RunFolder(home / "runs" / "small_lbr" / "base" / "seed-0")
    if not folder.metrics.is_file():
        fit_verb.main([*options, "--out", str(folder.path)])
        test_verb.main([str(folder.path)])
    return folder


def copy(run: RunFolder, place: Path) -> RunFolder:
    return RunFolder(Path(shutil.copytree(run.path, place)))


def test_a_run_leaves_everything_that_it_promises(run: RunFolder) -> None:
    for path in (run.config, run.last, run.detector, run.scores, run.metrics, run.provenance, run.log):
        assert path.is_file(), path.name
    metrics = json.loads(run.metrics.read_text())
    assert metrics["headline"] in metrics["metrics"] and "micro_auroc_paper" in metrics["metrics"]
    provenance = json.loads(run.provenance.read_text())
    assert set(provenance["seconds"]) == {"fit", "estimate", "score", "evaluate"}
    assert provenance["parameters"] > 0 and provenance["frames_per_second"] > 0 and provenance["threads"] == 1
    assert [key.split("-")[0] for key in provenance["recipes"]] == ["objects", "crops"]
    rows = list(csv.DictReader(run.log.read_text().splitlines()))
    assert [row["epoch"] for row in rows] == ["0", "1", "2"]
    assert float(rows[0]["learning_rate"]) == pytest.approx(1e-3)


def test_the_scores_header_holds_the_detector_and_no_place(run: RunFolder) -> None:
    header = Scores.load(run.scores).header
    assert (header["method"], header["benchmark"], header["range"]) == ("LBRSPR", "UCSDPed2", "raw")
    assert header["floor"] == read_detector(run.detector)["floor"]
    assert header["chain"][0] == {"fill": {"value": -20}}
    assert header["statistics"]["appearance"][0]["count"] > 0
    assert str(run.path) not in json.dumps(dict(header))


def test_what_is_done_is_not_done_again(run: RunFolder, options: Options, capsys: pytest.CaptureFixture[str]) -> None:
    before = {path: path.stat().st_mtime_ns for path in run.path.rglob("*")}
    fit_verb.main([*options, "--out", str(run.path)])
    test_verb.main([str(run.path)])
    said = capsys.readouterr().out
    assert "is trained already" in said and "is tested already" in said
    assert {path: path.stat().st_mtime_ns for path in run.path.rglob("*")} == before


def test_a_test_repeated_afresh_gives_the_same_bytes(run: RunFolder, tmp_path: Path) -> None:
    again = copy(run, tmp_path / "again")
    again.scores.unlink()
    test_verb.main([str(again.path), "--fresh", "--log", "csv"])
    assert again.scores.read_bytes() == run.scores.read_bytes()
    assert again.metrics.read_bytes() == run.metrics.read_bytes()


def test_an_interrupted_fit_continues_to_the_same_weights(
    run: RunFolder, options: Options, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Interrupted(Exception):
        pass

    def stop(self: torch.nn.Module, *_: object) -> None:
        if self.current_epoch == 2:  # type: ignore[operator, comparison-overlap]  # a LightningModule
            raise Interrupted

    words = [*options, "--out", str(tmp_path / "run")]
    with monkeypatch.context() as patch:
        patch.setattr("vad.methods.lbr_spr.LBRSPR.on_train_epoch_start", stop)
        with pytest.raises(Interrupted):
            fit_verb.main(words)
    continued = RunFolder(tmp_path / "run")
    assert load_weights_only(continued.last)["epoch"] == 1 and not continued.detector.exists()
    fit_verb.main(words)
    whole, parts = (read_detector(folder.detector) for folder in (run, continued))
    assert all(torch.equal(whole["weights"][name], parts["weights"][name]) for name in whole["weights"])
    assert whole["statistics"] == parts["statistics"] and whole["floor"] == parts["floor"]
    logs = [[(row["epoch"], row["loss"]) for row in csv.DictReader(f.log.open())] for f in (run, continued)]
    assert logs[0] == logs[1]


def test_fit_names_the_missing_command_and_makes_no_run(
    options: Options, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VAD_CACHE", str(tmp_path / "empty"))
    with pytest.raises(CacheError, match="vad extract"):
        fit_verb.main([*options, "--out", str(tmp_path / "run")])
    assert not (tmp_path / "run").exists()


def test_fitting_and_scoring_never_ask_for_truth(
    options: Options, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("the truth was asked for")

    monkeypatch.setattr(UCSDPed2, "truth", refuse)
    folder = RunFolder(tmp_path / "run")
    experiment = parse([*options, "--out", str(folder.path)])
    stages.estimate(experiment, folder, stages.fit(experiment, folder))
    assert len(stages.score(experiment, folder).record) > 0


def test_videos_left_out_are_named_in_the_header(run: RunFolder) -> None:
    experiment = parse(run_arguments(run, ["--data.max_videos", "1"]))
    assert stages.score(experiment, run).header["skipped"] == ["Test002"]


def test_a_test_on_other_videos_leaves_the_runs_own_alone(run: RunFolder, tmp_path: Path) -> None:
    copied = copy(run, tmp_path / "run")
    own = copied.metrics.read_bytes()
    test_verb.main([str(copied.path), "--data.max_videos", "1"])
    (other,) = (copied.path / "test").iterdir()
    assert other.name.startswith("UCSDPed2,max_videos=1")
    assert json.loads((other / "metrics.json").read_text())["counts"]["videos"] == 1
    assert copied.metrics.read_bytes() == own


def test_what_was_trained_cannot_be_changed_by_a_test(run: RunFolder) -> None:
    with pytest.raises(RunError, match=r"model\.width cannot be changed"):
        test_verb.main([str(run.path), "--model.width", "3"])


def test_a_run_without_detector_says_how_to_get_one(run: RunFolder, tmp_path: Path) -> None:
    copied = copy(run, tmp_path / "run")
    copied.detector.unlink()
    copied.metrics.unlink()
    with pytest.raises(RunError, match="vad fit"):
        test_verb.main([str(copied.path)])


@pytest.mark.parametrize("words", [["--model.width", "3"], ["--data.batch_size", "16"]])
def test_a_folder_of_another_run_is_refused_with_the_difference(
    run: RunFolder, options: Options, words: Options
) -> None:
    with pytest.raises(RunError, match=words[0].removeprefix("--").replace(".", r"\.")):
        fit_verb.main([*options, *words, "--out", str(run.path)])


def test_finetuning_starts_from_the_weights_of_another_run(run: RunFolder, options: Options, tmp_path: Path) -> None:
    words = [*options, "--finetune", str(run.path), "--trainer.max_epochs", "1", "--model.learning_rate", "0"]
    fit_verb.main([*words, "--model.precise_batchnorm", "false", "--out", str(tmp_path / "run")])
    ours, theirs = (read_detector(path)["weights"] for path in (tmp_path / "run" / "detector.ckpt", run.detector))
    name = next(name for name in theirs if name.endswith("weight"))
    assert torch.equal(ours[name], theirs[name])
    with pytest.raises(RunError, match="no such file"):
        fit_verb.main([*options, "--finetune", str(tmp_path), "--out", str(tmp_path / "other")])


def test_best_is_refused_where_nothing_is_validated(options: Options, tmp_path: Path) -> None:
    with pytest.raises((RunError, ConfigError), match="validation"):
        fit_verb.main([*options, "--checkpoint", "best", "--out", str(tmp_path / "run")])


def test_wandb_keeps_one_id_from_the_first_step_to_the_metrics(
    options: Options, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    folder = tmp_path / "run"
    fit_verb.main([*options, "--log", "wandb", "--trainer.max_epochs", "1", "--out", str(folder)])
    test_verb.main([str(folder)])
    identifier = (folder / "wandb" / "id").read_text().strip()
    offline = sorted((folder / "wandb").glob("offline-run-*"))
    assert len(offline) >= 1 and all(path.name.endswith(f"-{identifier}") for path in offline)
    tables = [path.name for path in (folder / "wandb").rglob("*.table.json")]
    assert any(name.startswith("metrics") for name in tables) and any(name.startswith("scores") for name in tables)
    assert (folder / "log.csv").is_file()


def test_tensorboard_gets_curves_and_final_metrics(options: Options, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    folder = tmp_path / "run"
    fit_verb.main([*options, "--log", "tensorboard", "--trainer.max_epochs", "1", "--out", str(folder)])
    test_verb.main([str(folder)])
    events = EventAccumulator(str(folder / "tensorboard"))
    events.Reload()
    assert {"loss", "micro_auroc_smoothed", "scores/Test001"} <= set(events.Tags()["scalars"])


def two_processes(verb: str, words: Options) -> None:
    command = [sys.executable, "-m", "vad.cli.main", verb, *words]
    more = ["--trainer.accelerator", "cpu", "--trainer.devices", "2", "--trainer.strategy", "ddp"]
    done = subprocess.run([*command, *more], capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.slow
def test_two_processes_score_as_one_does(run: RunFolder, tmp_path: Path) -> None:
    two_processes("test", [str(run.path), "--out", str(tmp_path / "two"), "--log", "csv"])
    assert (tmp_path / "two" / "scores.npz").read_bytes() == run.scores.read_bytes()


def test_a_configuration_changed_after_training_is_refused(run: RunFolder, tmp_path: Path) -> None:
    copied = copy(run, tmp_path / "run")
    copied.metrics.unlink()
    copied.config.write_text(copied.config.read_text().replace("width: 2", "width: 3"))
    with pytest.raises(RunError, match=r"config\.yaml and detector\.ckpt differ in width"):
        test_verb.main([str(copied.path)])


@pytest.mark.parametrize("fault", ["a detector's file", "another width", "without loops", "a list"])
def test_a_training_goes_on_from_no_checkpoint_but_its_own(
    run: RunFolder, options: Options, tmp_path: Path, fault: str
) -> None:
    copied = copy(run, tmp_path / "run")
    content = torch.load(copied.last, weights_only=False)
    if fault == "a detector's file":
        shutil.copy(copied.detector, copied.last)
    elif fault == "another width":
        state = {
            name: tensor.repeat(2) if tensor.dim() == 1 else tensor for name, tensor in content["state_dict"].items()
        }
        torch.save({**content, "state_dict": state}, copied.last)
    else:
        torch.save([1] if fault == "a list" else {k: v for k, v in content.items() if k != "loops"}, copied.last)
    copied.detector.unlink()
    with pytest.raises(RunError, match=r"last\.ckpt: is (no checkpoint of a training|a checkpoint of another model)"):
        fit_verb.main([*options, "--out", str(copied.path)])


def test_a_batch_that_the_processes_do_not_divide_is_refused_before_they_start(
    options: Options, tmp_path: Path
) -> None:
    more = ["--trainer.devices", "3", "--trainer.strategy", "ddp", "--out", str(tmp_path / "run")]
    with pytest.raises(ConfigError, match="8 samples of a step cannot be shared by 3 processes"):
        fit_verb.main([*options, *more])
    assert not (tmp_path / "run" / "config.yaml").exists()


def test_parameters_of_an_average_are_not_counted(options: Options) -> None:
    plain, averaged = (parse([*options, "--model.average", decay]).model for decay in ("0", "0.9"))
    assert stages.learned(plain) == stages.learned(averaged) > 0


def test_videos_that_extraction_skipped_are_left_out_and_counted(
    options: Options, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.copytree(home / "cache", tmp_path / "cache")
    monkeypatch.setenv("VAD_CACHE", str(tmp_path / "cache"))
    words = [*options, "--trainer.max_epochs", "1", "--out", str(tmp_path / "run")]
    data = parse(words).data
    for recipe in data.recipes():
        mark = cache.entry("ucsd_ped2", recipe, "Test002")
        mark.mark_broken("it is damaged", identity=mark.describe()["identity"])
    fit_verb.main(words)
    assert "1 videos are left out, since they could not be read: Test002" in caplog.text
    test_verb.main([str(tmp_path / "run")])
    run = RunFolder(tmp_path / "run")
    assert Scores.load(run.scores).header["skipped"] == ["Test002"]
    counts = json.loads(run.metrics.read_text())["counts"]
    assert (counts["videos"], counts["skipped_videos"]) == (1, 1)
    assert json.loads(run.provenance.read_text())["skipped"] == {"Test002": "it is damaged"}


@pytest.mark.slow
def test_two_processes_train_bands_of_which_a_step_has_one(options: Options, home: Path, tmp_path: Path) -> None:
    more = ["--model.bands", "2", "--data.bands", "2", "--trainer.max_epochs", "1", "--out", str(tmp_path / "run")]
    two_processes("fit", [*options, *more])
    assert (tmp_path / "run" / "detector.ckpt").is_file()


@pytest.mark.slow
def test_two_processes_make_one_run(options: Options, tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    two_processes("fit", [*options, "--out", str(folder.path)])
    assert folder.detector.is_file() and len(folder.log.read_text().splitlines()) == 4
    two_processes("test", [str(folder.path)])
    assert folder.metrics.is_file()


def footage(home: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> Options:
    """The experiment on a person's own frames, without labels; everything is extracted."""
    monkeypatch.setenv("VAD_CACHE", str(root.parent / "cache"))
    for clip in ("Test001", "Test002"):
        shutil.copytree(home / "data" / "ucsd_ped" / "UCSDped2" / "Test" / clip, root / clip)
    words = without_log([*write_experiment(home), "--benchmark", str(root), "--trainer.max_epochs", "1"])
    words += ["--model.channels", "3"]
    extract_here(parse(words).data)
    return words


def test_footage_without_truth_is_scored_and_evaluated_when_it_has_some(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    root, run = tmp_path / "mine", RunFolder(tmp_path / "run")
    words = footage(home, root, monkeypatch)
    fit_verb.main([*words, "--out", str(run.path)])
    assert not test_verb.main([str(run.path)]), "the status is 0"
    assert run.scores.is_file() and not run.metrics.exists()
    (said,) = [record.getMessage() for record in caplog.records if "no truth" in record.getMessage()]
    assert f"vad show --run {run.path}" in said and "labels/ID.csv" in said and "\n" not in said
    (root / "labels").mkdir()
    (root / "labels" / "Test001.csv").write_text("7,14\n")
    with pytest.raises(DataError, match="1 of 2 test videos have no truth: Test002"):
        test_verb.main([str(run.path)])
    (root / "labels" / "Test002.csv").write_text("7,14\n")
    test_verb.main([str(run.path)])
    assert json.loads(run.metrics.read_text())["counts"]["abnormal_frames"] == 14
