"""Regions from masks, against a slow twin that labels pixel by pixel."""

import itertools

import numpy as np
import pytest

from vad.benchmarks.regions import component_boxes, regions_from_masks


def boxes_by_flood(mask: np.ndarray) -> set[tuple[int, int, int, int]]:
    left = {(int(y), int(x)) for y, x in zip(*np.nonzero(mask), strict=True)}
    boxes = set()
    while left:
        border, component = [left.pop()], []
        while border:
            y, x = border.pop()
            component.append((y, x))
            for step in itertools.product((-1, 0, 1), repeat=2):
                neighbour = (y + step[0], x + step[1])
                if neighbour in left:
                    left.remove(neighbour)
                    border.append(neighbour)
        if len(component) >= 20:
            ys, xs = zip(*component, strict=True)
            boxes.add((min(xs), min(ys), max(xs) + 1, max(ys) + 1))
    return boxes


@pytest.mark.parametrize("seed", range(20))
def test_boxes_are_those_of_8_connected_components_of_20_pixels(seed: int) -> None:
    rng = np.random.default_rng(seed)
    mask = rng.random((40, 50)) < rng.uniform(0.2, 0.45)
    found = component_boxes(mask)
    assert {tuple(int(v) for v in box) for box in found} == boxes_by_flood(mask)


def test_nineteen_pixels_are_dropped_and_twenty_kept() -> None:
    mask = np.zeros((10, 30), bool)
    mask[0, :19] = mask[5, :20] = True
    np.testing.assert_array_equal(component_boxes(mask), [[0, 5, 20, 6]])


def square(x: int, y: int = 0) -> np.ndarray:
    mask = np.zeros((40, 80), bool)
    mask[y : y + 10, x : x + 10] = True
    return mask


def test_box_ends_are_exclusive_and_frames_ascend() -> None:
    regions = regions_from_masks([np.zeros((40, 80), bool), square(3), square(4)])
    np.testing.assert_array_equal(regions.frame, [1, 2])
    np.testing.assert_array_equal(regions.box, [[3, 0, 13, 10], [4, 0, 14, 10]])
    assert (regions.frame.dtype, regions.box.dtype, regions.track.dtype) == (np.int32, np.float32, np.int32)
    assert regions.derived


def test_a_track_goes_on_above_an_overlap_of_a_tenth_and_no_further() -> None:
    # Shifted by 8 of 10 pixels, IoU 20 / 180 = 0.11; by 9, 10 / 190 = 0.05.
    assert regions_from_masks([square(0), square(8)]).track.tolist() == [0, 0]
    assert regions_from_masks([square(0), square(9)]).track.tolist() == [0, 1]


def test_a_gap_of_one_frame_ends_a_track() -> None:
    assert regions_from_masks([square(0), np.zeros((40, 80), bool), square(0)]).track.tolist() == [0, 1]


def bar(*columns: tuple[int, int]) -> np.ndarray:
    mask = np.zeros((40, 80), bool)
    for start, end in columns:
        mask[10:14, start:end] = True
    return mask


def test_where_a_region_parts_the_larger_overlap_keeps_the_track() -> None:
    regions = regions_from_masks([bar((0, 40)), bar((0, 15), (18, 40)), bar((0, 15), (18, 40))])
    rows = [(int(f), int(x), int(t)) for f, x, t in zip(regions.frame, regions.box[:, 0], regions.track, strict=True)]
    assert sorted(rows) == [(0, 0, 0), (1, 0, 1), (1, 18, 0), (2, 0, 1), (2, 18, 0)]


def test_where_two_regions_meet_the_larger_overlap_keeps_the_track() -> None:
    regions = regions_from_masks([bar((0, 15), (18, 40)), bar((0, 40)), bar((0, 40))])
    larger = int(regions.track[regions.box[:, 0] == 18][0])
    assert regions.track[regions.frame > 0].tolist() == [larger, larger]


def test_no_masks_give_no_regions() -> None:
    regions = regions_from_masks([])
    assert len(regions) == 0
    assert regions.box.shape == (0, 4)
