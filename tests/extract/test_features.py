"""Features: which frames a snippet covers, what its crops show, and both streams of one decode."""

import weakref
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numbered import SIZE, NumberEncoder, numbered_footage
from videos import numbered_picture

from vad import cache
from vad.benchmarks import Footage
from vad.errors import ConfigError, DataError, VadError
from vad.extract.crops import scratch
from vad.extract.features import FeatureRecipe, FeatureWorker, Snippet, cropped, cut, encode, most
from vad.extract.launch import extract
from vad.types import Video


def recipe(**settings: object) -> FeatureRecipe:
    """Whole frames of numbered pictures."""
    return FeatureRecipe(**{"encoder": NumberEncoder(), "stretch": True, **settings})  # type: ignore[arg-type]


def pictures(count: int) -> list[np.ndarray]:
    return [numbered_picture(number, SIZE) for number in range(count)]


def snippets(recipe: FeatureRecipe, count: int, *, cuts: tuple[int, ...] = (), together: int = 1) -> list[Snippet]:
    return list(encode(iter(pictures(count)), recipe.encoder.load("cpu"), recipe, cuts=cuts, together=together))


def intervals(found: list[Snippet]) -> list[tuple[int, int]]:
    return [(snippet.first, snippet.end) for snippet in found]


@pytest.fixture(scope="module")
def footage(tmp_path_factory: pytest.TempPathFactory) -> Footage:
    """Videos of 40, 9 and 32 frames."""
    return numbered_footage(tmp_path_factory.mktemp("features") / "footage", (40, 9, 32))


def arrays_of(recipe: FeatureRecipe, footage: Footage, index: int) -> dict[str, np.ndarray]:
    return dict(recipe.worker("cpu")(footage, footage.videos("test")[index])[0])


def test_an_entry_says_which_frames_each_snippet_covers_and_holds_both_streams(footage: Footage) -> None:
    arrays = arrays_of(recipe(outputs=("mean", "difference")), footage, 0)
    assert {name: (str(array.dtype), array.shape) for name, array in arrays.items()} == {
        "first": ("int32", (3,)),
        "end": ("int32", (3,)),
        "mean": ("float16", (3, 1, 2)),
        "difference": ("float16", (3, 1, 2)),
    }
    assert arrays["first"].tolist() == [0, 16, 32] and arrays["end"].tolist() == [16, 32, 40]
    assert arrays["mean"][:, 0].tolist() == [[7.5, 15], [23.5, 47], [35.5, 71]]
    assert arrays["difference"][:, 0].tolist() == [[1, 2]] * 3


def test_the_last_frames_are_a_snippet_or_left_out(footage: Footage) -> None:
    assert arrays_of(recipe(tail="drop"), footage, 0)["end"].tolist() == [16, 32]
    for tail in ("repeat", "drop"):
        short, full = (arrays_of(recipe(tail=tail), footage, index) for index in (1, 2))
        assert short["first"].tolist() == [0] and short["end"].tolist() == [9], "a short video keeps its only one"
        assert short["mean"].tolist() == [[[4, 8]]]
        assert full["end"].tolist() == [16, 32]


def test_only_every_nth_frame_is_encoded() -> None:
    found = snippets(recipe(stride=5, outputs=("difference", "mean")), 40)
    assert intervals(found) == [(0, 16), (16, 32), (32, 40)]
    means = [np.mean(frames) for frames in ((0, 5, 10, 15), (16, 21, 26, 31), (32, 37))]
    assert [snippet.vectors["mean"][0, 0] for snippet in found] == pytest.approx(means)
    assert [snippet.vectors["difference"][0, 0] for snippet in found] == [5, 5, 5]
    assert list(found[0].vectors) == ["difference", "mean"]


def test_a_single_frame_differs_from_nothing() -> None:
    (found,) = snippets(recipe(outputs=("mean", "difference"), tail="drop"), 1)
    assert (found.first, found.end) == (0, 1) and found.vectors["difference"].tolist() == [[0, 0]]


@pytest.mark.parametrize(("tail", "last"), [("repeat", [(36, 40)]), ("drop", [])])
def test_snippets_begin_anew_at_cuts_and_leave_no_gap(tail: str, last: list[tuple[int, int]]) -> None:
    found = snippets(recipe(tail=tail, outputs=("mean", "difference")), 40, cuts=(0, 4, 20))
    assert intervals(found) == [(0, 4), (4, 20), (20, 36), *last]
    assert [snippet.vectors["mean"][0, 0] for snippet in found[:2]] == [1.5, 11.5]
    assert most(40, 16, (0, 4, 20)) == 4 and most(9, 16, ()) == 1 and most(32, 16, (16,)) == 2


def test_an_encoder_of_clips_sees_whole_snippets_the_last_frame_repeated() -> None:
    found = snippets(recipe(encoder=NumberEncoder(clip=4), snippet=8, stride=2), 13)
    assert intervals(found) == [(0, 8), (8, 13)]
    assert [snippet.vectors["mean"].tolist() for snippet in found] == [[[0, 2, 4, 6]], [[8, 10, 12, 12]]]
    (short,) = snippets(recipe(encoder=NumberEncoder(clip=4), snippet=4), 2)
    assert short.vectors["mean"].tolist() == [[0, 1, 1, 1]] and (short.first, short.end) == (0, 2)


def test_an_encoder_of_clips_gets_what_it_takes_or_an_error() -> None:
    with pytest.raises(ConfigError, match="clips of 4 frames, and snippets of 16 with stride 2 have 8"):
        recipe(encoder=NumberEncoder(clip=4), stride=2).worker("cpu")
    with pytest.raises(ConfigError, match="'difference' needs an encoder of single frames"):
        recipe(encoder=NumberEncoder(clip=16), outputs=("mean", "difference")).worker("cpu")


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"stride": 17}, "stride <= snippet"),
        ({"outputs": ()}, "outputs"),
        ({"outputs": ("mean", "mean")}, "outputs"),
        ({"outputs": ("median",)}, "outputs"),
        ({"crops": 3, "stretch": False}, "crops must be 1, 5 or 10"),
        ({"crops": 5}, "stretch takes the whole frame"),
        ({"short_side": 95, "stretch": False}, "short_side 95 is shorter than the encoder's frames of 160 x 96"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        recipe(**settings).worker("cpu")


def test_crops_are_the_centre_then_the_corners_then_all_mirrored() -> None:
    y, x = np.mgrid[0:96, 0:160].astype(np.uint8)
    frame = np.stack([x, y, x], -1)
    crops = cut(frame, (64, 48), recipe(stretch=False, crops=10, short_side=96))
    assert crops.shape == (10, 48, 64, 3) and crops.dtype == np.uint8
    left, top = crops[:, 0, 0, 0].tolist(), crops[:, 0, 0, 1].tolist()
    assert list(zip(left, top, strict=True))[:5] == [(48, 24), (0, 0), (96, 0), (0, 48), (96, 48)]
    np.testing.assert_array_equal(crops[5:], crops[:5, :, ::-1])
    for count in (1, 5):
        fewer = cut(frame, (64, 48), recipe(stretch=False, crops=count, short_side=96))
        np.testing.assert_array_equal(fewer, crops[:count])


@pytest.mark.parametrize("shape", [(96, 160), (160, 96), (40, 30), (480, 640), (30, 400)])
def test_crops_have_the_encoders_size_whatever_the_frames(shape: tuple[int, int]) -> None:
    frame = np.random.default_rng(0).integers(0, 255, (*shape, 3), np.uint8)
    for size in ((56, 56), (100, 40)):
        assert cut(frame, size, recipe(stretch=False, crops=5)).shape == (5, size[1], size[0], 3)
        assert cut(frame, size, recipe()).shape == (1, size[1], size[0], 3)


def test_the_short_side_is_eight_sevenths_of_the_encoders_by_default() -> None:
    x = np.tile(np.linspace(0, 255, 512, dtype=np.uint8), (256, 1))
    (crop,) = cut(np.repeat(x[..., None], 3, 2), (112, 112), recipe(stretch=False))
    assert crop[0, 0, 0] == pytest.approx(255 * (256 - 112) / 2 / 256, abs=1.5)  # 256 wide, 72 cut off on each side
    assert crop[0, -1, 0] == pytest.approx(255 * (256 + 112) / 2 / 256, abs=1.5)


def test_crops_keep_their_own_vectors() -> None:
    """Crops of 160 x 96 of frames twice as large; the number stands in their upper left quarter."""
    frames = [np.pad(picture, ((0, 96), (0, 160), (0, 0))) for picture in pictures(20)]
    settings = recipe(stretch=False, crops=5, short_side=192)
    found = list(encode(iter(frames), settings.encoder.load("cpu"), settings, together=2))
    for snippet, mean in zip(found, (7.5, 17.5), strict=True):
        assert snippet.vectors["mean"].shape == (5, 2)
        assert snippet.vectors["mean"][1].tolist() == [mean, 2 * mean] and (snippet.vectors["mean"][2:] == 0).all()


def test_one_decode_and_one_pass_give_every_stream(footage: Footage, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    passes: list[int] = []
    monkeypatch.setattr(Footage, "open", _counted(Footage.open, opened, passes))
    worker = recipe(outputs=("mean", "difference"), stride=2).worker("cpu")
    assert isinstance(worker, FeatureWorker)
    _, extra = worker(footage, footage.videos("test")[0])
    assert opened == ["0"] and passes == [40] and extra["frames"] == 40 and extra["snippets"] == 3
    assert sum(worker._encoder.seen) == 20  # type: ignore[attr-defined]


def _counted(original: object, opened: list[str], passes: list[int]) -> object:
    def open_counted(self: Footage, video: Video) -> object:
        opened.append(video.id)
        reader = original(self, video)  # type: ignore[operator]
        kind = type(reader)

        class Counted(kind):  # type: ignore[misc,valid-type]
            def __iter__(self) -> Iterator[np.ndarray]:
                passes.append(0)
                for frame in kind.__iter__(self):
                    passes[-1] += 1
                    yield frame

        reader.__class__ = Counted
        return reader

    return open_counted


def test_snippets_that_are_encoded_together_are_the_same() -> None:
    for settings in (recipe(outputs=("mean", "difference")), recipe(encoder=NumberEncoder(clip=16))):
        alone, joined = (snippets(settings, 70, cuts=(21,), together=together) for together in (1, 3))
        assert intervals(alone) == intervals(joined)
        for one, other in zip(alone, joined, strict=True):
            for name in settings.streams:
                np.testing.assert_array_equal(one.vectors[name], other.vectors[name])


def test_a_live_stream_gets_a_snippet_with_its_last_frame() -> None:
    given: list[int] = []

    def live() -> Iterator[np.ndarray]:
        for number in range(40):
            given.append(number)
            yield numbered_picture(number, SIZE)

    stream = encode(live(), NumberEncoder().load("cpu"), recipe())
    assert next(stream).end == 16 and len(given) == 16
    assert next(stream).end == 32 and len(given) == 32


def test_frames_are_let_go() -> None:
    alive: list[weakref.ref[np.ndarray]] = []

    def long() -> Iterator[np.ndarray]:
        for number in range(200):
            frame = np.full((96, 160, 3), number, np.uint8)
            alive.append(weakref.ref(frame))
            yield frame

    for _, end, pixels in cropped(long(), (16, 16), recipe(stretch=False), frozenset()):
        assert pixels.shape == (1, 16 if end < 200 else 8, 16, 16, 3)
        assert sum(reference() is not None for reference in alive) <= 2


def test_arrays_of_long_videos_are_filled_on_disk(footage: Footage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vad.extract.crops.HELD_BYTES", 8)
    assert isinstance(scratch((3, 2), np.float16), np.memmap)
    (done,) = extract([recipe()], footage, footage.videos("test")[:1])
    assert done.computed == 1
    stored = cache.entry(footage.dataset, recipe(), "0").read("mean")
    assert stored[:, 0, 0].tolist() == [7.5, 23.5, 35.5]


@pytest.mark.parametrize(("spoilt", "found"), [(1e4, r"\d+"), (float("inf"), "inf"), (float("nan"), "nan")])
def test_what_float16_cannot_hold_is_an_error(footage: Footage, spoilt: float, found: str) -> None:
    reason = rf"Footage: 0: .*'mean' of snippet 1 \(frames 16 to 31\) holds {found}, which float16 cannot"
    with pytest.raises(DataError, match=reason):
        arrays_of(recipe(encoder=NumberEncoder(spoilt=spoilt)), footage, 0)


def test_extraction_goes_on_where_it_stopped(footage: Footage) -> None:
    videos = footage.videos("test")
    broken = recipe(encoder=NumberEncoder(fails=35))  # in the first video, the longest; the others are not begun
    with pytest.raises(VadError, match="the device is lost"):
        extract([broken], footage, videos)
    whole = recipe()
    assert extract([whole], footage, videos[1:])[0].computed == 2
    (summary,) = extract([whole], footage, videos)
    assert (summary.computed, summary.present, summary.frames) == (1, 2, 40)


@pytest.mark.slow
def test_two_processes_equal_one(footage: Footage, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    settings = recipe(outputs=("mean", "difference"))
    found = []
    for processes in (1, 2):
        monkeypatch.setenv("VAD_CACHE", str(tmp_path / f"cache{processes}"))
        extract([settings], footage, footage.videos("test"), processes=processes)
        entries = [cache.entry(footage.dataset, settings, video.id) for video in footage.videos("test")]
        found.append(
            [entry.read(name, mmap=False) for entry in entries for name in ("first", "end", *settings.streams)]
        )
    for one, two in zip(*found, strict=True):
        np.testing.assert_array_equal(one, two)


def test_lists_and_tuples_are_one_recipe() -> None:
    assert recipe(outputs=["mean", "difference"]).key == recipe(outputs=("mean", "difference")).key
    assert recipe(outputs=("mean",)).key != recipe(outputs=("difference",)).key
    assert recipe().streams == ("mean",)
