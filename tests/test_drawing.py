"""Pictures show what they are given: boxes where they lie, truth in red, curves from minimum to maximum."""

import numpy as np

from vad.drawing import ABNORMAL, DETECTOR, MOTION, Scene, draw_crops, draw_curve, draw_scene, stack
from vad.types import Objects


def one_object(box: list[float], source: float) -> Objects:
    return Objects(
        frame=np.zeros(1, np.int32),
        box=np.array([box], np.float32),
        confidence=np.ones(1, np.float32),
        probability=np.zeros((1, 1), np.float16),
        source=np.array([source], np.float32),
    )


def test_boxes_have_the_colour_of_where_they_come_from() -> None:
    frame = np.full((60, 80, 3), 128, np.uint8)
    for source, colour in ((0.0, DETECTOR), (0.2, MOTION)):
        picture = draw_scene(Scene(0, frame, one_object([20, 30, 40, 50], source)), scale=2)
        assert picture.shape == (120, 160, 3)
        assert tuple(picture[60, 60]) == colour  # the upper edge of the box, enlarged
        assert tuple(picture[80, 60]) == (128, 128, 128)  # inside


def test_abnormal_pixels_are_outlined() -> None:
    mask = np.zeros((60, 80), bool)
    mask[30:50, 20:40] = True
    picture = draw_scene(Scene(0, np.full((60, 80, 3), 128, np.uint8), mask=mask, abnormal=True), scale=1)
    assert tuple(picture[30, 30]) == ABNORMAL
    assert tuple(picture[40, 30]) == (128, 128, 128)


def test_crops_stand_in_columns_by_object_and_rows_by_time() -> None:
    crops = np.arange(6, dtype=np.uint8).reshape(2, 3, 1, 1, 1) * 10
    sheet = draw_crops(crops, columns=4, scale=1)
    assert sheet.shape == (6, 8, 3)
    assert sheet[::2, ::2, 0].tolist() == [[0, 30, 255, 255], [10, 40, 255, 255], [20, 50, 255, 255]]


def test_a_curve_shades_abnormal_frames_and_survives_a_constant_score() -> None:
    labels = np.repeat([0, 1], 50)
    picture = draw_curve(np.zeros(100), labels, width=200)
    assert tuple(picture[60, 50]) == (255, 255, 255)
    assert tuple(picture[60, 150]) != (255, 255, 255)


def test_stack_keeps_every_picture_whole() -> None:
    pictures = [np.full((10 + i, 20, 3), i, np.uint8) for i in range(3)]
    sheet = stack(pictures, columns=2, gap=1)
    assert sheet.shape == (11 + 1 + 12, 41, 3)
    assert (sheet[12:24, :20] == 2).all()
