import io
import json

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.text import Text
from PIL import Image

from vsa.metrics import reliability
from vsa.runtime.errors import InputError
from vsa.study.catalogue.plots import quality_plot
from vsa.study.figures import fonts
from vsa.study.figures.grids import image_grid
from vsa.study.figures.plots import (
    confusion_plot,
    curve_plot,
    interval_plot,
    reliability_plot,
    thumbnail_scatter,
)
from vsa.study.figures.style import (
    MAX_BYTES,
    PALETTE,
    class_style,
    read_figures,
    save_figure,
)
from vsa.study.ledger.bootstrap import Interval
from vsa.study.ledger.ledger import Ledger
from vsa.study.run import make_run

SECTION = "02_category_fusion"
INTERVALS = {"fusion − model": Interval(0.1, 0.05, 0.2, 50), "b": Interval(-0.1, -0.3, 0.1, 50)}


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setenv("VSA_REPORTS_DIR", str(tmp_path))
    return make_run("synthetic", "smoke", 0)


@pytest.fixture(autouse=True)
def _nothing_stays_open():
    before = dict(mpl.rcParams)
    yield
    assert plt.get_fignums() == []
    assert dict(mpl.rcParams) == before


def noise(n, px=32, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n, px, px, 3), dtype=np.uint8)


def save(figure, run, name="figure", section=SECTION):
    return save_figure(figure, run, name, f"{name} in words", section, f"Caption of {name}.")


def texts(figure):
    return {text.get_text() for axis in figure.axes for text in axis.texts}


def test_same_figure_same_bytes_without_metadata(run):
    first = save(interval_plot(INTERVALS, "difference", 0), run, "a").read_bytes()
    second = save(interval_plot(INTERVALS, "difference", 0), run, "b").read_bytes()
    assert first == second
    with Image.open(io.BytesIO(first)) as picture:
        assert set(picture.info) <= {"dpi"}
        assert picture.width > 600


def test_photographs_stay_small(run):
    figure = image_grid(noise(18, 128))
    path = save(figure, run)
    assert path.stat().st_size <= MAX_BYTES
    with Image.open(path) as picture:
        picture.load()
        inches = picture.width / picture.info["dpi"][0]
    assert inches == pytest.approx(figure.get_figwidth(), abs=0.1)


def test_figures_are_registered_once_in_order(run):
    for name in ("one", "two", "one"):
        save(interval_plot(INTERVALS, "difference"), run, name)
    assert [entry["name"] for entry in read_figures(run.reports)] == ["two", "one"]
    assert read_figures(run.reports)[0] == {
        "section": SECTION,
        "name": "two",
        "alt_text": "two in words",
        "caption": "Caption of two.",
    }


def test_running_a_section_again_forgets_its_figures_only(run):
    kept = save(interval_plot(INTERVALS, "difference"), run, "kept", "01_catalogue")
    gone = save(interval_plot(INTERVALS, "difference"), run, "gone")
    Ledger.open(run, SECTION)
    assert [entry["name"] for entry in read_figures(run.reports)] == ["kept"]
    assert kept.exists()
    assert not gone.exists()


def test_a_figure_needs_words_and_its_list_must_be_ours(run):
    figure = interval_plot(INTERVALS, "difference")
    with pytest.raises(ValueError, match="alt text"):
        save_figure(figure, run, "a", " ", SECTION, "Caption.")
    assert read_figures(run.reports) == []
    run.figures.mkdir(parents=True)
    (run.figures / "figures.json").write_text(json.dumps([{"name": "a"}]))
    with pytest.raises(InputError, match="not a list of figures"):
        read_figures(run.reports)


def test_class_styles_differ_and_palette_has_no_repeats():
    assert len(set(PALETTE)) == len(PALETTE)
    assert len({tuple(class_style(i).items()) for i in range(56)}) == 56


def test_confusion_plot_shows_row_shares():
    figure = confusion_plot(np.array([[3, 1], [0, 0]]), ["shirt", "dress"])
    assert texts(figure) == {".75", ".25"}  # an empty row has no shares
    shown = figure.axes[0].collections[0].get_array()
    np.testing.assert_allclose(shown, [[0.75, 0.25], [0, 0]])


def test_reliability_plot_leaves_out_empty_bins():
    table = reliability(np.array([[0.9, 0.1], [0.4, 0.6]]), np.array([0, 0]), 5)
    figure = reliability_plot({"model": table})
    line = figure.axes[0].lines[1]
    np.testing.assert_allclose(line.get_xdata(), [0.6, 0.9])
    np.testing.assert_allclose(line.get_ydata(), [0, 1])
    assert isinstance(table, pd.DataFrame)


def test_interval_plot_prints_what_it_draws():
    figure = interval_plot(INTERVALS, "difference", 0)
    assert texts(figure) == {"+0.100 [+0.050, +0.200]", "-0.100 [-0.300, +0.100]"}
    assert [t.get_text() for t in figure.axes[0].get_yticklabels()] == list(INTERVALS)


def test_many_classes_and_long_names_fit_a_page():
    figure = confusion_plot(np.eye(81, dtype=int), [f"class {i}" for i in range(81)])
    assert max(figure.get_size_inches()) < 12
    assert texts(figure) == set()
    long = "fusion − model, reference = training images"
    figure = interval_plot({long: INTERVALS["b"]}, "difference", 0)
    (label,) = figure.axes[0].get_yticklabels()
    assert label.get_text().replace("\n", " ") == long
    assert "\n" in label.get_text()


def test_curve_plot_draws_each_method_with_its_band():
    figure = curve_plot([1, 10], {"a": list(INTERVALS.values())}, "images", "Accuracy@1", True)
    (axis,) = figure.axes
    assert axis.lines[0].get_ydata().tolist() == [0.1, -0.1]
    assert len(axis.collections) == 1
    assert axis.get_xscale() == "log"


@pytest.mark.parametrize("seed", range(3))
def test_thumbnails_keep_their_places_and_never_overlap(seed):
    points = np.random.default_rng(seed).normal(size=(150, 2))
    labels = np.arange(150) % 3
    figure = thumbnail_scatter(points, noise(150, 4), labels, ["a", "b", "c"])
    boxes = np.array([image.get_extent() for image in figure.axes[0].images])
    assert 10 < len(boxes) < 150
    centres = boxes.reshape(-1, 2, 2).mean(axis=2)
    side = boxes[0, 1] - boxes[0, 0]
    apart = np.abs(centres[:, None] - centres[None]).max(axis=-1)
    assert apart[~np.eye(len(boxes), dtype=bool)].min() >= side
    nearest = np.abs(centres[:, None] - points[None]).max(axis=-1).min(axis=1)
    assert nearest.max() < 1e-9
    n_dots = sum(len(dots.get_offsets()) for dots in figure.axes[0].collections)
    assert n_dots == 150


def test_one_point_is_enough_for_a_scatter(run):
    save(thumbnail_scatter(np.zeros((1, 2)), noise(1), np.array([0]), ["a"]), run)


NAMES = ["Ba$$ fishing", "x^2 $y_$", "_hidden", "a_b*c<d>|e"]


def drawn_texts(figure):
    """Texts of a figure that was drawn after the house style had been left, as notebooks do."""
    figure.savefig(io.BytesIO(), format="png")
    return {text.get_text(): text for text in figure.findobj(Text) if text.get_visible()}


@pytest.mark.parametrize(
    "draw",
    [
        lambda: confusion_plot(np.eye(4, dtype=np.int64), NAMES),
        lambda: thumbnail_scatter(np.eye(4, 2), noise(4), np.arange(4), NAMES),
        lambda: interval_plot(dict.fromkeys(NAMES, INTERVALS["b"]), "value"),
        lambda: image_grid(noise(4), NAMES, cell_inches=2.0),
    ],
    ids=["ticks", "legend", "intervals", "grid"],
)
def test_names_are_shown_as_they_are_written(draw):
    texts = drawn_texts(draw())
    for name in NAMES:
        assert not texts[name].get_parse_math()


def test_numbers_may_be_powers_of_ten():
    catalogue = pd.DataFrame({"sales": [1.0, 1e4], "price": [1.0, 1e3]})
    catalogue[["conversion_rate", "applause_rate"]] = np.nan
    texts = drawn_texts(quality_plot(catalogue))
    assert texts["$\\mathdefault{10^{2}}$"].get_parse_math()


@pytest.fixture
def installed(monkeypatch):
    """Sets which fonts are installed, and forgets what was told."""
    monkeypatch.setattr(fonts, "_told", set())
    return lambda *names: monkeypatch.setattr(fonts, "_installed", lambda: list(names))


def test_letters_come_from_a_font_that_has_them(installed, capsys):
    installed("DejaVu Sans Mono", "STIXGeneral")
    curly, plain = "\N{LATIN SMALL LETTER S WITH PALATAL HOOK}", "bags"  # not in DejaVu Sans
    assert curly not in map(chr, fonts._code_points(None))
    texts = drawn_texts(image_grid(noise(2), [curly, plain]))
    assert texts[curly].get_fontfamily() == ["sans-serif", "STIXGeneral"]
    assert texts[plain].get_fontfamily() == ["sans-serif"]
    assert capsys.readouterr().err == ""


@pytest.mark.filterwarnings("error")
def test_letters_that_no_font_has_are_told_once_and_in_words(installed, capsys):
    installed()
    for _ in range(2):
        drawn_texts(confusion_plot(np.eye(3, dtype=np.int64), ["包 鞋", "가방", "थैला"]))
    cjk, others = capsys.readouterr().err.splitlines()
    assert cjk.startswith("vsa: no font here has 包 鞋 가 방, so figures show boxes.")
    assert "fonts-noto-cjk" in cjk
    assert "थ ल ा" in others
    assert "fonts-noto-core" in others
