"""What the project's own files promise: targets that are there, commands that parse, no place of a machine."""

import re
import subprocess
from pathlib import Path

import pytest

from vad.cli.main import VERBS

ROOT = Path(__file__).parents[1]
DOCUMENTS = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "experiments/README.md")]


def tracked() -> list[Path]:
    done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if done.returncode != 0:
        pytest.skip("needs the repository: this is no clone")
    return [path for name in done.stdout.split("\0") if name and (path := ROOT / name).is_file()]


def test_make_lists_its_targets() -> None:
    done = subprocess.run(["make", "-s", "help"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for target in ("setup", "demo", "test", "test-slow", "lint", "bench", "faults", "ped2-lbr-spr-cpu", "clean"):
        assert f"make {target} " in done.stdout


def test_documents_name_targets_verbs_and_files_that_exist() -> None:
    targets = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for document in DOCUMENTS:
        text = document.read_text()
        assert set(re.findall(r"`?make ([a-z0-9-]+)`", text)) <= targets, document.name
        assert set(re.findall(r"\bvad ([a-z]+)\b(?= -| [A-Z]|`)", text)) <= set(VERBS), document.name
        for name in re.findall(r"experiments/[\w/]+\.(?:yaml|md)", text):
            assert (ROOT / name).is_file(), f"{document.name}: {name}"


def test_no_file_holds_the_place_of_a_machine() -> None:
    place = re.compile(r"(?<![\w.])/(?:home|Users|root|work)/\w+|file:///")
    for path in tracked():
        if path.suffix in (".py", ".yaml", ".toml", ".md", ".txt", "") and path.name != "LICENSE":
            found = place.search(path.read_text(errors="ignore"))
            assert found is None or path == Path(__file__), f"{path.relative_to(ROOT)}: {found and found[0]}"


def test_pins_lie_within_the_bounds_and_name_no_build() -> None:
    pins = dict(
        line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if line and line[0] != "#"
    )
    assert all(re.fullmatch(r"[\d.]+", version) for version in pins.values()), "a local build would bind a machine"
    bounds = re.findall(r'"([\w-]+)(?:\[[\w,]+\])?>=([\d.]+)', (ROOT / "pyproject.toml").read_text())
    assert {"torch", "lightning"} <= {name for name, _ in bounds}
    for name, least in bounds:
        if name in pins:
            numbers = [tuple(map(int, version.split("."))) for version in (pins[name], least)]
            assert numbers[0] >= numbers[1], name


@pytest.mark.parametrize("script", [".ci/run", ".ci/setup"])
def test_scripts_are_executable_and_parse(script: str) -> None:
    path = ROOT / script
    assert path.stat().st_mode & 0o111
    assert subprocess.run(["bash", "-n", str(path)]).returncode == 0
