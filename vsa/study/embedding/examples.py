"""What the pictures of click-mined training show: chosen by rules, never by hand."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from torch import nn

from vsa.embedding.extract import describe
from vsa.embedding.joint import JointNet
from vsa.embedding.task import EmbeddingTask
from vsa.metrics import box_iou
from vsa.runtime.device import Device
from vsa.runtime.seeds import generator
from vsa.study.embedding.experiment import EmbeddingLab
from vsa.study.embedding.finished import FinishedJobs, judged_test
from vsa.study.embedding.variants import JOINT

_PATCH_SHARE = 0.25
_N_PLACES = 8  # of that patch, per side
_GREY = 127


@dataclass(frozen=True)
class MinedPage:
    """One training query and what the filter decides about images of its pages."""

    query: np.ndarray  # uint8 (S, S, 3)
    images: np.ndarray  # uint8 (n, S, S, 3)
    decisions: list[str]  # click kept, click dropped, non-click removed, negative
    identical: np.ndarray | None  # bool (n,); None where the query's product is not known


def mined_page(lab: EmbeddingLab, n_each: int = 3) -> MinedPage:
    """The training query with most kinds of decision: its clicks, and its nearest non-clicks."""
    mined, task = lab.mining(), lab.task
    triplets, thresholds = mined.train.triplets, mined.thresholds
    kept = mined.train.click_distance <= thresholds.epsilon
    near = (mined.train.nonclick_distance < thresholds.gamma).any(axis=1)
    facts = pd.DataFrame({"query": triplets.query, "kept": kept, "dropped": ~kept, "near": near})
    query = int(facts.groupby("query").any().sum(axis=1).idxmax())
    images: dict[int, str] = {}
    for row in np.flatnonzero(triplets.query == query):
        images[int(triplets.positive[row])] = "click kept" if kept[row] else "click dropped"
    row = np.flatnonzero(triplets.query == query)[0]
    order = np.argsort(mined.train.nonclick_distance[row], kind="stable")
    pool = triplets.negatives[row][order]
    distances = mined.train.nonclick_distance[row][order]
    removed = [int(i) for i in pool[distances < thresholds.gamma]][:n_each]
    negatives = [int(i) for i in pool[(distances >= thresholds.gamma) & (pool >= 0)]][:n_each]
    images |= dict.fromkeys(removed, "removed: too near") | dict.fromkeys(negatives, "negative")
    rows = np.array(list(images))
    products, offered = task.products
    return MinedPage(
        np.array(task.images.queries[query]),
        np.array(task.images.catalogue[rows]),
        list(images.values()),
        offered[rows] == products[query] if products[query] >= 0 else None,
    )


@dataclass(frozen=True)
class DomainSample:
    """Queries and catalogue pictures of the same products."""

    images: np.ndarray  # uint8 (n, S, S, 3)
    category: np.ndarray  # int64 (n,), codes
    domain: np.ndarray  # int64 (n,): 0 catalogue, 1 query


def domain_sample(task: EmbeddingTask, seed: int, n_each: int = 250) -> DomainSample:
    """Test queries, and one catalogue picture of each one's product."""
    rng = generator(seed, "domain sample")
    queries = rng.permutation(task.rows("test"))[:n_each]
    wanted, offered = task.products
    images = np.array([rng.choice(np.flatnonzero(offered == wanted[q])) for q in queries])
    of_queries, of_images = task.categories
    return DomainSample(
        np.concatenate([task.images.catalogue[images], task.images.queries[queries]]),
        np.concatenate([of_images[images], of_queries[queries]]),
        np.repeat([0, 1], len(queries)),
    )


@dataclass(frozen=True)
class BoxExamples:
    """Test queries with learned and, where known, true boxes."""

    images: np.ndarray  # uint8 (n, S, S, 3)
    learned: np.ndarray  # (n, 4)
    true: np.ndarray | None  # (n, 4)
    titles: list[str]


def box_examples(finished: FinishedJobs, seed: int, n_each: int = 6) -> BoxExamples:
    """Best, median and worst boxes by IoU; a random choice where true boxes are not known."""
    learned = judged_test(finished, JOINT).boxes
    rows, truth = finished.rows, finished.task.boxes
    if truth is None:
        chosen = generator(seed, "box examples").permutation(len(rows))[: 3 * n_each]
        titles = [""] * len(chosen)
        true = None
    else:
        iou = box_iou(learned, truth[rows])
        order = np.argsort(-iou, kind="stable")
        middle = (len(order) - n_each) // 2
        parts = {"best": order[:n_each], "typical": order[middle : middle + n_each]}
        parts["worst"] = order[-n_each:]
        chosen = np.concatenate(list(parts.values()))
        titles = [f"{kind}: IoU {iou[i]:.2f}" for kind, part in parts.items() for i in part]
        true = truth[rows[chosen]]
    images = np.array(finished.task.images.queries[rows[chosen]])
    return BoxExamples(images, learned[chosen], true, titles)


@dataclass(frozen=True)
class ResultGrid:
    """A query and the first results of several variants."""

    query: np.ndarray  # uint8 (S, S, 3)
    results: dict[str, np.ndarray]  # variant → uint8 (n, S, S, 3)
    identical: dict[str, np.ndarray]  # variant → bool (n,)


def result_grid(
    finished: FinishedJobs, names: tuple[str, ...], *, better: str, worse: str, n_results: int = 10
) -> ResultGrid:
    """The test query whose first identical item `better` lifts most over `worse`."""
    names = tuple(name for name in names if name in finished)
    wanted, offered = finished.task.products
    wanted = wanted[finished.rows]
    found = {name: judged_test(finished, name) for name in (*names, better, worse)}
    first = {name: _first_identical(found[name].hits) for name in (better, worse)}
    chosen = int(np.argmax(1 / first[better] - 1 / first[worse]))
    shown = {name: found[name].ranks[chosen, :n_results] for name in names}
    return ResultGrid(
        np.array(finished.task.images.queries[finished.rows[chosen]]),
        {name: np.array(finished.task.images.catalogue[rows]) for name, rows in shown.items()},
        {name: offered[rows] == wanted[chosen] for name, rows in shown.items()},
    )


def category_net(lab: EmbeddingLab) -> JointNet:
    """The category network that a lab's variants start from, giving the feature before its head."""
    net = lab.new_net()
    net.head = nn.Identity()
    return net


def occlusion_maps(net: JointNet, images: np.ndarray, device: Device) -> list[np.ndarray]:
    """`occlusion_map` of several images, uint8 (n, S, S, 3)."""
    return [occlusion_map(net, image, device) for image in images]


def occlusion_map(net: JointNet, image: np.ndarray, device: Device) -> np.ndarray:
    """How far the feature moves when a grey patch covers a place: what the feature looks at.

    Parameters
    ----------
    image : uint8 (S, S, 3). The patch is a quarter of its side wide, at 8 places per side.

    Returns
    -------
    float32 (8, 8): 1 − cosine with the feature of the whole image, by row and column.
    """
    size = image.shape[0]
    centres = (np.arange(_N_PLACES) + 0.5) / _N_PLACES
    edges = np.stack([centres - _PATCH_SHARE / 2, centres + _PATCH_SHARE / 2], axis=1)
    spans = (edges.clip(0, 1) * size).round().astype(int)
    covered = np.repeat(image[None], _N_PLACES**2, axis=0)
    places = [(rows, columns) for rows in spans for columns in spans]
    for copy, ((top, bottom), (left, right)) in zip(covered, places, strict=True):
        copy[top:bottom, left:right] = _GREY
    whole = describe(net, image[None], device).features
    moved = 1 - describe(net, covered, device).features @ whole[0]
    return moved.reshape(_N_PLACES, _N_PLACES)


def _first_identical(identical: np.ndarray) -> np.ndarray:
    """Rank (from 1) of the first identical item, one past the end where there is none."""
    rank = identical.argmax(axis=1) + 1.0
    return np.where(identical.any(axis=1), rank, identical.shape[1] + 1)
