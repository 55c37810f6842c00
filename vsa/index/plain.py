"""The search in numpy: what `vsa.index.kernel` computes, for reading, and where numba cannot.

Slow, and equal to the last bit; the tests compare both on many shapes. An item differs from a query
in some bits of its code: `hamming` counts them (paper section 3.3), `weighted` lets each count for
as much as the query is away from the plane that the bit is about, which tells more for the same
code.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vsa.index.view import Arrays

_LANES = 16  # sums of an inner product, added up in pairs at its end
N_STEPS = 4096  # of similarity, from a query's with itself down to none


def hamming(code: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """How many bits differ, int64 (n,), of a code (b,) and codes (n, b), all unsigned integers."""
    return np.bitwise_count(codes ^ code).sum(axis=1, dtype=np.int64)


def weights_of(values: np.ndarray) -> np.ndarray:
    """What each bit weighs, int64 (n_bits,), by the projected values of a query, float64 (n_bits,).

    1, 3, … or 15, in eight steps up to the largest value.
    """
    largest = np.abs(values).max()
    step = largest / 8 if largest > 0 else 1.0
    return 1 + 2 * np.minimum((np.abs(values) / step).astype(np.int64), 7)


def weighted(code: np.ndarray, codes: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """As `hamming`, each bit by its weight; codes are packed, uint8 (n, n_bits / 8)."""
    return np.unpackbits(codes ^ code, axis=1).astype(np.int64) @ weights


def inner_products(features: np.ndarray, query: np.ndarray) -> np.ndarray:
    """Of rows, float16 or float32 (n, d), and a query, float32 (d,), in the kernel's order."""
    return _summed(features.astype(np.float32) * query) + np.float32(0)  # −0 is 0


def projected(arrays: Arrays, query: np.ndarray) -> np.ndarray:
    """What the codec's map makes of a query, float64 (n_bits,), in the kernel's order."""
    return _summed(arrays.weight.astype(np.float64) * query) + arrays.bias


def _summed(products: np.ndarray) -> np.ndarray:
    """Sums of rows (n, d), of their own type, in the kernel's order."""
    n, d = products.shape
    whole = d - d % _LANES
    sums, rest = np.zeros((n, _LANES), products.dtype), np.zeros(n, products.dtype)
    for start in range(0, whole, _LANES):
        sums += products[:, start : start + _LANES]
    for place in range(whole, d):
        rest += products[:, place]
    while sums.shape[1] > 1:
        half = sums.shape[1] // 2
        sums = sums[:, :half] + sums[:, half:]
    return sums[:, 0] + rest


def distances(
    arrays: Arrays,
    query: np.ndarray,
    values: np.ndarray,
    words: np.ndarray,
    lists: np.ndarray,
    is_weighted: bool,
) -> np.ndarray:
    """How far items in some lists are from a query, int64 (n,): `words` stand for them.

    Where codes are of differences from the lists' centroids, that is estimated, in steps of
    similarity, of which there are `N_STEPS` from the query's with itself down to none.
    """
    n_words = len(values) // 64
    has_factors = words.shape[1] > n_words
    values = values - arrays.bias if has_factors else values
    weights = weights_of(values) if is_weighted else np.ones(len(values), np.int64)
    codes = np.ascontiguousarray(words[:, :n_words]).view(np.uint8)
    differ = weighted(np.packbits(values > 0), codes, weights)
    if not has_factors:
        return differ
    sizes = np.abs(values)
    size = sizes.max() / 16 if is_weighted else np.cumsum(sizes)[-1] / len(sizes)
    own = float(inner_products(query[None], query)[0])
    step = own / N_STEPS if own > 0 else 1.0
    near = inner_products(arrays.centroids, query).astype(np.float64)[lists]
    f, g = words[:, n_words].copy().view(np.float32).reshape(-1, 2).astype(np.float64).T
    known = (own - near) / step - g * (near / step)
    steps = known - f * (2 * size / step * (weights.sum() / 2 - differ))
    return np.clip(steps, 0, N_STEPS).astype(np.int64)


def probed(
    arrays: Arrays,
    query: np.ndarray,
    code: np.ndarray,
    weights: np.ndarray,
    ranges: np.ndarray,
    n_probe: int,
    n_short: int,
) -> np.ndarray:
    """The most similar lists within ranges of their numbers, int64 (≤ n_probe,).

    Of all lists, `n_short` near by code are compared by feature.
    """
    visited = np.concatenate([np.arange(*pair) for pair in ranges])
    if len(visited) > n_short:
        codes = np.ascontiguousarray(arrays.centroid_codes.T[visited]).view(np.uint8)
        near = weighted(code, codes, weights)
        visited = visited[np.lexsort((visited, near))[:n_short]]
    if len(visited) > n_probe:
        near = inner_products(arrays.centroids[visited], query)
        visited = visited[np.lexsort((visited, -near))[:n_probe]]
    return visited


def search(
    views: Sequence[Arrays],
    queries: np.ndarray,
    values: np.ndarray,
    is_weighted: bool,
    ranges: np.ndarray,
    n_probe: int,
    n_short: int,
    n_candidates: int,
    refined: bool,
    ids: np.ndarray,
    similarity: np.ndarray,
    distance: np.ndarray,
) -> None:
    """As `vsa.index.kernel.search`, query by query, of the arrays of views."""
    names, words, features, lists = map(np.concatenate, zip(*map(_items, views), strict=True))
    arrays, k = views[0], ids.shape[1]
    for row, query in enumerate(queries):
        value = values[row] if len(values) else projected(arrays, query)
        code = np.packbits(value > 0)
        weights = weights_of(value) if is_weighted else np.ones(len(value), np.int64)
        visited = probed(arrays, query, code, weights, ranges, n_probe, n_short)
        inside = np.flatnonzero(np.isin(lists, visited))
        near = distances(arrays, query, value, words[inside], lists[inside], is_weighted)
        passed = np.lexsort((names[inside], near))[:n_candidates]
        inside, near = inside[passed], near[passed]
        found = inner_products(features[inside], query) if refined else -near.astype(np.float32)
        order = np.lexsort((names[inside], -found))[:k]
        ids[row, : len(order)] = names[inside[order]]
        similarity[row, : len(order)] = found[order]
        distance[row, : len(order)] = near[order]
        ids[row, len(order) :], similarity[row, len(order) :] = -1, -np.inf
        distance[row, len(order) :] = 0


def _items(arrays: Arrays) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Ids, words, features and lists of all items; −1 is the list of those that are gone."""
    n_lists = len(arrays.offsets) - 1
    in_base = np.repeat(np.arange(n_lists), np.diff(arrays.offsets))
    in_base[arrays.hidden] = -1
    live = np.full(len(arrays.live_ids), -1)
    for number, first in enumerate(arrays.live_first):
        place = first
        while place >= 0:
            if not arrays.dead[place]:
                live[place] = number
            place = arrays.live_next[place]
    features = np.concatenate([arrays.features, arrays.live_features]).view(np.float16)
    return (
        np.concatenate([arrays.ids, arrays.live_ids]),
        np.concatenate([arrays.codes.T, arrays.live_codes]),
        features,
        np.concatenate([in_base, live]),
    )
