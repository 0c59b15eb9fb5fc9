"""Cubes from the cache."""

import pickle

import numpy as np
import pytest
import toy_cubes
from torch.utils.data import DataLoader
from toy_cubes import NoMotion, ToyBenchmark, cube_data

from vad import cache
from vad.datamodules import rows
from vad.datamodules.cubes import CubeData, cells
from vad.datamodules.rows import StackedRows, Stretch
from vad.errors import CacheError, ConfigError, DataError
from vad.types import CubeBatch, Part, Video


def sample_by_sample(data: CubeData, videos: list[Video], name: str) -> list[np.ndarray]:
    """The slow twin: one row after another, read from its video's own entry."""
    entries = [cache.entry(data.benchmark.dataset, data.crops, video.id) for video in videos]
    return [row for entry in entries for row in np.load(entry.folder / f"{name}.npy")]


@pytest.mark.parametrize("in_memory", [True, False])
def test_a_batch_holds_the_rows_of_its_keys(in_memory) -> None:
    data = cube_data(flow=True, in_memory=in_memory)
    crops, flows = (sample_by_sample(data, data.fit_videos(), name) for name in ("crop", "flow"))
    seen = []
    for batch in data.train_dataloader():
        for cube, flow, key in zip(batch.cubes.numpy(), batch.flow.numpy(), batch.key.tolist(), strict=True):
            np.testing.assert_array_equal(cube, crops[key])
            np.testing.assert_array_equal(flow, flows[key])
            seen.append(key)
    assert sorted(seen) == list(range(len(crops)))
    assert batch.cubes.dtype == np.uint8 or str(batch.cubes.dtype) == "torch.uint8"


def test_few_maps_are_open_at_once_and_none_is_pickled(monkeypatch) -> None:
    monkeypatch.setattr(rows, "MAPS", 2)
    data = cube_data(in_memory=False)
    loader = data.train_dataloader()
    keys = [key for batch in loader for key in batch.key.tolist()]
    stacked = loader.dataset.cubes
    assert len(stacked.stretches) > 2 and len(stacked._maps) == 2
    assert len(pickle.dumps(stacked)) < stacked.nbytes / 10
    again = pickle.loads(pickle.dumps(stacked))
    np.testing.assert_array_equal(again.gather(np.sort(keys)), stacked.gather(np.sort(keys)))


def test_row_i_of_the_record_has_key_i_of_the_scored_batches() -> None:
    data = cube_data()
    record = data.score_record()
    loader = data.test_dataloader()
    assert sorted(key for batch in loader for key in batch.key.tolist()) == list(range(len(record)))
    frames, boxes = (sample_by_sample(data, data.score_videos(), name) for name in ("frame", "box"))
    np.testing.assert_array_equal(record.frame, frames)
    np.testing.assert_array_equal(record.box, boxes)
    assert record.kind == "objects" and record.offsets[-1] == len(frames)


def test_the_merge_protocol_learns_from_both_splits_and_scores_both() -> None:
    data = cube_data(protocol="unsupervised_merge")
    assert {v.split for v in data.fit_videos()} == {v.split for v in data.score_videos()} == {"train", "test"}
    data = cube_data(protocol="unsupervised_partial")
    assert {v.split for v in data.fit_videos()} == {v.split for v in data.score_videos()} == {"test"}
    data = cube_data(protocol="one_class")
    assert {v.split for v in data.fit_videos()} == {"train"}
    assert {v.split for v in data.score_videos()} == {"test"}


def test_the_estimate_sees_every_training_sample_in_order() -> None:
    data = cube_data(max_items=20, protocol="one_class")
    keys = [key for batch in data.estimate_dataloader() for key in batch.key.tolist()]
    assert keys == list(range(20))


def test_max_items_cuts_training_evenly_and_scoring_never() -> None:
    whole = cube_data(in_memory=True)
    cut = cube_data(max_items=16, in_memory=True)
    every = sample_by_sample(whole, whole.fit_videos(), "crop")
    batch = next(iter(cut.estimate_dataloader()))
    for key, cube in zip(batch.key.tolist(), batch.cubes.numpy(), strict=True):
        np.testing.assert_array_equal(cube, every[key * len(every) // 16])
    assert len(cut.score_record()) == len(every)
    assert len(cut.test_dataloader().dataset) == len(every)


def test_max_videos_takes_the_first_of_each_split() -> None:
    data = cube_data(max_videos=2)
    assert [v.id for v in data.fit_videos()] == ["train/00", "train/01", "test/00", "test/01"]
    assert [v.id for v in data.needed()] == ["train/00", "train/01", "test/00", "test/01"]


def test_validation_holds_out_whole_videos_by_seed_and_id() -> None:
    splits = [cube_data(videos=8, protocol="one_class", validation=0.25, seed=seed) for seed in (0, 0, 1, 2, 3)]
    held_out = [[v.id for v in data.validation_videos()] for data in splits]
    assert held_out[0] == held_out[1] and len(held_out[0]) == 2
    assert len({tuple(ids) for ids in held_out}) > 1, "another seed holds out others"
    fit = {v.id for v in splits[0].fit_videos()}
    assert fit | set(held_out[0]) == {v.id for v in splits[0].benchmark.videos("train")}
    assert not fit & set(held_out[0])
    shuffled = splits[0].val_dataloader()
    assert isinstance(shuffled, DataLoader) and len(shuffled.dataset) > 0


def test_a_validation_share_that_leaves_a_side_empty_is_refused() -> None:
    with pytest.raises(ConfigError, match="validation"):
        cube_data(videos=1, validation=0.1, protocol="one_class").validation_videos()


def test_two_videos_are_enough_to_hold_one_out() -> None:
    data = cube_data(videos=2, validation=0.1, protocol="one_class")
    assert len(data.validation_videos()) == len(data.fit_videos()) == 1


def test_a_group_is_the_cell_of_the_boxs_centre() -> None:
    box = np.array(
        [[0, 0, 10, 10], [0, 35, 10, 45], [0, 150, 10, 158], [0, 158, 10, 158], [230, 79, 246, 79]], np.float32
    )
    assert cells(box, (238, 158), (4, 1)).tolist() == [0, 1, 3, 3, 2]
    assert cells(box, (238, 158), (2, 2)).tolist() == [0, 0, 2, 2, 3]
    assert cells(box, (238, 158), (1, 1)).tolist() == [0] * 5


def test_batches_of_bands_hold_one_band() -> None:
    data = cube_data(bands=3)
    for loader in (data.train_dataloader(), data.test_dataloader(), data.batchnorm_dataloader()):
        groups = [set(batch.group.tolist()) for batch in loader]
        assert all(len(group) == 1 for group in groups) and set.union(*groups) == {0, 1, 2}
    batch: CubeBatch = next(iter(data.test_dataloader()))
    expected = cells(data.score_record().box[batch.key.numpy()], (96, 96), (3, 1))
    assert batch.group.tolist() == expected.tolist()


class Joined(ToyBenchmark):
    """A video of the last four frames of one clip and the first six of another."""

    def parts(self, video: Video) -> list[Part]:
        other = video.id.replace("00", "01")
        return [Part(video.id, 6, 10), Part(other, 0, 6)]


def test_entries_are_joined_along_the_parts_of_a_video() -> None:
    data = CubeData(benchmark=Joined(videos=2), motion=NoMotion(), max_videos=1, protocol="one_class", batch_size=4)
    assert [v.id for v in data.needed()] == ["train/00", "train/01", "test/00", "test/01"]
    toy_cubes.fill(data)
    first, second = (cache.entry(data.benchmark.dataset, data.crops, f"test/0{i}") for i in (0, 1))
    frames = [first.read("frame"), second.read("frame")]
    kept = [frames[0] >= 6, frames[1] < 6]
    record = data.score_record()
    assert record.videos[0].frames == 10
    np.testing.assert_array_equal(record.frame, np.concatenate([frames[0][kept[0]] - 6, frames[1][kept[1]] + 4]))
    expected = np.concatenate([first.read("crop")[kept[0]], second.read("crop")[kept[1]]])
    got = np.concatenate([batch.cubes.numpy() for batch in data.test_dataloader()])
    np.testing.assert_array_equal(got, expected)


def test_a_missing_cache_names_the_command() -> None:
    data = CubeData(benchmark=ToyBenchmark(), motion=NoMotion())
    assert len(data.missing()) == len(data.recipes()) * len(data.needed())
    with pytest.raises(CacheError, match="vad extract --config"):
        data.setup("fit")


def test_videos_without_any_object_are_an_error() -> None:
    data = CubeData(benchmark=ToyBenchmark(), motion=NoMotion())
    toy_cubes.fill(data, objects=0)
    with pytest.raises(DataError, match="no object"):
        data.train_dataloader()


def test_nothing_that_finds_objects_is_refused() -> None:
    with pytest.raises(ConfigError, match="detector, motion"):
        CubeData(benchmark=ToyBenchmark())


def test_rows_of_another_shape_are_refused() -> None:
    a, b = (cache.entry("shapes", cube_data().crops, name) for name in "ab")
    a.write({"crop": np.zeros((2, 3), np.uint8)}, identity={})
    b.write({"crop": np.zeros((2, 4), np.uint8)}, identity={})
    with pytest.raises(CacheError, match="extract again"):
        StackedRows("crop", [Stretch(a, 0, 2), Stretch(b, 0, 2)])
    with pytest.raises(CacheError, match="extract again"):
        StackedRows("crop", [Stretch(a, 0, 3)])


def test_auto_holds_in_memory_what_takes_less_than_a_quarter_of_it(monkeypatch) -> None:
    held = cube_data(in_memory="auto").train_dataloader().dataset.cubes
    assert held._held is not None
    monkeypatch.setattr(rows, "available_memory", lambda: held.nbytes * 4 - 4)
    assert cube_data(in_memory="auto").train_dataloader().dataset.cubes._held is None
