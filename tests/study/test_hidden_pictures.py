"""No picture of a data set that may not be redistributed is in what a run shows or keeps.

A made archive of `vpr2023` goes through the figures of every room. Its pictures bear a colour that
no figure draws in, which is looked for in the files of the report.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
from pathlib import Path
from types import SimpleNamespace

import nbformat
import numpy as np
import pandas as pd
import pytest
from coloured_squares import CPU, PX, make_squares, make_squares_lab, small_settings
from made_challenge import SIGNATURE, has_signature, make_archive
from PIL import Image
from small_lineage import make_lineage_lab

import vsa.study
from vsa.category.predictor import CategoryPrediction
from vsa.category.task import make_task
from vsa.runtime.paths import NOTEBOOKS, ROOT
from vsa.study import shown
from vsa.study.catalogue import plots as catalogue_plots
from vsa.study.catalogue.prepare import prepare_shop
from vsa.study.catalogue.results import record_shop
from vsa.study.category import plots as category_plots
from vsa.study.category.results import FUSION, MODEL
from vsa.study.embedding import plots as embedding_plots
from vsa.study.embedding.examples import domain_sample
from vsa.study.embedding.finished import FinishedJobs
from vsa.study.embedding.jobs import Job, Judged, make_card
from vsa.study.embedding.plots import Plane
from vsa.study.embedding.variants import CATEGORY, JOINT, PER_QUERY
from vsa.study.end_to_end import page, tour
from vsa.study.end_to_end import plots as end_to_end_plots
from vsa.study.figures import style
from vsa.study.figures.pictures import MAY_NOT
from vsa.study.figures.style import read_figures
from vsa.study.ledger.ledger import Ledger
from vsa.study.ledger.reporting import write_report
from vsa.study.lineage import plots as lineage_plots
from vsa.study.lineage.experiment import Row
from vsa.study.lineage.rows import METHODS  # noqa: F401 (the figures ask it about their rows)
from vsa.study.run import Run, make_run
from vsa.study.shown import show

# Figures that never hold a picture. A new one belongs here, or is drawn in `ROOMS`.
PLAIN = {
    "ledger": {"forest_plot", "_write_figures"},
    "catalogue": {"quality_figure", "click_rate_figure"},
    "category": {
        *("training_figure", "differences_figure", "categories_figure", "confusion_model_figure"),
        *("confusion_fusion_figure", "reliability_figure", "growth_figure", "looks_figure"),
    },
    "embedding": {
        *("training_figure", "recall_figure", "differences_figure", "box_training_figure"),
        *("looks_figure", "adaptation_figure", "lengths_figure", "stray_clicks_figure"),
        *("_regime_figure", "sessions_figure", "share_figure"),
    },
    "end_to_end": {"funnel_plot", "waterfall_plot", "ablation_plot"},
    "index": {"recall_plot", "growth_plot", "similarity_plot", "codec_plot", "stage_plot"},
    "lineage": {"map_figure", "pareto_figure", "boxes_figure", "labels_figure"},
    "ranking": {"conversion_plot", "gain_plot", "importance_plot", "calibration_plot"},
    "scale": {"loss_figure", "roll_figure", "cost_figure", "model_figure"},
}
SCATTERS = {"category_tsne", "tsne_before", "tsne_after", "tsne_after_categories"}


def figure_functions() -> dict[str, set[str]]:
    """Room → names of its functions that return a figure with words."""
    found: dict[str, set[str]] = {}
    for module in pkgutil.walk_packages(vsa.study.__path__, "vsa.study."):
        room = module.name.split(".")[2]
        for name, function in vars(importlib.import_module(module.name)).items():
            if inspect.isfunction(function) and function.__module__ == module.name:
                returned = str(inspect.get_annotations(function).get("return", ""))
                if "HouseFigure" in returned and room not in ("figures", "shown"):
                    found.setdefault(room, set()).add(name)
    return found


# ---------------------------------------------------------------- figures of each room


@pytest.fixture
def shop(tmp_path, monkeypatch):
    monkeypatch.setenv("VSA_DATA_DIR", str(tmp_path / "data"))
    root = make_archive(tmp_path / "data")
    twice = (root / "gallery" / "3-0.jpg").read_bytes()
    (root / "gallery" / "3-1.jpg").write_bytes(twice)  # something that selection removes
    return prepare_shop(make_run("vpr2023", "smoke", 0))


def catalogue_room(shop):
    return {
        "pairs_figure": lambda: catalogue_plots.pairs_figure(shop, 0),
        "duplicates_figure": lambda: catalogue_plots.duplicates_figure(shop),
        "session_figure": lambda: catalogue_plots.session_figure(shop),
    }


def prediction(shop) -> CategoryPrediction:
    names = shop.dataset.categories
    even = np.full(len(names), 1 / len(names))
    near = shop.dataset.catalogue.head(12)[["path", "category"]].assign(weight=1 / 12)
    return CategoryPrediction(names, even, even, even, near)


def category_room(shop):
    task = make_task(shop.dataset, shop.kept.image_id)
    rng, n = np.random.default_rng(0), len(task.test)
    chances = {name: rng.dirichlet(np.ones(3), (1, n)) for name in (MODEL, FUSION)}
    outcome = SimpleNamespace(labels=task.labels(task.test), probabilities=chances)
    predictor = SimpleNamespace(store_px=32, predict=lambda image: prediction(shop))
    features = rng.standard_normal((n, 8)).astype(np.float32)
    results = [SimpleNamespace(features={"test": features})]

    def vote(repaired):
        return category_plots.vote_figure(shop, task, outcome, predictor, repaired=repaired)

    return {
        "vote_figure": lambda: vote(True),
        "vote_figure, the other": lambda: vote(False),
        "tsne_figure": lambda: category_plots.tsne_figure(shop, task, results, outcome, 0),
    }


def embedding_room(folder):
    task = make_squares()
    for images in (task.images.queries, task.images.catalogue):
        images[:, : PX // 6] = SIGNATURE
    lab = make_squares_lab(task, small_settings(), folder)
    rng, n = np.random.default_rng(0), len(task.rows("test"))

    def job(name):
        ranks = rng.permuted(np.tile(np.arange(len(task.catalogue)), (n, 1)), axis=1)
        wanted, offered = task.products
        hits = offered[ranks] == wanted[task.rows("test")][:, None]
        boxes = np.tile(np.float32([0.2, 0.2, 0.8, 0.8]), (n, 1))
        judged = {"test": Judged(hits, hits, boxes, ranks)}
        return {0: Job(name, 0, judged, pd.DataFrame(), {}, make_card(), None)}

    finished = FinishedJobs(task, {name: job(name) for name in (CATEGORY, PER_QUERY, JOINT)}, {})
    net = lab.new_net()
    looking = SimpleNamespace(new_net=lab.new_net, net=lambda name: net, device=CPU)
    sample = domain_sample(task, 0)
    points = rng.standard_normal((len(sample.images), 2)).astype(np.float32)
    plane, draw = Plane(sample, points, np.arange(len(points))), embedding_plots
    return {
        "mined_page_figure": lambda: draw.mined_page_figure(lab),
        "better_figure": lambda: draw.better_figure(finished),
        "worse_figure": lambda: draw.worse_figure(finished),
        "before_figure": lambda: draw.before_figure(plane),
        "after_figure": lambda: draw.after_figure(plane),
        "after_categories_figure": lambda: draw.after_categories_figure(plane, task.category_names),
        "boxes_figure": lambda: draw.boxes_figure(finished, 0),
        "occlusion_figure": lambda: draw.occlusion_figure(finished, looking, 0),
    }


def end_to_end_room(shop):
    root, queries = shop.dataset.root, shop.dataset.queries
    results = shop.dataset.catalogue.head(5)
    photo = tour.first_photo(shop)
    path = root / photo.path
    answer = SimpleNamespace(results=results, box=np.array([0.1, 0.1, 0.9, 0.9], np.float32))
    features = np.eye(len(shop.dataset.catalogue), dtype=np.float32)
    lab = SimpleNamespace(
        shop=shop,
        engine=SimpleNamespace(search=lambda photo, k: answer),
        task=SimpleNamespace(
            kept=np.ones(len(features), bool),
            products=shop.dataset.catalogue.product_id.to_numpy(),
            features=features,
        ),
        photos=SimpleNamespace(
            paths=[root / path for path in queries.path],
            categories=queries.category.to_numpy(),
            products=queries.product_id.to_numpy(),
            boxes=np.tile(answer.box, (len(queries), 1)),
            in_box=np.ones((len(queries), len(features)), np.float32),
        ),
        failures=lambda page, n: np.arange(n),
    )
    found = {"by codes": results, "by features": results}
    return {
        "failure_plot": lambda: end_to_end_plots.failure_plot(lab, np.zeros((1, 60)), 3),
        "category_plot": lambda: tour.category_plot(shop, photo, prediction(shop)),
        "box_plot": lambda: tour.box_plot(path, answer),
        "page_plot": lambda: tour.page_plot(root, path, found, photo.product_id),
    }


def lineage_room(folder):
    lab = make_lineage_lab(folder)
    test = lab.photos["test"]
    for pictures in (test, lab.catalogue):
        signed = np.array(pictures.squares)
        signed[:, : signed.shape[1] // 6] = SIGNATURE
        pictures.__dict__["squares"] = signed
    ranks = np.tile(np.arange(54), (len(test), 1))
    boxes = np.tile(np.float32([0.2, 0.4, 0.8, 0.8]), (1, len(test), 1))
    val = ranks[: len(lab.photos["val"])]
    facts = ("[4]", "", {}, [], 1.0, None, 1.0, 1.0, (0,))
    row = Row("palette", *facts, val, ranks[None], boxes, np.arange(len(test)))
    return {
        "page_figure": lambda: lineage_plots.page_figure(lab, [row]),
        "found_boxes_figure": lambda: lineage_plots.found_boxes_figure(lab, [row]),
    }


@pytest.fixture
def rooms(shop, tmp_path):
    return {
        "catalogue": catalogue_room(shop),
        "category": category_room(shop),
        "embedding": embedding_room(tmp_path / "jobs"),
        "end_to_end": end_to_end_room(shop),
        "index": {},
        "lineage": lineage_room(tmp_path / "squares"),
        "ranking": {},
        "scale": {},
    }


@pytest.fixture
def displayed(monkeypatch):
    seen = []
    monkeypatch.setattr(shown, "display", lambda thing, **_: seen.append(thing))
    return seen


def signed(run: Run) -> set[str]:
    """Names of the figures kept in a report that show the pictures' colour."""
    found = set()
    for path in run.figures.glob("*.png"):
        with Image.open(path) as picture:
            if has_signature(picture):
                found.add(path.stem)
    return found


@pytest.mark.slow
def test_no_figure_of_any_room_shows_one(rooms, shop, displayed, monkeypatch):
    drawn = {room: {name.partition(",")[0] for name in figures} for room, figures in rooms.items()}
    known = {room: drawn.get(room, set()) | PLAIN.get(room, set()) for room in drawn | PLAIN}
    assert known == figure_functions()
    run = make_run("vpr2023", "smoke", 0)
    figures = [draw() for room in rooms.values() for draw in room.values()]
    monkeypatch.setattr(style, "_DPI", 50)
    with monkeypatch.context() as allowed:  # so that it is known that a picture would be seen
        allowed.setattr(Run, "may_show_pictures", True)
        ledger = Ledger.open(run, "01_catalogue")
        for figure in figures:
            show(ledger, figure)
        assert displayed == figures
        assert len(signed(run)) == len(figures)
        displayed.clear()
    ledger = Ledger.open(run, "01_catalogue")
    record_shop(ledger, shop)
    for figure in figures:
        show(ledger, figure)
    kept = {figure["name"] for figure in read_figures(run.reports)}
    assert kept == {path.stem for path in run.figures.glob("*.png")} == SCATTERS
    assert signed(run) == set()
    sentences = [thing.data for thing in displayed if hasattr(thing, "data")]
    assert len(sentences) == len(figures) - len(SCATTERS)
    assert all(MAY_NOT in sentence for sentence in sentences)
    ledger.save()
    for report in write_report(run.reports):
        assert f"Figures that hold pictures: {MAY_NOT}." in report.read_text(encoding="utf-8")


# ---------------------------------------------------------------- there is one way out


def calls(tree: ast.AST) -> list[tuple[str, ast.Call]]:
    named = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            function = node.func
            name = function.attr if isinstance(function, ast.Attribute) else ""
            named.append((function.id if isinstance(function, ast.Name) else name, node))
    return named


def test_figures_are_displayed_and_saved_in_one_place():
    allowed = {
        "display": {"vsa/study/shown.py"},
        "save_figure": {"vsa/study/shown.py"},
        "savefig": {"vsa/study/figures/style.py"},
        **{name: set() for name in ("imsave", "print_figure", "print_png", "Image")},
    }
    found: dict[str, set[str]] = {name: set() for name in allowed}
    for file in sorted((ROOT / "vsa" / "study").rglob("*.py")):
        for name, _ in calls(ast.parse(file.read_text(encoding="utf-8"))):
            if name in allowed:
                found[name].add(file.relative_to(ROOT).as_posix())
    assert found == allowed


@pytest.mark.parametrize("path", sorted(NOTEBOOKS.glob("*.ipynb")), ids=lambda path: path.stem)
def test_notebooks_show_figures_in_no_other_way(path: Path):
    names = set.union(*figure_functions().values())
    cells = nbformat.read(path, as_version=4).cells
    n_figures = 0
    for cell in cells:
        if cell.cell_type == "code":
            found = calls(ast.parse(cell.source))
            shown_ = [call.args[1] for name, call in found if name == "show"]
            figures = [call for name, call in found if name in names]
            assert all(figure in shown_ for figure in figures), cell.source
            assert len(shown_) == len(figures), cell.source
            n_figures += len(figures)
    assert n_figures


def test_a_page_of_them_says_that_there_is_none(monkeypatch):
    monkeypatch.setenv("DATASET", "vpr2023")
    monkeypatch.delenv("ENGINE", raising=False)
    monkeypatch.setattr(page, "open_shop", lambda _: pytest.fail("opened"))
    assert MAY_NOT in page.open_page().value
