"""Small benchmarks and feature packs for them, named and laid out as those that people share."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from vad.benchmarks import UCFCrime, XDViolence

UCF_TRAIN = {"Abuse001_x264": 700, "Normal_Videos001_x264": 330}
UCF_TEST = {"Abuse028_x264": 412, "Burglary037_x264": 160, "Normal_Videos_003_x264": 505}
UCF = UCF_TRAIN | UCF_TEST

XD_TRAIN = ("v=-1Kq_Rp__#00-00_label_G", "Thelma...Louise.1991__#00-21-25_00-21-50_label_B2-0-0")
XD_TEST = {  # lengths of the official grid
    "Bad.Boys.1995__#01-11-55_01-12-40_label_G-B2-B6": 640,
    "v=251___mEwZA__#1_label_B4-0-0": 480,
    "v=8cTqh9tMz_I__#1_label_A": 320,
}

Save = Callable[[Path, np.ndarray], None]


def ucf_crime(root: Path) -> UCFCrime:
    """UCF-Crime with two training and three test videos: lists and lengths alone."""
    root.mkdir(parents=True)
    (root / "Anomaly_Train.txt").write_text("\n".join(f"Any/{id}.mp4" for id in UCF_TRAIN))
    (root / "Anomaly_Test.txt").write_text("\n".join(f"Any/{id}.mp4" for id in UCF_TEST))
    (root / "frame_counts_train.json").write_text(json.dumps(UCF_TRAIN))
    (root / "frame_counts_test.json").write_text(json.dumps(UCF_TEST))
    return UCFCrime(str(root))


def xd_violence(root: Path) -> XDViolence:
    """XD-Violence with two training and three test videos: lists alone, and the official grid of the latter."""
    root.mkdir(parents=True)
    for name, ids in (("rgb.list", XD_TRAIN), ("rgb_test.list", XD_TEST)):
        (root / name).write_text("\n".join(f"RGB/{id}__{crop}.npy" for id in ids for crop in range(5)))
    (root / "frame_counts_test_grid16.json").write_text(json.dumps(XD_TEST))
    return XDViolence(str(root))


def floor(frames: int) -> int:
    return frames // 16


def ceil(frames: int) -> int:
    return -(-frames // 16)


def values(rows: int, crops: int = 10, dim: int = 4) -> np.ndarray:
    """float32 (rows, crops, dim), all different and exact in half precision while rows <= 50 and crops * dim <= 40."""
    of_row = np.arange(rows, dtype=np.float32)[:, None]
    return (50 * np.arange(crops * dim, dtype=np.float32) + of_row).reshape(rows, crops, dim)


def rtfm(root: Path, lengths: Mapping[str, int] = UCF, *, axes: str = "tcd", rows: Callable[[int], int] = ceil) -> Path:
    """One file for each video, `<video>_i3d.npy`, in a folder of each split."""
    for id, frames in lengths.items():
        folder = root / ("UCF_Train_ten_crop_i3d" if id in UCF_TRAIN else "UCF_Test_ten_crop_i3d")
        array = values(rows(frames))
        save(folder / f"{id}_i3d.npy", array if axes == "tcd" else np.ascontiguousarray(array.transpose(1, 0, 2)))
    return root


def wu(
    root: Path,
    lengths: Mapping[str, int] = UCF,
    *,
    name: str = "{id}__{crop}",
    centre: str = "{id}__{crop}",
    rows: Callable[[int], int] = floor,
    crops: int = 10,
) -> Path:
    """One file for each crop; `centre` is the name of crop 0."""
    for id, frames in lengths.items():
        array = values(rows(frames), crops)
        for crop in range(crops):
            save(root / f"{(name if crop else centre).format(id=id, crop=crop)}.npy", array[:, crop])
    return root


def single(
    root: Path, lengths: Mapping[str, int] = UCF, *, name: str = "{id}", rows: Callable[[int], int] = floor
) -> Path:
    """One file for each video without crops, as CLIP-TSA's."""
    for id, frames in lengths.items():
        save(root / f"{name.format(id=id)}.npy", values(rows(frames), 1)[:, 0])
    return root


def save(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, array)
