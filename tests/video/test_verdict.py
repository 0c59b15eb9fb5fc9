"""What is kept about a file, and when it is looked at anew."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from vad.video import open_video
from vad.video.examine import examine
from vad.video.verdict import Verdict, keep_verdict, load_verdict, verdict_path

Clip = Callable[[str], Path]


def copy(source: Path, target: Path) -> Path:
    target.write_bytes(source.read_bytes())
    return target


@pytest.mark.parametrize("name", ["h264_open.mp4", "h264.ts", "one_frame.mp4"])
def test_a_verdict_is_read_back_as_it_was_written(name: str, clip: Clip) -> None:
    written = examine(clip(name))
    keep_verdict(clip(name), written)
    read = load_verdict(clip(name))
    assert read is not None
    for field in Verdict.__dataclass_fields__:
        assert np.array_equal(getattr(read, field), getattr(written, field)), field
        assert type(getattr(read, field)) is type(getattr(written, field)), field


def test_a_verdict_says_what_is_in_the_file(clip: Clip) -> None:
    verdict = examine(clip("edit_list.mp4"))
    assert verdict.container.startswith("mov")
    assert (verdict.codec, verdict.size, verdict.rotation, verdict.fps) == ("h264", (160, 96), 0, 25.0)
    assert (verdict.packets, verdict.frames) == (60, 55)
    assert verdict.keyframes.tolist() == [0, 12, 24, 36, 48]


def test_another_size_or_time_makes_a_new_verdict(clip: Clip, tmp_path: Path) -> None:
    path = copy(clip("h264_b.mp4"), tmp_path / "a.mp4")
    assert len(open_video(path)) == 60
    copy(clip("h264_long.mp4"), path)
    assert load_verdict(path) is None
    assert len(open_video(path)) == 120
    os.utime(path, ns=(0, 0))
    assert load_verdict(path) is None


def test_files_of_one_name_in_two_folders_have_two_verdicts(clip: Clip, tmp_path: Path) -> None:
    lengths = {}
    for folder, name in (("a", "h264_b.mp4"), ("b", "h264_long.mp4")):
        (tmp_path / folder).mkdir()
        lengths[folder] = len(open_video(copy(clip(name), tmp_path / folder / "x.mp4")))
    assert lengths == {"a": 60, "b": 120}


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04", None])
def test_a_damaged_verdict_is_made_anew(damage: bytes | None, clip: Clip) -> None:
    path = clip("h264_b.mp4")
    open_video(path)
    kept = verdict_path(path)
    content = bytearray(kept.read_bytes())
    for position in range(100, len(content), 97):
        content[position] ^= 0xFF
    kept.write_bytes(bytes(content) if damage is None else damage)
    assert load_verdict(path) is None
    assert len(open_video(path)) == 60
    assert load_verdict(path) is not None


def test_mutated_verdicts_never_raise_and_never_unpickle(clip: Clip) -> None:
    path = clip("h264_b.mp4")
    open_video(path)
    whole = verdict_path(path).read_bytes()
    draw = np.random.default_rng(0)
    for _ in range(200):
        content = bytearray(whole)
        for position in draw.integers(0, len(content), draw.integers(1, 20)):
            content[position] = draw.integers(256)
        verdict_path(path).write_bytes(content[: draw.integers(len(content)) if draw.random() < 0.3 else None])
        verdict = load_verdict(path)
        assert verdict is None or verdict.frames == 60


def test_a_cache_that_cannot_be_written_does_not_stop_reading(
    clip: Clip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "taken").write_bytes(b"a file where the folder should be")
    monkeypatch.setenv("VAD_CACHE", str(tmp_path / "taken"))
    assert len(open_video(clip("h264_b.mp4"))) == 60


def test_no_partial_file_is_left(clip: Clip) -> None:
    path = clip("h264_b.mp4")
    open_video(path)
    assert [p.name for p in verdict_path(path).parent.iterdir()] == [verdict_path(path).name]
