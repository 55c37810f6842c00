"""The index and its peers from faiss and usearch, behind one call: a query in, ids out.

All get the same items and codes and, where they take lists, as many of these. Each is asked with a
range of settings, from cheap to thorough.

More are registered in `PEERS`, which is `vsa.peers`: see docs/extending.md.
"""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from usearch.index import Index as UsearchIndex

from vsa.index.index import Index
from vsa.index.model import Model
from vsa.index.request import SearchParams
from vsa.index.tuning import bytes_read
from vsa.runtime.errors import InputError
from vsa.runtime.registry import Registry
from vsa.study.index.timing import K

Setting = dict[str, int]
Search = Callable[[np.ndarray, np.ndarray, int, Setting], np.ndarray]
ENGINE, COARSE = "vsa", "vsa, coarse filter alone"
LINEAR, IVF, FLOAT = "faiss BinaryFlat", "faiss BinaryIVF", "faiss Flat"
_CHUNK_ROWS = 2**18
_N_ASKED = 10


@dataclass(frozen=True)
class Items:
    """What is indexed; item i has id i."""

    features: np.ndarray  # float16 (n, d)
    codes: np.ndarray  # uint8 (n, n_bits / 8)
    model: Model


@dataclass(frozen=True)
class Method:
    """An index that has been built.

    ``search(feature, code, k, setting)`` takes float32 (d,) and uint8 (n_bits / 8,) and returns at
    most k ids, best first; −1 stands where there are fewer.
    """

    search: Search
    settings: Sequence[Setting]  # from cheap to thorough
    bytes_per_item: float  # in memory; what stays in mapped files is not counted
    ranks_by: str  # "codes" or "features"
    name: str = ""  # a peer's is the one it is registered by


def engine(index: Index) -> Method:
    """The index of this package: candidates by code, ranked by feature."""

    def search(feature: np.ndarray, code: np.ndarray, k: int, s: Setting) -> np.ndarray:
        del code
        return index.search_one(feature, k, SearchParams(s["n_probe"], s["n_candidates"])).ids

    pairs = itertools.product((4, 8, 16, 32, 64, 128), (500, 1000, 2000, 4000))
    in_order = sorted(pairs, key=lambda pair: bytes_read(index, SearchParams(*pair)))
    settings = [{"n_probe": n_probe, "n_candidates": n} for n_probe, n in in_order]
    return Method(search, settings, _of_codes_and_lists(index), "features", ENGINE)


def coarse_filter(index: Index) -> Method:
    """The first half of it: candidates by Hamming distance, not refined."""

    def search(feature: np.ndarray, code: np.ndarray, k: int, s: Setting) -> np.ndarray:
        probed = index.model.lists.probe(feature, code, s["n_probe"])
        scan = index.current().scan(code, probed)
        return scan.nearest_ids(k)

    settings = [{"n_probe": n} for n in (1, 2, 4, 8, 16, 32, 64)]
    return Method(search, settings, _of_codes_and_lists(index), "codes", COARSE)


def _of_codes_and_lists(index: Index) -> float:
    lists, n = index.model.lists, max(1, len(index))
    return index.model.codec.n_bits / 8 + (lists.centroids.nbytes + lists.codes.nbytes) / n


def _binary(index: faiss.IndexBinary) -> Callable[[np.ndarray, int], np.ndarray]:
    return lambda code, k: index.search(code[None], k)[1][0]


def binary_flat(items: Items) -> Method:
    """The linear scan of all codes."""
    index = faiss.IndexBinaryFlat(items.model.codec.n_bits)
    index.add(items.codes)
    ask = _binary(index)
    return Method(lambda f, c, k, s: ask(c, k), [{}], _in_memory(index), "codes")


def binary_ivf(items: Items) -> Method:
    """Inverted lists around the codes of the same centroids; categories are not used."""
    lists = items.model.lists
    quantizer = faiss.IndexBinaryFlat(items.model.codec.n_bits)
    quantizer.add(lists.codes)
    index = faiss.IndexBinaryIVF(quantizer, items.model.codec.n_bits, len(lists))
    index.is_trained = True
    index.add(items.codes)
    ask = _binary(index)

    def search(feature: np.ndarray, code: np.ndarray, k: int, s: Setting) -> np.ndarray:
        del feature
        index.nprobe = min(s["nprobe"], len(lists))
        return ask(code, k)

    settings = [{"nprobe": n} for n in (1, 2, 4, 8, 16, 32, 64)]
    return Method(search, settings, _in_memory(index), "codes")


def binary_hnsw(items: Items) -> Method:
    """A graph over the codes."""
    index = faiss.IndexBinaryHNSW(items.model.codec.n_bits, 16)
    index.hnsw.efConstruction = 80
    index.add(items.codes)
    ask = _binary(index)

    def search(feature: np.ndarray, code: np.ndarray, k: int, s: Setting) -> np.ndarray:
        del feature
        index.hnsw.efSearch = s["efSearch"]
        return ask(code, k)

    settings = [{"efSearch": ef} for ef in (64, 128, 256, 512, 1024)]
    return Method(search, settings, _in_memory(index), "codes")


def binary_multihash(items: Items) -> Method:
    """Hash tables of parts of the codes, probed by flipping bits."""
    n_bits = min(24, max(8, int(np.log2(len(items.codes)))))
    index = faiss.IndexBinaryMultiHash(items.model.codec.n_bits, 8, n_bits)
    index.add(items.codes)
    ask = _binary(index)

    def search(feature: np.ndarray, code: np.ndarray, k: int, s: Setting) -> np.ndarray:
        del feature
        index.nflip = s["nflip"]
        return ask(code, k)

    return Method(
        search,
        [{"nflip": n} for n in (0, 1, 2)],
        _in_memory(index),
        "codes",
    )


def ivf_rabitq(items: Items) -> Method:
    """RaBitQ codes in inverted lists, refined by float16 features that are kept in memory."""
    n, d = items.features.shape
    n_lists = min(len(items.model.lists), max(1, n // 40))
    spec = f"RR{d},IVF{n_lists},RaBitQ,Refine(SQfp16)"  # RaBitQ counts on a random rotation
    index: Any = faiss.index_factory(d, spec, faiss.METRIC_INNER_PRODUCT)
    rng = np.random.default_rng(0)
    sample = np.sort(rng.choice(n, min(n, 64 * n_lists), replace=False))
    index.train(items.features[sample].astype(np.float32))
    for start in range(0, n, _CHUNK_ROWS):
        index.add(items.features[start : start + _CHUNK_ROWS].astype(np.float32))
    lists = faiss.extract_index_ivf(index)

    def search(feature: np.ndarray, code: np.ndarray, k: int, s: Setting) -> np.ndarray:
        del code
        lists.nprobe = min(s["nprobe"], n_lists)
        index.k_factor = s["k_factor"]
        return index.search(feature[None], k)[1][0]

    def n_bytes(pair: tuple[int, int]) -> float:
        nprobe, factor = pair
        return min(nprobe / n_lists, 1) * n * d / 8 + factor * K * 2 * d

    in_order = sorted(itertools.product((2, 4, 8, 16, 32, 64), (4, 8, 16, 32)), key=n_bytes)
    settings = [{"nprobe": nprobe, "k_factor": factor} for nprobe, factor in in_order]
    return Method(search, settings, _in_memory(index), "features")


def flat(items: Items) -> Method:
    """The linear scan of all features, in float32."""
    index = faiss.IndexFlatIP(items.features.shape[1])
    for start in range(0, len(items.features), _CHUNK_ROWS):
        index.add(items.features[start : start + _CHUNK_ROWS].astype(np.float32))
    return Method(
        lambda f, c, k, s: index.search(f[None], k)[1][0],
        [{}],
        4.0 * index.d,
        "features",
    )


def usearch_codes(items: Items) -> Method:
    """Usearch's graph over the codes."""
    index = UsearchIndex(ndim=items.model.codec.n_bits, metric="hamming", dtype="b1")
    return _usearch(index, items.codes, "codes")


def usearch_features(items: Items) -> Method:
    """Usearch's graph over float16 features."""
    index = UsearchIndex(ndim=items.features.shape[1], metric="ip", dtype="f16")
    return _usearch(index, items.features, "features")


def _usearch(index: Any, vectors: np.ndarray, ranks_by: str) -> Method:
    index.add(np.arange(len(vectors)), vectors, threads=1)  # with more, no two graphs are equal

    def search(feature: np.ndarray, code: np.ndarray, k: int, s: Setting) -> np.ndarray:
        index.expansion_search = s["expansion"]
        asked = code if ranks_by == "codes" else feature
        return index.search(asked, k, threads=1).keys.astype(np.int64)

    settings = [{"expansion": e} for e in (64, 128, 256, 512, 1024)]
    return Method(search, settings, index.serialized_length / len(vectors), ranks_by)


def _in_memory(index: faiss.Index | faiss.IndexBinary) -> float:
    """Bytes per item of an index, as its file has them."""
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "index")
        if isinstance(index, faiss.IndexBinary):
            faiss.write_index_binary(index, path)
        else:
            faiss.write_index(index, path)
        return Path(path).stat().st_size / max(1, index.ntotal)


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
PEERS.register("faiss IVF, RaBitQ, refined", ivf_rabitq)
PEERS.register("faiss BinaryHNSW", binary_hnsw)
PEERS.register("faiss BinaryMultiHash", binary_multihash)
PEERS.register(FLOAT, flat)
PEERS.register("usearch, b1", usearch_codes)
PEERS.register("usearch, f16", usearch_features)

# built in minutes at ten million items; others are left out of the large catalogues
SCALABLE = {LINEAR, IVF, "faiss IVF, RaBitQ, refined"}


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
        cure="Return a vsa.study.index.peers.Method, whose search returns at most k ids",
    )
