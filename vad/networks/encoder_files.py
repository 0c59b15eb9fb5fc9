"""`encoder.ckpt`: an encoder that pretext tasks taught, with all that is needed to use it."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from vad.errors import RunError
from vad.files import atomic_write
from vad.networks.tensor_files import load_weights_only


@dataclass(frozen=True, kw_only=True)
class EncoderFile:
    """The content of the file."""

    kind: Literal["video", "snippet"]  # takes clips of frames, or rows of features of snippets
    network: str  # its name: for "video" one of `vad.networks.video_encoders`
    weights: Mapping[str, Tensor]
    frames: int  # frames, or snippets, of what becomes one vector
    size: tuple[int, int] | None  # width and height of the frames; None where there are none
    mean: tuple[float, ...]  # for each channel: the network takes (value - mean) / std, of pixels in [0, 1]
    std: tuple[float, ...]
    about: Mapping[str, Any]  # JSON values about the run: experiment, variant, seed, ...
    arguments: Mapping[str, Any] = field(default_factory=dict)  # of the network, where its name does not say them

    @property
    def sha256(self) -> str:
        """Of the weights' names, types, shapes and values: the same wherever and whenever they are written."""
        digest = hashlib.sha256()
        for name, tensor in sorted(self.weights.items()):
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)} ".encode())
            digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()


def write_encoder(path: str | Path, content: EncoderFile) -> None:
    """Write the file, whole or not at all."""
    plain = {part.name: getattr(content, part.name) for part in fields(content)}
    plain["weights"] = {name: tensor.detach().cpu().contiguous() for name, tensor in content.weights.items()}
    for name in ("about", "arguments"):
        plain[name] = json.loads(json.dumps(dict(plain[name])))  # what is no plain value could not be read again
    with atomic_write(path) as stream:
        torch.save(plain, stream)


def read_encoder(path: str | Path) -> EncoderFile:
    """Read the file; a missing or damaged one, or anything else, is a `RunError` that names it."""
    content = load_weights_only(path)
    expected: dict[str, type | tuple[type, ...]] = {
        "kind": str,
        "network": str,
        "weights": dict,
        "frames": int,
        "size": (tuple, type(None)),
        "mean": tuple,
        "std": tuple,
        "about": dict,
        "arguments": dict,
    }
    if (
        not isinstance(content, dict)
        or content.keys() != expected.keys()
        or not all(isinstance(content[name], type_) for name, type_ in expected.items())
    ):
        raise RunError(f"{path}: is not an encoder's file; vad fit of a pretext method writes one as encoder.ckpt")
    return EncoderFile(**content)


def matching(network: nn.Module, file: EncoderFile) -> str:
    """Let a network take over every tensor of the same name and shape; says how many those are.

    Raises `RunError` where nothing matches.
    """
    ours = network.state_dict()
    taken = {name: tensor for name, tensor in file.weights.items() if name in ours and ours[name].shape == tensor.shape}
    if not taken:
        raise RunError(
            f"the encoder '{file.network}' has no tensor of the name and shape of one in {type(network).__name__}"
        )
    network.load_state_dict(taken, strict=False)
    anew, left = len(ours) - len(taken), len(file.weights) - len(taken)
    return f"{len(taken)} of {len(ours)} tensors taken over from '{file.network}', {anew} made anew, {left} left out"
