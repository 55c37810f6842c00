"""What may be asked of an index, and of which items; checked before anything is done."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from numbers import Integral
from typing import Any

import numpy as np

from vsa.runtime.errors import InputError

DISTANCES = ("asymmetric", "hamming")


@dataclass(frozen=True)
class SearchParams:
    """What a query may cost: lists visited, and candidates kept by the distance of codes (R).

    Hamming distance, the paper's, counts the bits that differ. In the asymmetric distance such a
    bit weighs 1 to 15, by how far the query is from the plane that the bit is about. So it needs
    fewer candidates. Where a codec makes bits alone, all weigh the same. Where codes are of
    differences from the centroids of lists, both are turned into the similarity that is estimated.
    """

    n_probe: int = 16
    n_candidates: int = 1000
    distance: str = "asymmetric"  # or "hamming"


MAX_K = 2**20  # results, which are padded to as many


def check_request(k: int, params: SearchParams) -> SearchParams:
    """The parameters, with `k` candidates at least; raises InputError if they ask for nothing."""
    if not isinstance(params, SearchParams):
        raise InputError(
            f"{params!r} are no search parameters", cure="Give vsa.SearchParams(n_probe=…)"
        )
    asked = ("k", k), ("n_probe", params.n_probe), ("n_candidates", params.n_candidates)
    for name, value in asked:
        if type(value) is int:  # nearly always, and asked in no time
            continue
        if not isinstance(value, Integral) or isinstance(value, bool):
            raise InputError(f"{name} = {value!r} is no whole number", cure="Give a whole number")
    if k < 1:
        raise InputError(f"k = {k} asks for no results", cure="Ask for at least one")
    if k > MAX_K:
        raise InputError(f"k = {k} is more than fits a page", cure=f"Ask for at most {MAX_K:,}")
    if params.n_probe < 1:
        raise InputError(f"n_probe = {params.n_probe} visits no list", cure="Visit at least one")
    if params.distance not in DISTANCES:
        raise InputError(
            f"there is no distance {params.distance!r}", cure=f"Take {' or '.join(DISTANCES)}"
        )
    return replace(params, n_candidates=int(k)) if k > params.n_candidates else params


def check_ids(ids: Any) -> np.ndarray:
    """Ids as int64 (n,); raises InputError unless they are whole numbers, each given once."""
    ids = as_array(ids)
    if ids.ndim != 1 or (len(ids) and not np.issubdtype(ids.dtype, np.integer)):
        raise InputError(f"ids are {ids.dtype} {ids.shape}", cure="Give whole numbers, one each")
    values, counts = np.unique(ids, return_counts=True)
    if (counts > 1).any():
        raise InputError(f"id {values[counts.argmax()]} is given twice", cure="Give it once")
    if (ids == -1).any():
        raise InputError("an id is −1, which a search gives where nothing is found", cure="Take 0")
    if len(ids) and ids.max() > np.iinfo(np.int64).max:
        raise InputError(f"id {ids.max()} does not fit", cure="Ids are 64-bit and signed")
    return ids.astype(np.int64)


def as_array(values: Any) -> np.ndarray:
    """A numpy array of what may be a tensor, on any device and of any floating type."""
    torch = sys.modules.get("torch")  # who has a tensor has loaded it
    kind = getattr(torch, "Tensor", None)  # another thread may be loading it
    if torch is not None and kind is not None and isinstance(values, kind):
        found = values.detach().cpu().resolve_conj().resolve_neg()
        shared = torch.float16, torch.float32, torch.float64  # bfloat16 is torch's alone
        if found.is_floating_point() and found.dtype not in shared:
            found = found.float()  # exact
        return np.asarray(found.numpy())
    return np.asarray(values)
