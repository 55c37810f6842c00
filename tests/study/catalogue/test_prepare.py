"""The offline path on a small shop of one's own: pictures made here, one of them broken."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from vsa.data.descriptors import weak_features
from vsa.runtime.errors import InputError
from vsa.study.catalogue import prepare
from vsa.study.catalogue.gallery import (
    catalogue_beside_queries,
    duplicate_clusters_shown,
    session_shown,
)
from vsa.study.catalogue.plots import click_rate_plot, quality_plot
from vsa.study.catalogue.prepare import open_shop, prepare_shop
from vsa.study.catalogue.results import record_shop
from vsa.study.ledger.ledger import Ledger
from vsa.study.ledger.metrics_file import read_metrics
from vsa.study.run import make_run

N_PRODUCTS = 12


def picture(product, shade, path):
    """Blocks of colour that belong to the product, with some noise."""
    rng = np.random.default_rng(product)
    blocks = rng.integers(0, 256, (4, 4, 3)).repeat(16, axis=0).repeat(16, axis=1)
    noise = np.random.default_rng([product, shade]).normal(0, 12, blocks.shape)
    Image.fromarray(np.clip(blocks + noise, 0, 255).astype(np.uint8)).save(path)


@pytest.fixture
def shop_run(tmp_path, monkeypatch):
    monkeypatch.setenv("VSA_ARTIFACTS_DIR", str(tmp_path / "artifacts"))
    monkeypatch.setenv("VSA_REPORTS_DIR", str(tmp_path / "reports"))
    monkeypatch.setenv("VSA_PROGRESS", "off")
    folder = tmp_path / "corner shop"
    folder.mkdir()
    catalogue, queries = [], []
    for product in range(N_PRODUCTS):
        category = ("bag", "hat")[product % 2]
        for copy in range(2):
            name = f"p{product}-{copy}.png"
            picture(product, 0, folder / name)  # both listings show the same picture
            catalogue.append((name, f"p{product}", category, 10.0 * copy, 5.0))
        for shot in range(2):
            name = f"q{product}-{shot}.png"
            picture(product, 1 + shot, folder / name)
            queries.append((name, f"p{product}", category))
    (folder / "q0-0.png").write_bytes(b"\x89PNG but not really")
    columns = ["image_path", "product_id", "category", "sales", "price"]
    pd.DataFrame(catalogue, columns=columns).to_csv(folder / "catalogue.csv", index=False)
    pd.DataFrame(queries, columns=columns[:3]).to_csv(folder / "queries.csv", index=False)
    return make_run(f"folder:{folder}", "smoke", 0)


def test_one_of_two_copies_stays_and_the_better_seller_at_that(shop_run):
    shop = prepare_shop(shop_run)
    assert len(shop.kept) == N_PRODUCTS
    assert (shop.kept.sales == 10).all()
    assert (shop.selection.reason[~shop.selection.kept] == "identical").all()


def test_clicks_are_simulated_and_land_mostly_on_the_product(shop_run):
    shop = prepare_shop(shop_run)
    assert shop.pvlog_is_simulated
    clicked = shop.pvlog[shop.pvlog.clicked]
    wanted = clicked.query_id.map(shop.dataset.queries.set_index("query_id").product_id)
    shown = clicked.image_id.map(shop.dataset.catalogue.set_index("image_id").product_id)
    assert (wanted == shown).mean() > 0.8
    assert set(shop.pvlog.image_id) <= set(shop.kept.image_id), "removed images are not listed"


def test_descriptors_are_computed_once_for_the_same_pictures(shop_run, monkeypatch):
    shop = prepare_shop(shop_run)
    first = prepare.weak_descriptors(shop_run, shop.dataset, shop.kept)
    expected = weak_features(prepare.descriptor_images(shop_run, shop.dataset, shop.kept))
    assert (first == expected).all()
    monkeypatch.setattr(prepare, "weak_features", lambda _: np.zeros((1, 1)))
    again = prepare.weak_descriptors(shop_run, shop.dataset, shop.kept)
    assert (again == expected).all()
    fewer = prepare.weak_descriptors(shop_run, shop.dataset, shop.kept.iloc[1:])
    assert fewer.shape == (1, 1), "of other pictures they are computed"


def test_an_opened_shop_is_the_prepared_one(shop_run):
    prepared, opened = prepare_shop(shop_run), open_shop(shop_run)
    pd.testing.assert_frame_equal(opened.selection, prepared.selection, check_dtype=False)
    pd.testing.assert_frame_equal(opened.pvlog, prepared.pvlog, check_dtype=False)
    assert opened.pvlog_is_simulated


def test_opening_before_preparing_says_what_to_run(shop_run):
    with pytest.raises(InputError, match="01_catalogue"):
        open_shop(shop_run)


def test_the_report_counts_what_could_not_be_read_and_what_is_simulated(shop_run):
    shop = prepare_shop(shop_run)
    ledger = Ledger.open(shop_run, "01_catalogue")
    record_shop(ledger, shop)
    ledger.save()
    content = read_metrics(ledger.path)
    card = content["run"]["dataset_card"]
    assert sum(card["rejected"].values()) == 1
    assert any("click" in sentence for sentence in card["simulated"])
    assert ledger.value("01_catalogue", "unreadable", "queries", "rejected images") == 1
    assert ledger.value("01_catalogue", "selection", "identical", "removal precision") == 1
    rejected = pd.read_parquet(shop_run.artifacts / "tables" / "rejected.parquet")
    assert list(rejected.path) == ["q0-0.png"]


def test_pictures_of_the_shop_can_be_drawn(shop_run):
    shop = prepare_shop(shop_run)
    pairs = catalogue_beside_queries(shop.dataset, seed=0)
    assert pairs.titles == [
        "bag\ncatalogue",
        "hat\ncatalogue",
        *[""] * 5,
        "bag\nquery",
        "hat\nquery",
    ]
    clusters = duplicate_clusters_shown(shop.dataset, shop.selection, n_clusters=3, n_columns=4)
    assert clusters.titles[:4] == ["kept", "identical", "", ""]
    assert len(clusters.images) == 12
    page = session_shown(shop.dataset, shop.pvlog, n_results=5)
    assert page.titles[0] == "query"
    assert any("clicked" in title for title in page.titles)
    assert quality_plot(shop.dataset.catalogue).axes
    assert click_rate_plot(pd.DataFrame({"rank": [1, 2], "click_rate": [0.5, 0.1]})).axes


def test_a_catalogue_that_was_replaced_is_prepared_anew(shop_run):
    shop = prepare_shop(shop_run)
    table = shop.dataset.root / "catalogue.csv"
    table.write_text("\n".join(table.read_text().splitlines()[:-1]))
    with pytest.raises(InputError, match="Run notebook 01_catalogue again"):
        open_shop(shop_run)
