"""UCSD Ped1 and Ped2 from the official archive and from re-packed trees."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from trees import UCSD_TEST, UCSD_TRAIN, image, ucsd_mask, ucsd_official, ucsd_repacked

from vad.benchmarks import UCSDPed1, UCSDPed2
from vad.benchmarks.ucsd_ped import _UCSDPed
from vad.errors import DataError

LABELS = [[int(any(s <= frame < e for s, e in intervals)) for frame in range(n)] for n, intervals in UCSD_TEST]


class SmallPed2(UCSDPed2):
    """Ped2 if the small trees were what is published."""

    lengths = {"train": UCSD_TRAIN, "test": tuple(frames for frames, _ in UCSD_TEST)}  # noqa: RUF012
    abnormal_frames = sum(map(sum, LABELS))
    masked = (1, 2, 3)


TREES: dict[str, Callable[[Path], object]] = {
    "official": ucsd_official,
    "repacked": ucsd_repacked,
    "unpadded": lambda root: ucsd_repacked(root, frame="{}"),
    "official names inside": lambda root: ucsd_repacked(root, clip=lambda split, n: f"{split}{n:03d}", masks=True),
}


@pytest.fixture(autouse=True)
def no_annotations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VAD_DATA", str(tmp_path / "data"))


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return ucsd_official(tmp_path)


def small(tmp_path: Path) -> _UCSDPed:
    return SmallPed2(root=str(tmp_path))


@pytest.mark.parametrize("name", TREES)
def test_every_tree_gives_the_official_ids_lengths_and_labels(tmp_path: Path, name: str) -> None:
    TREES[name](tmp_path)
    benchmark = small(tmp_path)
    assert [(v.id, v.frames, v.size, v.fps) for v in benchmark.videos("train")] == [
        (f"Train{number:03d}", frames, (24, 16), None) for number, frames in enumerate(UCSD_TRAIN, start=1)
    ]
    tests = benchmark.videos("test")
    assert [video.id for video in tests] == ["Test001", "Test002", "Test003"]
    assert [benchmark.truth(video).frames.tolist() for video in tests] == LABELS
    assert not any(benchmark.truth(video).frames.any() for video in benchmark.videos("train"))
    assert benchmark.check().problems == ()


@pytest.mark.parametrize("name", TREES)
def test_frames_are_read_in_the_order_of_their_numbers(tmp_path: Path, name: str) -> None:
    TREES[name](tmp_path)
    benchmark = small(tmp_path)
    for number, video in enumerate(benchmark.videos("test"), start=1):
        with benchmark.open(video) as reader:
            values = reader.frames(range(len(reader))).mean(axis=(1, 2, 3))
        np.testing.assert_allclose(values, 100 + 10 * number + np.arange(video.frames or 0), atol=1)


def test_masks_are_matched_by_number_whatever_they_are_called(tmp_path: Path, tree: Path) -> None:
    benchmark = small(tmp_path)
    for video, (frames, intervals) in zip(benchmark.videos("test"), UCSD_TEST, strict=True):
        masks = benchmark.truth(video).masks
        assert masks is not None
        for frame in range(frames):
            np.testing.assert_array_equal(masks(frame), ucsd_mask(intervals, frame) > 0)


def test_regions_are_derived_from_masks(tmp_path: Path, tree: Path) -> None:
    benchmark = small(tmp_path)
    regions = benchmark.truth(benchmark.videos("test")[0]).regions
    assert regions is not None and regions.derived
    assert regions.frame.tolist() == [2, 3, 4, 8, 9, 10, 11]
    assert regions.track.tolist() == [0, 0, 0, 1, 1, 1, 1]
    np.testing.assert_array_equal(regions.box[0], [2, 4, 7, 9])


def test_clips_without_masks_have_labels_alone(tmp_path: Path) -> None:
    ucsd_repacked(tmp_path)
    benchmark = small(tmp_path)
    truth = benchmark.truth(benchmark.videos("test")[0])
    assert truth.frames.tolist() == LABELS[0]
    assert truth.masks is None and truth.regions is None
    assert benchmark.check().notes


def test_masks_stand_for_a_list_that_is_missing(tmp_path: Path, tree: Path) -> None:
    (tree / "Test" / "UCSDped2.m").unlink()
    benchmark = small(tmp_path)
    assert [benchmark.truth(video).frames.tolist() for video in benchmark.videos("test")] == LABELS


def test_the_archives_own_list_comes_before_a_re_packed_one(tmp_path: Path, tree: Path) -> None:
    (tree / "A").mkdir()
    (tree / "A" / "ped2.mat").write_bytes(b"")
    benchmark = small(tmp_path)
    assert [benchmark.truth(video).frames.tolist() for video in benchmark.videos("test")] == LABELS


def test_without_list_and_masks_the_message_says_what_lacks(tmp_path: Path) -> None:
    (ucsd_repacked(tmp_path) / "ped2.mat").unlink()
    benchmark = small(tmp_path)
    with pytest.raises(DataError, match="Test001 has no masks, and there is no list of labels"):
        benchmark.truth(benchmark.videos("test")[0])
    assert any("no list of labels" in problem for problem in benchmark.check().problems)


def test_a_list_among_the_annotations_is_found(tmp_path: Path) -> None:
    root = tmp_path / "data" / "ucsd_ped"
    listed = ucsd_repacked(root) / "ped2.mat"
    annotations = tmp_path / "data" / "annotations" / "ucsd_ped"
    annotations.mkdir(parents=True)
    listed.rename(annotations / "ped2.mat")
    benchmark = SmallPed2()
    assert [benchmark.truth(video).frames.tolist() for video in benchmark.videos("test")] == LABELS


def test_both_parts_may_lie_below_one_root(tmp_path: Path) -> None:
    ucsd_official(tmp_path, part=1)
    ucsd_official(tmp_path, part=2)
    for benchmark, part in ((UCSDPed1(root=str(tmp_path)), 1), (UCSDPed2(root=str(tmp_path)), 2)):
        assert benchmark.dataset == f"ucsd_ped{part}"
        videos = benchmark.videos("test")
        assert len(videos) == 3
        assert all(f"UCSDped{part}" in str(video.path) for video in videos)


def test_the_root_may_be_any_folder_of_the_tree(tmp_path: Path, tree: Path) -> None:
    for root in (tmp_path, tree.parent, tree):
        assert [video.id for video in small(root).videos("train")] == ["Train001", "Train002"]
    assert [video.id for video in small(tree / "Test").videos("test")] == ["Test001", "Test002", "Test003"]
    moved = tree.rename(tmp_path / "walkway")
    assert len(small(moved).videos("test")) == 3, "a tree whose folders do not say which part it is"


def test_two_trees_of_one_part_are_an_error(tmp_path: Path, tree: Path) -> None:
    ucsd_repacked(tmp_path)
    with pytest.raises(
        DataError, match=r"Test001 is there more than once, in .*ped2.* and .*ped2.*: give benchmark.root"
    ):
        small(tmp_path).videos("test")
    assert any("more than once" in problem for problem in small(tmp_path).check().problems)


# What can be broken: how, what `check` says, and whether videos or truth refuse it.
def remove_frame(tree: Path) -> None:
    (tree / "Test" / "Test001" / "005.tif").unlink()


def remove_last_frame(tree: Path) -> None:
    (tree / "Train" / "Train002" / "005.tif").unlink()


def remove_mask(tree: Path) -> None:
    (tree / "Test" / "Test002_gt" / "frame004.bmp").unlink()


def remove_masks(tree: Path) -> None:
    for path in (tree / "Test" / "Test003_gt").iterdir():
        path.unlink()
    (tree / "Test" / "Test003_gt").rmdir()


def surplus_mask(tree: Path) -> None:
    image(tree / "Test" / "Test001_gt" / "013.bmp", 0)


def cut_frame(tree: Path) -> None:
    path = tree / "Test" / "Test003" / "002.tif"
    path.write_bytes(path.read_bytes()[:150])


def empty_frame(tree: Path) -> None:
    (tree / "Train" / "Train001" / "001.tif").write_bytes(b"")


def cut_mask(tree: Path) -> None:
    path = tree / "Test" / "Test003_gt" / "004.bmp"
    path.write_bytes(path.read_bytes()[:-60])


def drop_line(tree: Path) -> None:
    path = tree / "Test" / "UCSDped2.m"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0], *lines[2:]]))


def older_list(tree: Path) -> None:
    path = tree / "Test" / "UCSDped2.m"
    path.write_text(path.read_text().replace("[3:5,", "[3:7,"))


def list_beyond(tree: Path) -> None:
    path = tree / "Test" / "UCSDped2.m"
    path.write_text(path.read_text().replace("[1:11]", "[1:14]"))


def other_size(tree: Path) -> None:
    Image.new("L", (30, 20)).save(tree / "Train" / "Train001" / "004.tif")


def surplus_clip(tree: Path) -> None:
    image(tree / "Train" / "Train003" / "001.tif", 0)


def missing_clip(tree: Path) -> None:
    (tree / "Train" / "Train001").rename(tree / "Train" / ".Train001")


BROKEN: dict[Callable[[Path], None], str] = {
    remove_frame: r"Test001 lacks frame 5 \(of 1 to 12 in .*Test001\)",
    remove_last_frame: r"Train002 has 4 frames, 5 are published",
    remove_mask: r"Test002 lacks the mask of frame 4 in .*Test002_gt",
    remove_masks: r"test: clip 3 has no folder of masks",
    surplus_mask: r"Test001 has a mask 13, but no such frame",
    cut_frame: r"Test003/002\.tif: cannot be read as an image",
    empty_frame: r"Train001/001\.tif: cannot be read as an image",
    cut_mask: r"Test003_gt/004\.bmp: cannot be read as an image",
    drop_line: r"UCSDped2\.m: has labels of 2 clips, but there is Test003, so a line is missing",
    older_list: r"UCSDped2\.m: the labels of Test001 contradict its masks in frame 6-7",
    list_beyond: r"UCSDped2\.m: Test002 is abnormal up to frame 14, but has 11 frames",
    other_size: r"Train001/004\.tif: is 30 x 20, but the clip's first frame 24 x 16",
    surplus_clip: r"Train003 is not published: there are 2 clips",
    missing_clip: r"train: clip 1 of 2 is missing",
}


@pytest.mark.parametrize("broken", BROKEN, ids=lambda f: f.__name__)
def test_a_check_says_exactly_what_is_wrong(tmp_path: Path, tree: Path, broken: Callable[[Path], None]) -> None:
    assert small(tmp_path).check().ok
    broken(tree)
    problems = small(tmp_path).check().problems
    assert len([problem for problem in problems if re.search(BROKEN[broken], problem)]) == 1, problems
    assert len(problems) == 1, problems


def test_a_clip_with_a_gap_is_refused(tmp_path: Path, tree: Path) -> None:
    remove_frame(tree)
    with pytest.raises(DataError, match="Test001 lacks frame 5"):
        small(tmp_path).videos("test")


@pytest.mark.parametrize("broken", [remove_mask, surplus_mask, cut_mask, drop_line, older_list, list_beyond])
def test_truth_that_cannot_be_right_is_refused(tmp_path: Path, tree: Path, broken: Callable[[Path], None]) -> None:
    broken(tree)
    benchmark = small(tmp_path)
    with pytest.raises(DataError, match=BROKEN[broken]):
        for video in benchmark.videos("test"):
            benchmark.truth(video)


def test_an_image_without_a_number_is_refused_when_pixels_are_read(tmp_path: Path, tree: Path) -> None:
    image(tree / "Test" / "Test001" / "cover.tif", 0)
    benchmark = small(tmp_path)
    with pytest.raises(DataError, match="holds 13 images, but 12 numbered ones"):
        benchmark.open(benchmark.videos("test")[0])
