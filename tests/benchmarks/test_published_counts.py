"""The official files themselves: what they hold is what was published of them."""

from pathlib import Path

import numpy as np
import pytest

from vad.benchmarks import (
    Avenue,
    Benchmark,
    Grid,
    ShanghaiTech,
    ShanghaiTechWeak,
    UCFCrime,
    UCSDPed1,
    UCSDPed2,
    XDViolence,
)
from vad.benchmarks.avenue import TEST_LENGTHS
from vad.benchmarks.intervals import read_matlab_cells, read_matlab_list
from vad.metrics import region_track


@pytest.fixture(autouse=True)
def data(real_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VAD_DATA", str(real_data))


def test_the_real_ped2_is_complete() -> None:
    report = UCSDPed2().check()
    assert report.problems == ()
    assert report.counts == {
        "train": {"videos": 16, "frames": 2550},
        "test": {"videos": 12, "frames": 2010, "abnormal_frames": 1648},
    }


def test_the_real_ped2_has_2410_regions_in_21_tracks() -> None:
    benchmark = UCSDPed2()
    truths = [benchmark.truth(video) for video in benchmark.videos("test")]
    regions = [truth.regions for truth in truths if truth.regions is not None]
    assert sum(len(r) for r in regions) == 2410
    assert sum(len(np.unique(r.track)) for r in regions) == 21
    assert [bool(truth.frames.all()) for truth in truths] == [False] * 7 + [True] * 4 + [False]
    assert [int(truth.frames.argmax()) for truth in truths] == [60, 94, 0, 30, 0, 0, 45, 0, 0, 0, 0, 87]


def test_the_real_mat_file_agrees_with_the_list(real_data: Path) -> None:
    cells = read_matlab_cells(real_data / "annotations" / "ucsd_ped" / "ped2.mat")
    lists = list((real_data / "ucsd_ped").rglob("UCSDped2.m"))
    assert cells == read_matlab_list(lists[0])
    ped1 = read_matlab_list(real_data / "annotations" / "ucsd_ped" / "UCSDped1.m")
    assert len(ped1) == 36
    assert sum(end - start for clip in ped1 for start, end in clip) == UCSDPed1.abnormal_frames == 4045
    assert [number for number, clip in enumerate(ped1, start=1) if len(clip) == 2] == [5, 6, 29, 32]


def totals(benchmark: Benchmark, grid: Grid) -> tuple[int, int, int]:
    """All frames of the test videos on a grid, those of abnormal videos, and abnormal ones."""
    videos = benchmark.videos("test")
    labels = [benchmark.truth_on_grid(video, grid).frames for video in videos]
    return (
        sum(len(frames) for frames in labels),
        sum(len(frames) for frames, video in zip(labels, videos, strict=True) if video.label == 1),
        sum(int(frames.sum()) for frames in labels),
    )


UCF = UCFCrime()
UCF_INCLUSIVE = UCFCrime(ucf_end="inclusive")


# A score of 1 on every frame of an abnormal video and 0 elsewhere: what the literature's figures have to beat.
@pytest.mark.parametrize(
    ("benchmark", "grid", "expected", "auroc", "ap_step"),
    [
        (UCF, "frames", (1_111_808, 462_903, 84_182), 0.81573, 0.18186),
        (UCF_INCLUSIVE, "frames", (1_111_808, 462_903, 84_331), 0.81578, 0.18218),
        (UCF, "floor16", (1_109_824, 461_968, 84_160), 0.81582, 0.18218),
        (UCF, "official", (1_109_680, 461_856, 84_128), 0.81584, 0.18215),
        (UCF_INCLUSIVE, "ceil16", (1_114_144, 464_048, 84_343), 0.81564, 0.18175),
        (XDViolence(), "official", (2_330_384, 1_078_016, 537_805), 0.84932, 0.49888),
        (ShanghaiTechWeak(), "official", (142_912, 17_968, 8_028), 0.96315, 0.44679),
        (ShanghaiTechWeak(), "frames", (141_870, 17_472, 7_962), 0.96449, 0.45570),
    ],
)
def test_a_perfect_classifier_of_videos_scores_what_is_published(
    benchmark: Benchmark, grid: Grid, expected: tuple[int, int, int], auroc: float, ap_step: float
) -> None:
    total, abnormal_videos, positive = totals(benchmark, grid)
    assert (total, abnormal_videos, positive) == expected
    assert 1 - (abnormal_videos - positive) / (2 * (total - positive)) == pytest.approx(auroc, abs=5.1e-6)
    assert positive / abnormal_videos == pytest.approx(ap_step, abs=5.1e-6)


@pytest.mark.parametrize("benchmark", [UCF, UCF_INCLUSIVE, XDViolence(), ShanghaiTechWeak()], ids=lambda b: b.name)
def test_the_official_lists_are_complete(benchmark: Benchmark) -> None:
    report = benchmark.check()
    assert report.problems == ()
    assert "lists and features only" in report.notes[0]


def test_published_counts_of_the_lists() -> None:
    assert UCF.check().counts == {
        "weak_train": {"videos": 1610, "abnormal_videos": 810, "files": 0, "frames": 12_656_615},
        "test": {"videos": 290, "abnormal_videos": 140, "files": 0, "frames": 1_111_808, "abnormal_frames": 84_182},
    }
    assert XDViolence().check().counts["weak_train"] == {"videos": 3954, "abnormal_videos": 1905, "files": 0}
    assert ShanghaiTechWeak().check().counts["weak_train"] == {"videos": 238, "abnormal_videos": 63, "files": 0}


def test_videos_of_xd_violence_for_each_code() -> None:
    videos = XDViolence().videos("test")
    codes = [video.id.rpartition("_label_")[2].split("-") for video in videos]
    counted = {code: sum(code in found for found in codes) for code in ("B1", "B6", "B2", "G", "B4", "B5")}
    assert counted == {"B1": 126, "B6": 106, "B2": 104, "G": 103, "B4": 101, "B5": 11}


def test_kinds_of_ucf_crime_share_all_abnormal_frames() -> None:
    kinds: dict[str, int] = {}
    for video in UCF.videos("test"):
        for kind, labels in (UCF.truth(video).kinds or {}).items():
            kinds[kind] = kinds.get(kind, 0) + int(labels.sum())
    assert len(kinds) == 13
    assert sum(kinds.values()) == 84_182


def test_official_lengths_are_those_of_the_videos_but_for_nine_snippets() -> None:
    short = [v.id for v in UCF.videos("test") if UCF.grid_length(v, "official") != UCF.grid_length(v, "floor16")]
    assert len(short) == 9
    assert all((video.frames or 0) % 16 == 0 for video in UCF.videos("test") if video.id in short)


def test_the_real_mask_labels_of_avenue() -> None:
    benchmark = Avenue()
    videos = benchmark.videos("test")
    truths = [benchmark.truth(video).frames for video in videos]
    assert tuple(map(len, truths)) == tuple(video.frames for video in videos) == TEST_LENGTHS
    assert (sum(TEST_LENGTHS), sum(int(frames.sum()) for frames in truths)) == (15_324, 3_712)
    assert [video.id for video, frames in zip(videos, truths, strict=True) if frames.all()] == ["test/08", "test/18"]
    assert np.count_nonzero(np.diff(truths[0], prepend=0) == 1) == 12, "runs of clip 1"


def test_the_real_masks_and_tracks_of_shanghaitech() -> None:
    benchmark = ShanghaiTech()
    videos = benchmark.videos("test")
    truths = [benchmark.truth(video) for video in videos]
    counts = (len(videos), sum(len(t.frames) for t in truths), sum(int(t.frames.sum()) for t in truths))
    assert counts == (107, 40_791, 17_326)
    assert all(truth.frames.any() for truth in truths)
    assert [video.id for video, truth in zip(videos, truths, strict=True) if truth.frames.all()] == ["04_0011"]
    in_scene = {scene: sum(video.scene == scene for video in videos) for scene in {video.scene for video in videos}}
    assert [in_scene[scene] for scene in sorted(filter(None, in_scene))] == [34, 3, 10, 9, 8, 6, 8, 12, 1, 5, 1, 10]
    regions = [truth.regions for truth in truths if truth.regions is not None]
    assert not any(found.derived for found in regions)
    assert sum(len(found) for found in regions) == 18_937
    assert sum(len(np.unique(found.track)) for found in regions) == 158
    marked = [
        np.bincount(found.frame, minlength=len(truth.frames)) > 0 for found, truth in zip(regions, truths, strict=True)
    ]
    differ = [int((of_tracks != truth.frames).sum()) for of_tracks, truth in zip(marked, truths, strict=True)]
    assert (sum(differ), np.count_nonzero(differ)) == (191, 12)


def test_boxes_that_are_the_regions_score_1_and_a_box_of_the_frame_as_published() -> None:
    benchmark = ShanghaiTech()
    truths = [benchmark.truth(video) for video in benchmark.videos("test")]
    lengths = [len(truth.frames) for truth in truths]
    starts, regions = np.cumsum([0, *lengths]), [truth.regions for truth in truths]
    frame = np.concatenate([start + found.frame for start, found in zip(starts, regions, strict=False) if found])
    box = np.concatenate([found.box for found in regions if found])
    track = np.concatenate([1000 * number + found.track for number, found in enumerate(regions) if found])

    def criteria(frames: np.ndarray, boxes: np.ndarray, scores: np.ndarray) -> tuple[float, float]:
        found = region_track.find(
            frame=frames, box=boxes, score=scores, region_frame=frame, region_box=box, region_track=track
        )
        return tuple(region_track.criteria(found, int(starts[-1])))

    assert criteria(frame, box, np.ones(len(frame))) == (1, 1)
    whole = np.tile(np.array([0, 0, 856, 480], np.float32), (starts[-1], 1))
    constant = criteria(np.arange(starts[-1]), whole, np.ones(starts[-1]))
    assert constant == pytest.approx((0.0188, 0.0579), abs=5.1e-5)
    labels = np.concatenate([truth.frames for truth in truths]).astype(float)
    assert criteria(np.arange(starts[-1]), whole, labels) == pytest.approx((0.0294, 0.0907), abs=5.1e-5)
