"""MIL with hard instance mining (HIMS): also snippets that are not among the k most abnormal of their bag teach.

Paper: "anomaly-aware self-supervised learning and hard instance mining", 2025; of the mining only the abstract is
public. Idea: the non-top-k snippets, which plain MIL leaves unused, sharpen the difference of normal and abnormal. Our
choice: everything else. Mining is asymmetric, since every snippet of a normal bag is certainly normal, while by the
tests' annotations one in seven (UCF-Crime) to one in two (XD-Violence) of an abnormal bag's other snippets is abnormal.

    bag (L rows) -> top k by score -> probability of the bag -> cross-entropy                 as in plain MIL
                 -> the others -> h hardest of a normal bag    -> label 0, certain            hard negatives
                               -> h hardest of an abnormal bag -> label 1, with a weight      hard positives
    embeddings   -> one prototype each of normal and abnormal -> margin of a row: who is hard, and a contrast
"""

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from vad.distributed import concatenated, summed
from vad.errors import ConfigError
from vad.methods.mil_detector import Bags, MILDetector
from vad.mil import global_mean, highest

Key = Literal["rank", "gate", "margin", "similarity", "batch", "none", "naive"]


def margins(embedding: Tensor, prototypes: Tensor) -> Tensor:
    """`<z, abnormal> - <z, normal>` of each row, in [-2, 2]: (B, C, L, P) and (2, P) to (B, C, L)."""
    return (embedding * (prototypes[1] - prototypes[0])).sum(-1)  # no matrix product, which autocast would round


def moved_prototypes(
    prototypes: Tensor, embedding: Tensor, real: Tensor, top: Tensor, label: Tensor, *, decay: float
) -> Tensor:
    """Prototypes (2, P), normal and abnormal, moved towards a batch's rows over all processes; of unit length.

    The normal one follows all rows of normal bags, the abnormal one the top-k rows of abnormal bags. Every bag counts
    alike, whatever its length (our choice). Zeros, as it begins with, give way to the first batch at once; a batch
    without bags of a label leaves its prototype where it is.

    Args:
        prototypes: (2, P).
        embedding: (B, C, L, P).
        real: Bool (B, L).
        top: Bool (B, L).
        label: (B,).
        decay: Share of the old one that stays.
    """
    members = torch.where((label == 1)[:, None], top, real).float()
    of_bag = (embedding.detach().mean(1) * (members / members.sum(1, keepdim=True))[..., None]).sum(1)
    sides = torch.stack([label == 0, label == 1]).float()
    target = functional.normalize(summed((sides[..., None] * of_bag).sum(1)), dim=-1)
    return functional.normalize(decay * prototypes + (1 - decay) * target, dim=-1)


def similar_to_top(embedding: Tensor, top: Tensor, *, reach: int = 2, cosine: float = 0.8) -> Tensor:
    """Rows at most `reach` away from a top-k row that they resemble: the mean cosine over crops is above `cosine`.

    Args:
        embedding: (B, C, L, P), unit length.
        top: Bool (B, L).
        reach: In rows.
        cosine: The least.

    Returns:
        Bool (B, L).
    """
    near = torch.zeros_like(top)
    for apart in range(1, reach + 1):
        alike = (embedding[:, :, apart:] * embedding[:, :, :-apart]).sum(-1).mean(1) > cosine
        near[:, apart:] |= alike & top[:, :-apart]
        near[:, :-apart] |= alike & top[:, apart:]
    return near


def highest_of_batch(value: Tensor, among: Tensor, count: Tensor) -> Tensor:
    """The `count.sum()` largest values among some rows of the batch over all processes, with ties: bool (B, L)."""
    wanted = int(summed(count.sum()))
    values = concatenated(value[among])
    if wanted == 0 or len(values) == 0:
        return torch.zeros_like(among)
    return among & (value >= values.topk(min(wanted, len(values))).values[-1])


def hard_negatives(score: Tensor, rest: Tensor, label: Tensor, count: Tensor) -> Tensor:
    """The `count` rows of highest score of each normal bag outside its top k, bool (B, L)."""
    return highest(score, rest & (label == 0)[:, None], count)


def hard_positives(
    key: Key,
    score: Tensor,
    rest: Tensor,
    label: Tensor,
    count: Tensor,
    *,
    margin: Tensor,
    near: Tensor,
    least: Tensor,
) -> Tensor:
    """Weight of each row as one more abnormal one, fp32 (B, L); 0 for most rows and in every normal bag.

        rank        the `count` highest scores outside the top k                                      weight 1
        gate        the same among rows with a positive margin and a probability of at least `least`  weight margin <= 1
        margin      the `count` largest positive margins                                              weight margin <= 1
        similarity  the `count` highest scores among `near` rows (the limit is our choice)            weight 1
        batch       as rank, and as many of the highest scores in the whole batch                     weight 1

    Args:
        key: One of these; any other chooses none.
        score: (B, L), logits.
        rest: Bool (B, L), real rows outside the top k.
        label: (B,).
        count: int64 (B,).
        margin: (B, L).
        near: Bool (B, L), see `similar_to_top`.
        least: (B,).
    """
    if key in ("none", "naive"):
        return torch.zeros_like(score)
    rest = rest & (label == 1)[:, None]
    eligible = {
        "gate": rest & (margin > 0) & (score.sigmoid() >= least[:, None]),
        "margin": rest & (margin > 0),
        "similarity": rest & near,
    }.get(key, rest)
    chosen = highest(margin if key == "margin" else score, eligible, count)
    if key == "batch":
        chosen = chosen | highest_of_batch(score, rest, count * (label == 1))
    return chosen * margin.clamp(0, 1) if key in ("gate", "margin") else chosen.float()


def confident_background(score: Tensor, rest: Tensor, label: Tensor, count: Tensor, margin: Tensor) -> Tensor:
    """The `count` rows of lowest score of each abnormal bag whose margin is below -0.5, bool (B, L)."""
    return highest(-score, rest & (label == 1)[:, None] & (margin < -0.5), count)


def contrast_loss(margin: Tensor, chosen: Tensor, label: Tensor, temperature: float) -> Tensor:
    """Mean over the chosen rows of all processes of `-log softmax(<z, prototype> / temperature)` of their bag's label.

    Args:
        margin: (B, C, L), see `margins`.
        chosen: Bool (B, L).
        label: (B,).
        temperature: Small ones ask for more.
    """
    sign = 1 - 2 * label[:, None, None]
    return global_mean(functional.softplus(sign * margin / temperature).mean(1), chosen.float())


@dataclass(frozen=True)
class Mined:
    """What was chosen outside the top k of each bag."""

    negative: Tensor  # bool (B, L)
    positive: Tensor  # fp32 (B, L), weights
    contrasted: Tensor  # bool (B, L)


class MILHIMS(MILDetector):
    """Top-k MIL with hard instance mining; plain top-k MIL bit for bit with `mining` 0.

    All defaults are our choice. The control of every gain is plain MIL with twice the k: `mining` 0, `top_scale` 2.

    Without contrast nothing would teach a projection, so rows are then compared as the temporal encoder gives them.

    Args:
        key: How hard positives are chosen, see `hard_positives`. `none` chooses none; `naive`, a negative control,
            takes all rows outside the top k of every bag for normal.
        hard_ratio: How many are mined of a bag, as a share of its k, rounded up.
        mining: Weight of what is mined.
        negatives: Whether hard negatives are mined.
        positives: Weight of the hard positives' loss.
        contrast: Weight of the contrast of embeddings with prototypes.
        temperature: Of the contrast.
        gate: Least probability of a hard positive under `gate`, as a share of its bag's mean over the top k.
        background: Whether rows of abnormal bags that are surely normal (`confident_background`) are negatives too.
        sparse_with_hims: The most that `sparse` is once hard positives count: the two pull against each other.
        prototype_decay: Share of a prototype that a step keeps.
        projection: Width of an embedding, taught by the contrast; 0 to contrast rows themselves.
        shared: See `MILDetector`.
    """

    prototypes: Tensor | None  # (2, P): normal, abnormal

    def __init__(
        self,
        *,
        key: Key = "rank",
        hard_ratio: float = 1.0,
        mining: float = 0.5,
        negatives: bool = True,
        positives: float = 1.0,
        contrast: float = 0.0,
        temperature: float = 0.1,
        gate: float = 0.5,
        background: bool = False,
        sparse_with_hims: float = 8e-6,
        prototype_decay: float = 0.95,
        projection: int = 128,
        **shared: Any,
    ) -> None:
        embeds = mining > 0 and (key in ("gate", "margin", "similarity") or contrast > 0 or background)
        projected = projection if embeds and contrast > 0 else 0
        super().__init__(projection=projected, **shared)
        if hard_ratio <= 0 or temperature <= 0 or not 0 <= prototype_decay < 1:
            raise ConfigError(
                "hard_ratio, temperature, prototype_decay: expected above 0, above 0, and from 0 to below 1, got "
                f"{hard_ratio}, {temperature}, {prototype_decay}"
            )
        self.key: Key = key
        self.hard_ratio = hard_ratio
        self.mining = mining
        self.negatives = negatives
        self.positives = positives
        self.contrast = contrast
        self.temperature = temperature
        self.gate = gate
        self.background = background
        self.sparse_with_hims = sparse_with_hims
        self.prototype_decay = prototype_decay
        self.projection = projection
        if embeds and not projected:
            self.embed = nn.Identity()
        self.register_buffer("prototypes", torch.zeros(2, projected or self.width) if embeds else None)

    def additional(self, bags: Bags, strength: float) -> Tensor | None:
        if self.mining == 0:
            return None
        top = bags.rank < self.top(bags)[:, None]
        margin = self.compare(bags, top)
        mined = self.mine(bags, top, margin.detach().mean(1))
        # Cross-entropy of a row: softplus of its logit for label 0, of the negative logit for label 1.
        negative = global_mean(functional.softplus(bags.logit.float()).mean(1), mined.negative.float())
        positive = global_mean(functional.softplus(-bags.logit.float()).mean(1), mined.positive)
        loss = negative + self.positives * positive
        self.note(negatives_loss=negative, positives_loss=positive)
        if self.contrast:
            contrast = contrast_loss(margin, mined.contrasted, bags.label, self.temperature)
            loss = loss + self.contrast * contrast
            self.note(contrast_loss=contrast)
        return strength * self.mining * loss

    def compare(self, bags: Bags, top: Tensor) -> Tensor:
        """Margin of each row (B, C, L), after the batch moved the prototypes; zeros where nothing asks for it."""
        if bags.embedding is None or self.prototypes is None:
            return torch.zeros_like(bags.probability)
        moved = moved_prototypes(
            self.prototypes, bags.embedding, bags.real, top, bags.label, decay=self.prototype_decay
        )
        self.prototypes.copy_(moved)
        return margins(bags.embedding, self.prototypes)

    def mine(self, bags: Bags, top: Tensor, margin: Tensor) -> Mined:
        """Choose rows by score and mean margin (B, L) over the crops; the same rows in each crop."""
        rest, abnormal = bags.real & ~top, bags.label == 1
        count = torch.minimum((top.sum(1) * self.hard_ratio).ceil().long(), rest.sum(1))
        hard = hard_negatives(bags.score, rest, bags.label, count) & self.negatives
        near = rest
        if self.key == "similarity" and bags.embedding is not None:
            near = similar_to_top(bags.embedding.detach(), top)
        least = self.gate * (bags.score.sigmoid() * top).sum(1) / top.sum(1)
        positive = hard_positives(self.key, bags.score, rest, bags.label, count, margin=margin, near=near, least=least)
        recruited = positive > 0
        negative = rest if self.key == "naive" else hard
        if self.background:
            negative = negative | confident_background(bags.score, rest & ~recruited, bags.label, count, margin)
        self.note(
            mined=global_mean(recruited.sum(1) / count.clamp_min(1), (abnormal & (count > 0)).float()),
            mined_share=global_mean(recruited.float(), (rest & abnormal[:, None]).float()),
        )
        if self.prototypes is not None:
            self.note(
                margin_of_positives=global_mean(margin, recruited.float()),
                margin_of_negatives=global_mean(margin, hard.float()),
            )
        return Mined(negative, positive, hard | recruited)

    @property
    def sparsity_weight(self) -> float:
        recruits = self.mining > 0 and self.positives > 0 and self.key not in ("none", "naive")
        return min(self.sparse, self.sparse_with_hims) if recruits and self.strength > 0 else self.sparse

    def finish(self) -> None:
        self.embed = None
        self.prototypes = None

    def detector_state(self) -> dict[str, Tensor]:
        return {name: t for name, t in self.state_dict().items() if not name.startswith(("embed.", "prototypes"))}
