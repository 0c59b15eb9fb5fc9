"""The order of batches."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader, Dataset

from vad.datamodules.order import BatchOrder, Share, evenly_spaced
from vad.errors import ConfigError


def share(order: BatchOrder, epoch: int) -> list[list[int]]:
    order.set_epoch(epoch)
    return list(order)


@given(
    count=st.integers(1, 60),
    batch_size=st.integers(1, 12),
    seed=st.integers(0, 3),
    epoch=st.integers(0, 3),
    groups=st.integers(1, 4),
)
@settings(max_examples=60, deadline=None)
def test_an_epoch_holds_every_sample_once_in_batches_of_one_group(count, batch_size, seed, epoch, groups) -> None:
    group = np.random.default_rng(count).integers(0, groups, count)
    batches = share(BatchOrder(count, batch_size=batch_size, seed=seed, groups=group), epoch)
    assert sorted(i for batch in batches for i in batch) == list(range(count))
    assert all(len(set(group[batch])) == 1 and 1 <= len(batch) <= batch_size for batch in batches)
    short = [int(group[batch[0]]) for batch in batches if len(batch) < batch_size]
    assert len(short) == len(set(short)), "only a group's last batch is not full"


def test_the_order_is_a_function_of_seed_and_epoch() -> None:
    order = BatchOrder(50, batch_size=8, seed=3)
    first = [share(order, epoch) for epoch in (0, 1, 0)]
    assert first[0] == first[2] != first[1]
    assert first == [share(BatchOrder(50, batch_size=8, seed=3), epoch) for epoch in (0, 1, 0)]
    assert share(BatchOrder(50, batch_size=8, seed=4), 0) != first[0]


def test_batches_of_all_groups_are_interleaved() -> None:
    group = np.repeat([0, 1], 80)
    order = BatchOrder(160, batch_size=8, seed=0, groups=group)
    drawn = [int(group[batch[0]]) for batch in share(order, 0)]
    assert drawn != sorted(drawn)
    assert 0 < sum(drawn[:10]) < 10


@given(count=st.integers(4, 60), quarter=st.integers(1, 3), world=st.sampled_from([1, 2, 4]), epoch=st.integers(0, 2))
@settings(max_examples=60, deadline=None)
def test_the_shares_of_the_processes_are_the_batches_of_one_process(count, quarter, world, epoch) -> None:
    size = 4 * quarter
    whole = share(BatchOrder(count, batch_size=size, seed=1), epoch)
    shares = [share(BatchOrder(count, batch_size=size, seed=1, rank=r, world=world), epoch) for r in range(world)]
    assert len({len(s) for s in shares}) == 1
    kept = [batch for batch in whole if len(batch) >= world]
    for batch, *parts in zip(kept, *shares, strict=True):
        assert sorted(batch) == sorted(i for part in parts for i in part)
        assert all(part and part.size == len(batch) for part in parts)  # type: ignore[attr-defined]  # a Share


@given(count=st.integers(1, 60), batch_size=st.integers(1, 12), world=st.integers(1, 5))
@settings(max_examples=60, deadline=None)
def test_whole_batches_are_dealt_to_equally_many_steps_of_every_process(count, batch_size, world) -> None:
    options = {"batch_size": batch_size, "shuffle": False, "deal": "whole"}
    alone = [tuple(batch) for batch in share(BatchOrder(count, **options), 0)]
    dealt = [[tuple(b) for b in share(BatchOrder(count, rank=r, world=world, **options), 0)] for r in range(world)]
    assert len({len(d) for d in dealt}) == 1 and len(dealt[0]) == len(BatchOrder(count, world=world, **options))
    assert {batch for d in dealt for batch in d} == set(alone)
    assert sum(len(d) for d in dealt) < len(alone) + world


@given(count=st.integers(1, 60), steps=st.integers(1, 12))
@settings(max_examples=40, deadline=None)
def test_cut_epochs_are_the_same_stream_of_batches(count, steps) -> None:
    whole, cut = BatchOrder(count, batch_size=4, seed=2), BatchOrder(count, batch_size=4, seed=2, steps=steps)
    stream = [batch for epoch in range(4) for batch in share(whole, epoch)]
    pieces = [share(cut, epoch) for epoch in range(len(stream) // len(cut))]
    assert all(len(piece) == len(cut) <= steps for piece in pieces)
    joined = [batch for piece in pieces for batch in piece]
    assert joined == stream[: len(joined)]


def test_one_shuffled_order_may_serve_all_epochs() -> None:
    order = BatchOrder(40, batch_size=8, seed=5, shuffle="once")
    assert share(order, 0) == share(order, 7)
    assert [i for batch in share(order, 0) for i in batch] != list(range(40))


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"count": 10, "batch_size": 9, "world": 2}, "evenly"),
        ({"count": 10, "batch_size": 0}, "at least 1"),
        ({"count": 10, "batch_size": 2, "steps": 0}, "checkpoint_every"),
        ({"count": 1, "batch_size": 2, "world": 2}, "no batch"),
        ({"count": 3, "batch_size": 2, "groups": np.zeros(2)}, "groups"),
    ],
)
def test_what_cannot_be_dealt_out_is_refused(options, word) -> None:
    with pytest.raises(ConfigError, match=word):
        BatchOrder(**options)


class Echo(Dataset):
    def __getitem__(self, indices: list[int]) -> Share:
        assert isinstance(indices, Share)
        return indices


def test_the_stream_of_batches_is_the_same_for_any_number_of_workers() -> None:
    streams = []
    for workers in (0, 2):
        order = BatchOrder(30, batch_size=4, seed=0)
        loader = DataLoader(Echo(), sampler=order, batch_size=None, num_workers=workers, collate_fn=lambda batch: batch)
        stream = []
        for epoch in range(2):
            loader.sampler.set_epoch(epoch)  # type: ignore[attr-defined]  # what Lightning calls
            stream += [(list(batch), batch.size) for batch in loader]
        streams.append(stream)
    assert streams[0] == streams[1]


def test_evenly_spaced_items_span_all_of_them() -> None:
    assert evenly_spaced(10, None).tolist() == list(range(10))
    assert evenly_spaced(10, 4).tolist() == [0, 2, 5, 7]
    assert evenly_spaced(3, 9).tolist() == [0, 1, 2]
    assert evenly_spaced(0, 5).tolist() == []
