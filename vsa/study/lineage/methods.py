"""What stands in a row of notebook 07: a method, fitted to a shop's pictures and then asked.

A method is registered in `METHODS`, which is ``vsa.methods`` (see docs/extending.md). All are
tuned and judged along one path, `vsa.study.lineage.experiment`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from vsa.runtime.errors import InputError
from vsa.runtime.registry import Registry
from vsa.study.lineage.pictures import Pictures

if TYPE_CHECKING:
    from vsa.study.lineage.lab import LineageLab

# What a method may need of the data, and what is said where they lack it
NEEDS = {
    "categories": "the data have fewer than two categories to learn from",
    "training products": "no training photo shows a product of the catalogue that is known",
    "training boxes": "the data have no true boxes of training photos to learn from",
    "true boxes": "the data have no true boxes of test photos to be judged by",
    "clicks": "the data do not allow click-mined training",
}

# What somebody has to do for a method, from the simplest on
EFFORTS = (
    "nothing is fitted",
    "statistics of the shop's pictures",
    "a linear layer learned",
    "boxes learned",
    "a network trained",
    "a whole system",
)


@dataclass(frozen=True)
class Search:
    """A fitted method: photos → catalogue rows, boxes, or both."""

    rank: Callable[[Pictures], np.ndarray] | None = None  # int64 (n, ≤ 60), best first
    n_bytes: float | None = None  # that are kept of each catalogue picture
    locate: Callable[[Pictures], np.ndarray] | None = None  # float32 (n, 4), shares of the sides
    weights_mb: float | None = None  # of its network, where that is not the frozen one


@dataclass(frozen=True)
class Method:
    """A way to search or to locate, what it needs, and what validation photos may choose.

    ``fit(lab, seed, **setting)`` gives a `Search`; its docstring says in two sentences what the
    work proposes and what is kept, and what is left out.
    """

    fit: Callable[..., Search]
    reference: str  # as the paper numbers it, "[17]"
    grid: tuple[Mapping[str, Any], ...] = ({},)  # settings to choose from, by mAP on validation
    needs: tuple[str, ...] = ()  # keys of NEEDS
    learns: bool = False  # from random draws, so that it is fitted with several seeds
    is_slow: bool = False  # to locate, so that a few photos are asked only
    effort: int = 1  # of whoever would have it, an index of EFFORTS
    reads: bool = False  # what earlier notebooks have published
    words: str = ""  # in place of the docstring

    @property
    def about(self) -> str:
        """What the work proposes, what is kept, and what is left out."""
        return self.words or " ".join((inspect.getdoc(self.fit) or "").split())


def method(
    reference: str,
    *,
    grid: Sequence[Mapping[str, Any]] = ({},),
    needs: Sequence[str] = (),
    learns: bool = False,
    is_slow: bool = False,
    effort: int = 1,
    reads: bool = False,
) -> Callable[[Callable[..., Search]], Method]:
    """Make a method of a function; arguments are those of `Method`."""

    def made(fit: Callable[..., Search]) -> Method:
        return Method(fit, reference, tuple(grid), tuple(needs), learns, is_slow, effort, reads)

    return made


def _check(name: str, entry: Method) -> None:
    if not isinstance(entry, Method) or not callable(entry.fit) or not entry.grid:
        raise InputError(
            f"the method {name!r} is of type {type(entry).__name__}",
            cure="Register a vsa.study.lineage.methods.Method(fit, reference, …)",
        )
    if entry.effort not in range(len(EFFORTS)):
        raise InputError(
            f"the method {name!r} has the effort {entry.effort!r}",
            cure=f"Give a number of EFFORTS: 0 ({EFFORTS[0]}) to 5 ({EFFORTS[-1]})",
        )
    if unknown := sorted(set(entry.needs) - set(NEEDS)):
        raise InputError(
            f"the method {name!r} needs {unknown[0]!r}, which nothing is known of",
            cure=f"Choose of {', '.join(NEEDS)}",
        )


METHODS: Registry[Method] = Registry("method", "methods", _check)


def fit_checked(name: str, lab: LineageLab, seed: int, setting: Mapping[str, Any]) -> Search:
    """Fit a method; InputError, with its name, for somebody's own that fails or gives no Search."""
    entry = METHODS[name]
    try:
        found = entry.fit(lab, seed, **setting)
    except InputError:
        raise
    except Exception as error:
        if METHODS.is_own(name):
            raise
        raise _mistaken(name, f"fails ({type(error).__name__}: {error})") from error
    if not isinstance(found, Search) or (found.rank is None and found.locate is None):
        raise _mistaken(name, f"gives a {type(found).__name__} that neither ranks nor locates")
    return found


def check_ranks(name: str, ranks: np.ndarray, n_photos: int, n_pictures: int) -> np.ndarray:
    """Rows of the catalogue, int32 (n, 60), filled up with −1; InputError for what is none."""
    ranks = np.asarray(ranks)
    fits = ranks.ndim == 2 and len(ranks) == n_photos and ranks.dtype.kind in "iu"
    if not fits or (ranks.size and not -1 <= ranks.min() <= ranks.max() < n_pictures):
        raise _mistaken(name, f"gives {ranks.dtype} {ranks.shape} for {n_photos} photos")
    order = np.sort(ranks, axis=1)
    if ((order[:, 1:] == order[:, :-1]) & (order[:, 1:] >= 0)).any():
        raise _mistaken(name, "gives a catalogue row twice for one photo")
    filled = np.full((n_photos, N_RANKED), -1, np.int32)
    filled[:, : ranks.shape[1]] = ranks[:, :N_RANKED]
    return filled


def check_boxes(name: str, boxes: np.ndarray, n_photos: int) -> np.ndarray:
    """Boxes, float32 (n, 4) within [0, 1]; InputError for what are none."""
    boxes = np.asarray(boxes, np.float32)
    if boxes.shape != (n_photos, 4) or not ((boxes >= 0) & (boxes <= 1)).all():
        raise _mistaken(name, f"gives boxes {boxes.shape} for {n_photos} photos, or outside of 0–1")
    return boxes


N_RANKED = 60


def _mistaken(name: str, problem: str) -> InputError:
    return InputError(
        f"the method {name!r} {problem}",
        cure="Let fit(lab, seed) give a Search whose rank(photos) is int64 (n, ≤ 60), rows of the "
        "catalogue, each once, or whose locate(photos) is float32 (n, 4)",
    )
