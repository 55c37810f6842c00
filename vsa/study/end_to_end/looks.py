"""Whole photo, mask, learned crop, true crop: one engine, looking at photos in each way (4).

Category and feature are both of what is looked at; the page is in the order of appearance.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import numpy as np

from vsa.data.crops import load_crops, with_margin
from vsa.data.decoding import decode
from vsa.data.schema import BOX
from vsa.embedding.describer import Describer, Look, describe_photos
from vsa.embedding.extract import FULL_BOX
from vsa.metrics import average_precision, identical_recall_at_k
from vsa.runtime.inference import one_core
from vsa.study.end_to_end.experiment import LEFT_OUT, EndToEndLab, K
from vsa.study.end_to_end.results import BY_APPEARANCE, EndToEndResults
from vsa.study.end_to_end.run_engine import parts_of
from vsa.study.ledger.bootstrap import Interval, paired_difference
from vsa.study.ledger.sentences import bullets

LOOKS, DIFFERENCES = "looks", "looks: differences"
WHOLE, MASK, LEARNED, TRUE = "whole photo", "mask", "learned crop", "true crop"
BOTH = "whole photo and learned crop"
_METRICS = ("Identical Recall@1", "mAP", "Accuracy@1")


@dataclass(frozen=True)
class LookOutcome:
    """What the engine answers to all test photos, looking at them in one way."""

    pages: np.ndarray  # int64 (n, 60), products, −2 past the end
    named: np.ndarray  # str (n,), the fused category
    milliseconds: np.ndarray  # float (n_timed,), from the decoded photo to its feature, one thread


def ask_looks(lab: EndToEndLab, n_timed: int) -> dict[str, LookOutcome]:
    """Let the engine look at the test photos in each way that it can.

    A mask needs the joint network; a true crop the box of every test photo.
    """
    found = {}
    for name, (look, boxes) in _ways(lab).items():
        describer = replace(parts_of(lab.engine).describer, look=look)
        found[name] = _ask(lab, describer, name, boxes, n_timed)
    return found


def _ways(lab: EndToEndLab) -> dict[str, tuple[Look, np.ndarray]]:
    """Name → how the network looks, and the boxes that it looks at, float32 (n, 4)."""
    describer, photos = parts_of(lab.engine).describer, lab.photos
    located = photos.boxes
    if not describer.locates:
        located = lab.locate(describer)
    ways: dict[str, tuple[Look, np.ndarray]] = {
        WHOLE: ("whole", np.tile(FULL_BOX, (len(located), 1)))
    }
    if describer.look == "mask":
        ways[MASK] = ("mask", located)
    if describer.look == "both":
        ways[BOTH] = ("both", located)
    ways[LEARNED] = ("crop", located)
    queries = lab.shop.dataset.queries.set_index("path")
    true = queries.loc[list(lab.task.test.paths), list(BOX)].to_numpy(np.float32)
    if np.isfinite(true).all():
        ways[TRUE] = ("crop", true)
    return ways


def _ask(
    lab: EndToEndLab,
    describer: Describer,
    name: str,
    boxes: np.ndarray,
    n_timed: int,
) -> LookOutcome:
    root, cache = lab.shop.dataset.root, lab.run.artifacts / "images"
    engine, paths = lab.engine, list(lab.task.test.paths)
    category = parts_of(engine).category
    features = describe_photos(describer, root, paths, boxes, engine.device, cache)
    predictions = lab.photos.predictions
    if describer.look == "crop":
        around = with_margin(boxes, describer.margin)
        shown = load_crops(root, paths, around, category.store_px, cache)
        predictions = category.predict_batch(shown)
    stages = LEFT_OUT[BY_APPEARANCE]
    pages = np.full((len(paths), K), -2)
    for row, (feature, prediction) in enumerate(zip(features, predictions, strict=True)):
        ids, similarity = engine.retrieve(feature, prediction, K, stages)
        codes = lab.codes(engine.page(ids, similarity, stages, None))
        pages[row, : len(codes)] = codes
    named = np.array([prediction.category for prediction in predictions])
    asked = lab.asked(n_timed)
    times = [_time(lab, describer, name, boxes[row], row) for row in asked]
    return LookOutcome(pages, named, np.array(times))


def _time(lab: EndToEndLab, describer: Describer, name: str, box: np.ndarray, row: int) -> float:
    """Milliseconds from a decoded photo to its feature; learned boxes are located within them."""
    engine = lab.engine
    with one_core():
        photo = decode(lab.photos.paths[row], min_px=max(describer.needed_px(), engine.image_px))
        start = time.perf_counter()
        seen = None if describer.look == "whole" else box
        if name in (MASK, BOTH, LEARNED):
            seen = engine.locate(photo)
        describer.describe(photo, seen, engine.device)
        return 1e3 * (time.perf_counter() - start)


def record_looks(results: EndToEndResults, found: dict[str, LookOutcome]) -> str:
    """Record recall, accuracy and milliseconds of each way; says in Markdown which is ahead."""
    photos, task = results.photos, results.task
    wanted, offered = photos.products, task.products[task.kept]
    n_identical = (offered[None] == wanted[:, None]).sum(axis=1)
    values = {
        name: {
            "Identical Recall@1": identical_recall_at_k(look.pages, wanted, 1),
            "mAP": average_precision(look.pages, wanted, n_identical),
            "Accuracy@1": (look.named == photos.categories).astype(float),
        }
        for name, look in found.items()
    }
    for name, measured in values.items():
        for metric, of_photos in measured.items():
            results.note(LOOKS, name, metric, results.mean(of_photos))
        median = float(np.median(found[name].milliseconds))
        results.ledger.record(LOOKS, name, "query latency", median)
    sentences = []
    for name in values:
        if name == WHOLE:
            continue
        for metric in _METRICS:
            effect = _difference(results, values[name][metric], values[WHOLE][metric])
            text = f"{name} − {WHOLE}"
            results.note(DIFFERENCES, text, f"{metric} difference", effect)
            difference = f"{metric} difference"
            sentences.append(results.ledger.compare(DIFFERENCES, text, difference, name, WHOLE))
    return bullets(sentences)


def _difference(results: EndToEndResults, first: np.ndarray, second: np.ndarray) -> Interval:
    groups = results.photos.products
    return paired_difference(first, second, results.n_resamples, results.seed, groups=groups)
