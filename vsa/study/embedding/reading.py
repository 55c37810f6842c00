"""What a run says about click-mined training, in sentences generated from its records."""

from __future__ import annotations

from vsa.study.embedding.baselines import IMAGENET
from vsa.study.embedding.results import RECALL, comparisons
from vsa.study.embedding.variants import (
    CATEGORY,
    CATEGORY_TRIPLETS,
    CLICKS,
    CONSTANT_BOX,
    FILTER,
    JOINT,
    ORACLE,
    PER_QUERY,
    RAW,
    SAME_COMPUTE,
    SAME_STEPS,
    SHARED,
    TRUE_BOXES,
    WHOLE_IMAGE,
)
from vsa.study.ledger.ledger import Ledger
from vsa.study.ledger.sentences import bullets

_CALLED = {
    CATEGORY: "the category network",
    CATEGORY_TRIPLETS: "triplets of category labels",
    IMAGENET: "ImageNet features",
    CLICKS: "raw clicks with own negatives",
    FILTER: "filtered clicks with own negatives",
    RAW: "raw clicks with shared negatives",
    SHARED: "filtered clicks, averaged over all terms",
    PER_QUERY: "filtered clicks with shared negatives, averaged per query",
    ORACLE: "true identities",
    JOINT: "the network with learned masks",
    SAME_STEPS: "no mask after as many steps",
    SAME_COMPUTE: "no mask after as many image passes",
    WHOLE_IMAGE: "that network asked without a mask",
    TRUE_BOXES: "that network asked behind true boxes",
    CONSTANT_BOX: "the best constant box",
}
_QUESTIONS = {
    "Do clicks teach what labels do not?": (
        "clicks − category network",
        "clicks − category-label triplets",
        "clicks − ImageNet",
        "clicks − colour histogram",
        "shuffled clicks − category network",
    ),
    "Does the filter pay?": (
        "filter, own negatives",
        "filter, shared negatives",
        "mined − raw clicks",
        "identities − mined clicks",
    ),
    "Do sharing negatives and averaging per query pay?": (
        "sharing negatives",
        "averaging per query",
    ),
    "Is there a better loss?": (),  # than the paper's: all that are registered
    "Does masking pay?": (
        "mask − no mask, same steps",
        "mask − no mask, same compute",
        "learned boxes − whole image",
        "masks in training only − no mask, same steps",
        "true boxes − learned boxes",
    ),
}


def reading(ledger: Ledger) -> str:
    """What was enough and what was not, question by question; Markdown.

    Comparisons that the run does not have are named in one sentence at the end.
    """
    metric, pairs = f"{RECALL} difference", comparisons()
    losses = tuple(name for name in pairs if name.endswith(" − the paper's loss"))
    known, parts, absent = ledger.intervals("difference", metric), [], []
    for question, variants in _QUESTIONS.items():
        variants = variants or losses
        made = [variant for variant in variants if variant in known]
        absent += [variant for variant in variants if variant not in known]
        if made:
            told = [ledger.compare("difference", v, metric, *map(_called, pairs[v])) for v in made]
            parts.append(f"**{question}**\n\n{bullets(told)}")
    boxes = f"{JOINT} − {CONSTANT_BOX}"
    if boxes in ledger.intervals("box difference", "mean IoU difference"):
        told = [
            ledger.compare(
                "box difference",
                boxes,
                "mean IoU difference",
                "learned boxes",
                _called(CONSTANT_BOX),
            )
        ]
        parts.append(f"**Are the boxes worth the name?**\n\n{bullets(told)}")
    if absent:
        parts.append(f"Not compared in this run (`make study` does): {'; '.join(absent)}.")
    return "\n\n".join(parts)


def _called(variant: str) -> str:
    return _CALLED.get(variant, variant)
