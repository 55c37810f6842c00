"""Many searches at once: batches, client threads, shards, and searches beside a writer.

    python benchmarks/traffic.py --items 1000000 --folder made

Every figure is a ratio of sides that take turns within one run. What a second thread gives also
depends on what else the machine does meanwhile, so threads that only compute take their turns, too.
Items are made, and kept in the folder; nothing is made anew that is there.
"""

from __future__ import annotations

import argparse
import hashlib
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import vsa  # noqa: F401 (before faiss, whose threads then wait as the product's do)

# isort: split
import faiss
import numpy as np

from vsa.index.build import build_index, n_lists_for
from vsa.index.index import Index
from vsa.index.request import SearchParams
from vsa.index.shards import ShardedIndex, build_shards
from vsa.index.tuning import choose_params, exact_similarities
from vsa.metrics import linear_recall_at_k
from vsa.runtime.seeds import generator
from vsa.study.index.method import grid
from vsa.study.index.timing import K, one_thread
from vsa.study.index.traffic import throughput, update_traffic
from vsa.study.simulate.growth import Growth, make_growth

RECALL = 0.99
BATCH, N_SHARDS = 64, 4
DIM, N_BITS = 128, 256
N_CATEGORIES, N_PRODUCTS, N_PICTURES = 14, 3000, 20_000
N_VALIDATION, N_QUERIES = 200, 2000
ROUNDS, SECONDS = 5, 1.0  # of each side
PEER = f"RR{DIM},IVF{{}}_HNSW32,RaBitQfs,Refine(SQfp16)"
Sides = dict[str, Callable[[], float]]


def made(n_pictures: int) -> tuple[Growth, np.ndarray]:
    """A catalogue to grow, of categories and products in 12 dimensions each; other pictures."""
    rng = generator(0, "traffic")

    def unit(x: np.ndarray) -> np.ndarray:
        return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)

    category = rng.integers(0, N_CATEGORIES, N_PRODUCTS)
    centres = unit(rng.standard_normal((N_CATEGORIES, DIM)))[category]
    products = unit(centres + unit(rng.standard_normal((N_PRODUCTS, DIM))))
    directions = rng.standard_normal((N_PRODUCTS, 12, DIM), np.float32) / np.sqrt(DIM)
    product = rng.integers(0, N_PRODUCTS, n_pictures + N_VALIDATION + N_QUERIES)
    moved = rng.standard_normal((len(product), 12), np.float32)
    features = products[product] + 0.22 * np.einsum("nk,nkd->nd", moved, directions[product])
    features = unit(features + 0.02 * rng.standard_normal(features.shape))
    names = category[product[:n_pictures]].astype(str)
    return make_growth(features[:n_pictures], names, 0), features[n_pictures:]


def in_turns(title: str, sides: Sides) -> dict[str, float]:
    """Median rate of each side; prints what each is of the first, in the same round."""
    rates = {name: [] for name in sides}
    for _ in range(ROUNDS):
        for name, side in sides.items():
            rates[name].append(side())
    (first, base), *_ = rates.items()
    print(f"{title}: {first} {np.median(base):,.0f}/s", flush=True)
    for name, found in list(rates.items())[1:]:
        ratio = float(np.median(np.divide(found, base)))
        print(f"    {name} {np.median(found):,.0f}/s, {ratio:.2f} ×", flush=True)
    return {name: float(np.median(found)) for name, found in rates.items()}


def repeated(call: Callable[[np.ndarray], object], queries: np.ndarray) -> Callable[[], float]:
    """Queries a second of calls for `BATCH` of them."""

    def side() -> float:
        start, n = time.perf_counter(), 0
        while (spent := time.perf_counter() - start) < SECONDS:
            first = n % (len(queries) - BATCH)
            call(queries[first : first + BATCH])
            n += BATCH
        return n / spent

    return side


def batches(index: Index, params: SearchParams, queries: np.ndarray, peer: faiss.Index) -> None:
    """Batches on two threads, against faiss's."""
    faiss.omp_set_num_threads(2)
    sides = {
        "faiss": repeated(lambda batch: peer.search(batch, K), queries),
        "vsa": repeated(lambda batch: index.search(batch, K, params, n_threads=2), queries),
    }
    in_turns(f"batches of {BATCH} on 2 threads", sides)


def tuned_peer(folder: Path, index: Index, validation: np.ndarray) -> faiss.Index:
    """RaBitQ in lists, at the setting that is fastest in batches of those with the recall."""
    path = folder / "peer.faiss"
    if not path.is_file():
        features = index.current().base.features
        peer = faiss.index_factory(
            DIM, PEER.format(n_lists_for(len(index))), faiss.METRIC_INNER_PRODUCT
        )
        chosen = generator(0, "peer").choice(
            len(features), min(len(features), 64 * n_lists_for(len(index))), replace=False
        )
        peer.train(features[np.sort(chosen)].astype(np.float32))
        for start in range(0, len(features), 2**18):
            peer.add(features[start : start + 2**18].astype(np.float32))
        faiss.write_index(peer, str(path))
    peer = faiss.read_index(str(path))
    lists, reached = faiss.extract_index_ivf(peer), []
    exact = exact_similarities(index, validation, K)
    for setting in grid(nprobe=(8, 16, 32, 64, 128), k_factor=(4, 8, 16, 32)):
        lists.nprobe, peer.k_factor = setting["nprobe"], setting["k_factor"]
        start = time.process_time()
        found, _ = peer.search(validation, K)
        spent = time.process_time() - start
        if linear_recall_at_k(found, exact).mean() >= RECALL:
            reached.append((spent, setting))
    _, setting = min(reached, key=lambda pair: pair[0])
    lists.nprobe, peer.k_factor = setting["nprobe"], setting["k_factor"]
    print(f"faiss: {setting}")
    return peer


def clients(index: Index, params: SearchParams, queries: np.ndarray) -> None:
    """Two client threads, against one; and what two threads gain that only compute."""
    block = bytes(2**18)

    def search(n: int) -> Callable[[], float]:
        return lambda: throughput(
            lambda query: index.search_one(query, K, params), queries, n, SECONDS
        )

    def compute(n: int) -> Callable[[], float]:
        return lambda: throughput(lambda _: hashlib.sha256(block), queries, n, SECONDS)

    asked = in_turns("searches", {f"{n} client": search(n) for n in (1, 2)})
    spun = in_turns("only computing", {f"{n} thread": compute(n) for n in (1, 2)})
    gains = [rates[two] / rates[one] for rates in (asked, spun) for one, two in [tuple(rates)]]
    print(f"    a second client gives {gains[0] / gains[1]:.2f} of what a second thread can")


def shards(one: Index, many: ShardedIndex, params: SearchParams, queries: np.ndarray) -> None:
    """Four shards of one process, against one index."""

    def search(searcher: Index | ShardedIndex, n: int) -> Callable[[], float]:
        return lambda: throughput(
            lambda query: searcher.search_one(query, K, params), queries, n, SECONDS
        )

    for n in (1, 2):
        sides = {"one index": search(one, n), f"{N_SHARDS} shards": search(many, n)}
        in_turns(f"shards, {n} client", sides)


def adding(folder: Path, growth: Growth, queries: np.ndarray) -> None:
    """Searches beside another process that adds durably, 256 items at a time."""
    features, _ = growth.draw(10**6, 2**16)
    with TemporaryDirectory(dir=folder.parent) as place:
        copied = shutil.copytree(folder, Path(place) / "index")
        loads = update_traffic(copied, features, queries, 5 * SECONDS, [0, 5000, np.inf])
    for load in loads:
        print(
            f"adding, {load.name}: {load.adds_per_s:,.0f}/s; search p50 {load.p50_ms:.2f} ms, "
            f"p95 {load.p95_ms:.2f} ms, {load.p95_ms / loads[0].p95_ms:.2f} × idle",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--only", choices=("batches", "clients", "shards", "adding"))
    arguments = parser.parse_args()
    folder, only = arguments.folder, arguments.only
    growth, asked = made(N_PICTURES)
    validation, queries = asked[:N_VALIDATION], asked[N_VALIDATION:]
    if not (folder / "many").is_dir():
        features, names = growth.catalogue(arguments.items)
        build_shards(folder / "many", N_SHARDS, features, categories=names, n_bits=N_BITS)
        with Index.open(folder / "many" / "shard-00") as first:
            build_index(folder / "one", features, categories=names, model=first.model)
    if only in (None, "adding"):
        adding(folder / "one", growth, queries)
    if only == "adding":
        return
    with one_thread(), Index.open(folder / "one") as index:
        params = choose_params(index, validation, RECALL, K).params
        print(f"{len(index):,} items; {params}")
        if only in (None, "clients"):
            clients(index, params, queries)
        if only in (None, "batches"):
            batches(index, params, queries, tuned_peer(folder, index, validation))
        if only in (None, "shards"):
            many = ShardedIndex.open(folder / "many")
            shards(index, many, params, queries)
            many.close()


if __name__ == "__main__":
    main()
