import dataclasses
import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pytorch_metric_learning.losses import TripletMarginLoss
from torch.nn.functional import normalize

import vsa
from vsa.embedding.losses import (
    LOSSES,
    PAPER,
    TripletBatch,
    evaluate,
    l2,
    own_negatives,
    per_query,
    shared_negatives,
)
from vsa.runtime.errors import InputError

MARGIN = 0.4


def make_batch(m=5, d=6, seed=0, query_ids=None, allowed=None):
    torch.manual_seed(seed)
    query, positive, negative = (normalize(torch.randn(m, d, dtype=torch.double)) for _ in range(3))
    ids = torch.arange(m) if query_ids is None else torch.tensor(query_ids)
    mask = torch.ones(m, m, dtype=torch.bool) if allowed is None else allowed
    return TripletBatch(query, positive, negative, ids, mask)


def hinge(batch, i, j):
    to_positive = np.linalg.norm(batch.query[i] - batch.positive[i])
    to_negative = np.linalg.norm(batch.query[i] - batch.negative[j])
    return max(0.0, to_positive - to_negative + MARGIN)


def test_own_negatives_is_the_formula():
    batch = make_batch()
    expected = np.mean([hinge(batch, i, i) for i in range(5)])
    assert own_negatives(batch, MARGIN).value.item() == pytest.approx(expected)


@given(st.integers(0, 1000), st.lists(st.integers(0, 2), min_size=4, max_size=4))
@settings(max_examples=25, deadline=None)
def test_shared_and_per_query_against_brute_force(seed, query_ids):
    rng = np.random.default_rng(seed)
    allowed = torch.from_numpy(rng.random((4, 4)) < 0.7)
    batch = make_batch(4, seed=seed, query_ids=query_ids, allowed=allowed)
    pairs = [(i, j) for i, j in itertools.product(range(4), repeat=2) if allowed[i, j]]
    terms = {pair: hinge(batch, *pair) for pair in pairs}
    shared = np.mean(list(terms.values())) if terms else 0.0
    by_query = [
        np.mean([terms[pair] for pair in pairs if query_ids[pair[0]] == query])
        for query in sorted({query_ids[i] for i, _ in pairs})
    ]
    found = shared_negatives(batch, MARGIN).value.item()
    assert found == pytest.approx(shared, abs=1e-9)
    expected = np.mean(by_query) if by_query else 0.0
    assert per_query(batch, MARGIN).value.item() == pytest.approx(expected, abs=1e-9)


def test_averages_agree_where_every_query_has_as_many_terms():
    batch = make_batch()
    shared, averaged = (loss(batch, MARGIN).value for loss in (shared_negatives, per_query))
    assert torch.isclose(shared, averaged)


def test_own_negatives_agrees_with_pytorch_metric_learning():
    """One triplet at a time: that library averages over the active triplets only."""
    batch = make_batch()
    features = torch.cat([batch.query, batch.positive, batch.negative])
    theirs = TripletMarginLoss(margin=MARGIN)
    rows = torch.arange(5)[:, None]
    triplets = [(row, row + 5, row + 10) for row in rows]
    values = [theirs(features, torch.zeros(15), triplet).item() for triplet in triplets]
    assert own_negatives(batch, MARGIN).value.item() == pytest.approx(np.mean(values), rel=1e-5)


def test_nothing_active_is_zero_with_zero_gradient():
    query = make_batch().query.requires_grad_()
    ids, allowed = torch.arange(5), torch.ones(5, 5, dtype=torch.bool)
    found = own_negatives(TripletBatch(query, query.detach(), -query.detach(), ids, allowed), 0.1)
    found.value.backward()
    assert found.value.item() == found.active_share == 0
    assert not query.grad.any()


def test_no_allowed_negative_at_all():
    batch = make_batch(allowed=torch.zeros(5, 5, dtype=torch.bool))
    for loss in (shared_negatives, per_query):
        assert loss(batch, MARGIN).value.item() == 0


def test_l2_has_a_gradient_at_zero():
    a = normalize(torch.randn(3, 4)).requires_grad_()
    l2(a, a.detach()).sum().backward()
    assert torch.isfinite(a.grad).all()


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_can_be_learned_from(name):
    torch.manual_seed(0)
    raw = torch.randn(12, 8, requires_grad=True)
    optimizer = torch.optim.SGD([raw], lr=0.5)
    values = []
    for _ in range(30):
        query, positive, negative = normalize(raw, dim=1).split(4)
        ids = torch.tensor([3, 7, 7, 9])
        allowed = torch.ones(4, 4, dtype=torch.bool)
        value = LOSSES[name](TripletBatch(query, positive, negative, ids, allowed), 0.3).value
        optimizer.zero_grad()
        if value.requires_grad and value.grad_fn is not None:
            value.backward()
            optimizer.step()
        values.append(value.item())
    assert np.isfinite(values).all()
    assert values[-1] < values[0]


@pytest.fixture
def mine(monkeypatch):
    """Registers a function of a user's as the loss "mine", until the test ends."""
    monkeypatch.setattr(LOSSES, "_entries", dict(LOSSES))

    def register(function):
        function.__module__ = "somebody"
        return vsa.losses.register("mine", function)

    return register


def test_a_plain_tensor_is_a_loss_whose_active_share_is_not_known(mine):
    mine(lambda batch, margin: (batch.query - batch.positive).square().mean())
    found = evaluate("mine", make_batch(), MARGIN)
    assert found.value.item() > 0
    assert np.isnan(found.active_share)


def learning_batch():
    batch = make_batch()
    return dataclasses.replace(batch, query=batch.query.clone().requires_grad_())


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (lambda b, m: b.query.sum() * float("nan"), "'mine' is nan, though all features"),
        (lambda b, m: b.query.sum(dim=1), r"'mine' gives a tensor of shape \(5,\), not one number"),
        (lambda b, m: 0.3, "'mine' gives float, not one number"),
        (lambda b, m: None, "'mine' gives NoneType, not one number"),
        (lambda b, m: b.query.detach().sum(), "'mine' does not depend on the features"),
        (lambda b, m: b.nothing, "'mine' fails .*AttributeError"),
    ],
)
def test_what_is_wrong_with_somebody_s_loss_is_said_with_its_name(mine, function, words):
    mine(function)
    with pytest.raises(InputError, match=words):
        evaluate("mine", learning_batch(), MARGIN)


def test_infinite_features_are_not_the_loss_s_fault(mine):
    mine(lambda batch, margin: batch.query.sum())
    batch = learning_batch()
    broken = dataclasses.replace(batch, query=batch.query * float("inf"))
    assert not evaluate("mine", broken, MARGIN).value.isfinite()


@pytest.mark.parametrize("function", [3, lambda: None, lambda batch: None])
def test_what_cannot_be_called_with_a_batch_and_a_margin_is_no_loss(function):
    with pytest.raises(InputError, match="no loss"):
        LOSSES.register("bad", function)
    assert "bad" not in LOSSES


def test_the_paper_s_loss_has_its_name_and_near_misses_are_named():
    assert LOSSES[PAPER] is per_query
    with pytest.raises(InputError, match="paper"):
        evaluate("papre", make_batch(), MARGIN)
