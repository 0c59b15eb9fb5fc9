"""What a snippet learns from those around it: convolution and attention inside a window.

With a window, scores of a stream equal scores of the whole, and memory grows with the length, not with its square.
"""

import math
from typing import Literal

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional

Temporal = Literal["none", "conv", "conv_tf"]


class WindowAttention(nn.Module):
    """Multi-head attention of each row to those at most `window` rows away, beside a branch that weighs them by
    distance.

    The second branch averages values with weights `exp(-|i - j| / e)`, normalised over the rows that are there: as in
    UR-DMU. Both branches are joined by one linear layer.

    Args:
        width: Of a row.
        heads: Number of heads.
        head_width: Width of a head.
        window: Rows that are seen to each side.
        dropout: Of the attention's weights.
    """

    def __init__(self, width: int, *, heads: int = 4, head_width: int = 128, window: int = 256, dropout: float = 0.1):
        super().__init__()
        inner = heads * head_width
        self.heads = heads
        self.window = window
        self.dropout = dropout
        self.project = nn.Linear(width, 4 * inner, bias=False)  # query, key, value, value of the second branch
        self.join = nn.Linear(2 * inner, width)

    def forward(self, rows: Tensor, real: Tensor) -> Tensor:
        """(B, T, W) and which rows are real, bool (B, T), to (B, T, W). Rows behind the end see themselves too."""
        query, key, value, near = self.project(rows).chunk(4, -1)
        query, key, value = (rearrange(part, "b t (h d) -> b h t d", h=self.heads) for part in (query, key, value))
        length, place = rows.shape[1], torch.arange(rows.shape[1], device=rows.device)
        blocks = []
        for start in range(0, length, self.window):
            stop = min(start + self.window, length)
            seen = slice(max(0, start - self.window), min(length, stop + self.window))
            distance = (place[start:stop, None] - place[seen]).abs()
            visible = ((distance <= self.window) & real[:, None, seen]) | (distance == 0)
            attended = functional.scaled_dot_product_attention(
                query[:, :, start:stop],
                key[:, :, seen],
                value[:, :, seen],
                attn_mask=visible[:, None],
                dropout_p=self.dropout if self.training else 0.0,
            )
            weight = torch.exp(-distance / math.e) * visible
            weight = (weight / weight.sum(-1, keepdim=True)).to(near.dtype)
            both = torch.cat([rearrange(attended, "b h t d -> b t (h d)"), weight @ near[:, seen]], -1)
            blocks.append(self.join(both))
        return torch.cat(blocks, 1)


class TransformerLayer(nn.Module):
    """A pre-norm transformer layer with `WindowAttention`, and an MLP as wide as a row."""

    def __init__(self, width: int, *, heads: int, head_width: int, window: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.attention = WindowAttention(width, heads=heads, head_width=head_width, window=window, dropout=dropout)
        self.mlp = nn.Sequential(
            nn.LayerNorm(width),
            nn.Linear(width, width),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(width, width),
            nn.Dropout(dropout),
        )

    def forward(self, rows: Tensor, real: Tensor) -> Tensor:
        rows = rows + self.attention(self.norm(rows), real)
        return rows + self.mlp(rows)


class TemporalEncoder(nn.Module):
    """Rows in the light of their neighbours: (B, T, W) to (B, T, W).

    Args:
        width: W.
        kind: `none`; `conv`: a convolution over 3 rows; `conv_tf`: that and transformer layers.
        layers: Number of transformer layers.
        heads: See `WindowAttention`.
        head_width: See `WindowAttention`.
        window: See `WindowAttention`.
        dropout: In the transformer layers.
    """

    def __init__(
        self,
        width: int,
        *,
        kind: Temporal = "conv_tf",
        layers: int = 2,
        heads: int = 4,
        head_width: int = 128,
        window: int = 256,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        # Over pictures of one line, whose layout in memory is that of rows: a fifth faster than Conv1d on a CPU.
        self.convolution = None if kind == "none" else nn.Conv2d(width, width, (1, 3), padding=(0, 1))
        self.layers = nn.ModuleList(
            TransformerLayer(width, heads=heads, head_width=head_width, window=window, dropout=dropout)
            for _ in range(layers if kind == "conv_tf" else 0)
        )

    def forward(self, rows: Tensor, real: Tensor) -> Tensor:
        """Rows (B, T, W) and which of them are real, bool (B, T)."""
        if self.convolution is not None:
            rows = rows * real[..., None].to(rows.dtype)  # what is behind the end is what is behind an unpadded end
            rows = rearrange(self.convolution(rearrange(rows, "b t w -> b w 1 t")), "b w 1 t -> b t w").relu()
        for layer in self.layers:
            rows = layer(rows, real)
        return rows
