"""The front door: answers at once, and says in one line what is wrong."""

import subprocess
import sys
from pathlib import Path

import pytest

from vad.cli import main as front
from vad.errors import DataError
from vad.files import atomic_write, write_text


def python(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *words], capture_output=True, text=True, timeout=60)


def test_help_imports_neither_torch_nor_lightning() -> None:
    code = (
        "import sys; from vad.cli.main import main; assert main(['--help']) == 0; "
        "heavy = {'torch', 'lightning', 'jsonargparse', 'numpy', 'wandb'} & set(sys.modules); assert not heavy, heavy"
    )
    done = python("-c", code)
    assert done.returncode == 0, done.stderr
    assert all(f"  {verb} " in done.stdout for verb in front.VERBS)


def test_every_verb_has_a_module_with_a_main() -> None:
    code = "import importlib; from vad.cli.main import VERBS; "
    code += "[importlib.import_module(module).main for module, _ in VERBS.values()]"
    done = python("-c", code)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("words", [[], ["fitt"], ["fit", "--config", "nowhere.yaml"], ["test"], ["test", "nowhere"]])
def test_a_mistake_ends_with_status_2_and_one_line(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    status = front.main(words)
    captured = capsys.readouterr()
    if words == ["test"]:  # a verb alone explains itself
        assert status == 2 and captured.out.startswith("usage")
    elif words:
        assert status == 2 and len(captured.err.strip().splitlines()) == 1 and "Traceback" not in captured.err
    else:
        assert status == 2 and captured.out.startswith("usage")


def test_debug_shows_where_an_error_comes_from() -> None:
    with pytest.raises(DataError):
        front.main(["data", "check", "--benchmark", "UCSDPed2", "--benchmark.root", "/no/such/folder", "--debug"])


def test_a_failure_that_is_nobodys_mistake_ends_with_status_1(tmp_path: Path) -> None:
    code = "import vad.cli.test as verb, sys; verb.main = lambda words: 1 / 0; "
    code += "from vad.cli.main import main; sys.exit(main(['test', 'x']))"
    done = python("-c", code)
    assert done.returncode == 1 and "ZeroDivisionError" in done.stderr


def test_a_file_that_the_system_refuses_is_named_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setattr("vad.cli.test.main", lambda words: write_text(tmp_path / "file" / "below", ""))
    assert front.main(["test", "x"]) == 2
    assert capsys.readouterr().err == f"vad test: {tmp_path / 'file'}: File exists\n"


def test_a_full_disk_is_told_with_the_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def fill(words: object) -> None:
        with atomic_write(tmp_path / "x.npy"):
            raise OSError("4096 requested and 0 written")  # as numpy says it

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("vad.cli.test.main", fill)
        assert front.main(["test", "x"]) == 2
    assert capsys.readouterr().err == f"vad test: {tmp_path / 'x.npy'}: 4096 requested and 0 written\n"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("verb", ["show", "compare"])
def test_a_missing_argument_prints_no_page_of_usage(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert front.main([verb]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_verbs_own_status_is_the_commands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vad.cli.run.main", lambda words: 3)
    assert front.main(["run"]) == 3
