"""Pixel-level AUROC: the worked case, and a painted map as slow twin."""

import math

import numpy as np
import pytest

from vad.metrics import frame, pixel


def found_at_map(mask, score_map):
    """From a score map (h, w): the ceil(0.4 m)-th largest score among the m pixels of the mask."""
    inside = sorted(score_map[mask], reverse=True)
    return inside[-(-2 * len(inside) // 5) - 1]


def test_the_worked_case():
    """Two abnormal frames of five abnormal pixels; both hold .95 outside the mask, which does not help."""
    mask = np.zeros((1, 6), dtype=bool)
    mask[0, :5] = True
    a = found_at_map(mask, np.array([[0.9, 0.8, 0.1, 0.1, 0.1, 0.95]]))
    b = found_at_map(mask, np.array([[0.9, 0.1, 0.1, 0.1, 0.1, 0.95]]))
    assert (a, b) == (0.8, 0.1)
    assert frame.auroc(np.array([1, 1, 0, 0]), np.array([a, b, 0.5, 0.85])) == 0.25


def painted(shape, box, score):
    picture = np.full(shape, -math.inf)
    for (x1, y1, x2, y2), s in zip(box, score, strict=True):
        for y in range(shape[0]):
            for x in range(shape[1]):
                if x1 < x + 1 and x < x2 and y1 < y + 1 and y < y2:  # the box touches the pixel
                    picture[y, x] = max(picture[y, x], s)
    return picture


def test_boxes_are_what_a_painted_map_is():
    generator = np.random.default_rng(0)
    for _ in range(300):
        mask = generator.random((6, 7)) < 0.4
        mask[3, 3] = True
        corner = generator.uniform(0, 5, (4, 2))
        box = np.concatenate([corner, corner + generator.uniform(0.5, 5, (4, 2))], axis=1)
        score = generator.integers(0, 4, 4).astype(float)
        before = mask.copy()
        assert pixel.found_at(mask, box, score) == found_at_map(mask, painted(mask.shape, box, score))
        assert (mask == before).all()


@pytest.mark.parametrize(("pixels", "needed"), [(1, 1), (2, 1), (3, 2), (5, 2), (10, 4), (11, 5)])
def test_two_fifths_of_the_pixels_are_needed(pixels, needed):
    mask = np.ones((1, pixels), dtype=bool)
    for covered in range(pixels + 1):
        found = pixel.found_at(mask, np.array([[0, 0, covered, 1]]), np.array([1.0]))
        assert (found == 1.0) == (covered >= needed)


def test_rounding_asks_for_no_pixel_more():
    """0.07 * 100 is above 7 in floating point."""
    assert pixel.found_at(np.ones((1, 100), dtype=bool), np.array([[0, 0, 7, 1]]), np.ones(1), share=0.07) == 1.0


def test_no_box_finds_nothing():
    assert pixel.found_at(np.ones((2, 2), dtype=bool), np.zeros((0, 4)), np.zeros(0)) == -math.inf
