"""XD-Violence from its official lists; names that resist."""

from pathlib import Path

import pytest
from trees import XD_TEST, xd_violence
from videos import write_clip

from vad.benchmarks import XDViolence
from vad.benchmarks.xd_violence import codes
from vad.errors import DataError

FILM = "Bad.Boys.1995__#01-11-55_01-12-40_label_G-B2-B6"
RIOT = "v=251___mEwZA__#1_label_B4-0-0"
NORMAL = "v=8cTqh9tMz_I__#1_label_A"


@pytest.fixture
def benchmark(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> XDViolence:
    monkeypatch.setenv("VAD_DATA", str(tmp_path / "data"))
    xd_violence(tmp_path / "root")
    return XDViolence(root=str(tmp_path / "root"))


def test_five_crops_are_one_video_in_the_order_of_the_list(benchmark: XDViolence) -> None:
    assert [(video.id, video.label) for video in benchmark.videos("test")] == [(FILM, 1), (RIOT, 1), (NORMAL, 0)]
    assert [video.label for video in benchmark.videos("weak_train")] == [1, 0], "one bare code, one A"


def test_codes_follow_the_last_label_and_lose_their_zeros() -> None:
    assert codes(FILM) == ("G", "B2", "B6")
    assert codes(RIOT) == ("B4",)
    assert codes("v=x_label_B1-0-0__#1_label_A") == ("A",)
    for name in ("Bad.Boys.1995__#01-11-55", "a_label_", "a_label_0-0-0", "a_label_B3"):
        with pytest.raises(DataError, match="does not end in _label_"):
            codes(name)


def test_ends_are_exclusive_and_cut_at_the_end_of_the_grid(benchmark: XDViolence) -> None:
    film, riot, normal = (benchmark.truth(video).frames for video in benchmark.videos("test"))
    assert [len(film), len(riot), len(normal)] == list(XD_TEST.values())
    assert film.nonzero()[0].tolist() == [*range(2, 10), *range(30, 64)]
    assert riot.nonzero()[0].tolist() == [*range(16)], "its name carries .mp4 in the annotations"
    assert not normal.any()


def test_kinds_are_codes_and_abnormal_only_where_the_frame_is(benchmark: XDViolence) -> None:
    film, riot, normal = (benchmark.truth(video).kinds for video in benchmark.videos("test"))
    assert film is not None and riot is not None
    assert {kind: labels.nonzero()[0].tolist() for kind, labels in film.items()} == {
        "B2": [*range(30, 64)],
        "B6": [*range(40, 60)],
        "G": [*range(2, 10)],
    }
    assert riot["B4"].sum() == 16, "the list of kinds ends one frame later than the official one"
    assert normal == {}


def test_without_the_list_of_kinds_there_are_none(benchmark: XDViolence, tmp_path: Path) -> None:
    (tmp_path / "root" / "xd" / "annotations_multiclasses.txt").unlink()
    assert benchmark.truth(benchmark.videos("test")[0]).kinds is None


def test_without_files_only_the_official_grid_is_known(benchmark: XDViolence) -> None:
    video = benchmark.videos("test")[0]
    assert benchmark.default_grid == "official"
    assert benchmark.grid_length(video, "official") == 64
    for grid in ("frames", "floor16", "ceil16"):
        with pytest.raises(DataError, match="take grid official"):
            benchmark.grid_length(video, grid)


def test_with_its_file_the_truth_has_the_real_length(benchmark: XDViolence, tmp_path: Path) -> None:
    (tmp_path / "root" / "videos").mkdir()
    write_clip(tmp_path / "root" / "videos" / f"{FILM}.mp4", frames=68)
    again = XDViolence(root=str(tmp_path / "root"))
    video = again.videos("test")[0]
    assert video.path == tmp_path / "root" / "videos" / f"{FILM}.mp4"
    assert len(again.truth(video).frames) == again.grid_length(video, "frames") == 68
    assert again.grid_length(video, "official") == 64
    (tmp_path / "root" / "xd" / "frame_counts_test_grid16.json").unlink()
    uncounted = XDViolence(root=str(tmp_path / "root"))
    assert uncounted.grid_length(uncounted.videos("test")[0], "official") == 64
    write_clip(tmp_path / "root" / "videos" / f"{RIOT}.mp4", frames=64)
    uncounted = XDViolence(root=str(tmp_path / "root"))
    assert uncounted.grid_length(uncounted.videos("test")[1], "official") == 48, "16 * floor((64 - 1) / 16)"


@pytest.mark.parametrize("line", [f"{FILM} 1 2 3", f"{FILM} a b", FILM])
def test_a_damaged_line_is_an_error_that_shows_it(benchmark: XDViolence, tmp_path: Path, line: str) -> None:
    (tmp_path / "root" / "xd" / "annotations.txt").write_text(line)
    with pytest.raises(DataError, match=r"expected 'name start end \.\.\.', got 'Bad"):
        benchmark.truth(benchmark.videos("test")[0])


def test_an_annotation_of_an_unlisted_video_is_a_problem(benchmark: XDViolence, tmp_path: Path) -> None:
    path = tmp_path / "root" / "xd" / "annotations.txt"
    path.write_text(path.read_text() + "Other.1999__#0_label_B1-0-0 1 2\n")
    problems = benchmark.check().problems
    assert "Other.1999__#0_label_B1-0-0 has labels, but is not in the list of the split 'test'" in problems
