"""What the suite sees, as pictures: frames with boxes and truth, crops, score curves. All pictures are uint8 RGB."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from vad.types import Objects

DETECTOR = (9, 105, 218)  # blue: boxes of the detector
MOTION = (188, 76, 0)  # orange: boxes of the motion mask
ABNORMAL = (207, 34, 46)  # red: truth
CURVE = (27, 31, 36)
BACKGROUND = (255, 255, 255)
SHADE = (246, 200, 195)


@dataclass(frozen=True)
class Scene:
    """One frame and all that is known about it."""

    index: int
    frame: np.ndarray  # uint8 (h, w, 3)
    objects: Objects | None = None  # of this frame
    scores: np.ndarray | None = None  # float (objects,), where they were scored
    mask: np.ndarray | None = None  # bool (h, w), abnormal pixels
    regions: np.ndarray | None = None  # float32 (r, 4), abnormal boxes
    abnormal: bool | None = None


def draw_scene(scene: Scene, *, scale: int = 2) -> np.ndarray:
    """The frame enlarged `scale` times, with boxes, their scores, the truth and a caption: uint8 (h, w, 3)."""
    height, width = scene.frame.shape[:2]
    picture = cv2.resize(scene.frame, (width * scale, height * scale), interpolation=cv2.INTER_LINEAR)
    if scene.mask is not None and scene.mask.any():
        enlarged = cv2.resize(
            scene.mask.astype(np.uint8), (width * scale, height * scale), interpolation=cv2.INTER_NEAREST
        )
        outlines, _ = cv2.findContours(enlarged, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(picture, outlines, -1, ABNORMAL, 2)
    elif scene.regions is not None:
        for box in scene.regions:
            _rectangle(picture, box * scale, ABNORMAL, 2)
    if scene.objects is not None:
        for row in range(len(scene.objects)):
            colour = DETECTOR if scene.objects.source[row] == 0 else MOTION
            _rectangle(picture, scene.objects.box[row] * scale, colour, 1)
            if scene.scores is not None:
                x, y = (int(v) for v in scene.objects.box[row, :2] * scale)
                _text(picture, f"{scene.scores[row]:.1f}", (x, max(y - 2, 28)), colour, 0.4, halo=True)
    state = {True: "  abnormal", False: "  normal", None: ""}[scene.abnormal]
    count = "" if scene.objects is None else f"  {len(scene.objects)} objects"
    cv2.rectangle(picture, (0, 0), (picture.shape[1], 16), BACKGROUND, -1)
    _text(picture, f"frame {scene.index}{state}{count}", (4, 12), ABNORMAL if scene.abnormal else CURVE, 0.4)
    return picture


def draw_crops(crops: np.ndarray, *, columns: int = 24, scale: int = 2) -> np.ndarray:
    """Crops uint8 (N, T, H, W, C) as a sheet: a column for each object, its T pictures below one another."""
    crops = crops[:columns]
    if crops.shape[-1] == 1:
        crops = crops.repeat(3, axis=-1)
    number, times, height, width = crops.shape[:4]
    sheet = np.full((times * (height + 1), columns * (width + 1), 3), 255, np.uint8)
    for n in range(number):
        for t in range(times):
            top, left = t * (height + 1), n * (width + 1)
            sheet[top : top + height, left : left + width] = crops[n, t]
    return cv2.resize(sheet, None, fx=scale, fy=scale, interpolation=cv2.INTER_NEAREST)


def draw_curve(
    scores: np.ndarray, labels: np.ndarray | None, *, width: int, height: int = 120, marks: Sequence[int] = ()
) -> np.ndarray:
    """Frame scores (n,) as a curve from their minimum to their maximum, abnormal stretches shaded, frames marked."""
    picture = np.full((height, width, 3), 255, np.uint8)
    frames = len(scores)
    x = (np.arange(frames) + 0.5) * width / frames
    if labels is not None:
        columns = np.minimum((np.arange(width) * frames) // width, frames - 1)
        picture[:, labels[columns] > 0] = SHADE
    low, high = float(scores.min()), float(scores.max())
    y = (height - 6) - (scores - low) / max(high - low, 1e-12) * (height - 24)
    for mark in marks:
        cv2.line(picture, (int(x[mark]), 0), (int(x[mark]), height), DETECTOR, 1)
    points = np.stack([x, y], axis=1).round().astype(np.int32)
    cv2.polylines(picture, [points], False, CURVE, 1, cv2.LINE_AA)
    _text(picture, f"{high:.2f}", (4, 12), CURVE, 0.4)
    _text(picture, f"{low:.2f}", (4, height - 4), CURVE, 0.4)
    return picture


def stack(pictures: Sequence[np.ndarray], *, columns: int = 1, gap: int = 6) -> np.ndarray:
    """Pictures in rows of `columns`, each row as high as its highest picture, on white."""
    rows = [pictures[start : start + columns] for start in range(0, len(pictures), columns)]
    height = sum(max(p.shape[0] for p in row) + gap for row in rows) - gap
    width = max(sum(p.shape[1] + gap for p in row) - gap for row in rows)
    sheet = np.full((height, width, 3), 255, np.uint8)
    top = 0
    for row in rows:
        left = 0
        for picture in row:
            sheet[top : top + picture.shape[0], left : left + picture.shape[1]] = picture
            left += picture.shape[1] + gap
        top += max(p.shape[0] for p in row) + gap
    return sheet


def _rectangle(picture: np.ndarray, box: np.ndarray, colour: tuple[int, int, int], thickness: int) -> None:
    x1, y1, x2, y2 = (int(v) for v in np.rint(box))
    cv2.rectangle(picture, (x1, y1), (x2 - 1, y2 - 1), colour, thickness)


def _text(
    picture: np.ndarray, text: str, at: tuple[int, int], colour: tuple[int, int, int], size: float, halo: bool = False
) -> None:
    if halo:  # readable on any footage
        cv2.putText(picture, text, at, cv2.FONT_HERSHEY_SIMPLEX, size, BACKGROUND, 3, cv2.LINE_AA)
    cv2.putText(picture, text, at, cv2.FONT_HERSHEY_SIMPLEX, size, colour, 1, cv2.LINE_AA)
