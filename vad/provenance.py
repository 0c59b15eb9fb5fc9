"""Where numbers come from: `provenance.json` of a run. It decides nothing; it lets a person judge and repeat."""

import os
import platform
import subprocess
from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from vad import __version__, files
from vad.cache import Recipe, entry
from vad.errors import VadError
from vad.runs import RunFolder
from vad.types import Video

LIBRARIES = (
    "torch",
    "lightning",
    "torchmetrics",
    "jsonargparse",
    "numpy",
    "scipy",
    "av",
    "decord",
    "opencv-python-headless",
)


def read(folder: RunFolder) -> dict[str, Any]:
    """What is known about a run so far; empty where nothing was written yet."""
    if not folder.provenance.is_file():
        return {}
    known = files.read_json(folder.provenance)
    return known if isinstance(known, dict) else {}


def update(folder: RunFolder, **known: Any) -> None:
    """Add to what is known; mappings are joined, everything else is replaced."""
    content = read(folder)
    for key, value in known.items():
        old = content.get(key)
        content[key] = {**old, **value} if isinstance(old, dict) and isinstance(value, Mapping) else value
    files.write_json(folder.provenance, content)


def seconds(folder: RunFolder, stage: str) -> float:
    """Seconds that a stage took so far."""
    return float(read(folder).get("seconds", {}).get(stage, 0.0))


def surroundings(*, device: str, processes: int) -> dict[str, Any]:
    """The code, the libraries and the machine."""
    import torch

    return {
        "code": code(),
        "python": platform.python_version(),
        "libraries": {name: found for name in LIBRARIES if (found := _installed(name)) is not None},
        "device": torch.cuda.get_device_name() if device == "cuda" else _processor(),
        "processes": processes,
        "threads": torch.get_num_threads(),
        "cores": os.cpu_count(),
    }


def code() -> dict[str, Any]:
    """Version of the package, and where it is a repository its commit and whether files differ from it."""
    folder = Path(__file__).resolve().parent
    commit = _git(folder, "rev-parse", "HEAD")
    status = _git(folder, "status", "--porcelain", "--untracked-files=no")
    return {"version": __version__, "commit": commit, "dirty": None if status is None else bool(status)}


def _git(folder: Path, *words: str) -> str | None:
    try:
        done = subprocess.run(["git", *words], cwd=folder, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def data(dataset: str, recipes: Iterable[Recipe], videos: Iterable[Video]) -> dict[str, Any]:
    """Keys of the recipes, and one hash of what the videos were when they were extracted.

    The hash takes ids and fingerprints, no times and no paths: equal footage on two machines gives an equal one.
    """
    recipes = list(recipes)
    return {
        "data": files.hash_json([[video.id, _fingerprint(dataset, recipes, video)] for video in videos]),
        "recipes": [recipe.key for recipe in recipes],
    }


def _fingerprint(dataset: str, recipes: list[Recipe], video: Video) -> Any:
    for recipe in recipes:
        try:
            known = entry(dataset, recipe, video.id).describe()["identity"]
            return [known.get("size"), known.get("fingerprint")]
        except (VadError, KeyError):
            continue
    return None
