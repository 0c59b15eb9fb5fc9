"""Tubes from the cache."""

import numpy as np
import pytest
import toy_tubes
from toy_cubes import NoMotion, ToyBenchmark
from toy_tubes import CLASSES, LOGITS, ToyDetector, ToyTeacher, ToyTracks, odd_objects, tube_data

from vad import cache
from vad.datamodules.tubes import TubeData
from vad.datamodules.video_data import ends_of_chains
from vad.errors import CacheError, ConfigError, DataError
from vad.extract.extraction import Extraction
from vad.extract.teachers import TeacherRecipe
from vad.types import Part, Video


def sample_by_sample(data: TubeData, recipe: Extraction, videos: list[Video], name: str) -> list[np.ndarray]:
    """The slow twin: one row after another, read from its video's own entry."""
    entries = [cache.entry(data.benchmark.dataset, recipe, video.id) for video in videos]
    return [row for entry in entries for row in np.load(entry.folder / f"{name}.npy")]


@pytest.mark.parametrize("in_memory", [True, False])
@pytest.mark.parametrize("grey", [True, False])
def test_a_training_batch_holds_the_whole_windows_of_its_keys(in_memory, grey) -> None:
    data = tube_data(in_memory=in_memory, grey=grey, videos=6)
    for loader, videos in (
        (data.train_dataloader(), data.fit_videos()),
        (data.val_dataloader(), data.validation_videos()),
        (data.batchnorm_dataloader(), data.fit_videos()),
    ):
        crop, probability = (sample_by_sample(data, data.learned, videos, name) for name in ("crop", "probability"))
        logits = sample_by_sample(data, data.teachers[data.learned], videos, "logits")
        seen = []
        for batch in loader:
            assert batch.tubes.shape[1:] == (25, 16, 16, 1 if grey else 3)
            assert batch.probability.shape[1:] == (CLASSES,) and batch.logits.shape[1:] == (LOGITS,)
            for row, key in enumerate(batch.key.tolist()):
                np.testing.assert_array_equal(batch.tubes[row], crop[key])
                np.testing.assert_array_equal(batch.probability[row], probability[key])
                np.testing.assert_array_equal(batch.logits[row], logits[key])
                seen.append(key)
        assert sorted(seen) == list(range(len(crop))) and seen


def test_scored_tubes_have_seven_frames_and_row_i_of_the_record_key_i() -> None:
    data = tube_data(detector=ToyDetector())
    record = data.score_record()
    crop, probability, frames, boxes = (
        sample_by_sample(data, data.scored, data.score_videos(), name)
        for name in ("crop", "probability", "frame", "box")
    )
    keys = []
    for batch in data.test_dataloader():
        assert batch.tubes.shape[1:] == (7, 16, 16, 1) and batch.logits is None
        for row, key in enumerate(batch.key.tolist()):
            np.testing.assert_array_equal(batch.tubes[row], crop[key])
            np.testing.assert_array_equal(batch.probability[row], probability[key])
        keys += batch.key.tolist()
    assert sorted(keys) == list(range(len(record))) and record.kind == "objects"
    np.testing.assert_array_equal(record.frame, frames)
    np.testing.assert_array_equal(record.box, boxes)
    assert [video.frames for video in record.videos] == [40] * 4 and record.offsets[-1] == len(frames)
    assert len(odd_objects(data)) == len(record)
    assert set(record.frame) >= {0, 39}, "no frame at the ends of a clip is left out"


def test_without_a_detector_scored_tubes_come_with_the_teacher_s_logits() -> None:
    data = tube_data()
    logits = sample_by_sample(data, data.teachers[data.scored], data.score_videos(), "logits")
    keys = []
    for batch in data.test_dataloader():
        for row, key in enumerate(batch.key.tolist()):
            np.testing.assert_array_equal(batch.logits[row], logits[key])
        keys += batch.key.tolist()
    assert sorted(keys) == list(range(len(logits))) and keys
    assert next(iter(tube_data(teacher=False).test_dataloader())).logits is None


def test_the_estimate_sees_the_middle_of_every_training_tube_in_order() -> None:
    data = tube_data(max_items=20)
    whole = tube_data()
    every = sample_by_sample(whole, whole.learned, whole.fit_videos(), "crop")
    keys = []
    for batch in data.estimate_dataloader():
        for row, key in enumerate(batch.key.tolist()):
            np.testing.assert_array_equal(batch.tubes[row], every[key * len(every) // 20][9:16])
        keys += batch.key.tolist()
    assert keys == list(range(20))
    assert len(data.score_record()) == len(whole.score_record()), "scoring is never cut"


def test_the_recipes_are_those_of_the_paper() -> None:
    data = TubeData(benchmark=ToyBenchmark(), motion=NoMotion(), teacher=ToyTeacher(), every=5)
    learned, scored = data.learned, data.scored
    assert learned.offsets == tuple(range(-12, 13)) and scored.offsets == tuple(range(-3, 4))
    assert (learned.border, scored.border) == ("drop", "repeat") and (learned.every, scored.every) == (5, 1)
    assert learned.size == scored.size == 64 and learned.grey and learned.probability and scored.probability
    assert learned.objects == scored.objects and learned.confidence == 0.5 and learned.cover is None
    teachers = [TeacherRecipe(learned, ToyTeacher()), TeacherRecipe(scored, ToyTeacher())]
    assert data.recipes() == [learned.objects, learned, scored, *teachers]
    assert ends_of_chains(data.recipes()) == teachers
    seeing = TubeData(benchmark=ToyBenchmark(), detector=ToyDetector(), teacher=ToyTeacher())
    assert seeing.recipes()[3:] == [TeacherRecipe(seeing.learned, ToyTeacher())]
    assert ends_of_chains(seeing.recipes()) == [seeing.scored, seeing.teachers[seeing.learned]]
    without = TubeData(benchmark=ToyBenchmark(), motion=NoMotion())
    assert without.recipes() == [without.learned.objects, without.learned, without.scored]


def test_objects_are_those_of_cubes_too() -> None:
    from vad.datamodules.cubes import CubeData

    tubes = TubeData(benchmark=ToyBenchmark(), motion=NoMotion())
    assert tubes.learned.objects == CubeData(benchmark=ToyBenchmark(), motion=NoMotion()).crops.objects


@pytest.mark.parametrize(
    ("protocol", "fit", "score"),
    [
        ("one_class", {"train"}, {"test"}),
        ("unsupervised_partial", {"test"}, {"test"}),
        ("unsupervised_merge", {"train", "test"}, {"train", "test"}),
    ],
)
def test_long_tubes_are_needed_of_training_videos_and_short_ones_of_scored_videos(protocol, fit, score) -> None:
    data = TubeData(benchmark=ToyTracks(), motion=NoMotion(), teacher=ToyTeacher(), protocol=protocol)
    needed = {recipe.key: {video.split for video in data.needed(recipe)} for recipe in data.recipes()}
    for tubes, splits in ((data.learned, fit), (data.scored, score)):
        assert needed[tubes.key] == needed[data.teachers[tubes].key] == splits
    assert needed[data.learned.objects.key] == {video.split for video in data.needed()} == fit | score
    assert len(data.missing()) == sum(len(data.needed(recipe)) for recipe in data.recipes())
    toy_tubes.fill(data)
    assert not data.missing() and not data.broken()
    assert len(data.score_record()) == len(data.test_dataloader().dataset)


def test_tubes_of_a_split_that_is_read_both_ways_stay_apart() -> None:
    data = tube_data(protocol="unsupervised_partial", validation=0)
    assert next(iter(data.train_dataloader())).tubes.shape[1] == 25
    assert next(iter(data.test_dataloader())).tubes.shape[1] == 7
    assert data.val_dataloader() == []


def test_a_training_video_that_a_teacher_could_not_see_is_left_out() -> None:
    data = tube_data(validation=0)
    learned = data.teachers[data.learned]
    cache.entry(data.benchmark.dataset, learned, "train/01").mark_broken("it is cut short", identity={})
    assert data.broken() == {"train/01": "it is cut short"}
    assert [video.id for video in data.fit_videos()] == ["train/00", "train/02", "train/03"]


def test_objects_of_every_fifth_frame_are_learned_from_and_all_are_scored() -> None:
    data = tube_data(every=5)
    learned = sample_by_sample(data, data.learned, data.fit_videos(), "frame")
    assert learned and {frame % 5 for frame in learned} == {0}
    assert {frame % 5 for frame in data.score_record().frame} == {0, 1, 2, 3, 4}


def test_without_a_teacher_no_logits_are_read() -> None:
    data = tube_data(teacher=False)
    assert not data.teachers and next(iter(data.train_dataloader())).logits is None


class Joined(ToyTracks):
    """A video of the last ten frames of one clip and the first thirty of another."""

    def parts(self, video: Video) -> list[Part]:
        other = video.id.replace("00", "01")
        return [Part(video.id, 30, 40), Part(other, 0, 30)]


def test_entries_are_joined_along_the_parts_of_a_video() -> None:
    data = TubeData(
        benchmark=Joined(videos=2), motion=NoMotion(), teacher=ToyTeacher(), max_videos=1, size=8, reach=4, validation=0
    )
    toy_tubes.fill(data)
    for recipe, split in ((data.learned, "train"), (data.scored, "test")):
        first, second = (cache.entry(data.benchmark.dataset, recipe, f"{split}/0{i}") for i in (0, 1))
        kept = [first.read("frame") >= 30, second.read("frame") < 30]
        expected = np.concatenate([first.read("crop")[kept[0]], second.read("crop")[kept[1]]])
        loader = data.estimate_dataloader() if split == "train" else data.test_dataloader()
        got = np.concatenate([batch.tubes.numpy() for batch in loader])
        np.testing.assert_array_equal(got, expected[:, 1:8] if split == "train" else expected)
    answers = [cache.entry(data.benchmark.dataset, data.teachers[data.learned], f"train/0{i}") for i in (0, 1)]
    frames = [cache.entry(data.benchmark.dataset, data.learned, f"train/0{i}").read("frame") for i in (0, 1)]
    expected = np.concatenate([answers[0].read("logits")[frames[0] >= 30], answers[1].read("logits")[frames[1] < 30]])
    (batch,) = data.train_dataloader()
    np.testing.assert_array_equal(batch.logits, expected)


def test_a_missing_cache_names_the_command() -> None:
    data = TubeData(benchmark=ToyBenchmark(), motion=NoMotion())
    with pytest.raises(CacheError, match="vad extract --config"):
        data.setup("fit")


def test_videos_without_any_object_are_an_error() -> None:
    data = tube_data(objects=0)
    with pytest.raises(DataError, match="no object was found in 3 videos with 12 frames on each side; lower reach"):
        data.train_dataloader()
    with pytest.raises(DataError, match="no object was found in 4 videos; lower confidence"):
        data.test_dataloader()


@pytest.mark.parametrize(
    ("options", "reason"), [({"reach": 2}, "reach"), ({"every": 0}, "every"), ({"size": 0}, "size"), ({}, "detector")]
)
def test_what_cannot_be_is_refused(options, reason) -> None:
    with pytest.raises(ConfigError, match=reason):
        TubeData(benchmark=ToyBenchmark(), motion=NoMotion() if options else None, **options)
