"""ShanghaiTech's official split from its tree: masks of frames and pixels, tracks, scenes."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from one_class_trees import (
    SHANGHAITECH_TEST,
    SHANGHAITECH_TRAIN,
    SIZE,
    labels,
    mask,
    shanghaitech_official,
    track_rows,
    value,
)

from vad.benchmarks import ShanghaiTech, ShanghaiTechWeak
from vad.benchmarks.one_class import PublishedClips
from vad.errors import DataError
from vad.types import Video

LABELS = {id: labels(*about) for id, about in SHANGHAITECH_TEST.items()}
FRAMES = sum(map(len, LABELS.values()))


class SmallShanghaiTech(ShanghaiTech):
    """ShanghaiTech if the small trees were what is published."""

    size = SIZE
    published = {  # noqa: RUF012
        "train": PublishedClips(len(SHANGHAITECH_TRAIN)),
        "test": PublishedClips(len(LABELS), FRAMES, sum(map(sum, LABELS.values()))),
    }


@pytest.fixture(autouse=True)
def no_annotations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VAD_DATA", str(tmp_path / "data"))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "root"


def small(root: Path) -> ShanghaiTech:
    return SmallShanghaiTech(str(root))


@pytest.mark.parametrize("frame", ["{:03d}", "{:06d}", "{}"])
def test_every_tree_gives_ids_scenes_lengths_labels_and_frames(root: Path, frame: str) -> None:
    shanghaitech_official(root, frame=frame)
    benchmark = small(root)
    assert [(v.id, v.frames, v.size, v.scene, v.label) for v in benchmark.videos("train")] == [
        (id, frames, SIZE, id[:2], 0) for id, frames in SHANGHAITECH_TRAIN.items()
    ]
    tests = benchmark.videos("test")
    assert [(v.id, v.frames, v.size, v.fps, v.scene) for v in tests] == [
        (id, len(of_clip), SIZE, 24, id[:2]) for id, of_clip in LABELS.items()
    ]
    assert {video.id: benchmark.truth(video).frames.tolist() for video in tests} == LABELS
    for number, video in enumerate(tests, start=3):
        with benchmark.open(video) as reader:
            grey = reader.frames(range(len(reader))).mean(axis=(1, 2, 3))
        np.testing.assert_allclose(grey, [value(number, frame) for frame in range(len(grey))], atol=4)
    report = benchmark.check()
    assert report.problems == () and report.notes == ()


def test_both_splits_share_their_cache_and_their_files(root: Path) -> None:
    shanghaitech_official(root, lists=True)
    weak, official = ShanghaiTechWeak(str(root)), small(root)
    assert weak.dataset == official.dataset == "shanghaitech"
    of_weak = {v.id: v.path for split in weak.splits for v in weak.videos(split)}
    assert of_weak == {v.id: v.path for split in official.splits for v in official.videos(split)}


def test_pixel_masks_are_read_frame_by_frame(root: Path) -> None:
    shanghaitech_official(root)
    benchmark = small(root)
    for video in benchmark.videos("test"):
        masks = benchmark.truth(video).masks
        assert masks is not None
        for frame, abnormal in enumerate(LABELS[video.id]):
            np.testing.assert_array_equal(masks(frame), mask(frame, abnormal) > 0)


def test_regions_are_tracks_where_there_are_files_and_derived_elsewhere(root: Path) -> None:
    shanghaitech_official(root)
    video = small(root).videos("test")[1]
    derived = small(root).truth(video).regions
    assert derived is not None and derived.derived
    assert derived.frame.tolist() == [0, 1, 10, 11]
    shanghaitech_official(root.parent / "tracked", tracks=True)
    tracked = small(root.parent / "tracked").truth(small(root.parent / "tracked").videos("test")[1]).regions
    assert tracked is not None and not tracked.derived
    assert tracked.frame.tolist() == [1, 10, 11], "a track begins later than its mask, and neither is mended"
    assert tracked.track.tolist() == [0, 1, 1]
    np.testing.assert_array_equal(tracked.box[0], [1, 4, 7, 10])
    np.testing.assert_array_equal(tracked.box[0], derived.box[1])


def test_tracks_and_masks_among_the_annotations_suffice_without_footage(tmp_path: Path) -> None:
    shanghaitech_official(tmp_path / "made", tracks=True)
    place = tmp_path / "data" / "annotations" / "shanghaitech"
    place.mkdir(parents=True)
    (tmp_path / "made" / "tracks").rename(place / "tracks")
    (tmp_path / "made" / "shanghaitech" / "testing" / "test_frame_mask").rename(place / "frame_masks")
    benchmark = SmallShanghaiTech()
    tests = benchmark.videos("test")
    assert [(v.id, v.path, v.frames) for v in tests] == [(id, None, len(of)) for id, of in LABELS.items()]
    assert all(benchmark.truth(video).regions is not None for video in tests)
    assert benchmark.check().ok and "labels only" in benchmark.check().notes[0]


# What can be broken: how, and what `check` says.
def remove_mask(root: Path) -> None:
    (root / "shanghaitech" / "testing" / "test_frame_mask" / "02_0128.npy").unlink()


def remove_video(root: Path) -> None:
    folder = root / "shanghaitech" / "testing" / "frames" / "04_0011"
    folder.rename(folder.with_name(".04_0011"))


def remove_frame(root: Path) -> None:
    (root / "shanghaitech" / "testing" / "frames" / "01_0014" / "005.jpg").unlink()


def remove_last_frame(root: Path) -> None:
    (root / "shanghaitech" / "testing" / "frames" / "01_0014" / "012.jpg").unlink()


def remove_training_video(root: Path) -> None:
    (root / "shanghaitech" / "training" / "videos" / "01_001.avi").unlink()


def shorter_pixel_mask(root: Path) -> None:
    np.save(root / "shanghaitech" / "testing" / "test_pixel_mask" / "01_0014.npy", np.zeros((12, 32, 48), np.uint8))


def remove_tracks(root: Path) -> None:
    (root / "tracks" / "02_0128.txt").unlink()


def other_columns(root: Path) -> None:
    (root / "tracks" / "02_0128.txt").write_text("0,1,2,3\n")


def beyond(root: Path) -> None:
    (root / "tracks" / "04_0011.txt").write_text(track_rows(6, [(0, 6)]))


def no_box(root: Path) -> None:
    (root / "tracks" / "04_0011.txt").write_text("0,1,2,3,9,9\n0,2,9,3,2,9\n")


BROKEN: dict[Callable[[Path], None], str] = {
    remove_mask: r"test_frame_mask/02_0128\.npy lies neither below",
    remove_video: "test: 04_0011 is missing below",
    remove_frame: r"01_0014 lacks frame 5 \(of 0 to 12 in",
    remove_last_frame: "01_0014 has 12 frames, but labels of 13",
    remove_training_video: "train: 1 videos, 2 are published",
    shorter_pixel_mask: r"test_pixel_mask/01_0014\.npy: expected uint8 or bool \(13, height, width\)",
    remove_tracks: r"there are tracks of other videos, but no tracks/02_0128\.txt",
    other_columns: r"02_0128\.txt: expected lines 'track,frame,x1,y1,x2,y2', got 4 columns",
    beyond: r"04_0011\.txt: names frame 5 of 5",
    no_box: r"04_0011\.txt: line 2 is an empty box",
}


@pytest.mark.parametrize("broken", BROKEN, ids=lambda f: f.__name__)
def test_a_check_says_exactly_what_is_wrong(root: Path, broken: Callable[[Path], None]) -> None:
    shanghaitech_official(root, tracks=True)
    broken(root)
    (problem,) = small(root).check().problems
    assert re.search(BROKEN[broken], problem), problem


def test_frames_of_another_size_have_labels_alone_and_that_is_said(root: Path) -> None:
    tree = shanghaitech_official(root)
    for id in LABELS:
        path = tree / "testing" / "test_pixel_mask" / f"{id}.npy"
        np.save(path, np.zeros((len(LABELS[id]), 480, 856), bool))
    benchmark = ShanghaiTech(str(root))
    truth = benchmark.truth(benchmark.videos("test")[0])
    assert truth.frames.any() and truth.masks is None and truth.regions is None
    assert "not 856 x 480 as published" in str(benchmark.check().notes)


def test_a_name_is_compared_as_a_whole(root: Path) -> None:
    tree = shanghaitech_official(root)
    (tree / "training" / "videos" / "01_00.avi").write_bytes(b"")
    (tree / "training" / "videos" / "01_00144.avi").write_bytes(b"")
    assert [video.id for video in small(root).videos("train")] == list(SHANGHAITECH_TRAIN)


def test_a_video_without_footage_cannot_be_opened(root: Path) -> None:
    shanghaitech_official(root)
    with pytest.raises(DataError, match="there is no file of 01_0099 below"):
        small(root).open(Video(id="01_0099", split="test"))
