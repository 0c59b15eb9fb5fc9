"""A sweep file means the same to `vad sweep` as to W&B, and a cell is the run that it would be alone."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from ped_tree import extract_here, without_log, write_experiment, write_ped_tree

from vad.cli.experiment import parse, parse_settings
from vad.errors import ConfigError
from vad.runs import RunFolder
from vad.stages import Experiment
from vad.sweeps import Cell, Outcome, Work, grid, read_sweep

PARAMETERS = """
  config: {values: [experiments/sweeps/plain.yaml, experiments/sweeps/top2k.yaml]}
  model.precise_batchnorm: {values: [true, false]}
  data.cover: {value: null}
  data.offsets: {distribution: categorical, values: [[-1, 0, 1], [0]]}
  model: {parameters: {width: {values: [2, 4]}, learning_rate: {value: 1.0e-5}}}
"""


def write_sweep(folder: Path, names: str = "  seed_everything: {values: [0, 1]}\n", **changes: str) -> Path:
    """A sweep file; a change to the empty text leaves its key out."""
    command = '["${env}", "vad", "run", "--config", "e.yaml", "${args}"]'
    keys = {"method": "grid", "command": command, **changes}
    path = folder / "sweep.yaml"
    text = "".join(f"{key}: {value}\n" for key, value in keys.items() if value)
    path.write_text(text + ("" if "parameters" in changes else f"parameters:\n{names}"))
    return path


def test_cells_have_the_words_that_wandb_s_agent_would_give(tmp_path: Path) -> None:
    utils = pytest.importorskip("wandb.sdk.launch.sweeps.utils")
    sweep = read_sweep(write_sweep(tmp_path, PARAMETERS, name="mine"))
    assert sweep.name == "mine" and len(sweep.cells) == 16 == len(set(sweep.cells))
    for config in ("plain", "top2k"):
        values = {
            "config": f"experiments/sweeps/{config}.yaml",
            "model.precise_batchnorm": False,
            "data.cover": None,
            "data.offsets": [-1, 0, 1],
            "model": {"width": 4, "learning_rate": 1e-5},
        }
        command = {"args": {name: {"value": value} for name, value in values.items()}}
        words = utils.create_sweep_command_args(command)["args"]
        assert ("--config", "e.yaml", *words) in sweep.cells


def test_the_parser_reads_what_the_agent_writes(tmp_path: Path) -> None:
    words = ["--model.precise_batchnorm=False", "--data.cover=None", "--data.offsets=[-1, 0, 1]", "--name=None"]
    words += ["--model={'width': 4, 'learning_rate': 1e-05}", "--seed_everything=3"]
    words += ["--data={'init_args': {'max_items': None, 'min_area': 50}}"]
    config = parse_settings([*write_experiment(tmp_path), *words]).config
    model, data = config["model"]["init_args"], config["data"]["init_args"]
    assert (model["precise_batchnorm"], model["width"], model["learning_rate"]) == (False, 4, 1e-5)
    assert (data["cover"], data["offsets"], data["max_items"], data["min_area"]) == (None, [-1, 0, 1], None, 50)
    assert data["batch_size"] == 8 and data["seed"] == 3 and config["name"] is None


def test_a_grid_is_every_combination_the_last_fastest() -> None:
    assert grid({"a": {"values": [1, 2]}, "b": {"value": "x"}, "c": {"values": [True, None]}}) == [
        {"a": 1, "b": "x", "c": True},
        {"a": 1, "b": "x", "c": None},
        {"a": 2, "b": "x", "c": True},
        {"a": 2, "b": "x", "c": None},
    ]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"method": "bayes"}, "method: expected grid, got bayes; .*'wandb sweep' takes the same file"),
        ({"method": ""}, "method: expected grid, got None"),
        ({"early_terminate": "{type: hyperband}"}, "early_terminate needs runs that report .*'wandb sweep'"),
        ({"run_cap": "3"}, "run_cap would leave out cells"),
        ({"paramters": "{}"}, "a sweep takes no 'paramters'"),
        ({"command": ""}, "command: expected a list"),
        ({"command": "[python, train.py, '${args}']"}, "command: expected 'vad', 'run'"),
        ({"command": "[vad, run, --config, e.yaml]"}, r"command: .*\$\{args\} once"),
        ({"command": "[vad, run, '${args}', '${args_json}']"}, r"only \$\{args\} may follow"),
        ({"parameters": "[1]"}, "parameters: expected names"),
        ({"parameters": "{a: 3}"}, "parameters.a: expected 'value'"),
        ({"parameters": "{a: {values: []}}"}, "parameters.a: expected 'value'"),
        ({"parameters": "{a: {min: 0, max: 1}}"}, "parameters.a: .*'wandb sweep'"),
        ({"parameters": "{a: {parameters: {b: {distribution: normal, mu: 0}}}}"}, r"parameters\.a\.parameters\.b: "),
    ],
)
def test_what_is_no_grid_is_refused_in_a_line(tmp_path: Path, changes: dict[str, str], says: str) -> None:
    with pytest.raises(ConfigError, match=says) as caught:
        read_sweep(write_sweep(tmp_path, **changes))
    assert "\n" not in str(caught.value) and str(tmp_path / "sweep.yaml") in str(caught.value)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sweeps")
    write_ped_tree(folder / "data")
    return folder


@pytest.fixture
def options(home: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The experiment, with everything extracted."""
    monkeypatch.setenv("VAD_DATA", str(home / "data"))
    monkeypatch.setenv("VAD_CACHE", str(home / "cache"))
    monkeypatch.setenv("VAD_RUN", "")
    words = without_log([*write_experiment(home), "--trainer.max_epochs", "2"])
    if not (home / "cache").exists():
        extract_here(parse(words).data)
    return words


def carry_out(options: Sequence[str], *cells: tuple[RunFolder, Sequence[str]]) -> list[Outcome]:
    """Cells in one worker, one after another, each in a folder of its own."""
    worker = Work(parse, "group").load("cpu")
    return [worker(Cell(str(run.path), (*options, *words, "--out", str(run.path)))) for run, words in cells]


def test_a_cell_after_others_gives_the_bytes_of_the_cell_alone(options: list[str], tmp_path: Path) -> None:
    first, failed, second, alone = (RunFolder(tmp_path / name) for name in ("first", "failed", "second", "alone"))
    seed = ["--seed_everything", "1"]
    outcomes = carry_out(
        options,
        (first, ["--trainer.deterministic", "true", "--trainer.precision", "bf16-mixed"]),
        (failed, ["--data.min_area", "60"]),  # of other data, which were not extracted
        (second, seed),
    )
    assert [outcome.error is None for outcome in outcomes] == [True, False, True]
    assert "vad extract" in str(outcomes[1].error) and "\n" not in str(outcomes[1].error)
    assert not torch.are_deterministic_algorithms_enabled()
    carry_out(options, (alone, seed))
    ours, theirs = (torch.load(run.detector, weights_only=True)["weights"] for run in (second, alone))
    assert ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert second.scores.read_bytes() == alone.scores.read_bytes()
    assert second.metrics.read_bytes() == alone.metrics.read_bytes()
    assert second.log.read_text().splitlines()[0] == alone.log.read_text().splitlines()[0]


def test_data_stay_over_cells_that_differ_in_their_seed(
    options: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    used = []

    def fit(experiment: Experiment, folder: RunFolder) -> None:
        used.append((experiment.data, experiment.data.seed, experiment.settings.group))

    monkeypatch.setattr("vad.stages.fit", fit)
    for name in ("finish", "test"):
        monkeypatch.setattr(f"vad.stages.{name}", lambda *_: None)
    held_out = ["--data.validation", "0.5"]
    words = [["--seed_everything", "1"], ["--seed_everything", "2", "--model.width", "3"], ["--data.batch_size", "4"]]
    words += [[*held_out, "--seed_everything", "1"], [*held_out, "--seed_everything", "2"]]
    outcomes = carry_out(options, *((RunFolder(tmp_path / str(i)), more) for i, more in enumerate(words)))
    assert [outcome.error for outcome in outcomes] == [None] * 5
    data = [data for data, _, _ in used]
    assert data[0] is data[1] and len({id(each) for each in data}) == 4, "what is held out depends on the seed"
    assert [seed for _, seed, _ in used] == [1, 2, 0, 1, 2] and {group for *_, group in used} == {"group"}


def test_a_finished_cell_is_left_alone_and_one_that_was_not_tested_is_tested(
    options: list[str], tmp_path: Path
) -> None:
    run = RunFolder(tmp_path / "run")
    carry_out(options, (run, []))
    before = run.detector.stat().st_mtime_ns
    run.metrics.unlink()
    shutil.rmtree(run.checkpoints)
    (outcome,) = carry_out(options, (run, []))
    assert outcome.error is None and run.detector.stat().st_mtime_ns == before
    assert json.loads(run.metrics.read_text())["headline"]


def test_a_failure_that_nobody_foresaw_is_a_line_too(
    options: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vad.stages.fit", lambda *_: [][1])
    (outcome,) = carry_out(options, (RunFolder(tmp_path / "run"), []))
    assert outcome.error == "IndexError: list index out of range (vad run shows where)"
