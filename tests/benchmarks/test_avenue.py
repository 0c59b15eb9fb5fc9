"""Avenue from the official archives and from re-packed trees, by both of its truths."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from one_class_trees import (
    AVENUE_INTERVALS,
    AVENUE_TEST,
    AVENUE_TRAIN,
    SIZE,
    avenue_list,
    avenue_masks,
    avenue_official,
    avenue_repacked,
    avi,
    cells,
    folder,
    labels,
    mask,
    value,
)
from scipy.io import savemat

from vad import files
from vad.benchmarks import Avenue, avenue_labels
from vad.benchmarks.one_class import PublishedClips
from vad.errors import ConfigError, DataError
from vad.evaluation import evaluate
from vad.scores import Scores
from vad.types import Record, ScoredVideo

BY_MASK = {f"test/{n:02d}": labels(frames, found) for n, (frames, found) in AVENUE_TEST.items()}
BY_INTERVAL = {f"test/{n:02d}": labels(frames, AVENUE_INTERVALS[n]) for n, (frames, _) in AVENUE_TEST.items()}


class SmallAvenue(Avenue):
    """Avenue if the small trees were what is published."""

    size = SIZE

    @property
    def published(self):  # type: ignore[no-untyped-def]
        by = BY_MASK if self.labels == "mask" else BY_INTERVAL
        frames = sum(len(of_clip) for of_clip in by.values())
        return {
            "train": PublishedClips(len(AVENUE_TRAIN), sum(AVENUE_TRAIN)),
            "test": PublishedClips(len(by), frames, sum(map(sum, by.values()))),
        }

    def expected(self, split):  # type: ignore[no-untyped-def]
        if split == "train":
            return {"train/01": None, "train/02": None}
        return {id: len(of_clip) for id, of_clip in BY_MASK.items()}


TREES: dict[str, tuple[Callable[[Path], object], Callable[[str], Avenue]]] = {
    "official": (avenue_official, lambda root: SmallAvenue(root)),
    "repacked, by masks": (lambda root: avenue_repacked(root, truth="mask"), lambda root: SmallAvenue(root)),
    "repacked, by intervals": (avenue_repacked, lambda root: SmallAvenue(root, truth="interval")),
    "unpadded": (lambda root: avenue_repacked(root, frame="{}"), lambda root: SmallAvenue(root, truth="interval")),
    "six digits": (
        lambda root: avenue_repacked(root, frame="{:06d}", truth="mask"),
        lambda root: SmallAvenue(root),
    ),
}


@pytest.fixture(autouse=True)
def no_annotations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VAD_DATA", str(tmp_path / "data"))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "root"


@pytest.fixture
def tree(root: Path) -> Path:
    return avenue_official(root)


def small(root: Path) -> Avenue:
    return SmallAvenue(str(root))


@pytest.mark.parametrize("name", TREES)
def test_every_tree_gives_the_ids_lengths_labels_and_frames(root: Path, name: str) -> None:
    make, benchmark_of = TREES[name]
    make(root)
    benchmark = benchmark_of(str(root))
    train, test = benchmark.videos("train"), benchmark.videos("test")
    assert [(v.id, v.frames, v.size, v.fps, v.label) for v in train] == [
        (f"train/{number:02d}", frames, SIZE, 25, 0) for number, frames in enumerate(AVENUE_TRAIN, start=1)
    ]
    assert [video.id for video in test] == ["test/01", "test/02", "test/10"]
    wanted = BY_INTERVAL if "intervals" in name or name == "unpadded" else BY_MASK
    assert {video.id: benchmark.truth(video).frames.tolist() for video in test} == wanted
    assert not any(benchmark.truth(video).frames.any() for video in train)
    for video in test:
        number = int(video.id[-2:])
        with benchmark.open(video) as reader:
            grey = reader.frames(range(len(reader))).mean(axis=(1, 2, 3))
        np.testing.assert_allclose(grey, [value(number, frame) for frame in range(len(grey))], atol=4)
    report = benchmark.check()
    assert report.problems == () and report.notes == ()
    assert report.counts["test"]["abnormal_frames"] == sum(map(sum, wanted.values()))


def test_masks_have_no_leading_zero_and_are_matched_by_number(root: Path, tree: Path) -> None:
    benchmark = small(root)
    for video, (frames, found) in zip(benchmark.videos("test"), AVENUE_TEST.values(), strict=True):
        masks = benchmark.truth(video).masks
        assert masks is not None
        for frame, abnormal in enumerate(labels(frames, found)):
            np.testing.assert_array_equal(masks(frame), mask(frame, abnormal) > 0)


def test_regions_are_derived_from_masks(root: Path, tree: Path) -> None:
    benchmark = small(root)
    regions = benchmark.truth(benchmark.videos("test")[0]).regions
    assert regions is not None and regions.derived
    assert regions.frame.tolist() == [2, 3, 4, 9, 10, 11, 12, 13]
    assert regions.track.tolist() == [0] * 3 + [1] * 5
    np.testing.assert_array_equal(regions.box[0], [2, 4, 8, 10])


def test_a_file_of_masks_is_read_once_and_again_when_it_changes(
    root: Path, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    video = small(root).videos("test")[0]
    before = small(root).truth(video)
    path = root / "ground_truth_demo" / "testing_label_mask" / "1_label.mat"
    read_masks = avenue_labels.read_masks
    monkeypatch.setattr(avenue_labels, "read_masks", lambda path: pytest.fail(f"{path} was read again"))
    kept = small(root).truth(video)
    np.testing.assert_array_equal(kept.frames, before.frames)
    assert kept.regions is not None and before.regions is not None and kept.masks is not None
    np.testing.assert_array_equal(kept.regions.box, before.regions.box)
    np.testing.assert_array_equal(kept.masks(3), mask(3, 1) > 0)
    monkeypatch.setattr(avenue_labels, "read_masks", read_masks)
    masks = np.empty((1, 14), object)
    for frame in range(14):
        masks[0, frame] = mask(frame, int(frame == 7))
    savemat(path, {"volLabel": masks})
    assert small(root).truth(video).frames.tolist() == labels(14, [(7, 8)])


@pytest.mark.parametrize("content", [b"", b"no archive", None])
def test_damaged_kept_masks_are_made_anew(root: Path, tree: Path, content: bytes | None) -> None:
    video = small(root).videos("test")[0]
    before = small(root).truth(video).frames
    (kept,) = (files.cache_root() / "masks").iterdir()
    kept.write_bytes(kept.read_bytes()[:-40] if content is None else content)
    np.testing.assert_array_equal(small(root).truth(video).frames, before)


def test_results_name_the_truth_and_scores_do_not(root: Path, tree: Path) -> None:
    avenue_list(tree / "avenue.mat", "interval")
    videos = tuple(ScoredVideo(id, "test", len(of_clip)) for id, of_clip in BY_MASK.items())
    offsets = np.cumsum([0, *(video.frames for video in videos)])
    frame = np.concatenate([np.arange(video.frames, dtype=np.int32) for video in videos])
    score = np.concatenate([np.array(of_clip, float) for of_clip in BY_MASK.values()])
    scores = Scores(Record(videos, offsets, frame=frame), score, header={"benchmark": "Avenue", "range": "raw"})
    by_mask = evaluate(scores, Avenue(str(root)), protocol="one_class", draws=2)
    by_interval = evaluate(scores, Avenue(str(root), truth="interval"), protocol="one_class", draws=2)
    assert (by_mask.benchmark, by_interval.benchmark) == ("Avenue (mask)", "Avenue (interval)")
    assert by_mask.metrics["micro_auroc"].value == 1 > by_interval.metrics["micro_auroc"].value
    with pytest.raises(ConfigError, match="expected one of mask, interval, got 'frames'"):
        Avenue(truth="frames")  # type: ignore[arg-type]


def test_the_list_of_intervals_has_no_masks_and_no_regions(root: Path, tree: Path) -> None:
    avenue_list(tree / "avenue.mat", "interval")
    benchmark = SmallAvenue(str(root), truth="interval")
    truth = benchmark.truth(benchmark.videos("test")[1])
    assert truth.frames.tolist() == labels(11, [(0, 2), (8, 10)])
    assert truth.masks is None and truth.regions is None


def test_which_list_a_file_is_its_variables_say(root: Path) -> None:
    avenue_repacked(root, truth="interval")
    with pytest.raises(DataError, match=r"no 1_label\.mat, nor .* 01 to 21, .*avenue\.mat is for truth: interval"):
        benchmark = small(root)
        benchmark.truth(benchmark.videos("test")[0])
    avenue_list(root / "more" / "avenue.mat", "mask")
    benchmark = small(root)
    assert [benchmark.truth(video).frames.tolist() for video in benchmark.videos("test")] == list(BY_MASK.values())


@pytest.mark.parametrize("squeezed", [np.array([[3, 14], [2, 2], [1, 3]], np.uint8), None])
def test_a_list_that_was_squeezed_and_saved_again_is_read(root: Path, squeezed: np.ndarray | None) -> None:
    avenue_repacked(root)
    vectors = {1: np.array([3, 14]), 2: np.array([2, 2]), 3: np.array([1, 3])}
    savemat(root / "avenue" / "avenue.mat", {"gt": cells(vectors) if squeezed is None else squeezed})
    benchmark = SmallAvenue(str(root), truth="interval")
    assert benchmark.truth(benchmark.videos("test")[0]).frames.tolist() == labels(14, [(2, 14)])
    assert benchmark.truth(benchmark.videos("test")[1]).frames.tolist() == labels(11, [(1, 2)])


def test_a_decoder_may_give_a_frame_more_or_less_than_there_are_labels(root: Path) -> None:
    avenue_official(root, more={1: 1, 10: -1})
    benchmark = small(root)
    longer, _, shorter = benchmark.videos("test")
    truth = benchmark.truth(longer)
    assert truth.frames.tolist() == [*BY_MASK["test/01"], 1]
    assert truth.masks is not None and truth.masks(14).any()
    cut = benchmark.truth(shorter)
    assert cut.frames.tolist() == BY_MASK["test/10"][:-1]
    assert cut.regions is not None and cut.regions.frame.tolist() == list(range(6))
    report = benchmark.check()
    assert report.notes[0].startswith("test/01 has 15 frames, 14 are published")
    assert report.notes[1].startswith("test/10 has 6 frames, 7 are published")


def test_labels_suffice_without_footage(tmp_path: Path) -> None:
    avenue_masks(tmp_path / "data" / "annotations" / "avenue")
    benchmark = SmallAvenue()
    assert [(v.id, v.path, v.frames) for v in benchmark.videos("test")] == [
        (id, None, len(of_clip)) for id, of_clip in BY_MASK.items()
    ]
    assert [benchmark.truth(video).frames.tolist() for video in benchmark.videos("test")] == list(BY_MASK.values())
    report = benchmark.check()
    assert report.ok and "labels only" in report.notes[0]
    with pytest.raises(DataError, match=r"there is no file of test/01 below .*avenue, only its labels"):
        benchmark.open(benchmark.videos("test")[0])
    with pytest.raises(DataError, match="there is no folder"):
        benchmark.videos("train")


def test_masks_of_another_size_than_the_frames_are_left_out_and_that_is_said(root: Path) -> None:
    avenue_repacked(root, truth="mask")
    masks = np.empty((1, 14), object)
    for frame, abnormal in enumerate(BY_MASK["test/01"]):
        masks[0, frame] = np.full((64, 96), abnormal, np.uint8)
    savemat(root / "1_label.mat", {"volLabel": masks})
    truth = small(root).truth(small(root).videos("test")[0])
    assert truth.frames.tolist() == BY_MASK["test/01"] and truth.masks is None and truth.regions is None
    assert "3 clips" not in str(small(root).check().notes)
    assert "test/01 and test/02 and test/10 are not 640 x 360 as published" in str(Avenue(str(root)).check().notes)


def test_the_nearest_folder_says_the_split(tmp_path: Path) -> None:
    root = tmp_path / "training-data"
    avenue_official(root)
    assert [video.id for video in small(root).videos("test")] == ["test/01", "test/02", "test/10"]


def test_a_file_comes_before_a_folder_of_its_frames(root: Path, tree: Path) -> None:
    folder(tree / "testing" / "frames" / "01", 1, 3, "{:04d}")
    assert small(root).videos("test")[0].path == tree / "testing_videos" / "01.avi"


# What can be broken: how, and what `check` says.
def remove_clip(root: Path) -> None:
    (root / "Avenue Dataset" / "testing_videos" / "10.avi").unlink()


def cut_clip(root: Path) -> None:
    path = root / "Avenue Dataset" / "training_videos" / "02.avi"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def empty_clip(root: Path) -> None:
    (root / "Avenue Dataset" / "training_videos" / "01.avi").write_bytes(b"")


def twice(root: Path) -> None:
    avi(root / "copy" / "testing" / "2.avi", 2, 11)


def longer_clip(root: Path) -> None:
    avi(root / "Avenue Dataset" / "testing_videos" / "02.avi", 2, 14)


def surplus_clip(root: Path) -> None:
    avi(root / "Avenue Dataset" / "training_videos" / "03.avi", 3, 4)


def remove_masks(root: Path) -> None:
    (root / "ground_truth_demo" / "testing_label_mask" / "2_label.mat").unlink()


def cut_masks(root: Path) -> None:
    path = root / "ground_truth_demo" / "testing_label_mask" / "10_label.mat"
    path.write_bytes(path.read_bytes()[:-50])


def no_masks(root: Path) -> None:
    savemat(root / "ground_truth_demo" / "testing_label_mask" / "1_label.mat", {"vol": np.zeros(3)})


def one_array(root: Path) -> None:
    savemat(root / "ground_truth_demo" / "testing_label_mask" / "1_label.mat", {"volLabel": np.zeros((4, 6, 14))})


BROKEN: dict[Callable[[Path], None], str] = {
    remove_clip: "test: test/10 is missing below ",
    cut_clip: r"training_videos/02\.avi: ",
    empty_clip: r"training_videos/01\.avi: ",
    twice: r"test/02 is there more than once, in .*02\.avi and .*2\.avi: move one away",
    longer_clip: r"test/02 has 14 frames, but labels of 11",
    surplus_clip: "train: 3 videos, 2 are published",
    remove_masks: r"there is no 2_label\.mat, nor avenue\.mat with the variables 01 to 21",
    cut_masks: r"10_label\.mat: cannot be read as a MATLAB file",
    no_masks: r"1_label\.mat: there is no variable 'volLabel'",
    one_array: r"1_label\.mat: expected a cell array of masks as 'volLabel', got float64 \(336,\)",
}


@pytest.mark.parametrize("broken", BROKEN, ids=lambda f: f.__name__)
def test_a_check_says_what_is_wrong(root: Path, tree: Path, broken: Callable[[Path], None]) -> None:
    broken(root)
    problems = small(root).check().problems
    assert re.search(BROKEN[broken], problems[0]), problems
    assert len(problems) == 1 or broken is surplus_clip, problems


@pytest.mark.parametrize("number", [0, 4])
def test_a_frame_that_lacks_is_refused_and_named(root: Path, number: int) -> None:
    tree = avenue_repacked(root, truth="mask")
    (tree / "testing" / "frames" / "02" / f"{number:04d}.jpg").unlink()
    if number == 0:  # what counts from 1 may be whole, but then it is not as long as its labels
        benchmark = small(root)
        with pytest.raises(DataError, match="test/02 has 10 frames, but labels of 11"):
            benchmark.truth(benchmark.videos("test")[1])
    else:
        with pytest.raises(DataError, match=r"test/02 lacks frame 4 \(of 0 to 10 in .*02\)"):
            small(root).videos("test")
    assert any("test/02" in problem for problem in small(root).check().problems)


def test_a_damaged_frame_is_found_by_decoding(root: Path) -> None:
    path = avenue_repacked(root, truth="mask") / "training" / "frames" / "02" / "0003.jpg"
    path.write_bytes(path.read_bytes()[:100])
    assert small(root).check().ok
    (problem,) = small(root).check(decode=True).problems
    assert "02/0003.jpg" in problem
