"""Early fusion: several streams of features become one row for each snippet."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from vad.networks.standard_score import StandardScore

Fuse = Literal["concat", "sum", "gated"]
Norm = Literal["layer", "l2", "standard", "none"]


class StreamFusion(nn.Module):
    """Streams (B, T, D_i) to rows (B, T, width).

    Each stream is normalised first, since a stream of larger numbers would rule the others.

    Args:
        dims: Width of each stream.
        width: Of the rows.
        fuse: `concat`: one linear layer over all; `sum`: one for each, added; `gated`: weighed for each channel by a
            softmax over the streams.
        norm: `layer`: LayerNorm without learned scale; `l2`: to unit length; `standard`: see `StandardScore`, which
            keeps how large a vector is, and with it how much moves; `none`.
        dropout: Of the rows.
    """

    def __init__(
        self, dims: Sequence[int], width: int, *, fuse: Fuse = "concat", norm: Norm = "layer", dropout: float = 0.1
    ) -> None:
        super().__init__()
        self.dims = tuple(dims)
        self.fuse = fuse
        self.norm = norm
        self.standard = nn.ModuleList(StandardScore(dim) for dim in (self.dims if norm == "standard" else ()))
        self.project = nn.ModuleList(
            nn.Linear(dim, width) for dim in ((sum(self.dims),) if fuse == "concat" else self.dims)
        )
        self.gate = nn.Linear(sum(self.dims), width * len(self.dims)) if fuse == "gated" else None
        self.dropout = nn.Dropout(dropout)

    def forward(self, streams: Sequence[Tensor], real: Tensor) -> Tensor:
        """Rows of streams (B, T, D_i), of which those are real that bool (B, T) says."""
        if self.norm == "standard":
            normed = [standard(stream.float(), real) for standard, stream in zip(self.standard, streams, strict=True)]
        else:
            normed = [self._normalise(stream.float()) for stream in streams]
        joined = normed[0] if len(normed) == 1 else torch.cat(normed, -1)
        if self.fuse == "concat":
            rows = self.project[0](joined)
        else:
            parts = torch.stack([project(stream) for project, stream in zip(self.project, normed, strict=True)], -1)
            if self.gate is not None:
                parts = parts * self.gate(joined).unflatten(-1, (-1, len(self.dims))).softmax(-1)
            rows = parts.sum(-1)
        return self.dropout(functional.relu(rows))

    def _normalise(self, stream: Tensor) -> Tensor:
        if self.norm == "layer":
            # The usual epsilon, 1e-5, is no small part of the variance of CLIP's features, which have length 1.
            return functional.layer_norm(stream, stream.shape[-1:], eps=1e-8)
        return functional.normalize(stream, dim=-1) if self.norm == "l2" else stream
