"""Footage: whatever a person's folder holds, and truth as a person would write it."""

from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from vad.benchmarks.footage import Footage
from vad.errors import DataError
from vad.types import Video


def write_video(path: Path, frames: int = 6) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 32, 24, "yuv420p"
        for i in range(frames):
            image = np.full((24, 32, 3), 20 * i, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image)))
        container.mux(stream.encode())


def write_frames(folder: Path, frames: int = 4) -> None:
    folder.mkdir(parents=True)
    for i in range(frames):
        Image.fromarray(np.full((24, 32, 3), 40 * i, np.uint8)).save(folder / f"{i}.png")


@pytest.fixture
def only_test(tmp_path: Path) -> Path:
    root = tmp_path / "mine"
    write_video(root / "b.v1.mp4")
    write_video(root / "sub" / "A.MKV", frames=5)
    write_frames(root / "sub" / "folder.of=frames")
    (root / "sub" / "notes.txt").write_text("no video")
    (root / "._b.mp4").write_bytes(b"left by a Mac")
    return root


@pytest.fixture
def three_splits(tmp_path: Path) -> Path:
    root = tmp_path / "mine"
    write_video(root / "train" / "x.mp4")
    write_video(root / "weak_train" / "normal" / "x.mp4")
    write_video(root / "weak_train" / "abnormal" / "x.mp4")
    write_video(root / "test" / "x.mp4")
    write_video(root / "elsewhere" / "x.mp4")
    return root


def video(root: Path, name: str) -> Video:
    return next(v for v in Footage(str(root)).videos("test") if v.id == name)


def test_without_split_folders_everything_is_test(only_test: Path) -> None:
    footage = Footage(str(only_test))
    found = {v.id: (v.frames, v.size, v.label) for v in footage.videos("test")}
    assert found == {
        "b.v1": (6, (32, 24), None),
        "sub/A": (5, (32, 24), None),
        "sub/folder.of=frames": (4, (32, 24), None),
    }
    with pytest.raises(DataError, match="no video of train below"):
        footage.videos("train")


def test_split_folders_and_folders_named_after_labels_are_followed(three_splits: Path) -> None:
    footage = Footage(str(three_splits))
    labels = {v.id: v.label for split in footage.splits for v in footage.videos(split)}
    assert labels == {"train/x": 0, "weak_train/abnormal/x": 1, "weak_train/normal/x": 0, "test/x": None}


def test_pixels_come_from_files_and_from_folders_of_frames(only_test: Path) -> None:
    footage = Footage(str(only_test))
    for one in footage.videos("test"):
        with footage.open(one) as reader:
            assert reader.frames([one.frames - 1]).shape == (1, 24, 32, 3)
    with footage.open(video(only_test, "sub/folder.of=frames")) as reader:
        assert reader.frames([3])[0, 0, 0, 0] == 120


def test_a_root_of_frames_is_one_video(tmp_path: Path) -> None:
    write_frames(tmp_path / "clip")
    assert [v.id for v in Footage(str(tmp_path / "clip")).videos("test")] == ["clip"]


def test_two_videos_of_one_id_are_refused(only_test: Path) -> None:
    write_video(only_test / "b.v1.avi")
    with pytest.raises(DataError, match=r"b\.v1\.(avi|mp4) and .* would have one id"):
        Footage(str(only_test)).videos("test")


@pytest.mark.parametrize("where", ["", "labels/"])
def test_intervals_are_half_open_and_may_name_kinds(only_test: Path, where: str) -> None:
    place = only_test / f"{where}b.v1.csv"
    place.parent.mkdir(exist_ok=True)
    place.write_text("start,end\n0,2\n# a remark\n\n4,5,fall\n")
    truth = Footage(str(only_test)).truth(video(only_test, "b.v1"))
    assert truth.frames.dtype == np.uint8
    assert truth.frames.tolist() == [1, 1, 0, 0, 1, 0]
    assert truth.kinds is not None
    assert truth.kinds["fall"].tolist() == [0, 0, 0, 0, 1, 0]


def test_an_empty_file_says_that_nothing_is_abnormal(only_test: Path) -> None:
    (only_test / "b.v1.csv").write_text("")
    assert not Footage(str(only_test)).truth(video(only_test, "b.v1")).frames.any()


def test_labels_of_frames_are_read(only_test: Path) -> None:
    (only_test / "labels" / "sub").mkdir(parents=True)
    np.save(only_test / "labels" / "sub" / "A.npy", np.array([0, 1, 1, 0, 0]))
    assert Footage(str(only_test)).truth(video(only_test, "sub/A")).frames.tolist() == [0, 1, 1, 0, 0]


def test_missing_truth_says_how_to_give_it(only_test: Path) -> None:
    with pytest.raises(DataError, match=r"no truth of b\.v1; write .*labels/b\.v1\.csv with a line 'start,end'"):
        Footage(str(only_test)).truth(video(only_test, "b.v1"))


def test_a_video_labelled_normal_needs_no_truth(three_splits: Path) -> None:
    footage = Footage(str(three_splits))
    assert footage.truth(footage.videos("train")[0]).frames.tolist() == [0] * 6


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("b.v1.csv", "2,7\n", "line 1 names the frames 2 to 7 of a video of 6"),
        ("b.v1.csv", "3,3\n", "line 1 names the frames 3 to 3"),
        ("b.v1.csv", "0,1\nfrom 2 to 4\n", "line 2 is not 'start,end'"),
        ("b.v1.npy", np.zeros(5), "has the shape \\(5,\\), but the video has 6 frames"),
        ("b.v1.npy", np.full(6, 2), "values other than 0 and 1"),
    ],
)
def test_wrong_truth_is_one_sentence(only_test: Path, name: str, content: str | np.ndarray, message: str) -> None:
    if isinstance(content, str):
        (only_test / name).write_text(content)
    else:
        np.save(only_test / name, content)
    with pytest.raises(DataError, match=message) as error:
        Footage(str(only_test)).truth(video(only_test, "b.v1"))
    assert "\n" not in str(error.value)


def test_two_files_of_truth_are_refused(only_test: Path) -> None:
    (only_test / "b.v1.csv").write_text("")
    np.save(only_test / "b.v1.npy", np.zeros(6))
    with pytest.raises(DataError, match="are both truth of"):
        Footage(str(only_test)).truth(video(only_test, "b.v1"))


def test_the_dataset_is_named_after_the_resolved_root(only_test: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(only_test)
    write_frames(tmp_path / "other")
    names = [Footage(str(p)).dataset for p in (only_test, tmp_path / "link", tmp_path / "other")]
    assert names[0].startswith("footage-")
    assert names[0] == names[1] != names[2]


def test_check_counts_and_names_what_is_wrong(only_test: Path) -> None:
    (only_test / "b.v1.csv").write_text("0,2\n")
    (only_test / "broken.mp4").write_bytes(b"this is no video" * 100)
    report = Footage(str(only_test)).check(decode=True)
    assert report.counts == {"test": {"videos": 3, "frames": 15, "with_truth": 1, "abnormal_frames": 2}}
    assert len(report.problems) == 1
    assert "broken.mp4" in report.problems[0]
    assert len(report.notes) == 2


def test_check_of_a_missing_root_reports_it(tmp_path: Path) -> None:
    assert "there is no folder" in Footage(str(tmp_path / "none")).check().problems[0]
