"""Batches of half normal and half abnormal bags."""

import logging

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vad.datamodules.order import PairedOrder
from vad.errors import ConfigError


def labels(normal: int, abnormal: int) -> np.ndarray:
    """As in the official lists, abnormal ones first."""
    return np.repeat([1, 0], [abnormal, normal])


def epoch(order: PairedOrder, number: int) -> list[list[int]]:
    order.set_epoch(number)
    return list(order)


@given(normal=st.integers(1, 40), abnormal=st.integers(1, 40), half=st.integers(1, 12), number=st.integers(0, 3))
@settings(max_examples=60, deadline=None)
def test_every_batch_is_half_normal_and_half_abnormal_normal_first(normal, abnormal, half, number) -> None:
    label = labels(normal, abnormal)
    order = PairedOrder(label, batch_size=2 * half)
    half = min(half, normal, abnormal)
    batches = epoch(order, number)
    assert len(batches) == len(order) == max(normal, abnormal) // half
    for batch in batches:
        assert label[batch].tolist() == [0] * half + [1] * half
        assert len(set(batch)) == len(batch) == batch.size  # type: ignore[attr-defined]  # a Share


@given(normal=st.integers(1, 30), abnormal=st.integers(1, 30), half=st.integers(1, 9))
@settings(max_examples=40, deadline=None)
def test_each_half_runs_through_laps_of_its_own(normal, abnormal, half) -> None:
    order = PairedOrder(labels(normal, abnormal), batch_size=2 * half, steps=30)
    half = order.half
    stream = np.array(epoch(order, 0)).reshape(30, 2, half)
    for side, count in enumerate((normal, abnormal)):
        per_lap = count // half
        laps = [stream[start : start + per_lap, side] for start in range(0, 30 - per_lap + 1, per_lap)]
        assert all(len(np.unique(lap)) == per_lap * half for lap in laps), "no bag comes twice in a lap"
        if len(laps) > 1 and count > 6:
            assert any((lap != laps[0]).any() for lap in laps[1:]), "each lap is shuffled anew"


def test_the_order_is_a_function_of_seed_and_step() -> None:
    options = {"label": labels(20, 13), "batch_size": 8, "crops": 5}
    first = [epoch(PairedOrder(**options, seed=3), number) for number in (0, 1, 0)]
    assert first[0] == first[2] != first[1]
    assert epoch(PairedOrder(**options, seed=4), 0) != first[0]
    assert epoch(PairedOrder(**options, seed=3, once=True), 7) == first[0]


@pytest.mark.parametrize("steps", [1, 3, 50])
def test_cut_epochs_are_the_same_stream_of_batches(steps) -> None:
    whole = PairedOrder(labels(20, 13), batch_size=8, crops=3)
    cut = PairedOrder(labels(20, 13), batch_size=8, crops=3, steps=steps)
    assert len(whole) == 5 and len(cut) == steps
    stream = [batch for number in range(30) for batch in epoch(whole, number)]
    pieces = [batch for number in range(-(-100 // steps)) for batch in epoch(cut, number)]
    assert pieces[:100] == stream[:100]


@given(half=st.integers(1, 4), world=st.sampled_from([1, 2, 3]), crops=st.sampled_from([1, 4]))
@settings(max_examples=40, deadline=None)
def test_each_process_takes_its_share_of_each_half(half, world, crops) -> None:
    label = labels(31, 25)
    options = {"label": label, "batch_size": 2 * half * world, "crops": crops}
    alone = epoch(PairedOrder(**options), 1)
    shares = [epoch(PairedOrder(**options, rank=rank, world=world), 1) for rank in range(world)]
    for batch, *parts in zip(alone, *shares, strict=True):
        assert sorted(batch) == sorted(index for part in parts for index in part)
        for part in parts:
            assert label[np.array(part) // crops].tolist() == [0] * half + [1] * half
            assert part.size == len(batch)  # type: ignore[attr-defined]  # a Share


def test_a_crop_is_drawn_for_each_bag() -> None:
    order = PairedOrder(labels(20, 20), batch_size=10, crops=4, steps=200)
    drawn = np.array(epoch(order, 0))
    assert np.unique(drawn % 4).tolist() == [0, 1, 2, 3] and np.unique(drawn // 4).tolist() == list(range(40))
    same = drawn // 4 == 7
    assert len(np.unique(drawn[same] % 4)) == 4, "not always the same crop of a bag"


def test_halves_are_cut_to_the_smaller_class_and_a_warning_says_so_once(caplog) -> None:
    """ShanghaiTech's weak split, where batches of 64 + 64 that drop the rest are none at all."""
    with caplog.at_level(logging.WARNING):
        orders = [PairedOrder(labels(175, 63), batch_size=128) for _ in range(2)]
    assert len(orders[0]) == 175 // 63 and all(len(batch) == 126 for batch in epoch(orders[0], 0))
    assert len(caplog.messages) == 1
    assert "175 normal and 63 abnormal" in caplog.messages[0] and "64" in caplog.messages[0]


def test_cut_halves_are_still_shared_evenly(caplog) -> None:
    order = PairedOrder(labels(175, 63), batch_size=128, world=2, rank=1)
    assert all(len(batch) == 62 for batch in epoch(order, 0))


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"batch_size": 7}, "even"),
        ({"batch_size": 0}, "even"),
        ({"batch_size": 6, "world": 2}, "multiple of 4"),
        ({"batch_size": 8, "steps": 0}, "checkpoint_every"),
        ({"batch_size": 8, "label": labels(5, 0)}, "0 abnormal"),
        ({"batch_size": 8, "label": labels(5, 1), "world": 2}, "fewer processes"),
    ],
)
def test_what_cannot_be_paired_is_refused(options, word) -> None:
    with pytest.raises(ConfigError, match=word):
        PairedOrder(**{"label": labels(9, 9), **options})
