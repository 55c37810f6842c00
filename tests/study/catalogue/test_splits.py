"""What training sees of test products is counted, and declared."""

from __future__ import annotations

import dataclasses

import pandas as pd
import pytest

from vsa.category.task import make_task
from vsa.study.catalogue.prepare import prepare_shop
from vsa.study.catalogue.results import record_shop
from vsa.study.catalogue.splits import SEEN, count_splits, declaration
from vsa.study.ledger.ledger import Ledger
from vsa.study.ledger.tables import tables
from vsa.study.run import make_run


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        place = tmp_path_factory.mktemp("run")
        patch.setenv("VSA_ARTIFACTS_DIR", str(place / "artifacts"))
        patch.setenv("VSA_REPORTS_DIR", str(place / "reports"))
        yield make_run("synthetic", "smoke", 0, "data.n_products_per_category=4 data.image_px=32")


@pytest.fixture(scope="module")
def shop(run):
    return prepare_shop(run)


def sharing(shop):
    """The same shop, each third photo of another split."""
    splits = [("train", "val", "test")[row % 3] for row in range(len(shop.dataset.queries))]
    dataset = dataclasses.replace(shop.dataset, queries=shop.dataset.queries.assign(split=splits))
    return dataclasses.replace(shop, dataset=dataset)


def test_counts_are_those_of_the_tables(shop):
    queries, kept = shop.dataset.queries, shop.kept
    tested = set(queries.product_id[queries.split == "test"]) & set(kept.product_id)
    pictures = set(kept.image_id[kept.product_id.isin(tested)])
    trains = set(queries.query_id[queries.split == "train"])
    pages = shop.pvlog[[one in trains for one in shop.pvlog.query_id]]
    reference = make_task(shop.dataset, kept.image_id).reference
    found = count_splits(shop)
    assert (found.n_products, found.n_shared) == (len(tested), 0)
    assert found.n_pictures == len(pictures)
    assert found.n_on_pages == len(pictures & set(pages.image_id)) > 0
    assert found.n_clicked == len(pictures & set(pages.image_id[pages.clicked]))
    assert found.n_training == 0  # the classifier learns from no picture of a judged product
    assert found.n_reference == len(pictures & set(reference.id)) == len(pictures)
    assert f"None of the {len(tested)} products" in found.declared
    assert "transductive" in declaration(shop)


def test_products_in_several_splits_are_told_beside_recall_only(shop, run):
    shared = sharing(shop)
    assert not shared.dataset.products_disjoint
    found = count_splits(shared)
    assert found.n_shared > 0
    assert found.n_training > 0
    ledger = Ledger.open(run, "01_catalogue")
    record_shop(ledger, shared)
    assert ledger.value("01_catalogue", SEEN, "of them on other photos, too", "products") > 0
    ledger.record("features", "one", "Identical Recall@1", 0.5)
    assert found.shared in repr(tables(ledger, "features"))
    assert found.shared in tables(ledger, "features")._repr_html_()
    assert found.shared not in repr(tables(ledger, "data set"))
    ledger.save()
    assert Ledger.open(run, "03_click_mined_training").shared_products == found.shared


def test_where_splits_are_disjoint_nothing_stands_above_a_table(shop, run):
    ledger = Ledger.open(run, "01_catalogue")
    record_shop(ledger, shop)
    ledger.record("features", "one", "Identical Recall@1", 0.5)
    assert tables(ledger, "features").declared == ""


def test_without_products_there_is_nothing_to_declare(shop):
    queries = shop.dataset.queries.assign(product_id=pd.Series(dtype=str))
    dataset = dataclasses.replace(shop.dataset, queries=queries)
    nothing = dataclasses.replace(shop, dataset=dataset)
    assert count_splits(nothing).declared == ""
    assert "No test photo shows a product that is known" in declaration(nothing)
