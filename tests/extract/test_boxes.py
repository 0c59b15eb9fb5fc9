"""Geometry of boxes against slow and obvious twins."""

import numpy as np
import pytest

from vad.extract.boxes import area, clip, cover_filter, intersection, suppress


def some_boxes(seed: int, count: int = 60) -> np.ndarray:
    random = np.random.default_rng(seed)
    corner = random.integers(0, 60, (count, 2)).astype(np.float32)
    return np.concatenate([corner, corner + random.integers(1, 40, (count, 2))], 1)


def iou(a: np.ndarray, b: np.ndarray) -> float:
    w = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    h = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    return w * h / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - w * h)


def slow_suppress(box: np.ndarray, confidence: np.ndarray, kind: np.ndarray, threshold: float) -> list[int]:
    kept: list[int] = []
    for i in sorted(range(len(box)), key=lambda i: -confidence[i]):
        if all(kind[i] != kind[k] or iou(box[i], box[k]) <= threshold for k in kept):
            kept.append(i)
    return kept


def slow_cover(box: np.ndarray, threshold: float) -> list[int]:
    size = [(x2 - x1 + 1) * (y2 - y1 + 1) for x1, y1, x2, y2 in box]
    order = sorted(range(len(box)), key=lambda i: size[i])
    kept = []
    for place, i in enumerate(order):
        for j in order[place + 1 :]:
            w = max(0.0, min(box[i][2], box[j][2]) - max(box[i][0], box[j][0]) + 1)
            h = max(0.0, min(box[i][3], box[j][3]) - max(box[i][1], box[j][1]) + 1)
            if w * h / size[i] > threshold:
                break
        else:
            kept.append(i)
    return sorted(kept)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("threshold", [0.1, 0.45, 0.9])
def test_suppression_keeps_what_a_greedy_loop_keeps(seed: int, threshold: float) -> None:
    random = np.random.default_rng(seed)
    box, kind = some_boxes(seed), random.integers(0, 3, 60)
    confidence = np.round(random.random(60), 1)  # with ties
    assert suppress(box, confidence, kind, threshold).tolist() == slow_suppress(box, confidence, kind, threshold)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("threshold", [0.3, 0.6])
def test_cover_filter_drops_what_a_larger_box_covers(seed: int, threshold: float) -> None:
    box = some_boxes(seed)
    assert cover_filter(box, threshold).tolist() == slow_cover(box, threshold)


def test_cover_filter_keeps_one_of_two_equal_boxes() -> None:
    assert cover_filter(np.array([[0, 0, 10, 10], [0, 0, 10, 10]], np.float32), 0.6).tolist() == [1]


def test_nothing_comes_out_of_nothing() -> None:
    none = np.zeros((0, 4), np.float32)
    assert suppress(none, np.zeros(0), np.zeros(0), 0.5).shape == (0,)
    assert cover_filter(none, 0.6).shape == (0,)
    assert intersection(none, none).shape == (0, 0)


def test_area_counts_the_last_pixel_and_clip_keeps_to_the_image() -> None:
    assert area(np.array([[1.0, 2.0, 4.0, 8.0]])).tolist() == [28.0]
    assert clip(np.array([[-3.0, -1.0, 99.0, 50.0]]), 40, 30).tolist() == [[0.0, 0.0, 40.0, 30.0]]
