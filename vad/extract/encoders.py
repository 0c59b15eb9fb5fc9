"""Encoders: settings that are light to construct, and the networks that turn snippets into vectors."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol

import numpy as np

from vad.cache import Content
from vad.errors import ConfigError
from vad.extract.weights import file_hash, model_hashes

LITE0_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"


class LoadedEncoder(Protocol):
    """An encoder with its weights on a device."""

    size: tuple[int, int]  # width and height of the frames that it takes
    frames: int | None  # frames of a clip that becomes one vector; None for an encoder of single frames

    def __call__(self, clips: np.ndarray) -> np.ndarray:
        """Vectors float32 (B, D) of clips uint8 RGB (B, frames, H, W, 3), or of single frames (B, H, W, 3)."""


@dataclass(frozen=True)
class Encoder(Content, ABC):
    """Settings of an encoder. `content` holds the weights' hash instead of their path."""

    speed_only: ClassVar[tuple[str, ...]] = ("batch",)

    @abstractmethod
    def load(self, device: str) -> LoadedEncoder:
        """Read the weights; a missing or wrong file, or a missing extra, is a `VadError` that names it."""


@dataclass(frozen=True, kw_only=True)
class EfficientNetLite0(Encoder):
    """EfficientNet-Lite0, trained on ImageNet, with its weights in a package (extra `encoders`): 1,280 per frame.

    The vector is the mean over the last feature map, of frames of 224 x 224 as (pixel - 127) / 128, the normalisation
    of the original: with it the statistics of the first BatchNorm match those of real footage.

    Args:
        precision: `bf16` is twice as fast on CPUs that have it, at a price: on real clips vectors kept a cosine of
            0.998, but differences of still frames came out up to 10 % too large (cosine 0.985).
        batch: Frames at a time; changes no result but the last digits. `None` for 2 on a CPU, where 8 take 1.6 times as
            long since the first layers fill its caches, and 64 on a GPU.
    """

    precision: Literal["fp32", "bf16"] = "fp32"
    batch: int | None = None

    def __post_init__(self) -> None:
        check_batch(self, self.batch)

    def content(self) -> dict[str, Any]:
        return {**super().content(), "weights": LITE0_SHA256}

    def load(self, device: str) -> LoadedEncoder:
        from vad.extract.efficientnet_encoder import LoadedEfficientNet

        return LoadedEfficientNet(self, device)


@dataclass(frozen=True, kw_only=True)
class TransformersEncoder(Encoder):
    """CLIP, DINOv2 or VideoMAE out of a local folder, through transformers (extra `hf`).

    CLIP's vector is the projected image embedding, DINOv2's the class token, VideoMAE's the mean over all tokens.
    Frames are normalised with the mean and deviation of `preprocessor_config.json` where the folder has one, else with
    those that the model was published with.

    Args:
        model: Folder with `config.json` and `model.safetensors`; nothing is downloaded.
        size: Side of the frames; `None` for what the model was trained with. Only DINOv2 takes another one.
        batch: Frames or clips at a time; changes no result but the last digits.
    """

    model: str
    size: int | None = None
    batch: int = 8

    def __post_init__(self) -> None:
        check_batch(self, self.batch)

    def content(self) -> dict[str, Any]:
        return {**super().content(), "model": model_hashes(Path(self.model))}

    def load(self, device: str) -> LoadedEncoder:
        from vad.extract.transformers_encoder import LoadedTransformersEncoder

        return LoadedTransformersEncoder(self, device)


@dataclass(frozen=True, kw_only=True)
class FileEncoder(Encoder):
    """Any network in one file, such as I3D: TorchScript, or ONNX (extra `onnx`).

    A pixel x becomes (x * scale - mean) / std. What the network returns beyond (B, D), such as (B, D, 1, 1, 1), is
    averaged. A TorchScript file is a program: run only those that you trust. ONNX files hold no code.

    Args:
        path: `.onnx`, or TorchScript under any other suffix.
        size: Width and height of the frames.
        frames: Frames of a clip; `None` for a network of single frames.
        layout: Order of the axes of its input: of B, C, H, W, and T where there are clips.
        channels: Order of the colours.
        scale: See above; 1 / 127.5 with mean 1 gives -1 to 1.
        mean: For each colour, in the order of `channels`.
        std: Likewise.
        output: Which of several outputs holds the vectors.
        batch: Frames or clips at a time; 1 for a network that takes no more. Short batches occur.
    """

    path: str
    size: tuple[int, int] = (224, 224)
    frames: int | None = None
    layout: str = "BCHW"
    channels: Literal["RGB", "BGR"] = "RGB"
    scale: float = 1 / 255
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    output: int = 0
    batch: int = 8

    def __post_init__(self) -> None:
        check_batch(self, self.batch)
        axes = "BCHW" if self.frames is None else "BTCHW"
        if sorted(self.layout) != sorted(axes):
            kind = "single frames" if self.frames is None else "clips"
            raise ConfigError(f"FileEncoder: layout of {kind} is an order of {', '.join(axes)}, got '{self.layout}'")
        if min(self.size) < 1 or (self.frames is not None and self.frames < 1) or min(self.std) <= 0:
            raise ConfigError("FileEncoder: expected size and frames of at least 1, and std above 0")

    def content(self) -> dict[str, Any]:
        return {**super().content(), "path": file_hash(Path(self.path))}

    def load(self, device: str) -> LoadedEncoder:
        from vad.extract.file_encoder import LoadedFileEncoder

        return LoadedFileEncoder(self, device)


@dataclass(frozen=True, kw_only=True)
class RunEncoder(Encoder):
    """The encoder that a run of a pretext method left as `encoder.ckpt`: a vector for each clip.

    It learned from whole frames that were stretched to its size: the recipe's `stretch` shows it the like. Recipes hold
    experiment, variant and seed of the run and the hash of its weights, not the folder that it lies in.

    Args:
        run: The run's folder, or its path below `$VAD_RUNS`, such as `anomaly_ssl_synthetic/base/seed-0`.
        random: The same network with weights drawn by seed 0, to compare with. It is of no run: all whose networks and
            sizes are alike share its features.
        precision: `bf16` is four times as fast on CPUs that have it, and less exact.
        batch: Clips at a time; changes no result but the last digits. `None` for 2 on a CPU, where caches hold no more,
            and 64 on a GPU.
    """

    run: str
    random: bool = False
    precision: Literal["fp32", "bf16"] = "fp32"
    batch: int | None = None

    def __post_init__(self) -> None:
        check_batch(self, self.batch)

    def content(self) -> dict[str, Any]:
        from vad.extract.run_encoder import described

        content = {**super().content(), **described(self.run)}
        return {**content, "run": None, "weights": "random"} if self.random else content

    def load(self, device: str) -> LoadedEncoder:
        from vad.extract.run_encoder import LoadedRunEncoder

        return LoadedRunEncoder(self, device)


def in_batches(network: Callable[[np.ndarray], np.ndarray], clips: np.ndarray, batch: int) -> np.ndarray:
    """Vectors float32 (B, D) of any number of clips (B, ...), of which a network sees `batch` at a time."""
    parts = [network(clips[first : first + batch]) for first in range(0, len(clips), batch)]
    return np.concatenate(parts).astype(np.float32, copy=False)


def check_batch(settings: Content, batch: int | None) -> None:
    """Raise `ConfigError` for a batch of nothing."""
    if batch is not None and batch < 1:
        raise ConfigError(f"{type(settings).__name__}: batch must be at least 1, got {batch}")
