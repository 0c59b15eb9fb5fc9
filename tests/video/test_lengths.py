"""Lengths of many files: measured once, and anew where a file has changed."""

from collections.abc import Callable
from pathlib import Path

import pytest
from videos import write_clip

from vad import files
from vad.errors import VideoError
from vad.video import lengths as module
from vad.video.lengths import Length, lengths

SIZE = (160, 96)  # of `write_clip`

Clip = Callable[[str], Path]


def refuse(path: Path) -> None:
    raise AssertionError(f"{path} was opened")


def test_a_file_is_opened_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = [write_clip(tmp_path / f"{n}.mp4", frames=n, fps=20) for n in (20, 33)]
    wanted = {paths[0]: Length(20, 20.0, SIZE), paths[1]: Length(33, 20.0, SIZE)}
    assert lengths(paths) == wanted
    monkeypatch.setattr(module, "open_video", refuse)
    assert lengths(paths) == wanted


def test_a_changed_file_is_measured_anew(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mp4", frames=20)
    assert lengths([path])[path] == Length(20, 25.0, SIZE)
    write_clip(path, frames=30)
    assert lengths([path])[path] == Length(30, 25.0, SIZE)


def test_what_cannot_be_opened_is_told_and_tried_again(tmp_path: Path) -> None:
    path, other = tmp_path / "a.mp4", write_clip(tmp_path / "b.mp4", frames=16)
    path.write_bytes(b"no video")
    found = lengths([path, other, tmp_path / "none.mp4"])
    assert isinstance(found[path], VideoError) and isinstance(found[tmp_path / "none.mp4"], VideoError)
    assert found[other] == Length(16, 25.0, SIZE)
    write_clip(path, frames=18)
    assert lengths([path, other])[path] == Length(18, 25.0, SIZE)


@pytest.mark.parametrize("content", [b"", b"[]", b'{"a": 3}', b"\xff"])
def test_a_damaged_list_of_lengths_is_made_anew(content: bytes, tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mp4", frames=20)
    lengths([path])
    (kept,) = (files.cache_root() / "readers").glob("lengths-*.json")
    before = kept.read_bytes()
    kept.write_bytes(content)
    assert lengths([path])[path] == Length(20, 25.0, SIZE)
    assert kept.read_bytes() == before
