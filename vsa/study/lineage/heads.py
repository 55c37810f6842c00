"""Rows of notebook 07 that learn a linear map of frozen features, each by a loss of its own.

All have the same budget: the same features, number of steps, pictures per step and rate, the same
principal components to start from, and the same rule to stop: what validation photos liked best of
eight looks. So what differs is the loss, and the batches that it asks for.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize, relu

from vsa.data.descriptors import thumbnail
from vsa.embedding.adapt import mapping, principal_components
from vsa.embedding.joint import Adaptation
from vsa.runtime.errors import InputError
from vsa.runtime.inference import one_core
from vsa.runtime.seeds import generator
from vsa.runtime.training import Group, fit
from vsa.study.lineage.batches import (
    PHOTO,
    Draw,
    Lessons,
    anything,
    by_relevance,
    identities,
    pairs,
)
from vsa.study.lineage.lab import LineageLab
from vsa.study.lineage.methods import METHODS, Search, method
from vsa.study.lineage.pictures import MIDDLE, Pictures, remembered, unit

_N_LOOKS = 8
_PRODUCTS = ["training products"]


def own_feature(pictures: Pictures) -> np.ndarray:
    """What the frozen network gives by itself."""
    return pictures.pooled


LossOf = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
"""Mapped features (B, d) as they are; products, categories and domains, int64 (B,) → a number."""

MakeLoss = Callable[[int], tuple[LossOf, list[nn.Module]]]
"""d → a loss, and modules of it that learn, too."""


def learn(
    lab: LineageLab,
    seed: int,
    title: str,
    draw: Draw,
    make_loss: MakeLoss,
    describe: Callable[[Pictures], np.ndarray] = own_feature,
) -> Search:
    """Learn a linear map of what `describe` gives, and search by it."""
    lessons = lab.once(("lessons", describe.__name__), lambda: Lessons.of(lab, describe))
    if draw is not anything and len(lessons.learned) < 2:
        raise InputError(
            "fewer than two products are on training photos and in the catalogue",
            cure="Learning from products needs more of them",
        )
    s, head = lab.settings, _start(lab, lessons, describe)
    torch.manual_seed(seed)  # weights of the loss
    loss, parts = make_loss(head.linear.out_features)
    best = _judge(lab, head, describe), _state(head)
    every = max(1, s.n_steps // _N_LOOKS)

    def look(step: int) -> None:
        nonlocal best
        if step and step % every == 0 and (score := _judge(lab, head, describe)) > best[0]:
            best = score, _state(head)

    def batches(first: int) -> Iterator[np.ndarray]:
        for step in range(first, s.n_steps):
            yield draw(lessons, generator(seed, title, step), s.n_pairs)

    def loss_of(rows: np.ndarray, step: int) -> tuple[Tensor, dict[str, float | Tensor]]:
        look(step)
        mapped = head(torch.from_numpy(lessons.features[rows]))
        labels = (lessons.product, lessons.category, lessons.domain)
        product, category, domain = (torch.from_numpy(one[rows]) for one in labels)
        return loss(mapped, product, category, domain), {}

    net = nn.ModuleList([head, *parts])
    with one_core():  # a step is too little work to share
        fit(net, [Group(net.parameters(), s.learning_rate)], batches, loss_of, s.n_steps, title)
        look(s.n_steps)
    head.load_state_dict(best[1])
    to = mapping(head.eval())
    return lab.by_features(lambda pictures: to(describe(pictures)))


def _start(lab: LineageLab, lessons: Lessons, describe: Callable[..., np.ndarray]) -> Adaptation:
    """Principal components over the power of their spread that validation photos like best."""

    def choose() -> Adaptation:
        starts = principal_components(lessons.features, lab.settings.dim)
        return max(starts.values(), key=lambda head: _judge(lab, head, describe))

    return copy.deepcopy(lab.once(("start", describe.__name__), choose))


def _judge(lab: LineageLab, head: Adaptation, describe: Callable[..., np.ndarray]) -> float:
    """MAP on validation photos."""
    to = mapping(head)
    rank = lab.by_features(lambda pictures: to(describe(pictures))).rank
    assert rank is not None
    return float(lab.task.precision(rank(lab.photos["val"]), "val").mean())


def _state(head: Adaptation) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in head.state_dict().items()}


def _plain(of: Callable[[Tensor, Tensor], Tensor]) -> MakeLoss:
    """A loss of features and products that has nothing to learn itself."""
    return lambda dim: (lambda mapped, product, *_: of(mapped, product), [])


@METHODS.register("neural codes, retrained")
@method("[1]", needs=["categories"], learns=True, effort=2)
def retrained(lab: LineageLab, seed: int) -> Search:
    """Babenko et al. (2014) train the classifier again on pictures like those that are searched.

    Kept is a softmax over the shop's categories above a linear layer, whose outputs are the codes;
    the layers below stay frozen, where theirs learned too.
    """
    n_classes = int(max(codes.max() for codes in lab.task.categories)) + 1

    def make(dim: int) -> tuple[LossOf, list[nn.Module]]:
        top = nn.Linear(dim, n_classes)

        def value(mapped: Tensor, _: Tensor, category: Tensor, __: Tensor) -> Tensor:
            return cross_entropy(top(10 * normalize(mapped, dim=1)), category)

        return value, [top]

    return learn(lab, seed, "neural codes, retrained", anything, make)


def n_pair_loss(mapped: Tensor, product: Tensor) -> Tensor:
    """Sohn's loss of an N-pair batch, its first half anchors and the second their positives.

    Cross-entropy of inner products with features as they are, and a small penalty on their length.
    """
    from pytorch_metric_learning.distances import DotProductSimilarity
    from pytorch_metric_learning.losses import NPairsLoss  # slow to import

    loss = NPairsLoss(distance=DotProductSimilarity(normalize_embeddings=False))
    value: Tensor = loss(mapped, product) + 0.02 * mapped.square().sum(dim=1).mean()
    return value


@METHODS.register("N-pair")
@method("[3]", grid=[{"scale": x} for x in (3.0, 6.0)], needs=_PRODUCTS, learns=True, effort=2)
def n_pair(lab: LineageLab, seed: int, scale: float) -> Search:
    """Sohn (2016) draws N pairs of N products and lets each pair see all others as negatives.

    Kept are batch, loss and penalty on length, on a linear map whose features start at the given
    length; hard classes are not looked for.
    """
    loss = _plain(lambda mapped, product: n_pair_loss(scale * mapped, product))
    return learn(lab, seed, "N-pair", pairs, loss)


def semi_hard_loss(mapped: Tensor, product: Tensor, margin: float) -> Tensor:
    """FaceNet's: triplets whose negative is farther than the positive by less than the margin."""
    from pytorch_metric_learning.losses import TripletMarginLoss  # slow to import
    from pytorch_metric_learning.miners import TripletMarginMiner

    chosen = TripletMarginMiner(margin=margin, type_of_triplets="semihard")(mapped, product)
    value: Tensor = TripletMarginLoss(margin=margin)(mapped, product, chosen)
    return value + 0 * mapped.sum()  # where no triplet is chosen there is a gradient of zero


@METHODS.register("FaceNet, semi-hard")
@method(
    "[8]", grid=[{"margin": m} for m in (0.1, 0.2, 0.4)], needs=_PRODUCTS, learns=True, effort=2
)
def facenet(lab: LineageLab, seed: int, margin: float) -> Search:
    """Schroff et al. (2015) draw some faces of each person and mine semi-hard triplets in a batch.

    Kept are up to four pictures of each product, all pairs of a product, and semi-hard negatives;
    batches of eighteen hundred are left out.
    """
    loss = _plain(lambda mapped, product: semi_hard_loss(mapped, product, margin))
    return learn(lab, seed, "FaceNet, semi-hard", identities, loss)


def relevance_hinge(mapped: Tensor, gap: float) -> Tensor:
    """[g + D(p, p⁺) − D(p, p⁻)]₊ of squared distances; three parts: p, p⁺ and p⁻."""
    one, more, less = normalize(mapped, dim=1).chunk(3)
    near, far = ((one - other).square().sum(dim=1) for other in (more, less))
    return relu(gap + near - far).mean()


@remembered
def three_scales(pictures: Pictures) -> np.ndarray:
    """Deep, middle and shallow features of pictures side by side, float32 (n, d) of unit length."""
    middle = unit(pictures.each(lambda maps: maps.mean(axis=(1, 2)), MIDDLE))
    shallow = thumbnail(pictures.squares)
    return unit(np.concatenate([pictures.pooled, 0.5 * middle, 0.5 * shallow], axis=1))


@METHODS.register("deep ranking")
@method("[24]", grid=[{"gap": g} for g in (0.1, 0.3, 1.0)], needs=_PRODUCTS, learns=True, effort=2)
def deep_ranking(lab: LineageLab, seed: int, gap: float) -> Search:
    """Wang et al. (2014) learn a network of three scales from triplets sampled by relevance.

    Kept are the hinge, triplets by relevance and a linear layer above deep, middle and shallow
    features; the shallow ones are a thumbnail's pixels, and only that layer learns.
    """
    loss = _plain(lambda mapped, _: relevance_hinge(mapped, gap))
    return learn(lab, seed, "deep ranking", by_relevance, loss, three_scales)


def info_nce_loss(mapped: Tensor, product: Tensor, temperature: float) -> Tensor:
    """Cross-entropy of cosines over a temperature, each row against all others of the batch.

    Of pairs, which have one positive each, the library's supervised contrastive loss is the same,
    and takes one matrix where its NTXentLoss takes all triplets.
    """
    from pytorch_metric_learning.losses import SupConLoss  # slow to import

    value: Tensor = SupConLoss(temperature=temperature)(mapped, product)
    return value


@METHODS.register("InfoNCE")
@method(
    "since",
    grid=[{"temperature": t} for t in (0.05, 0.1, 0.2)],
    needs=_PRODUCTS,
    learns=True,
    effort=2,
)
def info_nce(lab: LineageLab, seed: int, temperature: float) -> Search:
    """Van den Oord et al. (2018) let a pair find each other among all pairs of a batch.

    Kept are unit features, a temperature that validation photos choose, and pairs of photo and
    picture; large batches are left out.
    """
    loss = _plain(lambda mapped, product: info_nce_loss(mapped, product, temperature))
    return learn(lab, seed, "InfoNCE", pairs, loss)


@METHODS.register("ArcFace")
@method(
    "since", grid=[{"margin": m} for m in (6.0, 17.0, 29.0)], needs=_PRODUCTS, learns=True, effort=2
)
def arcface(lab: LineageLab, seed: int, margin: float) -> Search:
    """Deng et al. (2019) classify identities by angles, with a margin added to the right one.

    Kept are a centre for each product and the margin, in degrees, at a scale of 16; centres go with
    training, so that a product never seen has none.
    """
    from pytorch_metric_learning.losses import ArcFaceLoss  # slow to import

    products = np.unique(lab.task.products[0][lab.task.labelled])
    codes = torch.from_numpy(products)

    def make(dim: int) -> tuple[LossOf, list[nn.Module]]:
        arc = ArcFaceLoss(len(products), dim, margin=margin, scale=16)
        return lambda m, product, *_: arc(m, torch.searchsorted(codes, product)), [arc]

    return learn(lab, seed, "ArcFace", identities, make)


@METHODS.register("multi-similarity")
@method("since", grid=[{"beta": b} for b in (10.0, 50.0)], needs=_PRODUCTS, learns=True, effort=2)
def multi_similarity(lab: LineageLab, seed: int, beta: float) -> Search:
    """Wang et al. (2019) weigh each pair of a batch by its own and its neighbours' similarities.

    Kept are loss and mining of pairs; what differs from theirs is the batch, which is FaceNet's.
    """
    from pytorch_metric_learning.losses import MultiSimilarityLoss  # slow to import
    from pytorch_metric_learning.miners import MultiSimilarityMiner

    of, miner = MultiSimilarityLoss(alpha=2, beta=beta, base=0.5), MultiSimilarityMiner(0.1)

    def value(mapped: Tensor, product: Tensor) -> Tensor:
        found: Tensor = of(mapped, product, miner(mapped, product))
        return found + 0 * mapped.sum()  # where no pair is chosen there is a gradient of zero

    return learn(lab, seed, "multi-similarity", identities, _plain(value))


def linear_mmd(first: Tensor, second: Tensor) -> Tensor:
    """Squared maximum mean discrepancy of features (n, d) and (m, d) under the linear kernel.

    It is the squared distance of their means (Tzeng et al., 2014, equation 1).
    """
    return (first.mean(dim=0) - second.mean(dim=0)).square().sum()


@METHODS.register("domain confusion, MMD")
@method(
    "[16]", grid=[{"weight": w} for w in (0.0, 0.3, 3.0)], needs=_PRODUCTS, learns=True, effort=2
)
def domain_confusion(lab: LineageLab, seed: int, weight: float) -> Search:
    """Tzeng et al. (2014) add the distance between two domains' mean features to the loss.

    Kept is that term between photos and catalogue pictures, beside InfoNCE, with a weight that
    validation photos choose; where the adapting layer sits is given.
    """

    def value(mapped: Tensor, product: Tensor, _: Tensor, domain: Tensor) -> Tensor:
        there = normalize(mapped, dim=1)
        apart = linear_mmd(there[domain == PHOTO], there[domain != PHOTO])
        return info_nce_loss(mapped, product, 0.1) + weight * apart

    return learn(lab, seed, "domain confusion, MMD", pairs, lambda dim: (value, []))
