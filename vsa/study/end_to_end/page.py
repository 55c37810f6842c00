"""The search page of a run, for ``notebooks/app/search.ipynb``."""

from __future__ import annotations

import os
from pathlib import Path

import ipywidgets as widgets

from vsa import app
from vsa.data.names import FOLDER_PREFIX
from vsa.runtime.errors import InputError
from vsa.runtime.paths import ROOT
from vsa.study.catalogue.prepare import open_shop
from vsa.study.end_to_end.run_engine import require_engine
from vsa.study.figures.pictures import MAY_NOT
from vsa.study.run import make_run


def open_page() -> widgets.Widget:
    """The page of the engine that ENGINE of the environment names, or of a run's.

    Without ENGINE, DATASET, PROFILE and SEED name the run. Relative folders are relative to the
    checkout. Without an engine, or where the pictures of the run's data set may not be shown, a
    text that says so.
    """
    return app.or_why_not(_open_page)


def _open_page() -> widgets.Widget:
    if folder := os.environ.get("ENGINE"):
        return app.open_page(_from_checkout(folder))
    try:
        return _page_of_run()
    except InputError as error:
        return app.notice(f"{error} (make reproduce does it all.)")


def _page_of_run() -> widgets.Widget:
    names = {"DATASET": "synthetic", "PROFILE": "laptop", "SEED": "0"}
    dataset, profile, seed = (os.environ.get(name) or text for name, text in names.items())
    if not seed.isdecimal():
        raise InputError(f"SEED is {seed!r}, not a whole number ≥ 0", cure="Give SEED=0, say")
    if dataset.startswith(FOLDER_PREFIX):
        dataset = f"{FOLDER_PREFIX}{_from_checkout(dataset.removeprefix(FOLDER_PREFIX))}"
    run = make_run(dataset, profile, int(seed))
    if not run.may_show_pictures:  # a notebook that is saved with its widgets holds what they show
        return app.notice(f"There is no search page of {dataset}: {MAY_NOT}.")
    shop = open_shop(run)
    if shop.pvlog is None:
        return app.notice("Products of this data set are not known, so there is no search.")
    queries, root = shop.dataset.queries, shop.dataset.root
    is_test = queries.split == "test"
    chosen = queries[is_test if is_test.any() else slice(None)].path
    is_simulated = dataset == "synthetic" or not shop.has_quality
    note = "Sales, ratings and prices are simulated, as are the shoppers." * is_simulated
    photos = [root / path for path in chosen]
    return app.open_page(require_engine(run), photos, root=root, note=note)


def _from_checkout(folder: str) -> Path:
    """As make was told it: the page is made elsewhere."""
    return ROOT / Path(folder).expanduser()
