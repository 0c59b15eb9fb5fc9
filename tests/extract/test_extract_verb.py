"""`vad extract` computes what an experiment needs, or one link of it, and says what it did."""

import subprocess
import sys
from pathlib import Path

import pytest

from vad.cache import cache_root
from vad.cli.main import main

EXPERIMENT = """
seed_everything: 0
model:
  class_path: vad.methods.lbr_spr.LBRSPR
data:
  class_path: vad.datamodules.cubes.CubeData
  init_args:
    benchmark: {{class_path: walking_square.Walks, init_args: {{root: {root}}}}}
    protocol: unsupervised_partial
    batch_size: 4
    detector: {{class_path: walking_square.SquareDetector}}
    motion: {{class_path: vad.extract.motion.FrameDifference}}
    size: 16
trainer: {{max_epochs: 1, accelerator: cpu, devices: 1}}
"""


@pytest.fixture
def walks(tmp_path: Path) -> Path:
    root = tmp_path / "walks"
    root.mkdir()
    for name, count in (("a", 6), ("b", 9)):
        (root / f"{name}.walk").write_text(str(count))
    (tmp_path / "experiment.yaml").write_text(EXPERIMENT.format(root=root))
    return root


def test_everything_that_an_experiment_needs(walks: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["extract", "--config", str(walks.parent / "experiment.yaml"), "--log", "csv"]
    assert main([*words, "--data.max_videos", "1", "--device", "cpu"]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("walks/objects-") and ": 1 computed, 0 there already, 6 frames in" in first
    assert second.startswith("walks/crops-") and ": 1 computed, 0 there already" in second
    assert main([*words, "--on_broken=stop"]) == 0
    assert capsys.readouterr().out.count(": 1 computed, 1 there already") == 2
    assert main(words) == 0
    assert capsys.readouterr().out.count(": 0 computed, 2 there already") == 2


def test_one_link(walks: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["extract", "objects", "--benchmark", "walking_square.Walks", "--benchmark.root", str(walks)]
    assert main([*words, "--motion", "FrameDifference", "--motion.threshold", "20", "--min_area", "50"]) == 0
    assert ": 2 computed" in capsys.readouterr().out
    (folder,) = (cache_root() / "walks").iterdir()
    recipe = (folder / "recipe.json").read_text()
    assert '"threshold": 20' in recipe and '"min_area": 50' in recipe and '"detector": null' in recipe
    assert main([*words, "--splits", "test", "--detector", "walking_square.SquareDetector"]) == 0
    assert len(list((cache_root() / "walks").iterdir())) == 2


def test_skipped_videos_are_named(walks: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (walks / "bad.walk").write_text("broken")
    words = ["extract", "objects", "--benchmark", "walking_square.Walks", "--benchmark.root", str(walks)]
    words += ["--motion", "OpticalFlow"]
    assert main(words) == 2
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1 and "bad.walk: cannot be decoded" in captured.err
    assert main([*words, "--on_broken", "skip"]) == 0
    out = capsys.readouterr().out
    assert "2 computed" in out or "there already" in out
    assert "1 skipped" in out and "skipped bad: " in out


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["crops"], "expected objects, features, packs or --config"),
        (["objects", "--benchmark", "Nowhere"], "no benchmark 'Nowhere'"),
        (["--config", "nowhere.yaml", "--processes", "two"], "--processes"),
        (["--config", "nowhere.yaml", "--on_broken", "ignore"], "--on_broken"),
        (["--config", "nowhere.yaml"], "nowhere.yaml"),
    ],
)
def test_mistakes_are_one_line(words: list[str], reason: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["extract", *words]) == 2
    error = capsys.readouterr().err
    assert reason in error and error.count("\n") == 1


def test_nothing_to_find_is_said(walks: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["extract", "objects", "--benchmark", "walking_square.Walks", "--benchmark.root", str(walks)]
    assert main(words) == 2
    assert "neither a detector nor a motion mask" in capsys.readouterr().err


def test_help_and_the_list_of_the_cache_need_no_torch() -> None:
    code = (
        "import sys; from vad.cli.main import main\n"
        "assert main(['extract', '--help']) == main(['cache', '--help']) == main(['cache', 'list']) == 0\n"
        "sys.exit('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "--processes" in done.stdout and "prune" in done.stdout
