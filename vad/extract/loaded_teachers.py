"""Teachers on a device."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from vad.extract.efficientnet_encoder import fold, read_lite0
from vad.extract.encoders import in_batches
from vad.extract.transformers_encoder import IMAGENET, Family, read_colours, read_model

if TYPE_CHECKING:
    from vad.extract.teachers import EfficientNetLite0, ResNet50

SIDE = 224  # of the pictures that both were trained on
RESNET = {"resnet": Family("ResNetForImageClassification", "logits", False, IMAGENET)}


class LoadedEfficientNetLite0:
    """EfficientNet-Lite0 with its classifier, channels last."""

    def __init__(self, settings: "EfficientNetLite0", device: str) -> None:
        self._batch = settings.batch or (2 if device == "cpu" else 64)
        self._device = device
        network = fold(read_lite0()).to(device)
        self._network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch forgot it
        self.classes: int = network._fc.out_features  # type: ignore[union-attr, assignment]  # the package is untyped

    def __call__(self, pictures: np.ndarray) -> np.ndarray:
        return in_batches(self._answer, pictures, self._batch)

    @torch.inference_mode()
    def _answer(self, pictures: np.ndarray) -> np.ndarray:
        x = (enlarged(pictures, self._device) - 127) / 128
        features: Tensor = self._network.extract_features(x)  # (B, 1280, 7, 7)
        logits: Tensor = self._network._fc(features.mean((2, 3)))
        return logits.cpu().numpy()


class LoadedResNet50:
    """A ResNet of transformers with its classifier."""

    def __init__(self, settings: "ResNet50", device: str) -> None:
        kind, network = read_model(settings.model, RESNET)
        self._batch = settings.batch or (8 if device == "cpu" else 64)
        self._device = device
        self._network = network.to(device)
        self.classes: int = network.config.num_labels  # type: ignore[union-attr, assignment]  # untyped there
        mean, std = read_colours(Path(settings.model) / "preprocessor_config.json", RESNET[kind])
        self._mean = torch.tensor(mean, device=device).view(3, 1, 1)
        self._std = torch.tensor(std, device=device).view(3, 1, 1)

    def __call__(self, pictures: np.ndarray) -> np.ndarray:
        return in_batches(self._answer, pictures, self._batch)

    @torch.inference_mode()
    def _answer(self, pictures: np.ndarray) -> np.ndarray:
        x = (enlarged(pictures, self._device) / 255 - self._mean) / self._std
        logits: Tensor = self._network(pixel_values=x).logits
        return logits.cpu().numpy()


def enlarged(pictures: np.ndarray, device: str) -> Tensor:
    """Pictures uint8 (B, H, W, 3) as float32 (B, 3, 224, 224), channels last in memory, values as they were."""
    x = torch.from_numpy(pictures).to(device).permute(0, 3, 1, 2).float()
    return interpolate(x, (SIDE, SIDE), mode="bilinear", align_corners=False)
