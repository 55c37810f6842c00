"""Triplet losses over a mini-batch of m triplets (paper section 3.2), and published baselines.

Features have unit length, so L2 distances lie in [0, 2]. Triplet i of a batch is (query i, clicked
image i, not clicked image i). The paper's loss comes in three steps, each of which can be had
alone so that it can be judged:

- "own negatives": [L2(q, q⁺) − L2(q, q⁻) + δ]₊, each query with its own negative: m terms;
- "shared negatives": each query with the negatives of all triplets: m² terms, averaged together;
- "paper": the same terms, averaged over the negatives of a query, then over queries:
  1/|Q| Σ_q 1/|N_q| Σ_{q⁻ ∈ N_q} [·]₊.

The baselines are pytorch-metric-learning's: semi-hard triplets (FaceNet), N-pair,
multi-similarity and contrastive. One of your own: docs/extending.md.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import relu

from vsa.runtime.errors import InputError
from vsa.runtime.extras import missing_explained
from vsa.runtime.registry import Registry


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
    active_share: float = float("nan")  # NaN: not known


LossFunction = Callable[[TripletBatch, float], Loss | Tensor]
PAPER = "paper"


def _check(name: str, function: LossFunction) -> None:
    if callable(function):
        try:
            inspect.signature(function).bind(None, 0.0)
            return
        except TypeError:
            pass
        except ValueError:  # of some built-in functions nothing is known
            return
    raise InputError(
        f"{name!r} is no loss: it cannot be called with a batch and a margin",
        cure="Register a function of (batch: TripletBatch, margin: float)",
    )


LOSSES: Registry[LossFunction] = Registry("loss", "losses", _check)


def evaluate(name: str, batch: TripletBatch, margin: float) -> Loss:
    """The loss of that name.

    Raises InputError, with its name, for one of somebody else's that fails, gives no single number,
    is not finite though the features are, or does not depend on them.
    """
    function = LOSSES[name]
    if LOSSES.is_own(name):
        return _as_loss(function(batch, margin))
    try:
        found = _as_loss(function(batch, margin))
    except InputError:
        raise
    except Exception as error:
        raise InputError(
            f"the loss {name!r} fails ({type(error).__name__}: {error})", cure="Mend it"
        ) from error
    if trouble := _trouble(found.value, batch):
        raise InputError(f"the loss {name!r} {trouble[0]}", cure=trouble[1])
    return found


def _as_loss(found: Loss | Tensor) -> Loss:
    if not isinstance(found, Loss):
        return Loss(found)
    return Loss(found.value, float(found.active_share))


def _trouble(value: object, batch: TripletBatch) -> tuple[str, str] | None:
    """What is wrong with the value of somebody's loss, and the cure."""
    if not isinstance(value, Tensor) or value.numel() != 1:
        kind = type(value).__name__
        what = f"a tensor of shape {tuple(value.shape)}" if isinstance(value, Tensor) else kind
        return f"gives {what}, not one number", "Return a tensor of one number, such as a mean"
    features = (batch.query, batch.positive, batch.negative)
    if not value.isfinite().all() and all(part.isfinite().all() for part in features):
        return f"is {value.item()}, though all features are finite", (
            "Keep it from dividing by zero, and roots and logarithms off zero"
        )
    if not value.requires_grad and any(part.requires_grad for part in features):
        return "does not depend on the features, so that nothing can be learned from it", (
            "Compute it from batch.query, batch.positive and batch.negative, without detaching them"
        )
    return None


def l2(a: Tensor, b: Tensor) -> Tensor:
    """Euclidean distance of unit vectors along the last dimension, in [0, 2].

    Kept off zero, where its gradient is not finite.
    """
    return (2 - 2 * (a * b).sum(dim=-1)).clamp_min(1e-6).sqrt()


@LOSSES.register("own negatives")
def own_negatives(batch: TripletBatch, margin: float) -> Loss:
    """Mean over the m triplets of [L2(q, q⁺) − L2(q, q⁻) + δ]₊ (the paper's triplet loss)."""
    terms = relu(l2(batch.query, batch.positive) - l2(batch.query, batch.negative) + margin)
    return Loss(terms.mean(), float((terms > 0).float().mean()))


@LOSSES.register("shared negatives")
def shared_negatives(batch: TripletBatch, margin: float) -> Loss:
    """Mean over all allowed pairs of a triplet and a negative of the batch: up to m² terms."""
    terms, allowed = _shared_terms(batch, margin)
    n_terms = allowed.sum().clamp_min(1)
    return Loss(terms.sum() / n_terms, float((terms > 0).sum() / n_terms))


@LOSSES.register(PAPER)
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


# Published ones: pytorch-metric-learning is slow to import, so it is when one of them is used ----


def _published(loss: Callable, miner: Callable | None, batch: TripletBatch) -> Loss:
    """A loss of pytorch-metric-learning: query and clicked image are one class, each not clicked
    image a class of its own.
    """
    features = torch.cat([batch.query, batch.positive, batch.negative])
    m = len(batch.query_ids)
    alone = torch.arange(m, device=features.device) + batch.query_ids.max() + 1
    labels = torch.cat([batch.query_ids, batch.query_ids, alone])
    pairs = miner(features, labels) if miner else None
    value = loss(features, labels, pairs)
    return Loss(value, float("nan") if pairs is None else len(pairs[0]) / m)


@cache
def _made(kind: str, name: str, **options: Any) -> Callable:
    with missing_explained():
        import pytorch_metric_learning.losses
        import pytorch_metric_learning.miners

    return getattr(getattr(pytorch_metric_learning, kind), name)(**options)


@LOSSES.register("semi-hard")
def semi_hard(batch: TripletBatch, margin: float) -> Loss:
    """FaceNet's: triplets whose negative is farther than the positive, by less than the margin."""
    miner = _made("miners", "TripletMarginMiner", margin=margin, type_of_triplets="semihard")
    return _published(_made("losses", "TripletMarginLoss", margin=margin), miner, batch)


@LOSSES.register("N-pair")
def n_pair(batch: TripletBatch, margin: float) -> Loss:
    """Sohn's (2016); it has no margin."""
    return _published(_made("losses", "NPairsLoss"), None, batch)


@LOSSES.register("multi-similarity")
def multi_similarity(batch: TripletBatch, margin: float) -> Loss:
    """Wang et al.'s (2019), with margins of its own."""
    return _published(_made("losses", "MultiSimilarityLoss"), None, batch)


@LOSSES.register("contrastive")
def contrastive(batch: TripletBatch, margin: float) -> Loss:
    """Hadsell et al.'s (2006), with margins of its own."""
    return _published(_made("losses", "ContrastiveLoss"), None, batch)
