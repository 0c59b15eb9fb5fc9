"""What notebooks promise: they are kept with their pictures, small and without a machine's places, and they run."""

import os
import re
import shutil
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
PLACE = re.compile(r"(?<![\w.~$}])/(?:home|Users|root|work|tmp|var|opt|usr|mnt)/\w+|file://|[A-Z]:\\")

every_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def read(path: Path) -> nbformat.NotebookNode:
    return nbformat.read(path, as_version=4)


def code_cells(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def pictures(cell: nbformat.NotebookNode) -> int:
    return sum(any(kind.startswith("image/") for kind in output.get("data", {})) for output in cell.outputs)


def words(cell: nbformat.NotebookNode) -> str:
    """What a cell says and prints, without pictures, whose letters mean nothing."""
    texts = [cell.source]
    for output in cell.get("outputs", []):
        data = {kind: text for kind, text in output.get("data", {}).items() if not kind.startswith("image/")}
        texts += [output.get("text", ""), *output.get("traceback", []), *map(str, data.values())]
    return "\n".join(texts)


def test_there_are_notebooks() -> None:
    names = ["1_first_run.ipynb", "2_compare_methods.ipynb", "3_look_inside.ipynb"]
    assert [path.name for path in NOTEBOOKS][:3] == names


def test_what_is_kept_shows_generated_footage_and_no_real_people() -> None:
    said = "\n".join(map(words, code_cells(read(ROOT / "notebooks" / "3_look_inside.ipynb"))))
    assert re.findall(r"^clips of (\w+)$", said, re.MULTILINE) == ["Synthetic"]


@every_notebook
def test_it_is_kept_as_it_was_run_from_its_first_cell_to_its_last(path: Path) -> None:
    cells = code_cells(read(path))
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert sum(map(pictures, cells)) >= 3
    for cell in cells:
        noise = [output for output in cell.outputs if output.output_type == "error" or output.get("name") == "stderr"]
        assert not noise, f"cell {cell.execution_count}: {noise}"


@every_notebook
def test_it_is_small_and_names_no_place_of_a_machine(path: Path) -> None:
    assert path.stat().st_size < 1_000_000
    for number, cell in enumerate(read(path).cells):
        found = PLACE.search(words(cell))
        assert found is None, f"cell {number}: {found and found[0]}"


@every_notebook
def test_commands_that_it_names_exist(path: Path) -> None:
    from vad.cli.main import VERBS

    text = "\n".join(cell.source for cell in read(path).cells)
    assert set(re.findall(r"`vad ([a-z]+)", text)) | set(re.findall(r'\bvad\("([a-z]+)"', text)) <= set(VERBS)
    for name in re.findall(r"experiments/\w+\.(?:yaml|md)", text):
        assert (ROOT / name).is_file(), name
    targets = re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert set(re.findall(r"`make ([a-z0-9-]+)`", text)) <= set(targets)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@every_notebook
def test_it_runs_from_nothing_in_a_copy(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The copy holds the experiments alone; cache and runs are those that `conftest.py` gives each test."""
    from nbclient import NotebookClient

    shutil.copytree(ROOT / "experiments", tmp_path / "copy" / "experiments")
    (tmp_path / "copy" / "notebooks").mkdir()
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # tests run side by side
    stored, fresh = read(path), read(path)
    for cell in code_cells(fresh):
        cell.outputs, cell.execution_count = [], None
    place = {"metadata": {"path": str(tmp_path / "copy" / "notebooks")}}
    NotebookClient(fresh, timeout=1500, kernel_name="python3", resources=place).execute()

    for cell, before in zip(code_cells(fresh), code_cells(stored), strict=True):
        assert pictures(cell) == pictures(before), f"cell {before.execution_count} shows other pictures than are kept"
        assert str(tmp_path) not in words(cell), f"cell {before.execution_count} prints where it runs"
    assert list(Path(os.environ["VAD_CACHE"]).glob("*/*/recipe.json"))
    assert list(Path(os.environ["VAD_RUNS"]).rglob("metrics.json"))
    assert not (tmp_path / "copy" / "cache").exists() and not (tmp_path / "copy" / "runs").exists()
