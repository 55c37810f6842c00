"""Losses against pytorch-metric-learning or closed forms, and batches as the works build them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pytorch_metric_learning import losses, miners
from small_lineage import make_lineage_lab
from torch.nn.functional import cross_entropy, normalize

from vsa.embedding.adapt import principal_components
from vsa.runtime.errors import InputError
from vsa.study.lineage import heads
from vsa.study.lineage.batches import (
    PHOTO,
    PICTURE,
    Lessons,
    anything,
    by_relevance,
    identities,
    pairs,
)
from vsa.study.lineage.heads import own_feature


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    return make_lineage_lab(tmp_path_factory.mktemp("shop"))


@pytest.fixture
def features():
    torch.manual_seed(0)
    return torch.randn(12, 5), torch.arange(6).repeat(2)


def test_n_pair_is_cross_entropy_of_anchors_against_all_positives(features):
    mapped, product = features
    anchors, positives = mapped.split(6)
    penalty = 0.02 * mapped.square().sum(dim=1).mean()
    wanted = cross_entropy(anchors @ positives.T, torch.arange(6))
    assert float(heads.n_pair_loss(mapped, product) - penalty) == pytest.approx(
        float(wanted), rel=1e-5
    )


def test_semi_hard_takes_the_triplets_of_the_library_and_no_others(features):
    mapped, product = features
    unit, margin = normalize(mapped, dim=1), 0.3
    terms = []
    for a in range(12):
        for p in range(12):
            for n in range(12):
                if a != p and product[a] == product[p] and product[n] != product[a]:
                    near, far = (unit[a] - unit[p]).norm(), (unit[a] - unit[n]).norm()
                    if near < far < near + margin:
                        terms.append(float(near - far + margin))
    assert terms
    found = float(heads.semi_hard_loss(mapped, product, margin))
    assert found == pytest.approx(np.mean(terms), rel=1e-4)


def test_semi_hard_without_a_triplet_has_a_gradient_of_zero():
    mapped = torch.eye(4, requires_grad=True)
    value = heads.semi_hard_loss(mapped, torch.tensor([0, 0, 0, 0]), 0.2)
    value.backward()
    assert value.item() == 0
    assert mapped.grad.abs().max() == 0


def test_info_nce_is_cross_entropy_over_all_others(features):
    mapped, product = features
    cosines = normalize(mapped, dim=1) @ normalize(mapped, dim=1).T / 0.1
    cosines.fill_diagonal_(-torch.inf)
    partner = (torch.arange(12) + 6) % 12
    found = float(heads.info_nce_loss(mapped, product, 0.1))
    assert found == pytest.approx(float(cross_entropy(cosines, partner)), rel=1e-4)
    library = losses.NTXentLoss(temperature=0.1)(mapped, product)
    assert found == pytest.approx(float(library), rel=1e-4)


def test_arcface_and_multi_similarity_are_the_librarys(lab, monkeypatch):
    seen = {}
    monkeypatch.setattr(
        heads, "learn", lambda lab, seed, title, draw, make, *_: seen.setdefault(title, make)
    )
    heads.METHODS["ArcFace"].fit(lab, 0, margin=17.0)
    heads.METHODS["multi-similarity"].fit(lab, 0, beta=10.0)
    torch.manual_seed(0)
    mapped, product = (
        torch.randn(8, 6),
        torch.from_numpy(lab.task.products[0][lab.task.labelled])[:8],
    )
    none = torch.zeros(8, dtype=torch.int64)
    loss, (arc,) = seen["ArcFace"](6)
    codes = torch.unique(torch.from_numpy(lab.task.products[0][lab.task.labelled]))
    library = losses.ArcFaceLoss(len(codes), 6, margin=17.0, scale=16)
    library.load_state_dict(arc.state_dict())
    assert torch.equal(
        loss(mapped, product, none, none), library(mapped, torch.searchsorted(codes, product))
    )
    loss, parts = seen["multi-similarity"](6)
    chosen = miners.MultiSimilarityMiner(0.1)(mapped, product)
    wanted = losses.MultiSimilarityLoss(2, 10.0, 0.5)(mapped, product, chosen)
    assert parts == []
    assert torch.equal(loss(mapped, product, none, none), wanted)


def test_mmd_of_the_linear_kernel_is_its_closed_form():
    torch.manual_seed(0)
    x, y = torch.randn(5, 3, dtype=torch.float64), torch.randn(7, 3, dtype=torch.float64)
    kernel = (x @ x.T).mean() + (y @ y.T).mean() - 2 * (x @ y.T).mean()
    assert float(heads.linear_mmd(x, y)) == pytest.approx(float(kernel), rel=1e-9)
    assert float(heads.linear_mmd(x, x)) == 0


def test_the_hinge_of_deep_ranking_counts_squared_distances():
    one = torch.tensor([[1.0, 0.0]])
    far, near = torch.tensor([[0.0, 1.0]]), torch.tensor([[2.0, 0.0]])  # lengths do not count
    assert heads.relevance_hinge(torch.cat([one, near, far]), 0.5) == 0  # 0.5 + 0 − 2
    assert heads.relevance_hinge(torch.cat([one, far, near]), 0.5) == pytest.approx(2.5)


# ---------------------------------------------------------------- batches


@pytest.fixture
def lessons(lab):
    return Lessons.of(lab, own_feature)


def test_only_products_of_training_photos_are_learned_from(lab, lessons):
    wanted, offered = lab.task.products
    train = set(wanted[lab.task.rows("train")].tolist())
    others = set(offered.tolist()) - train
    assert others
    assert set(lessons.learned.tolist()) == train
    assert not set(lessons.product.tolist()) & others
    assert (lessons.category >= 0).all()  # those of the catalogue are known


def test_an_n_pair_batch_has_a_photo_and_a_picture_of_each_product(lessons):
    rows = pairs(lessons, np.random.default_rng(0), 6)
    assert len(rows) == 12
    assert np.array_equal(lessons.product[rows[:6]], lessons.product[rows[6:]])
    assert len(set(lessons.product[rows[:6]].tolist())) == 6
    assert (lessons.domain[rows[:6]] == PHOTO).all()
    assert (lessons.domain[rows[6:]] == PICTURE).all()


def test_facenets_batch_has_several_pictures_of_few_products(lessons):
    rows = identities(lessons, np.random.default_rng(0), 6)
    _, counts = np.unique(lessons.product[rows], return_counts=True)
    assert len(rows) == 12
    assert len(set(rows.tolist())) == 12
    assert counts.max() == 4
    assert (lessons.product[rows] >= 0).all()


def test_triplets_by_relevance_prefer_the_same_category(lessons):
    parts = np.array_split(by_relevance(lessons, np.random.default_rng(0), 300), 3)
    photo, positive, negative = parts
    assert (lessons.domain[photo] == PHOTO).all()
    assert np.array_equal(lessons.product[photo], lessons.product[positive])
    assert (lessons.product[photo] != lessons.product[negative]).all()
    near = (lessons.category[photo] == lessons.category[negative]).mean()
    assert near == pytest.approx(2 / 3, abs=0.1)


def test_labels_of_categories_are_drawn_from_all_that_have_one(lessons):
    rows = anything(lessons, np.random.default_rng(0), 50)
    assert len(rows) == 100
    assert set(lessons.domain[rows].tolist()) == {PHOTO, PICTURE}


# ---------------------------------------------------------------- learning


def test_a_linear_map_learns_what_the_components_do_not_know(lab):
    """Products differ in a direction of little spread, below one that says nothing."""
    rng = np.random.default_rng(0)
    product = {"train": lab.task.products[0][lab.task.rows("train")]}
    for split in ("val", "test"):
        product[split] = lab.task.products[0][lab.task.rows(split)]

    def told(codes):
        telling = np.stack([np.cos(codes), np.sin(codes)], axis=1) * 0.05
        noise = rng.normal(0, 1, (len(codes), 4))
        return np.concatenate([noise, telling], axis=1).astype(np.float32)

    made = {len(lab.catalogue): told(lab.task.products[1])}
    by_id = {id(lab.photos[s]): told(codes) for s, codes in product.items()}
    by_id[id(lab.catalogue)] = made[len(lab.catalogue)]

    def noisy(pictures):
        return by_id[id(pictures)]

    lab.settings = lab.settings.__class__(
        **{**vars(lab.settings), "n_steps": 200, "learning_rate": 0.05}
    )
    loss = heads._plain(lambda mapped, p: heads.info_nce_loss(mapped, p, 0.1))
    learned = heads.learn(lab, 0, "toy", pairs, loss, noisy)
    starts = principal_components(np.concatenate([by_id[id(s)] for s in lab.seen]), 6)
    before = max(heads._judge(lab, head, noisy) for head in starts.values())
    after = lab.task.precision(learned.rank(lab.photos["val"]), "val").mean()
    assert after > before + 0.1


def test_two_products_are_the_least(lab, monkeypatch):
    monkeypatch.setattr(Lessons, "learned", np.array([3]))
    lab._made.clear()
    with pytest.raises(InputError, match="fewer than two products"):
        heads.METHODS["InfoNCE"].fit(lab, 0, temperature=0.1)
