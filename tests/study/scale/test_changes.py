"""Changes that go to a cluster and to one index alike, and a writer that does not give up."""

from __future__ import annotations

import time
from types import SimpleNamespace

import numpy as np
import pytest

from vsa.index.index import Index
from vsa.runtime.errors import InputError
from vsa.study.scale.changes import Changes, Writer
from vsa.study.simulate.growth import make_growth

D, N = 16, 300


@pytest.fixture(scope="module")
def growth():
    rng = np.random.default_rng(0)
    features = rng.standard_normal((80, D)).astype(np.float32)
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    return make_growth(features, np.repeat(["bags", "shoes"], 40), 0)


@pytest.fixture
def one(growth):
    features, categories = growth.catalogue(N)
    index = Index(D, n_bits=64)
    index.train(features, categories)
    index.add(features, categories=categories)
    return index


class Standing:
    """What stands in for a cluster: one index; every third change is refused."""

    def __init__(self, index: Index, loses: int = -1) -> None:
        self.index, self.loses, self.n_calls, self.n_puts = index, loses, 0, 0

    def put(self, features, ids, categories):
        self.n_calls += 1
        if self.n_calls % 3 == 0:
            raise InputError("the writer is away", cure="Send it again")
        self.n_puts += 1
        kept = ids != self.loses
        self.index.add(features[kept], ids[kept], categories[kept])
        return (self.n_puts,)

    def search(self, queries, k, params, categories, min_sequence):
        assert min_sequence == (self.n_puts,)  # the newest that was acknowledged
        scores, ids = self.index.search(queries, k, params, categories)
        return SimpleNamespace(scores=scores, ids=ids, missing_shards=())


def test_a_round_adds_replaces_and_removes_items_that_are_there(growth, one):
    changes = Changes(growth, N, one.categories, 0)
    before = len(one)
    for number in range(5):
        round_ = changes.draw(number)
        assert round_.n_items == 64
        assert len(np.unique(np.concatenate([round_.ids, round_.removed]))) == 64
        round_.apply_to(one)  # raises for an item that is there already, or is not
    assert len(one) == before + 5 * (32 - 16)


def test_the_writer_keeps_to_the_category_that_clients_do_not_ask_in(growth):
    changes = Changes(growth, N, ["bags", "shoes"], 0)
    assert changes.quiet == ["bags"]
    round_ = changes.apart(3)
    assert set(round_.categories) == {"shoes"}
    assert round_.ids.min() >= 2**40
    assert Changes(growth, N, [""], 0).apart(0) is None


@pytest.mark.parametrize(("loses", "n_lost"), [(-1, 0), (2**40 + 5, 1)])
def test_what_is_refused_is_sent_again_and_what_is_lost_is_counted(growth, one, loses, n_lost):
    changes = Changes(growth, N, one.categories, 0)
    with Writer(Standing(one, loses), changes.apart) as writer:
        while writer.n_acknowledged < 12:
            time.sleep(0.01)
    assert writer.lost() == n_lost
