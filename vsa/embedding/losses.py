"""Triplet losses over a mini-batch of m triplets (paper section 3.2), and published baselines.

Features have unit length, so L2 distances lie in [0, 2]. Triplet i of a batch is (query i, clicked
image i, not clicked image i). The paper's loss comes in three steps, each of which can be had
alone so that it can be judged:

- `own_negatives`: [L2(q, q⁺) − L2(q, q⁻) + δ]₊, each query with its own negative: m terms;
- `shared_negatives`: each query with the negatives of all triplets: m² terms, averaged together;
- `per_query`: the same terms, averaged over the negatives of a query, then over queries:
  1/|Q| Σ_q 1/|N_q| Σ_{q⁻ ∈ N_q} [·]₊.

The baselines are pytorch-metric-learning's: semi-hard triplets (FaceNet), N-pair,
multi-similarity and contrastive.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from pytorch_metric_learning import losses as pml_losses
from pytorch_metric_learning import miners as pml_miners
from torch import Tensor
from torch.nn.functional import relu


@dataclass(frozen=True)
class TripletBatch:
    """Features of m triplets, each (m, d) of unit length, and what is known of them."""

    query: Tensor
    positive: Tensor
    negative: Tensor
    query_ids: Tensor  # int64 (m,): equal where two triplets have one query
    allowed: Tensor  # bool (m, m): whether negative j may serve query i (it was not clicked for i)


@dataclass(frozen=True)
class Loss:
    """A loss and the share of its terms that still push: 0 means nothing is left to learn."""

    value: Tensor
    active_share: float


LossFunction = Callable[[TripletBatch, float], Loss]


def l2(a: Tensor, b: Tensor) -> Tensor:
    """Euclidean distance of unit vectors along the last dimension, in [0, 2].

    Kept off zero, where its gradient is not finite.
    """
    return (2 - 2 * (a * b).sum(dim=-1)).clamp_min(1e-6).sqrt()


def own_negatives(batch: TripletBatch, margin: float) -> Loss:
    """Mean over the m triplets of [L2(q, q⁺) − L2(q, q⁻) + δ]₊ (the paper's triplet loss)."""
    terms = relu(l2(batch.query, batch.positive) - l2(batch.query, batch.negative) + margin)
    return Loss(terms.mean(), float((terms > 0).float().mean()))


def shared_negatives(batch: TripletBatch, margin: float) -> Loss:
    """Mean over all allowed pairs of a triplet and a negative of the batch: up to m² terms."""
    terms, allowed = _shared_terms(batch, margin)
    n_terms = allowed.sum().clamp_min(1)
    return Loss(terms.sum() / n_terms, float((terms > 0).sum() / n_terms))


def per_query(batch: TripletBatch, margin: float) -> Loss:
    """Mean over queries of the mean over their terms, in place of the mean over all terms.

    A query of several triplets, or with fewer allowed negatives, counts as much as any other;
    one that has none does not count.
    """
    terms, allowed = _shared_terms(batch, margin)
    _, slot = batch.query_ids.unique(return_inverse=True)
    zeros = torch.zeros(int(slot.max()) + 1, dtype=terms.dtype, device=terms.device)
    sums = zeros.index_add(0, slot, terms.sum(dim=1))
    counts = zeros.index_add(0, slot, allowed.sum(dim=1).to(terms.dtype))
    means = sums / counts.clamp_min(1)
    value = means.sum() / (counts > 0).sum().clamp_min(1)
    return Loss(value, float((terms > 0).sum() / allowed.sum().clamp_min(1)))


def _shared_terms(batch: TripletBatch, margin: float) -> tuple[Tensor, Tensor]:
    """Terms (m, m), row = triplet, column = negative, zero where not allowed; and `allowed`."""
    to_positive = l2(batch.query, batch.positive)[:, None]
    similarity = batch.query @ batch.negative.T
    to_negatives = (2 - 2 * similarity).clamp_min(1e-6).sqrt()
    return relu(to_positive - to_negatives + margin) * batch.allowed, batch.allowed


def _published(loss: Callable, miner: Callable | None = None) -> LossFunction:
    """A loss of pytorch-metric-learning: query and clicked image are one class, each not clicked
    image a class of its own. Those losses have margins of their own, so `margin` is not used.
    """

    def function(batch: TripletBatch, margin: float) -> Loss:
        features = torch.cat([batch.query, batch.positive, batch.negative])
        m = len(batch.query_ids)
        alone = torch.arange(m, device=features.device) + batch.query_ids.max() + 1
        labels = torch.cat([batch.query_ids, batch.query_ids, alone])
        pairs = miner(features, labels) if miner else None
        value = loss(features, labels, pairs)
        return Loss(value, float("nan") if pairs is None else len(pairs[0]) / m)

    return function


def semi_hard(batch: TripletBatch, margin: float) -> Loss:
    """FaceNet's: triplets whose negative is farther than the positive, by less than the margin."""
    miner = pml_miners.TripletMarginMiner(margin=margin, type_of_triplets="semihard")
    return _published(pml_losses.TripletMarginLoss(margin=margin), miner)(batch, margin)


LOSSES: dict[str, LossFunction] = {
    "own negatives": own_negatives,
    "shared negatives": shared_negatives,
    "per query": per_query,
    "semi-hard": semi_hard,
    "N-pair": _published(pml_losses.NPairsLoss()),
    "multi-similarity": _published(pml_losses.MultiSimilarityLoss()),
    "contrastive": _published(pml_losses.ContrastiveLoss()),
}
