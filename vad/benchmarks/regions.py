"""Abnormal regions: from the files of tracks that were published later, else derived from masks."""

from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np

from vad.errors import DataError
from vad.types import Regions

MINIMUM_AREA = 20  # pixels of a connected component; smaller ones are specks of the annotation
MINIMUM_OVERLAP = 0.1  # IoU above which a component continues a track of the frame before


def regions_from_masks(masks: Iterable[np.ndarray]) -> Regions:
    """Boxes and tracks of the connected components of masks bool (h, w), one for each frame in order.

    A region is an 8-connected component of at least 20 pixels. It continues a track of the frame before where their
    boxes overlap by an IoU above 0.1, best overlaps first, each track and each region once; otherwise it starts one.

    Our choice, since no derivation is published: on UCSD Ped2 it gives 2,410 boxes in 21 tracks. Objects that touch are
    one region and occlusions end tracks, so figures from these regions are called derived and do not compare with
    published ones.
    """
    frames: list[int] = []
    boxes: list[np.ndarray] = []
    tracks: list[int] = []
    before_boxes, before_tracks = np.zeros((0, 4)), list[int]()
    next_track = 0
    for frame, mask in enumerate(masks):
        now = component_boxes(mask)
        continued = _continue(before_boxes, now)
        now_tracks = []
        for index in range(len(now)):
            if index in continued:
                now_tracks.append(before_tracks[continued[index]])
            else:
                now_tracks.append(next_track)
                next_track += 1
        frames += [frame] * len(now)
        boxes.append(now)
        tracks += now_tracks
        before_boxes, before_tracks = now, now_tracks
    return Regions(
        frame=np.array(frames, np.int32),
        box=np.concatenate([np.zeros((0, 4)), *boxes]).astype(np.float32),
        track=np.array(tracks, np.int32),
        derived=True,
    )


def read_tracks(path: Path, frames: int) -> Regions:
    """Regions of a video of `frames` frames from the file of Georgescu et al. (TPAMI 2021) for ShanghaiTech.

    Each line is `track,frame,x1,y1,x2,y2`, frames from 0, the corners inside the box. Tracks may have gaps.
    """
    try:
        rows = np.loadtxt(path, delimiter=",", ndmin=2, comments=None)
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: expected lines 'track,frame,x1,y1,x2,y2' ({' '.join(str(error).split())})") from None
    if rows.shape[1] != 6 or not np.isfinite(rows).all():
        raise DataError(f"{path}: expected lines 'track,frame,x1,y1,x2,y2', got {rows.shape[1]} columns")
    frame, box = rows[:, 1], rows[:, 2:] + (0, 0, 1, 1)
    if ((frame < 0) | (frame >= frames)).any():
        raise DataError(f"{path}: names frame {int(frame[(frame < 0) | (frame >= frames)][0])} of {frames}")
    if (box[:, :2] >= box[:, 2:]).any():
        raise DataError(f"{path}: line {int((box[:, :2] >= box[:, 2:]).any(axis=1).argmax()) + 1} is an empty box")
    order = np.argsort(frame, kind="stable")
    return Regions(
        frame=frame[order].astype(np.int32),
        box=box[order].astype(np.float32),
        track=rows[order, 0].astype(np.int32),
        derived=False,
    )


def component_boxes(mask: np.ndarray) -> np.ndarray:
    """Boxes float64 (k, 4), xyxy and end exclusive, of the 8-connected components of at least `MINIMUM_AREA` pixels."""
    if not mask.any():
        return np.zeros((0, 4))
    _, _, statistics, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    components = statistics[1:].astype(np.float64)  # row 0 is the background
    x, y, width, height, _ = components[components[:, cv2.CC_STAT_AREA] >= MINIMUM_AREA].T
    return np.stack([x, y, x + width, y + height], axis=1)


def _continue(before: np.ndarray, now: np.ndarray) -> dict[int, int]:
    """Which box of the frame before each box of this one continues: index now -> index before."""
    if not len(before) or not len(now):
        return {}
    low = np.maximum(before[:, None, :2], now[None, :, :2])
    high = np.minimum(before[:, None, 2:], now[None, :, 2:])
    overlap = np.prod(np.clip(high - low, 0, None), axis=2)
    area = [np.prod(boxes[:, 2:] - boxes[:, :2], axis=1) for boxes in (before, now)]
    iou = overlap / (area[0][:, None] + area[1][None, :] - overlap)  # (before, now); no box is empty
    pairs: dict[int, int] = {}
    for flat in np.argsort(-iou, axis=None, kind="stable"):
        old, new = (int(index) for index in np.unravel_index(flat, iou.shape))
        if iou[old, new] <= MINIMUM_OVERLAP:
            break
        if new not in pairs and old not in pairs.values():
            pairs[new] = old
    return pairs
