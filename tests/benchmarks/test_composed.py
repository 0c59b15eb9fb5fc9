"""Composed: no camera in two splits, each camera's normal clips in videos of both labels, frames as in the clips."""

import hashlib
import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import trees
from videos import sequential

from vad.benchmarks import Composed
from vad.benchmarks.composed_clips import read_sources
from vad.benchmarks.composed_plan import Clip, Composition, compose, deal, split_groups
from vad.cli import main as cli
from vad.errors import ConfigError, DataError, VadError, VideoError
from vad.evaluation import evaluate
from vad.scores import Scores
from vad.types import Part, Record, ScoredVideo, Split, Video
from vad.video.resize import resize

SMALL: dict[str, int] = {"weak_train": 3, "test": 2, "clips": 3}


@pytest.fixture(scope="module")
def official(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four sources, each with four normal and two abnormal clips."""
    root = tmp_path_factory.mktemp("official")
    trees.surveillance_fight(root)
    return root


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("kept")


@pytest.fixture
def small(official: Path, kept: Path, monkeypatch: pytest.MonkeyPatch) -> Composed:
    """A small benchmark over a tree that is measured once."""
    monkeypatch.setenv("VAD_CACHE", str(kept))
    return Composed(str(official), events=(1, 2), **SMALL)  # type: ignore[arg-type]


def clips(groups: int = 10, normal: int = 4, abnormal: int = 3) -> list[Clip]:
    counts = ((0, normal), (1, abnormal))
    return [Clip(f"{g}-{y}-{k}", y, f"g{g}") for g in range(groups) for y, count in counts for k in range(count)]


def composed(seed: int = 0, **changes: int) -> list[Composition]:
    videos: dict[Split, int] = {"weak_train": 12, "test": changes.get("test", 6)}
    found = clips()
    return compose(found, split_groups(found, 0.6, seed), videos=videos, length=8, events=(1, 3), seed=seed)


def every(benchmark: Composed) -> list[Video]:
    return [video for split in benchmark.splits for video in benchmark.videos(split)]


# The plan


def test_no_group_is_in_both_splits() -> None:
    for seed in range(5):
        splits: dict[str, set[str]] = {}
        for video in composed(seed):
            for clip in video.clips:
                splits.setdefault(clip.group, set()).add(video.split)
        assert len(splits) == 10
        assert all(len(found) == 1 for found in splits.values())


def test_each_split_gets_its_share_of_every_sort_of_group() -> None:
    both, quiet = clips(20), [Clip(f"q{g}", 0, f"quiet{g}") for g in range(10)]
    splits = split_groups([*both, *quiet], 0.6, seed=3)
    assert Counter(split for group, split in splits.items() if group[0] == "g") == {"weak_train": 12, "test": 8}
    assert Counter(split for group, split in splits.items() if group[0] == "q") == {"weak_train": 6, "test": 4}


def test_videos_hold_the_clips_that_were_asked_for_each_once() -> None:
    videos = composed()
    assert Counter((video.split, video.label) for video in videos) == {
        ("weak_train", 0): 12, ("weak_train", 1): 12, ("test", 0): 6, ("test", 1): 6
    }  # fmt: skip
    assert all(len(set(video.clips)) == 8 for video in videos)
    events = Counter((v.split, sum(clip.label for clip in v.clips)) for v in videos if v.label)
    assert events == {**{("weak_train", n): 4 for n in (1, 2, 3)}, **{("test", n): 2 for n in (1, 2, 3)}}


def test_normal_clips_of_each_group_are_in_normal_and_in_abnormal_videos() -> None:
    labels: dict[str, set[int]] = {}
    for video in composed():
        for clip in video.clips:
            if clip.label == 0:
                labels.setdefault(clip.group, set()).add(video.label)
    assert labels == {f"g{g}": {0, 1} for g in range(10)}


def test_clips_are_dealt_equally_often_and_never_twice_into_a_hand() -> None:
    counts = [5, 3, 7, 1, 6, 6, 2]
    hands = deal(np.random.default_rng(0), clips(groups=1), counts)
    assert [len(hand) for hand in hands] == counts
    assert all(len(set(hand)) == len(hand) for hand in hands)
    times = Counter(clip.id for hand in hands for clip in hand)
    assert len(times) == 7 and max(times.values()) - min(times.values()) <= 1


def test_where_events_lie_in_a_video_is_not_known_beforehand() -> None:
    found = clips()
    many = compose(
        found, split_groups(found, 0.6, 0), videos={"weak_train": 300, "test": 1}, length=8, events=(1, 3), seed=0
    )
    place = np.mean([[clip.label for clip in v.clips] for v in many if v.label and v.split == "weak_train"], axis=0)
    assert (np.abs(place - 0.25) < 0.1).all()
    assert 0.35 < np.mean([v.label for v in many[:100]]) < 0.65, "labels are shuffled, too"


def test_the_plan_is_a_function_of_the_seed_the_same_on_every_machine() -> None:
    assert composed(0) == composed(0)
    assert composed(0) != composed(1)
    text = json.dumps([[v.id, *(clip.id for clip in v.clips)] for v in composed(0)])
    assert hashlib.sha256(text.encode()).hexdigest()[:12] == "f9116c63e3b4"


def test_more_test_videos_leave_training_as_it_is() -> None:
    assert [v for v in composed() if v.split == "weak_train"] == [
        v for v in composed(test=9) if v.split == "weak_train"
    ]


def test_too_few_clips_for_one_video_are_an_error_that_says_where() -> None:
    found = clips(groups=2)
    with pytest.raises(DataError, match=r"weak_train give 4 normal clips that can be used, .* takes up to 8"):
        compose(
            found, split_groups(found, 0.6, 0), videos={"weak_train": 1, "test": 1}, length=8, events=(1, 1), seed=0
        )


# Videos, pixels and truth


def test_frames_of_a_video_are_those_of_its_clips_trimmed_and_stretched(small: Composed, official: Path) -> None:
    video = small.videos("test")[1]
    wanted = []
    for part in small.parts(video):
        (path,) = official.rglob(f"{part.source}.mp4")
        pictures = sequential(path)
        assert (part.start, part.stop) == (0, len(pictures) // 16 * 16)
        wanted += [resize(picture, (320, 240)) for picture in pictures[: part.stop]]
    with small.open(video) as reader:
        assert np.array_equal(reader.frames(range(len(reader))), np.stack(wanted))
        assert len(reader) == video.frames
        assert reader.cuts == video.cuts  # type: ignore[attr-defined]
        assert reader.fps == video.fps
    assert all(cut % 16 == 0 for cut in video.cuts)


def test_sources_are_the_clips_of_the_split_as_they_stand_in_videos(small: Composed) -> None:
    train, test = small.sources("weak_train"), small.sources("test")
    assert len(train) == len(test) == 12
    assert not {clip.scene for clip in train} & {clip.scene for clip in test}
    assert {clip.label for clip in test} == {0, 1}
    names = {clip.id for clip in test}
    assert all(part.source in names for video in small.videos("test") for part in small.parts(video))
    with small.open(test[0]) as reader:
        assert (len(reader), reader.size) == (test[0].frames, (320, 240))
        assert test[0].frames is not None and test[0].frames % 16 == 0
    assert small.parts(test[0]) == [Part(test[0].id, 0, test[0].frames)]


def test_truth_names_label_and_group_of_each_frame(small: Composed) -> None:
    scenes = {clip.id: clip.scene for split in small.splits for clip in small.sources(split)}
    number: dict[str | None, int] = {}
    for video in every(small):
        truth = small.truth(video)
        assert truth.groups is not None and truth.groups.dtype == np.int16
        assert len(truth.frames) == len(truth.groups) == video.frames
        at = 0
        for part in small.parts(video):
            here = slice(at, at := at + part.stop)
            assert set(truth.frames[here]) == {int(part.source.startswith("fi"))}
            assert set(truth.groups[here]) == {number.setdefault(scenes[part.source], int(truth.groups[here][0]))}
        assert video.label == truth.frames.max()
    assert len(set(number.values())) == len(number) == 4
    clip = next(clip for clip in small.sources("test") if clip.label == 1)
    assert small.truth(clip).frames.tolist() == [1] * (clip.frames or 0)


def test_development_never_sees_a_clip_of_the_test_split(small: Composed, official: Path) -> None:
    test = {clip.id for clip in small.sources("test")}
    splits = set()
    for seed in range(4):
        inside = Composed(str(official), events=(1, 2), development=seed, **SMALL)  # type: ignore[arg-type]
        seen = {clip.id: clip.scene for split in inside.splits for clip in inside.sources(split)}
        assert not test & set(seen) and {part.source for v in every(inside) for part in inside.parts(v)} <= set(seen)
        groups = [{clip.scene for clip in inside.sources(split)} for split in inside.splits]
        assert not groups[0] & groups[1]
        splits.add(tuple(map(frozenset, groups)))
        assert inside.measured_as == f"Composed (development {seed})" and inside.dataset == small.dataset
    assert len(splits) > 1, "the groups are split anew by each seed"


def test_a_video_of_another_benchmark_is_refused_by_name(small: Composed) -> None:
    for video in (Video("test-099", "test"), Video("x", "test", path=Path("x.mp4"))):
        with pytest.raises(DataError, match=f"no video {video.id}"):
            small.truth(video)


def test_its_scores_are_evaluated_over_groups(small: Composed) -> None:
    videos = small.videos("test")
    lengths = [video.frames or 0 for video in videos]
    record = Record(
        tuple(ScoredVideo(v.id, "test", n) for v, n in zip(videos, lengths, strict=True)),
        np.cumsum([0, *lengths], dtype=np.int64),
        frame=np.concatenate([np.arange(n, dtype=np.int32) for n in lengths]),
    )
    score = np.random.default_rng(0).normal(size=sum(lengths))
    header = {"method": "noise", "benchmark": "Composed", "protocol": "weak", "range": "raw"}
    metrics = evaluate(Scores(record, score, header=header), small, draws=50)
    assert metrics.headline == "micro_auroc"
    assert metrics.counts["groups"] == 2
    assert {"group_macro_auroc", "group_macro_auroc_smoothed"} <= set(metrics.metrics)
    assert metrics.metrics["micro_auroc"].low is not None


# What is left out, and why


def test_a_source_without_normal_clips_gives_no_event(official: Path, tmp_path: Path) -> None:
    tree = trees.surveillance_fight(tmp_path)
    for name in ("nofi001", "nofi002", "nofi003", "nofi004"):
        (tree / "noFight" / f"{name}.mp4").unlink()
    benchmark = Composed(str(tmp_path), events=(1, 1), **SMALL)  # type: ignore[arg-type]
    assert not {"fi001", "fi002"} & {clip.id for split in benchmark.splits for clip in benchmark.sources(split)}
    notes = " ".join(benchmark.check().notes)
    assert "from a source without normal clips" in notes and "2 clips (fi001, fi002)" in notes
    assert any("videos.txt lists 4 clips (nofi001, " in problem for problem in benchmark.check().problems)


def test_clips_that_are_short_or_stand_under_two_sources_are_left_out_and_counted(tmp_path: Path) -> None:
    tree = trees.surveillance_fight(tmp_path)
    trees.clip(tree / "noFight" / "nofi001.mp4", 1, frames=15)
    trees.clip(tree / "noFight" / "new.mp4", 1)
    listed = (tree / "videos.txt").read_text()
    (tree / "videos.txt").write_text(listed.replace("nofi005:", "nofi002: 0.1 - 0.2\nnofi005:"))
    benchmark = Composed(str(tmp_path), events=(1, 2), **SMALL)  # type: ignore[arg-type]
    groups = {clip.id: clip.scene for split in benchmark.splits for clip in benchmark.sources(split)}
    assert len(groups) == 24 + 1 - 2
    assert {"nofi001", "nofi002"}.isdisjoint(groups)
    assert groups["new"] == "unlisted"
    report = benchmark.check()
    assert "left out, shorter than 16 frames: 1 clip (nofi001)" in report.notes
    assert "left out, listed under several sources: 1 clip (nofi002)" in report.notes
    assert "under no source, so that they form one group: 1 clip (new)" in report.notes
    assert sum(count["clips"] for count in report.counts.values()) <= 23


def test_a_clip_that_cannot_be_opened_stops_instead_of_changing_the_videos(tmp_path: Path) -> None:
    tree = trees.surveillance_fight(tmp_path)
    (tree / "fight" / "fi003.mp4").write_bytes(b"no video")
    benchmark = Composed(str(tmp_path), events=(1, 2), **SMALL)  # type: ignore[arg-type]
    with pytest.raises(VideoError, match=r"fi003\.mp4"):
        benchmark.videos("test")
    assert any("fi003.mp4" in problem for problem in benchmark.check().problems)


def test_the_check_finds_a_clip_that_is_damaged_inside(tmp_path: Path) -> None:
    tree = trees.surveillance_fight(tmp_path, sources=2, quiet=8)
    benchmark = Composed(str(tmp_path), events=(1, 2), **SMALL)  # type: ignore[arg-type]
    path = tree / "fight" / "fi001.mp4"
    content = bytearray(path.read_bytes())
    middle = slice(len(content) // 4, len(content) // 2)
    content[middle] = bytes(len(content[middle]))
    path.write_bytes(bytes(content))
    assert any("fi001.mp4" in problem for problem in benchmark.check(decode=True).problems)


def test_the_check_finds_a_group_that_is_in_both_splits(small: Composed) -> None:
    assert not any("several splits" in problem for problem in small.check().problems)
    first, *_, last = small._plan
    small._plan[last] = replace(small._plan[last], clips=small._plan[first].clips)
    assert any("is in several splits" in problem for problem in small.check().problems)


def test_a_check_says_that_a_group_is_seen_in_videos_of_one_label_only(official: Path) -> None:
    few = Composed(str(official), weak_train=1, test=1, clips=3, events=(3, 3))
    assert any("weak_train: normal clips of " in note and "one label only" in note for note in few.check().notes)


def test_the_list_of_sources_is_read_with_its_irregularities(tmp_path: Path) -> None:
    path = tmp_path / "videos.txt"
    path.write_bytes(
        b"https://www.youtube.com/watch?v=a \r\nfi001: 0.13.50 - 0.15.60\r\nnofi002: 1\r\n"
        b"https://www.youtube.com/watch?v=b\r\nnofi002: 2\r\nback yard/dusk 1:\r\n\r\n"
        b"nofi062 - nofi076 : CamNet Dataset\r\nnofi076 - nofi091 : Synopsis dataset"
    )
    a, b = "https://www.youtube.com/watch?v=a", "https://www.youtube.com/watch?v=b"
    assert read_sources(path) == {"fi001": {a}, "nofi002": {a, b}, "back yard/dusk 1": {b}}
    path.write_text("fi001: 0\n")
    with pytest.raises(DataError, match="line 1: fi001 is listed before any source"):
        read_sources(path)
    path.write_text("https://a\n")
    with pytest.raises(DataError, match="lists no clip"):
        read_sources(path)


# Own clips


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two folders of clips with the same names, one of them nested, in different containers."""
    root = tmp_path_factory.mktemp("own")
    for number in range(10):
        trees.clip(root / "shop" / ("monday" if number < 5 else "") / f"{number}.mp4", number)
    for number in range(6):
        trees.clip(root / "theft" / f"{number}.avi", number)
    (root / "theft" / "readme.txt").write_text("no clip")
    return root


OWN = {"normal": "shop", "abnormal": "theft", "groups": None}


def test_two_folders_of_own_clips_work_without_a_list(own: Path) -> None:
    benchmark = Composed(str(own), **OWN, events=(1, 2), **SMALL)  # type: ignore[arg-type]
    clips = {clip.id: clip for split in benchmark.splits for clip in benchmark.sources(split)}
    assert set(clips) == {
        *(f"shop/monday/{n}" for n in range(5)), *(f"shop/{n}" for n in range(5, 10)), *(f"theft/{n}" for n in range(6))
    }  # fmt: skip
    assert all(clip.scene == id for id, clip in clips.items()), "each is a group of its own"
    report = benchmark.check(decode=True)
    assert report.ok
    assert [count["videos"] for count in report.counts.values()] == [6, 4]
    assert any("one camera may be in both splits" in note for note in report.notes)
    with benchmark.open(benchmark.videos("test")[0]) as reader:
        assert reader.frames([0, len(reader) - 1]).shape == (2, 240, 320, 3)


def test_own_clips_may_come_with_a_list(own: Path) -> None:
    lines = ["shop camera", *(f"monday/{n}:" for n in range(5)), "0: with a remark", "1:"]
    lines += ["yard camera", *(f"{n}:" for n in range(5, 10)), "2:", "3:"]
    (own / "cameras.txt").write_text("\n".join(lines))
    for name in "0123":  # with a list, ids are the names in it, so that one must not stand for two clips
        assert not (own / "shop" / f"{name}.mp4").exists()
    (own / "theft" / "5.avi").rename(own / "theft" / "11.avi")
    benchmark = Composed(
        str(own), normal="shop", abnormal="theft", groups="cameras.txt", events=(1, 2), **SMALL  # type: ignore[arg-type]
    )  # fmt: skip
    groups = {clip.id: clip.scene for split in benchmark.splits for clip in benchmark.sources(split)}
    assert groups["monday/3"] == groups["0"] == "shop camera"
    assert groups["7"] == groups["3"] == "yard camera"
    (own / "theft" / "11.avi").rename(own / "theft" / "5.avi")
    again = Composed(str(own), normal="shop", abnormal="theft", groups="cameras.txt")
    with pytest.raises(DataError, match="would have one id"):
        again.videos("test")


def test_own_clips_have_a_cache_of_their_own_and_settings_do_not_change_it(own: Path, official: Path) -> None:
    assert Composed(str(official)).dataset == Composed(seed=3, weak_train=2).dataset == "surveillance_fight"
    mine = Composed(str(own), **OWN)  # type: ignore[arg-type]
    assert mine.dataset.startswith("composed-")
    assert mine.dataset == Composed(str(own), **OWN, seed=2, clips=4).dataset  # type: ignore[arg-type]
    assert mine.dataset != Composed(str(own), normal="theft", abnormal="shop", groups=None).dataset


def test_the_command_line_takes_own_folders(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--benchmark.root", str(own), "--benchmark.normal", "shop", "--benchmark.abnormal", "theft"]
    options += ["--benchmark.groups", "null", "--benchmark.clips", "3", "--benchmark.events", "[1, 2]", "--json"]
    assert cli.main(["data", "check", "--benchmark", "Composed", *options]) == 0
    assert json.loads(capsys.readouterr().out)["counts"]["test"]["abnormal_videos"] == 20


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"events": (0, 2)}, "events must lie within 1 and clips, 8, got 0 to 2"),
        ({"events": (3, 2)}, "got 3 to 2"),
        ({"events": (1, 9)}, "got 1 to 9"),
        ({"test": 0}, "at least 1 video a split"),
        ({"share": 1.0}, "share must lie between 0 and 1"),
        ({"seed": -1}, "seed must not be negative"),
        ({"normal": "/clips"}, "normal is a folder below root"),
        ({"abnormal": "../clips"}, "abnormal is a folder below root"),
    ],
)
def test_wrong_settings_are_refused_at_once(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Composed(**settings)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"normal": "shop", "abnormal": "shop/monday", "groups": None}, "must lie in folders apart"),
        ({"normal": "shop", "abnormal": "thefts", "groups": None}, "there are no folders 'thefts' and 'shop'"),
        ({"normal": "shop", "abnormal": "theft", "groups": "list.txt"}, "list.txt: cannot be read"),
        ({"normal": "shop", "abnormal": "theft", "groups": None, "clips": 9}, "but a video takes up to 9"),
    ],
)
def test_wrong_folders_are_one_line(own: Path, settings: dict[str, object], message: str) -> None:
    benchmark = Composed(str(own), **settings)  # type: ignore[arg-type]
    with pytest.raises(VadError, match=message) as error:
        benchmark.videos("test")
    assert "\n" not in str(error.value)
    assert any(message in problem for problem in benchmark.check().problems)


# The real clips


@pytest.fixture
def real(real_data: Path, monkeypatch: pytest.MonkeyPatch) -> Composed:
    """The real list and names; lengths from the names, since 300 clips take long to open for the first time."""
    if not (real_data / "surveillance_fight").is_dir():
        pytest.skip("needs real data: VAD_DATA names no folder with surveillance_fight below it")
    return Composed(str(real_data / "surveillance_fight"))


def pretend(monkeypatch: pytest.MonkeyPatch) -> None:
    from vad.benchmarks import composed_clips
    from vad.video.lengths import Length

    monkeypatch.setattr(
        composed_clips,
        "lengths",
        lambda paths: {p: Length(32 + 16 * (len(p.name) % 2), 25.0, (320, 240)) for p in paths},
    )


def test_the_real_list_gives_the_groups_that_are_known_of_it(real: Composed, monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch)
    report = real.check()
    assert report.ok
    assert [count["videos"] for count in report.counts.values()] == [120, 40]
    assert [count["abnormal_videos"] for count in report.counts.values()] == [60, 20]
    assert [count["groups"] for count in report.counts.values()] == [24, 16]  # 38 with both kinds, 2 without fights
    assert "left out, listed under several sources: 1 clip (nofi022)" in report.notes
    assert any("from a source without normal clips" in note and "13 clips" in note for note in report.notes)
    assert any("they form one group: 30 clips (nofi062, " in note for note in report.notes)
    assert not any("one label only" in note for note in report.notes)
    assert sum(len(real.sources(split)) for split in real.splits) == 300 - 14


@pytest.mark.slow
def test_the_real_clips_have_the_frames_that_are_known_of_them(real: Composed) -> None:
    report = real.check(decode=True)
    assert report.ok
    assert [(c["frames"], c["abnormal_frames"]) for c in report.counts.values()] == [(45_152, 5_600), (14_784, 2_160)]
    assert [(c["clips"], c["abnormal_clips"]) for c in report.counts.values()] == [(136, 80), (132, 39)]
    used = [{part.source for v in real.videos(split) for part in real.parts(v)} for split in real.splits]
    assert not used[0] & used[1]
