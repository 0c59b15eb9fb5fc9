"""Object detectors: settings that are light to construct, and the networks that they load."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol

import numpy as np

from vad.cache import Content
from vad.errors import ConfigError
from vad.extract.boxes import iou
from vad.extract.weights import file_hash, find_weights, weights_hash

# COCO numbers its 80 classes from 1 to 90 with gaps.
COCO_CATEGORIES = tuple(i for i in range(1, 91) if i not in {12, 26, 29, 30, 45, 66, 68, 69, 71, 83})


@dataclass(frozen=True)
class Detections:
    """What a detector saw in one frame."""

    box: np.ndarray  # float32 (n, 4), xyxy in pixels of the frame, clipped to it
    confidence: np.ndarray  # float32 (n,)
    probability: np.ndarray  # float16 (n, k), class probabilities
    inside: Callable[[np.ndarray], np.ndarray]  # boxes (q, 4) -> float16 (q, k): class probabilities of motion boxes


class LoadedDetector(Protocol):
    """A detector with its weights on a device."""

    def __call__(self, frames: np.ndarray, *, video: str, indices: Sequence[int]) -> list[Detections]:
        """Detect in frames uint8 RGB (B, H, W, 3), which are the frames `indices` of the video with id `video`."""


@dataclass(frozen=True)
class Detector(Content, ABC):
    """Settings of a detector. `content` holds the weights' hash instead of their path."""

    speed_only: ClassVar[tuple[str, ...]] = ("batch",)
    floor: ClassVar[float] = 0.0  # no box below this confidence is returned

    @abstractmethod
    def load(self, device: str) -> LoadedDetector:
        """Read the weights; a missing or wrong file is a `VadError` that names it."""


@dataclass(frozen=True, kw_only=True)
class YOLOX(Detector):
    """YOLOX of any size. Class probabilities are the sigmoid class scores, not multiplied by objectness.

    Args:
        weights: Path of an `.onnx` export or an official `.pth` checkpoint, or a published name: `yolox_nano`.
        enlarge: Factor by which frames are enlarged (bilinear) before they are looked at: small people need 2.
        nms: IoU above which the less confident of two boxes of a class goes.
        tiles: Columns and rows that the enlarged frame is cut into, each looked at alone; (1, 1) for none.
        overlap: Share of a tile that neighbours have in common, so that nobody is cut in two everywhere.
        batch: Frames at a time; changes no result but the last digits.
    """

    floor = 0.05

    weights: str
    enlarge: float = 1.0
    nms: float = 0.45
    tiles: tuple[int, int] = (1, 1)
    overlap: float = 0.2
    batch: int = 8

    def content(self) -> dict[str, Any]:
        return {**super().content(), "weights": weights_hash(self.weights)}

    def load(self, device: str) -> LoadedDetector:
        from vad.extract.yolox_detector import LoadedYOLOX
        from vad.networks.yolox import read_yolox

        if self.enlarge <= 0 or min(self.tiles) < 1 or not 0 <= self.overlap < 1:
            raise ConfigError("YOLOX: expected enlarge > 0, tiles of at least 1 x 1, and an overlap in [0, 1)")
        return LoadedYOLOX(self, read_yolox(find_weights(self.weights)).to(device), device)


@dataclass(frozen=True, kw_only=True)
class Transformers(Detector):
    """RT-DETR or D-FINE through transformers (extra `hf`). They need no suppression: each query is one object.

    Args:
        model: Folder with `config.json` and `model.safetensors`; nothing is downloaded.
        size: Side of the square that frames are resized to (bilinear), a multiple of 32.
        batch: Frames at a time; changes no result but the last digits.
    """

    floor = 0.05

    model: str
    size: int = 640
    batch: int = 4

    def content(self) -> dict[str, Any]:
        weights = {name: file_hash(Path(self.model) / name) for name in ("config.json", "model.safetensors")}
        return {**super().content(), "model": weights}

    def load(self, device: str) -> LoadedDetector:
        from vad.extract.query_detector import LoadedTransformers

        return LoadedTransformers(self, device)


@dataclass(frozen=True, kw_only=True)
class BoxFile(Detector):
    """Boxes that another program found.

    Args:
        path: The file.
        format: `csv`: a header line with `video`, `frame` (from 0), `x1`, `y1`, `x2`, `y2`, `score`, and `category`
            where there are classes. `coco`: a JSON list of results (`bbox` as x, y, width, height, `score`,
            `category_id`) whose `image_id` is `<video>/<frame>`; or such a list under `annotations`, beside `images`
            that say `id`, `video_id`, `frame_id` and, where those are numbers, `videos` that say `id` and `name`.
        categories: Category of each column of class probabilities; COCO's numbers by default.
    """

    path: str
    format: Literal["coco", "csv"] = "coco"
    categories: tuple[int, ...] = COCO_CATEGORIES

    def content(self) -> dict[str, Any]:
        return {**super().content(), "path": file_hash(Path(self.path))}

    def load(self, device: str) -> LoadedDetector:
        from vad.extract.box_file import LoadedBoxFile

        return LoadedBoxFile(self)


def probabilities_of_best(boxes: np.ndarray, candidates: np.ndarray, probability: np.ndarray) -> np.ndarray:
    """For boxes (q, 4) the `probability` (n, K) of the candidate (n, 4) with the highest IoU, zeros without overlap."""
    if not len(boxes) or not len(candidates):
        return np.zeros((len(boxes), probability.shape[1]), np.float16)
    overlap = iou(boxes, candidates)
    best = probability[overlap.argmax(1)].astype(np.float16)
    return np.where(overlap.max(1, keepdims=True) > 0, best, np.float16(0))
