"""Motion masks find what moves, with bounded memory, and boxes follow the published rule."""

from collections import deque
from collections.abc import Callable, Iterator

import cv2
import numpy as np
import pytest
from walking_square import walk

from vad.errors import ConfigError
from vad.extract.motion import (
    BackgroundSubtraction,
    FrameDifference,
    Motion,
    OpticalFlow,
    _smaller,
    _windows,
    motion_boxes,
)

MASKS = [OpticalFlow(), FrameDifference(), BackgroundSubtraction(window=40)]


@pytest.mark.parametrize("motion", MASKS, ids=lambda m: type(m).__name__)
def test_masks_cover_what_moves_and_not_the_ground(motion: Motion) -> None:
    frames = walk()
    masks = list(motion.masks(iter(frames)))
    assert len(masks) == len(frames)
    for mask in masks:
        assert mask.dtype == bool and mask.shape == (96, 160)
    x = 10 + 4 * 6
    mask = masks[6]
    assert mask[40:64, x : x + 24].mean() > 0.4
    assert mask[:25].mean() < 0.02 and mask[80:].mean() < 0.02


@pytest.mark.parametrize("motion", MASKS, ids=lambda m: type(m).__name__)
@pytest.mark.parametrize("count", [0, 1, 2])
def test_short_clips_have_a_mask_for_each_frame(motion: Motion, count: int) -> None:
    masks = list(motion.masks(iter(walk(count))))
    assert len(masks) == count
    if count == 1:
        assert not masks[0].any()


@pytest.mark.parametrize(("motion", "most"), [(OpticalFlow(), 2), (FrameDifference(), 2)])
def test_streams_hold_a_frame_or_two(motion: Motion, most: int) -> None:
    given = 0

    def frames() -> Iterator[np.ndarray]:
        nonlocal given
        for frame in walk(10):
            given += 1
            yield frame

    for done, _ in enumerate(motion.masks(frames()), start=1):
        assert given - done < most


def test_windows_of_the_background_leave_no_frame_out() -> None:
    frames = [np.full((4, 4, 3), i, np.uint8) for i in range(23)]
    assert len(list(BackgroundSubtraction(window=6).masks(iter(frames)))) == 23
    assert [len(window) for window in _windows(iter(frames[:20]), 6)] == [6, 6, 8], "a short rest joins the one before"
    assert [len(window) for window in _windows(iter(frames[:21]), 6)] == [6, 6, 6, 3]


def test_a_background_of_wide_frames_is_made_of_smaller_ones() -> None:
    masks = BackgroundSubtraction(window=40)
    wide = [cv2.resize(frame, (160 * 12, 96 * 12), interpolation=cv2.INTER_NEAREST) for frame in walk()]
    halved = [cv2.resize(frame, (320, 192), interpolation=cv2.INTER_AREA) for frame in wide]
    for large, small in zip(masks.masks(iter(wide)), masks.masks(iter(halved)), strict=True):
        np.testing.assert_array_equal(large[::6, ::6], small)
        assert large.shape == (1152, 1920)
    narrow = [np.full((8, 320, 3), 9, np.uint8)]
    assert next(_smaller(narrow, deque())) is narrow[0], "frames up to 320 wide are taken as they are"


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: BackgroundSubtraction(window=1),
        lambda: BackgroundSubtraction(samples=0),
        lambda: BackgroundSubtraction(close=0),
        lambda: BackgroundSubtraction(smooth=4),
        lambda: FrameDifference(blur=4),
    ],
)
def test_settings_that_opencv_would_refuse_are_refused_when_they_are_read(wrong: Callable[[], Motion]) -> None:
    with pytest.raises(ConfigError, match="expected"):
        wrong()


def test_flow_counts_pixels_of_a_512_x_384_frame_and_is_not_rescaled() -> None:
    random = np.random.default_rng(0)
    texture = cv2.GaussianBlur(random.integers(0, 255, (192, 320), np.uint8), (9, 9), 0)
    frames = [np.repeat(np.roll(texture, shift, 1)[:, 32:-32, None], 3, 2) for shift in (0, 3)]  # 256 x 192
    (_, first), (_, last) = OpticalFlow().fields(iter(frames))
    assert first.shape == (192, 256, 2) and first.dtype == np.float32
    assert np.median(first[..., 0]) == pytest.approx(6.0, abs=0.3)  # 3 pixels at half the width
    assert np.median(first[..., 1]) == pytest.approx(0.0, abs=0.3)
    np.testing.assert_array_equal(first, last)  # the last frame has the flow of the pair before it


def test_the_first_frame_has_flow_unless_the_published_quirk_is_asked_for() -> None:
    first = next(OpticalFlow().fields(iter(walk(3))))[1]
    assert np.abs(first).max() > 1
    quirk = [flow for _, flow in OpticalFlow(flownet2_compat=True).fields(iter(walk(3)))]
    assert not quirk[0].any() and quirk[1].any()


def mask_of(*rectangles: tuple[int, int, int, int]) -> np.ndarray:
    mask = np.zeros((60, 100), bool)
    for x1, y1, x2, y2 in rectangles:
        mask[y1:y2, x1:x2] = True
    return mask


NOTHING = np.zeros((0, 4), np.float32)


def test_motion_boxes_are_contours_grown_by_two_and_clipped() -> None:
    boxes = motion_boxes(mask_of((0, 10, 20, 30), (50, 20, 62, 40)), NOTHING, min_area=100)
    assert boxes.tolist() == [[0, 8, 22, 32], [48, 18, 64, 42]] and boxes.dtype == np.float32


def test_motion_boxes_smaller_than_the_area_or_too_long_go() -> None:
    just = mask_of((10, 10, 19, 19))  # (9 + 1)(9 + 1) = 100 is not above 100
    assert len(motion_boxes(just, NOTHING, min_area=100)) == 0
    assert len(motion_boxes(just, NOTHING, min_area=99)) == 1
    assert len(motion_boxes(mask_of((5, 5, 85, 13)), NOTHING, min_area=100)) == 0  # 80 : 8
    assert len(motion_boxes(mask_of((5, 5, 84, 13)), NOTHING, min_area=100)) == 1  # 79 : 8


def test_detector_boxes_grown_by_two_are_blanked() -> None:
    mask = mask_of((20, 20, 40, 40))
    assert len(motion_boxes(mask, np.array([[21.5, 21.5, 38, 38]]), min_area=1)) == 0  # 22 - 2 to 38 + 2
    left = motion_boxes(mask, np.array([[22.5, 20, 40, 40]]), min_area=1, max_aspect=99)
    assert left.tolist() == [[18, 18, 23, 42]]  # column 20 alone: 23 - 2 and more are blanked
    assert mask.sum() == 400, "the mask given is left as it was"


def test_a_box_at_the_border_blanks_no_pixel_on_the_other_side() -> None:
    mask = mask_of((0, 0, 100, 60))
    left = motion_boxes(mask, np.array([[0, 0, 1, 60.0]]), min_area=1)
    assert left.tolist() == [[1, 0, 100, 60]]
    assert motion_boxes(mask, np.array([[-9.0, 0, -5, 60]]), min_area=1).tolist() == [[0, 0, 100, 60]]
