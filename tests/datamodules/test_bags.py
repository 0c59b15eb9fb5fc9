"""Bags from the cache to the batch."""

import pickle
from typing import Any

import numpy as np
import pytest
import torch
from toy_bags import SNIPPET, ToyFeatures, ToyWeak, bag_data, fill, write

from vad import cache
from vad.datamodules import rows
from vad.datamodules.bags import BagData, interleaved
from vad.datamodules.segments import pool
from vad.errors import CacheError, ConfigError, DataError
from vad.types import BagBatch, Split, Video


def features(data: BagData, video: Video, recipe: int) -> np.ndarray:
    """The slow twin's source: one video's own file, float32 (n, C, D)."""
    entry = cache.entry(data.benchmark.dataset, data.features[recipe], video.id)
    return np.load(entry.folder / f"{data.features[recipe].streams[0]}.npy").astype(np.float32)


def bag(data: BagData, video: Video, recipe: int) -> np.ndarray:
    """One bag, (C, length, D): crops, relative and pooling in turn."""
    snippets = features(data, video, recipe)
    if data.crops == "mean":
        snippets = snippets.mean(1, keepdims=True)
    if data.relative == "subtract":
        snippets = snippets - snippets.mean(0, keepdims=True)
    return pool(torch.from_numpy(snippets), data.segments, data.pooling).transpose(0, 1).numpy()


def batches(loader: Any, epochs: int = 1) -> list[BagBatch]:
    found = []
    for epoch in range(epochs):
        loader.sampler.set_epoch(epoch)
        found += list(loader)
    return found


@pytest.mark.parametrize("in_memory", [True, False])
@pytest.mark.parametrize(
    "options",
    [
        {"crops": "mean"},
        {"crops": "all", "pooling": "mean"},
        {"crops": "all", "segments": None, "relative": "subtract"},
    ],
)
def test_a_batch_holds_the_pooled_bags_of_its_keys_and_zeros_behind_them(options, in_memory) -> None:
    data = bag_data(in_memory=in_memory, **options)
    videos = data.training_bags()
    seen = set()
    for batch in batches(data.train_dataloader(), 9):
        for row, key in enumerate(batch.key.tolist()):
            for number, stream in enumerate(batch.streams):
                expected = bag(data, videos[key], number)
                length = int(batch.length[row])
                assert stream.dtype == torch.float16 and expected.shape[1] == length
                np.testing.assert_allclose(stream[row, :, :length], expected, atol=2e-3)
                assert not stream[row, :, length:].any()
            assert batch.label[row] == videos[key].label
            seen.add(key)
        longest = data.segments or int(batch.length.max())
        assert all(stream.shape[2] == longest for stream in batch.streams)
    assert seen == set(range(12))


def test_held_and_mapped_bags_are_the_same_bit_for_bit() -> None:
    streams = [batches(bag_data(crops="random", in_memory=held).train_dataloader(), 2) for held in (True, False)]
    for ours, theirs in zip(*streams, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(ours.streams, theirs.streams, strict=True))


def test_normal_bags_stand_first_in_halves_of_a_batch() -> None:
    for batch in batches(bag_data().train_dataloader(), 2):
        assert batch.label.tolist() == [0] * 4 + [1] * 4 and len(batch) == batch.size == 8


def test_a_random_crop_is_one_of_the_bag_s_and_the_same_for_any_number_of_workers() -> None:
    streams = []
    for workers in (0, 2):
        data = bag_data(crops="random", num_workers=workers, checkpoint_every=6)
        videos = data.training_bags()
        streams.append(batches(data.train_dataloader(), 2))
    drawn = set()
    for batch, other in zip(*streams, strict=True):
        assert torch.equal(batch.key, other.key)
        assert all(torch.equal(a, b) for a, b in zip(batch.streams, other.streams, strict=True))
        for row, key in enumerate(batch.key.tolist()):
            chosen = [
                crop
                for crop in range(2)
                if all(
                    np.allclose(
                        stream[row, 0, : int(batch.length[row])], bag(data, videos[key], number)[crop], atol=2e-3
                    )
                    for number, stream in enumerate(batch.streams)
                )
            ]
            assert len(chosen) == 1, "the same crop of every stream"
            drawn.add((key, chosen[0]))
    assert len({crop for _, crop in drawn}) == 2


def test_a_stream_with_one_crop_stands_beside_each_crop_of_the_other() -> None:
    recipes = [ToyFeatures(name="look", dim=12, crops=5), ToyFeatures(name="move", dim=8, crops=1)]
    for held in (True, False):
        data = bag_data(features=recipes, crops="all", in_memory=held)
        batch = batches(data.train_dataloader())[0]
        assert [stream.shape[1] for stream in batch.streams] == [5, 5]
        assert (batch.streams[1] == batch.streams[1][:, :1]).all()
        (scored, *_) = batches(data.test_dataloader())
        assert [stream.shape[1] for stream in scored.streams] == [5, 5]
        batch = batches(bag_data(features=recipes, crops="random", in_memory=held).train_dataloader())[0]
        assert [stream.shape[1] for stream in batch.streams] == [1, 1]


@pytest.mark.parametrize("crops", ["mean", "random", "all"])
@pytest.mark.parametrize("relative", ["none", "subtract"])
def test_scoring_sees_every_snippet_of_one_video_a_batch_and_its_keys_are_rows_of_the_record(crops, relative) -> None:
    data = bag_data(crops=crops, relative=relative)
    record = data.score_record()
    assert record.kind == "snippets" and [v.id for v in record.videos] == [v.id for v in data.score_videos()]
    for number, (video, batch) in enumerate(zip(data.score_videos(), data.test_dataloader(), strict=True)):
        assert batch.key.tolist() == list(range(record.offsets[number], record.offsets[number + 1]))
        assert batch.length.tolist() == [len(batch.key)] == [video.frames // SNIPPET] and batch.size == 1
        for recipe, stream in enumerate(batch.streams):
            expected = features(data, video, recipe)
            expected = expected.mean(1, keepdims=True) if crops == "mean" else expected
            expected = expected - expected.mean(0, keepdims=True) if relative == "subtract" else expected
            assert stream.is_contiguous() and stream.dtype == torch.float16
            np.testing.assert_allclose(stream[0], expected.transpose(1, 0, 2), atol=2e-3)
        first = record.first[batch.key]
        assert first.tolist() == [SNIPPET * t for t in range(len(first))]
        assert (record.end[batch.key] <= video.frames).all()
    assert [v.frames for v in record.videos] == [v.frames for v in data.score_videos()]


def test_the_estimate_takes_every_training_bag_as_pooled_with_a_key_for_each_real_segment() -> None:
    data = bag_data(crops="random")
    videos = data.training_bags()
    keys, row = [], 0
    for batch in data.estimate_dataloader():
        assert [stream.shape[1] for stream in batch.streams] == [2, 2], "every crop, as in scoring"
        keys += batch.key.tolist()
        assert len(batch.key) == batch.length.sum()
        for bag_row in range(len(batch)):
            length = int(batch.length[bag_row])
            np.testing.assert_allclose(batch.streams[0][bag_row, :, :length], bag(data, videos[row], 0), atol=2e-3)
            row += 1
    assert row == len(videos) and keys == list(range(len(keys)))


def test_batchnorm_sees_the_first_epoch_every_time() -> None:
    data = bag_data(crops="random")
    train = batches(data.train_dataloader())
    for batch, other in zip(train * 2, batches(data.batchnorm_dataloader(), 2), strict=True):
        assert all(torch.equal(a, b) for a, b in zip(batch.streams, other.streams, strict=True))


def test_held_out_bags_come_once_in_batches_of_both_labels() -> None:
    data = bag_data(videos=40, validation=0.5, batch_size=8)
    held_out = list(data.val_dataloader())
    assert sorted(key for batch in held_out for key in batch.key.tolist()) == list(range(20))
    for batch in held_out:
        assert batch.label.tolist() == sorted(batch.label.tolist()) and set(batch.label.tolist()) == {0, 1}
    assert bag_data().val_dataloader() == []


def test_every_process_validates_on_both_labels() -> None:
    videos = interleaved([Video(f"{i}", "weak_train", label=int(i < 9)) for i in range(27)], 8)
    for start in (0, 8, 16):
        labels = [video.label for video in videos[start : start + 8]]
        assert {*labels[0::2]} == {*labels[1::2]} == {0, 1}


def test_small_settings_leave_a_bag_of_each_label() -> None:
    data = bag_data(max_videos=2, max_items=64, batch_size=16)
    (batch,) = batches(data.train_dataloader())
    assert batch.label.tolist() == [0, 1]
    assert {video.label for video in data.score_videos()} == {0, 1} and len(data.score_record().videos) == 2


def test_max_items_takes_half_of_each_label_and_scoring_never() -> None:
    data = bag_data(max_items=6)
    assert [video.label for video in data.training_bags()] == [1, 1, 1, 0, 0, 0]
    assert len(data.training_bags()) == 6 == len({v.id for v in data.training_bags()})
    assert len(data.score_record()) == len(bag_data().score_record())
    with pytest.raises(ConfigError, match="max_items"):
        bag_data(max_items=1)


class Unlabelled(ToyWeak):
    def videos(self, split: Split) -> list[Video]:
        return [
            Video(v.id, split, label=None if v.id.endswith("07") else v.label, frames=v.frames)
            for v in super().videos(split)
        ]


def test_a_training_video_without_a_label_is_named() -> None:
    data = BagData(benchmark=Unlabelled(), features=[ToyFeatures(name="look", dim=12)])
    fill(data)
    with pytest.raises(DataError, match="weak_train/07"):
        data.train_dataloader()
    assert [int(batch.label) for batch in data.test_dataloader()][7] == -1, "scoring asks for none"


class ListsOnly(ToyWeak):
    """Lengths are in no list, and there are no files; the grid of the test videos is known."""

    default_grid = "official"

    def videos(self, split: Split) -> list[Video]:
        return [Video(v.id, split, label=v.label) for v in super().videos(split)]

    def grid_length(self, video: Video, grid: Any) -> int:
        assert grid == "official" and video.split == "test"
        return 3 * SNIPPET


def test_videos_of_which_only_features_exist_are_learned_whole_and_scored_on_their_grid() -> None:
    data = BagData(benchmark=ListsOnly(), features=[ToyFeatures(name="look", dim=12)], batch_size=4)
    for recipe, video in data.missing():
        write(data, recipe, video.id, np.zeros((5, 1, 12)))  # type: ignore[arg-type]  # the toy's
    assert all(batch.length.tolist() == [5] * 4 for batch in data.train_dataloader())
    record = data.score_record()
    assert {v.frames for v in record.videos} == {48} and np.diff(record.offsets).tolist() == [3] * 12


def test_bags_are_held_once_for_all_loaders_and_pooled_when_they_are_asked_for() -> None:
    data = bag_data(checkpoint_every=1, batch_size=4, in_memory=True)
    loader = data.train_dataloader()
    held = loader.dataset.bags
    assert not held._filled.any()
    batches(loader)
    assert held._filled.sum() == 4
    list(data.estimate_dataloader())
    assert held._filled.all() and data.estimate_dataloader().dataset.bags is held
    entry = cache.entry(data.benchmark.dataset, data.features[0], "weak_train/00")
    (entry.folder / "look.npy").unlink()
    list(data.estimate_dataloader())  # from memory alone


def test_forked_workers_share_what_they_pool() -> None:
    data = bag_data(num_workers=2, in_memory=True)
    loader = data.estimate_dataloader()
    list(loader)
    assert loader.dataset.dataset.bags._filled.all()


def test_what_is_held_is_not_pickled() -> None:
    data = bag_data(in_memory=True)
    loader = data.train_dataloader()
    batch = batches(loader)[0]
    again = pickle.loads(pickle.dumps(loader.dataset))
    assert not again.bags._held
    index = batch.key.tolist()
    assert all(torch.equal(a, b) for a, b in zip(again[index].streams, batch.streams, strict=True))


def test_auto_holds_bags_that_take_less_than_a_quarter_of_memory(monkeypatch) -> None:
    held = bag_data().train_dataloader().dataset.bags
    assert held.hold and held.nbytes == 2 * (held.length.sum() + 1) * (12 + 8)
    monkeypatch.setattr(rows, "available_memory", lambda: held.nbytes * 4 - 4)
    assert not bag_data().train_dataloader().dataset.bags.hold


def test_a_missing_video_names_the_command() -> None:
    data = BagData(benchmark=ToyWeak(), features=[ToyFeatures(name="look", dim=12)])
    with pytest.raises(CacheError, match="vad extract"):
        data.setup("fit")


@pytest.mark.parametrize(
    ("options", "word"),
    [({"features": []}, "features"), ({"segments": 0}, "segments"), ({"tolerance": -1}, "tolerance")],
)
def test_what_makes_no_bag_is_refused(options, word) -> None:
    with pytest.raises(ConfigError, match=word):
        bag_data(**options)


def test_an_odd_batch_trains_not_but_scores() -> None:
    data = bag_data(batch_size=7)
    with pytest.raises(ConfigError, match="even"):
        data.train_dataloader()
    assert len(list(data.test_dataloader())) == 12


def test_planted_events_can_be_found() -> None:
    """What the methods' tests rely on: the first value of an event's snippets is larger."""
    data = bag_data()
    videos = data.score_videos()
    event = np.concatenate([data.benchmark.event(video) for video in videos])
    values = np.concatenate([batch.streams[0][0, 0, :, 0] for batch in data.test_dataloader()])
    assert values[event].mean() > values[~event].mean() + 1.5
    assert min(len(data.benchmark.event(video)) for video in videos) < 4
