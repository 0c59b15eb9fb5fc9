"""Pretext tasks on snippet features: the temporal encoder of a MIL detector learns before it sees a label.

Our extension of the paper of `vad.methods.anomaly_ssl` (CVIU 257, 2025), for who has features but no footage. None of
its results is the paper's, which learns from pixels.

    clips (B, T, D) of snippets -> streams -> fusion -> temporal encoder (B, T, W) -> mean over T (B, W)
        -> heads `order`, `speed`, `arrow`, `change`, as in `anomaly_ssl`

Backward is the order of snippets alone: the frames that a feature was computed from still run forward. Afterwards the
heads are dropped, and `--finetune RUN` starts a MIL detector of the same width from fusion and temporal encoder.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from vad import __version__
from vad.datamodules.feature_clips import FeatureClipData
from vad.datamodules.pretext import TASKS
from vad.datamodules.pretext_data import PretextData
from vad.errors import ConfigError
from vad.methods.pretext_method import PretextMethod, Seen
from vad.networks.encoder_files import EncoderFile, matching, read_encoder, write_encoder
from vad.networks.snippet_encoder import SnippetEncoder
from vad.networks.stream_fusion import Fuse, Norm
from vad.networks.temporal import Temporal
from vad.types import ClipBatch


class FeatureSSL(PretextMethod):
    """Pretext tasks on clips of snippet features. All defaults are our choice; those of the encoder are MIL's.

    What `PretextMethod` takes may be given too.

    Args:
        dims: Width of each stream of features, as the clips join them.
        fuse: How streams become one: see `vad.networks.stream_fusion.StreamFusion`.
        norm: How each stream is normalised: see there.
        width: Of a row.
        temporal: See `vad.networks.temporal.TemporalEncoder`.
        layers: Transformer layers of `conv_tf`.
        heads: Attention heads; each is 128 wide, or `width / heads` if that is less.
        window: Snippets that the attention sees to each side.
        encoder_dropout: In fusion and temporal encoder.
        noise: Deviation of the noise that is added while learning, in units of each channel's deviation in its clip.
        speeds: See `PretextMethod`, as the others below.
        optimizer: See there.
        learning_rate: See there.
        weight_decay: See there.
    """

    def __init__(
        self,
        *,
        dims: Sequence[int] = (1024,),
        fuse: Fuse = "concat",
        norm: Norm = "layer",
        width: int = 512,
        temporal: Temporal = "conv_tf",
        layers: int = 2,
        heads: int = 4,
        window: int = 256,
        encoder_dropout: float = 0.1,
        noise: float = 0.0,
        speeds: int = 3,
        optimizer: Literal["sgd", "adamw"] = "adamw",
        learning_rate: float = 1e-3,
        weight_decay: float = 1e-2,
        **shared: Any,
    ) -> None:
        if not dims or min(dims) < 1:
            raise ConfigError(f"dims: expected the width of each stream, got {list(dims)}")
        for name, number in {"width": width, "heads": heads, "window": window}.items():
            if number < 1:
                raise ConfigError(f"{name}: expected at least 1, got {number}")
        if temporal == "none":
            raise ConfigError("temporal: without a temporal encoder no order can be seen; give conv or conv_tf")
        super().__init__(
            dim=width,
            speeds=speeds,
            optimizer=optimizer,
            learning_rate=learning_rate,
            weight_decay=weight_decay,
            **shared,
        )
        self.dims = tuple(dims)
        self.noise = noise
        self.network_arguments: dict[str, Any] = {
            "dims": list(dims),
            "width": width,
            "fuse": fuse,
            "norm": norm,
            "temporal": temporal,
            "layers": layers,
            "heads": heads,
            "window": window,
            "dropout": encoder_dropout,
        }
        self.network = SnippetEncoder(**self.network_arguments)

    def seen(self, batch: ClipBatch, *, learning: bool) -> Seen:
        """A clip whose snippets are all alike teaches order, speed and arrow nothing."""
        if batch.clips.shape[-1] != sum(self.dims):
            raise ConfigError(
                f"dims: the clips' rows hold {batch.clips.shape[-1]} values, the model takes {list(self.dims)}"
            )
        x = batch.clips.float()
        still = (x == x[:, :1]).all(-1).all(-1) & (batch.task != TASKS.index("change"))
        if self.probe == "frozen":
            x = x[:, :1].expand_as(x)
        elif self.probe == "blank":
            x = torch.zeros_like(x)
        if learning and self.noise:
            x = x + self.noise * x.std(1, keepdim=True) * torch.randn_like(x)
        return Seen(x, ~still)

    def encoded(self, clips: Tensor) -> Tensor:
        real = torch.ones(clips.shape[:2], dtype=torch.bool, device=clips.device)
        rows: Tensor = self.network(torch.split(clips, list(self.dims), -1), real)
        return rows.mean(1)

    def save_encoder(self, path: str | Path, data: PretextData, **about: Any) -> None:
        if not isinstance(data, FeatureClipData):
            raise ConfigError(f"FeatureSSL: learns from FeatureClipData, not from {type(data).__name__}")
        content = EncoderFile(
            kind="snippet",
            network="SnippetEncoder",
            weights=self.network.state_dict(),
            frames=data.length,
            size=None,
            mean=(),
            std=(),
            about={**about, "version": __version__, "features": [recipe.key for recipe in data.features]},
            arguments=self.network_arguments,
        )
        write_encoder(path, content)

    def take_over(self, path: str | Path) -> str:
        return matching(self.network, read_encoder(path))
