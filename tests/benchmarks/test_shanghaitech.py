"""ShanghaiTech's weakly supervised split from its lists and the frame masks of the official test split."""

from pathlib import Path

import numpy as np
import pytest
from trees import SHANGHAITECH_MASKS, image, shanghaitech_weak
from videos import write_clip

from vad.benchmarks import ShanghaiTechWeak
from vad.errors import DataError


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VAD_DATA", str(tmp_path / "data"))
    return shanghaitech_weak(tmp_path / "root")


def test_four_digits_are_abnormal_and_the_last_line_counts(root: Path) -> None:
    benchmark = ShanghaiTechWeak(root=str(root))
    assert [(v.id, v.label, v.frames, v.scene) for v in benchmark.videos("weak_train")] == [
        ("01_002", 0, None, "01"),
        ("01_0015", 1, 32, "01"),
        ("02_0128", 1, 17, "02"),
    ]
    assert [(v.id, v.label, v.frames) for v in benchmark.videos("test")] == [("01_001", 0, 37), ("01_0014", 1, 25)]


def test_frames_are_labelled_by_frame_masks_not_by_pixel_masks(root: Path) -> None:
    benchmark = ShanghaiTechWeak(root=str(root))
    normal, abnormal = benchmark.videos("test")
    assert benchmark.truth(abnormal).frames.tolist() == SHANGHAITECH_MASKS["01_0014"]
    assert benchmark.truth(normal).frames.tolist() == [0] * 37
    assert benchmark.truth(benchmark.videos("weak_train")[1]).frames.tolist() == SHANGHAITECH_MASKS["01_0015"]


def test_on_the_official_grid_the_last_label_is_repeated(root: Path) -> None:
    benchmark = ShanghaiTechWeak(root=str(root))
    normal, abnormal = benchmark.videos("test")
    assert benchmark.truth_on_grid(abnormal, "official").frames.tolist() == [0] * 20 + [1] * 12
    assert benchmark.grid_length(normal, "official") == 32, "what the published vector has, not what rounding gives"
    assert benchmark.grid_length(normal, "ceil16") == 48


def test_files_and_folders_are_found_by_whole_names(root: Path) -> None:
    (root / "training" / "videos").mkdir(parents=True)
    write_clip(root / "training" / "videos" / "01_001.avi", frames=37, codec="mpeg4")
    for frame in range(25):
        image(root / "testing" / "frames" / "01_0014" / f"{frame:03d}.jpg", frame)
    benchmark = ShanghaiTechWeak(root=str(root))
    normal, abnormal = benchmark.videos("test")
    assert normal.path == root / "training" / "videos" / "01_001.avi"
    assert abnormal.path == root / "testing" / "frames" / "01_0014"
    with benchmark.open(abnormal) as reader:
        assert len(reader) == 25
    assert not any("test: the files" in problem for problem in benchmark.check().problems)


@pytest.mark.parametrize("mask", [np.zeros((3, 4), np.uint8), np.array([0, 1, 2]), np.array([0.5])])
def test_a_mask_that_is_no_vector_of_0_and_1_is_an_error(root: Path, mask: np.ndarray) -> None:
    np.save(root / "testing" / "test_frame_mask" / "01_0014.npy", mask)
    with pytest.raises(DataError, match=r"01_0014\.npy: expected a vector of 0 and 1"):
        ShanghaiTechWeak(root=str(root)).videos("test")


def test_a_missing_mask_and_a_wrong_name_are_named(root: Path) -> None:
    (root / "testing" / "test_frame_mask" / "01_0014.npy").unlink()
    assert any(
        "test_frame_mask/01_0014.npy lies neither" in p for p in ShanghaiTechWeak(root=str(root)).check().problems
    )
    (root / "SH_Test.txt").write_text("01_001.avi")
    with pytest.raises(DataError, match=r"expected names such as 01_001 or 01_0014, got '01_001\.avi'"):
        ShanghaiTechWeak(root=str(root)).videos("test")
