"""Rows of notebook 07 that are whole systems, built by `vsa.build` with stages of their own."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np

import vsa
from vsa.category.predictor import CategoryPrediction, CategoryPredictor
from vsa.data.descriptors import colour_histogram
from vsa.embedding.adapt import mapping, principal_components
from vsa.embedding.candidates import PLAIN
from vsa.embedding.describer import Describer, adapted
from vsa.embedding.joint import FeatureNet, JointNet
from vsa.engine import Stages, VisualSearch, likely_categories
from vsa.index.codec import CODECS, Codec, UnfitBitsError
from vsa.index.request import SearchParams
from vsa.index.settings import OF_LISTS, CodeSettings
from vsa.study.category.prepare import open_published
from vsa.study.end_to_end.run_engine import open_engine
from vsa.study.lineage.lab import LineageLab, reordered
from vsa.study.lineage.methods import METHODS, N_RANKED, Search, method
from vsa.study.lineage.pictures import Pictures
from vsa.study.lineage.published import described, goods
from vsa.trained import TrainedModels

_APPEARANCE = 0.75  # eBay's share of appearance, beside aspects
_LABELS = ["categories"]


@CODECS.register("signs")
def signs(features: np.ndarray, n_bits: int, seed: int, labels: np.ndarray | None = None) -> Codec:
    """A bit for each dimension: whether it is above its mean (Jing et al., 2015)."""
    dim = features.shape[1]
    if n_bits != dim:
        raise UnfitBitsError(f"{dim} dimensions have {dim} signs, not {n_bits}", cure=f"Take {dim}")
    return Codec(np.eye(dim, dtype=np.float32), -np.asarray(features, np.float32).mean(axis=0))


def describer(lab: LineageLab) -> Describer:
    """The frozen network, as an engine serves it: whole photos, its own feature."""
    ground = lab.ground
    net = FeatureNet(ground.architecture)
    net.backbone.load_state_dict(ground.backbone.state_dict())
    place = ground.device
    net.to(place.device, memory_format=place.memory_format).eval()
    return Describer(PLAIN, net, ground.image_px, "whole")


def built(
    lab: LineageLab, name: str, serving: Describer, codes: CodeSettings, seed: int
) -> VisualSearch:
    """An engine of the catalogue: categories of notebook 02, this describer, these codes."""
    run, shop = lab.published_by
    category = open_published(run)
    network = JointNet(lab.ground.architecture, 8)  # an engine has one; nobody asks for its boxes
    network.to(category.device.device, memory_format=category.device.memory_format).eval()
    models = TrainedModels(category, network, lab.ground.image_px, None, serving)
    goods = dataclasses.replace(shop.dataset, catalogue=lab.task.catalogue)
    folder = vsa.build(
        goods,
        models,
        lab.folder / f"{name}.engine",
        selection=None,
        codes=codes,
        seed=seed,
        cache=lab.folder / "engine-features",
    )
    return vsa.VisualSearch.open(folder)


def ask(
    lab: LineageLab,
    engine: VisualSearch,
    photos: Pictures,
    features: np.ndarray,
    retrieve: Callable[[np.ndarray, CategoryPrediction], np.ndarray],
) -> np.ndarray:
    """Pages of photos: their categories are predicted, and each is retrieved by its feature.

    All engines here have the category stage of notebook 02, which is asked once for all of them.
    """
    category = predictor(engine)
    predict = lab.shared(
        "categories", lambda some: category.predict_batch(some.at(category.store_px))
    )
    pages = np.full((len(photos), N_RANKED), -1)
    for row, (feature, predicted) in enumerate(zip(features, predict(photos), strict=True)):
        ids = retrieve(feature, predicted)[:N_RANKED]
        pages[row, : len(ids)] = ids
    return pages


def by_hamming(
    engine: VisualSearch, feature: np.ndarray, n_lists: int, wanted: list[str] | None, k: int
) -> tuple[np.ndarray, np.ndarray]:
    """Ids and Hamming distances of the k nearest by code, in so many lists of some categories."""
    params = SearchParams(n_lists, k, "hamming")
    found = engine.index.candidates(feature, params, wanted, refined=False)
    order = np.lexsort((found.ids, found.distance))
    return found.ids[order], found.distance[order]


def predictor(engine: VisualSearch) -> CategoryPredictor:
    """The category stage of an engine that has one, as all of these do."""
    assert engine.category is not None
    return engine.category


@METHODS.register("visual search at eBay", version=2)
@method("[13]", needs=_LABELS, effort=5, reads=True)
def ebay(lab: LineageLab, seed: int) -> Search:
    """Yang et al. (2017) predict the category, compare long codes of a hash layer exhaustively
    within it, and re-rank by aspects.

    Kept are the top category, a hash trained below a softmax over categories, the scan by Hamming
    distance, and 0.75 of appearance beside aspects. Of aspects only colour is known here; features
    are reduced to principal components before the hash, which is trained with one seed.
    """
    s, serving = lab.settings, describer(lab)
    seen = np.concatenate([pictures.pooled for pictures in lab.seen])
    head = principal_components(seen, s.dim)[0.0]
    small = adapted(serving, head, "whole", "eBay")
    codes = CodeSettings(codec="learned hash", n_bits=s.hash_bits)
    engine = built(lab, "ebay", small, codes, seed)
    n_lists = engine.index.stats()["lists"]
    colours = colour_histogram(lab.catalogue.squares)
    name, to = engine.index.categories, mapping(head)

    def rank(photos: Pictures) -> np.ndarray:
        own = colour_histogram(photos.squares)
        row = iter(range(len(photos)))

        def retrieve(feature: np.ndarray, predicted: CategoryPrediction) -> np.ndarray:
            top = [predicted.category] if predicted.category in name else None
            ids, hamming = by_hamming(engine, feature, n_lists, top, N_RANKED)
            alike = 1 - hamming / s.hash_bits
            aspects = colours[ids] @ own[next(row)]
            scores = _APPEARANCE * alike + (1 - _APPEARANCE) * aspects
            return reordered(ids[None], scores[None])[0]

        return ask(lab, engine, photos, to(photos.pooled), retrieve)

    return Search(rank, s.hash_bits / 8 + 2 * colours.shape[1])


@METHODS.register("visual search at Pinterest", version=2)
@method(
    "[22]",
    grid=[{"n_tokens": n} for n in (4, 16)],
    needs=["categories", "clicks"],
    effort=5,
    reads=True,
)
def pinterest(lab: LineageLab, seed: int, n_tokens: int) -> Search:
    """Jing et al. (2015) detect objects, binarise deep features, find candidates by tokens of an
    inverted index, and rank them by Hamming distance.

    Kept are the object's box, by objectness, and the likely categories; signs of features as bits;
    the lists of the index as tokens, so many of which are visited; and the ranking by codes. Text
    and other signals of a pin are left out, and so are detectors of each category.
    """
    objectness, locate = goods(lab)
    serving = dataclasses.replace(describer(lab), look="crop", localiser=objectness)
    dim = serving.net.dim
    if dim % OF_LISTS:
        raise vsa.InputError(
            f"features of {dim} dimensions make no codes that lists can scan",
            cure=f"Take a network whose feature has a multiple of {OF_LISTS} dimensions",
        )
    codes = CodeSettings(codec="signs", n_bits=dim)
    engine = lab.once("Pinterest", lambda: built(lab, "pinterest", serving, codes, seed))

    def rank(photos: Pictures) -> np.ndarray:
        def retrieve(feature: np.ndarray, predicted: CategoryPrediction) -> np.ndarray:
            wanted = likely_categories(predicted, engine.index.categories)
            return by_hamming(engine, feature, n_tokens, wanted, N_RANKED)[0]

        return ask(lab, engine, photos, photos.pooled_at(locate(photos)), retrieve)

    return Search(rank, dim / 8, locate)


@METHODS.register("the paper: engine as published")
@method("the paper", needs=["clicks"], effort=5, reads=True)
def engine_as_published(lab: LineageLab, seed: int) -> Search:
    """Zhang et al. (2018) filter by code within likely categories, and rank by feature.

    Kept is the engine of notebook 06, with the describer that validation photos chose in notebook
    03; re-ranking by quality is left out, for it orders by what sells.
    """
    run, _ = lab.published_by
    engine = lab.once("engine", lambda: open_engine(run))
    stages = Stages(rerank=False)
    seen, network, device = engine.describer, engine.network, predictor(engine).device
    assert isinstance(seen, Describer)
    assert network is not None

    def look_for(photos: Pictures) -> np.ndarray:
        return seen.boxes(network, engine.image_px, photos.at, device)

    is_goods = seen.localiser is not None  # which those of notebook 03 all have in common
    locate = goods(lab)[1] if is_goods else lab.shared("engine's boxes", look_for)

    def rank(photos: Pictures) -> np.ndarray:
        features = described(lab, seen, photos, locate(photos) if seen.locates else None)
        return ask(
            lab,
            engine,
            photos,
            features,
            lambda feature, predicted: engine.retrieve(feature, predicted, N_RANKED, stages)[0],
        )

    n_bytes = 8 * engine.index.model.n_words + 2 * engine.index.model.codec.dim
    return Search(rank, n_bytes, locate if seen.locates else None)
