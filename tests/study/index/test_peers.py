"""Peers are registered, and what does not answer as a peer does is told by its name."""

import numpy as np
import pytest
from random_features import NAMES, unit

import vsa
from vsa.runtime.errors import InputError
from vsa.study.index.benchmark import make_items
from vsa.study.index.method import Method
from vsa.study.index.peers import PEERS, SCALABLE, build_peer
from vsa.study.simulate.growth import make_growth


@pytest.fixture(scope="module")
def items():
    rng = np.random.default_rng(0)
    growth = make_growth(unit(rng, 100), rng.choice(NAMES, 100), 0)
    return make_items(growth, 200, 0)[0]


def registered(monkeypatch, make):
    monkeypatch.setitem(PEERS._entries, "odd", make)
    monkeypatch.setitem(PEERS._versions, "odd", 1)


def answering(search, settings=({},), ranks_by="features"):
    return lambda items: Method(search, list(settings), 1.0, ranks_by)


def test_ours_are_registered_by_the_names_they_are_shown_by(items):
    assert vsa.peers is PEERS
    assert set(PEERS) >= SCALABLE
    for name in PEERS:
        assert build_peer(name, items).name == name


def test_a_misspelt_peer_is_answered_with_the_nearest(items):
    with pytest.raises(InputError, match="Did you mean usearch, b1"):
        build_peer("usearch b1", items)


def test_what_cannot_be_called_is_not_registered():
    with pytest.raises(InputError, match="cannot be called"):
        PEERS.register("mine", 3)
    assert "mine" not in PEERS


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda items: None, "was built as NoneType"),
        (answering(lambda f, c, k, s: np.arange(k), settings=()), "no settings"),
        (answering(lambda f, c, k, s: np.arange(k), ranks_by="luck"), "ranks by 'luck'"),
        (answering(lambda f, c, k, s: list(range(k))), "answers with list"),
        (answering(lambda f, c, k, s: np.zeros(k)), "not with k whole numbers"),
        (answering(lambda f, c, k, s: np.arange(k)[None]), "not with k whole numbers"),
        (answering(lambda f, c, k, s: np.arange(k + 1)), "more than k ids"),
        (answering(lambda f, c, k, s: np.array([200])), "ids that no item has"),
        (answering(lambda f, c, k, s: np.array([-2])), "ids that no item has"),
    ],
)
def test_a_peer_that_does_not_answer_is_told_by_its_name(items, monkeypatch, make, text):
    registered(monkeypatch, make)
    with pytest.raises(InputError, match=f"index peer 'odd' .*{text}"):
        build_peer("odd", items)
