"""What a search finds: candidates that pass the coarse filter, and the best of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from vsa.index.lists import nearest
from vsa.index.view import View


@dataclass(frozen=True)
class Candidates:
    """Items that passed the coarse filter, in no order."""

    ids: np.ndarray  # int64 (n,)
    hamming: np.ndarray  # int32 (n,), to the query's code
    similarity: np.ndarray  # float32 (n,), inner products with the query


@dataclass(frozen=True)
class Hits:
    """What was found, best first."""

    ids: np.ndarray  # int64 (n,), n ≤ k
    similarity: np.ndarray  # float32 (n,)
    missing_shards: tuple[int, ...] = ()  # shards that did not answer: the result is partial

    @property
    def is_partial(self) -> bool:
        """Whether a part of the catalogue was not searched."""
        return bool(self.missing_shards)


def passing(
    view: View,
    features: np.ndarray,
    n_candidates: int,
    n_probe: int,
    categories: np.ndarray | None,
) -> Iterator[Candidates]:
    """What passes the coarse filter, for one query after the other, float16 (n, d).

    `categories` are codes, int64; None for all. See `vsa.index.index.Index.candidates`.
    """
    codec, lists = view.model.codec, view.model.lists
    for query, code in zip(features.astype(np.float32), codec.encode(features), strict=True):
        scan = view.scan(code, lists.probe(query, code, n_probe, categories))
        chosen = nearest(scan.distances, n_candidates)
        ids, stored = scan.items(chosen)
        # torch converts float16 eight times as fast as numpy
        exact = torch.from_numpy(stored).float().numpy()
        # einsum: unlike BLAS, a row's sum does not depend on the rows beside it
        similarity = np.einsum("nd,d->n", exact, query)
        yield Candidates(ids, scan.distances[chosen], similarity)


def best(parts: Sequence[Candidates], k: int, n_candidates: int) -> Hits:
    """The `k` most similar of the `n_candidates` nearest by Hamming distance.

    Ties, of either, go to the lower id, so the result depends neither on how the catalogue is cut
    into `parts` nor on how much of it is in a base.
    """
    ids = np.concatenate([part.ids for part in parts])
    similarity = np.concatenate([part.similarity for part in parts])
    if len(ids) > n_candidates:
        distances = np.concatenate([part.hamming for part in parts])
        last = np.partition(distances, n_candidates - 1)[n_candidates - 1]
        inside, ties = np.flatnonzero(distances < last), np.flatnonzero(distances == last)
        ties = ties[np.argsort(ids[ties])[: n_candidates - len(inside)]]
        chosen = np.concatenate([inside, ties])
        ids, similarity = ids[chosen], similarity[chosen]
    if len(ids) > k:
        chosen = np.flatnonzero(similarity >= np.partition(similarity, -k)[-k])
        ids, similarity = ids[chosen], similarity[chosen]
    order = np.lexsort((ids, -similarity))[:k]
    return Hits(ids[order], similarity[order])
