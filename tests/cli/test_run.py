"""`vad run` is extract, fit and test for every seed, and ends where one of them fails."""

from pathlib import Path

import pytest
from ped_tree import without_log, write_experiment, write_ped_tree

from vad.cli import run
from vad.errors import ConfigError
from vad.runs import RunFolder


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """The verbs that would have been run."""
    made: list[tuple[str, ...]] = []

    def verb(name: str, arguments: list[str]) -> int:
        made.append((name, *arguments))
        return 0

    monkeypatch.setattr(run, "verb", verb)
    monkeypatch.setattr(run, "summary", lambda settings: str(settings.folder.path))
    return made


def test_extraction_runs_once_and_every_seed_is_fitted_and_tested(calls: list[tuple[str, ...]], tmp_path: Path) -> None:
    options = write_experiment(tmp_path)
    assert run.main([*options, "--seeds", "1,2", "--fresh", "--processes", "2"]) == 0
    assert [call[0] for call in calls] == ["extract", "fit", "test", "fit", "test"]
    assert "--fresh" not in calls[0] and "--processes" in calls[0] and "--processes" not in calls[1]
    assert calls[1][-2:] == ("--seed_everything", "1") and calls[3][-2:] == ("--seed_everything", "2")
    assert [Path(call[1]).name for call in calls if call[0] == "test"] == ["seed-1", "seed-2"]


def test_it_stops_at_the_first_verb_that_fails(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    made: list[str] = []
    monkeypatch.setattr(run, "verb", lambda name, arguments: made.append(name) or 2 * (name == "fit"))
    assert run.main(write_experiment(tmp_path)) == 2
    assert made == ["extract", "fit"]


def test_mistakes_show_before_the_first_hour_of_work(calls: list[tuple[str, ...]], tmp_path: Path) -> None:
    for words in (["--model.widht", "3"], ["--seeds", "one"], ["--seeds"]):
        with pytest.raises(ConfigError):
            run.main([*write_experiment(tmp_path), *words])
    assert calls == []


def test_it_is_refused_under_a_launcher(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "x")
    with pytest.raises(ConfigError, match="torchrun"):
        run.main(write_experiment(tmp_path))


def test_from_frames_to_metrics_and_nothing_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("VAD_DATA", str(write_ped_tree(tmp_path / "data")))
    options = without_log([*write_experiment(tmp_path), "--trainer.max_epochs", "1"])
    assert run.main(options) == 0
    (metrics,) = (tmp_path / "runs").rglob("metrics.json")
    said = capfd.readouterr().out
    assert str(metrics.parent) in said.splitlines()[-1] and "micro_auroc_smoothed" in said.splitlines()[-1]
    folder = RunFolder(metrics.parent)
    before = folder.detector.stat().st_mtime_ns, folder.scores.stat().st_mtime_ns
    assert run.main(options) == 0
    assert (folder.detector.stat().st_mtime_ns, folder.scores.stat().st_mtime_ns) == before
