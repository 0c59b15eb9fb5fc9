"""What the project's own files promise: targets that are there, commands that parse, no place of a machine."""

import os
import re
import shutil
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


def write_program(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


@pytest.mark.parametrize(
    ("choice", "gpu", "wheel", "named", "cpu_builds"),
    [
        ("auto", False, False, True, True),
        ("auto", False, False, False, None),
        ("auto", True, False, True, False),
        ("auto", False, True, False, False),
        ("cpu", True, False, True, True),
        ("cpu", True, False, False, None),
        ("cuda", False, False, True, False),
    ],
)
def test_setup_draws_no_cuda_where_there_is_no_gpu(
    choice: str, gpu: bool, wheel: bool, named: bool, cpu_builds: bool | None, tmp_path: Path
) -> None:
    for name in (".ci/setup", "constraints.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    write_program(tmp_path / ".venv/bin/python", f'echo "$@" >> {tmp_path}/asked')
    write_program(tmp_path / "bin/nvidia-smi", f"exit {0 if gpu else 9}")
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    if wheel:
        version = re.findall(r"^torch==(.*)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)[0]
        (wheels / f"torch-{version}+cpu-cp311-cp311-linux_x86_64.whl").touch()
    surroundings = {name: value for name, value in os.environ.items() if not name.startswith(("VAD_", "UV_", "PIP_"))}
    surroundings |= {"PATH": f"{tmp_path}/bin:{os.environ['PATH']}", "PIP_FIND_LINKS": str(wheels)}
    surroundings |= {"VAD_TORCH_INDEX": "file:///builds/cpu"} if named else {}
    surroundings |= {"VAD_TORCH": choice, "PYTHON": str(tmp_path / ".venv/bin/python"), "VENV": ".venv"}
    done = subprocess.run([tmp_path / ".ci/setup"], env=surroundings, capture_output=True, text=True)
    if cpu_builds is None:
        assert done.returncode == 2 and "VAD_TORCH_INDEX" in done.stderr and not (tmp_path / "asked").exists()
        return
    assert done.returncode == 0, done.stderr
    first = next(line for line in (tmp_path / "asked").read_text().splitlines() if " install " in line)
    assert " torch==" in first, "torch comes first and alone"
    assert first.endswith("file:///builds/cpu") == cpu_builds
