"""Objects: detector rows of every confidence, then the motion rows made for each, in one pass over the frames."""

import weakref
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from walking_square import SquareDetector, Walks, square_at, walk

from vad.errors import ConfigError, VideoError
from vad.extract.boxes import intersection
from vad.extract.motion import BackgroundSubtraction, FrameDifference, OpticalFlow
from vad.extract.objects import ObjectRecipe, ObjectWorker, concatenate
from vad.types import Objects, Video


def objects_of(recipe: ObjectRecipe, count: int = 20, cuts: tuple[int, ...] = ()) -> Objects:
    worker = recipe.worker("cpu")
    assert isinstance(worker, ObjectWorker)
    return concatenate(list(worker.stream(iter(walk(count)), Video("v", "test", cuts=cuts), count)))


def test_detector_rows_stand_before_motion_rows_and_keep_what_was_seen() -> None:
    recipe = ObjectRecipe(detector=SquareDetector(), motion=FrameDifference(), motion_confidences=(0.5, 0.95))
    objects = objects_of(recipe)
    assert [getattr(objects, name).dtype for name in Objects.ARRAYS] == ["i4", "f4", "f4", "f2", "f4"]
    assert (np.diff(objects.frame) >= 0).all() and set(objects.frame) == set(range(20))
    detector = objects.rows(objects.source == 0)
    assert detector.box.tolist() == [list(square_at(i)) for i in range(20)]  # the box of confidence 0.05 is not stored
    np.testing.assert_allclose(detector.probability[:, 1], np.arange(20) / 100, atol=1e-3)
    for frame in range(20):
        source = objects.source[objects.frame == frame]
        assert (np.diff(source) >= 0).all(), "detector first, then each confidence"


def test_motion_boxes_are_made_for_each_confidence_outside_the_boxes_kept_at_it() -> None:
    detector = SquareDetector(confidence=0.9)
    recipe = ObjectRecipe(detector=detector, motion=FrameDifference(), motion_confidences=(0.5, 0.95), min_area=150)
    objects = objects_of(recipe)
    blanked, free = (objects.rows(objects.source == np.float32(c)) for c in (0.5, 0.95))
    inner = np.array([square_at(i) for i in range(20)], np.float32)
    found = [f for f in range(20) if intersection(inner[f : f + 1], free.box[free.frame == f]).max(initial=0) > 200]
    assert len(found) == 20, "what moves is found where no box was blanked"
    assert len(blanked) == 0, "and only there: the strips beside the box are too small"
    assert (free.confidence == 0).all() and (free.probability == 0.25).all(), "read off the detector's grid"


def test_boxes_below_the_area_are_stored_but_not_blanked() -> None:
    def recipe(min_area: float) -> ObjectRecipe:
        motion = FrameDifference()
        return ObjectRecipe(detector=SquareDetector(), motion=motion, motion_confidences=(0.5,), min_area=min_area)

    assert (objects_of(recipe(25 * 25)).source > 0).sum() == 0  # the box is blanked, and with it all that moves
    larger = objects_of(recipe(25 * 25 + 1))
    assert (larger.source == 0).sum() == 20 and (larger.source > 0).sum() >= 18


def test_frames_do_not_wait_for_the_background_where_no_detector_sees_them() -> None:
    alive: list[weakref.ref[np.ndarray]] = []

    def frames() -> Iterator[np.ndarray]:
        for frame in walk(60):
            wide = np.repeat(np.repeat(frame, 4, 0), 4, 1)
            alive.append(weakref.ref(wide))
            yield wide

    worker = ObjectRecipe(motion=BackgroundSubtraction(window=40)).worker("cpu")
    assert isinstance(worker, ObjectWorker)
    next(worker.stream(frames(), Video("v", "test"), 60))
    assert sum(reference() is not None for reference in alive) <= 2


def test_motion_alone_and_detector_alone() -> None:
    alone = objects_of(ObjectRecipe(motion=FrameDifference(), motion_confidences=(0.2,)))
    assert len(alone) >= 18 and (alone.source == np.float32(0.2)).all() and alone.probability.shape[1] == 0
    detector = objects_of(ObjectRecipe(detector=SquareDetector()))
    assert (detector.source == 0).all() and len(detector) == 20
    with pytest.raises(ConfigError, match="neither"):
        ObjectRecipe().worker("cpu")
    with pytest.raises(ConfigError, match="minimum_confidence"):
        ObjectRecipe(motion=OpticalFlow(), minimum_confidence=0.3).worker("cpu")


def test_nothing_moves_across_a_cut() -> None:
    """Frames jump at the cut; a difference across it would mark the square's place before and after."""
    frames = [*walk(6), *walk(30)[20:26]]
    recipe = ObjectRecipe(motion=FrameDifference(), motion_confidences=(0.2,))
    worker = recipe.worker("cpu")
    assert isinstance(worker, ObjectWorker)

    def widest(cuts: tuple[int, ...]) -> float:
        found = concatenate(list(worker.stream(iter(frames), Video("v", "test", cuts=cuts), 12)))
        around = found.rows((found.frame == 5) | (found.frame == 6))
        far = (around.box[:, 0] > square_at(6)[2] + 10) & (around.frame == 5)
        return float(far.sum())

    assert widest(()) > 0 and widest((6,)) == 0


def test_batches_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = ObjectRecipe(detector=SquareDetector(), motion=OpticalFlow())
    whole = objects_of(recipe, 21)
    monkeypatch.setattr("vad.extract.objects.BATCH", 4)
    parts = objects_of(recipe, 21)
    for name in Objects.ARRAYS:
        np.testing.assert_array_equal(getattr(whole, name), getattr(parts, name))


def test_a_worker_reads_a_video_once_and_says_what_it_found(tmp_path: Path) -> None:
    (tmp_path / "a.walk").write_text("9")
    benchmark = Walks(str(tmp_path))
    arrays, extra = ObjectRecipe(detector=SquareDetector()).worker("cpu")(benchmark, benchmark.videos("test")[0])
    assert set(arrays) == set(Objects.ARRAYS) and len(arrays["frame"]) == 9
    assert extra["frames"] == 9 and extra["objects"] == 9 and extra["seconds"] >= 0


def test_a_decode_of_another_length_than_promised_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.walk").write_text("9")
    benchmark = Walks(str(tmp_path))
    worker = ObjectRecipe(detector=SquareDetector()).worker("cpu")
    for promised, found in ((10, "gives 9"), (8, "goes on")):
        monkeypatch.setattr("walking_square.WalkReader.__len__", lambda self, n=promised: n)
        with pytest.raises(VideoError, match=f"promised {promised} frames.*{found}"):
            worker(benchmark, benchmark.videos("test")[0])
