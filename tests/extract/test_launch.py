"""Extraction fills the cache once, continues, shares out videos, and stops as a whole."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from walking_square import DeadlyDetector, FaultyDetector, SquareDetector, Walks

from vad import cache
from vad.errors import CacheError, ConfigError, DataError, VadError, VideoError
from vad.extract.crops import CropRecipe
from vad.extract.extraction import Extraction
from vad.extract.launch import Progress, deal, extract, missing, placement
from vad.extract.motion import FrameDifference
from vad.extract.objects import ObjectRecipe
from vad.extract.pool import cores
from vad.types import Objects, Video

OBJECTS = ObjectRecipe(detector=SquareDetector(), motion=FrameDifference())
CROPS = CropRecipe(OBJECTS, size=16)


@pytest.fixture
def walks(tmp_path: Path) -> Walks:
    """Three videos of 6, 9 and 12 frames."""
    root = tmp_path / "walks"
    root.mkdir()
    for name, count in (("short", 6), ("middle", 9), ("long", 12)):
        (root / f"{name}.walk").write_text(str(count))
    return Walks(str(root))


def test_recipes_are_computed_once_sources_first(walks: Walks) -> None:
    states: list[Progress] = []
    objects, crops = extract([OBJECTS, CROPS], walks, walks.videos("test"), progress=states.append)
    assert (objects.computed, objects.present, objects.frames, objects.recipe) == (3, 0, 27, OBJECTS)
    assert (crops.computed, crops.present, crops.frames) == (3, 0, 27)
    assert [(s.recipe.kind, s.done, s.total) for s in states] == [
        (kind, done, 3) for kind in ("objects", "crops") for done in range(4)
    ]
    assert [s.last.video for s in states[1:4] if s.last] == ["long", "middle", "short"], "the longest first"
    again = extract([OBJECTS, CROPS], walks, walks.videos("test"))
    assert [(s.computed, s.present) for s in again] == [(0, 3), (0, 3)]
    described = json.loads((cache.recipe_folder("walks", CROPS) / "recipe.json").read_text())
    assert described["kind"] == "crops" and described["objects"]["detector"]["class"] == "SquareDetector"


def test_a_new_video_extends_the_cache_and_a_changed_one_is_computed_again(walks: Walks) -> None:
    extract([OBJECTS, CROPS], walks, walks.videos("test"))
    (walks.root / "new.walk").write_text("4")
    (walks.root / "short.walk").write_text("7")
    assert {v.id for v in missing(CROPS, walks, walks.videos("test"))} == {"new", "short"}
    summaries = extract([OBJECTS, CROPS], walks, walks.videos("test"))
    assert [(s.computed, s.present) for s in summaries] == [(2, 2), (2, 2)]
    assert cache.entry("walks", OBJECTS, "short").read("frame").max() == 6


def test_other_settings_are_another_recipe(walks: Walks) -> None:
    extract([OBJECTS], walks, walks.videos("test"))
    other = ObjectRecipe(detector=SquareDetector(), motion=FrameDifference(threshold=19))
    assert len(missing(other, walks, walks.videos("test"))) == 3


def test_sources_must_be_in_the_cache(walks: Walks) -> None:
    with pytest.raises(CacheError, match=r"crops-.*made from objects-.*lacks 3 of 3.*long"):
        extract([CROPS], walks, walks.videos("test"))


def test_a_video_without_footage_is_an_error(walks: Walks, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="Walks: v has no footage"):
        extract([OBJECTS], walks, [Video("v", "test", frames=3)])
    with pytest.raises(DataError, match=r"gone\.mp4 cannot be read"):
        extract([OBJECTS], walks, [Video("v", "test", path=tmp_path / "gone.mp4")])


@pytest.mark.parametrize("processes", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_broken_video_stops_or_is_skipped_and_counted(walks: Walks, processes: int) -> None:
    (walks.root / "bad.walk").write_text("broken")
    with pytest.raises(VideoError, match=r"bad\.walk: cannot be decoded"):
        extract([OBJECTS], walks, walks.videos("test"), processes=processes)
    objects, crops = extract([OBJECTS, CROPS], walks, walks.videos("test"), processes=processes, on_broken="skip")
    ((video, reason),) = objects.skipped
    assert video == "bad" and "cannot be decoded" in reason
    assert crops.skipped == objects.skipped and crops.computed == 3, "recipes that follow leave it out"
    assert not missing(CROPS, walks, walks.videos("test")), "it is marked, so that fitting knows"
    with pytest.raises(CacheError, match=r"was skipped, since it could not be read .*cannot be decoded"):
        cache.entry("walks", CROPS, "bad").read("crop")


def test_a_skipped_video_is_not_tried_again_until_it_changes_or_nothing_may_be_skipped(walks: Walks) -> None:
    (walks.root / "bad.walk").write_text("broken")
    recipes: list[Extraction] = [OBJECTS, CROPS]
    extract(recipes, walks, walks.videos("test"), on_broken="skip")
    again = extract(recipes, walks, walks.videos("test"), on_broken="skip")
    assert [(s.computed, s.present, len(s.skipped)) for s in again] == [(0, 3, 1)] * 2
    with pytest.raises(VideoError, match="cannot be decoded"):
        extract(recipes, walks, walks.videos("test"))
    with pytest.raises(VideoError, match="cannot be decoded"):
        extract([CROPS], walks, walks.videos("test"))
    (walks.root / "bad.walk").write_text("5")
    mended = extract(recipes, walks, walks.videos("test"), on_broken="skip")
    assert [(s.computed, s.present, len(s.skipped)) for s in mended] == [(1, 3, 0)] * 2


@pytest.mark.slow
def test_several_processes_fill_the_cache_with_what_one_would(walks: Walks, monkeypatch: pytest.MonkeyPatch) -> None:
    recipes: list[Extraction] = [OBJECTS, CROPS]
    extract(recipes, walks, walks.videos("test"))
    names = {OBJECTS: Objects.ARRAYS, CROPS: ("crop", "frame", "box")}

    def entries() -> list[np.ndarray]:
        videos = walks.videos("test")
        return [cache.entry("walks", r, v.id).read(name) for r in recipes for v in videos for name in names[r]]

    alone = entries()
    monkeypatch.setenv("VAD_CACHE", str(cache.cache_root()) + "-2")
    summaries = extract(recipes, walks, walks.videos("test"), processes=2)
    assert [s.computed for s in summaries] == [3, 3]
    for a, b in zip(alone, entries(), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.slow
def test_a_process_that_is_killed_or_fails_ends_the_call(walks: Walks) -> None:
    with pytest.raises(VadError, match="ended without a word"):
        extract([ObjectRecipe(detector=DeadlyDetector())], walks, walks.videos("test"), processes=2)
    with pytest.raises(RuntimeError, match="one over nothing"):
        extract([ObjectRecipe(detector=FaultyDetector())], walks, walks.videos("test"), processes=2)


def test_wrong_settings_are_refused(walks: Walks) -> None:
    with pytest.raises(ConfigError, match="processes"):
        extract([OBJECTS], walks, walks.videos("test"), processes=0)
    with pytest.raises(ConfigError, match="on_broken"):
        extract([OBJECTS], walks, walks.videos("test"), on_broken="ignore")  # type: ignore[arg-type]


def test_another_call_that_was_faster_is_not_repeated(walks: Walks) -> None:
    """Two calls on one cache: the second computes a video while the first is at another."""
    states: list[str] = []

    def meanwhile(state: Progress) -> None:
        if state.done == 1:
            states.append("other")
            extract([OBJECTS], walks, walks.videos("test"))

    (summary,) = extract([OBJECTS], walks, walks.videos("test"), progress=meanwhile)
    assert states == ["other"] and (summary.computed, summary.present) == (1, 2)


def test_videos_are_dealt_out_whole_and_in_equal_shares() -> None:
    videos = [Video(f"v{i}", "test", frames=n) for i, n in enumerate([10, 90, 20, 30, 60, 50, 40])]
    shares = deal(videos, 3)
    assert sorted(v.id for share in shares for v in share) == sorted(v.id for v in videos)
    assert [sum(v.frames or 0 for v in share) for share in shares] == [110, 100, 90]
    assert deal(videos, 3) == deal(videos[::-1], 3), "the same on every rank"
    assert [len(share) for share in deal([Video(f"v{i}", "test") for i in range(4)], 2)] == [2, 2]
    assert deal([], 2) == [[], []]


def test_torchrun_and_slurm_are_recognised(walks: Walks, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(("TORCHELASTIC", "SLURM", "RANK", "WORLD_SIZE")):
            monkeypatch.delenv(name)
    assert placement() == (0, 1)
    monkeypatch.setenv("SLURM_NTASKS", "4")
    monkeypatch.setenv("SLURM_PROCID", "3")
    with pytest.raises(ConfigError, match="--ntasks-per-node=4"):
        placement()
    monkeypatch.setenv("SLURM_NTASKS_PER_NODE", "4")
    assert placement() == (3, 4)
    monkeypatch.delenv("SLURM_NTASKS")
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "x")
    monkeypatch.setenv("WORLD_SIZE", "2")
    done = []
    for rank in "01":
        monkeypatch.setenv("RANK", rank)
        assert placement() == (int(rank), 2)
        objects, crops = extract([OBJECTS, CROPS], walks, walks.videos("test"))
        assert objects.computed == crops.computed
        done.append(objects.computed)
    assert sum(done) == 3 and min(done) == 1 and not missing(CROPS, walks, walks.videos("test"))


def test_each_recipe_may_want_videos_of_its_own(walks: Walks, monkeypatch: pytest.MonkeyPatch) -> None:
    videos = walks.videos("test")
    asked = []

    def wanted(recipe: Extraction) -> list[Video]:
        asked.append(recipe)
        return videos if recipe == OBJECTS else videos[1:2]

    objects, crops = extract([OBJECTS, CROPS], walks, wanted)
    assert asked == [OBJECTS, CROPS] and (objects.computed, crops.computed) == (3, 1)
    assert not missing(CROPS, walks, videos[1:2]) and len(missing(CROPS, walks, videos)) == 2


def test_cores_are_those_that_this_process_may_use() -> None:
    assert 1 <= cores() <= (os.cpu_count() or 1)


SLOW_CALL = """
import sys
sys.path.insert(0, sys.argv[1])
from walking_square import SquareDetector, Walks
from vad.extract.launch import extract
from vad.extract.objects import ObjectRecipe
if __name__ == "__main__":
    walks = Walks(sys.argv[2], delay=0.5)
    extract([ObjectRecipe(detector=SquareDetector())], walks, walks.videos("test"), processes=int(sys.argv[3]),
            progress=lambda state: print(state.done, flush=True))
"""


@pytest.mark.slow
@pytest.mark.parametrize("processes", [1, 2])
def test_a_killed_call_leaves_whole_entries_and_no_process(walks: Walks, tmp_path: Path, processes: int) -> None:
    for index in range(12):
        (walks.root / f"more{index:02d}.walk").write_text("30")
    script = tmp_path / "call.py"
    script.write_text(SLOW_CALL)
    words = [sys.executable, str(script), str(Path(__file__).parent), str(walks.root), str(processes)]
    call = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    assert call.stdout is not None
    while call.stdout.readline().strip() != "2":
        pass
    children = [int(p) for p in Path(f"/proc/{call.pid}/task/{call.pid}/children").read_text().split()]
    call.send_signal(signal.SIGKILL)
    call.wait()
    deadline = time.monotonic() + 20
    while any(Path(f"/proc/{child}").exists() for child in children) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not [child for child in children if Path(f"/proc/{child}").exists()]
    recipe = ObjectRecipe(detector=SquareDetector())
    left = missing(recipe, walks, walks.videos("test"))
    assert 0 < len(left) <= 13
    for video in walks.videos("test"):
        if video not in left:
            assert len(cache.entry("walks", recipe, video.id).read("frame")) == video.frames
    (summary,) = extract([recipe], walks, walks.videos("test"))
    assert summary.computed == len(left)
