import base64
import io
import json
import re
import shutil
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vsa.runtime.errors import InputError
from vsa.runtime.paths import ROOT
from vsa.study.figures.grids import image_grid
from vsa.study.figures.style import save_figure
from vsa.study.ledger import environment
from vsa.study.ledger.bootstrap import Interval
from vsa.study.ledger.claims import judge, judge_all, load_claims
from vsa.study.ledger.ledger import Ledger
from vsa.study.ledger.metrics_file import read_metrics, record_key, record_text
from vsa.study.ledger.registry import METRICS
from vsa.study.ledger.reporting import content, report, write_report
from vsa.study.ledger.reporting.content import adjusted_text, effect_text, seen_text
from vsa.study.ledger.reporting.headline import CATEGORY
from vsa.study.ledger.rigour import RULE, judge_run
from vsa.study.ledger.sections import SECTIONS
from vsa.study.run import make_run

NASTY = "<script>alert('x')</script> | **b** `c` [d](http://e.example) & \"f\" 'g'\nh"
NUMBER = re.compile(r"\d[\d,]*\.\d+")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
VOID = {"meta", "img", "br", "link", "input", "hr"}


class Page(HTMLParser):
    """Collects what the tests ask about, and fails on tags that do not balance."""

    def __init__(self, html):
        super().__init__()
        self.open, self.loads, self.images, self.scripts = [], [], [], 0
        self.headers, self.ids, self.links = [], [], []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        assert len(found) == len(attributes), f"<{tag}> repeats an attribute"
        if tag not in VOID:
            self.open.append(tag)
        self.loads += [found[key] for key in ("src", "srcset", "data", "poster") if key in found]
        if tag == "link":
            self.loads.append(found["href"])
        if tag == "a":
            self.links.append(found["href"])
        if tag == "img":
            self.images.append(found)
        if tag == "th":
            self.headers.append(found.get("scope"))
        self.scripts += tag == "script"
        if "id" in found:
            self.ids.append(found["id"])

    def handle_endtag(self, tag):
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setenv("VSA_REPORTS_DIR", str(tmp_path))
    return make_run("synthetic", "laptop", 5)


def add_catalogue(run, text="Synthetic shop"):
    ledger = Ledger.open(run, "01_catalogue")
    ledger.record("data", text, "images", 1234)
    ledger.dataset_card(
        {
            "title": text,
            "source": text,
            "licence": text,
            "simulated": [text],
            "left_out": [text],
            "rejected": {text: 2},
        }
    )
    figure = image_grid(np.zeros((2, 8, 8, 3), np.uint8))
    save_figure(figure, run, "grid", text, "01_catalogue", text)
    ledger.save()


def add_category(run, text="fusion"):
    ledger = Ledger.open(run, "02_category_fusion")
    interval = Interval(0.8125, 0.7011, 0.9022, 50)
    keys = [ledger.record("accuracy", text, "Accuracy@1", interval, seeds=3)]
    ledger.record("accuracy", "search", "negative log-likelihood", 0.7321)
    for method, value in (("model", 0.3131), ("search", 0.4141)):
        ledger.record("by category", f"{text} | {method}", "Accuracy@1", value, n=7)
    effects = {text: Interval(0.0512, 0.0211, 0.0888, 50), "b": Interval(0.2, 0.1, 0.3, 50)}
    ledger.claim(judge_all("C1", effects, text, keys))
    ledger.claim(judge("C7", Interval(-0.0011, -0.0022, 0.0033, 50), "recall", keys, -0.01))
    ledger.save()


def written(run):
    markdown, html = write_report(run.reports)
    assert (markdown.name, html.name) == ("RESULTS.md", "report.html")
    return markdown.read_text(encoding="utf-8"), html.read_text(encoding="utf-8")


def text_of(html):
    return " ".join(re.sub(r"<style>.*?</style>|<[^>]+>", " ", html, flags=re.DOTALL).split())


def test_the_page_is_valid_alone_and_accessible(run):
    add_catalogue(run)
    add_category(run)
    _, html = written(run)
    page = Page(html)
    assert html.startswith("<!doctype html>")
    assert '<html lang="en">' in html
    assert len(page.images) == 1
    assert page.images[0]["alt"] == "Synthetic shop"
    assert all(load.startswith("data:image/webp;base64,") for load in page.loads)
    assert not re.search(r"https?://|url\(|@import", html)
    assert page.scripts == 0
    assert set(page.headers) == {"col", "row"}
    assert len(set(page.ids)) == len(page.ids)
    assert {link.removeprefix("#") for link in page.links} <= set(page.ids)


def test_the_first_lines_are_the_numbers_the_advice_and_the_contents(run):
    add_catalogue(run)
    add_category(run)
    markdown, html = written(run)
    for text in (markdown, text_of(html)):
        places = [
            text.index(words)
            for words in (
                "Whole path",
                "Plain network",
                "Category",
                "0.812",
                "Learned boxes",
                "Time to answer",
                "No advice: ",
                "Verdicts",
            )
        ]
        assert places == sorted(places)
        assert text[places[0] : places[-1]].count("not measured") == 4
    contents = html.split("<nav")[1].split("</nav>")[0]
    headings = re.findall(r'<h2 id="([^"]+)"', html.split("</nav>")[1])
    assert re.findall('href="#([^"]+)"', contents) == headings
    assert headings[0] == "verdicts"


def test_a_smoke_report_says_so_first_and_gives_no_verdict(run):
    smoke = make_run("synthetic", "smoke", 5)
    for each in (run, smoke):
        add_catalogue(each)
        add_category(each)
    words = "its numbers mean nothing"
    for text in written(smoke):
        assert text.index(words) < text.index("Whole path")
        assert "– not judged at smoke" in re.sub("[*]", "", text)
        assert "✓" not in text
        assert not re.search(r"\breproduced\*\*|inconclusive<|> reproduced<", text)
        assert "Each verdict follows" not in text
        assert "No advice: " in text
    assert not [text for text in written(run) if words in text]
    judged, kept = (read_metrics(each.reports / "metrics.json") for each in (run, smoke))
    assert judged["claims"] == kept["claims"]


def test_both_forms_show_every_number_and_verdict(run):
    add_catalogue(run)
    add_category(run)
    markdown, html = written(run)
    for text in (markdown, text_of(html)):
        for expected in (
            "✓",
            "reproduced",
            "+0.051 [+0.021, +0.089]",
            "+0.200 [+0.100, +0.300]",
            "must exceed -0.01",
            "0.812 [0.701, 0.902]",
            "0.732",
            "0.313",
            "0.414",
            "1,234",
            "n = 50; training seeds = 3; in brackets: 95 % bootstrap interval",
            "make reproduce DATASET=synthetic PROFILE=laptop SEED=5",
            "What is simulated",
            "Category prediction",
        ):
            assert expected in text
        assert "In the paper" not in text
        assert "in the paper" not in text
        not_run = text.split("Not run:")[1].split("Data")[0]
        assert "C2a (3.2)" in not_run
        assert "C1 " not in not_run


def test_the_adjustment_and_the_power_stand_beside_the_intervals(run):
    add_category(run)
    for text in written(run):
        plain = text_of(text)
        # z = 1.96 × 0.0512 / 0.0301
        assert "that it holds: p < 0.001 (of 2 claims); that it falls" in unescape(plain)
        # (1.96 + 0.84) × 0.0677 / 3.92
        assert "fusion 0.048, b 0.143" in plain
        assert "intersection–union test" in plain
        assert "by its intervals alone" not in plain


def test_a_verdict_that_the_adjustment_takes_back_is_told_twice(run):
    ledger = Ledger.open(run, "02_category_fusion")
    keys = [ledger.record("accuracy", "fusion", "Accuracy@1", 0.8)]
    ledger.claim(judge("C1", Interval(0.02, 0.0001, 0.04, 50), "Accuracy@1", keys))
    ledger.claim(judge("C7", Interval(0.03, 0.0001, 0.06, 50), "recall", keys))
    ledger.save()
    markdown, html = written(run)
    assert markdown.count("○ **inconclusive**<br>by its intervals alone: reproduced") == 2
    assert html.count("by its intervals alone: reproduced") == 2


def test_looks_at_test_photos_stand_with_what_a_sceptic_asks(run):
    add_category(run)
    path = run.reports / "metrics.json"
    assert all("Category prediction: 1 (seed 5)" in text for text in written(run))
    metrics = json.loads(path.read_text())
    del metrics["run"]["sections"]["02_category_fusion"]["looks"]  # as in ledgers of old
    path.write_text(json.dumps(metrics))
    assert all("Category prediction: not counted" in text for text in written(run))


def test_tables_have_rows_and_columns_where_variants_say_so(run):
    add_category(run)
    markdown, _ = written(run)
    assert "**by category: Accuracy@1 ↑**\n\n| | model | search |\n" in markdown
    assert "| fusion | 0.313 | 0.414 |" in markdown
    assert "| search | – | 0.732 |" in markdown  # what was not recorded is a dash, not a zero


def test_an_interval_of_no_width_is_explained(run):
    add_category(run)
    assert "no width" not in "".join(written(run))
    ledger = Ledger.open(run, "01_catalogue")
    ledger.record("selection", "copies", "removal precision", Interval(0, 0, 0, 3))
    ledger.save()
    assert all("no width says only" in text for text in written(run))


def test_a_changed_number_changes_the_report(run):
    add_category(run)
    before = written(run)
    path = run.reports / "metrics.json"
    metrics = json.loads(path.read_text())
    for i, record in enumerate(metrics["records"]):
        value = record["value"]
        record["value"] = 0.6789
        path.write_text(json.dumps(metrics))
        times = 2 if record_key(record) == "/".join((*CATEGORY, "Accuracy@1")) else 1
        for old, new in zip(before, written(run), strict=True):
            assert new.count("0.679") == old.count("0.679") + times, f"record {i} is not shown"
        record["value"] = value
    metrics["claims"][0]["effects"]["b"]["effect"] = 0.2222
    path.write_text(json.dumps(metrics))
    assert all("+0.222" in text for text in written(run))


def test_same_ledger_same_bytes(run):
    add_catalogue(run)
    assert written(run) == written(run)


def test_nasty_texts_stay_text(run):
    add_catalogue(run, NASTY)
    add_category(run, NASTY)
    markdown, html = written(run)
    Page(html)
    assert "<script" not in html
    assert "<script" not in markdown
    assert not re.search(r"(?<!\\)\[d\]", markdown)
    for table in re.findall(r"(?:^\|.*\n)+", markdown, re.MULTILINE):
        n_cells = {len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}
        assert len(n_cells) == 1, table


def test_any_subset_of_sections(run):
    add_category(run)
    markdown, html = written(run)
    assert "## Category prediction" in markdown
    assert "Catalogue and image selection" not in html
    Page(html)


def test_executed_notebooks_are_linked_where_they_are(run):
    add_catalogue(run)
    write_report(run.reports)
    pages = [run.reports / name for name in ("RESULTS.md", "report.html")]
    assert not any("notebooks/" in page.read_text(encoding="utf-8") for page in pages)
    name = read_metrics(run.reports / "metrics.json")["records"][0]["section"]
    path = run.reports / "notebooks" / f"{name}.ipynb"
    path.parent.mkdir()
    path.touch()
    write_report(run.reports)
    for page in pages:
        assert page.read_text(encoding="utf-8").count(f"notebooks/{name}.ipynb") == 1


def test_a_section_of_figures_alone_is_shown(run):
    add_catalogue(run)
    tour = Ledger.open(run, "00_tour")
    save_figure(image_grid(np.zeros((1, 8, 8, 3), np.uint8)), run, "way", "A", "00_tour", "Way.")
    tour.save()
    markdown, _ = written(run)
    assert markdown.index("![A](figures/way.png)") < markdown.index("## Catalogue")
    assert "No claim was judged" in markdown


def test_the_papers_value_appears_once_someone_read_it(run, monkeypatch):
    from vsa.study.ledger.claims import Claim, load_claims

    claims = load_claims()
    known = Claim(**(vars(claims["C1"]) | {"paper_value": "a value (Table 9, page 99)"}))
    monkeypatch.setattr(content, "load_claims", lambda: claims | {"C1": known})
    add_category(run)
    for text in written(run):
        assert "a value (Table 9, page 99)" in text
        assert "n the paper" in text


def test_sections_of_different_seeds_give_a_command_each(run):
    add_catalogue(run)
    add_category(make_run("synthetic", "laptop", 6))
    markdown, _ = written(run)
    assert "SEED=5\n" in markdown
    assert "SEED=6\n" in markdown


def test_each_section_names_the_machine_it_was_made_on(run, monkeypatch):
    add_catalogue(run)
    here = environment.machine()
    monkeypatch.setattr(environment, "machine", lambda: {**here, "cpu": "Another & Co"})
    add_category(run)
    markdown, html = written(run)
    rows = [line for line in markdown.splitlines() if line.endswith(("s | 1 |", "s | 2 |"))]
    assert [row[-3] for row in rows] == ["1", "2"]
    assert markdown.count("Processor: ") == 2
    assert "Machine 2" in html
    assert "Another &amp; Co" in html
    add_catalogue(run)  # made again, on the other machine
    assert written(run)[0].count("Processor: ") == 1


def test_an_empty_or_missing_ledger_names_the_cure(run):
    with pytest.raises(InputError, match="make reproduce"):
        write_report(run.reports)
    Ledger.open(run, "01_catalogue").save()
    with pytest.raises(InputError, match=r"no records.*make reproduce"):
        write_report(run.reports)
    assert not (run.reports / "report.html").exists()


def test_a_lost_figure_names_the_cure(run):
    add_catalogue(run)
    (run.figures / "grid.png").unlink()
    with pytest.raises(InputError, match=r"'grid' is missing.*make reproduce"):
        write_report(run.reports)


def test_pictures_lose_nothing_where_they_are_drawn_and_room_where_they_are_photographs(tmp_path):
    drawn = Image.new("RGB", (300, 200), "white")
    drawn.paste("navy", (50, 50, 250, 150))
    noise = np.random.default_rng(0).normal(128, 40, (50, 75)).clip(0, 255).astype(np.uint8)
    photo = Image.fromarray(noise).resize((300, 200), Image.Resampling.BICUBIC).convert("RGB")
    for name, picture in (("drawn", drawn), ("photo", photo)):
        path = tmp_path / f"{name}.png"
        picture.save(path, dpi=(144, 144))
        told = report.embedded(path)
        assert (told["width"], told["height"]) == (200, 133)
        content = base64.b64decode(told["uri"].removeprefix("data:image/webp;base64,"))
        assert len(content) < path.stat().st_size / 2
        error = np.abs(np.subtract(picture, Image.open(io.BytesIO(content)), dtype=float))
        assert error.max() == 0 if name == "drawn" else error.mean() < 3


@pytest.mark.skipif(CHROMIUM is None, reason="needs Debian's chromium")
def test_on_a_phone_the_page_is_no_wider_and_figures_keep_their_size(run):
    from playwright.sync_api import sync_playwright

    long = "a_name_without_any_blank_in_it_" * 5
    add_catalogue(run, long)
    add_category(run, long)
    wide = image_grid(np.zeros((12, 40, 60, 3), np.uint8), n_columns=12)
    ledger = Ledger.open(run, "06_end_to_end")
    for i in range(8):
        ledger.record("clients", f"{long}{i}", "mAP", Interval(0.5, 0.4, 0.6, 9))
        ledger.record("clients", f"{long}{i}", "IoU@0.5", Interval(0.5, 0.4, 0.6, 9))
    save_figure(wide, run, "wide", long, "06_end_to_end", long)
    ledger.save()
    written(run)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-background-networking"]
        )
        for width in (390, 1280):
            tab = browser.new_page(viewport={"width": width, "height": 800})
            tab.goto((run.reports / "report.html").as_uri())
            assert tab.evaluate("document.documentElement.scrollWidth") == width
            figures = tab.evaluate(
                "[...document.images].map(i => [i.clientWidth, i.clientHeight,"
                " i.naturalWidth, i.naturalHeight, +i.getAttribute('width')])"
            )
            assert len(figures) == 2
            for shown, high, full, full_high, size in figures:
                assert shown / high == pytest.approx(full / full_high, rel=0.02)
                assert shown == size if width == 390 else shown <= size
            assert max(size for *_, size in figures) > 390
            boxes = tab.evaluate(
                "[...document.querySelectorAll('.scroll')].map(b => [b.clientWidth, b.scrollWidth])"
            )
            assert all(inside <= width for inside, _ in boxes)
            if width == 390:
                assert sum(whole > inside for inside, whole in boxes) >= 3
        browser.close()


@pytest.mark.parametrize(
    "folder",
    sorted(path.parent for path in (ROOT / "reports").glob("*/metrics.json")),
    ids=lambda folder: folder.name,
)
def test_every_number_of_a_published_report_comes_from_its_ledger(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(report, "embedded", lambda path: {"uri": "", "width": 1, "height": 1})
    copy = Path(shutil.copytree(folder, tmp_path / folder.name))
    write_report(copy)
    metrics = json.loads((folder / "metrics.json").read_text())
    sources = [record_text(record) for record in metrics["records"]]
    for claim in metrics["claims"]:
        sources += [effect_text(effect) for effect in claim["effects"].values()]
        sources.append(f"{claim['threshold']:+g}")
    for judgement in judge_run(metrics["claims"]).values():
        sources += [adjusted_text(judgement), seen_text(judgement), RULE]
    names = {record[part] for record in metrics["records"] for part in ("experiment", "variant")}
    names |= {name for claim in metrics["claims"] for name in claim["effects"]}
    words = [*names, json.dumps(metrics["run"]), *(s.paper_section for s in SECTIONS.values())]
    words += [claim.get("beside", "") for claim in metrics["claims"]]
    words += [claim.paper_section + claim.statement for claim in load_claims().values()]
    words += [metric.definition for metric in METRICS.values()]
    known = set(NUMBER.findall(" ".join(sources + words)))
    for name in ("report.html", "RESULTS.md"):
        text = (copy / name).read_text(encoding="utf-8")
        shown = set(NUMBER.findall(text_of(text) if name == "report.html" else text))
        assert len(shown) > 100
        assert not shown - known, f"{name} shows {shown - known}"
