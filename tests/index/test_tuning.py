"""The parameters are the least that reach a recall."""

from dataclasses import replace

import numpy as np
import pytest
from random_features import unit

from vsa.index.build import build_index
from vsa.index.codec import CODECS
from vsa.index.index import Index
from vsa.index.request import SearchParams
from vsa.index.tuning import bytes_read, choose_params, exact_similarities, try_params
from vsa.runtime.errors import InputError


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tuning") / "index"
    build_index(folder, unit(np.random.default_rng(0), 3000), n_bits=64)
    with Index.open(folder, writable=True) as index:
        index.remove(np.arange(0, 3000, 3))
        index.add(unit(np.random.default_rng(1), 100), np.arange(5000, 5100))
        yield index


def test_exact_similarities_are_those_of_all_live_items(index, monkeypatch):
    monkeypatch.setattr("vsa.index.tuning._CHUNK_ROWS", 64)
    queries = unit(np.random.default_rng(2), 7)
    exact = exact_similarities(index, queries, 9)
    for row, query in enumerate(queries):
        hits = index.search_one(query, 9, params=SearchParams(10**6, 10**6))
        np.testing.assert_allclose(exact[row], hits.similarity, atol=1e-6)
    assert np.isinf(exact_similarities(index, queries[:1], 2200)[0, 2100:]).all()


@pytest.mark.parametrize("recall", [0.5, 0.9, 0.99])
def test_the_chosen_parameters_reach_the_recall_on_other_queries(index, recall):
    chosen = choose_params(index, unit(np.random.default_rng(3), 60), recall, k=10)
    assert chosen.recall >= recall
    others = unit(np.random.default_rng(4), 60)
    again = try_params(index, others, exact_similarities(index, others, 10), chosen.params)
    assert again.recall >= recall - 0.07
    assert chosen.params.n_probe < len(index.model.lists) or recall > 0.9


def test_less_recall_costs_less(index):
    queries = unit(np.random.default_rng(3), 60)
    low, high = (choose_params(index, queries, recall, k=10).params for recall in (0.5, 0.99))
    assert low.n_probe * low.n_candidates < high.n_probe * high.n_candidates


@pytest.mark.parametrize("recall", [0, 1.2])
def test_a_recall_is_a_share(index, recall):
    with pytest.raises(InputError, match="cannot be wanted"):
        choose_params(index, unit(np.random.default_rng(3), 3), recall)


def test_the_parameters_do_not_depend_on_how_busy_the_machine_is(index, monkeypatch):
    import time

    queries = unit(np.random.default_rng(3), 30)
    quiet = choose_params(index, queries, 0.9, k=10)
    rng, candidates = np.random.default_rng(0), index.candidates

    def now_and_then_slow(*asked):
        time.sleep(0.001 * rng.random())
        return candidates(*asked)

    monkeypatch.setattr(index, "candidates", now_and_then_slow)
    assert choose_params(index, queries, 0.9, k=10) == quiet


def test_what_a_query_reads_grows_with_lists_and_candidates(index):
    n_lists = len(index.model.lists)
    whole = bytes_read(index, SearchParams(n_lists, len(index)))
    of_centroids = n_lists * 4 * index.dim
    assert whole == pytest.approx(len(index) * (16 + 2 * index.dim) + of_centroids)
    assert bytes_read(index, SearchParams(2 * n_lists, 10**6)) == whole
    assert bytes_read(index, SearchParams(1, 60)) < bytes_read(index, SearchParams(2, 60)) < whole


def test_the_candidates_are_the_fewest_that_suffice(index):
    queries = unit(np.random.default_rng(5), 60)
    chosen = choose_params(index, queries, 0.9, k=10)
    exact = exact_similarities(index, queries, 10)
    fewer = replace(chosen.params, n_candidates=round(0.9 * chosen.params.n_candidates))
    assert try_params(index, queries, exact, fewer).recall < 0.9 <= chosen.recall


def test_a_codec_of_bits_alone_is_searched_by_hamming_distance():
    class Signs:
        n_bits, dim = 64, 64

        def encode(self, features):
            return np.packbits(features > 0, axis=1)

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(CODECS._entries, "signs", lambda *_, labels=None: Signs())
        patch.setitem(CODECS._versions, "signs", 1)
        index = Index(64, "signs", 64)
        items = unit(np.random.default_rng(0), 500, 64)
        index.train(items)
    index.add(items)
    chosen = choose_params(index, unit(np.random.default_rng(1), 20, 64), 0.9, k=10)
    assert chosen.params.distance == "hamming"
    few = [SearchParams(4, 40, distance) for distance in ("hamming", "asymmetric")]
    found = [index.search(items[:9], 10, params)[1] for params in few]
    np.testing.assert_array_equal(*found)  # all bits weigh the same
