"""Snippets joined along parts, and streams beside each other."""

from typing import Any

import numpy as np
import pytest
import torch
from toy_bags import SNIPPET, ToyFeatures, ToyWeak

from vad import cache
from vad.datamodules.snippets import Snippets
from vad.errors import CacheError, DataError
from vad.types import Part, Video

LOOK, MOVE = ToyFeatures(name="look", dim=3, crops=1), ToyFeatures(name="move", dim=2, crops=1)
VIDEO = Video("v", "test", label=1)


def write(recipe: ToyFeatures, source: str, rows: Any, *, width: int = SNIPPET, first: Any = None) -> None:
    """One entry whose vectors hold their row, or rows as they are given, (n, C, D)."""
    if isinstance(rows, int):
        rows = np.broadcast_to(np.arange(rows)[:, None, None], (rows, recipe.crops, recipe.dim))
    first = width * np.arange(len(rows), dtype=np.int32) if first is None else np.asarray(first, np.int32)
    arrays = {"first": first, "end": first + np.int32(width), recipe.name: np.asarray(rows, np.float16)}
    cache.entry(ToyWeak().dataset, recipe, source).write(arrays, identity={})


def snippets(*recipes: ToyFeatures, parts: list[Part] | None = None, **options: Any) -> Snippets:
    parts = [Part("v", 0, 10_000)] if parts is None else parts
    return Snippets(ToyWeak(), recipes, [VIDEO], [parts], **options)


def rows(read: torch.Tensor) -> list[float]:
    """The first value of each row of the first crop."""
    return read[:, 0, 0].tolist()


def test_streams_that_differ_by_a_row_are_cut_to_the_shorter_and_row_t_covers_the_same_frames() -> None:
    write(LOOK, "v", 10)
    write(MOVE, "v", 11)
    found = snippets(LOOK, MOVE)
    assert found.length.tolist() == [10]
    assert rows(found.read(0, 0)) == rows(found.read(0, 1)) == list(range(10))
    assert found.first.tolist() == [16 * t for t in range(10)] and (found.end == found.first + 16).all()


def test_streams_that_differ_by_more_than_the_tolerance_are_refused() -> None:
    write(LOOK, "v", 10)
    write(MOVE, "v", 13)
    with pytest.raises(DataError, match=r"v: streams differ too much in length .*10 of 16.*13 of 16"):
        snippets(LOOK, MOVE)
    assert snippets(LOOK, MOVE, tolerance=3).length.tolist() == [10]


def test_strict_streams_must_not_differ_at_all() -> None:
    write(LOOK, "v", 10)
    write(MOVE, "v", 11)
    with pytest.raises(DataError, match="differ"):
        snippets(LOOK, MOVE, align="strict")


def test_interpolation_stretches_every_stream_to_the_first() -> None:
    write(LOOK, "v", 4)
    write(MOVE, "v", 8)
    found = snippets(LOOK, MOVE, align="interpolate")
    assert rows(found.read(0, 0)) == [0, 1, 2, 3]
    assert rows(found.read(0, 1)) == [0.5, 2.5, 4.5, 6.5]
    assert found.first.tolist() == [0, 16, 32, 48]
    write(MOVE, "v", 4)
    assert rows(snippets(LOOK, MOVE, align="interpolate").read(0, 1)) == [0, 1, 2, 3]


@pytest.mark.parametrize("align", ["truncate", "interpolate"])
def test_snippets_of_another_width_are_refused(align) -> None:
    write(LOOK, "v", 10)
    write(MOVE, "v", 10, width=12)
    with pytest.raises(DataError, match="equally long"):
        snippets(LOOK, MOVE, align=align)


def test_snippets_of_other_frames_are_refused() -> None:
    write(LOOK, "v", 3)
    write(MOVE, "v", 3, first=[0, 12, 28])
    with pytest.raises(DataError, match="different frames"):
        snippets(LOOK, MOVE)


def test_entries_are_joined_along_parts_and_a_snippet_across_the_end_of_one_is_left_out() -> None:
    write(LOOK, "a", 10)
    write(LOOK, "b", 5)
    found = snippets(LOOK, parts=[Part("a", 32, 32 + 40), Part("b", 0, 48), Part("a", 0, 16)])
    assert rows(found.read(0, 0)) == [2, 3, 0, 1, 2, 0]
    assert found.first.tolist() == [0, 16, 40, 56, 72, 88]
    assert found.end.tolist() == [16, 32, 56, 72, 88, 104]


def test_each_part_is_aligned_by_itself() -> None:
    write(LOOK, "a", 3)
    write(MOVE, "a", 4)
    write(LOOK, "b", 3)
    write(MOVE, "b", 3)
    found = snippets(LOOK, MOVE, parts=[Part("a", 0, 64), Part("b", 0, 48)])
    assert rows(found.read(0, 0)) == rows(found.read(0, 1)) == [0, 1, 2, 0, 1, 2]
    stretched = snippets(LOOK, MOVE, parts=[Part("b", 0, 48), Part("a", 0, 64)], align="interpolate")
    assert rows(stretched.read(0, 1)) == pytest.approx([0, 1, 2, 1 / 6, 1.5, 17 / 6], abs=1e-3)


@pytest.mark.parametrize(
    ("first", "part", "gap"), [([0, 16, 48], (0, 64), "32 to 48"), ([0, 16, 32], (8, 48), "8 to 16")]
)
def test_a_gap_in_a_part_is_named(first, part, gap) -> None:
    write(LOOK, "a", 3, first=first)
    with pytest.raises(DataError, match=f"of a has no snippet for its frames {gap}"):
        snippets(LOOK, parts=[Part("a", *part)])


def test_a_video_without_snippets_is_named() -> None:
    write(LOOK, "v", 3)
    with pytest.raises(DataError, match="ToyWeak: v has no snippet"):
        snippets(LOOK, parts=[Part("v", 0, 15)])


def test_a_stream_that_lacks_a_whole_part_is_refused() -> None:
    write(LOOK, "v", 2)
    write(MOVE, "v", np.empty((0, 1, 2)))
    with pytest.raises(DataError, match="no snippet where others have"):
        snippets(LOOK, MOVE)


def crops(recipe: ToyFeatures, count: int) -> np.ndarray:
    return np.random.default_rng(recipe.dim).normal(1, 1, (count, recipe.crops, recipe.dim)).astype(np.float16)


def test_crops_are_kept_or_averaged_and_one_may_stand_for_all() -> None:
    five = ToyFeatures(name="look", dim=3, crops=5)
    write(five, "v", crops(five, 4))
    write(MOVE, "v", crops(MOVE, 4))
    every = snippets(five, MOVE, mean_of_crops=False)
    assert (every.most_crops, every.crops(0), every.crops(1)) == (5, 5, 1)
    np.testing.assert_array_equal(every.read(0, 0), crops(five, 4))
    mean = snippets(five, MOVE)
    assert mean.most_crops == 1
    np.testing.assert_allclose(mean.read(0, 0), crops(five, 4).astype(np.float32).mean(1, keepdims=True), rtol=1e-6)


def test_streams_of_other_crops_are_refused_unless_they_are_averaged() -> None:
    five, ten = ToyFeatures(name="look", dim=3, crops=5), ToyFeatures(name="move", dim=2, crops=10)
    write(five, "v", crops(five, 4))
    write(ten, "v", crops(ten, 4))
    with pytest.raises(DataError, match="look 5, move 10"):
        snippets(five, ten, mean_of_crops=False)
    assert snippets(five, ten).read(0, 1).shape == (4, 1, 2)


def test_relative_features_are_minus_the_mean_of_their_video_in_each_crop() -> None:
    two = ToyFeatures(name="look", dim=3, crops=2)
    write(two, "v", crops(two, 6))
    features = crops(two, 6).astype(np.float32)
    expected = features - features.mean(0, keepdims=True)
    subtracted = snippets(two, mean_of_crops=False, relative="subtract")
    assert subtracted.dim(0) == 3
    np.testing.assert_allclose(subtracted.read(0, 0), expected, atol=1e-6)
    appended = snippets(two, mean_of_crops=False, relative="append")
    assert appended.dim(0) == 6
    np.testing.assert_allclose(appended.read(0, 0), np.concatenate([features, expected], -1), atol=1e-6)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_value_that_is_no_number_is_an_error_that_names_video_and_stream(value) -> None:
    features = crops(LOOK, 4)
    features[2, 0, 1] = value
    write(LOOK, "v", features)
    with pytest.raises(DataError, match="'look' of v"):
        snippets(LOOK).read(0, 0)


def test_videos_of_another_width_or_other_crops_are_refused() -> None:
    write(LOOK, "v", crops(LOOK, 4))
    for shape in ((4, 1, 5), (4, 2, 3)):
        write(LOOK, "w", np.zeros(shape))
        with pytest.raises(CacheError, match="extract again"):
            snippets(LOOK, parts=[Part("v", 0, 64), Part("w", 0, 64)])


def test_an_array_without_an_axis_of_crops_is_refused() -> None:
    write(LOOK, "v", np.zeros((4, 3)))
    with pytest.raises(DataError, match=r"\(n, crops, width\)"):
        snippets(LOOK)


def test_a_truncated_file_is_an_error_that_names_it() -> None:
    write(LOOK, "v", 4)
    path = cache.entry(ToyWeak().dataset, LOOK, "v").folder / "look.npy"
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(CacheError, match="look"):
        snippets(LOOK).read(0, 0)


@pytest.mark.parametrize("align", ["truncate", "interpolate"])
def test_some_rows_are_those_of_all(align) -> None:
    random = np.random.default_rng(0)
    write(LOOK, "v", random.normal(size=(10, 1, 3)))
    write(MOVE, "v", random.normal(size=(11, 1, 2)))
    found = snippets(LOOK, MOVE, align=align)
    for stream in range(2):
        some = found.read(0, stream, np.array([0, 3, 4, 9]))
        assert torch.equal(some, found.read(0, stream)[[0, 3, 4, 9]])
