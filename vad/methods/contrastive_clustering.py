"""Contrastive clustering over I3D and CLIP: snippets of a bag are clustered, and categories pushed apart.

Paper: weakly supervised video anomaly detection via contrastive clustering, IJCNN 2025; only its abstract is public.
Idea: the centre of a cluster and its category are a positive pair, features of other categories are negatives; I3D
leans to normal videos and CLIP to abnormal ones, which their early fusion evens out. Our choice: everything else.

    bag (L rows) -> top k by score -> probability of the bag -> cross-entropy                      as in plain MIL
    embeddings of an abnormal bag -> 2-means from its top and bottom k -> rows of the higher scores   category A
                  of a normal bag -> its top k, and as many others                                    category N
    centre of each category, against members of its own and of the other -> contrast
"""

from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from vad.distributed import summed, summed_with_gradient
from vad.errors import ConfigError
from vad.methods.mil_detector import Bags, MILDetector, logit_of_mean
from vad.mil import global_mean, highest
from vad.training.randomness import random_order
from vad.types import BagBatch

Anchor = Literal["centre", "feature", "both"]


class Assigned(NamedTuple):
    """What the rows of abnormal bags are taken for; all without gradient."""

    abnormal: Tensor  # bool (B, L), A
    background: Tensor  # bool (B, L)
    doubtful: Tensor  # bool (B,), where the clusters were not believed and the top and bottom k stand for them


def joined(embedding: Tensor) -> Tensor:
    """One unit vector for each row, from those of its crops: (B, C, L, P) to (B, L, P). Our choice."""
    return embedding[:, 0] if embedding.shape[1] == 1 else functional.normalize(embedding.mean(1), dim=-1)


def mean_direction(embedding: Tensor, members: Tensor) -> Tensor:
    """Unit vectors (B, K, P) along the sums of the rows (B, L, P) that are members, bool (B, L, K)."""
    return functional.normalize(torch.einsum("blk,blp->bkp", members.float(), embedding), dim=-1)


def two_means(
    embedding: Tensor, first: Tensor, second: Tensor, real: Tensor, *, steps: int = 3
) -> tuple[Tensor, Tensor]:
    """2-means of every bag by cosine, beginning with the mean directions of two sets of its rows.

    Args:
        embedding: (B, L, P), unit length.
        first: Bool (B, L).
        second: Bool (B, L).
        real: Bool (B, L).
        steps: Times that rows are assigned and centroids moved.

    Returns:
        The rows of the first cluster, bool (B, L); of two equally near centroids the second has the row. The centroids
        (B, 2, P); that of an empty cluster is zero.
    """
    centroids = mean_direction(embedding, torch.stack([first, second], -1))
    inside = first
    for _ in range(steps):
        nearness = torch.einsum("blp,bkp->blk", embedding, centroids)
        inside = real & (nearness[..., 0] > nearness[..., 1])
        centroids = mean_direction(embedding, torch.stack([inside, real & ~inside], -1))
    return inside, centroids


def assigned(
    embedding: Tensor, score: Tensor, real: Tensor, k: Tensor, *, by: Literal["2means", "topk"] = "2means"
) -> Assigned:
    """Which rows of abnormal bags are abnormal: the cluster of the larger mean score.

    The clusters are not believed where that one is empty or holds more than 0.8 of the bag, where the centroids' cosine
    is above 0.95, where its mean score is below half of the mean over the top k, and in bags of fewer than 4 rows.

    Args:
        embedding: (B, L, P), unit length.
        score: (B, L), logits; means are those of probabilities.
        real: Bool (B, L).
        k: int64 (B,).
        by: `topk` believes no clusters.
    """
    top, bottom, chance = highest(score, real, k), highest(-score, real, k), score.sigmoid()
    length = real.sum(1)
    doubtful = torch.ones_like(length, dtype=torch.bool)
    abnormal = top
    if by == "2means":
        inside, centroids = two_means(embedding, top, bottom, real)
        swap = _mean(chance, inside) < _mean(chance, real & ~inside)
        abnormal = real & (inside ^ swap[:, None])
        size = abnormal.sum(1)
        doubtful = (size == 0) | (5 * size > 4 * length) | (length < 4)
        doubtful |= (centroids[:, 0] * centroids[:, 1]).sum(-1) > 0.95
        doubtful |= _mean(chance, abnormal) < 0.5 * _mean(chance, top)
    return Assigned(
        torch.where(doubtful[:, None], top, abnormal),
        torch.where(doubtful[:, None], bottom & ~top, real & ~abnormal),
        doubtful,
    )


def reliable(
    found: Assigned, score: Tensor, order: Tensor, bags: Bags, k: Tensor, *, background: bool = False
) -> Tensor:
    """Members of the categories, bool (B, L, 2): normal, abnormal.

    Abnormal are at most 4 k rows of highest score among those that were found; normal are the top k of normal bags and
    as many of their other rows, first in `order`. `background` adds that of abnormal bags.

    Args:
        found: Of abnormal bags.
        score: (B, L).
        order: (B, L), random.
        bags: Which rows are real, and labels.
        k: int64 (B,).
        background: See above.
    """
    is_normal, is_abnormal = (bags.label == 0)[:, None], (bags.label == 1)[:, None]
    hard = highest(score, bags.real & is_normal, k)
    normal = hard | highest(order, bags.real & is_normal & ~hard, k)
    if background:
        normal = normal | (found.background & is_abnormal)
    return torch.stack([normal, highest(score, found.abnormal & is_abnormal, 4 * k)], -1)


def thinned(members: Tensor, order: Tensor, most: int) -> Tensor:
    """At most `most` members (B, L, 2) of each category over all processes: an equal share of each bag, first in
    `order`.

    Our choice: shares, so that long bags do not rule, and processes need not compare members. At least one of each bag.
    """
    bags = summed(members.any(1).sum(0))
    share = (most // bags.clamp_min(1)).clamp_min(1)
    return torch.stack([highest(order, members[..., y], share[y].expand(len(members))) for y in (0, 1)], -1)


def cluster_means(embedding: Tensor, members: Tensor, centres: Tensor) -> Tensor:
    """Mean directions (2, M, P) of the members nearest to each centre, over all processes, with gradient.

    Args:
        embedding: (B, L, P), unit length.
        members: Bool (B, L, 2).
        centres: (2, M, P). One that has no member stays.
    """
    nearest = torch.einsum("blp,ymp->blym", embedding.detach(), centres).argmax(-1)
    chosen = functional.one_hot(nearest, centres.shape[1]) * members[..., None]
    total = summed_with_gradient(torch.einsum("blym,blp->ymp", chosen.to(embedding.dtype), embedding))
    return torch.where(total.any(-1, keepdim=True), functional.normalize(total, dim=-1), centres)


def first_centres(embedding: Tensor, members: Tensor, count: int) -> Tensor:
    """Centres (2, count, P) of a first batch: k-means of each category, from its mean moved to `count` sides."""
    mean = cluster_means(embedding, members, embedding.new_zeros(2, 1, embedding.shape[-1]))
    if count == 1:
        return mean
    sides = torch.randn(count, embedding.shape[-1], generator=torch.Generator().manual_seed(0)).to(mean)
    centres = functional.normalize(mean + 0.1 * functional.normalize(sides, dim=-1), dim=-1)
    for _ in range(10):
        centres = cluster_means(embedding, members, centres)
    return centres


def centre_contrast(
    embedding: Tensor, members: Tensor, centres: Tensor, *, temperature: float = 0.1, anchor: Anchor = "centre"
) -> Tensor:
    """Mean over categories and members of `-log(e^<c, z> / (e^<c, z> + sum))`, cosines divided by the temperature.

    Anchored at the centre, the sum is over the members of the other category and the same centre, of all processes.
    Anchored at the feature, it is over the other centres. Of several centres of a category, the member's nearest is
    its own; anchored at the feature, it has all of them. `both` is the mean of the two.

    Args:
        embedding: (B, L, P), unit length.
        members: Bool (B, L, 2).
        centres: (2, M, P).
        temperature: See above.
        anchor: See above.

    Returns:
        This process's share of the loss.
    """
    cosine = torch.einsum("blp,ymp->blym", embedding, centres)
    similarity = cosine / temperature
    terms = []
    if anchor != "feature":
        # No cosine is above 1, so nothing overflows.
        others = ((cosine - 1) / temperature).exp() * members.flip(-1)[..., None]
        against = summed_with_gradient(others.sum((0, 1)))  # (2, M)
        against = against.clamp_min(torch.finfo(against.dtype).tiny).log() + 1 / temperature
        own, nearest = similarity.max(-1)
        terms.append(functional.softplus(against.expand_as(similarity).gather(-1, nearest[..., None])[..., 0] - own))
    if anchor != "centre":
        of_category = similarity.logsumexp(-1)
        terms.append(of_category.logsumexp(-1, keepdim=True) - of_category)
    term = torch.stack(terms).mean(0)
    return torch.stack([global_mean(term[..., y], members[..., y].float()) for y in (0, 1)]).mean()


def vector_contrast(
    embedding: Tensor, logit: Tensor, real: Tensor, label: Tensor, vectors: Tensor, *, temperature: float = 0.1
) -> Tensor:
    """Cross-entropy of pooled embeddings with the vector of their category; mean over categories.

    Rows of high logit stand for an abnormal bag, and those of low logit for normal content in it; rows of high logit
    for a normal bag, since they are its hardest.

    Args:
        embedding: (B, L, P), unit length.
        logit: (B, L), without gradient: contrast sees embeddings only.
        real: Bool (B, L).
        label: (B,).
        vectors: (2, P), unit length: normal, abnormal.
        temperature: Of the cosines.

    Returns:
        This process's share of the loss.
    """
    weights = [(sign * logit / 0.1).masked_fill(~real, -torch.inf).softmax(1) for sign in (1, -1)]
    pooled = torch.einsum("kbl,blp->kbp", torch.stack(weights), embedding)
    loss = -(pooled @ vectors.mT / temperature).log_softmax(-1)  # (2, B, 2): high or low, bag, category
    abnormal = (label == 1).float()
    normal = torch.stack([loss[0, :, 0], loss[1, :, 0]])
    return (global_mean(loss[0, :, 1], abnormal) + global_mean(normal, torch.stack([1 - abnormal, abnormal]))) / 2


def _mean(score: Tensor, members: Tensor) -> Tensor:
    """Of each bag, (B,); 0 without members."""
    return (score * members).sum(1) / members.sum(1).clamp_min(1)


def mixed_logit(logit: Tensor, margin: Tensor, share: float) -> Tensor:
    """Logit of `(1 - share) * sigmoid(logit) + share * sigmoid(margin)`; it never saturates."""
    parts = logit.new_tensor([1 - share, share]).log()
    both = torch.stack([logit, margin], -1)
    return (functional.logsigmoid(both) + parts).logsumexp(-1) - (functional.logsigmoid(-both) + parts).logsumexp(-1)


class ContrastiveClustering(MILDetector):
    """Top-k MIL with contrastive clustering; plain top-k MIL bit for bit with `contrast` 0.

    All defaults are our choice. Categories are normal and abnormal, since bags carry no others; pairing with embeddings
    of category names, which come from a text encoder, and k-means over a whole epoch are left out.

    Args:
        contrast: Weight of the contrast.
        pairing: `feature`: centres of categories with their members. `category_vector`: pooled embeddings of a bag with
            a learned vector of their category; of what follows only `temperature` and `score_mix` apply.
        anchor: See `centre_contrast`.
        centre_source: `ema`: a moving average without gradient; `batch`: the mean over the batch, with gradient.
        clusters: Centres of each category; more than one are k-means over the members, kept from step to step.
        momentum: Of the average: what a step keeps.
        temperature: Of the cosines.
        assignment: How rows of an abnormal bag are found abnormal: see `assigned`.
        members: At most so many of a category in a step, over all processes.
        use_bg_of_abnormal: Take the other rows of abnormal bags for normal. By the tests' annotations 13 % (UCF-Crime)
            to 46 % (XD-Violence) of the rows outside the top k are not.
        score_mix: Share of the centres' say in a score, which is otherwise the head's.
        projection: Width of an embedding; 0 to contrast the rows of the temporal encoder themselves.
        shared: See `MILDetector`.
    """

    centres: Tensor | None  # (2, M, P): of normal and abnormal; zero until the first batch after the warm-up

    def __init__(
        self,
        *,
        contrast: float = 0.1,
        pairing: Literal["feature", "category_vector"] = "feature",
        anchor: Anchor = "centre",
        centre_source: Literal["ema", "batch"] = "ema",
        clusters: int = 1,
        momentum: float = 0.9,
        temperature: float = 0.1,
        assignment: Literal["2means", "topk"] = "2means",
        members: int = 512,
        use_bg_of_abnormal: bool = False,
        score_mix: float = 0.0,
        projection: int = 128,
        **shared: Any,
    ) -> None:
        projected = projection if contrast else 0
        super().__init__(projection=projected, **shared)
        if contrast < 0 or temperature <= 0 or not 0 <= momentum < 1 or not 0 <= score_mix < 1:
            raise ConfigError(
                "contrast, temperature, momentum, score_mix: expected at least 0, above 0, and twice from 0 to below 1,"
                f" got {contrast}, {temperature}, {momentum}, {score_mix}"
            )
        if clusters < 1 or members < 1:
            raise ConfigError(f"clusters, members: expected at least 1, got {clusters} and {members}")
        if score_mix and not contrast:
            raise ConfigError("score_mix: there are no centres to score with where contrast is 0")
        self.contrast = contrast
        self.pairing = pairing
        self.anchor: Anchor = anchor
        self.centre_source = centre_source
        self.clusters = clusters
        self.momentum = momentum
        self.temperature = temperature
        self.assignment: Literal["2means", "topk"] = assignment
        self.members = members
        self.use_bg_of_abnormal = use_bg_of_abnormal
        self.score_mix = score_mix
        self.projection = projection
        if contrast and not projection:
            self.embed = nn.Identity()
        dim = projection or self.width
        if contrast and pairing == "category_vector":
            self.centres = nn.Parameter(torch.randn(2, 1, dim))
        else:
            self.register_buffer("centres", torch.zeros(2, clusters, dim) if contrast else None)

    def additional(self, bags: Bags, strength: float) -> Tensor | None:
        if bags.embedding is None or self.centres is None or strength == 0:
            return None
        loss_of = self.vectors_loss if self.pairing == "category_vector" else self.clusters_loss
        with torch.autocast(bags.logit.device.type, enabled=False):
            loss = loss_of(bags, joined(bags.embedding), self.centres)
        self.note(contrast_loss=loss)
        return strength * self.contrast * loss

    def clusters_loss(self, bags: Bags, embedding: Tensor, centres: Tensor) -> Tensor:
        """Assign rows, move the centres, contrast: this process's share, of embeddings (B, L, P)."""
        k = self.top(bags)
        found = assigned(embedding.detach(), bags.score, bags.real, k, by=self.assignment)
        order = random_order(bags.key, bags.real.shape[1], self.trainer.global_step)
        members = reliable(found, bags.score, order, bags, k, background=self.use_bg_of_abnormal)
        members = thinned(members, order, self.members)
        means = self.move(centres, embedding, members)
        self.diagnose(bags, found, k, members)
        anchors = means if self.centre_source == "batch" else centres.clone()  # which the next step moves in place
        return centre_contrast(embedding, members, anchors, temperature=self.temperature, anchor=self.anchor)

    def move(self, centres: Tensor, embedding: Tensor, members: Tensor) -> Tensor:
        """Move the centres (2, M, P) towards the means of the batch; those means, with gradient."""
        before = centres
        if self.clusters > 1 and not centres.any():
            before = first_centres(embedding.detach(), members, self.clusters)
        means = cluster_means(embedding, members, before)
        moved = functional.normalize(self.momentum * before + (1 - self.momentum) * means.detach(), dim=-1)
        self.note(drift=1 - (moved[1] * centres[1]).sum(-1).mean())
        centres.copy_(moved)
        return means

    def diagnose(self, bags: Bags, found: Assigned, k: Tensor, members: Tensor) -> None:
        """Keep what tells, without truth, whether the assignment feeds on itself."""
        abnormal = (bags.label == 1).float()
        in_top_k = (found.abnormal & (bags.rank < k[:, None])).sum(1)
        self.note(
            abnormal_share=global_mean(found.abnormal.sum(1) / bags.length, abnormal),
            in_top_k=global_mean(in_top_k / found.abnormal.sum(1), abnormal),
            doubtful=global_mean(found.doubtful.float(), abnormal),
            contrast_chance=summed(members.sum((0, 1))).float().log1p().mean(),  # the loss of embeddings that are noise
        )

    def vectors_loss(self, bags: Bags, embedding: Tensor, vectors: Tensor) -> Tensor:
        """Contrast with learned vectors (2, 1, P): this process's share, of embeddings (B, L, P)."""
        logit = logit_of_mean(bags.logit.detach().float())
        vectors = functional.normalize(vectors[:, 0], dim=-1)
        return vector_contrast(embedding, logit, bags.real, bags.label, vectors, temperature=self.temperature)

    def columns(self, batch: BagBatch) -> dict[str, Tensor]:
        bags = self.bags(batch)
        logit = bags.logit.float()
        if self.score_mix and bags.embedding is not None and self.centres is not None:
            centres = functional.normalize(self.centres, dim=-1)
            cosine = torch.einsum("bclp,ymp->bclym", bags.embedding, centres).amax(-1)
            logit = mixed_logit(logit, (cosine[..., 1] - cosine[..., 0]) / 0.2, self.score_mix)
        return {"anomaly": logit_of_mean(logit)[bags.real]}

    @property
    def leaves_unused(self) -> bool:
        return super().leaves_unused or isinstance(self.centres, nn.Parameter)

    def finish(self) -> None:
        if not self.score_mix:
            self.embed = None
            self.centres = None

    def detector_state(self) -> dict[str, Tensor]:
        state = self.state_dict()
        return {n: t for n, t in state.items() if self.score_mix or not n.startswith(("embed.", "centres"))}
