"""What holds for every benchmark. A class that is added joins by itself, and fails here until it has a tree."""

import inspect
import json
import pickle
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import get_args

import numpy as np
import one_class_trees
import pytest
import trees

import vad.benchmarks
from vad.benchmarks import Benchmark
from vad.errors import ConfigError, DataError
from vad.types import Part, Split, Video

CLASSES: dict[str, type[Benchmark]] = {
    name: value
    for name, value in vars(vad.benchmarks).items()
    if inspect.isclass(value) and issubclass(value, Benchmark) and not inspect.isabstract(value)
}
TREES: dict[str, Callable[[Path], object]] = {
    "Avenue": lambda root: one_class_trees.avenue_official(root, more={2: 1}),
    "ShanghaiTech": one_class_trees.shanghaitech_official,
    "UCSDPed1": lambda root: trees.ucsd_official(root, part=1),
    "UCSDPed2": trees.ucsd_official,
    "UCFCrime": trees.ucf_crime,
    "XDViolence": trees.xd_violence,
    "ShanghaiTechWeak": trees.shanghaitech_weak,
    "Composed": trees.surveillance_fight,
}
OWN_TESTS = {"Synthetic": "is rendered, in test_synthetic.py", "Footage": "has no truth, test_footage.py"}


@pytest.fixture(autouse=True)
def no_annotations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VAD_DATA", str(tmp_path / "data"))


@pytest.fixture(params=sorted(CLASSES))
def benchmark(request: pytest.FixtureRequest, tmp_path: Path) -> Benchmark:
    if request.param in OWN_TESTS:
        pytest.skip(f"{request.param} {OWN_TESTS[request.param]}")
    TREES[request.param](tmp_path / "root")
    return CLASSES[request.param](root=str(tmp_path / "root"))


def every_video(benchmark: Benchmark) -> list[Video]:
    return [video for split in benchmark.splits for video in benchmark.videos(split)]


def has_pixels(video: Video) -> bool:
    """Whether there is a file, or the video was joined from several."""
    return video.path is not None or bool(video.cuts)


def test_ids_are_unique_and_videos_carry_their_split(benchmark: Benchmark) -> None:
    videos = every_video(benchmark)
    assert len({video.id for video in videos}) == len(videos) > 1
    assert all(video.split == split for split in benchmark.splits for video in benchmark.videos(split))


def test_two_instances_give_the_same_videos(benchmark: Benchmark, tmp_path: Path) -> None:
    again = type(benchmark)(root=str(tmp_path / "root"))
    assert every_video(again) == every_video(benchmark)


def test_labels_of_videos_are_what_their_split_says(benchmark: Benchmark) -> None:
    for split in benchmark.splits:
        labels = {video.label for video in benchmark.videos(split)}
        assert labels <= {"train": {0}, "weak_train": {0, 1}, "test": {0, 1, None}}[split]


def test_a_split_that_it_lacks_is_refused_by_name(benchmark: Benchmark) -> None:
    for split in (*set(get_args(Split)) - set(benchmark.splits), "validation"):
        with pytest.raises(DataError, match=f"{benchmark.name} has no split '{split}', only {benchmark.splits[0]}"):
            benchmark.videos(split)


def test_truth_has_the_length_of_the_video_or_of_its_only_grid(benchmark: Benchmark) -> None:
    for video in benchmark.videos("test"):
        truth = benchmark.truth(video)
        assert truth.frames.dtype == np.uint8
        assert set(np.unique(truth.frames)) <= {0, 1}
        assert len(truth.frames) == (video.frames or benchmark.grid_length(video, benchmark.default_grid))
        if video.label == 0:
            assert not truth.frames.any()
        for labels in (truth.kinds or {}).values():
            assert labels.dtype == np.uint8
            assert not (labels & ~truth.frames).any()
            assert len(labels) == len(truth.frames)
        if truth.regions is not None:
            assert set(truth.regions.frame) <= set(np.flatnonzero(truth.frames))
            assert (np.diff(truth.regions.frame) >= 0).all()
        if truth.masks is not None:
            assert [bool(truth.masks(frame).any()) for frame in range(len(truth.frames))] == list(truth.frames == 1)


def test_truth_on_a_grid_has_the_length_of_the_grid(benchmark: Benchmark) -> None:
    for grid in ("frames", "floor16", "ceil16", "official"):
        for video in benchmark.videos("test"):
            try:
                length = benchmark.grid_length(video, grid)
            except DataError as error:
                assert "take grid" in str(error)
                continue
            truth = benchmark.truth_on_grid(video, grid)
            assert len(truth.frames) == length
            assert all(len(labels) == length for labels in (truth.kinds or {}).values())
            assert grid == "frames" or length % 16 == 0


def test_an_unknown_grid_is_refused_by_name(benchmark: Benchmark) -> None:
    with pytest.raises(ConfigError, match="frames, floor16, ceil16, official, got 'thirds'"):
        benchmark.grid_length(benchmark.videos("test")[0], "thirds")


def test_parts_cover_a_video_in_order(benchmark: Benchmark) -> None:
    for video in every_video(benchmark):
        if video.frames is None:
            with pytest.raises(DataError, match="length"):
                benchmark.parts(video)
            continue
        parts, sources = benchmark.parts(video), {source.id: source for source in benchmark.sources(video.split)}
        ends = np.cumsum([part.stop - part.start for part in parts]).tolist()
        assert (*ends,) == (*video.cuts, video.frames)
        assert all(0 <= part.start < part.stop <= (sources[part.source].frames or 0) for part in parts)
        if not video.cuts:
            assert parts == [Part(video.id, 0, video.frames)]
            assert sources[video.id] == video


def test_pixels_have_the_length_and_size_of_the_index(benchmark: Benchmark) -> None:
    for video in every_video(benchmark):
        if not has_pixels(video):
            with pytest.raises(DataError, match="there is no file"):
                benchmark.open(video)
            continue
        with benchmark.open(video) as reader:
            assert len(reader) == video.frames
            assert reader.size == video.size


def test_nothing_is_written_below_the_root(benchmark: Benchmark, tmp_path: Path) -> None:
    def state() -> list[tuple[str, int, int]]:
        paths = sorted((tmp_path / "root").rglob("*"))
        return [(str(path), path.stat().st_mtime_ns, path.stat().st_size) for path in paths]

    before = state()
    benchmark.check(decode=True)
    for video in every_video(benchmark):
        if video.split == "test":
            benchmark.truth(video)
        if has_pixels(video):
            with benchmark.open(video) as reader:
                reader.frames([0])
    assert state() == before
    assert not (tmp_path / "data").exists()


def test_a_check_reports_every_split_and_can_be_written_as_json(benchmark: Benchmark) -> None:
    report = benchmark.check()
    assert report.benchmark == benchmark.name
    assert list(report.counts) == list(benchmark.splits)
    for split, counts in report.counts.items():
        assert counts["videos"] == len(benchmark.videos(split))
    assert report.problems, "a small tree is not the published benchmark"
    assert not any("\n" in problem for problem in report.problems)
    assert json.loads(json.dumps(asdict(report)))["counts"] == report.counts


def test_it_crosses_process_borders(benchmark: Benchmark) -> None:
    before = every_video(benchmark)
    assert every_video(pickle.loads(pickle.dumps(benchmark))) == before


@pytest.mark.parametrize("name", sorted(set(CLASSES) - set(OWN_TESTS)))
def test_a_missing_root_is_one_line_that_names_it(name: str, tmp_path: Path) -> None:
    given = CLASSES[name](root=str(tmp_path / "nowhere"))
    with pytest.raises(DataError) as error:
        given.videos(given.splits[0])
    assert f"{name}: there is no folder {tmp_path / 'nowhere'}; give benchmark.root" == str(error.value)


@pytest.mark.parametrize("name", sorted(set(CLASSES) - set(OWN_TESTS)))
def test_without_any_data_the_message_names_where_they_belong(name: str, tmp_path: Path) -> None:
    benchmark = CLASSES[name]()
    with pytest.raises(DataError) as error:
        benchmark.videos(benchmark.splits[0])
    assert str(tmp_path / "data" / benchmark.folder) in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", sorted(set(CLASSES) - set(OWN_TESTS)))
def test_a_folder_without_videos_is_an_error(name: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    benchmark = CLASSES[name](root=str(tmp_path / "empty"))
    for split in benchmark.splits:
        with pytest.raises(DataError, match=str(tmp_path / "empty")):
            benchmark.videos(split)


@pytest.mark.parametrize("name", sorted(CLASSES))
def test_every_benchmark_is_exported_and_knows_its_place(name: str) -> None:
    assert name in vad.benchmarks.__all__
    assert name in TREES or name in OWN_TESTS, f"add a small tree of {name} to tests/benchmarks/trees.py"
    assert CLASSES[name].splits
    assert CLASSES[name].headline


def test_benchmarks_are_known_without_torch() -> None:
    code = "import sys, vad.benchmarks; sys.exit(any(name in sys.modules for name in ('torch', 'lightning')))"
    subprocess.run([sys.executable, "-c", code], check=True)
