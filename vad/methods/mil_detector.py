"""What detectors that learn from labels of whole videos share: the network, the top-k loss, the score of a snippet.

streams (B, C, L, D_i) -> early fusion -> temporal encoder -> logit of each snippet, and an embedding if asked for
the k most abnormal snippets of a bag -> probability of the bag -> cross-entropy with its label
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional

from vad.distributed import gather_by_key, summed, world_size
from vad.errors import ConfigError, RunError
from vad.methods.anomaly_detector import AnomalyDetector
from vad.metrics.frame import auroc
from vad.mil import bag_probability, cross_entropy, global_mean, ramp, ranks, smoothness, sparsity, top_count
from vad.networks.encoder_files import matching, read_encoder
from vad.networks.snippet_encoder import SnippetEncoder
from vad.networks.stream_fusion import Norm
from vad.networks.temporal import Temporal
from vad.types import BagBatch


@dataclass(frozen=True)
class Bags:
    """What the network says of a batch."""

    logit: Tensor  # (B, C, L), of each crop and row
    embedding: Tensor | None  # (B, C, L, P), unit length
    real: Tensor  # bool (B, L), rows that exist
    length: Tensor  # int64 (B,)
    label: Tensor  # int64 (B,), 0 or 1
    key: Tensor  # as in BagBatch

    @cached_property
    def probability(self) -> Tensor:
        """fp32 (B, C, L)."""
        return self.logit.float().sigmoid()

    @cached_property
    def score(self) -> Tensor:
        """What rows are chosen by, fp32 (B, L): the logit of the mean probability over the crops, without gradient.

        Probabilities near 1 are equal in 32 bits, and ties would go to the earlier row.
        """
        return logit_of_mean(self.logit.detach().float())

    @cached_property
    def rank(self) -> Tensor:
        """Place of each row in its bag by score, int64 (B, L), 0 for the largest."""
        return ranks(self.score, self.real)


class SnippetScorer(SnippetEncoder):
    """A snippet encoder with a head of two layers: a logit for each row."""

    def __init__(self, dims: Sequence[int], width: int, *, dropout: float, **encoder: Any) -> None:
        super().__init__(dims, width, dropout=dropout, **encoder)
        self.head = nn.Sequential(nn.Linear(width, 128), nn.ReLU(), nn.Dropout(dropout), nn.Linear(128, 1))

    def forward(  # type: ignore[override]  # it shares the encoder's parts and their names, and is used as none
        self, streams: Sequence[Tensor], real: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Rows (N, L, width) and logits (N, L) of streams (N, L, D_i)."""
        rows = super().forward(streams, real)
        return rows, self.head(rows)[..., 0]


class MILDetector(AnomalyDetector):
    """Plain top-k MIL. A method adds a term to its loss (`additional`).

    Source of the defaults: UR-DMU's and VadCLIP's public settings, where the paper is silent.

    Args:
        dims: Width of each stream of features, as the bags have them.
        stream: Learn from this stream alone, counted from 0; `None` for all.
        fuse: How streams become one: see `StreamFusion`; `late`: a scorer for each stream, the mean of their logits.
        norm: How each stream is normalised: see `StreamFusion`.
        width: Of a row.
        temporal: See `TemporalEncoder`.
        layers: Transformer layers of `conv_tf`.
        heads: Attention heads; each is 128 wide, or `width / heads` if that is less.
        window: Snippets that the attention sees to each side.
        dropout: Everywhere.
        projection: Width of an embedding; 0 for none, where no term needs it.
        top_ratio: k of a bag is `floor(length / top_ratio) + 1`.
        top_count: A fixed k instead.
        top_scale: k times this: 2 is the control that every gain by mining is compared with.
        normal_top_count: A fixed k of normal bags (PEL4VAD: 1).
        bag_score: Whether a bag averages probabilities or logits of its k rows.
        smooth: Weight of the squared differences of neighbouring scores in abnormal bags.
        sparse: Weight of the sum of scores in abnormal bags.
        learning_rate: Of Adam.
        weight_decay: Of Adam.
        warmup: Share of the schedule before an additional term begins, since scores are noise at first.
        rise: Share of the schedule over which it then rises to its weight.
    """

    score_range = "logit"

    def __init__(
        self,
        *,
        dims: Sequence[int] = (1024,),
        stream: int | None = None,
        fuse: Literal["concat", "sum", "gated", "late"] = "concat",
        norm: Norm = "layer",
        width: int = 512,
        temporal: Temporal = "conv_tf",
        layers: int = 2,
        heads: int = 4,
        window: int = 256,
        dropout: float = 0.1,
        projection: int = 0,
        top_ratio: int = 16,
        top_count: int | None = None,
        top_scale: int = 1,
        normal_top_count: int | None = None,
        bag_score: Literal["probability", "logit"] = "probability",
        smooth: float = 8e-5,
        sparse: float = 8e-5,
        learning_rate: float = 1e-4,
        weight_decay: float = 5e-5,
        warmup: float = 0.1,
        rise: float = 0.1,
    ) -> None:
        super().__init__()
        numbers = {"width": width, "heads": heads, "window": window, "top_ratio": top_ratio, "top_scale": top_scale}
        for name, number in numbers.items():
            if number < 1:
                raise ConfigError(f"{name}: expected at least 1, got {number}")
        if not dims or min(dims) < 1:
            raise ConfigError(f"dims: expected the width of each stream, got {list(dims)}")
        if stream is not None and not 0 <= stream < len(dims):
            raise ConfigError(f"stream: expected 0 to {len(dims) - 1}, one of the {len(dims)} in dims, got {stream}")
        self.dims = tuple(dims)
        self.stream = stream
        self.fuse = fuse
        self.norm = norm
        self.width = width
        self.temporal = temporal
        self.layers = layers
        self.heads = heads
        self.window = window
        self.dropout = dropout
        self.projection = projection
        self.top_ratio = top_ratio
        self.top_count = top_count
        self.top_scale = top_scale
        self.normal_top_count = normal_top_count
        self.bag_score = bag_score
        self.smooth = smooth
        self.sparse = sparse
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.warmup = warmup
        self.rise = rise
        used = self.dims if stream is None else (self.dims[stream],)
        self.scorers = nn.ModuleList(
            SnippetScorer(
                part,
                width,
                fuse="concat" if fuse == "late" else fuse,
                norm=norm,
                dropout=dropout,
                temporal=temporal,
                layers=layers,
                heads=heads,
                window=window,
            )
            for part in ([(dim,) for dim in used] if fuse == "late" else [used])
        )
        # Made last, so that the rest begins with the same weights with and without it.
        self.embed: nn.Module | None = (
            nn.Sequential(nn.Linear(width, width // 2), nn.ReLU(), nn.Linear(width // 2, projection))
            if projection
            else None
        )
        self._seen: list[dict[str, Tensor]] = []  # of each step of this epoch, on the device
        self._validation: list[dict[str, Tensor]] = []  # of each batch: probability, label and key of its bags

    def bags(self, batch: BagBatch) -> Bags:
        """What the network says of a batch."""
        widths = tuple(stream.shape[-1] for stream in batch.streams)
        if widths != self.dims:
            raise ConfigError(f"dims: the bags' streams are {list(widths)} wide, the model takes {list(self.dims)}")
        streams = batch.streams if self.stream is None else (batch.streams[self.stream],)
        crops, rows = streams[0].shape[1:3]
        real = torch.arange(rows, device=batch.length.device) < batch.length[:, None]
        folded = [rearrange(stream, "b c l d -> (b c) l d") for stream in streams]
        seen = real.repeat_interleave(crops, 0)
        groups = [[stream] for stream in folded] if self.fuse == "late" else [folded]
        said = [scorer(group, seen) for scorer, group in zip(self.scorers, groups, strict=True)]
        logit = mean([logit for _, logit in said])
        embedding = None
        if self.embed is not None:
            embedding = self.embed(mean([rows for rows, _ in said]))
            embedding = rearrange(functional.normalize(embedding.float(), dim=-1), "(b c) l p -> b c l p", c=crops)
        return Bags(
            rearrange(logit, "(b c) l -> b c l", c=crops), embedding, real, batch.length, batch.label, batch.key
        )

    def top(self, bags: Bags) -> Tensor:
        """k of each bag, int64 (B,)."""
        k = top_count(bags.length, ratio=self.top_ratio, count=self.top_count, scale=self.top_scale)
        if self.normal_top_count is None:
            return k
        return torch.where(bags.label == 0, k.new_tensor(self.normal_top_count).clamp(max=bags.length), k)

    def bag_probability(self, bags: Bags) -> Tensor:
        """fp32 (B,), from the k most abnormal rows."""
        return bag_probability(bags.logit, bags.rank < self.top(bags)[:, None], of=self.bag_score)

    def plain_loss(self, bags: Bags) -> Tensor:
        """Cross-entropy of the bags, smoothness and sparsity of the abnormal ones."""
        every, abnormal = torch.ones_like(bags.label), bags.label == 1
        loss = global_mean(cross_entropy(self.bag_probability(bags), bags.label), every)
        if self.smooth:
            loss = loss + self.smooth * global_mean(smoothness(bags.probability, bags.real), abnormal)
        if self.sparsity_weight:
            loss = loss + self.sparsity_weight * global_mean(sparsity(bags.probability, bags.real), abnormal)
        return loss

    def additional(self, bags: Bags, strength: float) -> Tensor | None:
        """The method's own term, weighted; `None` for none.

        Args:
            bags: Of the batch.
            strength: From 0 during the warm-up to 1.
        """
        return None

    @property
    def sparsity_weight(self) -> float:
        """Weight of the sparsity in this step."""
        return self.sparse

    @property
    def leaves_unused(self) -> bool:
        return self.embed is not None and any(True for _ in self.embed.parameters())  # nothing during the warm-up

    @property
    def strength(self) -> float:
        """How far an additional term has risen, 0 to 1."""
        progress = self.trainer.global_step / max(float(self.trainer.estimated_stepping_batches), 1.0)
        return ramp(progress, warmup=self.warmup, rise=self.rise)

    def note(self, **values: Tensor | float) -> None:
        """Keep values of this training step, if it is one: their means over the epoch and processes are logged."""
        kept = {name: torch.as_tensor(v, device=self.device).detach().float() for name, v in values.items()}
        if self._seen:
            self._seen[-1].update(kept)

    def training_step(self, batch: BagBatch, batch_idx: int) -> Tensor:
        bags = self.bags(batch)
        self._seen.append({})
        loss = self.plain_loss(bags)
        self.note(bag_loss=loss)
        strength = self.strength
        term = self.additional(bags, strength)
        if term is not None and strength > 0:
            loss = loss + term
        self.note(loss=loss)
        return loss

    def on_train_epoch_end(self) -> None:
        names = sorted({name for step in self._seen for name in step})
        means = [torch.stack([step[name] for step in self._seen if name in step]).mean() for name in names]
        logged = summed(torch.stack(means)) / world_size()
        self._seen = []
        self.log_dict(dict(zip(names, logged.tolist(), strict=True)))

    def columns(self, batch: BagBatch) -> dict[str, Tensor]:
        # One crop after another: those of a video of hours would take gigabytes at once.
        crops = range(batch.streams[0].shape[1])
        said = [self.bags(replace(batch, streams=tuple(s[:, c, None] for s in batch.streams))) for c in crops]
        return {"anomaly": logit_of_mean(torch.cat([bags.logit for bags in said], 1).float())[said[0].real]}

    def validation_step(self, batch: BagBatch, batch_idx: int) -> None:
        probability = self.bag_probability(self.bags(batch))
        self._validation.append({"probability": probability, "label": batch.label, "key": batch.key})

    def on_validation_epoch_end(self) -> None:
        """Log the loss of the bags as `val_loss`, and the AUROC of their probabilities."""
        joined = {name: torch.cat([part[name] for part in self._validation]) for name in self._validation[0]}
        self._validation = []
        bags = gather_by_key({name: column for name, column in joined.items() if name != "key"}, joined["key"])
        self.log("val_loss", cross_entropy(bags["probability"], bags["label"]).mean())
        value = auroc(bags["label"].cpu().numpy(), bags["probability"].double().cpu().numpy())
        if not math.isnan(value):  # bags of one label
            self.log("val_bag_auroc", value)

    def take_over(self, path: str | Path) -> str:
        """Start from the encoder that `vad.methods.feature_ssl` wrote; says what matched.

        Raises `RunError` for a file that holds no encoder of snippets, or none with a tensor of this shape.
        """
        if self.fuse == "late":
            raise ConfigError("fuse: a pretrained encoder joins its streams early; expected concat, sum or gated")
        file = read_encoder(path)
        if file.kind != "snippet":
            raise RunError(
                f"{path}: holds an encoder of {file.kind}s; features of its snippets are what this one learns from"
            )
        matched = matching(self.scorers[0], file)
        self.on_matching_loaded()
        return matched

    def configure_optimizers(self) -> Any:
        return torch.optim.Adam(self.parameters(), lr=self.learning_rate, weight_decay=self.weight_decay)


def mean(parts: Sequence[Tensor]) -> Tensor:
    """Of tensors of one shape; one alone is not copied."""
    return parts[0] if len(parts) == 1 else torch.stack(tuple(parts)).mean(0)


def logit_of_mean(logit: Tensor) -> Tensor:
    """Logit of the mean probability over crops, (B, C, L) to (B, L); it never saturates."""
    if logit.shape[1] == 1:
        return logit[:, 0]
    return functional.logsigmoid(logit).logsumexp(1) - functional.logsigmoid(-logit).logsumexp(1)
