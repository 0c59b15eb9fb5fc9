"""CLIP, DINOv2 and VideoMAE of transformers on a device."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from vad import files
from vad.errors import ConfigError, MissingExtraError, VadError
from vad.extract.encoders import in_batches

if TYPE_CHECKING:
    from vad.extract.encoders import TransformersEncoder

Colours = tuple[float, float, float]
IMAGENET: tuple[Colours, Colours] = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Family(NamedTuple):
    """How the models of one kind are used."""

    network: str  # the class of transformers
    output: str
    tokens: bool  # whether the output is (B, tokens, D), whose mean is the vector
    colours: tuple[Colours, Colours]  # mean and deviation that it was published with, of pixels in [0, 1]


CLIP = Family(
    "CLIPVisionModelWithProjection",
    "image_embeds",
    False,
    ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)),
)
FAMILIES = {
    "clip": CLIP,
    "clip_vision_model": CLIP,
    "dinov2": Family("Dinov2Model", "pooler_output", False, IMAGENET),
    "videomae": Family("VideoMAEModel", "last_hidden_state", True, IMAGENET),
}


class LoadedTransformersEncoder:
    """A model out of a local folder."""

    size: tuple[int, int]
    frames: int | None

    def __init__(self, settings: "TransformersEncoder", device: str) -> None:
        kind, network = read_model(settings.model, FAMILIES)
        config: Any = network.config
        side = settings.size if settings.size is not None else config.image_size
        if kind == "dinov2" and side % config.patch_size:
            raise ConfigError(f"TransformersEncoder: size must be a multiple of {config.patch_size}, got {side}")
        if kind != "dinov2" and side != config.image_size:
            raise ConfigError(
                f"TransformersEncoder: {settings.model} takes frames of {config.image_size} alone, got size {side}"
            )
        self.size = (side, side)
        self.frames = config.num_frames if kind == "videomae" else None
        self._settings = settings
        self._family = FAMILIES[kind]
        self._network = network.to(device)
        self._device = device
        mean, std = read_colours(Path(settings.model) / "preprocessor_config.json", self._family)
        self._mean = torch.tensor(mean, device=device).view(3, 1, 1)
        self._std = torch.tensor(std, device=device).view(3, 1, 1)

    def __call__(self, clips: np.ndarray) -> np.ndarray:
        return in_batches(self._encode, clips, self._settings.batch)

    @torch.inference_mode()
    def _encode(self, clips: np.ndarray) -> np.ndarray:
        x = torch.from_numpy(clips).to(self._device).movedim(-1, -3)  # (B, [T,] 3, H, W)
        x = (x.float() / 255 - self._mean) / self._std
        vectors: Tensor = getattr(self._network(pixel_values=x), self._family.output)
        return (vectors.mean(1) if self._family.tokens else vectors).float().cpu().numpy()


def read_model(model: str, families: Mapping[str, Family]) -> tuple[str, nn.Module]:
    """Kind and network of a folder, which must be of one of the families.

    Weights that are missing would be drawn at random: that is an error here.
    """
    try:
        import transformers
    except ImportError:
        raise MissingExtraError("transformers", "hf") from None
    logging: Any = transformers.logging  # without types
    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()  # that a classifier's or a decoder's weights are left over is as it should be
    logging.disable_progress_bar()
    try:
        config = transformers.AutoConfig.from_pretrained(model, local_files_only=True)
        kind = config.model_type
        if kind not in families:
            raise VadError(f"{model}: is a '{kind}', expected one of {', '.join(families)}")
        if kind == "clip":  # the width stands twice in config.json, and in the vision part it may be a default
            config.vision_config.projection_dim = config.projection_dim
            config = config.vision_config
        network, found = getattr(transformers, families[kind].network).from_pretrained(
            model,
            config=config,
            local_files_only=True,
            use_safetensors=True,
            dtype=torch.float32,
            output_loading_info=True,
        )
    except (OSError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise VadError(f"{model}: is no folder of a model of transformers ({reason})") from None
    finally:
        logging.set_verbosity(verbosity)
        logging.enable_progress_bar()
    if lacking := sorted(found["missing_keys"]):
        raise VadError(f"{model}: model.safetensors lacks {len(lacking)} weights, the first is {lacking[0]}")
    return kind, network.eval().requires_grad_(False)


def read_colours(path: Path, family: Family) -> tuple[Colours, Colours]:
    """Mean and deviation that a folder's own file names, else those of the family."""
    if not path.is_file():
        return family.colours
    found = files.read_json(path)
    try:
        mean, std = found["image_mean"], found["image_std"]
        if len(mean) == len(std) == 3 and min(std) > 0:
            return tuple(mean), tuple(std)
    except (KeyError, TypeError):
        pass
    raise VadError(f"{path}: expected image_mean and image_std, three numbers each")
