"""Limits: what is too much is refused at once, with when to try again."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from served import TOKEN, problem, serving

from vsa.runtime.errors import InputError
from vsa.serve.limits import Limits, make_limits


def photo(shop) -> bytes:
    return (shop.root / "3.png").read_bytes()


def test_limits_are_changed_by_name():
    assert make_limits(["max_k=5", "search_s = 0.5"]) == Limits(max_k=5, search_s=0.5)
    for change, told in (
        ("max_k", "Write name=value"),
        ("max_k=many", "Give a number"),
        ("max_k=0", "max_k is 0"),
        ("max_k=1.5", "max_k is 1.5"),
        ("body_s=-1", "body_s is -1"),
        ("search_s=NaN", "search_s is nan"),
        ("max_kk=1", "Did you mean max_k"),
    ):
        with pytest.raises(InputError, match=told):
            make_limits([change])


def test_bytes_pixels_and_results_are_limited(shop, engine):
    with serving(engine, max_bytes=2000, max_pixels=1000, max_k=5) as client:
        assert "2,000 bytes" in problem(client.post("/v1/search", content=b"x" * 2001), 413)
        slowly = client.post("/v1/search", content=iter([b"x" * 1500, b"x" * 1500]))
        assert "2,000 bytes" in problem(slowly, 413)
        assert "0.001 million" in problem(client.post("/v1/search", content=photo(shop)), 413)
        assert "equal to 5" in problem(client.post("/v1/search?k=6", content=photo(shop)), 422)
        assert client.service.bodies.n_bytes == 0


def test_bytes_that_are_held_are_limited(shop, engine):
    with serving(engine, max_held_bytes=100) as client:
        answer = client.post("/v1/search", content=photo(shop))
        assert "as many bytes" in problem(answer, 503)
        assert answer.headers["retry-after"] == "1"
        assert client.service.bodies.n_bytes == 0


def test_searches_that_wait_are_limited_and_the_others_are_answered(shop, engine, monkeypatch):
    go = threading.Event()
    see = type(engine.eyes).see
    monkeypatch.setattr(
        type(engine.eyes), "see", lambda self, asked: go.wait() and see(self, asked)
    )
    with serving(engine, max_waiting=3) as client, ThreadPoolExecutor(8) as pool:
        ask = lambda _: client.post("/v1/search?k=1", content=photo(shop))  # noqa: E731
        asked = [pool.submit(ask, number) for number in range(8)]
        refused = [one for one in asked if _status_soon(one)]
        while len(refused) < 5:
            refused = [one for one in asked if _status_soon(one)]
        assert "not ready" in problem(client.get("/readyz"), 503)
        go.set()
        answers = [one.result() for one in asked]
    assert sorted(answer.status_code for answer in answers) == [200] * 3 + [503] * 5
    for one in refused:
        assert "wait already" in problem(one.result(), 503)
        assert one.result().headers["retry-after"] == "1"


def _status_soon(asked) -> bool:
    try:
        return asked.result(timeout=0.05) is not None
    except TimeoutError:
        return False


def test_a_search_that_takes_too_long_is_told_so(shop, engine, monkeypatch):
    go = threading.Event()
    see = type(engine.eyes).see
    monkeypatch.setattr(
        type(engine.eyes), "see", lambda self, asked: go.wait(5) and see(self, asked)
    )
    with serving(engine, search_s=0.05) as client:
        answer = client.post("/v1/search", content=photo(shop))
        assert "not answered in time" in problem(answer, 503)
        assert answer.headers["retry-after"] == "2"
        assert client.service.n_waiting == 0
        go.set()


def test_requests_that_are_open_are_limited_but_health_is_told(engine):
    with serving(engine, max_open=1) as client:
        client.service.load.n_open = 1
        assert "1 requests at hand" in problem(client.get("/v1/info"), 503)
        assert client.get("/healthz").status_code == 200


def test_writes_that_wait_are_limited(engine):
    with serving(engine, TOKEN, max_writes=1) as client:
        client.service.n_writing = 1
        answer = client.delete("/v1/items/i3", headers={"Authorization": f"Bearer {TOKEN}"})
        assert "writes wait" in problem(answer, 429)
        assert answer.headers["retry-after"] == "5"


def test_what_nobody_foresaw_is_told_in_the_log_alone(shop, engine, monkeypatch, caplog):
    monkeypatch.setattr(type(engine.eyes), "see", lambda self, asked: 1 / 0)
    with serving(engine) as client, caplog.at_level("INFO", "vsa.serve"):
        told = problem(client.post("/v1/search", content=photo(shop)), 500)
    assert "ZeroDivision" not in told
    assert "request_id" in told
    assert "ZeroDivisionError" in caplog.text


def test_a_clock_that_is_set_changes_nothing(shop, engine, monkeypatch):
    with serving(engine) as client:
        for now in (0.0, 4e9, 1.0):
            monkeypatch.setattr(time, "time", lambda now=now: now)
            assert client.post("/v1/search?k=1", content=photo(shop)).status_code == 200


def test_what_clients_make_up_is_no_label_and_no_long_line(engine, caplog):
    with serving(engine) as client, caplog.at_level("INFO", "vsa.serve"):
        for number in range(5):
            client.request(f"BREW{number}", f"/{number}" + "x" * 1000)
        told = client.get("/metrics").text
    assert 'vsa_requests_total{method="other",route="other",status="404"} 5.0' in told
    assert "BREW" not in told
    lines = [record.request for record in caplog.records if hasattr(record, "request")]
    assert max(len(line["path"]) for line in lines) == 200
