"""POST /v1/search: what may be sent, and that the answer is the engine's."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image
from served import problem
from small_engine import NAMES

from vsa.embedding.boxes import apart_boxes
from vsa.engine import Stages
from vsa.serve.messages import SearchAnswer


def photo(shop, row: int = 3) -> bytes:
    return (shop.root / f"{row}.png").read_bytes()


def sent(client, content: bytes, **options):
    headers = {"Content-Type": "image/png"}
    return client.post("/v1/search", content=content, params=options, headers=headers)


def ids(answer) -> list[str]:
    assert answer.status_code == 200, answer.text
    SearchAnswer.model_validate(answer.json())
    return [result["image_id"] for result in answer.json()["results"]]


def test_the_answer_is_the_engines(shop, engine, client):
    expected = engine.search(photo(shop), 7)
    told = sent(client, photo(shop), k=7).json()
    assert [result["image_id"] for result in told["results"]] == list(expected.results.image_id)
    scores = [result["score"] for result in told["results"]]
    np.testing.assert_allclose(scores, expected.results.similarity, atol=1e-5)
    np.testing.assert_allclose(told["box"], expected.box, atol=1e-5)
    likely = {one["name"]: one["probability"] for one in told["categories"]}
    assert sorted(likely) == NAMES
    assert list(likely.values()) == sorted(likely.values(), reverse=True)
    np.testing.assert_allclose([likely[name] for name in NAMES], expected.category.fused, atol=1e-5)
    assert list(told["timings_ms"]) == list(expected.stage_ms)
    assert (told["other_boxes"], told["missing_shards"]) == ([], [])
    first = told["results"][0]
    assert (first["price"], first["quality"], first["title"]) == (5.0, None, None)
    assert client.get(first["picture"]).status_code == 200


def test_a_photo_comes_as_it_is_or_in_a_form(shop, client):
    as_it_is = ids(sent(client, photo(shop), k=4, box="0,0,0.5,0.5"))
    files = {"photo": ("C:\\..\\..\\etc\\passwd", photo(shop), "image/png")}
    form = client.post("/v1/search", files=files, data={"k": "4", "box": "0,0,0.5,0.5"})
    both = client.post("/v1/search?k=9", files=files, data={"k": "4", "box": "0,0,0.5,0.5"})
    untyped = client.post("/v1/search?k=4&box=0,0,0.5,0.5", content=photo(shop))
    assert ids(form) == ids(both) == ids(untyped) == as_it_is
    assert len(as_it_is) == 4


def test_options_are_those_of_the_engine(shop, engine, client):
    def expected(**options) -> list[str]:
        return list(engine.search(photo(shop), 9, **options).results.image_id)

    part = sent(client, photo(shop), k=9, box="0.5, 0.5, 1, 0.9")
    assert ids(part) == expected(box=(0.5, 0.5, 1, 0.9))
    np.testing.assert_allclose(part.json()["box"], [0.5, 0.5, 1, 0.9], atol=1e-6)
    whole = sent(client, photo(shop), k=9, stages="refine")
    assert ids(whole) == expected(stages=Stages(False, False, True, False))
    assert whole.json()["box"] is None
    assert ids(sent(client, photo(shop), k=9, stages="")) == expected(
        stages=Stages(False, False, False, False)
    )
    toys = sent(client, photo(shop), k=9, categories="toys, bags").json()["results"]
    assert {result["category"] for result in toys} == {"toys", "bags"}


def png_of(width: int, height: int) -> bytes:
    stream = io.BytesIO()
    Image.new("L", (width, height)).save(stream, "PNG")
    return stream.getvalue()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"k": 0}, "k: Input should be greater"),
        ({"k": 1001}, "k: Input should be less than or equal to 1000"),
        ({"k": "many"}, "k: Input should be a valid integer"),
        ({"kk": 3}, "no option 'kk'"),
        ({"box": "1,2,3"}, "Correct box"),
        ({"box": "0,0,nan,1"}, "Correct box"),
        ({"box": "10,20,300,400"}, "seems to be in pixels"),
        ({"box": "0.5,0,0.2,1"}, "is empty"),
        ({"box": "0,0,0.001,0.001"}, "smaller than a pixel"),
        ({"stages": "category,boxes"}, "unknown stage 'boxes'. Did you mean box?"),
        ({"segment": "young"}, "unknown user portrait 'young'"),
        ({"categories": "hats"}, "unknown category 'hats'. The engine has bags, shoes, toys"),
        ({"categories": ","}, "no category is to be searched"),
    ],
)
def test_a_wrong_option_is_named_with_its_cure(shop, client, options, told):
    assert told in problem(sent(client, photo(shop), **options), 422)


def test_a_photo_that_cannot_be_used_is_told_why(client):
    assert "empty file" in problem(sent(client, b""), 422)
    assert "not an image" in problem(sent(client, b"nothing"), 422)
    assert "truncated" in problem(sent(client, png_of(300, 300)[:60]), 422)
    assert "40 million pixels" in problem(sent(client, png_of(8000, 5001)), 413)


@pytest.mark.parametrize(
    ("headers", "content", "status", "told"),
    [
        ({"Content-Type": "application/json"}, b"{}", 415, "does not come as application/json"),
        ({"Content-Type": "multipart/form-data"}, b"x", 400, "boundary"),
        ({"Content-Type": "multipart/form-data; boundary=x"}, b"--y", 400, "multipart"),
        ({"Content-Type": "multipart/form-data; boundary=x"}, b"--x--\r\n", 422, "no file called"),
        ({"Content-Type": "image/png", "Content-Length": "99999999999"}, b"", 413, "10,000,000"),
    ],
)
def test_a_body_that_is_none_is_told_why(client, headers, content, status, told):
    answer = client.post("/v1/search", headers=headers, content=content)
    assert told in problem(answer, status)


def test_other_paths_and_methods_are_problems_too(client):
    assert "See /docs" in problem(client.get("/v2"), 404)
    not_allowed = client.get("/v1/search")
    assert "may be done" in problem(not_allowed, 405)
    assert not_allowed.headers["allow"] == "POST"
    elsewhere = client.get("/v1/info/", headers={"Host": "elsewhere"}, follow_redirects=False)
    problem(elsewhere, 404)
    own = client.get("/healthz", headers={"X-Request-ID": "mine-1"})
    assert own.headers["x-request-id"] == "mine-1"
    other = client.get("/healthz", headers={"X-Request-ID": "a b\x7f"})
    assert len(other.headers["x-request-id"]) == 32


def test_what_the_engine_has_is_told(engine, client):
    told = client.get("/v1/info").json()
    assert (told["n_items"], told["categories"], told["writing"]) == (90, NAMES, False)
    assert told["stages"] == {"category": True, "box": True, "refine": True, "rerank": False}
    assert told["limits"]["max_k"] == 1000
    assert client.get("/healthz").json() == {"status": "ok"}
    assert client.get("/readyz").json() == {"status": "ready"}
    told = client.get("/metrics").text
    assert 'vsa_requests_total{method="GET",route="/healthz",status="200"}' in told
    assert "vsa_items 90.0" in told


def test_boxes_of_other_things_lie_beside_the_first():
    scores = np.zeros((8, 8))
    scores[1:4, 1:3], scores[5:7, 5:8], scores[0, 7] = 3, 2, 0.1
    found = apart_boxes(scores)
    np.testing.assert_allclose(found[:2] * 8, [[1, 1, 3, 4], [5, 5, 8, 7]], atol=1e-5)
    assert len(found) == 2  # the last is next to nothing
    assert len(apart_boxes(scores, n_most=1)) == 1
