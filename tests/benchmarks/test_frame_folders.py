"""Folders of numbered images, as archives hold them."""

import os
import re
from pathlib import Path

import pytest

from vad.benchmarks.frame_folders import in_words, missing_numbers, numbered, places_by_name, walk
from vad.errors import DataError


def test_images_are_ordered_by_the_last_integer_of_their_names() -> None:
    folder = Path("clip")
    names = ["10.jpg", "2.jpg", "1.jpg", "Thumbs.db", "notes.txt", "cover.jpg"]
    assert numbered(folder, names) == {1: folder / "1.jpg", 2: folder / "2.jpg", 10: folder / "10.jpg"}
    assert list(numbered(folder, ["v2_frame011.bmp", "v2_frame002.bmp"])) == [2, 11]


def test_two_images_of_one_number_are_an_error() -> None:
    with pytest.raises(DataError, match=r"001\.tif and 1\.tif are both number 1"):
        numbered(Path("clip"), ["001.tif", "1.tif"])


def test_missing_numbers_start_at_0_or_1() -> None:
    assert missing_numbers([1, 2, 5]) == [3, 4]
    assert missing_numbers([0, 2]) == [1]
    assert missing_numbers([2, 3]) == [1]
    assert missing_numbers([]) == []


def test_numbers_are_said_as_ranges() -> None:
    assert in_words([3]) == "3"
    assert in_words([3, 5, 6, 7, 12]) == "3, 5-7 and 12"


def test_hidden_files_are_left_out_and_links_do_not_loop(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    for name in ("001.tif", "._001.tif", ".DS_Store"):
        (tmp_path / "a" / name).touch()
    (tmp_path / ".hidden").mkdir()
    (tmp_path / "a" / "loop").symlink_to(tmp_path)
    assert list(walk(tmp_path)) == [(tmp_path, []), (tmp_path / "a", ["001.tif"])]


def test_folders_of_frames_are_named_but_not_entered(tmp_path: Path) -> None:
    (tmp_path / "frames" / "01_0014").mkdir(parents=True)
    (tmp_path / "frames" / "01_0014" / "000.jpg").touch()
    (tmp_path / "01_0014").mkdir()
    places = places_by_name(tmp_path, re.compile(r"\d\d_\d{4}"))
    assert places["01_0014"] == [tmp_path / "01_0014", tmp_path / "frames" / "01_0014"]
    assert "000.jpg" not in places


def test_a_folder_that_cannot_be_read_is_not_left_out_in_silence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "locked").mkdir()
    scandir = os.scandir

    def refuse(path: str) -> object:  # permissions stop no superuser
        if str(path).endswith("locked"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(DataError, match=r"locked: cannot be read \(Permission denied\)"):
        list(walk(tmp_path))
