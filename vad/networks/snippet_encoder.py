"""Streams of snippets to rows that know their neighbours: what MIL begins with, and pretext tasks on features teach."""

from collections.abc import Sequence

from torch import Tensor, nn

from vad.networks.stream_fusion import Fuse, Norm, StreamFusion
from vad.networks.temporal import Temporal, TemporalEncoder


class SnippetEncoder(nn.Module):
    """Early fusion, then a temporal encoder: streams (B, T, D_i) to rows (B, T, width).

    Args:
        dims: Width of each stream.
        width: Of a row.
        fuse: See `StreamFusion`.
        norm: See `StreamFusion`.
        temporal: Kind of the `TemporalEncoder`.
        layers: See `TemporalEncoder`.
        heads: Attention heads; each is 128 wide, or `width / heads` if that is less.
        window: See `TemporalEncoder`.
        dropout: Everywhere.
    """

    def __init__(
        self,
        dims: Sequence[int],
        width: int,
        *,
        fuse: Fuse = "concat",
        norm: Norm = "layer",
        temporal: Temporal = "conv_tf",
        layers: int = 2,
        heads: int = 4,
        window: int = 256,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.fusion = StreamFusion(dims, width, fuse=fuse, norm=norm, dropout=dropout)
        self.temporal = TemporalEncoder(
            width,
            kind=temporal,
            layers=layers,
            heads=heads,
            head_width=min(128, max(1, width // heads)),
            window=window,
            dropout=dropout,
        )

    def forward(self, streams: Sequence[Tensor], real: Tensor) -> Tensor:
        """Rows of streams (B, T, D_i), of which those are real that bool (B, T) says."""
        rows: Tensor = self.temporal(self.fusion(streams, real), real)
        return rows
