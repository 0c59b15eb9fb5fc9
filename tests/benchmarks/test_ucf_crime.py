"""UCF-Crime from its official lists, with and without files of the videos."""

from pathlib import Path

import pytest
from trees import UCF_LENGTHS, ucf_crime
from videos import write_clip

from vad.benchmarks import UCFCrime
from vad.errors import ConfigError, DataError


@pytest.fixture(autouse=True)
def no_annotations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VAD_DATA", str(tmp_path / "data"))


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return ucf_crime(tmp_path / "root")


def intervals_of(benchmark: UCFCrime, id: str, length: int | None = None) -> list[tuple[int, int]]:
    """Abnormal stretches of a video, half open, as its labels have them."""
    video = next(video for video in benchmark.videos("test") if video.id == id)
    labels = benchmark.labels(video, length).frames if length else benchmark.truth(video).frames
    edges = [i for i in range(len(labels) + 1) if (labels[i - 1] if i else 0) != (labels[i] if i < len(labels) else 0)]
    return list(zip(edges[::2], edges[1::2], strict=True))


def test_videos_stand_in_the_order_of_the_list_with_labels_and_lengths(tmp_path: Path, tree: Path) -> None:
    benchmark = UCFCrime(root=str(tmp_path / "root"))
    assert [(v.id, v.label, v.frames, v.path) for v in benchmark.videos("test")] == [
        (id, int(not id.startswith("Normal")), frames, None) for id, frames in UCF_LENGTHS.items()
    ]
    assert [(v.id, v.label) for v in benchmark.videos("weak_train")] == [
        ("Abuse001_x264", 1),
        ("Normal_Videos001_x264", 0),
    ]


def test_ends_are_exclusive_and_cut_at_the_end_of_the_video(tmp_path: Path, tree: Path) -> None:
    benchmark = UCFCrime(root=str(tmp_path / "root"))
    assert intervals_of(benchmark, "Abuse028_x264") == [(10, 20)]
    assert intervals_of(benchmark, "Arson011_x264") == [(5, 15), (60, 66)]
    assert intervals_of(benchmark, "RoadAccidents021_x264") == [(1, 8)], "a name without .mp4"
    assert intervals_of(benchmark, "Normal_Videos_003_x264") == []


def test_ends_can_be_inclusive(tmp_path: Path, tree: Path) -> None:
    benchmark = UCFCrime(root=str(tmp_path / "root"), ucf_end="inclusive")
    assert intervals_of(benchmark, "Abuse028_x264") == [(10, 21)]
    assert intervals_of(benchmark, "Arson011_x264") == [(5, 16), (60, 66)]
    with pytest.raises(ConfigError, match="ucf_end: expected exclusive or inclusive, got 'both'"):
        UCFCrime(ucf_end="both")  # type: ignore[arg-type]


def test_intervals_are_laid_on_longer_grids(tmp_path: Path, tree: Path) -> None:
    benchmark = UCFCrime(root=str(tmp_path / "root"))
    arson = benchmark.videos("test")[1]
    assert benchmark.grid_length(arson, "ceil16") == 80
    labels = benchmark.truth_on_grid(arson, "ceil16").frames
    assert labels[60:67].all() and not labels[67:].any(), "the video ends at 66, its interval at 67, the grid at 80"


def test_the_kind_is_the_folder_of_the_class(tmp_path: Path, tree: Path) -> None:
    benchmark = UCFCrime(root=str(tmp_path / "root"))
    kinds = [list(benchmark.truth(video).kinds or {}) for video in benchmark.videos("test")]
    assert kinds == [["Abuse"], ["Arson"], ["RoadAccidents"], [], []]


def test_a_video_of_the_nine_is_one_snippet_short_on_the_official_grid(tmp_path: Path, tree: Path) -> None:
    for name in ("Anomaly_Test.txt", "Temporal_Anomaly_Annotation_for_Testing_Videos.txt", "frame_counts_test.json"):
        path = tree / name
        path.write_text(path.read_text().replace("RoadAccidents021", "RoadAccidents016"))
    benchmark = UCFCrime(root=str(tmp_path / "root"))
    lengths = {video.id: benchmark.grid_length(video, "official") for video in benchmark.videos("test")}
    assert lengths["RoadAccidents016_x264"] == 16
    assert lengths["Abuse028_x264"] == 96


def test_training_videos_have_frames_of_truth_only_where_they_are_normal(tmp_path: Path, tree: Path) -> None:
    benchmark = UCFCrime(root=str(tmp_path / "root"))
    abnormal, normal = benchmark.videos("weak_train")
    assert not benchmark.truth(normal).frames.any()
    with pytest.raises(DataError, match="Abuse001_x264: of training videos only the label is published"):
        benchmark.truth(abnormal)


def test_files_are_found_by_name_in_any_folder(tmp_path: Path, tree: Path) -> None:
    places = {
        "Abuse001_x264": "Anomaly-Videos-Part-1/Abuse",
        "Normal_Videos001_x264": "Training-Normal-Videos-Part-2",
        "Normal_Videos_003_x264": "Normal_Videos_for_Event_Recognition",
    }
    for id, folder in places.items():
        (tmp_path / "root" / folder).mkdir(parents=True)
        write_clip(tmp_path / "root" / folder / f"{id}.mp4", frames=20)
    benchmark = UCFCrime(root=str(tmp_path / "root"))
    found = {v.id: v.path for split in benchmark.splits for v in benchmark.videos(split) if v.path is not None}
    assert found == {id: tmp_path / "root" / folder / f"{id}.mp4" for id, folder in places.items()}
    problems = benchmark.check().problems
    assert any("test: the files of 4 of 5 videos are missing" in problem for problem in problems)
    assert not any("weak_train: the files" in problem for problem in problems)


def test_a_full_decode_finds_cut_files_and_wrong_lengths(tmp_path: Path, tree: Path) -> None:
    (tree / "frame_counts_train.json").write_text('{"Abuse001_x264": 40, "Normal_Videos001_x264": 41}')
    for id in ("Abuse001_x264", "Normal_Videos001_x264", "Normal_Videos_003_x264", "Normal_Videos_006_x264"):
        write_clip(tree / f"{id}.mp4", frames=40)
    (tree / "Normal_Videos_006_x264.mp4").write_bytes(b"")
    cut = tree / "Abuse001_x264.mp4"
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size // 2])
    benchmark = UCFCrime(root=str(tmp_path / "root"))
    about = [problem for problem in benchmark.check().problems if ".mp4" in problem]
    assert about == [f"{tree}/Normal_Videos_006_x264.mp4: is empty"]
    about = [problem for problem in benchmark.check(decode=True).problems if ".mp4" in problem]
    assert len(about) == 3
    assert about[0].startswith(f"{cut}: ")
    assert about[1:] == [
        f"{tree}/Normal_Videos_003_x264.mp4: has 40 frames, 50 are known of it",
        f"{tree}/Normal_Videos_006_x264.mp4: is empty",
    ]


def test_lists_among_the_annotations_suffice(tmp_path: Path) -> None:
    ucf_crime(tmp_path / "data" / "annotations" / "ucf_crime")
    benchmark = UCFCrime()
    assert [video.frames for video in benchmark.videos("test")] == list(UCF_LENGTHS.values())
    assert intervals_of(benchmark, "Abuse028_x264") == [(10, 20)]


def test_without_counts_lengths_come_from_the_files(tmp_path: Path, tree: Path) -> None:
    (tree / "frame_counts_test.json").unlink()
    write_clip(tree / "Abuse028_x264.mp4", frames=15)
    benchmark = UCFCrime(root=str(tmp_path / "root"))
    abuse, arson, *_ = benchmark.videos("test")
    assert (abuse.frames, len(benchmark.truth(abuse).frames)) == (None, 15)
    with pytest.raises(DataError, match="the length of Arson011_x264 is not known"):
        benchmark.truth(arson)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("Anomaly_Test.txt", "", "the list of the split 'test' is empty"),
        ("Anomaly_Test.txt", "Abuse/Abuse028_x264.mp4\nAbuse/Abuse028_x264.mp4\n", "names Abuse028_x264 2 times"),
        ("Temporal_Anomaly_Annotation_for_Testing_Videos.txt", "Abuse028_x264.mp4 Abuse 1 2\n", "expected 'name class"),
        ("Temporal_Anomaly_Annotation_for_Testing_Videos.txt", "a.mp4 Abuse 9 2 -1 -1\n", "ends before it starts"),
        ("Temporal_Anomaly_Annotation_for_Testing_Videos.txt", "b.mp4 Abuse 1 2 -1 -1\n", "its line is missing"),
        ("frame_counts_test.json", '{"Abuse028_x264": "100"}', "expected names of videos with numbers of frames"),
        ("frame_counts_test.json", "{", "cannot be read as JSON"),
    ],
)
def test_damaged_lists_are_named_by_check_and_refused(
    tmp_path: Path, tree: Path, name: str, content: str, message: str
) -> None:
    (tree / name).write_text(content)
    benchmark = UCFCrime(root=str(tmp_path / "root"))
    assert any(message in problem for problem in benchmark.check().problems)
    with pytest.raises(Exception, match=message):
        for video in UCFCrime(root=str(tmp_path / "root")).videos("test"):
            benchmark.truth(video)


def test_a_check_compares_with_the_published_counts(tmp_path: Path, tree: Path) -> None:
    problems = UCFCrime(root=str(tmp_path / "root")).check().problems
    assert "test: 5 videos, 290 are published" in problems
    assert "weak_train: 150 frames, 12,656,615 are published" in problems
    assert "test: 33 abnormal frames, 84,182 are published" in problems
