"""Which choices matter [18], and what pretraining saves in labels [9]."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from dataclasses import asdict

import numpy as np

from vsa.category.batches import VERSION as BATCHES
from vsa.category.model import predict
from vsa.category.train import VERSION as TRAINING
from vsa.models.backbones import make_backbone
from vsa.models.embedder import Embedder
from vsa.runtime.atomic import atomic_file
from vsa.runtime.errors import InputError
from vsa.runtime.fingerprint import key, libraries
from vsa.study.ledger.bootstrap import Interval, mean_interval
from vsa.study.ledger.ledger import Ledger
from vsa.study.ledger.sentences import bullets
from vsa.study.lineage.aggregation import components, first_of
from vsa.study.lineage.backbones import from_scratch, some_labelled
from vsa.study.lineage.experiment import VERSION
from vsa.study.lineage.lab import LineageLab
from vsa.study.lineage.pictures import LAST, MIDDLE, unit
from vsa.study.lineage.pooling import gem

FACTORS, LABELS = "factors of transfer", "labels"
SHARES = (0.1, 0.3, 1.0)  # of the labelled pictures
PRETRAINED, SCRATCH = "ImageNet weights, a softmax on top", "from scratch"
_POOLINGS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "mean": lambda maps: maps.mean(axis=(1, 2)),
    "GeM": lambda maps: gem(maps, 3.0),
    "maximum": lambda maps: maps.max(axis=(1, 2)),
}
_DIMS = (32, 128, 512)
_NAMES = ("layer", "pooling", "dimension", "whitening")


def record_factors(ledger: Ledger, lab: LineageLab) -> str:
    """MAP on validation photos of all combinations of four factors, and which of them matter.

    Validation photos, because a table of so many looks at test photos would choose by them.
    """
    if not lab.task.knows_products:
        return "Products are not known, so that the factors of transfer were not measured."
    scores: dict[tuple[str, ...], float] = {}
    for layer, (pooling, pool) in itertools.product((MIDDLE, LAST), _POOLINGS.items()):
        photos, offered, seen = (
            unit(some.each(pool, layer)) for some in (lab.photos["val"], lab.catalogue, lab.seen[0])
        )
        learned = np.concatenate([seen, offered])
        found = components(learned)
        for dim, whiten in itertools.product(_DIMS, (False, True)):
            if dim > min(learned.shape):
                continue
            to = first_of(found, dim, whiten=whiten)
            score = _precision(lab, unit(to(photos)), unit(to(offered)))
            white = "whitened" if whiten else "plain"
            scores[layer, pooling, str(dim), white] = score
            row = f"{layer} map, {pooling} | {dim}, {white}"
            ledger.record(FACTORS, row, "mAP", score)
    return reading_of_factors(scores)


def reading_of_factors(scores: dict[tuple[str, ...], float]) -> str:
    """How far the mean over all else differs between the levels of each factor; Markdown.

    Levels are compared over those combinations of all else that each of them has.
    """
    lines = []
    for place, name in enumerate(_NAMES):
        levels = list(dict.fromkeys(combination[place] for combination in scores))
        others = dict.fromkeys((c[:place], c[place + 1 :]) for c in scores)
        rows = [
            [scores.get((*before, level, *after), np.nan) for level in levels]
            for before, after in others
        ]
        whole = np.array([row for row in rows if np.isfinite(row).all()])
        if len(levels) > 1 and len(whole):
            means = whole.mean(axis=0)
            best, worst = int(means.argmax()), int(means.argmin())
            lines.append((float(means[best] - means[worst]), name, levels[best], levels[worst]))
    told = [
        f"**{name}**: {best} is ahead of {worst} by {100 * gap:.1f} points of mAP, in the mean "
        "over all else."
        for gap, name, best, worst in sorted(lines, reverse=True)
    ]
    return bullets(told)


def _precision(lab: LineageLab, photos: np.ndarray, offered: np.ndarray) -> float:
    order = np.argsort(-photos @ offered.T, axis=1, kind="stable")[:, :60]
    return float(lab.task.precision(order, "val").mean())


# Labels ----------------------------------------------------------------------------------------


def record_labels(ledger: Ledger, lab: LineageLab, n_resamples: int) -> str:
    """Accuracy of categories by the share of labels learned from, pretrained and from scratch."""
    wanted = lab.categories("test")
    known = wanted >= 0
    if lab.task.lacks()["categories"] or not known.any():
        return "Categories are not known, so that the worth of labels was not measured."
    groups = lab.task.queries.product_id.fillna("").to_numpy()[lab.task.rows("test")][known]
    told = []
    for name, ask in ((PRETRAINED, _pretrained), (SCRATCH, _scratch)):
        for share in SHARES:
            try:
                said = ask(lab, share)
            except InputError as reason:  # weights that cannot be had
                told.append(f"Not measured: {name}. {reason}")
                break
            hits = (said == wanted)[known].astype(float)
            interval = mean_interval(hits, n_resamples, lab.seed, groups=groups)
            ledger.record(LABELS, f"{name} | {share:.0%}", "Accuracy@1", interval, seeds=1)
    return bullets([*told, _reading_of_labels(ledger)])


def label_curves(ledger: Ledger) -> dict[str, list[Interval]]:
    """Start → accuracy at each share of the labels."""
    found: dict[str, list[Interval]] = {}
    for variant, interval in ledger.intervals(LABELS, "Accuracy@1").items():
        found.setdefault(variant.rpartition(" | ")[0], []).append(interval)
    return found


def _reading_of_labels(ledger: Ledger) -> str:
    curves = label_curves(ledger)
    if set(curves) != {PRETRAINED, SCRATCH}:
        return "Only one of both starts was measured."
    whole = curves[SCRATCH][-1].value
    enough = [s for s, i in zip(SHARES, curves[PRETRAINED], strict=True) if i.low > whole]
    if enough:
        return (
            f"With {min(enough):.0%} of the labels, ImageNet weights are surely better than all "
            "labels from scratch, after so many steps."
        )
    return "At no share of the labels are ImageNet weights surely better than all from scratch."


def _pretrained(lab: LineageLab, share: float) -> np.ndarray:
    """Category codes of test photos by a logistic regression on a pretrained feature."""
    from sklearn.linear_model import LogisticRegression  # slow to import

    def describe() -> dict[str, np.ndarray]:
        sides = {"train": lab.photos["train"], "catalogue": lab.catalogue}
        sides["test"] = lab.photos["test"]
        if lab.is_pretrained:
            return {name: some.pooled for name, some in sides.items()}
        network, _ = make_backbone("mobilenet_v2", pretrained=True)
        px, device = lab.settings.pretrained_px, lab.ground.device
        embed = Embedder(network, image_px=px, name="mobilenet_v2", device=device)
        return {name: embed.embed(some.at(px)) for name, some in sides.items()}

    features = lab.once("pretrained features", describe)
    learned = np.concatenate([features["train"], features["catalogue"]])
    labels = np.concatenate([lab.categories("train"), lab.categories("catalogue")])
    rows = some_labelled(labels, share, lab.seed)
    model = LogisticRegression(C=100.0, max_iter=300, tol=1e-3).fit(learned[rows], labels[rows])
    return np.asarray(model.predict(features["test"]))


def _scratch(lab: LineageLab, share: float) -> np.ndarray:
    """The same by a small network that saw nothing else; kept on disk."""
    s = lab.settings
    known = key(
        {"lineage": VERSION, "training": TRAINING, "batches": BATCHES}
        | libraries("torch", "torchvision"),
        data=lab.digest,
        settings=asdict(s),
        share=share,
        seed=lab.seed,
        device=repr(lab.ground.device),
    )
    target = lab.folder / "labels" / f"{known}.json"
    if not target.is_file():
        net = from_scratch(lab, "googlenet_4a", lab.seed, share)
        px, device = s.scratch_px, lab.ground.device
        said = predict(net, lab.photos["test"].at(px), px, device)[0].argmax(axis=1)
        target.parent.mkdir(parents=True, exist_ok=True)
        with atomic_file(target) as draft:
            draft.write_text(json.dumps(said.tolist()), encoding="utf-8")
    return np.array(json.loads(target.read_text(encoding="utf-8")))
