"""Small trees as the benchmarks are distributed, with the irregularities of the real ones."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.io import savemat
from videos import write_clip

SIZE = (24, 16)  # width, height

# Frames and abnormal intervals (half open, from 0) of the test clips of every UCSD tree here.
UCSD_TRAIN = (6, 5)
UCSD_TEST = ((12, [(2, 5), (8, 12)]), (11, [(0, 11)]), (7, [(3, 6)]))


def ucsd_mask(intervals: Sequence[tuple[int, int]], frame: int) -> np.ndarray:
    """A square of 5 x 5 pixels that moves by a pixel a frame where frames are abnormal; uint8 (h, w) of 0 and 255."""
    mask = np.zeros((SIZE[1], SIZE[0]), np.uint8)
    if any(start <= frame < end for start, end in intervals):
        mask[4:9, frame : frame + 5] = 255
    return mask


def image(path: Path, value: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((SIZE[1], SIZE[0]), value, np.uint8)).save(path)


def ucsd_official(root: Path, part: int = 2) -> Path:
    """The archive's tree: hidden files, masks that are called differently in one clip, a backup of the list."""
    tree = root / "UCSD_Anomaly_Dataset.v1p2" / f"UCSDped{part}"
    for number, frames in enumerate(UCSD_TRAIN, start=1):
        for frame in range(frames):
            image(tree / "Train" / f"Train{number:03d}" / f"{frame + 1:03d}.tif", 10 * number + frame)
    lines = ["TestVideoFile = {};"]
    for number, (frames, intervals) in enumerate(UCSD_TEST, start=1):
        clip = tree / "Test" / f"Test{number:03d}"
        masks = clip.with_name(clip.name + "_gt")
        for frame in range(frames):
            image(clip / f"{frame + 1:03d}.tif", 100 + 10 * number + frame)
            masks.mkdir(exist_ok=True)
            name = f"frame{frame + 1:03d}.bmp" if number == 2 else f"{frame + 1:03d}.bmp"
            Image.fromarray(ucsd_mask(intervals, frame)).save(masks / name)
        (clip / ".DS_Store").write_bytes(b"\0\0\0\1Bud1")
        (clip / "._001.tif").write_bytes(b"\0\5\26\7")
        (masks / "._001.bmp").write_bytes(b"\0\5\26\7")
        ranges = ", ".join(f"{start + 1}:{end}" for start, end in intervals)
        lines.append(f"TestVideoFile{{end+1}}.gt_frame = [{ranges}];")
    (tree / "Test" / f"UCSDped{part}.m").write_text("\n".join(lines))
    (tree / "Test" / f"._UCSDped{part}.m").write_bytes(b"\0\5\26\7")
    (tree / "Test" / f"UCSDped{part}.m~").write_text("TestVideoFile = {};\n")
    return tree


def ucsd_repacked(
    root: Path, *, clip: Callable[[str, int], str] | None = None, frame: str = "{:03d}", masks: bool = False
) -> Path:
    """The re-packed tree: clips of two digits, frames from 0, intervals as a cell array."""
    clip = clip or (lambda split, number: f"{number:02d}")
    tree = root / "ped2"
    for number, frames in enumerate(UCSD_TRAIN, start=1):
        for i in range(frames):
            image(tree / "training" / "frames" / clip("Train", number) / f"{frame.format(i)}.jpg", 10 * number + i)
    cells = np.empty((1, len(UCSD_TEST)), object)
    for number, (frames, intervals) in enumerate(UCSD_TEST, start=1):
        folder = tree / "testing" / "frames" / clip("Test", number)
        for i in range(frames):
            image(folder / f"{frame.format(i)}.jpg", 100 + 10 * number + i)
            if masks:
                folder.with_name(folder.name + "_gt").mkdir(exist_ok=True)
                mask = Image.fromarray(ucsd_mask(intervals, i))
                mask.save(folder.with_name(folder.name + "_gt") / f"{frame.format(i)}.bmp")
        cells[0, number - 1] = np.array([[s + 1 for s, _ in intervals], [e for _, e in intervals]], np.uint8)
    savemat(tree / "ped2.mat", {"gt": cells})
    return tree


def surveillance_fight(root: Path, sources: int = 4, quiet: int = 4, fights: int = 2) -> Path:
    """Clips of several sources, and the list with its line ends, blanks and ranges; clip k has 16 + k % 20 frames."""
    tree = root / "fight-detection-surv-dataset"
    lines: list[str] = []
    number = {"fi": 0, "nofi": 0}
    for source in range(sources):
        lines.append(f"https://www.youtube.com/watch?v={source}  ")
        for kind, folder, count in (("fi", "fight", fights), ("nofi", "noFight", quiet)):
            for _ in range(count):
                number[kind] += 1
                clip(tree / folder / f"{kind}{number[kind]:03d}.mp4", number[kind])
                lines.append(f"{kind}{number[kind]:03d}: 0.13.50 - 0.15.60")
    lines += ["", "nofi900 - nofi910 : CamNet Dataset", "nofi910 - nofi920 : Synopsis dataset"]
    (tree / "videos.txt").write_text("\r\n".join(lines))
    return tree


def clip(path: Path, number: int, frames: int | None = None) -> None:
    """A clip of 16 + `number` % 20 frames, in one of two sizes and at one of two rates, like those of many cameras."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_clip(
        path,
        frames=16 + number % 20 if frames is None else frames,
        codec="mpeg4",
        size=((48, 32), (64, 32))[number % 2],
        fps=(25, 30)[number % 2],
        b_frames=0,
    )


UCF_LENGTHS = {
    "Abuse028_x264": 100,
    "Arson011_x264": 66,
    "RoadAccidents021_x264": 32,
    "Normal_Videos_003_x264": 50,
    "Normal_Videos_006_x264": 40,
}
# The official file has two blanks between fields and behind them; one copy in use drops `.mp4`.
UCF_INTERVALS = """\
Abuse028_x264.mp4  Abuse  10  20  -1  -1  
Arson011_x264.mp4  Arson  5  15  60  67  
RoadAccidents021_x264  RoadAccidents  1  8  -1  -1  
Normal_Videos_003_x264.mp4  Normal  -1  -1  -1  -1  
Normal_Videos_006_x264.mp4  Normal  -1  -1  -1  -1  
"""


def ucf_crime(root: Path) -> Path:
    """Lists alone; `UCF_LENGTHS` are the lengths of the test videos."""
    tree = root / "UCF_Crimes"
    tree.mkdir(parents=True)
    (tree / "Anomaly_Train.txt").write_text(
        "Abuse/Abuse001_x264.mp4\nTraining_Normal_Videos_Anomaly/Normal_Videos001_x264.mp4"
    )
    (tree / "Anomaly_Test.txt").write_text(
        "Abuse/Abuse028_x264.mp4\nArson/Arson011_x264.mp4\nRoadAccidents/RoadAccidents021_x264.mp4\n"
        "Testing_Normal_Videos_Anomaly/Normal_Videos_003_x264.mp4\n"
        "Testing_Normal_Videos_Anomaly/Normal_Videos_006_x264.mp4\n"
    )
    (tree / "Temporal_Anomaly_Annotation_for_Testing_Videos.txt").write_text(UCF_INTERVALS)
    (tree / "frame_counts_test.json").write_text(json.dumps(UCF_LENGTHS))
    (tree / "frame_counts_train.json").write_text(json.dumps({"Abuse001_x264": 70, "Normal_Videos001_x264": 80}))
    return tree


XD_TEST = {
    "Bad.Boys.1995__#01-11-55_01-12-40_label_G-B2-B6": 64,
    "v=251___mEwZA__#1_label_B4-0-0": 48,
    "v=8cTqh9tMz_I__#1_label_A": 32,
}
XD_TRAIN = ("v=-1Kq_Rp__#00-00_label_G", "Fast.Five.2011__#0-1_label_A")


def xd_violence(root: Path) -> Path:
    """Lists alone; `XD_TEST` are the lengths of the test videos on the official grid."""
    tree = root / "xd"
    tree.mkdir(parents=True)
    for name, ids in (("rgb.list", XD_TRAIN), ("rgb_test.list", XD_TEST)):
        (tree / name).write_text("\n".join(f"RGB/{id}__{crop}.npy" for id in ids for crop in range(5)))
    (tree / "annotations.txt").write_text(
        "Bad.Boys.1995__#01-11-55_01-12-40_label_G-B2-B6 2 10 30 70\nv=251___mEwZA__#1_label_B4-0-0.mp4 0 16\n"
    )
    (tree / "annotations_multiclasses.txt").write_text(
        "Bad.Boys.1995__#01-11-55_01-12-40_label_G-B2-B6 G 2 10 B2 30 70 B6 40 60\n"
        "v=251___mEwZA__#1_label_B4-0-0.mp4 B4 0 17\n"
    )
    (tree / "frame_counts_test_grid16.json").write_text(json.dumps(XD_TEST))
    return tree


SHANGHAITECH_MASKS = {"01_0014": [0] * 20 + [1] * 5, "01_0015": [0, 1, 1, 0] * 8, "02_0128": [1] * 17}


def shanghaitech_weak(root: Path) -> Path:
    """Lists without a final newline, with a name that begins as another one; masks of the abnormal videos."""
    tree = root / "shanghaitech"
    tree.mkdir(parents=True)
    (tree / "SH_Train.txt").write_text("01_002\n01_0015\n02_0128")
    (tree / "SH_Test.txt").write_text("01_001\n01_0014")
    (tree / "frame_counts_weak_test_normal.json").write_text(json.dumps({"01_001": 37}))
    (tree / "frame_counts_weak_test_ceil16.json").write_text(json.dumps({"01_001": 32, "01_0014": 32}))
    for id, mask in SHANGHAITECH_MASKS.items():
        folder = tree / "testing" / "test_frame_mask"
        folder.mkdir(parents=True, exist_ok=True)
        np.save(folder / f"{id}.npy", np.array(mask, np.uint8))
        pixels = tree / "testing" / "test_pixel_mask"
        pixels.mkdir(exist_ok=True)
        np.save(pixels / f"{id}.npy", np.zeros((len(mask), 2, 3), np.uint8))
    return tree
