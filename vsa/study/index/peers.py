"""The index and its peers from faiss and usearch, behind one call: a query in, ids out.

All get the same items and codes and, where they take lists, as many of these. Each is asked with a
range of settings, from cheap to thorough, which goes on where it does not suffice (`grids`).

More are registered in `PEERS`, which is `vsa.peers`: see docs/extending.md.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from vsa.index.index import Index
from vsa.index.request import DISTANCES, SearchParams
from vsa.index.tuning import bytes_read
from vsa.runtime.errors import InputError
from vsa.runtime.registry import Registry
from vsa.study.index.code_peers import (
    binary_flat,
    binary_hnsw,
    binary_ivf,
    binary_ivf_hnsw,
    binary_multihash,
)
from vsa.study.index.feature_peers import flat, ivf_pq, ivf_rabitq
from vsa.study.index.graphs import usearch_codes, usearch_features
from vsa.study.index.grids import FACTORS, N_PROBE
from vsa.study.index.method import Items, Method, Setting, grid
from vsa.study.index.timing import K

ENGINE, COARSE = "vsa", "vsa, coarse filter alone"
LINEAR, IVF, FLOAT = "faiss BinaryFlat", "faiss BinaryIVF", "faiss Flat"
_N_ASKED = 10
_N_CANDIDATES = [factor * K for factor in FACTORS]


def engine(index: Index) -> Method:
    """The index of this package: candidates by code, ranked by feature.

    It is tried at as many lists and candidates as peers that keep lists of features are.
    """

    def search(feature: np.ndarray, code: np.ndarray, k: int, s: Setting) -> np.ndarray:
        del code
        return index.search_one(feature, k, SearchParams(**s)).ids

    def n_bytes(setting: Setting) -> float:
        return bytes_read(index, SearchParams(**setting))

    settings = grid(n_probe=N_PROBE, n_candidates=_N_CANDIDATES, distance=DISTANCES)
    return Method(
        search,
        sorted(settings, key=n_bytes),
        _of_codes_and_lists(index),
        "features",
        ENGINE,
        most={"n_probe": len(index.model.lists), "n_candidates": len(index)},
    )


def coarse_filter(index: Index) -> Method:
    """The first half of it: candidates by Hamming distance (paper section 3.3), not refined.

    The index's codes must be those of features, as a scan of all codes has them.
    """

    def search(feature: np.ndarray, code: np.ndarray, k: int, s: Setting) -> np.ndarray:
        del code
        params = SearchParams(s["n_probe"], k, "hamming")
        return index.candidates(feature, params, refined=False).ids

    settings = grid(n_probe=N_PROBE)
    most = {"n_probe": len(index.model.lists)}
    return Method(search, settings, _of_codes_and_lists(index), "codes", COARSE, most)


def _of_codes_and_lists(index: Index) -> float:
    lists, n = index.model.lists, max(1, len(index))
    return 8 * index.model.n_words + (lists.centroids.nbytes + lists.codes.nbytes) / n


# Registered ------------------------------------------------------------------------------------

MakePeer = Callable[[Items], Method]


def _check_entry(name: str, entry: MakePeer) -> None:
    if not callable(entry):
        raise InputError(
            f"the index peer {name!r} cannot be called", cure="Register a function of Items"
        )


PEERS: Registry[MakePeer] = Registry("index peer", "peers", _check_entry)
PEERS.register(LINEAR, binary_flat)
PEERS.register(IVF, binary_ivf)
PEERS.register("faiss BinaryIVF, HNSW", binary_ivf_hnsw)
PEERS.register("faiss BinaryHNSW", binary_hnsw)
PEERS.register("faiss BinaryMultiHash", binary_multihash)
PEERS.register("usearch, b1", usearch_codes)
PEERS.register("faiss IVF, RaBitQ, fp16", ivf_rabitq("Refine(SQfp16)", quantizer=""))
PEERS.register("faiss IVF-HNSW, RaBitQ, fp16", ivf_rabitq("Refine(SQfp16)"))
PEERS.register("faiss IVF-HNSW, RaBitQ, SQ8", ivf_rabitq("Refine(SQ8)"))
PEERS.register("faiss IVF-HNSW, RaBitQ FastScan, fp16", ivf_rabitq("Refine(SQfp16)", "RaBitQfs"))
PEERS.register("faiss IVF-HNSW, PQ FastScan, float", ivf_pq)
PEERS.register(FLOAT, flat)
PEERS.register("usearch, f16", usearch_features("f16"))
PEERS.register("usearch, i8", usearch_features("i8"))

# Others are left out of large catalogues: graphs, which take minutes to build and most memory, and
# what at a hundred thousand items is slower than one of its kind that stays, as RaBitQ FastScan is.
SCALABLE = {
    LINEAR,
    IVF,
    "faiss BinaryIVF, HNSW",
    "faiss IVF-HNSW, RaBitQ, fp16",
    "faiss IVF-HNSW, PQ FastScan, float",
}


def build_peer(name: str, items: Items) -> Method:
    """Build a registered peer, and ask it once.

    Raises InputError for a name that nobody registered, and for a peer that does not answer as it
    should.
    """
    made = PEERS[name](items)
    if not isinstance(made, Method):
        raise _wrong(name, f"was built as {type(made).__name__}")
    if made.ranks_by not in ("codes", "features"):
        raise _wrong(name, f"ranks by {made.ranks_by!r}, which is neither codes nor features")
    if not made.settings:
        raise _wrong(name, "has no settings, not even an empty one")
    feature, code = items.features[0].astype(np.float32), items.codes[0]
    ids = made.search(feature, code, _N_ASKED, made.settings[0])
    if not isinstance(ids, np.ndarray) or ids.ndim != 1 or ids.dtype.kind not in "iu":
        found = f"{ids.dtype} {ids.shape}" if isinstance(ids, np.ndarray) else type(ids).__name__
        raise _wrong(name, f"answers with {found} and not with k whole numbers")
    if len(ids) > _N_ASKED or not ((ids >= -1) & (ids < len(items.features))).all():
        raise _wrong(name, f"answers with more than k ids, or with ids that no item has: {ids}")
    return replace(made, name=name)


def _wrong(name: str, problem: str) -> InputError:
    return InputError(
        f"the index peer {name!r} {problem}",
        cure="Return a vsa.study.index.method.Method, whose search returns at most k ids",
    )
