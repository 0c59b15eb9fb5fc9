"""The cache: a recipe's hash is its content, entries are whole or absent, and nothing goes that was not asked for."""

import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import unquote

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vad import cache
from vad.cache import Content, Entry, Recipe, cache_root, declare, entry, escape, recipe_folder
from vad.cli.main import main
from vad.errors import CacheError, VadError


@dataclass(frozen=True)
class Tool(Content):
    power: float = 1.0


@dataclass(frozen=True)
class BiggerTool(Tool):
    pass


@dataclass(frozen=True)
class First(Recipe):
    kind: ClassVar[str] = "first"
    version: ClassVar[int] = 1

    tool: Tool | None = None
    sizes: tuple[float, ...] = (1.0, 2.5)


@dataclass(frozen=True)
class Second(Recipe):
    kind: ClassVar[str] = "second"
    version: ClassVar[int] = 1

    first: First
    side: int = 32


STATE = {"size": 3, "mtime_ns": 5}
ARRAYS = {"frame": np.arange(6, dtype=np.int32), "box": np.ones((6, 4), np.float32), "none": np.zeros((0, 3), np.uint8)}


def test_whatever_decides_the_content_decides_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    keys = [
        recipe.key
        for recipe in (
            First(),
            First(tool=Tool()),
            First(tool=BiggerTool()),
            First(tool=Tool(2)),
            First(sizes=(1.0,)),
            Second(First()),
            Second(First(tool=Tool())),
            Second(First(), side=33),
        )
    ]
    assert len(set(keys)) == len(keys)
    before = First().key, Second(First()).key
    monkeypatch.setattr(First, "version", 2)
    assert First().key != before[0] and Second(First()).key != before[1], "a source's version counts too"


def test_equal_settings_are_one_key_however_they_are_written() -> None:
    assert First(tool=Tool(2)).key == First(tool=Tool(2.0)).key
    assert First(sizes=[1, 2.5]).key == First().key  # type: ignore[arg-type]
    assert First().key.startswith("first-") and len(First().key) == len("first-") + 12


def test_the_source_of_a_recipe_is_the_field_that_is_one() -> None:
    assert Second(First()).source == First() and First(tool=Tool()).source is None


def test_recipe_json_makes_the_hash_readable() -> None:
    recipe = Second(First(tool=Tool(2)))
    declare("set", recipe)
    content = json.loads((recipe_folder("set", recipe) / "recipe.json").read_text())
    assert content["first"]["tool"] == {"class": "Tool", "power": 2} and content["side"] == 32


def test_an_entry_is_read_as_it_was_written() -> None:
    made = entry("set", First(), "a video")
    assert not made.exists() and not made.exists(STATE)
    made.write(ARRAYS, identity=STATE, extra={"frames": 3})
    assert made.exists() and made.exists(STATE) and not made.exists({**STATE, "size": 4})
    for name, array in ARRAYS.items():
        for mmap in (True, False):
            found = made.read(name, mmap=mmap)
            assert found.dtype == array.dtype
            np.testing.assert_array_equal(found, array)
    assert isinstance(made.read("box"), np.memmap)
    assert made.describe()["extra"] == {"frames": 3}
    assert sorted(p.name for p in made.folder.parent.iterdir()) == ["a video"]


def test_an_entry_that_is_written_again_is_replaced_whole() -> None:
    made = entry("set", First(), "v")
    made.write(ARRAYS, identity=STATE)
    held = made.read("box")
    made.write({"other": np.zeros(2)}, identity={"size": 9})
    assert made.exists({"size": 9}) and not made.exists(STATE)
    assert sorted(p.name for p in made.folder.iterdir()) == ["entry.json", "other.npy"]
    np.testing.assert_array_equal(held, ARRAYS["box"])  # a reader keeps what it opened
    assert [p.name for p in made.folder.parent.iterdir()] == ["v"]


def test_a_write_that_fails_leaves_the_old_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    made = entry("set", First(), "v")
    made.write(ARRAYS, identity=STATE)
    with pytest.raises(ValueError, match=r"[Oo]bject"):
        made.write({"frame": ARRAYS["frame"], "bad": np.array([object()])}, identity={"size": 9})
    assert made.exists(STATE)
    assert [p.name for p in made.folder.parent.iterdir()] == ["v"]


def test_a_folder_without_entry_json_does_not_exist() -> None:
    made = entry("set", First(), "v")
    made.write(ARRAYS, identity=STATE)
    (made.folder / "entry.json").unlink()
    assert not made.exists()
    with pytest.raises(CacheError, match="is not in the cache"):
        made.read("box")
    made.write(ARRAYS, identity=STATE)
    assert made.exists(STATE)


def test_another_process_may_be_faster(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process puts its entry in place between the look and the rename."""
    made = entry("set", First(), "v")
    rename, rivals = Path.rename, [1, 2]

    def contested(self: Path, target: Path) -> Path:
        if rivals and target == made.folder:
            rivals.pop()
            target.mkdir(exist_ok=True)
            (target / "entry.json").write_text("{}")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", contested)
    made.write(ARRAYS, identity=STATE)
    assert made.exists(STATE) and not rivals
    assert [p.name for p in made.folder.parent.iterdir()] == ["v"]


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"arrays": 3}', "null"])
def test_a_damaged_entry_json_is_of_no_state_and_an_error_to_read(text: str) -> None:
    made = entry("set", First(), "v")
    made.write(ARRAYS, identity=STATE)
    (made.folder / "entry.json").write_text(text)
    assert not made.exists(STATE)
    with pytest.raises(VadError, match=r"entry\.json"):
        made.read("box")


def test_a_damaged_recipe_json_is_written_anew_and_hides_no_other(capsys: pytest.CaptureFixture[str]) -> None:
    path = recipe_folder("set", First()) / "recipe.json"
    declare("set", Second(First()))
    for text in ("{", "[]", ""):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        assert main(["cache", "list"]) == 0
        out = capsys.readouterr().out
        assert "recipe.json=damaged" in out and Second(First()).key in out
        declare("set", First())
        assert json.loads(path.read_text())["kind"] == "first"


def test_a_mark_says_why_a_video_was_left_out() -> None:
    mark = entry("set", First(), "v")
    assert mark.broken is None
    mark.mark_broken("it ends early", identity=STATE)
    assert mark.broken == "it ends early" and mark.exists(STATE) and not mark.exists({"size": 4})
    with pytest.raises(CacheError, match=r"the video was skipped, .*it ends early"):
        mark.read("frame")
    mark.write(ARRAYS, identity=STATE)
    assert mark.broken is None


def test_damaged_arrays_are_errors_that_name_them() -> None:
    made = entry("set", First(), "v")
    made.write(ARRAYS, identity=STATE)
    with pytest.raises(CacheError, match="holds no array 'crop'"):
        made.read("crop")
    np.save(made.folder / "box.npy", np.ones((5, 4), np.float32))
    with pytest.raises(CacheError, match=r"box\.npy: is not what entry\.json says"):
        made.read("box")
    (made.folder / "frame.npy").write_bytes(b"\x93NUMPY")
    for mmap in (True, False):
        with pytest.raises(VadError, match=r"frame\.npy"):
            made.read("frame", mmap=mmap)
    (made.folder / "none.npy").unlink()
    with pytest.raises(VadError, match=r"none\.npy"):
        made.read("none")


@given(st.text(min_size=1, max_size=60))
def test_ids_become_one_path_component_that_can_be_read_back(video_id: str) -> None:
    try:
        video_id.encode()
    except UnicodeEncodeError:
        return
    name = escape(video_id)
    assert "/" not in name and "\0" not in name and not name.startswith(".") and len(name.encode()) <= 255
    if len(name) <= 180:
        assert unquote(name) == video_id


def test_different_ids_have_different_names_and_any_id_can_be_stored() -> None:
    ids = ["a/b", "a%2Fb", "a b", "a+b", ".hidden", "..", "v=XY__#1_label_A", "v.mp4", "x" * 300, "x" * 301, "犬" * 90]
    assert len({escape(i) for i in ids}) == len(ids)
    for video_id in ids:
        Entry(cache_root() / escape(video_id)).write({"a": np.ones(1)}, identity={})


# `vad cache`


def fill(dataset: str, recipe: Recipe, *ids: str, days: float = 0.0) -> Path:
    declare(dataset, recipe)
    for video_id in ids:
        made = entry(dataset, recipe, video_id)
        made.write(ARRAYS, identity=STATE)
        then = time.time() - days * 86400
        os.utime(made.folder / "entry.json", (then, then))
    return recipe_folder(dataset, recipe)


@pytest.fixture
def filled() -> Mapping[str, Path]:
    (cache_root() / "weights").mkdir(parents=True)
    (cache_root() / "weights" / "a.onnx").write_text("weights")
    left = cache_root() / "one" / First().key / ".v.123.abcd.partial"
    folders = {
        "old": fill("one", First(), "a", "b", days=40),
        "new": fill("one", Second(First()), "a", days=1),
        "other": fill("two", First(), "a", days=3),
    }
    left.mkdir()
    (left / "box.npy").write_text("half")
    return {**folders, "left": left}


def present(filled: Mapping[str, Path]) -> set[str]:
    assert (cache_root() / "weights" / "a.onnx").exists()
    return {name for name, path in filled.items() if path.exists()}


def run(*words: str) -> int:
    return main(["cache", *words])


def test_list_shows_recipes_with_entries_sizes_and_ages(filled: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("list") == 0
    out = capsys.readouterr().out
    assert f"one/{First().key}  2 videos" in out and "40.0 days" in out
    assert f"first={First().key} side=32" in out and "sizes=1,2.5" in out
    assert "3 recipes" in out
    assert run("list", "--dataset", "two") == 0
    assert "1 recipes" in capsys.readouterr().out
    assert present(filled) == set(filled)


@pytest.mark.parametrize(
    ("words", "gone"),
    [
        (["--dataset", "two"], {"other"}),
        (["--key", "second"], {"new"}),
        (["--key", First().key], {"old", "other", "left"}),
        (["--older", "30"], {"old", "left"}),
        (["--older", "2", "--dataset", "two"], {"other"}),
        (["--older", "2", "--key", "second"], set()),
        (["--dataset", "three"], set()),
        (["--dataset", "on"], set()),
    ],
)
def test_prune_deletes_what_every_option_applies_to(
    words: list[str], gone: set[str], filled: Mapping[str, Path]
) -> None:
    assert run("prune", *words, "--dry_run") == 0
    assert present(filled) == set(filled)
    assert run("prune", *words) == 0
    assert present(filled) == set(filled) - gone
    assert not [p for p in cache_root().rglob("*.partial") if p != filled["left"]]


@pytest.mark.parametrize("words", ["", "--older -1", "--older soon", "--all", "--dataset=", "--partial --key x"])
def test_prune_without_a_clear_order_deletes_nothing(words: str, filled: Mapping[str, Path]) -> None:
    assert run("prune", *words.split()) == 2
    assert present(filled) == set(filled)


def test_prune_partial_leaves_what_may_still_be_written(filled: Mapping[str, Path]) -> None:
    assert run("prune", "--partial") == 0
    assert present(filled) == set(filled)
    for path in (filled["left"], filled["left"] / "box.npy"):
        os.utime(path, (time.time() - 7200, time.time() - 7200))
    assert cache.partial_writes() == [filled["left"]]
    assert run("prune", "--partial") == 0
    assert present(filled) == {"old", "new", "other"}


def test_an_empty_cache_is_no_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("list") == 0 and "0 recipes" in capsys.readouterr().out
    assert run("prune", "--older", "0") == 0 and "nothing to delete" in capsys.readouterr().out
    assert run("burn") == 2 and "expected list or prune" in capsys.readouterr().err


def test_an_entry_that_another_process_wrote_alike_meanwhile_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    made = entry("set", First(), "v")
    rename = Path.rename

    def overtaken(self: Path, target: Path) -> Path:
        monkeypatch.setattr(Path, "rename", rename)
        made.write({**ARRAYS, "frame": np.arange(6, dtype=np.int32) + 1}, identity=STATE)
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", overtaken)
    made.write(ARRAYS, identity=STATE)
    assert made.read("frame")[0] == 1, "the other's: it was never away"
    made.write(ARRAYS, identity=STATE)
    assert made.read("frame")[0] == 0, "one that was there before is replaced"
