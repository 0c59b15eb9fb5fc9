"""Feature packs become entries like those of features that were computed here."""

import json
import os
import tracemalloc
from pathlib import Path

import numpy as np
import pack_trees
import pytest
from pack_trees import UCF, UCF_TEST, XD_TEST, ceil, floor, rtfm, save, single, values, wu

from vad import cache
from vad.benchmarks import Benchmark, UCFCrime
from vad.errors import CacheError, ConfigError, DataError
from vad.extract import packs
from vad.extract.launch import Progress, Summary, extract
from vad.extract.pack_layout import Layout, find
from vad.extract.packs import PackRecipe, import_pack, segment_bounds
from vad.types import Split

RECIPE = PackRecipe(name="i3d", dim=4)


@pytest.fixture
def ucf(tmp_path: Path) -> UCFCrime:
    return pack_trees.ucf_crime(tmp_path / "lists")


def imported(
    benchmark: Benchmark,
    source: Path,
    recipe: PackRecipe = RECIPE,
    *,
    layout: Layout | None = None,
    skip: bool = False,
    splits: list[Split] | None = None,
) -> Summary:
    pack = find(benchmark, [source], splits=splits, layout=layout, skip_broken=skip, trust_lengths=False)
    return import_pack(pack, recipe, benchmark, on_broken="skip" if skip else "stop")


def entry(benchmark: Benchmark, id: str, recipe: PackRecipe = RECIPE) -> cache.Entry:
    return cache.entry(benchmark.dataset, recipe, id)


def change(path: Path, array: np.ndarray) -> None:
    """Write a file anew, with another time even where clocks are coarse."""
    before = path.stat().st_mtime_ns
    np.save(path, array)
    os.utime(path, ns=(before + 10**9, before + 10**9))


@pytest.mark.parametrize("kind", ["rtfm", "crop first", "wu", "wu centre", "pel", "float16", "float64", "fortran"])
def test_every_kind_of_pack_gives_the_same_entry(ucf: UCFCrime, tmp_path: Path, kind: str) -> None:
    source, rows = tmp_path / "pack", floor
    if kind == "rtfm":
        rtfm(source, rows=(rows := ceil))
    elif kind == "crop first":
        rtfm(source, axes="ctd", rows=rows)
    elif kind in ("float16", "float64", "fortran"):
        for id, n in UCF.items():
            array = np.asfortranarray(values(rows(n)))
            save(source / f"{id}.npy", array if kind == "fortran" else array.astype(kind))
    else:
        name = "{id}_{crop}" if kind == "pel" else "{id}__{crop}"
        wu(source, name=name, centre="{id}" if kind == "wu centre" else name)
    summary = imported(ucf, source)
    assert (summary.computed, summary.present, summary.skipped) == (5, 0, ())
    for id, frames in UCF.items():
        of = entry(ucf, id)
        features, first, end = of.read("i3d"), of.read("first"), of.read("end")
        assert (features.dtype, first.dtype, end.dtype) == (np.float16, np.int32, np.int32)
        np.testing.assert_array_equal(features, values(rows(frames)))
        np.testing.assert_array_equal(first, 16 * np.arange(rows(frames)))
        np.testing.assert_array_equal(end[:-1], first[1:])
        assert end[-1] == min(frames, 16 * rows(frames)), "never beyond the video"
        assert set(of.describe()["arrays"]) == {"first", "end", "i3d"}


def test_a_file_without_crops_has_one(ucf: UCFCrime, tmp_path: Path) -> None:
    imported(ucf, single(tmp_path / "clip"))
    assert entry(ucf, "Abuse028_x264").read("i3d").shape == (25, 1, 4)


def test_lists_alone_are_enough_and_an_unknown_length_clips_nothing(tmp_path: Path) -> None:
    xd = pack_trees.xd_violence(tmp_path / "lists")
    imported(xd, wu(tmp_path / "clip", XD_TEST, rows=lambda n: n // 16 + 1, crops=5), splits=["test"])
    for id, frames in XD_TEST.items():
        assert entry(xd, id).read("end")[-1] == frames + 16


def test_rows_behind_the_end_of_a_video_are_left_out(ucf: UCFCrime, tmp_path: Path) -> None:
    source = rtfm(tmp_path / "pack", rows=lambda frames: ceil(frames) + 2)
    import_pack(find(ucf, [source], trust_lengths=True), RECIPE, ucf)
    for id, frames in UCF.items():
        assert len(entry(ucf, id).read("i3d")) == ceil(frames) and entry(ucf, id).read("end")[-1] == frames


def test_importing_again_does_nothing_wherever_the_pack_lies(ucf: UCFCrime, tmp_path: Path) -> None:
    imported(ucf, rtfm(tmp_path / "pack"))
    (tmp_path / "pack").rename(tmp_path / "moved")
    again = imported(ucf, tmp_path / "moved")
    assert (again.computed, again.present) == (0, 5)
    about = json.dumps(entry(ucf, "Abuse028_x264").describe())
    assert "Abuse028_x264_i3d.npy" in about and str(tmp_path) not in about


def test_a_changed_file_is_imported_anew(ucf: UCFCrime, tmp_path: Path) -> None:
    source = wu(tmp_path / "pack")
    imported(ucf, source)
    change(source / "Abuse028_x264__3.npy", values(25, 1)[:, 0] + 7)
    again = imported(ucf, source)
    assert (again.computed, again.present) == (1, 4)
    np.testing.assert_array_equal(entry(ucf, "Abuse028_x264").read("i3d")[:, 3], values(25, 1)[:, 0] + 7)


def test_another_layout_is_imported_anew(ucf: UCFCrime, tmp_path: Path) -> None:
    source = rtfm(tmp_path / "pack", {"Burglary037_x264": 160})
    for layout, expected in (("time-crop", values(10)), ("crop-time", values(10).transpose(1, 0, 2))):
        import_pack(find(ucf, [source], layout=layout, skip_broken=True), RECIPE, ucf)  # type: ignore[arg-type]
        np.testing.assert_array_equal(entry(ucf, "Burglary037_x264").read("i3d"), expected)


def test_an_import_that_was_stopped_continues(ucf: UCFCrime, tmp_path: Path) -> None:
    class Stop(Exception):
        pass

    def stop(state: Progress) -> None:
        if state.done == 2:
            raise Stop

    pack = find(ucf, [rtfm(tmp_path / "pack")])
    with pytest.raises(Stop):
        import_pack(pack, RECIPE, ucf, progress=stop)
    rest = import_pack(pack, RECIPE, ucf)
    assert (rest.computed, rest.present) == (3, 2)


@pytest.mark.parametrize(
    ("value", "message"),
    [(np.nan, "nan is not finite"), (-np.inf, "-inf is not finite"), (7e4, "70000 does not fit half precision")],
)
@pytest.mark.parametrize("chunk", [1 << 24, 100])
def test_values_that_are_none_are_named(
    ucf: UCFCrime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: float, message: str, chunk: int
) -> None:
    monkeypatch.setattr(packs, "CHUNK", chunk)
    source = rtfm(tmp_path / "pack")
    array = values(26)
    array[17, 4, 2] = value
    save(source / "UCF_Test_ten_crop_i3d" / "Abuse028_x264_i3d.npy", array)
    with pytest.raises(DataError, match=rf"Abuse028_x264_i3d\.npy: row 17, channel 2: {message}") as caught:
        imported(ucf, source)
    assert "\n" not in str(caught.value) and not entry(ucf, "Abuse028_x264").exists()
    summary = imported(ucf, source, skip=True)
    ((video, reason),) = summary.skipped
    assert video == "Abuse028_x264" and message in reason and summary.computed + summary.present == 4
    assert message in str(entry(ucf, "Abuse028_x264").broken)
    save(source / "UCF_Test_ten_crop_i3d" / "Abuse028_x264_i3d.npy", values(26))
    assert imported(ucf, source).computed == 1 and entry(ucf, "Abuse028_x264").broken is None


def test_skipped_videos_keep_what_another_folder_had(ucf: UCFCrime, tmp_path: Path) -> None:
    imported(ucf, rtfm(tmp_path / "train", pack_trees.UCF_TRAIN), splits=["weak_train"])
    summary = imported(ucf, rtfm(tmp_path / "test", {"Abuse028_x264": 412}), skip=True)
    assert (summary.computed, summary.present) == (1, 2)
    assert [video for video, _ in summary.skipped] == ["Burglary037_x264", "Normal_Videos_003_x264"]
    assert entry(ucf, "Abuse001_x264").broken is None and entry(ucf, "Burglary037_x264").broken is not None
    assert [v for v, _ in imported(ucf, tmp_path / "test", skip=True).skipped] == [v for v, _ in summary.skipped]


def with_norm(array: np.ndarray) -> np.ndarray:
    return np.concatenate([array, np.linalg.norm(array, axis=-1, keepdims=True)], axis=-1)


def test_the_norm_that_mgfn_appends_is_left_out_where_it_is_one(ucf: UCFCrime, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    arrays = {id: random.random((ceil(n), 10, 128), dtype=np.float32) for id, n in UCF.items()}
    for id, array in arrays.items():
        save(tmp_path / "pack" / f"{id}_i3d.npy", with_norm(array))
    pack = find(ucf, [tmp_path / "pack"])
    assert pack.has_norm and pack.dim == 128
    assert "the last channel is the norm of the other 128 (MGFN): it is left out" in pack.words
    recipe = PackRecipe(name="i3d", dim=128)
    import_pack(pack, recipe, ucf)
    for id, array in arrays.items():
        np.testing.assert_array_equal(entry(ucf, id, recipe).read("i3d"), array.astype(np.float16))
    change(tmp_path / "pack" / "Abuse028_x264_i3d.npy", np.concatenate([arrays["Abuse028_x264"]] * 2, -1)[..., :129])
    with pytest.raises(DataError, match=r"Abuse028.*last channel is not the norm"):
        imported(ucf, tmp_path / "pack", recipe)
    for id, array in arrays.items():
        save(tmp_path / "own" / f"{id}.npy", np.concatenate([array, array[..., :1]], -1))
    assert find(ucf, [tmp_path / "own"]).dim == 129, "an encoder of that width keeps it"


def test_segments_cover_equal_shares(ucf: UCFCrime, tmp_path: Path) -> None:
    recipe = PackRecipe(name="i3d", dim=4, segments=32)
    for id in UCF:
        save(tmp_path / "pack" / f"{id}_i3d.npy", values(32).transpose(1, 0, 2))
    imported(ucf, tmp_path / "pack", recipe, layout="segments32")
    for id, frames in UCF.items():
        of = entry(ucf, id, recipe)
        np.testing.assert_array_equal(of.read("i3d"), values(32))
        first, end = of.read("first"), of.read("end")
        assert first[0] == 0 and end[-1] == frames and (first[1:] == end[:-1]).all()
        assert set(end - first) <= {frames // 32, frames // 32 + 1}


def test_bounds_of_segments() -> None:
    assert segment_bounds(70, 32)[:9].tolist() == [0, 2, 4, 6, 8, 10, 13, 15, 17]
    assert segment_bounds(107_997, 32)[-1] == 107_997


def test_the_authors_text_files(real_data: Path) -> None:
    """Three real files: 32 rows of C3D features of unit length."""
    benchmark = UCFCrime()
    pack = find(benchmark, [real_data / "features" / "ucf_c3d_sample"], skip_broken=True)
    assert (pack.layout, pack.dim, pack.crops) == ("segments32", 4096, {"test": 1}) and len(pack.skipped) == 1897
    recipe = PackRecipe(name="c3d", dim=4096, segments=32)
    present = type(pack)(**{**vars(pack), "skipped": {}})
    assert import_pack(present, recipe, benchmark).computed == 3
    for id, frames in (("Explosion008_x264", 1748), ("Normal_Videos_006_x264", 450), ("RoadAccidents002_x264", 347)):
        of = entry(benchmark, id, recipe)
        features = of.read("c3d").astype(np.float64)
        text = (real_data / "features" / "ucf_c3d_sample" / f"{id}.txt").read_text()
        expected = np.array([[float(word) for word in line.split()] for line in text.splitlines()])
        assert features.shape == (32, 1, 4096) and np.abs(features[:, 0] - expected).max() < 2.5e-4
        np.testing.assert_allclose(np.linalg.norm(features[:, 0], axis=1), 1, atol=1e-3)
        assert of.read("first")[0] == 0 and of.read("end")[-1] == frames


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("1 2 3 4\n" * 31 + "1 2 three 4\n", "cannot be read as text of numbers"),
        ("1 2 3 4\n" * 31 + "1 2 3\n", "cannot be read as text of numbers"),
        ("1 2 3 4\n" * 31 + "1 2 nan 4\n", "row 31, channel 2: nan is not finite"),
        ("1 2 3 4\n" * 31 + "1 2 \xff\xfe 4\n", "cannot be read as text of numbers"),
    ],
)
def test_unreadable_text_is_one_line(ucf: UCFCrime, tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "pack").mkdir()
    for id in UCF:
        (tmp_path / "pack" / f"{id}.txt").write_bytes(("1 2 3 4\n" * 32).encode())
    (tmp_path / "pack" / "Abuse028_x264.txt").write_bytes(content.encode("latin-1"))
    with pytest.raises(DataError, match=rf"Abuse028_x264\.txt: {message}") as caught:
        imported(ucf, tmp_path / "pack", PackRecipe(name="c3d", dim=4, segments=32))
    assert "\n" not in str(caught.value)


def test_a_width_that_was_not_expected_is_refused(ucf: UCFCrime, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="vectors have 4 values, 1,024 were expected"):
        imported(ucf, rtfm(tmp_path / "pack"), PackRecipe(name="i3d", dim=1024))


@pytest.mark.parametrize("options", [{"name": "first"}, {"name": "a/b"}, {"dim": 0}, {"snippet": 0}, {"segments": 7}])
def test_wrong_settings_are_refused(options: dict) -> None:
    with pytest.raises(ConfigError):
        PackRecipe(**{"name": "i3d", "dim": 4, **options})


def test_memory_is_one_video_in_half_precision(ucf: UCFCrime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packs, "CHUNK", 1 << 16)
    for id, frames in UCF_TEST.items():
        save(tmp_path / "pack" / f"{id}.npy", np.ones((ceil(frames), 10, 8192), np.float32))
    recipe = PackRecipe(name="i3d", dim=8192)
    pack = find(ucf, [tmp_path / "pack"], splits=["test"])
    tracemalloc.start()
    import_pack(pack, recipe, ucf)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    longest = ceil(505) * 10 * 8192 * 2
    assert longest < peak < 1.5 * longest + 2e6


def test_missing_entries_name_the_command_and_present_ones_need_no_footage(ucf: UCFCrime, tmp_path: Path) -> None:
    videos = [*ucf.videos("weak_train"), *ucf.videos("test")]
    assert all(video.path is None for video in videos)
    imported(ucf, rtfm(tmp_path / "train", pack_trees.UCF_TRAIN), splits=["weak_train"])
    with pytest.raises(
        CacheError,
        match=r"UCFCrime: 3 of 5 videos have no entry of pack-.*, first Normal_Videos_003_x264; .* "
        r"vad extract packs --benchmark UCFCrime --source FOLDER --name i3d --dim 4$",
    ):
        extract([RECIPE], ucf, videos)
    imported(ucf, rtfm(tmp_path / "test", UCF_TEST), splits=["test"])
    (summary,) = extract([RECIPE], ucf, videos)
    assert (summary.computed, summary.present) == (0, 5)


def test_who_skipped_videos_at_import_is_not_asked_again(ucf: UCFCrime, tmp_path: Path) -> None:
    imported(ucf, rtfm(tmp_path / "pack", UCF_TEST), skip=True)
    (summary,) = extract([RECIPE], ucf, [*ucf.videos("weak_train"), *ucf.videos("test")])
    assert (summary.computed, summary.present, len(summary.skipped)) == (0, 3, 2)


def test_the_command_has_what_decides_the_recipe() -> None:
    with pytest.raises(CacheError, match=r"run  vad extract packs .*--name mist --dim 1024 --snippet 12"):
        PackRecipe(name="mist", dim=1024, snippet=12).worker("cpu")
    assert PackRecipe(name="c3d", dim=4096, segments=32).command("X").endswith("--dim 4096 --layout segments32")
