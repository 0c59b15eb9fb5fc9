"""Synthetic: exact truth, the same bytes every time, and nothing trivial that gives abnormal frames away."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from scipy.stats import rankdata

from vad import files
from vad.benchmarks.synthetic import KINDS, Synthetic, script, synthetic, writer
from vad.benchmarks.synthetic.actors import Actor, Body, Look, person
from vad.benchmarks.synthetic.background import paint
from vad.benchmarks.synthetic.figures import figure
from vad.benchmarks.synthetic.plan import COUNTS, plan
from vad.benchmarks.synthetic.renderer import Region, render
from vad.benchmarks.synthetic.scene import SCENES
from vad.benchmarks.synthetic.script import Script
from vad.benchmarks.synthetic.sprites import SpriteTrack
from vad.errors import ConfigError, DataError
from vad.types import Truth, Video

Watched = dict[str, tuple[Video, Truth, np.ndarray]]


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Synthetic:
    """The test split of the demo, rendered once by two processes."""
    benchmark = Synthetic(root=str(tmp_path_factory.mktemp("synthetic") / "made"))
    benchmark.make(processes=2, splits=("test",))
    return benchmark


@pytest.fixture(scope="session")
def watched(made: Synthetic) -> Watched:
    """Every test video with its truth and its grey frames uint8 (n, h, w)."""
    found = {}
    for video in made.videos("test"):
        with made.open(video) as reader:
            grey = np.stack([cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in reader])
        found[video.id] = video, made.truth(video), grey
    return found


def auroc(score: np.ndarray, label: np.ndarray) -> float:
    ranks, positives = rankdata(score), int(label.sum())
    return (ranks[label > 0].sum() - positives * (positives + 1) / 2) / (positives * (len(label) - positives))


def trivial_scores(grey: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean brightness and mean absolute difference to the frame before, of each frame."""
    difference = np.abs(np.diff(grey.astype(np.int16), axis=0)).mean(axis=(1, 2))
    return grey.mean(axis=(1, 2)), np.concatenate((difference[:1], difference))


def test_brightness_and_frame_difference_say_next_to_nothing(watched: Watched) -> None:
    scores = [trivial_scores(grey) for _, _, grey in watched.values()]
    labels = np.concatenate([truth.frames for _, truth, _ in watched.values()])
    assert 0.2 < labels.mean() < 0.5
    for name, score in zip(("brightness", "difference"), zip(*scores, strict=True), strict=True):
        assert 0.40 < auroc(np.concatenate(score), labels) < 0.60, name


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_brightness_and_frame_difference_say_next_to_nothing_for_other_seeds(seed: int, tmp_path: Path) -> None:
    benchmark = Synthetic(seed=seed, root=str(tmp_path / "made"))
    benchmark.make(processes=2, splits=("test",))
    scores, labels = [], []
    for video in benchmark.videos("test"):
        with benchmark.open(video) as reader:
            scores.append(trivial_scores(np.stack([cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in reader])))
        labels.append(benchmark.truth(video).frames)
    for name, score in zip(("brightness", "difference"), zip(*scores, strict=True), strict=True):
        assert auroc(np.concatenate(score), np.concatenate(labels)) < 0.60, (seed, name)


def test_an_abnormal_actor_differs_from_the_empty_scene_inside_its_box(made: Synthetic, watched: Watched) -> None:
    shares = []
    for _, truth, grey in watched.values():
        empty = np.median(grey[::7], axis=0)
        assert truth.regions is not None
        for frame, (x1, y1, x2, y2) in zip(truth.regions.frame[::5], truth.regions.box[::5].astype(int), strict=True):
            changed = np.abs(grey[frame] - np.median(grey[frame] - empty) - empty) > 20
            shares.append(changed[y1:y2, x1:x2].mean() - changed.mean())
    assert np.mean(np.array(shares) > 0.10) > 0.9


def test_truth_is_consistent(watched: Watched) -> None:
    for video, truth, grey in watched.values():
        assert truth.frames.dtype == np.uint8
        assert len(truth.frames) == video.frames == len(grey) >= 300
        assert truth.regions is not None and truth.kinds is not None
        assert truth.regions.derived is False
        assert sorted(set(truth.regions.frame)) == np.flatnonzero(truth.frames).tolist()
        assert np.array_equal(np.max(list(truth.kinds.values()), axis=0), truth.frames)
        box = truth.regions.box
        assert (box[:, :2] >= 0).all() and (box[:, 2] <= 320).all() and (box[:, 3] <= 240).all()
        assert (box[:, :2] < box[:, 2:]).all()
        assert (np.diff(truth.regions.frame) >= 0).all()
        assert video.label == int(truth.frames.any())
        if video.label:
            assert truth.frames[:10].sum() == 0, "abnormal videos begin with a normal stretch"


def test_every_kind_occurs_at_least_twice_and_normal_videos_are_there(watched: Watched) -> None:
    videos = {kind: sum(bool((truth.kinds or {})[kind].any()) for _, truth, _ in watched.values()) for kind in KINDS}
    assert min(videos.values()) >= 2
    assert sum(not truth.frames.any() for _, truth, _ in watched.values()) == COUNTS["demo"]["test"][0]


def test_pixels_are_colour_of_the_size_and_rate_that_the_index_says(made: Synthetic) -> None:
    video = made.videos("test")[0]
    with made.open(video) as reader:
        assert (len(reader), reader.size, reader.fps) == (video.frames, video.size, video.fps)
        assert reader.frames([299]).shape == (1, 240, 320, 3)


def test_a_video_is_a_function_of_seed_split_and_position(made: Synthetic, tmp_path: Path) -> None:
    first, second = [p for p in plan("demo", 0) if p.split == "test"][:2]
    writer.write(first, tmp_path, 1)  # in this process; the fixture's were made by others
    for suffix in ("mp4", "npy"):
        again, before = (folder / "test" / f"{first.id}.{suffix}" for folder in (tmp_path, made.root))
        assert again.read_bytes() == before.read_bytes()
    assert files.sha256(made.root / "test" / f"{first.id}.mp4") != files.sha256(made.root / "test" / f"{second.id}.mp4")


def test_other_seeds_plan_and_render_other_videos() -> None:
    assert [p.kinds for p in plan("demo", 0)] != [p.kinds for p in plan("demo", 1)]
    assert (paint(SCENES[0], 0).image != paint(SCENES[0], 1).image).any()


@pytest.mark.parametrize("size", ["demo", "full"])
def test_splits_hold_what_they_promise(size: str) -> None:
    plans = plan(size, 0)  # type: ignore[arg-type]
    of = {split: [p for p in plans if p.split == split] for split in ("train", "weak_train", "test")}
    assert len({p.id for p in plans}) == len(plans)
    assert not any(p.kinds for p in of["train"])
    assert 2 * sum(bool(p.kinds) for p in of["weak_train"]) == len(of["weak_train"])
    assert all({p.scene for p in split} == set(range(len(SCENES))) for split in of.values())
    assert all({k for p in of[split] for k in p.kinds} == set(KINDS) for split in ("weak_train", "test"))
    assert min(p.frames for p in plans) >= 300


def test_an_unrendered_benchmark_names_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match=r"vad data make --benchmark Synthetic$"):
        Synthetic().videos("train")
    with pytest.raises(DataError, match=r"make --benchmark Synthetic --benchmark\.size full --benchmark\.seed 3$"):
        Synthetic(size="full", seed=3).videos("test")


def test_it_lies_in_the_cache_and_never_below_the_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VAD_CACHE", str(tmp_path / "c"))
    assert Synthetic(seed=4).root == tmp_path / "c" / "generated" / "synthetic-demo-4"
    monkeypatch.setenv("VAD_DATA", str(tmp_path))
    with pytest.raises(ConfigError, match="VAD_DATA, where nothing is ever written"):
        Synthetic().make()
    assert not (tmp_path / "c").exists()


def test_wrong_arguments_are_named() -> None:
    with pytest.raises(ConfigError, match="demo, full, not 'huge'"):
        Synthetic(size="huge")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="seed"):
        Synthetic(seed=-1)


def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three short videos stand for the benchmark."""
    chosen = [replace(p, frames=12, kinds=()) for p in plan("demo", 0) if p.split == "train"][:3]
    monkeypatch.setattr(synthetic, "plan", lambda size, seed: chosen)


def test_make_goes_on_where_it_was_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    few(monkeypatch)
    benchmark = Synthetic(root=str(tmp_path / "made"))
    calls: list[tuple[int, int]] = []

    def stop(done: int, of: int) -> None:
        calls.append((done, of))
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        benchmark.make(processes=1, progress=stop)
    assert calls == [(0, 3), (1, 3), (2, 3)]
    with pytest.raises(DataError, match="1 of 3 videos of train are not rendered"):
        benchmark.videos("train")
    assert benchmark.make(processes=1) == 1
    assert benchmark.make(processes=1) == 0
    assert len(benchmark.videos("train")) == 3


@pytest.mark.parametrize("suffix", ["mp4", "npy", "json"])
def test_what_was_lost_or_cut_off_is_reported_and_rendered_again(
    suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few(monkeypatch)
    benchmark = Synthetic(root=str(tmp_path / "made"))
    benchmark.make(processes=1)
    assert benchmark.check(decode=True).ok
    path = tmp_path / "made" / "train" / f"train-001.{suffix}"
    path.write_bytes(path.read_bytes()[:-5]) if suffix != "npy" else path.unlink()
    report = benchmark.check()
    assert [problem.split(":")[0] for problem in report.problems] == ["train-001"]
    assert "vad data make" in report.problems[0]
    assert benchmark.make(processes=1) == 1
    assert benchmark.check().ok


def test_a_failing_encoder_leaves_no_video_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    few(monkeypatch)

    def fail(*_: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(writer, "encode", fail)
    with pytest.raises(OSError):
        Synthetic(root=str(tmp_path / "made")).make(processes=1)
    assert not [p for p in (tmp_path / "made").rglob("*") if p.is_file()]


def test_check_counts_videos_frames_and_kinds(made: Synthetic, watched: Watched) -> None:
    counts = made.check().counts["test"]
    assert counts["videos"] == len(watched)
    assert counts["frames"] == sum(video.frames or 0 for video, _, _ in watched.values())
    assert counts["abnormal_frames"] == sum(int(truth.frames.sum()) for _, truth, _ in watched.values())
    assert min(counts[kind] for kind in KINDS) > 0


def standing(x: float, z: float, *, body: Body = "person", kind: str | None = None, height: float = 1.75) -> Actor:
    rng, frames = np.random.default_rng(0), 3
    return person(
        look=replace(Look.draw(rng), height=height),
        first=0,
        x=x + 0.001 * np.arange(frames),
        z=np.full(frames, z),
        rng=rng,
        facing=np.zeros(frames),
        abnormal=kind is not None,
        kind=kind,
        body=body,
    )


def regions(*actors: Actor, scene: int = 1) -> list[Region]:
    written = Script(SCENES[scene], 3, actors)
    return [region for frame in render(written, seed=0, rng=np.random.default_rng(0)) for region in frame.regions]


def test_who_is_hidden_or_out_of_view_is_left_out_of_the_truth() -> None:
    loiterer = standing(0.0, 12.5, kind="loitering", height=1.2)
    assert len(regions(loiterer)) == 3
    assert regions(loiterer, standing(0.0, 12.3, body="car")) == []
    assert len(regions(loiterer, standing(0.0, 13.5, body="car"))) == 3, "a car behind hides nobody"
    assert regions(standing(30.0, 12.5, kind="loitering")) == []
    assert regions(standing(-6.0, 21.0, kind="loitering"), scene=0) == [], "behind the wall"


def test_boxes_are_cut_by_the_edge_and_by_who_stands_before() -> None:
    edge = SCENES[1].camera.half_width(12.0)
    assert regions(standing(edge, 12.0, kind="loitering"))[0][3][2] == 320
    alone = regions(standing(0.0, 12.5, kind="loitering"))[0][3]
    behind = regions(standing(0.0, 12.5, kind="loitering"), standing(1.7, 11.6, body="car"))[0][3]
    assert behind[3] < alone[3] or behind[2] < alone[2]
    assert behind[1] == alone[1]


def test_people_shrink_with_their_distance() -> None:
    heights = [regions(standing(0.0, z, kind="loitering"))[0][3] for z in (8.0, 12.0)]
    near, far = (box[3] - box[1] for box in heights)
    assert near / far == pytest.approx(12 / 8, rel=0.08)


def lift_with_motion(actor: Actor) -> float:
    """Correlation between how high a foot is and how fast it swings towards the side that its owner faces."""
    shoe = figure(SCENES[0], actor).strokes[2].points[:, 0]  # the ankle of one leg, in pixels from the place
    facing = np.sign(np.cos(actor.heading))
    return float(np.corrcoef(np.gradient(shoe[:, 0]) * facing, -shoe[:, 1])[0, 1])


def test_the_gait_tells_the_direction_of_time() -> None:
    n = np.arange(80)
    for facing in (0.0, np.pi):
        actors = [
            person(
                look=Look.draw(np.random.default_rng(1)),
                first=0,
                x=sign * 1.3 / 25 * n,
                z=np.full(80, 10.0),
                rng=np.random.default_rng(2),
                facing=np.full(80, facing),
            )
            for sign in (np.cos(facing), -np.cos(facing))
        ]
        assert lift_with_motion(actors[0]) > 0.15, "forwards"
        assert lift_with_motion(actors[1]) < -0.15, "backwards"


def test_front_and_back_differ() -> None:
    pictures = []
    for heading in (-np.pi / 2, np.pi / 2):
        rng = np.random.default_rng(3)
        actor = person(
            look=Look(1.75, (200, 200, 200), (30, 30, 30), (250, 0, 0), (30, 20, 20), (0, 0, 0), None),
            first=0,
            x=np.zeros(2),
            z=np.full(2, 8.0),
            rng=rng,
            facing=np.full(2, heading),
        )
        pictures.append(SpriteTrack(SCENES[0], actor).draw(0).picture)
    front, back = (int(((picture[..., 0] > 150) & (picture[..., 1] < 60))[:14].sum()) for picture in pictures)
    assert front > back + 15, "a face is skin, the back of a head is hair"


def test_scenes_have_one_brightness() -> None:
    means = [paint(scene, 0).image.mean() for scene in SCENES]
    assert max(means) - min(means) < 2


def test_everybody_follows_a_one_way_scene_but_who_is_abnormal() -> None:
    scene = next(s for s in SCENES if s.one_way)
    written = script.write(scene, frames=300, kinds=("wrong_direction",), rng=np.random.default_rng(0))
    for actor in written.actors:
        along = np.gradient(actor.x)
        assert (along[~actor.abnormal][8:-8] > -0.01).mean() > 0.95
        if actor.kind is not None:
            assert (along[actor.abnormal][12:] < 0).all()
