"""The table of heads by kinds of objects."""

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from vad.errors import DataError
from vad.metrics.frame import auroc
from vad.types import Regions, Truth

PATH = Path(__file__).parents[2] / "experiments" / "object_kinds.py"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    described = importlib.util.spec_from_file_location(PATH.stem, PATH)
    module = importlib.util.module_from_spec(described)
    described.loader.exec_module(module)
    return module


def truth(kinds: dict[str, list[int]]) -> Truth:
    """Track 3 is there in frames 1 and 2, track 5 in frames 2 and 3."""
    regions = Regions(
        frame=np.array([1, 2, 2, 3], np.int32),
        box=np.array([[0, 0, 10, 10], [2, 0, 12, 10], [50, 50, 60, 60], [50, 50, 60, 60]], np.float32),
        track=np.array([3, 3, 5, 5], np.int32),
        derived=False,
    )
    labels = {kind: np.isin(np.arange(5), frames).astype(np.uint8) for kind, frames in kinds.items()}
    return Truth(frames=np.array([0, 1, 1, 1, 0], np.uint8), regions=regions, kinds=labels)


def test_a_track_is_of_the_one_kind_that_is_in_all_of_its_frames(script) -> None:
    clear = truth({"running": [1, 2], "vehicle": [2, 3], "loitering": []})
    assert script.kinds_of_regions(clear).tolist() == ["running", "running", "vehicle", "vehicle"]
    two = truth({"running": [1, 2, 3], "vehicle": [2, 3]})
    assert script.kinds_of_regions(two).tolist() == ["running", "running", "", ""]
    with pytest.raises(DataError, match="no kinds"):
        script.kinds_of_regions(Truth(frames=np.ones(3, np.uint8)))
    assert len(script.kinds_of_regions(Truth(frames=np.zeros(3, np.uint8)))) == 0


def test_a_box_is_of_the_kind_that_it_overlaps_most_and_normal_where_it_touches_none(script) -> None:
    known = truth({"running": [1, 2], "vehicle": [2, 3]})
    boxes = {
        (1, (1, 0, 11, 10)): "running",
        (2, (48, 50, 58, 60)): "vehicle",
        (2, (20, 20, 30, 30)): "normal",
        (0, (0, 0, 10, 10)): "normal",
        (1, (50, 50, 60, 60)): "normal",
        (3, (59, 59, 69, 69)): "",  # touches by a pixel
    }
    frame, box = (np.array(values) for values in zip(*boxes, strict=True))
    assert script.kinds_in_video(frame, box.astype(np.float32), known).tolist() == list(boxes.values())


def test_the_table_says_mean_and_auroc_against_normal_boxes(script) -> None:
    random = np.random.default_rng(0)
    kind = np.array(["normal", "vehicle", "running", ""], dtype=object)[random.integers(0, 4, 400)]
    video = np.sort(random.integers(0, 6, 400))
    score = random.normal(0, 1, 400) + 2 * (kind == "vehicle")
    lines = script.table({"middle": score}, kind, video)
    rows = {line.split("|")[1].strip(): line.split("|")[2:-1] for line in lines if line.startswith("| ")}
    assert list(rows) == ["kind", "normal", "running", "vehicle"]
    compared = kind != "running"
    compared &= kind != ""
    expected = 100 * auroc(kind[compared] == "vehicle", score[compared])
    boxes, videos, cell = (text.strip() for text in rows["vehicle"])
    assert boxes == str((kind == "vehicle").sum()) and videos == "6"
    assert cell.startswith(f"{score[kind == 'vehicle'].mean():+.2f}; {expected:.1f} [")
    assert lines[-1].startswith(f"{(kind == '').sum()} boxes")
