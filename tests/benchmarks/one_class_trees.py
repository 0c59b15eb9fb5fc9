"""Small trees of Avenue and ShanghaiTech as they are distributed, with the irregularities of the real ones."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.io import savemat
from videos import write_clip

SIZE = (48, 32)  # width, height

# Frames and abnormal intervals (half open, from 0) of the test clips; that of number 10 is abnormal throughout.
AVENUE_TRAIN = (9, 12)
AVENUE_TEST = {1: (14, [(2, 5), (9, 14)]), 2: (11, [(0, 1)]), 10: (7, [(0, 7)])}
# The list of intervals: another truth. Clip 2 has two events, so that its cell is no vector of 2.
AVENUE_INTERVALS: dict[int, list[tuple[int, int]]] = {1: [(2, 14)], 2: [(0, 2), (8, 10)], 10: [(1, 7)]}

SHANGHAITECH_TRAIN = {"01_001": 9, "02_003": 12}
SHANGHAITECH_TEST = {"01_0014": (13, [(4, 9)]), "02_0128": (12, [(0, 2), (10, 12)]), "04_0011": (5, [(0, 5)])}


def labels(frames: int, intervals: Sequence[tuple[int, int]]) -> list[int]:
    return [int(any(start <= frame < end for start, end in intervals)) for frame in range(frames)]


def mask(frame: int, abnormal: int) -> np.ndarray:
    """A square of 6 x 6 pixels that moves by a pixel a frame where a frame is abnormal; uint8 (h, w) of 0 and 1."""
    picture = np.zeros((SIZE[1], SIZE[0]), np.uint8)
    picture[4:10, frame : frame + 6] = abnormal
    return picture


def value(number: int, frame: int) -> int:
    """What every pixel of a frame is."""
    return 20 * number % 200 + 8 * frame


def avi(path: Path, number: int, frames: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)

    def picture(frame: int, size: tuple[int, int]) -> np.ndarray:
        return np.full((size[1], size[0], 3), value(number, frame), np.uint8)

    write_clip(path, frames=frames, codec="mpeg4", size=SIZE, b_frames=0, picture=picture, options={"qscale": "2"})


def folder(path: Path, number: int, frames: int, name: str) -> None:
    path.mkdir(parents=True)
    for frame in range(frames):
        picture = np.full((SIZE[1], SIZE[0], 3), value(number, frame), np.uint8)
        Image.fromarray(picture).save(path / f"{name.format(frame)}.jpg", quality=95)


def cells(rows: Mapping[int, object]) -> np.ndarray:
    """A MATLAB cell array (1, n); clips that are not named get an empty matrix."""
    array = np.empty((1, max(rows)), object)
    for number in range(1, max(rows) + 1):
        array[0, number - 1] = rows.get(number, np.zeros((2, 0), np.uint16))
    return array


def avenue_official(root: Path, *, more: Mapping[int, int] | None = None) -> Path:
    """The two archives; names of masks are not padded. `more` adds frames to the file of a test clip."""
    tree = root / "Avenue Dataset"
    for number, frames in enumerate(AVENUE_TRAIN, start=1):
        avi(tree / "training_videos" / f"{number:02d}.avi", number, frames)
    for number, (frames, _) in AVENUE_TEST.items():
        avi(tree / "testing_videos" / f"{number:02d}.avi", number, frames + (more or {}).get(number, 0))
    for split in ("training", "testing"):
        (tree / f"{split}_videos" / "._01.avi").write_bytes(b"\0\5\26\7")
        (tree / f"{split}_vol").mkdir()
        savemat(tree / f"{split}_vol" / "vol01.mat", {"vol": np.zeros((4, 6, 3), np.uint8)})
    avenue_masks(root / "ground_truth_demo" / "testing_label_mask")
    return tree


def avenue_masks(place: Path) -> None:
    place.mkdir(parents=True)
    for number, (frames, intervals) in AVENUE_TEST.items():
        masks = np.empty((1, frames), object)
        for frame, abnormal in enumerate(labels(frames, intervals)):
            masks[0, frame] = mask(frame, abnormal)
        savemat(place / f"{number}_label.mat", {"volLabel": masks}, do_compression=True)


def avenue_repacked(root: Path, *, truth: str = "interval", frame: str = "{:04d}") -> Path:
    """Folders of frames, and one of the two lists that are called avenue.mat."""
    tree = root / "avenue"
    for number, frames in enumerate(AVENUE_TRAIN, start=1):
        folder(tree / "training" / "frames" / f"{number:02d}", number, frames, frame)
    for number, (frames, _) in AVENUE_TEST.items():
        folder(tree / "testing" / "frames" / f"{number:02d}", number, frames, frame)
    avenue_list(tree / "avenue.mat", truth)
    return tree


def avenue_list(path: Path, truth: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if truth == "interval":
        pairs = {
            number: np.array([[s + 1 for s, _ in of_clip], [e for _, e in of_clip]], np.uint16)
            for number, of_clip in AVENUE_INTERVALS.items()
        }
        savemat(path, {"gt": cells(pairs)})
    else:
        savemat(path, {f"{n:02d}": np.array([labels(*about)], np.int32) for n, about in AVENUE_TEST.items()})


def shanghaitech_official(root: Path, *, frame: str = "{:03d}", tracks: bool = False, lists: bool = False) -> Path:
    """Training videos as files, test videos as folders, masks of both kinds; optionally tracks, and the weak lists."""
    tree = root / "shanghaitech"
    for number, (id, frames) in enumerate(SHANGHAITECH_TRAIN.items(), start=1):
        avi(tree / "training" / "videos" / f"{id}.avi", number, frames)
    for number, (id, (frames, intervals)) in enumerate(SHANGHAITECH_TEST.items(), start=3):
        folder(tree / "testing" / "frames" / id, number, frames, frame)
        (tree / "testing" / "frames" / id / "._000.jpg").write_bytes(b"\0\5\26\7")
        abnormal = labels(frames, intervals)
        for name in ("test_frame_mask", "test_pixel_mask"):
            (tree / "testing" / name).mkdir(exist_ok=True)
        np.save(tree / "testing" / "test_frame_mask" / f"{id}.npy", np.array(abnormal, np.uint8))
        masks = np.stack([mask(t, label) for t, label in enumerate(abnormal)])
        np.save(tree / "testing" / "test_pixel_mask" / f"{id}.npy", masks)
        if tracks:
            (root / "tracks").mkdir(exist_ok=True)
            (root / "tracks" / f"{id}.txt").write_text(track_rows(frames, intervals))
    if tracks:
        (root / "tracks" / "README.txt").write_text("The files have the following format:\ntrack,frame,x1,y1,x2,y2\n")
    if lists:
        (tree / "SH_Train.txt").write_text("01_001\n02_0128")
        (tree / "SH_Test.txt").write_text("02_003\n01_0014\n04_0011")
    return tree


def track_rows(frames: int, intervals: Sequence[tuple[int, int]]) -> str:
    """One track an interval, its corners inside the box; the first one begins a frame after the mask does."""
    rows = [
        f"{track},{frame},{frame},4,{frame + 5},9"
        for track, (start, end) in enumerate(intervals)
        for frame in range(start + (track == 0), end)
    ]
    return "\n".join(rows) + "\n"
