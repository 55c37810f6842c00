"""The methods that notebook 03 compares: what each learns from, by which loss, in which stages."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from vsa.embedding.candidates import (
    ADAPTED,
    ADAPTED_BOTH,
    ADAPTED_CROP,
    ADAPTED_OBJECT,
    JOINT_CROP,
    PLAIN,
    PLAIN_BOTH,
    PLAIN_CROP,
    PLAIN_OBJECT,
)
from vsa.embedding.losses import LOSSES, PAPER
from vsa.embedding.recipe import FEATURES, SOFT_BOXES, STEEP_BOXES, make_stages
from vsa.embedding.train import Stage
from vsa.runtime.errors import InputError
from vsa.study.embedding.baselines import baselines
from vsa.study.embedding.regimes import POINTS
from vsa.study.settings import EmbeddingStudySettings

CATEGORY = "category network"  # what everything starts from: notebook 02's classifier

CATEGORY_TRIPLETS = "category-label triplets"
CLICKS = "clicks"
FILTER = "+ filter"
SHARED = "+ shared negatives"
PER_QUERY = "+ per-query averaging"
JOINT = "+ mask (joint)"
SAME_STEPS = "no mask, same steps"
SAME_COMPUTE = "no mask, same compute"
RAW = "raw clicks, shared negatives, per query"
ORACLE = "identity oracle"
SHUFFLED = "shuffled clicks"
PLAIN_JOINT = "joint from the start"
SUPERVISED = "localiser with box labels"
DETECTOR = "Faster R-CNN with box labels"

# The joint network's feature branch, behind masks that it did not find itself
WHOLE_IMAGE = "whole image"
CONSTANT_BOX = "best constant box"
TRUE_BOXES = "true boxes"


@dataclass(frozen=True)
class Variant:
    """One method. ``start`` names the variant whose weights it continues."""

    name: str
    source: str = "filtered clicks"  # or: clicks, shuffled clicks, identities, categories
    loss: str = PAPER
    stages: tuple[str, ...] = ("features",)  # keys of `make_stage`
    start: str = CATEGORY
    masked: bool = False  # queries are described behind the mask of their own box
    noise_click_rate: float | None = None  # learn from a log simulated with this rate instead
    changes: tuple[tuple[str, Any], ...] = ()  # of EmbeddingSettings
    times_steps: float = 1  # of the stage "features"
    axis: str = ""  # what a sensitivity variant varies

    def adapt(self, settings: EmbeddingStudySettings) -> EmbeddingStudySettings:
        """The settings with this variant's changes."""
        n_steps = max(round(self.times_steps * settings.n_steps), 1)
        return dataclasses.replace(settings, n_steps=n_steps, **dict(self.changes))


def make_stage(key: str, loss: str, settings: EmbeddingStudySettings) -> Stage:
    """One stage of a variant: of the recipe, or what it is compared with."""
    s, stages = settings, make_stages(loss, settings)
    features, joint = stages[FEATURES], stages["joint"]
    others = {
        "plain joint": dataclasses.replace(
            joint,
            n_steps=s.n_steps,
            learning_rate=s.learning_rate,
            box_learning_rate=s.learning_rate,
            size_prior=0.0,
        ),
        "more features": dataclasses.replace(
            features, n_steps=s.n_joint_steps, learning_rate=s.joint_learning_rate
        ),
        "matched features": dataclasses.replace(
            features, n_steps=s.n_matched_steps, learning_rate=s.joint_learning_rate
        ),
    }
    return (stages | others)[key]


_CHAIN = (SOFT_BOXES, STEEP_BOXES, "joint")

_NOTEBOOK = (
    Variant(CATEGORY_TRIPLETS, "categories"),
    Variant(CLICKS, "clicks", "own negatives"),
    Variant(FILTER, loss="own negatives"),
    Variant(SHARED, loss="shared negatives"),
    Variant(PER_QUERY),
    Variant(JOINT, stages=_CHAIN, start=PER_QUERY, masked=True),
    Variant(SAME_STEPS, stages=("more features",), start=PER_QUERY),
    Variant(ORACLE, "identities"),
)
_CONTROLS = (
    Variant(RAW, "clicks"),
    Variant(SAME_COMPUTE, stages=("matched features",), start=PER_QUERY),
    Variant(PLAIN_JOINT, stages=("plain joint",), masked=True),
    Variant(SHUFFLED, "shuffled clicks"),
)
_PUBLISHED = tuple(
    Variant(f"{loss} loss", loss=loss)
    for loss in ("semi-hard", "N-pair", "multi-similarity", "contrastive")
)
PUBLISHED_LOSSES = tuple(variant.name for variant in _PUBLISHED)
# How long to train, by validation photos: see `vsa.study.embedding.lengths`
_SHORTER = (
    Variant("a third of the steps", times_steps=1 / 3),
    Variant("two thirds of the steps", times_steps=2 / 3),
)
_LENGTHS = (*_SHORTER, Variant("twice the steps", times_steps=2))
_SENSITIVITY = (
    *(
        Variant(f"4 × the steps | {short}", source, times_steps=4, axis="training steps")
        for source, short in (
            ("clicks", "raw"),
            ("filtered clicks", "filtered"),
            ("identities", "oracle"),
        )
    ),
    *(
        Variant(f"{text} | {short}", source, noise_click_rate=rate, axis="stray clicks")
        for rate, text in ((0.0, "no stray clicks"), (0.06, "three times the stray clicks"))
        for source, short in (("clicks", "raw"), ("filtered clicks", "filtered"))
    ),
    *(
        Variant(f"δ = {margin}", changes=(("margin", margin),), axis="margin δ")
        for margin in (0.2, 0.8)
    ),
    *(
        Variant(
            f"expected side {side}",
            stages=_CHAIN,
            start=PER_QUERY,
            masked=True,
            changes=(("expected_side", side),),
            axis="size prior",
        )
        for side in (0.5, 0.9)
    ),
    Variant(
        "no size prior",
        stages=_CHAIN,
        start=PER_QUERY,
        masked=True,
        changes=(("size_priors", (0.0, 0.0, 0.0)),),
        axis="size prior",
    ),
    Variant(
        "k = 30 throughout",
        stages=_CHAIN,
        start=PER_QUERY,
        masked=True,
        changes=(("slopes", ((30.0, 30.0), (30.0, 30.0))),),
        axis="slope k",
    ),
)
OTHER_MASKS = (WHOLE_IMAGE, CONSTANT_BOX, TRUE_BOXES)
# Who looks at a photo, and how: see `vsa.study.embedding.looking`
# Boxes that objectness is compared with, all looked at by the plain network
CONSTANT_CROP, ACTIVATION_CROP = "plain, constant crop", "plain, activation crop"
SUPERVISED_CROP = "plain, supervised crop"
TRUE_CROPS = ("plain, true crop", "adapted, true crop", "joint, true crop")
LOOKS = (
    PLAIN,
    "plain, mask",
    PLAIN_CROP,
    CONSTANT_CROP,
    ACTIVATION_CROP,
    PLAIN_OBJECT,
    PLAIN_BOTH,
    SUPERVISED_CROP,
    TRUE_CROPS[0],
    ADAPTED,
    "adapted, mask",
    ADAPTED_CROP,
    ADAPTED_OBJECT,
    ADAPTED_BOTH,
    TRUE_CROPS[1],
    JOINT_CROP,
    TRUE_CROPS[2],
)
_ASKED_OF_OTHERS = (*OTHER_MASKS, SUPERVISED, DETECTOR, *LOOKS)
NEED_BOXES = (
    CONSTANT_BOX,
    TRUE_BOXES,
    SUPERVISED,
    DETECTOR,
    CONSTANT_CROP,
    ACTIVATION_CROP,
    SUPERVISED_CROP,
    *TRUE_CROPS,
)  # to learn from, or to be judged by alone
LENGTHS = {v.name: v.times_steps for v in (*_LENGTHS, Variant(PER_QUERY))}  # name → factor
AXES = tuple(dict.fromkeys(v.axis for v in _SENSITIVITY))  # of the sensitivity variants
NEED_PRODUCTS = tuple(
    v.name for v in (*_NOTEBOOK, *_SENSITIVITY) if v.source == "identities"
)  # of training photos
NEED_SIMULATION = tuple(v.name for v in _SENSITIVITY if v.noise_click_rate is not None)


def registered() -> tuple[Variant, ...]:
    """A variant for each loss that somebody else has registered, trained on mined clicks."""
    return tuple(Variant(f"{name} loss", loss=name) for name in LOSSES if not LOSSES.is_own(name))


def variants() -> dict[str, Variant]:
    """Name → variant, of all that are trained from triplets."""
    groups = (_NOTEBOOK, _LENGTHS, _CONTROLS, _PUBLISHED, registered(), _SENSITIVITY)
    return {variant.name: variant for group in groups for variant in group}


def untrained() -> tuple[str, ...]:
    """What is asked as it is: features without training, or trained for categories."""
    others = (*variants(), *_ASKED_OF_OTHERS, CATEGORY, *POINTS)
    taken = [name for name in baselines() if name in others]
    if taken:
        raise InputError(
            f"a feature baseline goes by the name {taken[0]!r}, which is a method of the study",
            cure="Register it by another name",
        )
    return (*baselines(), CATEGORY)


def in_notebook() -> tuple[str, ...]:
    """What the notebook trains, with the first seed."""
    trained = (v.name for v in (*_NOTEBOOK, *_SHORTER, *registered()))
    return (*untrained(), *trained, *OTHER_MASKS, *LOOKS, DETECTOR)


def may_lack_weights(name: str) -> bool:
    """Whether a method needs pretrained weights that may not be at hand, and is left out then."""
    return name in baselines() or name in LOOKS or name in POINTS


def in_study() -> tuple[str, ...]:
    """What the study trains, with every seed."""
    controls = (v.name for v in _CONTROLS)
    others = (v.name for v in (*_PUBLISHED, *_LENGTHS[len(_SHORTER) :], *_SENSITIVITY))
    return (*in_notebook(), *controls, SUPERVISED, *others, *POINTS)


def is_sensitivity(name: str) -> bool:
    """Whether that variant differs from the recipe in a setting, or in the shop, only."""
    return name in POINTS or any(v.name == name for v in (*_LENGTHS, *_SENSITIVITY))
