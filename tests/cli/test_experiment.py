"""One parser for all verbs: an override is found everywhere, and a mistake is one line that names the key."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vad.cli.experiment import arrange, parse, parse_settings, run_arguments
from vad.errors import ConfigError, VadError
from vad.runs import RunFolder, identity, write_config

EXPERIMENT = """
seed_everything: 0
model:
  class_path: vad.methods.lbr_spr.LBRSPR
  init_args:
    width: 4
    bands: ${data.init_args.bands}
    channels: 1
data:
  class_path: vad.datamodules.cubes.CubeData
  init_args:
    benchmark: UCSDPed2
    batch_size: 16
    motion: {class_path: vad.extract.motion.OpticalFlow, init_args: {threshold: 2.0}}
    seed: ${seed_everything}
trainer: {max_epochs: 3}
paper_chain:
  - fill: {value: -20}
"""

Parse = Callable[..., Any]


@pytest.fixture
def experiment(tmp_path: Path) -> Path:
    path = tmp_path / "experiment.yaml"
    path.write_text(EXPERIMENT)
    return path


def test_an_override_is_found_everywhere_it_is_interpolated(experiment: Path) -> None:
    parsed = parse(["--data.bands", "2", "--config", str(experiment), "--seed_everything", "7"])
    assert parsed.model.bands == 2 and parsed.data.bands == (2, 1)
    assert parsed.seed == parsed.data.seed == 7
    assert parsed.config["model"]["init_args"]["bands"] == 2


def test_a_second_file_reaches_what_the_first_interpolates(experiment: Path, tmp_path: Path) -> None:
    second = tmp_path / "second.yaml"
    second.write_text("seed_everything: 5\ndata: {init_args: {bands: 3}}\ntrainer: {limit_train_batches: 1}\n")
    parsed = parse(["--config", str(experiment), "--config", str(second)])
    assert (parsed.model.bands, parsed.data.seed) == (3, 5)
    assert parsed.config["trainer"]["max_epochs"] == 3


def test_a_trainer_file_keeps_the_experiments_schedule_wherever_it_stands(experiment: Path, tmp_path: Path) -> None:
    trainer = tmp_path / "trainer.yaml"
    trainer.write_text("accelerator: cpu\ndevices: 1\n")
    for words in (
        ["--trainer", str(trainer), "--config", str(experiment)],
        ["--config", str(experiment), f"--trainer={trainer}"],
    ):
        config = parse_settings(words).config["trainer"]
        assert (config["accelerator"], config["devices"], config["max_epochs"]) == ("cpu", 1, 3)
    overridden = parse_settings(["--trainer.devices", "2", "--trainer", str(trainer), "--config", str(experiment)])
    assert int(overridden.config["trainer"]["devices"]) == 2


def test_every_order_of_words_means_the_same(experiment: Path) -> None:
    words = [["--config", str(experiment)], ["--data.batch_size", "8"], ["--model.width=8"]]
    configs = [parse_settings([w for pair in order for w in pair]).config for order in (words, words[::-1])]
    assert configs[0] == configs[1]


def test_a_benchmark_takes_no_argument_over_from_the_one_before(experiment: Path, tmp_path: Path) -> None:
    rooted = ["--config", str(experiment), "--benchmark.root", "/of/ped2", "--benchmark", "UCSDPed1"]
    benchmark = parse_settings(rooted).config["data"]["init_args"]["benchmark"]
    assert benchmark["class_path"].endswith("UCSDPed1") and benchmark["init_args"]["root"] is None
    second = tmp_path / "second.yaml"
    second.write_text("data: {init_args: {benchmark: UCSDPed1}}\n")
    first = tmp_path / "first.yaml"
    first.write_text(EXPERIMENT.replace("UCSDPed2", "{class_path: UCSDPed2, init_args: {root: /of/ped2}}"))
    benchmark = parse_settings(["--config", str(first), "--config", str(second)]).config["data"]["init_args"][
        "benchmark"
    ]
    assert benchmark["class_path"].endswith("UCSDPed1") and benchmark["init_args"]["root"] is None


def test_short_forms_of_the_benchmark_are_written_out(tmp_path: Path) -> None:
    assert arrange(["--benchmark", "UCSDPed2", "--benchmark.root", "/x"]) == [
        *("--data.benchmark", "null", "--data.benchmark", "UCSDPed2", "--data.benchmark.root", "/x"),
    ]
    assert arrange(["--benchmark", str(tmp_path)])[2:] == [
        *("--data.benchmark", "Footage", "--data.benchmark.root", str(tmp_path)),
    ]


def test_a_part_may_be_replaced_by_another_class(experiment: Path) -> None:
    words = [
        "--config",
        str(experiment),
        "--data.motion",
        "vad.extract.motion.FrameDifference",
        "--data.motion.blur",
        "5",
    ]
    parsed = parse(words)
    assert parsed.data.crops.objects.motion.content()["class"] == "FrameDifference"
    assert parsed.data.crops.objects.motion.blur == 5


def test_the_same_experiment_gives_the_same_weights(experiment: Path) -> None:
    first, second, other = (parse(["--config", str(experiment), "--seed_everything", s]) for s in ("3", "3", "4"))
    weights = [next(e.model.networks.parameters()) for e in (first, second, other)]
    assert weights[0].equal(weights[1]) and not weights[0].equal(weights[2])


def test_a_run_is_parsed_again_from_its_own_configuration(experiment: Path, tmp_path: Path) -> None:
    settings = parse_settings(["--config", str(experiment), "--data.bands", "2", "--fresh"])
    run = RunFolder(tmp_path / "run")
    write_config(run, settings.config)
    again = parse_settings(run_arguments(run, ["--trainer.devices", "2"]))
    assert identity(again.config) == identity(settings.config)
    assert int(again.config["trainer"]["devices"]) == 2 and not again.fresh


def test_runs_are_named_after_file_overrides_and_seed(experiment: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VAD_RUNS", "/runs")
    config = ["--config", str(experiment)]
    assert str(parse_settings(config).folder.path) == "/runs/experiment/base/seed-0"
    assert parse_settings([*config, "--seed_everything", "2"]).variant == "base", "the seed has a folder of its own"
    assert parse_settings([*config, "--model.width", "4"]).variant == "base", "the file says so anyway"
    assert parse_settings([*config, "--trainer.devices", "2", "--log", "csv"]).variant == "base"
    assert parse_settings([*config, "--model.width", "8"]).variant.startswith("model.width=8-")
    assert str(parse_settings([*config, "--name", "mine"]).folder.path) == "/runs/experiment/mine/seed-0"
    assert str(parse_settings([*config, "--out", "/elsewhere"]).folder.path) == "/elsewhere"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--model.widht", "8"], r"model: LBRSPR takes no 'widht' \(did you mean 'width'\?\)"),
        (["--model.width", "wide"], "model.width: expected int, got wide"),
        (["--data.motion.threshold", "x"], "data.motion.threshold: expected float, got x"),
        (["--data.benchmark.rot", "/x"], r"data.benchmark: UCSDPed2 takes no 'rot' \(did you mean 'root'\?\)"),
        (["--data.protocol", "partial"], "data.protocol: expected one of 'one_class', .*, got partial"),
        (["--trainer.max_epochs", "x"], "trainer.max_epochs: expected int, got x"),
        (["--trainer.max_epoch", "3"], "there is no option --trainer.max_epoch"),
        (["--checkpoint", "first"], "checkpoint: expected one of 'last', 'best', got first"),
        (["--benchmark", "UCSDPed"], r"there is no benchmark 'UCSDPed' \(did you mean"),
        (["--benchmark", "/no/such/folder"], "there is no folder /no/such/folder"),
        (["--model", "vad.methods.nothing.Nothing"], "model: there is no such class"),
        (["--config", "nowhere.yaml"], "--config: there is no file nowhere.yaml"),
        (["--config", ""], "--config: a file must follow"),
        (["--trainer", "nowhere.yaml"], "--trainer: there is no file nowhere.yaml"),
        (["--model.width", "${nothing.here}"], r"\$\{nothing.here\} names no key of the experiment"),
        (["--seed_everything", "true"], "expected"),
        (["word"], "'word' follows no option"),
        (["--out", ""], "--out: a folder must follow"),
        (["--name", "../../elsewhere"], "--name: expected a name for a folder"),
        (["--name", ""], "--name: expected a name for a folder"),
        (["--seed_everything", "-1"], "seed_everything: expected 0 to 4294967295, got -1"),
        (["--data.batch_size", "0"], "batch_size: expected at least 1, got 0"),
        (["--data.checkpoint_every", "0"], "checkpoint_every: expected at least 1, got 0"),
        (["--data.num_workers", "-1"], "num_workers: expected at least 0, got -1"),
        (["--data.size", "0"], "size, offsets: expected at least one pixel and one frame, got 0"),
        (["--data.offsets", "[]"], "size, offsets: expected at least one pixel and one frame"),
        (["--model.width", "0"], "width: expected at least 1, got 0"),
        (["--data.motion.threshold", "${data.init_args.motion.init_args.threshold}"], "threshold: Recursive"),
        (["--data.seed", "${oc.env:NO_SUCH_VARIABLE}"], "data.init_args.seed: .*NO_SUCH_VARIABLE"),
        (["--data.seed", "${seed"], r"data.init_args.seed: an interpolation is written \$\{key\}"),
        (["--data.benchmark", "[1]"], "--benchmark|data.benchmark"),
        (["--model", "vad.methods.lbr_spr.LBRSRP"], r"no such class .* \(did you mean 'LBRSPR'\?\)"),
        (["--paper_chain", "[{fil: {value: 1}}]"], "paper_chain: there is no step 'fil'"),
        (["--paper_chain", "[{fill: {value: a}}]"], "paper_chain: step fill cannot be run with"),
    ],
)
def test_a_mistake_is_one_line_that_names_the_key(experiment: Path, words: list[str], says: str) -> None:
    with pytest.raises(VadError, match=says) as caught:
        parse(["--config", str(experiment), *words])
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 300


@pytest.mark.parametrize("text", ["", "- a\n", "model: [\n", "modell: {}\n", "model: 3\n"])
def test_a_file_that_is_no_experiment_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "e.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        parse(["--config", str(path)])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "expected keys such as model, data and trainer, found nothing"),
        ("# a comment alone\n", "found nothing"),
        ("- a\n", "found a list"),
        ("words\n", "found a single value"),
        ("model: {}\nmodel: {}\n", "line 2: 'model' stands there twice"),
        ("data:\n  x: [1,\n", "line 3: is no YAML"),
        ("a: &a [*a]\n", "an alias in it refers to itself"),
        ("x: !!python/object/apply:os.system ['true']\n", "line 1: the tag .*os.system is not taken"),
        ("modell: {class_path: a.B}\n", r"takes no 'modell' \(did you mean 'model'\?\)"),
        ("trainer: {max_epoch: 3}\n", r"trainer takes no 'max_epoch' \(did you mean 'max_epochs'\?\)"),
    ],
)
def test_a_wrong_file_is_named_with_its_line(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "e.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=says):
        parse_settings(["--config", str(path)])


def test_a_binary_file_and_a_folder_are_no_experiments(tmp_path: Path) -> None:
    path = tmp_path / "e.yaml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="is no text in UTF-8"):
        parse_settings(["--config", str(path)])
    with pytest.raises(ConfigError, match="Is a directory"):
        parse_settings(["--config", str(tmp_path)])


def test_a_file_that_explodes_is_refused_before_it_does(tmp_path: Path) -> None:
    path = tmp_path / "e.yaml"
    path.write_text(
        "a0: &a0 [x, x, x]\n" + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 30))
    )
    with pytest.raises(ConfigError, match="is too large"):
        parse_settings(["--config", str(path)])


def test_an_experiment_is_asked_for() -> None:
    with pytest.raises(ConfigError, match="--config"):
        parse_settings([])


def test_a_machine_without_the_wanted_device_is_told_so(experiment: Path) -> None:
    parsed = parse(["--config", str(experiment), "--trainer.accelerator", "tpu"])
    with pytest.raises(ConfigError, match="trainer: "):
        parsed.trainer(logger=False)
