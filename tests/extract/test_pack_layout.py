"""How a pack is laid out is found over all of its files together, and what does not fit is refused by name."""

import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pack_trees
import pytest
from pack_trees import UCF, UCF_TEST, XD_TEST, XD_TRAIN, ceil, floor, rtfm, save, single, values, wu

from vad.benchmarks import ShanghaiTechWeak, UCFCrime, XDViolence
from vad.errors import ConfigError, DataError
from vad.extract.pack_layout import Pack, find
from vad.extract.pack_lengths import Known, explain, rules
from vad.extract.pack_names import match


@pytest.fixture
def ucf(tmp_path: Path) -> UCFCrime:
    return pack_trees.ucf_crime(tmp_path / "lists")


@pytest.fixture
def xd(tmp_path: Path) -> XDViolence:
    return pack_trees.xd_violence(tmp_path / "xd_lists")


def refused(benchmark: UCFCrime | XDViolence, source: Path, message: str, **options: Any) -> None:
    with pytest.raises((DataError, ConfigError), match=message) as caught:
        find(benchmark, [source], **options)
    assert "\n" not in str(caught.value)


def test_the_axes_are_found_over_all_files_together(ucf: UCFCrime, tmp_path: Path) -> None:
    first = find(ucf, [rtfm(tmp_path / "rtfm")])
    second = find(ucf, [rtfm(tmp_path / "crop_first", axes="ctd")])
    assert (first.layout, first.crop_axis) == ("time-crop", 1)
    assert (second.layout, second.crop_axis) == ("crop-time", 0)
    for pack in (first, second):
        assert pack.dim == 4 and pack.crops == {"weak_train": 10, "test": 10}
        assert {p.video.id: p.rows for p in pack.videos} == {id: ceil(n) for id, n in UCF.items()}


def test_a_video_of_ten_snippets_in_ten_crops_reads_as_the_others_do(ucf: UCFCrime, tmp_path: Path) -> None:
    """Burglary037 has 160 frames: (10, 10, D) either way."""
    for axes, layout in (("tcd", "time-crop"), ("ctd", "crop-time")):
        assert find(ucf, [rtfm(tmp_path / axes, axes=axes)]).layout == layout


def test_an_axis_that_is_alike_everywhere_outweighs_one_that_is_so_in_most(ucf: UCFCrime, tmp_path: Path) -> None:
    source = rtfm(tmp_path / "pack", UCF_TEST, rows=lambda frames: 10 if frames < 500 else 32)
    assert find(ucf, [source], splits=["test"], trust_lengths=True).layout == "time-crop"


def test_what_stays_ambiguous_is_refused_until_it_is_declared(ucf: UCFCrime, tmp_path: Path) -> None:
    source = rtfm(tmp_path / "pack", rows=lambda frames: 10)
    refused(ucf, source, "both axes may be the crops: give --layout time-crop .* or crop-time")
    assert find(ucf, [source], layout="crop-time", trust_lengths=True).crop_axis == 0
    assert find(ucf, [source], layout="time-crop", trust_lengths=True).crop_axis == 1


def test_an_unusual_number_of_crops_has_to_be_declared(ucf: UCFCrime, tmp_path: Path) -> None:
    for id, frames in UCF.items():
        save(tmp_path / "pack" / f"{id}.npy", values(floor(frames), 3))
    refused(ucf, tmp_path / "pack", "no axis has 1, 5, 10 crops throughout: give --layout")
    assert find(ucf, [tmp_path / "pack"], layout="time-crop").crops["test"] == 3


@pytest.mark.parametrize(
    ("name", "centre"),
    [
        ("{id}__{crop}", "{id}__{crop}"),
        ("{id}__{crop}", "{id}"),
        ("{id}_{crop}", "{id}_{crop}"),
        ("{id}_i3d__{crop}", "{id}_i3d__{crop}"),
        ("train/{id}.mp4__{crop}", "test/{id}.mp4"),
    ],
)
def test_suffixes_of_crops(ucf: UCFCrime, tmp_path: Path, name: str, centre: str) -> None:
    pack = find(ucf, [wu(tmp_path / "pack", name=name, centre=centre)])
    assert pack.layout == "time" and pack.crop_axis is None and pack.crops == {"weak_train": 10, "test": 10}
    for packed in pack.videos:
        expected = [(name if crop else centre).format(id=packed.video.id, crop=crop) for crop in range(10)]
        assert [str(f.path.relative_to(tmp_path / "pack"))[: -len(".npy")] for f in packed.files] == expected
    assert ("; the centre has no number" in pack.words[1]) == ("{crop}" not in centre)


def test_one_file_for_each_video(ucf: UCFCrime, tmp_path: Path) -> None:
    pack = find(ucf, [single(tmp_path / "plain")])
    assert pack.layout == "time" and pack.crops == {"weak_train": 1, "test": 1}
    assert find(ucf, [single(tmp_path / "crop5", name="{id}__5")]).crops == {"weak_train": 1, "test": 1}
    assert find(ucf, [single(tmp_path / "audio", name="{id}__vggish")]).crops == {"weak_train": 1, "test": 1}


def test_crops_may_differ_between_splits_but_not_within_one(ucf: UCFCrime, tmp_path: Path) -> None:
    """VadCLIP's lists name ten crops of training videos and one of test videos."""
    source = wu(tmp_path / "pack", pack_trees.UCF_TRAIN)
    single(source, UCF_TEST, name="{id}__5")
    assert find(ucf, [source]).crops == {"weak_train": 10, "test": 1}
    (source / "Abuse001_x264__3.npy").unlink()
    refused(ucf, source, r"has files of the crops 0, 1, 2,.*, other videos of weak_train have 0, 1, 2,.*\.npy")


def test_names_of_xd_violence_stay_whole(xd: XDViolence, tmp_path: Path) -> None:
    lengths = XD_TEST | dict.fromkeys(XD_TRAIN, 400)
    pack = find(xd, [wu(tmp_path / "pack", lengths, crops=5)])
    assert {p.video.id for p in pack.videos} == set(lengths) and not pack.unknown


@pytest.mark.parametrize(
    "other", ["Thelma\u2026Louise.1991__#", "Thelma___Louise.1991__#", "Thelma...Louise.1991__%23"]
)
def test_a_name_that_an_archive_changed_is_found(xd: XDViolence, tmp_path: Path, other: str) -> None:
    names = [id.replace("Thelma...Louise.1991__#", other) for id in XD_TRAIN]
    assert names != list(XD_TRAIN)
    pack = find(xd, [wu(tmp_path / "pack", XD_TEST | dict.fromkeys(names, 400), crops=5)])
    assert {p.video.id for p in pack.videos} == {*XD_TRAIN, *XD_TEST} and not pack.unknown


def test_ids_that_differ_in_punctuation_alone_are_told_apart(ucf: UCFCrime, tmp_path: Path) -> None:
    """`Normal_Videos001` is for training, `Normal_Videos_001` for testing: neither stands for the other."""
    source = single(tmp_path / "pack", {id: n for id, n in UCF.items() if id != "Normal_Videos_003_x264"})
    save(source / "Normal_Videos003_x264.npy", values(floor(505), 1)[:, 0])
    refused(
        ucf, source, r"1 of 5 videos have no file .* Normal_Videos_003_x264 of test; is Normal_Videos003_x264\.npy it"
    )


def test_a_loose_name_of_two_videos_is_of_none() -> None:
    ids = ("v=a-b__#1_label_A", "v=a_b__#1_label_A")
    found = [(Path(f"{name}.npy"), (f"{name}.npy",)) for name in ("v=a-b__#1_label_A", "v=a+b__#1_label_A")]
    named, unknown = match(found, ids)
    assert [name.id for name in named] == [ids[0]] and [path.stem for path in unknown] == ["v=a+b__#1_label_A"]


def test_missing_videos_are_refused_or_skipped_and_named(ucf: UCFCrime, tmp_path: Path) -> None:
    source = rtfm(tmp_path / "pack", UCF_TEST)
    refused(ucf, source, r"2 of 5 videos have no file below .* first is Abuse001_x264 .* without weak_train")
    assert len(find(ucf, [source], splits=["test"]).videos) == 3
    pack = find(ucf, [source], skip_broken=True)
    assert [video.id for video in pack.skipped] == ["Abuse001_x264", "Normal_Videos001_x264"]
    assert "2 videos are skipped, the first is Abuse001_x264" in "\n".join(pack.words)


def test_files_of_no_video_are_counted(ucf: UCFCrime, tmp_path: Path) -> None:
    source = rtfm(tmp_path / "pack")
    save(source / "gt-ucf.npy", np.zeros(5))
    (source / "README.txt").write_text("features")
    (source / "._Abuse001_x264_i3d.npy").write_bytes(b"\0\5\26\7")
    pack = find(ucf, [source])
    assert {path.name for path in pack.unknown} == {"gt-ucf.npy", "README.txt"}
    assert "2 files belong to no video and are left aside" in "\n".join(pack.words)


def test_a_folder_of_something_else_is_refused(ucf: UCFCrime, tmp_path: Path) -> None:
    save(tmp_path / "pack" / "gt-ucf.npy", np.zeros(5))
    refused(
        ucf, tmp_path / "pack", r"no file has the name of a video of UCFCrime, such as .*; the first of 1 files is gt"
    )
    (tmp_path / "empty").mkdir()
    refused(ucf, tmp_path / "empty", r"there is no file of \.npy, \.txt")
    refused(ucf, tmp_path / "none", "there is no folder")
    refused(ucf, tmp_path, "expected one of time, time-crop", layout="tcd")


def test_two_packs_in_one_folder_are_refused(ucf: UCFCrime, tmp_path: Path) -> None:
    wu(tmp_path / "packs" / "RGB")
    wu(tmp_path / "packs" / "Flow")
    refused(ucf, tmp_path / "packs", "two files of one crop, .*Flow.* and .*RGB.*give the folder of one pack")
    rtfm(tmp_path / "mixed")
    wu(tmp_path / "mixed")
    refused(ucf, tmp_path / "mixed", "named in several ways, such as .* and ")


def test_several_sources_are_one_pack(xd: XDViolence, tmp_path: Path) -> None:
    wu(tmp_path / "i3d" / "RGB", dict.fromkeys(XD_TRAIN, 400), crops=5)
    wu(tmp_path / "i3d" / "RGBTest", XD_TEST, crops=5)
    wu(tmp_path / "i3d" / "Flow", dict.fromkeys(XD_TRAIN, 400), crops=5)
    assert len(find(xd, [tmp_path / "i3d" / "RGB", tmp_path / "i3d" / "RGBTest"]).videos) == 5


ODD = "Abuse028_x264"


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (values(26, 10, 3), r"Abuse028.*shape \(26, 10, 3\), but most files have 3 axes and vectors of 4"),
        (values(26, 9), r"Abuse028.*has 9 crops, its shape is \(26, 9, 4\); other videos of test have 10"),
        (values(26, 10)[:, 0], r"Abuse028.*shape \(26, 4\), but most files have 3 axes"),
        (values(0, 10), r"Abuse028.*holds no rows"),
        (values(26, 10).astype(np.int64), r"Abuse028.*holds int64, expected floats"),
        (
            values(260, 10),
            r"Abuse028_x264 has 260 rows, but 25 \(floor.* or 26 \(ceil.*412 frames; the rows of 1 of 5.*10x",
        ),
        (values(130, 10), r"Abuse028_x264 has 130 rows.*exactly 5x as many, so crops were not averaged"),
        (values(28, 10), r"Abuse028_x264 has 28 rows.*give --lengths trust"),
    ],
)
def test_a_file_that_differs_from_the_others_is_named(
    ucf: UCFCrime, tmp_path: Path, array: np.ndarray, message: str
) -> None:
    source = rtfm(tmp_path / "pack")
    save(source / "UCF_Test_ten_crop_i3d" / f"{ODD}_i3d.npy", array)
    refused(ucf, source, message)


def test_crops_of_one_video_have_as_many_rows(ucf: UCFCrime, tmp_path: Path) -> None:
    source = wu(tmp_path / "pack")
    save(source / f"{ODD}__4.npy", values(24, 1)[:, 0])
    refused(ucf, source, rf"{ODD}__4\.npy: has 24 rows, but {ODD}__0\.npy, another crop, has 25")


def broken(path: Path, how: str) -> None:
    if how == "empty":
        path.write_bytes(b"")
    elif how == "cut short":
        path.write_bytes(path.read_bytes()[:-7])
    elif how == "no npy":
        path.write_bytes(b"something else")
    elif how == "objects":
        np.save(path, np.array([np.zeros(3), None], object), allow_pickle=True)
    elif how == "pickle":
        path.write_bytes(pickle.dumps([1, 2]))


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("empty", "is empty"),
        ("cut short", "cannot be read as a NumPy array"),
        ("no npy", "cannot be read as a NumPy array"),
        ("objects", "is a pickle, which can run any code .* convert it:  python -c"),
        ("pickle", "is a pickle, which can run any code .* convert it:  python -c"),
    ],
)
def test_a_broken_file_is_one_line_or_skipped(ucf: UCFCrime, tmp_path: Path, how: str, message: str) -> None:
    source = rtfm(tmp_path / "pack")
    broken(source / "UCF_Test_ten_crop_i3d" / f"{ODD}_i3d.npy", how)
    refused(ucf, source, rf"{ODD}_i3d\.npy: {message}")
    pack = find(ucf, [source], skip_broken=True)
    assert [video.id for video in pack.skipped] == [ODD] and len(pack.videos) == 4


@pytest.mark.parametrize("suffix", [".npy", ".pkl", ".npz", pytest.param(".pt", marks=pytest.mark.slow)])
def test_the_command_that_a_refusal_names_converts(ucf: UCFCrime, tmp_path: Path, suffix: str) -> None:
    """RTFM's authors saved some files as pickled lists of tensors."""
    source = tmp_path / "my pack"
    for id, frames in UCF.items():
        rows = list(values(ceil(frames)))
        path = source / f"{id}{suffix}"
        path.parent.mkdir(exist_ok=True)
        if suffix == ".pt":
            import torch

            torch.save(torch.from_numpy(np.stack(rows)), path)
        elif suffix == ".npz":
            np.savez(path, features=np.stack(rows))
        elif suffix == ".npy":
            array = np.empty(len(rows), object)
            array[:] = rows
            np.save(path, array, allow_pickle=True)
        else:
            path.write_bytes(pickle.dumps(rows))
    with pytest.raises(DataError) as caught:
        find(ucf, [source])
    command = str(caught.value).partition("convert it:  ")[2].replace("python", sys.executable, 1)
    subprocess.run(command, shell=True, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    pack = find(ucf, [source])
    assert pack.layout == "time-crop" and {p.video.id: p.rows for p in pack.videos} == {
        k: ceil(n) for k, n in UCF.items()
    }


def test_hdf5_is_refused_with_its_conversion(ucf: UCFCrime, tmp_path: Path) -> None:
    (tmp_path / "mist").mkdir()
    (tmp_path / "mist" / "features.h5").write_bytes(b"\x89HDF\r\n")
    refused(ucf, tmp_path / "mist", r"\.h5 is not read; convert it:  python -c \"import h5py")


def test_text_files_of_32_rows_are_segments_and_npy_files_are_not(ucf: UCFCrime, tmp_path: Path) -> None:
    for id in UCF:
        (tmp_path / "text").mkdir(exist_ok=True)
        np.savetxt(tmp_path / "text" / f"{id}.txt", values(32, 1)[:, 0])
    assert find(ucf, [tmp_path / "text"]).layout == "segments32"
    refused(ucf, tmp_path / "text", "--layout segments32", layout="time")
    source = single(tmp_path / "npy", rows=lambda frames: 32)
    refused(ucf, source, "32 in every video, as segments of whole videos have; if they are, give --layout segments32")
    assert find(ucf, [source], layout="segments32").layout == "segments32"
    refused(ucf, single(tmp_path / "snippets"), "has 43 rows; --layout segments32 expects 32", layout="segments32")


def test_segments_are_not_taken_for_snippets_where_no_length_is_known(xd: XDViolence, tmp_path: Path) -> None:
    source = single(tmp_path / "pack", dict.fromkeys(XD_TRAIN, 512))
    refused(xd, source, "every file has 32 rows and no length of a video is known", splits=["weak_train"])
    assert find(xd, [source], splits=["weak_train"], layout="time").layout == "time"
    refused(xd, source, "its length must be known", splits=["weak_train"], layout="segments32")


def test_a_declared_layout_that_cannot_be_is_refused(ucf: UCFCrime, tmp_path: Path) -> None:
    refused(ucf, single(tmp_path / "flat"), "has two axes only", layout="time-crop")
    refused(ucf, rtfm(tmp_path / "deep"), "has three axes", layout="time")
    refused(ucf, tmp_path / "deep", "expects one axis of 32", layout="segments32")
    for crop in range(2):
        for id, frames in UCF.items():
            save(tmp_path / "both" / f"{id}__{crop}.npy", values(floor(frames)))
    refused(ucf, tmp_path / "both", "each crop has a file of its own")


def test_the_rule_of_lengths_is_named(ucf: UCFCrime, xd: XDViolence, tmp_path: Path) -> None:
    def said(pack: Pack) -> str:
        return pack.words[-1]

    assert "ceil(n / 16) in 5 of 5" in said(find(ucf, [rtfm(tmp_path / "ceil")]))
    assert "floor(n / 16) in 5 of 5" in said(find(ucf, [single(tmp_path / "floor")]))
    assert "floor((n - 1) / 16) in 5 of 5" in said(find(ucf, [single(tmp_path / "wu", rows=lambda n: (n - 1) // 16)]))
    lengths = XD_TEST | dict.fromkeys(XD_TRAIN, 400)
    assert "the official grid in 3, unknown n in 2 of 5" in said(find(xd, [wu(tmp_path / "xd", lengths, crops=5)]))
    longer = wu(tmp_path / "clip", lengths, rows=lambda n: n // 16 + 1)
    assert "the official grid and a row in 3" in said(find(xd, [longer]))


def test_rules_of_lengths() -> None:
    assert rules(Known(412, None), 16) == {"floor(n / 16)": 25, "ceil(n / 16)": 26, "floor((n - 1) / 16)": 25}
    assert rules(Known(None, 640), 16) == {"the official grid": 40, "the official grid and a row": 41}
    assert rules(Known(None, 640), 8) == {} == rules(Known(None, None), 16)
    with pytest.raises(DataError, match="rows of 12 frames would; if a row covers so many, give --snippet 12"):
        explain({"a": 33, "b": 50}, {"a": Known(400, None), "b": Known(600, None)}, 16)
    assert "floor(n / 12) in 2" in explain({"a": 33, "b": 50}, {"a": Known(400, None), "b": Known(600, None)}, 12)
    mixed = explain(
        {"a": 10, "b": 19, "c": 20}, {"a": Known(160, None), "b": Known(320, None), "c": Known(320, None)}, 16
    )
    assert "floor(n / 16) in 2, floor((n - 1) / 16) in 1 of 3 videos" in mixed
    assert "no known rule in 1" in explain({"a": 3, "b": 37}, dict.fromkeys("ab", Known(600, None)), 16, trust=True)


def test_shanghaitech_in_both_packs_although_its_public_counts_contradict_each_other(real_data: Path) -> None:
    """RTFM's pack is the official grid; PEL4VAD's rounds down, and has 8,757 rows (140,112 frames)."""
    benchmark = ShanghaiTechWeak()
    videos = benchmark.videos("test")
    grids = {video.id: benchmark.grid_length(video, "official") for video in videos}
    lengths = {video.id: Known(video.frames, grids[video.id]) for video in videos}
    assert "the official grid in 199 of 199" in explain({id: n // 16 for id, n in grids.items()}, lengths, 16)
    explain({id: n // 16 - 1 for id, n in grids.items()}, lengths, 16)
    with pytest.raises(DataError, match="fit no rule"):
        explain({id: n // 16 - 2 for id, n in grids.items()}, lengths, 16)
