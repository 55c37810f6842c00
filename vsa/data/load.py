"""One way in for every data set: tables, checked, of images that can be read."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from vsa.data.datasets import find_source
from vsa.data.files import absolute, fingerprint_files
from vsa.data.matching import rejected_notes
from vsa.data.rejecting import reject_unreadable
from vsa.data.schema import CATALOGUE, PVLOG, QUERIES, SPLITS, Dataset, check, complete
from vsa.runtime.errors import InputError


def load_dataset(
    name: str, *, seed: int = 0, settings: Mapping[str, Any] | object | None = None
) -> Dataset:
    """Load a data set of `vsa.datasets`, or a shop of one's own, ``folder:PATH``.

    The seed makes another synthetic shop; photographs, and which of them are catalogue or
    query, stay the same for every seed. Images that cannot be decoded are listed in ``rejected``.

    Parameters
    ----------
    name : ``list(vsa.datasets)`` has the names.
    seed : ≥ 0.
    settings : of this data set, an object of its own kind or a mapping from names to values;
        what is not given has its default.

    Returns
    -------
    Dataset
        Tables ``catalogue``, ``queries`` and perhaps ``pvlog`` in the form of ``vsa.data.schema``.
        Columns that may be empty may be left out by what makes the data set.

    Raises
    ------
    InputError
        For an unknown name or setting, an absent or altered data set, a mistake in a table, or if
        no catalogue image or no query of some split is left.

    Examples
    --------
    >>> import vsa
    >>> shop = vsa.load_dataset("synthetic", settings={"n_products_per_category": 3})
    >>> len(shop.categories), shop.rejected.empty
    (14, True)
    """
    source = find_source(name)
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise InputError(f"seed {seed!r} is not a whole number ≥ 0", cure="Pass seed=0, say")
    made = source(settings, seed)
    if not isinstance(made, Dataset):
        raise InputError(
            f"the data set {name!r} makes {type(made).__name__!r}",
            cure="Return a vsa.Dataset from its function",
        )
    if source.may_show_pictures and not made.may_show_pictures:
        raise InputError(
            f"the pictures of {name!r} may not be shown, which has to be known before it is loaded",
            cure="Register it as vsa.DataSource(..., may_show_pictures=False)",
        )
    made = dataclasses.replace(made, may_show_pictures=source.may_show_pictures)
    dataset = reject_unreadable(_checked(made))
    _refuse_empty(dataset)
    return _noting_rejected(dataset)


def fingerprint_dataset(dataset: Dataset, made_by: str) -> str:
    """12 hex digits that change with the tables, what is said of them, and the pictures' files."""
    tables = dataset.catalogue, dataset.queries, dataset.rejected, dataset.pvlog
    said = [
        value
        for field in dataclasses.fields(dataset)
        if not isinstance(value := getattr(dataset, field.name), pd.DataFrame)
    ]
    paths = [*dataset.catalogue.path, *dataset.queries.path, *dataset.rejected.path]
    return fingerprint_files(
        absolute(dataset.root, paths),
        tables=[_digest(table) for table in tables if table is not None],
        said=said,
        made_by=made_by,
    )


def _digest(table: pd.DataFrame) -> str:
    rows = pd.util.hash_pandas_object(table, index=False).to_numpy()
    return hashlib.sha256(f"{list(table.columns)}".encode() + rows.tobytes()).hexdigest()


def _checked(dataset: Dataset) -> Dataset:
    tables = {"catalogue": CATALOGUE, "queries": QUERIES, "pvlog": PVLOG}
    return dataclasses.replace(
        dataset,
        root=Path(dataset.root).absolute(),
        **{
            name: check(complete(table, schema), schema, f"{dataset.name} {name}")
            for name, schema in tables.items()
            if (table := getattr(dataset, name)) is not None
        },
    )


def _noting_rejected(dataset: Dataset) -> Dataset:
    """Says which images are not used, and whether identities are known without them."""
    notes = [*dataset.notes, *rejected_notes(dataset.root, dataset.rejected)]
    is_matched = dataset.queries.product_id.isin(dataset.catalogue.product_id)
    has_identities = dataset.has_identities and bool(is_matched.any())
    if dataset.has_identities and not has_identities:
        notes.append(
            "warning: NO query shows a product of a catalogue image that can be used; retrieval "
            "cannot be measured and no clicks can be simulated"
        )
    return dataclasses.replace(dataset, notes=notes, has_identities=has_identities)


def _refuse_empty(dataset: Dataset) -> None:
    counts = {"catalogue": len(dataset.catalogue)}
    counts |= {f"{split} queries": int((dataset.queries.split == split).sum()) for split in SPLITS}
    for what, n_rows in counts.items():
        if n_rows == 0:
            problem, n_rejected = f"no usable image is in the {what}", len(dataset.rejected)
            raise InputError(
                f"{problem}, {n_rejected} could not be read" if n_rejected else problem,
                cure="Add images there, or repair those that cannot be read",
                file=dataset.root,
            )
