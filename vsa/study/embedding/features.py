"""Features of a trained variant, asked of its network once more."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from vsa.embedding.extract import describe
from vsa.runtime.errors import InputError
from vsa.runtime.registry import unknown
from vsa.study.embedding.experiment import EmbeddingLab
from vsa.study.embedding.jobs import JUDGED
from vsa.study.embedding.regimes import POINTS
from vsa.study.embedding.variants import JOINT, SUPERVISED, in_study, untrained, variants


def features_of(
    lab: EmbeddingLab, name: str, split: str, command: Callable[[str], str]
) -> np.ndarray:
    """Unit features of a variant, float32 (n, d), of a split's queries or of the catalogue.

    Parameters
    ----------
    split : train, val, test or "catalogue".
    command : verb → what to type, for the error that names what is lacking.

    Raises
    ------
    InputError for an unknown variant, one that is not trained here, a point of a regime, or a split
    whose boxes were not asked for.
    """
    if name not in in_study():
        raise unknown("variant", name, in_study())
    if name in POINTS:
        raise InputError(
            f"features of {name} are not kept: its photos or its log were made for it alone",
            cure="Choose a variant that learned from the shop as it is",
        )
    if name in untrained():
        queries, catalogue = lab.untrained_features(name)
        return catalogue if split == "catalogue" else queries[lab.task.rows(split)]
    is_own = name in variants() or name == SUPERVISED
    if not lab.is_done(name) or not lab.is_done(name if is_own else JOINT):
        raise InputError(
            f"{name}, seed {lab.seed}, is not trained here with the code and settings as they are",
            cure=f"Run: {command('study')} --jobs '{name}'",
        )
    images, net = lab.task.images, lab.net(name if is_own else JOINT)
    if split == "catalogue":
        return describe(net, images.catalogue, lab.device).features
    asked = images.queries[lab.task.rows(split)]
    if is_own:
        is_masked = name == SUPERVISED or variants()[name].masked
        return describe(net, asked, lab.device, boxes="own" if is_masked else None).features
    if split not in JUDGED:
        raise InputError(
            f"{name} was asked for boxes of the {' and the '.join(JUDGED)} queries only",
            cure="Choose one of these",
        )
    return describe(net, asked, lab.device, boxes=lab.run(name).judged[split].boxes).features
