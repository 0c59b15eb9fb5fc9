"""Crops are cut out of a stream, as a slow gather over all frames would cut them."""

import itertools
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from walking_square import HEIGHT, WIDTH, SquareDetector, Walks, walk

from vad import cache
from vad.errors import CacheError, ConfigError
from vad.extract.crops import Border, CropRecipe, choose, crops, scratch
from vad.extract.launch import extract
from vad.extract.motion import FrameDifference, OpticalFlow
from vad.extract.objects import ObjectRecipe
from vad.types import Objects


def some_objects(count: int, seed: int = 0, each: int = 3) -> Objects:
    random = np.random.default_rng(seed)
    frame = np.sort(random.integers(0, count, each * count)).astype(np.int32)
    corner = random.uniform(-5, [WIDTH - 10, HEIGHT - 10], (len(frame), 2))
    box = np.concatenate([corner, corner + random.uniform(8, 40, corner.shape)], 1).astype(np.float32)
    zeros = np.zeros(len(frame), np.float32)
    return Objects(frame, box, zeros + 0.9, np.zeros((len(frame), 0), np.float16), zeros)


def slow_crop(
    frames: list[np.ndarray],
    clip: range,
    frame: int,
    box: np.ndarray,
    offsets: tuple[int, ...],
    size: int,
    border: Border,
) -> np.ndarray | None:
    wanted = [frame + o for o in offsets]
    if border == "drop" and not all(w in clip for w in wanted):
        return None
    x1, y1, x2, y2 = (math.ceil(e) for e in box)
    cut = [frames[min(max(w, clip.start), clip.stop - 1)][max(y1, 0) : y2, max(x1, 0) : x2] for w in wanted]
    return np.stack([cv2.resize(c, (size, size), interpolation=cv2.INTER_LINEAR) for c in cut])


@pytest.mark.parametrize("border", ["repeat", "drop"])
@pytest.mark.parametrize("offsets", [(-2, -1, 0, 1, 2), (0,), (-4, 0), (1, 3), (-3, -2)])
@pytest.mark.parametrize("cuts", [(), (5,), (1, 9)])
def test_crops_are_those_of_a_slow_gather(border: Border, offsets: tuple[int, ...], cuts: tuple[int, ...]) -> None:
    frames, objects = walk(10), some_objects(10)
    borders = [0, *(c for c in cuts if c < 10), 10]
    expected = {}
    for row, (frame, box) in enumerate(zip(objects.frame, objects.box, strict=True)):
        clip = next(range(a, b) for a, b in itertools.pairwise(borders) if a <= frame < b)
        crop = slow_crop(frames, clip, int(frame), box, offsets, 16, border)
        if crop is not None:
            expected[row] = crop
    found = dict(crops(enumerate(frames), objects, offsets=offsets, size=16, border=border, cuts=cuts))
    assert list(found) == list(expected)
    for row, crop in found.items():
        assert crop.dtype == np.uint8
        np.testing.assert_array_equal(crop, expected[row])


def test_a_clip_shorter_than_the_offsets_repeats_its_ends() -> None:
    frames = walk(1)
    objects = Objects(*(a[:1] for a in (np.zeros(1, np.int32), np.array([[4, 4, 20, 20]], np.float32))),
                      np.ones(1, np.float32), np.zeros((1, 0), np.float16), np.zeros(1, np.float32))  # fmt: skip
    ((_, crop),) = crops(enumerate(frames), objects, offsets=(-2, 0, 2), size=8, border="repeat")
    assert (crop == crop[0]).all()
    assert not list(crops(enumerate(frames), objects, offsets=(-2, 0, 2), size=8, border="drop"))


def test_boxes_of_a_live_source_are_asked_for_when_their_frame_is_due() -> None:
    frames, objects = walk(10), some_objects(10)
    asked = []

    def boxes_of(frame: int) -> np.ndarray:
        asked.append(frame)
        return objects.box[objects.frame == frame]

    live = list(crops(enumerate(frames), boxes_of, offsets=(-1, 0, 1), size=16, border="repeat"))
    stored = list(crops(enumerate(frames), objects, offsets=(-1, 0, 1), size=16, border="repeat"))
    assert asked == list(range(10))
    assert [row for row, _ in live] == [row for row, _ in stored] == list(range(len(objects)))
    for (_, a), (_, b) in zip(live, stored, strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_gap_between_frames_ends_a_clip() -> None:
    frames, objects = walk(10), some_objects(10)
    with_gap = [(i, f) for i, f in enumerate(frames) if i != 4]
    found = dict(crops(iter(with_gap), objects, offsets=(-1, 0, 1), size=8, border="drop"))
    assert set(objects.frame[list(found)]) <= {1, 2, 6, 7, 8}


def test_a_stream_holds_as_many_frames_as_the_offsets_reach_over() -> None:
    given = 0
    objects = some_objects(12)

    def frames() -> Iterator[tuple[int, np.ndarray]]:
        nonlocal given
        for pair in enumerate(walk(12)):
            given += 1
            yield pair

    for row, _ in crops(frames(), objects, offsets=(-2, 0, 2), size=8, border="repeat"):
        assert given <= objects.frame[row] + 3


def test_boxes_without_a_pixel_are_left_out() -> None:
    box = np.array([[-9, 2, -3, 20], [3.2, 4, 3.9, 20], [WIDTH, 0, WIDTH + 9, 9], [5, 5, 6, 6]], np.float32)
    objects = Objects(
        np.zeros(4, np.int32), box, np.ones(4, np.float32), np.zeros((4, 0), np.float16), np.zeros(4, "f4")
    )
    assert [row for row, _ in crops(enumerate(walk(1)), objects, offsets=(0,), size=4, border="repeat")] == [3]


def test_methods_choose_objects_by_their_own_filters() -> None:
    box = np.array(
        [[0, 0, 50, 50], [5, 5, 25, 25], [60, 0, 66, 6], [60, 60, 90, 90], [5, 5, 25, 25], [0, 0, 9, 9]], "f4"
    )
    objects = Objects(
        np.array([0, 0, 0, 0, 0, 1], np.int32),
        box,
        np.array([0.9, 0.8, 0.9, 0.15, 0, 0], np.float32),
        np.zeros((6, 0), np.float16),
        np.array([0, 0, 0, 0, 0.2, 0.5], np.float32),
    )
    recipe = ObjectRecipe(detector=SquareDetector(), motion=OpticalFlow())
    assert choose(objects, CropRecipe(recipe)).box.tolist() == box[[0, 4]].tolist()  # covered, small and unsure ones go
    assert choose(objects, CropRecipe(recipe, cover=None)).box.tolist() == box[[0, 1, 4]].tolist()
    assert choose(objects, CropRecipe(recipe, min_area=40, motion=False)).box.tolist() == box[[0, 2]].tolist()
    assert len(choose(objects, CropRecipe(recipe, confidence=0.5))) == 2  # with the motion row made for 0.5


def test_a_confidence_without_motion_boxes_is_an_error() -> None:
    recipe = ObjectRecipe(motion=OpticalFlow(), motion_confidences=(0.2, 0.5))
    with pytest.raises(ConfigError, match=r"0\.2, 0\.5, not for 0\.3"):
        CropRecipe(recipe, confidence=0.3).worker("cpu")
    with pytest.raises(ConfigError, match="no motion"):
        CropRecipe(ObjectRecipe(detector=SquareDetector())).worker("cpu")


@pytest.mark.parametrize("grey", [False, True])
@pytest.mark.parametrize("flow", [False, True])
def test_an_entry_holds_pixels_flow_and_keys_of_each_object(tmp_path: Path, grey: bool, flow: bool) -> None:
    (tmp_path / "a.walk").write_text("9")
    benchmark = Walks(str(tmp_path))
    objects = ObjectRecipe(detector=SquareDetector(), motion=FrameDifference())
    recipe = CropRecipe(objects, grey=grey, flow=flow, offsets=(-1, 0, 1), size=24)
    extract([objects, recipe], benchmark, benchmark.videos("test"))
    entry = cache.entry("walks", recipe, "a")
    crop, frame, box, source = (entry.read(name) for name in ("crop", "frame", "box", "source"))
    assert crop.shape == (len(frame), 3, 24, 24, 1 if grey else 3) and crop.dtype == np.uint8
    first = np.flatnonzero((source == 0) & (frame == 4))[0]
    x1, y1, x2, y2 = box[first].astype(int)
    pixels = walk(9, seed=len("a.walk"))[4][y1:y2, x1:x2]
    expected = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)[..., None] if grey else pixels
    np.testing.assert_array_equal(crop[first, 1], expected)  # the square is 24 pixels wide: nothing is resized
    each = crop[:1].nbytes
    if flow:
        cube = entry.read("flow")
        assert cube.shape == (len(frame), 3, 24, 24, 2) and cube.dtype == np.float16
        assert np.median(cube[first, 1, ..., 0].astype(float)) == pytest.approx(4 * 512 / WIDTH, rel=0.15)
        each += cube[:1].nbytes
    assert entry.describe()["extra"]["bytes_per_object"] == each == 3 * 24 * 24 * ((1 if grey else 3) + 4 * flow)


def test_settings_that_came_later_leave_older_entries_their_keys() -> None:
    """Keys that stood in caches before `probability` and `every` were settings."""
    assert CropRecipe(ObjectRecipe()).key == "crops-d1ef0c3595a4"
    recipe = CropRecipe(ObjectRecipe(), confidence=0.5, offsets=(0,), size=64, border="drop", grey=True, flow=True)
    assert recipe.key == "crops-f7ca2805b6a7"
    others = [recipe, replace(recipe, probability=True), replace(recipe, every=2), replace(recipe, every=3)]
    assert len({recipe.key for recipe in others}) == 4


def test_an_entry_holds_class_probabilities_where_they_are_asked_for(tmp_path: Path) -> None:
    (tmp_path / "a.walk").write_text("9")
    benchmark = Walks(str(tmp_path))
    objects = ObjectRecipe(detector=SquareDetector(), motion=FrameDifference())
    recipe = CropRecipe(objects, offsets=(-1, 0, 1), border="drop", probability=True, size=8)
    extract([objects, recipe], benchmark, benchmark.videos("test"))
    entry = cache.entry("walks", recipe, "a")
    frame, source, probability = (entry.read(name) for name in ("frame", "source", "probability"))
    assert probability.dtype == np.float16 and set(frame) == set(range(1, 8)) and (source == 0).sum() == 7
    expected = np.stack([np.full(len(frame), 0.5), frame / 100], 1)
    expected[source > 0] = 0.25  # what the detector saw inside a motion box
    np.testing.assert_allclose(probability, expected, rtol=1e-3)
    assert (source > 0).any()
    assert entry.describe()["extra"]["bytes_per_object"] == 3 * 8 * 8 * 3 + 2 * 2


def test_objects_of_every_third_frame_alone(tmp_path: Path) -> None:
    (tmp_path / "a.walk").write_text("9")
    benchmark = Walks(str(tmp_path))
    objects = ObjectRecipe(detector=SquareDetector(), motion=FrameDifference())
    every, third = (CropRecipe(objects, offsets=(-1, 0, 1), size=8, every=n) for n in (1, 3))
    extract([objects, every, third], benchmark, benchmark.videos("test"))
    frame, kept = (cache.entry("walks", recipe, "a").read("frame") for recipe in (every, third))
    assert set(kept) == {0, 3, 6}
    crop, some = (cache.entry("walks", recipe, "a").read("crop") for recipe in (every, third))
    np.testing.assert_array_equal(some, crop[frame % 3 == 0])
    with pytest.raises(ConfigError, match="every of at least 1"):
        CropRecipe(objects, every=0).worker("cpu")


def test_grey_footage_keeps_its_values_in_one_channel() -> None:
    every = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, 2)
    np.testing.assert_array_equal(cv2.cvtColor(every, cv2.COLOR_RGB2GRAY), every[..., 0])


def test_objects_beyond_the_end_of_the_video_are_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.walk").write_text("9")
    benchmark = Walks(str(tmp_path))
    (video,) = benchmark.videos("test")
    objects = ObjectRecipe(detector=SquareDetector(), motion=FrameDifference())
    extract([objects], benchmark, [video])
    (tmp_path / "a.walk").write_text("5")
    with pytest.raises(CacheError, match="the video 5 frames"):
        CropRecipe(objects).worker("cpu")(benchmark, video)


def test_large_arrays_are_filled_on_disk_and_leave_no_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vad.extract.crops.HELD_BYTES", 1000)
    array = scratch((1001,), np.uint8)
    array[:] = 7
    assert isinstance(array, np.memmap) and (array == 7).all()
    assert not list(cache.cache_root().iterdir())
    assert not isinstance(scratch((1000,), np.uint8), np.memmap)
