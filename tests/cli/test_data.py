"""`vad data`: what a person sees, and the exit status."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from vad.cli import data
from vad.cli.main import main


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    """A tree of two clips, far from complete."""
    for clip in ("Train/Train001", "Test/Test001"):
        folder = tmp_path / "UCSDped2" / clip
        folder.mkdir(parents=True)
        for frame in range(1, 4):
            Image.new("L", (12, 8)).save(folder / f"{frame:03d}.tif")
    return tmp_path


def test_a_check_prints_counts_and_each_problem_on_a_line(clips: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (clips / "UCSDped2" / "Train" / "Train001" / "002.tif").unlink()
    assert main(["data", "check", "--benchmark", "UCSDPed2", "--benchmark.root", str(clips)]) == 2
    out, err = capsys.readouterr()
    problems = [line for line in out.splitlines() if line.startswith("problem: ")]
    assert any(line.startswith("problem: Train001 lacks frame 2 (of 1 to 3 in ") for line in problems)
    assert err == f"vad data: UCSDPed2 has {len(problems)} problems below {clips}, listed above\n"


def test_as_json_the_report_stands_alone_on_standard_output(clips: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "check", "--json", "--benchmark", "UCSDPed2", "--benchmark.root", str(clips)]) == 2
    report = json.loads(capsys.readouterr().out)
    assert not report["ok"]
    assert report["counts"]["train"] == {"videos": 1, "frames": 3}
    assert len(report["problems"]) >= 1


def test_a_complete_benchmark_ends_with_status_0(
    real_data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("VAD_DATA", str(real_data))
    assert main(["data", "check", "--benchmark", "XDViolence"]) == 0
    out, err = capsys.readouterr()
    assert "2,330,384" in out and "nothing is wrong" in out and err == ""


def test_make_refuses_what_is_not_generated(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "make", "--benchmark", "UCSDPed2"]) == 2
    assert capsys.readouterr().err == "vad data: UCSDPed2 is not generated: its files come from its authors\n"


def test_make_renders_what_is_generated(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from vad.benchmarks import Synthetic

    monkeypatch.setattr(Synthetic, "make", lambda self, processes=None, progress=None: 7)
    assert main(["data", "make", "--benchmark", "Synthetic"]) == 0
    assert capsys.readouterr().out.startswith("Synthetic: 7 videos rendered in ")


@pytest.mark.parametrize("arguments", [[], ["--help"]])
def test_without_an_action_the_usage_is_shown(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", *arguments]) == (0 if arguments else 2)
    assert "vad data check --benchmark B" in capsys.readouterr().out


def test_an_unknown_action_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "chekc"]) == 2
    assert capsys.readouterr().err == "vad data: expected check or make, got 'chekc'; 'vad data --help' says more\n"


def test_the_verb_imports_neither_torch_nor_lightning() -> None:
    code = f"import sys, {data.__name__}; sys.exit(any(name in sys.modules for name in ('torch', 'lightning')))"
    subprocess.run([sys.executable, "-c", code], check=True)
