"""Detectors of transformers whose queries are objects: RT-DETR, D-FINE."""

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import cv2
import numpy as np
import torch

from vad.errors import MissingExtraError, VadError
from vad.extract.boxes import clip
from vad.extract.detectors import Detections, probabilities_of_best

if TYPE_CHECKING:
    from vad.extract.detectors import Transformers

KINDS = ("rt_detr", "rt_detr_v2", "d_fine")  # sigmoid scores, boxes as centre and size, input RGB, all in [0, 1]


class LoadedTransformers:
    """A model out of a local folder, on a device."""

    def __init__(self, settings: "Transformers", device: str) -> None:
        try:
            from transformers import AutoConfig, AutoModelForObjectDetection
        except ImportError:
            raise MissingExtraError("transformers", "hf") from None
        try:
            kind = AutoConfig.from_pretrained(settings.model, local_files_only=True).model_type
            if kind not in KINDS:
                raise VadError(f"{settings.model}: is a '{kind}', expected one of {', '.join(KINDS)}")
            network = AutoModelForObjectDetection.from_pretrained(settings.model, local_files_only=True)
        except (OSError, ValueError) as error:
            reason = " ".join(str(error).split())[:200]
            raise VadError(f"{settings.model}: is no folder of a model of transformers ({reason})") from None
        self._settings = settings
        self._network = network.eval().requires_grad_(False).to(device)
        self._device = device

    def __call__(self, frames: np.ndarray, *, video: str, indices: Sequence[int]) -> list[Detections]:
        step = self._settings.batch
        return [seen for first in range(0, len(frames), step) for seen in self._detect(frames[first : first + step])]

    def _detect(self, frames: np.ndarray) -> list[Detections]:
        height, width = frames.shape[1:3]
        side = self._settings.size
        images = np.stack([cv2.resize(f, (side, side), interpolation=cv2.INTER_LINEAR) for f in frames])
        with torch.inference_mode():
            x = torch.from_numpy(images).to(self._device).permute(0, 3, 1, 2).float() / 255
            output = self._network(pixel_values=x)
            probability = output.logits.float().sigmoid().cpu().numpy()
            centre, extent = output.pred_boxes.float().cpu().split(2, -1)
        scale = np.array([width, height] * 2, np.float32)
        boxes = torch.cat((centre - extent / 2, centre + extent / 2), -1).numpy() * scale
        return [self._frame(clip(b, width, height), p) for b, p in zip(boxes, probability, strict=True)]

    def _frame(self, box: np.ndarray, probability: np.ndarray) -> Detections:
        confidence = probability.max(1)
        kept = np.flatnonzero(confidence >= self._settings.floor)
        kept = kept[np.argsort(-confidence[kept], kind="stable")]
        return Detections(
            box=box[kept],
            confidence=confidence[kept],
            probability=probability[kept].astype(np.float16),
            inside=partial(probabilities_of_best, candidates=box, probability=probability),
        )
