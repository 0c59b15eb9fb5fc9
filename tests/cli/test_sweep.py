"""`vad sweep` carries out every cell of a grid, continues where it stopped, and ends with their table."""

import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from ped_tree import write_experiment, write_ped_tree

from vad import stages
from vad.cli.experiment import parse_settings
from vad.cli.main import main
from vad.comparison.collect import find_runs, rows
from vad.errors import VadError
from vad.runs import RunFolder, decide


@pytest.fixture
def sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three rows of two seeds, two of them overlays; one row cannot be trained."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VAD_RUN", "")
    monkeypatch.setenv("VAD_DATA", str(write_ped_tree(tmp_path / "data")))
    experiment = Path(write_experiment(tmp_path)[1])
    experiment.write_text(experiment.read_text().replace("max_epochs: 3", "max_epochs: 1"))
    rows = tmp_path / "rows"
    rows.mkdir()
    (rows / "wide.yaml").write_text("model: {init_args: {width: 3}}\n")
    (rows / "no weights.yaml").write_text("model: {init_args: {weighting: none}}\n")
    path = tmp_path / "ablation.yaml"
    path.write_text(f"""
method: grid
command: ["${{env}}", vad, run, --config, {experiment}, "${{args}}"]
parameters:
  config: {{values: [{experiment}, rows/wide.yaml, rows/no weights.yaml]}}
  log: {{value: csv}}
  seed_everything: {{values: [0, 1]}}
""")
    return path


def test_rows_are_named_after_their_files(sweep: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    experiment = str(tmp_path / "small_lbr.yaml")
    for words, name in (
        ([], "base"),
        (["--config", experiment], "base"),
        (["--config", "rows/wide.yaml"], "wide"),
        (["--config", "rows/wide.yaml", "--config", "rows/no weights.yaml"], "wide,no-weights"),
        (["--config", "rows/wide.yaml", "--model.width", "3"], "wide"),
        (["--config", "rows/wide.yaml", "--name", "mine"], "mine"),
    ):
        assert parse_settings(["--config", experiment, *words]).variant == name
    other = parse_settings(["--config", experiment, "--config", "rows/wide.yaml", "--data.batch_size", "4"]).variant
    assert other.startswith("wide,batch_size=4-")


def test_a_dry_run_prints_cells_and_does_nothing(sweep: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sweep", str(sweep), "--dry-run", "--data.batch_size", "4"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 6 and not Path("runs").exists() and not Path("cache").exists()
    assert "/small_lbr/wide," in lines[2] and "/seed-0: vad run --config" in lines[2]
    assert lines[2].endswith("--config=rows/wide.yaml --log=csv --seed_everything=0 --data.batch_size 4")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--workers", "0"], "--workers: expected at least 1, got 0"),
        (["--model.widht", "3"], r"the cell --config .*: model: LBRSPR takes no 'widht'"),
        (["--name", "x"], "two cells would be one run, .*/small_lbr/x/seed-0"),
    ],
)
def test_mistakes_show_before_the_first_hour_of_work(
    sweep: Path, words: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["sweep", str(sweep), *words]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and re.search(says, said), said
    assert not Path("cache").exists()


def test_from_a_grid_to_its_table_and_nothing_twice(
    sweep: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    fit = stages.fit

    def without_room(experiment: stages.Experiment, folder: RunFolder) -> object:
        if experiment.settings.variant.startswith("wide"):
            raise VadError("the disk is full")
        return fit(experiment, folder)

    with monkeypatch.context() as patch:
        patch.setattr(stages, "fit", without_room)
        assert main(["sweep", str(sweep)]) == 1
    said = capsys.readouterr().out
    failed = [line for line in said.splitlines() if "/wide/seed-" in line and "failed: the disk is full" in line]
    assert len(failed) == 4, "once when it happens and once below the table, for each seed"
    assert said.count("micro_auroc_smoothed 0.") + said.count("micro_auroc_smoothed 1.") == 4
    out = tmp_path / "runs" / "sweeps" / "ablation"
    markdown, page = (out / "comparison.md").read_text(), (out / "comparison.html").read_text()
    assert "small_lbr · no-weights" in markdown and "the disk is full" in page
    assert "/wide/seed-1: failed: the disk is full" in markdown
    (table,) = rows(find_runs(["runs"])).values()
    assert {row.name: len(row.runs) for row in table} == {"small_lbr": 2, "small_lbr · no-weights": 2}
    assert all(row.deviation(row.headline) is not None for row in table)

    experiment = str(tmp_path / "small_lbr.yaml")
    alone = parse_settings(["--config", experiment, "--seed_everything", "1"])
    base = next(run.folder for run in find_runs(["runs"]) if run.folder.path.parts[-2:] == ("base", "seed-1"))
    assert decide(alone.config, base).kind == "finished", "vad run of the same options finds it done"

    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").rglob("detector.ckpt")}
    assert len(before) == 4 and main(["sweep", str(sweep)]) == 0
    after = {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").rglob("detector.ckpt")}
    assert len(after) == 6 and before.items() <= after.items()
    assert "1/2 " in capsys.readouterr().out


def start(sweep: Path, *words: str) -> subprocess.Popen[str]:
    """A sweep in a session of its own, which hears Ctrl-C also where the tests were started in the background."""
    command = [sys.executable, "-m", "vad.cli.main", "sweep", str(sweep), *words]
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def alive(session: int) -> list[int]:
    """The processes of a session that are left."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            state, _, _, its = (folder / "stat").read_text().rpartition(")")[2].split()[:4]
        except OSError:
            continue
        if int(its) == session and state != "Z":
            found.append(int(folder.name))
    return found


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks at processes through /proc")
@pytest.mark.parametrize("ended", [signal.SIGINT, signal.SIGKILL])
def test_a_stopped_sweep_leaves_no_process_and_continues(sweep: Path, tmp_path: Path, ended: signal.Signals) -> None:
    text = sweep.read_text().replace(", rows/wide.yaml, rows/no weights.yaml", "")
    sweep.write_text(text.replace("[0, 1]", "[0, 1, 2]"))
    words = ["--workers", "2", "--trainer.max_epochs", "40"]
    process = start(sweep, *words)
    deadline = time.monotonic() + 400
    while len(list((tmp_path / "runs").rglob("last.ckpt"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(ended)
    said = process.communicate(timeout=300)[1]
    if ended == signal.SIGINT:
        assert process.returncode == 130 and said.endswith("vad sweep: stopped; the same command continues\n"), said
    while alive(process.pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not alive(process.pid)
    begun = {path.parents[1] for path in (tmp_path / "runs").rglob("last.ckpt")}
    assert len(begun) == 2, "one of each worker"
    process = start(sweep, *words)
    said = process.communicate(timeout=400)[1]
    assert process.returncode == 0, said
    assert len(list((tmp_path / "runs").rglob("metrics.json"))) == 3
    for folder in begun:
        epochs = [line.split(",")[0] for line in (folder / "log.csv").read_text().splitlines()[1:]]
        assert epochs == [str(epoch) for epoch in range(40)], "no epoch twice and none left out"


def test_each_cell_is_a_wandb_run_of_its_own_in_the_sweep_s_group(
    sweep: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    groups = []
    monkeypatch.setenv("WANDB_MODE", "offline")
    from lightning.pytorch.loggers import WandbLogger

    made = WandbLogger.__init__

    def init(self: WandbLogger, **options: object) -> None:
        groups.append((options["id"], options["group"], options["mode"]))
        made(self, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(WandbLogger, "__init__", init)
    sweep.write_text(sweep.read_text().replace("value: csv", "value: wandb").replace(", rows/no weights.yaml", ""))
    sweep.write_text(sweep.read_text().replace("values: [0, 1]", "value: 0"))
    assert main(["sweep", str(sweep)]) == 0
    assert len({identifier for identifier, _, _ in groups}) == 2 and len(groups) == 4
    assert {group for _, group, _ in groups} == {"ablation"} and {mode for *_, mode in groups} == {"offline"}
    for run in find_runs(["runs"]):
        identifier = (run.folder.path / "wandb" / "id").read_text().strip()
        offline = list((run.folder.path / "wandb").glob("offline-run-*"))
        assert offline and all(identifier in path.name for path in offline)  # W&B adds -1 within a second


def test_an_agent_s_run_keeps_the_agent_s_id_and_goes_online(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from vad import tracking

    monkeypatch.delenv("WANDB_MODE", raising=False)
    monkeypatch.setenv("WANDB_RUN_ID", "agents")
    run, settings = RunFolder(tmp_path / "run"), parse_settings(write_experiment(tmp_path))
    assert tracking.run_id(run) != "agents"
    modes = []
    for sweep_id in (None, "abc"):
        if sweep_id:
            monkeypatch.setenv("WANDB_SWEEP_ID", sweep_id)
        logger = tracking.tracker("wandb", run, settings, identifier=tracking.run_id(run), about={})
        modes.append(logger._wandb_init["mode"])  # type: ignore[union-attr]
    assert modes == ["offline", "online"] and tracking.run_id(run) == "agents"
