"""Pictures that may not be shown: what is one, and that none passes the only way out."""

import dataclasses

import numpy as np
import pytest
from matplotlib.offsetbox import AnnotationBbox, OffsetImage
from PIL import Image

from vsa.study import shown
from vsa.study.figures.grids import image_grid
from vsa.study.figures.pictures import MAY_NOT, holds_pictures, take_thumbnails
from vsa.study.figures.plots import confusion_plot, interval_plot, thumbnail_scatter
from vsa.study.figures.style import new_figure, read_figures, save_figure, worded
from vsa.study.ledger.bootstrap import Interval
from vsa.study.ledger.ledger import Ledger
from vsa.study.run import make_run
from vsa.study.shown import show

PIXELS = np.zeros((6, 8, 8, 3), np.uint8)


@pytest.fixture
def ledger():
    return Ledger.open(make_run("vpr2023", "smoke", 0), "01_catalogue")


@pytest.fixture
def displayed(monkeypatch):
    seen = []
    monkeypatch.setattr(shown, "display", lambda thing, **_: seen.append(thing))
    return seen


def told(figure):
    return worded(figure, "a_plot", "A plot of *pictures*.", "A caption.")


def on_the_figure():
    figure, _ = new_figure(2, 2)
    figure.figimage(PIXELS[0])
    return figure


def in_a_box():
    figure, axis = new_figure(2, 2)
    axis.add_artist(AnnotationBbox(OffsetImage(PIXELS[0]), (0.5, 0.5)))
    return figure


def in_grey():
    figure, axis = new_figure(2, 2)
    axis.imshow(PIXELS[0, ..., 0], cmap="gray")
    return figure


def beside_a_plot():
    figure, axis = new_figure(2, 2)
    axis.plot([0, 1])
    figure.add_subplot(3, 3, 1).imshow(PIXELS[0])
    return figure


PICTURED = [lambda: image_grid(PIXELS), on_the_figure, in_a_box, in_grey, beside_a_plot]


def plain():
    return [
        confusion_plot(np.eye(3, dtype=np.int64), list("abc")),
        interval_plot({"a": Interval(0, -1, 1, 5)}, "value"),
    ]


@pytest.mark.parametrize("draw", PICTURED)
def test_a_sentence_stands_for_a_figure_of_pictures(ledger, displayed, draw):
    figure = told(draw())
    show(ledger, figure)
    (sentence,) = displayed
    assert MAY_NOT in sentence.data
    assert sentence.data.endswith(r"A plot of \*pictures\*.")
    assert read_figures(ledger.run.reports) == []
    assert not list(ledger.run.reports.rglob("*.png"))


@pytest.mark.parametrize("draw", PICTURED)
def test_none_goes_past_it(ledger, draw):
    with pytest.raises(ValueError, match="may not be redistributed"):
        save_figure(draw(), ledger.run, "a_plot", "A plot.", ledger.section, "A caption.")
    assert not list(ledger.run.reports.rglob("*.png"))


def test_plots_without_pictures_stay_as_they_are(ledger, displayed):
    for figure in map(told, plain()):
        assert not holds_pictures(figure)
        show(ledger, figure)
        assert displayed.pop() is figure
        assert read_figures(ledger.run.reports)[0]["caption"] == "A caption."


def test_of_a_scatter_the_dots_stay(ledger, displayed):
    points = np.random.default_rng(0).normal(size=(6, 2))
    figure = told(thumbnail_scatter(points, PIXELS, np.arange(6) % 2, ["a", "b"]))
    (axis,) = figure.axes
    assert axis.images
    assert axis.patches
    show(ledger, figure)
    assert displayed == [figure]
    assert not axis.images
    assert not axis.patches
    assert sum(len(dots.get_offsets()) for dots in axis.collections) == 6
    (entry,) = read_figures(ledger.run.reports)
    assert entry["caption"] == f"A caption. Without thumbnails: {MAY_NOT}."
    with Image.open(ledger.run.figures / "a_plot.png") as picture:
        assert picture.width > 100
    assert not take_thumbnails(figure)


def test_other_data_sets_are_shown_whole(displayed):
    ledger = Ledger.open(make_run("synthetic", "smoke", 0), "01_catalogue")
    figure = told(thumbnail_scatter(np.eye(2), PIXELS, np.arange(2), ["a", "b"]))
    words = dataclasses.replace(figure.words)
    show(ledger, figure)
    assert displayed == [figure]
    assert figure.axes[0].images
    assert figure.words == words
    show(ledger, told(image_grid(PIXELS)))
    assert (ledger.run.figures / "a_plot.png").is_file()
