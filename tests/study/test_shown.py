import pytest
from matplotlib.figure import Figure

from vsa.category.search import vote
from vsa.study import shown
from vsa.study.figures.style import new_figure, read_figures, worded
from vsa.study.ledger.bootstrap import Interval, mean_interval
from vsa.study.ledger.ledger import Ledger
from vsa.study.run import make_run
from vsa.study.shown import show, source


@pytest.fixture
def ledger(tmp_path, monkeypatch):
    monkeypatch.setenv("VSA_REPORTS_DIR", str(tmp_path))
    return Ledger.open(make_run("synthetic", "smoke", 0), "02_category_fusion")


@pytest.fixture
def displayed(monkeypatch):
    seen = []
    monkeypatch.setattr(shown, "display", lambda thing, **options: seen.append((thing, options)))
    return seen


def figure():
    return worded(new_figure(2, 2)[0], "a_plot", "A plot in words.", "A caption.")


def test_a_figure_is_saved_with_its_words_and_shown(ledger, displayed):
    plot = figure()
    show(ledger, plot)
    assert read_figures(ledger.run.reports) == [
        {
            "section": "02_category_fusion",
            "name": "a_plot",
            "alt_text": "A plot in words.",
            "caption": "A caption.",
        }
    ]
    assert (ledger.run.figures / "a_plot.png").is_file()
    assert displayed == [(plot, {"metadata": {"image/jpeg": {"alt": "A plot in words."}}})]


def test_what_the_data_do_not_have_is_passed_over(ledger, displayed):
    show(ledger, None)
    assert displayed == []
    assert read_figures(ledger.run.reports) == []


def test_a_figure_without_words_is_refused(ledger, displayed):
    with pytest.raises(ValueError, match="worded"):
        show(ledger, new_figure(2, 2)[0])
    with pytest.raises(ValueError, match="alt text"):
        worded(new_figure(2, 2)[0], "a_plot", " ", "A caption.")
    with pytest.raises(TypeError, match="new_figure"):
        worded(Figure(), "a_plot", "A plot.", "A caption.")


def test_the_plain_text_of_a_figure_is_what_it_shows():
    assert repr(figure()) == "Figure: A plot in words."
    assert repr(new_figure(2, 2)[0]) == "Figure"


def test_source_is_what_runs_without_docstrings():
    code = repr(source(vote))
    assert code.startswith("# vsa.category.search\ndef vote(")
    assert "np.exp(-decay * (squared_distances - nearest))" in code
    assert "Parameters" not in code
    compile(code, "shown", "exec")


def test_private_helpers_follow_once():
    code = repr(source(mean_interval))
    assert code.count("def _by_group(") == 1
    assert "def paired_ratio(" not in code
    compile(code, "shown", "exec")


def test_methods_and_classes_are_shown_too():
    assert repr(source(Interval.shifted)).startswith("# vsa.study.ledger.bootstrap\ndef shifted(")
    code = repr(source(Interval))
    assert "An estimate with" not in code
    compile(code, "shown", "exec")


def test_source_in_html_says_the_same():
    html = source(vote)._repr_html_()
    assert "<style" not in html  # it would colour the whole notebook
    assert "squared_distances" in html
    with pytest.raises(TypeError):
        source(len)
