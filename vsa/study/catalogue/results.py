"""What the data set holds, what selection removed and what the click log is like, as records."""

from __future__ import annotations

import numpy as np

from vsa.category.task import make_task, require_labels
from vsa.data.schema import SPLITS, Dataset
from vsa.runtime.errors import NotApplicable
from vsa.study.catalogue.prepare import Shop
from vsa.study.catalogue.splits import count_splits, record_splits
from vsa.study.figures.pictures import MAY_NOT
from vsa.study.ledger.ledger import Ledger
from vsa.study.ledger.sections import NO_PRODUCTS
from vsa.study.simulate.clicks import pvlog_statistics


def record_shop(ledger: Ledger, shop: Shop) -> None:
    """Write what the data set holds, what selection removed and what the click log is like."""
    dataset, selection = shop.dataset, shop.selection
    _record_counts(ledger, dataset)
    for reason, rows in selection[~selection.kept].groupby("reason"):
        ledger.record("selection", str(reason), "removed images", len(rows))
        precision = rows.same_product.astype(float).mean()
        if dataset.has_identities and np.isfinite(precision):
            ledger.record("selection", str(reason), "removal precision", precision, n=len(rows))
    ledger.record("selection", "all reasons", "removed images", int((~selection.kept).sum()))
    simulated, left_out = list(dataset.simulated), []
    try:
        require_labels(make_task(dataset, shop.kept.image_id))
    except NotApplicable as reason:
        left_out.append(str(reason))
    if shop.pvlog is None:
        left_out.append(NO_PRODUCTS)
    else:
        _record_clicks(ledger, shop)
        known = dataset.queries[dataset.queries.split == "val"].product_id
        if not known.isin(dataset.catalogue.product_id).any():
            left_out.append(
                "Choices by products, which are not known of validation photos: held-out clicks "
                "choose what is served, and no click is filtered."
            )
        if shop.pvlog_is_simulated:
            simulated.append(
                "The click log: a weak engine lists results and a click model picks among them."
            )
        simulated.append("Purchases: a model of shoppers with known probabilities decides.")
        if not shop.has_quality:
            simulated.append("Quality signals: listings carry none, so re-ranking draws them.")
    if not dataset.products_disjoint:
        left_out.append(
            "Retrieval of unseen products: the same products occur in training and test photos."
        )
    if not dataset.may_show_pictures:
        left_out.append(f"Figures that hold pictures: {MAY_NOT}.")
    splits = count_splits(shop)
    record_splits(ledger, splits)
    ledger.dataset_card(
        {
            "splits": splits.declared,
            "shared": splits.shared,
            "title": dataset.title,
            "source": dataset.source,
            "licence": dataset.licence,
            "simulated": simulated,
            "left_out": left_out,
            "rejected": dataset.rejected.reason.value_counts().to_dict(),
        }
    )


def _record_counts(ledger: Ledger, dataset: Dataset) -> None:
    tables = {"catalogue": dataset.catalogue} | {
        f"queries, {split}": dataset.queries[dataset.queries.split == split] for split in SPLITS
    }
    for name, table in tables.items():
        ledger.record("data set", name, "images", len(table))
        if dataset.has_identities:
            ledger.record("data set", name, "products", table.product_id.nunique())
        ledger.record("data set", name, "categories", table.category.nunique())
    for name in ("catalogue", "queries"):
        n_rejected = int((dataset.rejected.table == name).sum())
        ledger.record("unreadable", name, "rejected images", n_rejected)


def _record_clicks(ledger: Ledger, shop: Shop) -> None:
    statistics = pvlog_statistics(shop.pvlog, shop.dataset.queries, shop.dataset.catalogue)
    variant = "simulated" if shop.pvlog_is_simulated else "observed"
    names = {
        "sessions": "sessions",
        "impressions": "impressions",
        "clicks": "clicks",
        "click_through_rate": "click-through rate",
        "click_precision": "click precision",
        "false_negatives": "false-negative rate",
    }
    for key, metric in names.items():
        if np.isfinite(statistics[key]):
            ledger.record("click log", variant, metric, statistics[key])
