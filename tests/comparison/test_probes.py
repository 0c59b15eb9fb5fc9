"""Pretext runs stand apart from detectors, with words that fit them: chance and probes."""

import json
from pathlib import Path

import pytest
from test_collect_and_table import write_run

from vad.cli.compare import report
from vad.comparison.collect import Row, Setting, find_runs, rows
from vad.comparison.probes import probe_sentences
from vad.comparison.table import tables

CHANCE = {"order": 0.5, "speed": 0.25, "pretext_accuracy": 0.375}


def write_pretext_run(path: Path, **figures: list[float]) -> Path:
    """A run whose accuracies are 0.8 unless others are given, [value, low, high] by name."""
    measured = {**{name: [0.8, 0.7, 0.9] for name in CHANCE}, **figures}
    path.mkdir(parents=True)
    content = {
        "method": "AnomalySSL",
        "benchmark": "UCSDPed2",
        "protocol": "pretext",
        "grid": "clips",
        "headline": "pretext_accuracy",
        "metrics": {name: dict(zip(("value", "low", "high"), f, strict=True)) for name, f in measured.items()},
        "constant": {name: CHANCE[name.partition("_frozen")[0].partition("_blank")[0]] for name in measured},
        "chain": {},
        "counts": {"clips": 1024, "videos": 7, "training_videos": 63},
    }
    (path / "metrics.json").write_text(json.dumps(content))
    (path / "provenance.json").write_text(json.dumps({"clips_per_second": 48.2, "seconds": {"fit": 90.0}}))
    return path


def row_of(path: Path) -> Row:
    ((row,),) = rows(find_runs([path])).values()
    return row


def test_pretext_runs_are_a_table_of_their_own(tmp_path: Path) -> None:
    write_pretext_run(tmp_path / "ssl" / "base" / "seed-0")
    write_run(tmp_path / "lbr" / "base" / "seed-0", 0.9)
    found = rows(find_runs([tmp_path]))
    assert Setting("UCSDPed2", "pretext", "clips", 1024) in found and len(found) == 2
    table = next(table for table in tables(found) if table.setting.pretext)
    assert table.title == "UCSDPed2, pretext, 1,024 clips of held-out training videos"
    cells = dict(zip(table.headings, table.lines[0].cells, strict=True))
    assert (cells["pretext_accuracy [95 %]"], cells["speed"], cells["clips/s"]) == ("80.0 [70.0, 90.0]", "80.0", "48")
    assert "frames/s" not in cells


def test_chance_is_said_once_of_rows_with_the_same_tasks(tmp_path: Path) -> None:
    first, second = (row_of(write_pretext_run(tmp_path / name / "base" / "seed-0")) for name in ("a", "b"))
    assert probe_sentences([first, second]) == ["chance is 50.0 in order, 25.0 in speed"]


@pytest.mark.parametrize(("low", "said"), [(0.26, True), (0.25, False)])
def test_what_is_told_without_time_better_than_by_chance_is_named(tmp_path: Path, low: float, said: bool) -> None:
    row = row_of(write_pretext_run(tmp_path / "a" / "base" / "seed-0", speed_frozen=[0.4, low, 0.5]))
    hints = [sentence for sentence in probe_sentences([row]) if "shortcut" in sentence]
    wanted = f"a: speed is told of clips that repeat one frame too, 40.0 [{100 * low:.1f}, 50.0], "
    assert hints == [wanted + "which hints at a shortcut"] * said


def test_the_page_explains_what_is_there_and_nothing_else(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_pretext_run(tmp_path / "ssl" / "base" / "seed-0", speed_frozen=[0.4, 0.3, 0.5])
    report(find_runs([tmp_path / "ssl"]), tmp_path / "alone")
    page = (tmp_path / "alone" / "comparison.html").read_text().split("<script")[0]
    assert "repeat one frame" in page and "<th>speed_frozen</th>" in page
    assert "no curves" not in capsys.readouterr().out
    for nonsense in ("constant score", "kind of anomaly", "frames/s", "raw frame scores", "Score curves"):
        assert nonsense not in page, nonsense
    write_run(tmp_path / "lbr" / "base" / "seed-0", 0.9)
    report(find_runs([tmp_path / "ssl", tmp_path / "lbr"]), tmp_path / "both")
    page = (tmp_path / "both" / "comparison.html").read_text()
    assert "raw frame scores" in page and "repeat one frame" in page and "lbr: a constant score gets 50.0" in page
