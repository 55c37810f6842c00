"""One way in for every data set: tables, checked, of images that can be read."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from vsa.data.folder import load_folder
from vsa.data.images import reject_unreadable
from vsa.data.matching import rejected_notes
from vsa.data.names import DATASETS, FOLDER_PREFIX
from vsa.data.public import PUBLIC, load_public
from vsa.data.schema import CATALOGUE, PVLOG, QUERIES, SPLITS, Dataset, check
from vsa.data.stable import stable_sample
from vsa.runtime.errors import InputError


def load(name: str, settings: Mapping[str, Any], seed: int) -> Dataset:
    """Load ``synthetic``, ``grocery``, ``clothing`` or ``folder:PATH`` (DESIGN, "Data contract").

    The seed makes another synthetic shop; photographs, and which of them are catalogue or
    query, stay the same for every seed. Settings with ``max_images_per_table`` keep that many
    rows of each table of a public data set. Images that cannot be decoded are listed in
    ``rejected``.

    Raises InputError for an unknown name, an absent or altered data set, a mistake in a
    folder's files, or if no catalogue image or no query of some split is left.
    """
    if name == "synthetic":
        # Imported here: rendering pulls in much that photographs do not need, and the reverse
        from vsa.study.simulate.synthetic import load_synthetic

        dataset = load_synthetic(settings, seed)
    elif name in PUBLIC:
        dataset = load_public(name)
        if n_max := settings.get("max_images_per_table"):
            dataset = _sample(dataset, n_max)
    elif name.startswith(FOLDER_PREFIX):
        dataset = load_folder(name.removeprefix(FOLDER_PREFIX))
    else:
        raise InputError(
            f"unknown data set {name!r}",
            cure=f"Choose one of {', '.join(DATASETS)}, or {FOLDER_PREFIX}PATH for your own",
        )
    dataset = reject_unreadable(_checked(dataset))
    _refuse_empty(dataset)
    return _noting_rejected(dataset)


def _sample(dataset: Dataset, n_max: int) -> Dataset:
    """A smaller data set with every category, and every leaf and source of the catalogue."""
    catalogue = stable_sample(
        dataset.catalogue, n_max, ["category", "leaf", "source"], name="image_id"
    )
    queries = stable_sample(dataset.queries, n_max, ["split", "category"], name="query_id")
    return dataclasses.replace(dataset, catalogue=catalogue, queries=queries)


def _checked(dataset: Dataset) -> Dataset:
    pvlog = dataset.pvlog
    return dataclasses.replace(
        dataset,
        catalogue=check(dataset.catalogue, CATALOGUE, f"{dataset.name} catalogue"),
        queries=check(dataset.queries, QUERIES, f"{dataset.name} queries"),
        pvlog=None if pvlog is None else check(pvlog, PVLOG, f"{dataset.name} pvlog"),
    )


def _noting_rejected(dataset: Dataset) -> Dataset:
    """Says which images are not used, and whether identities are known without them."""
    if dataset.rejected.empty:
        return dataset
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
            raise InputError(
                f"no usable image is left in the {what}, {len(dataset.rejected)} could not be read",
                cure="Add images there, or repair those that cannot be read",
                file=dataset.root,
            )
