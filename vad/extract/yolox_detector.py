"""YOLOX on a device: frames in, boxes and their class probabilities out."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import cv2
import numpy as np
import torch
from torch.nn import functional

from vad.extract.boxes import clip, suppress
from vad.extract.detectors import Detections
from vad.networks.yolox import decode

if TYPE_CHECKING:
    from vad.extract.detectors import YOLOX
    from vad.networks.yolox import YOLOX as Network

PADDING = 114.0  # grey level of YOLOX's letterbox


class LoadedYOLOX:
    """YOLOX on a device."""

    def __init__(self, settings: "YOLOX", network: "Network", device: str) -> None:
        self._settings = settings
        self._network = network
        self._device = device

    def __call__(self, frames: np.ndarray, *, video: str, indices: Sequence[int]) -> list[Detections]:
        step = self._settings.batch
        return [seen for first in range(0, len(frames), step) for seen in self._detect(frames[first : first + step])]

    def _detect(self, frames: np.ndarray) -> list[Detections]:
        height, width = frames.shape[1:3]
        enlarged = (round(width * self._settings.enlarge), round(height * self._settings.enlarge))
        images = np.stack([cv2.resize(f, enlarged, interpolation=cv2.INTER_LINEAR) for f in frames])
        boxes, scores = [], []  # for each tile (B, cells, 4) in pixels of the enlarged frame, and (B, cells, 1 + K)
        for x1, y1, x2, y2 in tile_boxes(*enlarged, self._settings.tiles, self._settings.overlap):
            with torch.inference_mode():
                found = self._tile(torch.from_numpy(images[:, y1:y2, x1:x2]))
            boxes.append(found[..., :4].numpy() + np.array([x1, y1, x1, y1], np.float32))
            scores.append(found[..., 4:].numpy())
        scale = np.array([width / enlarged[0], height / enlarged[1]] * 2, np.float32)
        box, score = np.concatenate(boxes, 1) * scale, np.concatenate(scores, 1)
        return [self._frame(box[i], score[i], width, height) for i in range(len(frames))]

    def _tile(self, images: torch.Tensor) -> torch.Tensor:
        """RGB uint8 (B, H, W, 3) -> (B, cells, 5 + K) with decoded boxes, on the CPU."""
        height, width = images.shape[1:3]
        x = images.to(self._device).permute(0, 3, 1, 2).flip(1).float()  # RGB -> BGR, channels last in memory
        x = functional.pad(x, (0, -width % 32, 0, -height % 32), value=PADDING)
        output = self._network(x)
        output[..., :4] = decode(output, *x.shape[2:])
        return output.float().cpu()

    def _frame(self, box: np.ndarray, score: np.ndarray, width: int, height: int) -> Detections:
        confidence = score[:, 0] * score[:, 1:].max(1)
        likely = np.flatnonzero(confidence >= self._settings.floor)
        kept = likely[suppress(box[likely], confidence[likely], score[likely, 1:].argmax(1), self._settings.nms)]
        centre = (box[:, :2] + box[:, 2:]) / 2
        return Detections(
            box=clip(box[kept], width, height),
            confidence=confidence[kept],
            probability=score[kept, 1:].astype(np.float16),
            inside=lambda boxes: probabilities_inside(centre, score[:, 1:], boxes),
        )


def probabilities_inside(centre: np.ndarray, probability: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """For each class the highest probability of the cells (n, K) whose `centre` (n, 2) lies in a box: float16 (q, K).

    The cell nearest to the box's middle stands for a box that holds none.
    """
    result = np.empty((len(boxes), probability.shape[1]), np.float16)
    for row, (x1, y1, x2, y2) in enumerate(boxes):
        x, y = centre.T
        inside = (x >= x1) & (x < x2) & (y >= y1) & (y < y2)
        if not inside.any():
            inside[np.hypot(x - (x1 + x2) / 2, y - (y1 + y2) / 2).argmin()] = True
        result[row] = probability[inside].max(0)
    return result


def tile_boxes(width: int, height: int, tiles: tuple[int, int], overlap: float) -> list[tuple[int, int, int, int]]:
    """Equal tiles xyxy that cover a frame, neighbours sharing `overlap` of their length; columns by rows."""

    def spans(length: int, count: int) -> list[tuple[int, int]]:
        side = int(np.ceil(length / (1 + (count - 1) * (1 - overlap))))
        starts = np.linspace(0, length - side, count).round().astype(int)
        return [(int(start), int(start) + side) for start in starts]

    columns, rows = spans(width, tiles[0]), spans(height, tiles[1])
    return [(x1, y1, x2, y2) for y1, y2 in rows for x1, x2 in columns]
