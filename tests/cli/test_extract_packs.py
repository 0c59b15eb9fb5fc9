"""`vad extract packs` says what it found and did; `vad extract --config` takes packs as they lie in the cache."""

import json
from pathlib import Path

import numpy as np
import pack_trees
import pytest
from pack_trees import UCF_TEST, rtfm, save, values

from vad.cache import cache_root
from vad.cli.main import main

EXPERIMENT = """
seed_everything: 0
model:
  class_path: vad.methods.lbr_spr.LBRSPR
data:
  class_path: vad.datamodules.bags.BagData
  init_args:
    benchmark: {{class_path: UCFCrime, init_args: {{root: {lists}}}}}
    batch_size: 4
    features: [{features}]
trainer: {{max_epochs: 1, accelerator: cpu, devices: 1}}
"""


@pytest.fixture
def words(tmp_path: Path) -> list[str]:
    """The command, but for the folder."""
    pack_trees.ucf_crime(tmp_path / "lists")
    benchmark = ["--benchmark", "UCFCrime", "--benchmark.root", str(tmp_path / "lists")]
    return ["extract", "packs", *benchmark, "--name", "i3d", "--source"]


def test_what_was_found_and_done_in_words(words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = rtfm(tmp_path / "pack")
    assert main([*words, str(source)]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out == [
        f"{source}: 5 files belong to 5 videos, 2 of weak_train and 3 of test",
        "names: <video>_i3d.npy",
        "arrays: (T, C, D), crops 10 in weak_train and 10 in test, D = 4",
        "rows of a video of n frames: ceil(n / 16) in 5 of 5 videos",
        f"ucf_crime/{next((cache_root() / 'ucf_crime').iterdir()).name}: 5 videos imported, 0 there already",
        "in an experiment:  features: [{class_path: vad.extract.packs.PackRecipe, init_args: {name: i3d, dim: 4}}]",
    ]
    assert main([*words, str(source)]) == 0
    assert "0 videos imported, 5 there already" in capsys.readouterr().out


def test_the_same_as_json(words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = rtfm(tmp_path / "pack", UCF_TEST)
    save(source / "gt-ucf.npy", np.zeros(3))
    assert main([*words, str(source), "--on_broken", "skip", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["imported"] == 3 and found["layout"] == "time-crop" and found["crops"] == {"test": 10}
    assert list(found["skipped"]) == ["Abuse001_x264", "Normal_Videos001_x264"] and found["unknown"] == ["gt-ucf.npy"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--dim", "1024"], "the pack's vectors have 4 values, 1,024 were expected"),
        (["--layout", "tcd"], "layout"),
        (["--lengths", "any"], "lengths"),
        (["--snippet", "12"], "fit no rule"),
        (["--splits", "train"], "no split 'train'"),
        (["--name", "end"], "expected a word for the pack"),
        (["--surce", "x"], "surce"),
    ],
)
def test_mistakes_are_one_line(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    assert main([*words, str(rtfm(tmp_path / "pack")), *options]) == 2
    captured = capsys.readouterr()
    assert message in captured.err and captured.err.count("\n") == 1
    assert not list(cache_root().glob("*/*/*/entry.json"))


def test_what_is_ambiguous_names_the_option_that_decides(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = rtfm(tmp_path / "pack", rows=lambda frames: 10)
    assert main([*words, str(source)]) == 2
    assert "give --layout time-crop for (T, C, D) or crop-time for (C, T, D)" in capsys.readouterr().err
    assert main([*words, str(source), "--layout", "crop-time", "--lengths", "trust"]) == 0
    assert "no known rule in 4 of 5 videos" in " ".join(capsys.readouterr().out.split(", "))


def test_an_experiment_takes_the_pack_or_names_the_command(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = rtfm(tmp_path / "pack")
    assert main([*words, str(source), "--splits", "test"]) == 0
    features = capsys.readouterr().out.splitlines()[-1].partition("features: [")[2].removesuffix("]")
    experiment = tmp_path / "experiment.yaml"
    experiment.write_text(EXPERIMENT.format(lists=tmp_path / "lists", features=features))
    extract = ["extract", "--config", str(experiment), "--log", "csv"]
    assert main(extract) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "2 of 5 videos have no entry of pack-" in said
    assert said.rstrip().endswith("vad extract packs --benchmark UCFCrime --source FOLDER --name i3d --dim 4")
    assert main([*words, str(source)]) == 0
    assert "2 videos imported, 3 there already" in capsys.readouterr().out
    assert main(extract) == 0
    assert ": 0 computed, 5 there already" in capsys.readouterr().out


def test_the_help_names_the_layouts(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["extract", "packs", "--help"])
    said = capsys.readouterr().out
    assert "segments32" in said and "crop-time" in said


def test_bad_values_leave_no_entry(words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = rtfm(tmp_path / "pack")
    array = values(26)
    array[3, 2, 1] = np.nan
    save(source / "UCF_Test_ten_crop_i3d" / "Abuse028_x264_i3d.npy", array)
    assert main([*words, str(source)]) == 2
    captured = capsys.readouterr()
    assert "row 3, channel 1: nan is not finite" in captured.err and captured.err.count("\n") == 1
    assert not list(cache_root().glob("*/*/Abuse028*"))
