"""The search page: what people do with it, and what they then see."""

from __future__ import annotations

import dataclasses
import io
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import ipywidgets as widgets
import numpy as np
import pytest
import requests
from nbformat.v4 import new_code_cell, new_notebook
from PIL import Image
from small_engine import N_ITEMS, small_shop

from vsa import app
from vsa.app import SearchPage, open_page
from vsa.cards import STYLE, grid
from vsa.embedding.describer import Lead
from vsa.engine import VisualSearch
from vsa.ranking.segments import Segments

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


class Backwards:
    """A ranker that turns the page round, and knows two kinds of shoppers."""

    segments = Segments(("browser", "collector"), (0.5, 0.5))

    def order(self, similarity, quality, segment):
        return SimpleNamespace(
            order=np.arange(len(similarity))[::-1], score=np.linspace(0, 1, len(similarity))
        )


def page_over(root: Path) -> SearchPage:
    """As the served notebook makes it."""
    shop = small_shop(root)
    engine = dataclasses.replace(VisualSearch.open(shop.folder), ranker=Backwards())
    return SearchPage(engine, [root / "0.png", root / "1.png"])


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    page = page_over(tmp_path_factory.mktemp("page"))
    yield page
    page.engine.close()


def test_the_page_says_who_describes_photos_and_what_that_brings(page):
    lead = Lead("mAP", 0.05, 0.01, 0.09, 60)
    before = page.engine
    page.engine = dataclasses.replace(
        before, describer=dataclasses.replace(before.describer, name="mine", lead=lead)
    )
    try:
        page.search(before.root / "1.png")
    finally:
        page.engine = before
    assert "described by: mine (mAP +0.050 [+0.010, +0.090] against the plain" in page.message.value


def upload(page: SearchPage, content: bytes, kind: str = "", name: str = "a") -> None:
    page.upload.value = (
        {
            "name": name,
            "type": kind,
            "size": 1,
            "content": memoryview(content),
            "last_modified": datetime(2025, 1, 1, tzinfo=UTC),
        },
    )


def test_a_sample_is_searched_for_at_once(page):
    page.samples.value = page.engine.root / "1.png"
    assert page.results.value.count("<li>") == 20
    assert 'role="status"' in page.message.value
    assert page.results.value.count("alt=") == page.results.value.count("<img") == 20
    assert "Time by stage" in page.facts.value


def test_an_upload_is_searched_for(page):
    upload(page, (page.engine.root / "7.png").read_bytes())
    uploaded = page.photo.value
    page.samples.value = page.engine.root / "0.png"
    assert page.photo.value != uploaded


def test_a_file_that_is_no_image_gets_a_friendly_message_and_changes_nothing(page):
    before = page.results.value
    upload(page, b"<script>alert(1)</script>")
    assert "not an image" in page.message.value
    assert "<script>" not in page.message.value
    assert page.results.value == before
    page.switches["refine"].value = False  # the photo that is shown is searched for, not the file
    page.switches["refine"].value = True
    assert page.results.value == before
    page.samples.value = page.engine.root / "1.png"
    assert "not an image" not in page.message.value


def test_the_same_file_can_be_chosen_again(page):
    content = (page.engine.root / "7.png").read_bytes()
    upload(page, content)
    uploaded = page.photo.value
    assert page.upload.value == ()
    page.samples.value = page.engine.root / "0.png"
    upload(page, content)
    assert page.photo.value == uploaded


def test_a_file_that_the_browser_did_not_send_is_refused_with_the_limit(page):
    before = page.results.value
    upload(page, b"", app._REFUSED, "film.mov")
    assert "film.mov has more than 8 MB" in page.message.value
    assert "empty" not in page.message.value
    assert (page.results.value, page.upload.value) == (before, ())


@pytest.mark.parametrize(
    ("content", "words"), [(b"", "empty file"), (b"%PDF-1.4", "not an image"), (None, "too large")]
)
def test_a_file_that_cannot_be_used_is_named_with_the_reason(page, content, words):
    if content is None:
        panorama = io.BytesIO()
        Image.new("1", (20_001, 5_000)).save(panorama, "PNG")
        content, limit = panorama.getvalue(), "100 million pixels"
    else:
        limit = "JPEG"
    upload(page, content, name="mine.x")
    assert f"mine.x cannot be searched for: {words}." in page.message.value
    assert limit in page.message.value


@pytest.mark.parametrize(("content", "reason"), [(None, "missing"), (b"junk", "not an image")])
def test_a_catalogue_picture_that_is_gone_costs_its_thumbnail(page, content, reason):
    page.samples.value = page.engine.root / "0.png"
    files = [page.engine.root / f"{row}.png" for row in range(1, N_ITEMS)]
    pictures = [file.read_bytes() for file in files]
    try:
        for file in files:
            file.unlink() if content is None else file.write_bytes(content)
        page.reset.click()
        assert 'role="status"' in page.message.value
        assert page.results.value.count("<li>") == 20
        assert page.results.value.count(f"no picture ({reason})</div>") in (19, 20)
        assert f'; no picture ({reason})"' in page.results.value
    finally:
        for file, picture in zip(files, pictures, strict=True):
            file.write_bytes(picture)
    page.reset.click()
    assert "no picture" not in page.results.value


def test_a_sample_that_is_gone_is_named_and_changes_nothing(page):
    page.samples.value = page.engine.root / "0.png"
    before, away = page.photo.value, page.engine.root / "away"
    (page.engine.root / "1.png").rename(away)
    page.samples.value = page.engine.root / "1.png"
    away.rename(page.engine.root / "1.png")
    assert "1.png cannot be searched for: missing" in page.message.value
    assert page.photo.value == before
    page.switches["refine"].value = False
    page.switches["refine"].value = True
    assert 'role="status"' in page.message.value
    assert page.photo.value == before


@pytest.mark.parametrize("step", ["photo_with", "table_of_categories", "table_of_times", "grid"])
def test_a_failure_of_whatever_kind_is_said_and_leaves_one_answer(page, monkeypatch, step):
    def fail(*_):
        raise KeyError("<lost>")

    def shown():
        return page.photo.value, page.facts.value, page.results.value, page.horizontal.value

    page.samples.value = page.engine.root / "0.png"
    before = shown()
    with monkeypatch.context() as patch:
        patch.setattr(app, step, fail)
        page.samples.value = page.engine.root / "1.png"
    assert page.message.value.count('role="alert"') == 1
    assert "KeyError: &#x27;&lt;lost&gt;&#x27;" in page.message.value
    assert shown() == before
    page.reset.click()
    assert 'role="status"' in page.message.value
    assert page.photo.value == before[0]  # the photo that is shown, not the one that failed


def test_a_failure_of_the_engine_is_said(page, monkeypatch):
    monkeypatch.setattr(VisualSearch, "search", lambda *_, **__: 1 / 0)
    page.reset.click()
    assert "ZeroDivisionError" in page.message.value


def test_the_search_follows_the_box_and_finds_it_again(page):
    learned, found = (page.horizontal.value, page.vertical.value), page.results.value
    page.horizontal.value = (0.0, 0.25)
    assert page.results.value != found
    assert "from 0 to 25 per cent" in page.photo.value
    page.switches["refine"].value = False
    assert page.horizontal.value == (0.0, 0.25)  # a switch leaves a box of one's own alone
    page.switches["refine"].value = True
    page.switches["box"].value = False
    assert (page.horizontal.value, page.vertical.value) == ((0.0, 1.0), (0.0, 1.0))
    page.horizontal.value = (0.0, 0.5)
    assert page.switches["box"].value  # who moves the box wants it
    page.reset.click()
    assert (page.horizontal.value, page.vertical.value) == learned


def test_other_objects_are_a_click_away(page, monkeypatch):
    search, asked = VisualSearch.search, []
    others = np.array([[0, 0, 0.25, 0.5], [0.5, 0.5, 1, 1]], np.float32)

    def of_several(engine, photo, k, *, box=None, **options):
        asked.append(box)
        answer = search(engine, photo, k, box=box, **options)
        return answer if box else dataclasses.replace(answer, other_boxes=others)

    page.reset.click()
    assert page.objects.children == (), "a regressor knows of one box"
    monkeypatch.setattr(VisualSearch, "search", of_several)
    page.reset.click()
    first, second = page.objects.children
    assert (first.description, second.description) == ("Other object 1", "Other object 2")
    page.switches["box"].value = False
    page.objects.children[0].click()
    assert asked[-1] == pytest.approx([0, 0, 0.25, 0.5])
    assert "from 0 to 25 per cent of the width and from 0 to 50" in page.photo.value
    assert page.switches["box"].value  # who chooses a box wants it
    assert len(page.objects.children) == 2  # the other one is still there
    monkeypatch.undo()
    page.reset.click()
    assert page.objects.children == ()


def test_a_card_has_title_price_and_product_and_the_whole_picture(page):
    rows = page.engine.search(page.engine.root / "0.png", 2).results
    rows["title"], rows["price"] = ["<b>Shoe</b>", None], [5.0, np.nan]
    first, second = re.findall(r"<p>(.*?)</p>", grid(rows, page.engine.root))
    product, other = rows.product_id
    assert first.startswith(f"<b>1. &lt;b&gt;Shoe&lt;/b&gt;</b><br>price 5.00<br>product {product}")
    assert second.startswith(f"<b>2. {rows.category[1]}</b><br>product {other}<br>similarity")
    assert "object-fit: contain" in STYLE


def test_an_empty_box_is_explained(page):
    page.vertical.value = (0.5, 0.5)
    assert "empty" in page.message.value
    page.reset.click()
    assert 'role="status"' in page.message.value


def test_re_ranking_can_be_switched_off(page):
    first = re.search(r"appearance rank (\d+)", page.results.value)
    assert int(first[1]) > 20  # the ranker turns a longer page round than is shown
    page.switches["rerank"].value = False
    assert "appearance rank" not in page.results.value
    page.switches["rerank"].value = True


def test_shoppers_are_those_that_the_ranker_knows(page):
    assert page.segment.options == ("all shoppers", "browser", "collector")
    assert not page.segment.disabled
    page.segment.value = "collector"
    assert 'role="status"' in page.message.value
    page.segment.value = "all shoppers"


def test_an_engine_without_a_ranker_offers_no_shoppers(page):
    plain = SearchPage(dataclasses.replace(page.engine, ranker=None), [page.engine.root / "0.png"])
    assert plain.segment.options == ("all shoppers",)
    assert plain.segment.disabled
    assert plain.switches["rerank"].disabled
    assert 'role="status"' in plain.message.value


def test_an_engine_opens_with_pictures_of_its_catalogue_wherever_they_lie(tmp_path):
    folder = small_shop(tmp_path).folder
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for picture in tmp_path.glob("*.png"):
        picture.rename(elsewhere / picture.name)
    texts = [
        "".join(part.value for part in shown(open_page(folder, root=root)))
        for root in (None, elsewhere)
    ]
    assert "cannot be searched for: missing" in texts[0]
    assert texts[1].count("<li>") == 20


def shown(widget):
    """All texts of a page."""
    if isinstance(widget, widgets.HTML):
        return [widget]
    return [text for child in getattr(widget, "children", ()) for text in shown(child)]


def test_a_page_that_cannot_be_opened_says_why(monkeypatch, tmp_path):
    assert "no engine here" in open_page(tmp_path).value
    monkeypatch.setattr(VisualSearch, "open", lambda *_, **__: 1 / 0)
    assert "ZeroDivisionError" in open_page(tmp_path).value


@pytest.fixture
def address(tmp_path):
    """A served page over the small engine."""
    source = (
        f"import sys\nsys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        f"from pathlib import Path\nfrom test_app import page_over\n"
        f"page_over(Path({str(tmp_path)!r})).widget"
    )
    kernel = {"kernelspec": {"name": "python3", "display_name": "", "language": "python"}}
    notebook = new_notebook(cells=[new_code_cell(source)], metadata=kernel)
    (tmp_path / "page.ipynb").write_text(json.dumps(notebook))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "voila", tmp_path / "page.ipynb", f"--port={port}"]
    server = subprocess.Popen([*command, "--no-browser"], stderr=subprocess.DEVNULL, env=os.environ)
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(120):
            try:
                requests.get(url + "/static/nothing", timeout=5)
                break
            except requests.ConnectionError:
                time.sleep(0.25)
        yield url
    finally:
        server.terminate()
        server.wait()


def give(tab, file: Path) -> None:
    """Upload a file through the button, as a person does."""
    with tab.expect_file_chooser() as chooser:
        tab.get_by_role("button", name="Upload a photo").click()
    chooser.value.set_files(str(file))


@pytest.fixture
def tab(address):
    """A browser's tab with the page in it, as wide as a phone."""
    from playwright.sync_api import expect, sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-background-networking"]
        )
        tab = browser.new_page(viewport={"width": 390, "height": 800})
        tab.goto(address, timeout=300_000)
        expect(tab.locator(".vsa-grid li")).to_have_count(20, timeout=90_000)
        yield tab
        browser.close()


needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="needs Debian's chromium")


@needs_chromium
def test_in_a_browser_as_wide_as_a_phone_and_by_keyboard(tab, tmp_path):
    from playwright.sync_api import expect

    (tmp_path / "notes.txt").write_text("not a picture")
    cells = tab.locator(".vsa-grid li")
    width = tab.evaluate("document.documentElement.scrollWidth")
    assert width <= 390, "the page is wider than the phone"
    first = cells.first.inner_text()
    assert "appearance rank" in first

    tab.get_by_label("re-rank by quality").focus()
    tab.keyboard.press("Space")
    expect(cells.first).not_to_contain_text("appearance rank")

    handle = tab.get_by_role("slider").first
    before = tab.locator(".vsa-photo img").get_attribute("alt")
    handle.focus()
    for _ in range(5):
        tab.keyboard.press("ArrowRight")
    tab.keyboard.press("Tab")
    expect(tab.locator(".vsa-photo img")).not_to_have_attribute("alt", before)

    give(tab, tmp_path / "notes.txt")
    expect(tab.locator(".vsa-error")).to_contain_text("not an image")
    expect(tab.locator(".vsa-error")).to_be_in_viewport()  # without scrolling, on a phone
    photo = tab.locator(".vsa-photo img").get_attribute("src")
    give(tab, tmp_path / "33.png")
    expect(tab.locator(".vsa-photo img")).not_to_have_attribute("src", photo)
    expect(tab.locator(".vsa-error")).to_have_count(0)


@pytest.mark.slow
@needs_chromium
def test_a_file_larger_than_a_message_may_be_is_answered_and_so_is_the_next(tab, tmp_path):
    from playwright.sync_api import expect

    def src() -> str:
        return tab.locator(".vsa-photo img").get_attribute("src")

    def becomes(photo: str) -> None:
        expect(tab.locator(".vsa-photo img")).to_have_attribute("src", photo, timeout=30_000)

    large, rubbish = tmp_path / "large.jpg", tmp_path / "rubbish.jpg"
    noise = np.random.default_rng(0).integers(0, 256, (3000, 4000, 3), np.uint8)
    sideways = Image.Exif()
    sideways[0x0112] = 6
    Image.fromarray(noise).save(large, quality=93, exif=sideways)
    rubbish.write_bytes(bytes(large.stat().st_size))
    assert large.stat().st_size > 10 * 2**20  # Tornado's limit

    sample = src()
    give(tab, large)
    expect(tab.locator(".vsa-photo img")).not_to_have_attribute("src", sample, timeout=30_000)
    shown = src()
    assert tab.evaluate("(e => e.height > e.width)(document.querySelector('.vsa-photo img'))")
    tab.get_by_label("Photo", exact=True).select_option(index=0)
    becomes(sample)
    give(tab, large)  # the same once more
    becomes(shown)

    give(tab, rubbish)
    expect(tab.locator(".vsa-error")).to_contain_text("rubbish.jpg has more than 8 MB")
    give(tab, tmp_path / "0.png")
    becomes(sample)
    expect(tab.locator(".vsa-error")).to_have_count(0)

    give(tab, large)
    give(tab, tmp_path / "33.png")  # while the other is made smaller, or searched for
    expect(tab.locator(".vsa-photo img")).not_to_have_attribute("src", sample, timeout=30_000)
    tab.wait_for_timeout(5_000)
    assert src() not in (sample, shown)
