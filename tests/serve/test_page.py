"""The search page over HTTP: what people do with it in a browser, and what they then see."""

from __future__ import annotations

import io
import re
import shutil
from contextlib import contextmanager

import numpy as np
import pytest
from fake_service import LEARNED, N_RESULTS, OTHERS, fake_service, running
from PIL import Image

from vsa.serve.app import make_app

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Debian's chromium")
PHONE = {"viewport": {"width": 390, "height": 800}, "has_touch": True, "is_mobile": True}
DESK = {"viewport": {"width": 1280, "height": 800}}


@pytest.fixture(scope="module")
def service():
    with fake_service() as service:
        yield service


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-background-networking"]
        )
        yield browser
        browser.close()


@pytest.fixture(params=[DESK, PHONE], ids=["desk", "phone"])
def shape(request):
    return request.param


@pytest.fixture
def tab(service, browser, shape):
    """The page in a browser's tab; what its console complains of fails the test."""
    service.asked.clear()
    service.script.clear()
    with opened(browser, service.url, shape) as tab:
        yield tab


@contextmanager
def opened(browser, url: str, shape: dict[str, object]):
    tab = browser.new_page(**shape)
    wrong: list[str] = []
    tab.on("pageerror", lambda error: wrong.append(str(error)))
    tab.on("console", lambda told: wrong.append(told.text))
    tab.goto(url)
    tab.wait_for_selector("#options:not([hidden])")
    yield tab
    tab.close()
    assert [text for text in wrong if not text.startswith("Failed to load resource")] == []


on_desk = pytest.mark.parametrize("shape", [DESK], ids=["desk"])
on_phone = pytest.mark.parametrize("shape", [PHONE], ids=["phone"])


def photo_of(width: int, height: int, kind: str = "PNG") -> dict[str, object]:
    stream = io.BytesIO()
    Image.new("RGB", (width, height), (200, 60, 90)).save(stream, kind)
    return {"name": f"mine.{kind}", "mimeType": f"image/{kind}", "buffer": stream.getvalue()}


def choose(tab, photo: dict[str, object] | None = None) -> None:
    tab.get_by_label("Choose a photo", exact=True).set_input_files(photo or photo_of(300, 400))


def answered(tab, number: int) -> None:
    """Wait until the page shows the answer to the search of this number, the first being 1."""
    tab.wait_for_selector(f"text=Thing 0 of answer {number}")


def asked_box(service) -> list[float] | None:
    told = service.asked[-1].get("box")
    return None if told is None else [float(side) for side in told.split(",")]


def shown_box(tab) -> list[float]:
    """Where the box is on the photo, in shares."""
    box, photo = (tab.locator(name).bounding_box() for name in ("#box", "#picture"))
    left, top = (box[at] - photo[at] for at in "xy")
    sides = left, top, left + box["width"], top + box["height"]
    lengths = (photo["width"], photo["height"]) * 2
    return [side / length for side, length in zip(sides, lengths, strict=True)]


def test_a_photo_is_answered_with_cards_above_the_fold(tab, service):
    choose(tab)
    answered(tab, 1)
    cards = tab.locator("#results li")
    assert cards.count() == N_RESULTS
    first, second = cards.nth(0).inner_text(), cards.nth(1).inner_text()
    for words in ("Thing 0 of answer 1", "10.50", "shoes, p0", "similarity 0.990", "quality 0.50"):
        assert words in first
    assert re.search(r"shoes\s+product p0\s+similarity 0.980$", second), second
    tab.wait_for_selector("text=no picture")
    whole = tab.locator("#results img").first.evaluate("e => getComputedStyle(e).objectFit")
    assert whole == "contain"
    assert cards.first.bounding_box()["y"] < 500, "below the fold"
    n_columns = tab.evaluate(
        "getComputedStyle(document.getElementById('results')).gridTemplateColumns.split(' ').length"
    )
    assert n_columns == (3 if tab.viewport_size["width"] == 390 else 5)
    assert tab.evaluate("document.documentElement.scrollWidth") <= tab.viewport_size["width"]
    assert "20 results" in tab.locator("#status").inner_text()
    assert "box and feature 21" in tab.locator("#timings").inner_text()
    assert shown_box(tab) == pytest.approx(LEARNED, abs=0.02)
    assert service.asked[0]["k"] == str(N_RESULTS)
    assert not {"box", "categories", "segment", "stages"} & set(service.asked[0])


def test_every_control_has_a_name(tab):
    choose(tab)
    answered(tab, 1)
    nameless = tab.evaluate(
        """() => [...document.querySelectorAll("button, input, select, summary, [tabindex]")]
            .filter((e) => !e.getAttribute("aria-label")).map((e) => e.outerHTML)"""
    )
    assert nameless == []
    for part in ("Left", "Top", "Right", "Bottom"):
        assert tab.get_by_role("slider", name=f"{part} edge").count() == 1


@on_desk
def test_the_box_follows_the_mouse_and_results_the_box(tab, service):
    choose(tab)
    answered(tab, 1)
    photo = tab.locator("#picture").bounding_box()
    box = tab.locator("#box").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    tab.mouse.move(x, y)
    tab.mouse.down()
    tab.mouse.move(x + 0.1 * photo["width"], y - photo["height"], steps=4)  # beyond the top
    tab.mouse.up()
    answered(tab, 2)
    assert asked_box(service) == pytest.approx([0.3, 0, 0.8, 0.7], abs=0.01)
    assert shown_box(tab) == pytest.approx([0.3, 0, 0.8, 0.7], abs=0.02)
    box = tab.locator("#box").bounding_box()
    x, y = box["x"] + box["width"], box["y"] + box["height"]
    tab.mouse.move(x, y)
    tab.mouse.down()
    tab.mouse.move(x - 0.2 * photo["width"], y + 0.1 * photo["height"], steps=4)
    answered(tab, 3)  # before the button is let go
    tab.mouse.up()
    answered(tab, 4)
    assert asked_box(service) == pytest.approx([0.3, 0, 0.6, 0.8], abs=0.01)


@on_phone
def test_the_box_follows_a_finger(tab, service):
    choose(tab)
    answered(tab, 1)
    photo = tab.locator("#picture").bounding_box()
    box = tab.locator("#box").bounding_box()
    touch = tab.context.new_cdp_session(tab)

    def finger(kind: str, *point: float) -> None:
        points = [{"x": point[0], "y": point[1]}] if point else []
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    x, y = box["x"], box["y"] + box["height"] / 2  # the left edge
    finger("touchStart", x, y)
    for step in range(1, 5):
        finger("touchMove", x + step * 0.05 * photo["width"], y + 5 * step)
    finger("touchEnd")
    answered(tab, 2)
    assert asked_box(service) == pytest.approx([0.4, 0.1, 0.7, 0.8], abs=0.02)
    assert tab.evaluate("scrollY") == 0


@on_desk
def test_the_box_is_moved_and_resized_by_keyboard(tab, service):
    choose(tab)
    answered(tab, 1)
    tab.locator("#box").focus()
    for key in ("ArrowRight", "ArrowRight", "ArrowDown"):
        tab.keyboard.press(key)
    answered(tab, 2)  # one search, once the keys rest
    assert asked_box(service) == pytest.approx([0.24, 0.12, 0.74, 0.82], abs=1e-3)
    tab.keyboard.press("Shift+ArrowLeft")
    answered(tab, 3)
    assert asked_box(service) == pytest.approx([0.24, 0.12, 0.72, 0.82], abs=1e-3)
    edge = tab.get_by_role("slider", name="Left edge")
    edge.focus()
    tab.keyboard.press("Home")
    answered(tab, 4)
    assert asked_box(service) == pytest.approx([0, 0.12, 0.72, 0.82], abs=1e-3)
    assert edge.get_attribute("aria-valuenow") == "0"
    assert edge.get_attribute("aria-valuetext") == "0 % of the width"
    tab.keyboard.press("End")  # as far as the other edge lets it
    answered(tab, 5)
    assert asked_box(service) == pytest.approx([0.68, 0.12, 0.72, 0.82], abs=1e-3)


def test_other_objects_are_a_click_away_and_so_is_the_first(tab, service):
    choose(tab)
    answered(tab, 1)
    other = tab.get_by_role("button", name="Search for: other object 2")
    other.click()
    answered(tab, 2)
    assert asked_box(service) == pytest.approx(OTHERS[1])
    assert other.get_attribute("aria-pressed") == "true"
    first = tab.get_by_role("button", name="Search for: main object")
    assert first.get_attribute("aria-pressed") == "false"
    first.focus()
    tab.keyboard.press("Enter")
    answered(tab, 3)
    assert asked_box(service) is None
    assert shown_box(tab) == pytest.approx(LEARNED, abs=0.02)
    assert first.evaluate("e => e === document.activeElement"), "the focus is lost"


@on_desk
def test_an_answer_that_comes_late_is_dropped(tab, service):
    service.script[:] = [0.0, 1.5, 0.0]
    choose(tab)
    answered(tab, 1)
    tab.get_by_role("button", name="Search for: other object 1").click()
    tab.wait_for_selector("#status:text-is('Searching…')")
    tab.get_by_role("button", name="Search for: other object 2").click()
    answered(tab, 3)
    tab.wait_for_timeout(2_000)
    assert "answer 3" in tab.locator("#results li").first.inner_text()
    assert shown_box(tab) == pytest.approx(OTHERS[1], abs=0.02)


@on_phone
def test_what_narrows_the_search_is_sent(tab, service):
    choose(tab)
    answered(tab, 1)
    tab.get_by_role("button", name="Only shoes, likely by 83 %").click()
    answered(tab, 2)
    tab.get_by_role("button", name="Only toys").click()
    answered(tab, 3)
    assert service.asked[-1]["categories"] == "shoes,toys"
    tab.get_by_label("Options of the search").click()
    tab.get_by_label("Shopper", exact=True).select_option("collector")
    answered(tab, 4)
    assert service.asked[-1]["segment"] == "collector"
    tab.get_by_label("re-rank by quality").uncheck()
    answered(tab, 5)
    assert service.asked[-1]["stages"] == "category,box,refine"
    choose(tab)  # of another photo, categories are others
    answered(tab, 6)
    assert "categories" not in service.asked[-1]
    assert service.asked[-1]["segment"] == "collector"


@on_desk
def test_who_moves_the_box_wants_it_and_who_leaves_the_stage_out_does_not(tab, service):
    choose(tab)
    answered(tab, 1)
    stage = tab.get_by_label("describe the box, not the photo")
    tab.get_by_label("Options of the search").click()
    stage.uncheck()
    answered(tab, 2)
    tab.locator("#box").press("ArrowDown")
    answered(tab, 3)
    assert stage.is_checked()
    assert asked_box(service) is not None
    stage.uncheck()
    answered(tab, 4)
    assert asked_box(service) is None


def test_a_problem_is_told_with_its_cure_where_it_is_seen(tab, service):
    from playwright.sync_api import expect

    choose(tab)
    answered(tab, 1)
    service.script[:] = [500]
    tab.evaluate("scrollTo(0, 400)")
    tab.get_by_role("button", name="Only bags, likely by 12 %").dispatch_event("click")
    message = tab.get_by_role("alert")
    expect(message).to_contain_text("<b>broken</b>")
    expect(message).to_contain_text("Tell whoever runs it")
    expect(message).to_contain_text("request abc")
    expect(message).to_be_in_viewport()
    expect(tab.locator("#status")).to_have_text("The answer before:")
    tab.get_by_role("button", name="Try again").click()
    answered(tab, 3)
    expect(message).to_have_count(0)  # empty, and hidden


@on_desk
def test_a_busy_service_is_asked_again(tab, service):
    service.script[:] = [429]
    choose(tab)
    tab.wait_for_selector("text=The service is busy; asking again in 1 s")
    answered(tab, 2)
    assert service.asked[0]["photo"] == service.asked[1]["photo"]


@on_desk
def test_a_service_that_is_gone_is_told(tab):
    tab.route("**/v1/search", lambda route: route.abort())
    choose(tab)
    tab.wait_for_selector("text=The service cannot be reached.")


@on_desk
def test_a_file_that_is_no_image_is_left_to_the_service(tab, service):
    service.script[:] = [400]
    choose(tab, {"name": "a.txt", "mimeType": "text/plain", "buffer": b"not a picture"})
    tab.wait_for_selector("text=Give a JPEG or a PNG")
    assert service.asked[0]["photo"] == b"not a picture"
    assert tab.locator("#desk").is_hidden()
    choose(tab)
    answered(tab, 2)
    assert tab.locator("#desk").is_visible()


@on_desk
def test_a_photo_that_is_too_large_is_made_smaller_or_refused(tab, service):
    noise = np.random.default_rng(0).integers(0, 256, (3000, 2000, 3), np.uint8)
    stream = io.BytesIO()
    sideways = Image.Exif()
    sideways[0x0112] = 6
    Image.fromarray(noise).save(stream, "JPEG", quality=93, exif=sideways)
    assert len(stream.getvalue()) > 5e6
    choose(tab, {"name": "a.jpg", "mimeType": "image/jpeg", "buffer": stream.getvalue()})
    answered(tab, 1)
    sent = Image.open(io.BytesIO(service.asked[0]["photo"]))
    assert (sent.format, sent.width > sent.height) == ("JPEG", True)
    assert 3.9e6 < sent.width * sent.height <= 4e6
    choose(tab, photo_of(6000, 4000))  # few bytes, more pixels than the service takes
    answered(tab, 2)
    sent = Image.open(io.BytesIO(service.asked[1]["photo"]))
    assert 3.9e6 < sent.width * sent.height <= 4e6
    choose(tab, {"name": "film.mov", "mimeType": "video/quicktime", "buffer": bytes(9_000_000)})
    tab.wait_for_selector("text=film.mov is too large (9.0 MB)")
    assert len(service.asked) == 2


@on_desk
def test_photos_are_dropped_and_pasted(tab, service):
    event = """([kind, name, bytes]) => {
      const data = new DataTransfer();
      data.items.add(new File([new Uint8Array(bytes)], "a.png", {type: "image/png"}));
      document.dispatchEvent(new window[kind](name, {
        dataTransfer: data, clipboardData: data, bubbles: true, cancelable: true}));
    }"""
    content = list(photo_of(30, 40)["buffer"])
    tab.evaluate(event, ["DragEvent", "dragover", content])
    assert tab.locator("body.dropping").count() == 1
    tab.evaluate(event, ["DragEvent", "drop", content])
    answered(tab, 1)
    assert tab.locator("body.dropping").count() == 0
    tab.evaluate(event, ["ClipboardEvent", "paste", content])
    answered(tab, 2)
    assert list(service.asked[1]["photo"]) == content


@on_phone
def test_the_page_over_the_service_itself(engine, shop, browser, shape):
    from playwright.sync_api import expect

    with running(make_app(engine)) as url, opened(browser, url, shape) as tab:
        assert tab.locator("#about").inner_text() == "among 90 pictures"
        assert tab.locator("#stages input").count() == 3  # nothing re-ranks
        tab.get_by_label("Choose a photo", exact=True).set_input_files(shop.root / "7.png")
        tab.wait_for_selector("#results li")
        assert tab.locator("#results li").count() == 24
        expected = engine.search(shop.root / "7.png", 24)
        first = tab.locator("#results li").first.inner_text()
        assert f"product {expected.results.product_id[0]}" in first
        assert shown_box(tab) == pytest.approx(list(expected.box), abs=0.03)
        with tab.expect_response("**/v1/search"):
            tab.locator("#box").press("Shift+ArrowLeft")
        assert tab.locator("#objects [aria-pressed=true]").count() == 0
        with tab.expect_response("**/v1/search") as answer:
            tab.get_by_role("button", name=re.compile("^Only shoes")).click()
        n_shoes = len(answer.value.json()["results"])
        expect(tab.locator(".title")).to_have_text(["shoes"] * n_shoes)
        assert tab.locator("#results img").count() == n_shoes, "thumbnails are missing"
        assert tab.locator("#message").inner_text() == ""
