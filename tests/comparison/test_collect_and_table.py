"""Runs are put together by seed, ranked within one protocol alone, and every figure of the table is in the runs."""

import csv
import io
import json
from pathlib import Path

import pytest

from vad.comparison.collect import Setting, find_runs, rows
from vad.comparison.table import comma_separated, markdown, tables
from vad.errors import RunError, VadError
from vad.runs import RunFolder, move_aside


def write_run(
    path: Path, value: float, *, protocol: str = "unsupervised_partial", benchmark: str = "UCSDPed2", **metrics: float
) -> Path:
    figures = {"micro_auroc_smoothed": [value, value - 0.1, value + 0.05]}
    figures |= {name: [figure, None, None] for name, figure in metrics.items()}
    path.mkdir(parents=True)
    content = {
        "method": "LBRSPR",
        "benchmark": benchmark,
        "protocol": protocol,
        "grid": "frames",
        "headline": "micro_auroc_smoothed",
        "metrics": {n: dict(zip(("value", "low", "high"), f, strict=True)) for n, f in figures.items()},
        "constant": {"micro_auroc_smoothed": 0.5},
        "chain": {"steps": [], "leaks": []},
        "counts": {"videos": 12, "frames": 2010, "abnormal_frames": 1648},
    }
    (path / "metrics.json").write_text(json.dumps(content))
    (path / "provenance.json").write_text(
        json.dumps({"parameters": 2_534_671, "seconds": {"fit": 5400.0}, "frames_per_second": 123.4})
    )
    return path


def test_seeds_of_one_experiment_become_one_row_with_mean_and_deviation(tmp_path: Path) -> None:
    for seed, value in enumerate((0.90, 0.94)):
        write_run(tmp_path / "lbr_spr_ucsd_ped2" / "base" / f"seed-{seed}", value)
    ((row,),) = rows(find_runs([tmp_path])).values()
    assert row.name == "lbr_spr_ucsd_ped2"
    estimate = row.estimate("micro_auroc_smoothed")
    assert estimate is not None and estimate.value == pytest.approx(0.92)
    assert (estimate.low, estimate.high) == (pytest.approx(0.82), pytest.approx(0.97))
    assert row.deviation("micro_auroc_smoothed") == pytest.approx(0.0282842712)


def test_a_metric_that_one_seed_lacks_is_shown_for_none(tmp_path: Path) -> None:
    write_run(tmp_path / "e" / "base" / "seed-0", 0.9, rbdc_derived=0.6)
    write_run(tmp_path / "e" / "base" / "seed-1", 0.9)
    ((row,),) = rows(find_runs([tmp_path])).values()
    assert row.estimate("rbdc_derived") is None
    assert "rbdc_derived" not in row.names()


def test_protocols_are_never_ranked_together_and_the_best_stands_first(tmp_path: Path) -> None:
    write_run(tmp_path / "a" / "base" / "seed-0", 0.90)
    write_run(tmp_path / "b" / "base" / "seed-0", 0.95)
    write_run(tmp_path / "c" / "base" / "seed-0", 0.99, protocol="one_class")
    found = rows(find_runs([tmp_path]))
    assert [row.name for row in found[Setting("UCSDPed2", "unsupervised_partial", "frames", 2010)]] == ["b", "a"]
    assert [row.name for row in found[Setting("UCSDPed2", "one_class", "frames", 2010)]] == ["c"]


def test_runs_over_other_frames_stand_apart(tmp_path: Path) -> None:
    write_run(tmp_path / "a" / "base" / "seed-0", 0.90)
    small = write_run(tmp_path / "b" / "base" / "seed-0", 0.95)
    metrics = json.loads((small / "metrics.json").read_text())
    metrics["counts"]["frames"] = 180
    (small / "metrics.json").write_text(json.dumps(metrics))
    assert [len(members) for members in rows(find_runs([tmp_path])).values()] == [1, 1]


def test_a_variant_is_named_beside_its_experiment_and_a_test_elsewhere_by_its_run(tmp_path: Path) -> None:
    write_run(tmp_path / "a" / "dim=8-1a2b3c" / "seed-0", 0.9)
    write_run(tmp_path / "a" / "dim=8-1a2b3c" / "seed-0" / "test" / "UCSDPed1", 0.7, benchmark="UCSDPed1")
    names = {
        run.setting.benchmark: run.name for run in find_runs([tmp_path / "a" / "dim=8-1a2b3c" / "seed-0", tmp_path])
    }
    assert names == {"UCSDPed2": "a · dim=8-1a2b3c", "UCSDPed1": "a · dim=8-1a2b3c"}


def test_a_run_that_was_moved_aside_is_no_further_seed(tmp_path: Path) -> None:
    run = RunFolder(write_run(tmp_path / "a" / "base" / "seed-0", 0.5))
    aside = move_aside(run)
    assert aside is not None
    write_run(run.path, 0.9)
    assert [found.folder.path for found in find_runs([tmp_path])] == [run.path]
    assert [found.folder.path for found in find_runs([aside])] == [aside], "named itself it is compared"


def test_a_test_with_other_settings_is_no_further_seed(tmp_path: Path) -> None:
    run = write_run(tmp_path / "a" / "base" / "seed-0", 0.9)
    write_run(run / "test" / "UCSDPed2,paper_chain=null-1a2b3c", 0.8)
    found = find_runs([tmp_path])
    assert sorted(run.name for run in found) == ["a", "a · paper_chain=null-1a2b3c"]


def test_tables_hold_the_figures_of_the_runs(tmp_path: Path) -> None:
    write_run(tmp_path / "a" / "base" / "seed-0", 0.9, rbdc_derived=0.634)
    found = rows(find_runs([tmp_path]))
    (table,) = tables(found)
    cells = dict(zip(table.headings, table.lines[0].cells, strict=True))
    assert cells["micro_auroc_smoothed [95 %]"] == "90.0 [80.0, 95.0]"
    assert cells["rbdc_derived"] == "63.4"
    assert (cells["parameters"], cells["fit"], cells["frames/s"], cells["deviation"]) == ("2.53 M", "1.5 h", "123", "–")
    assert "| a | 90.0 [80.0, 95.0] |" in markdown([table], {table.setting: ["a is best"]})
    lines = list(csv.DictReader(io.StringIO(comma_separated(found))))
    assert {line["metric"]: line["value"] for line in lines} == {"micro_auroc_smoothed": "0.9", "rbdc_derived": "0.634"}


@pytest.mark.parametrize(
    ("content", "words"),
    [("{", "cannot be read as JSON"), ("{}", "is not what 'vad test' writes"), ("[]", "metrics.json")],
)
def test_a_damaged_metrics_file_is_named(tmp_path: Path, content: str, words: str) -> None:
    (tmp_path / "metrics.json").write_text(content)
    with pytest.raises(VadError, match=r"metrics\.json") as caught:
        find_runs([tmp_path])
    assert words in str(caught.value)


def test_a_folder_without_runs_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="vad test"):
        find_runs([tmp_path])
    with pytest.raises(RunError, match="no such run folder"):
        find_runs([tmp_path / "nothing"])
