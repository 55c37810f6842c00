"""A linear adaptation of features that stay as they are, by the paper's loss and mining (3.2).

Some hundred products teach a network of millions of weights little but themselves: trained on them,
its features became worse than where they started. So the backbone stays as it was pretrained, each
picture is described once, and a linear map of those features is all that learns from the clicks.
It starts from principal components, divided by a power of their spread, and training averages its
weights. Power and number of steps are those that are best on validation photos.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.nn.functional import normalize
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from vsa.embedding.joint import Adaptation
from vsa.embedding.losses import TripletBatch, evaluate
from vsa.embedding.settings import EmbeddingSettings
from vsa.embedding.triplets import DrawnTriplets, TripletSource
from vsa.runtime.seeds import generator
from vsa.runtime.training import Group, fit

VERSION = 1
POWERS = (0.0, 0.5, 1.0)  # of the components' spread that they are divided by; 1: whitened
_N_LOOKS = 8  # at the validation photos, evenly over the steps
_DECAY = 0.98  # of the average of weights, per step

Judge = Callable[[Callable[[np.ndarray], np.ndarray]], float]


@dataclass(frozen=True)
class Adapted:
    """What was learned, and what the validation photos said of it on the way."""

    head: Adaptation
    log: pd.DataFrame  # as of `vsa.runtime.training.fit`
    curve: pd.DataFrame  # columns power, step, score; of training, those with steps > 0
    step: int  # of the curve: what was kept
    power: float


def adapt(
    views: Sequence[np.ndarray],
    catalogue: np.ndarray,
    source: TripletSource,
    rows: np.ndarray,
    settings: EmbeddingSettings,
    loss: str,
    seed: int,
    judge: Judge,
    *,
    starts: Mapping[float, Adaptation] | None = None,
) -> Adapted:
    """Learn a linear map of unit features from triplets; minutes of training become seconds.

    Parameters
    ----------
    views : features of the queries, float32 (n, d) of unit length each, by several looks at the
        same photos; a step takes one of them for each photo at random.
    catalogue : features of the catalogue, float32 (m, d).
    source : triplets, in rows of both.
    rows : of the queries that may be learned from, for the principal components.
    judge : function that maps features → the score of it on validation photos, higher is better.
    starts : power → where to start, as of `principal_components`, of those rows of all views and
        the whole catalogue by default.
    """
    if starts is None:
        some = np.concatenate([*(view[rows] for view in views), catalogue])
        starts = principal_components(some, settings.adapted_dim)
    scores = {power: judge(mapping(head)) for power, head in starts.items()}
    power = max(scores, key=lambda power: scores[power])
    head, steps = copy.deepcopy(starts[power]), _Steps(views, catalogue, source, settings, seed)
    average = AveragedModel(head, multi_avg_fn=get_ema_multi_avg_fn(_DECAY))
    curve = [(p, 0, score) for p, score in scores.items()]
    best = (scores[power], 0, {k: v.clone() for k, v in head.state_dict().items()})
    every = max(1, settings.n_adapt_steps // _N_LOOKS)

    def look(step: int) -> None:
        nonlocal best
        average.update_parameters(head)
        if step % every == 0:
            now = average.module
            curve.append((power, step, judge(mapping(now))))
            if curve[-1][2] > best[0]:
                kept = {k: v.clone() for k, v in now.state_dict().items()}
                best = (curve[-1][2], step, kept)

    def loss_of(
        batch: tuple[np.ndarray, DrawnTriplets], step: int
    ) -> tuple[Tensor, dict[str, float | Tensor]]:
        if step:
            look(step)
        features, drawn = batch
        mapped = normalize(head(torch.from_numpy(features)), dim=1)
        query, positive, negative = mapped.split(len(drawn.query))
        ids, allowed = torch.from_numpy(drawn.query), torch.from_numpy(drawn.allowed)
        triplets = TripletBatch(query, positive, negative, ids, allowed)
        found = evaluate(loss, triplets, settings.adapt_margin)
        return found.value, {"active_share": found.active_share}

    groups = [Group(head.parameters(), settings.adapt_learning_rate)]
    log = fit(head, groups, steps.batches, loss_of, settings.n_adapt_steps, "adapt features")
    look(settings.n_adapt_steps)
    head.load_state_dict(best[2])
    table = pd.DataFrame(curve, columns=["power", "step", "score"])
    return Adapted(head.eval(), log, table, best[1], power)


@torch.inference_mode()
def apply(head: Adaptation, features: np.ndarray) -> np.ndarray:
    """Unit features (n, d) → unit features (n, d') of the adaptation."""
    return normalize(head(torch.from_numpy(np.asarray(features, np.float32))), dim=1).numpy()


def mapping(head: Adaptation) -> Callable[[np.ndarray], np.ndarray]:
    """`apply` of one adaptation."""
    return lambda features: apply(head, features)


@dataclass(frozen=True)
class _Steps:
    """What the steps learn from."""

    views: Sequence[np.ndarray]
    catalogue: np.ndarray
    source: TripletSource
    settings: EmbeddingSettings
    seed: int

    def batches(self, first: int) -> Iterator[tuple[np.ndarray, DrawnTriplets]]:
        """Features (3m, d) of queries, positives and negatives, from step `first` on."""
        for step in range(first, self.settings.n_adapt_steps):
            drawn = self.source.draw(self.settings.n_adapt_triplets, self.seed, step)
            rng = generator(self.seed, "views", step)
            of = rng.integers(len(self.views), size=len(drawn.query))
            query = np.stack([self.views[v][q] for v, q in zip(of, drawn.query, strict=True)])
            catalogue = self.catalogue
            yield (
                np.concatenate([query, catalogue[drawn.positive], catalogue[drawn.negative]]),
                drawn,
            )


def principal_components(features: np.ndarray, dim: int) -> dict[float, Adaptation]:
    """Principal components of unit features (n, d), divided by their spread to each power."""
    dim = min(dim, *features.shape)
    middle = features.mean(axis=0)
    _, spread, axes = np.linalg.svd(features - middle, full_matrices=False)
    spread = np.maximum(spread[:dim], 1e-6 * spread[0]) / np.sqrt(len(features))
    heads = {}
    for power in POWERS:
        weight = axes[:dim] / spread[:, None] ** power
        weight /= np.linalg.norm((features - middle) @ weight.T, axis=1).mean()  # about unit length
        heads[power] = Adaptation(features.shape[1], dim)
        with torch.no_grad():
            heads[power].linear.weight.copy_(torch.from_numpy(weight))
            heads[power].linear.bias.copy_(torch.from_numpy(-weight @ middle))
    return heads
