"""Items over HTTP: rows and thumbnails, and how they join and leave."""

from __future__ import annotations

import dataclasses
import errno
import io
import json
import os

import httpx
import numpy as np
import pytest
from PIL import Image
from served import TOKEN, problem, serving

from vsa.engine import Stages, VisualSearch
from vsa.serve import writes
from vsa.store import Store


def picture(seed: int, size: int = 64) -> bytes:
    cells = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), np.uint8)
    stream = io.BytesIO()
    Image.fromarray(cells.repeat(size // 4, 0).repeat(size // 4, 1)).save(stream, "PNG")
    return stream.getvalue()


def row(path: str, **cells) -> dict:
    return {"path": path, "product_id": "p", "category": "toys"} | cells


AUTHORIZED = {"Authorization": f"Bearer {TOKEN}"}


def put(client, rows, files, headers=AUTHORIZED, **options):
    table = rows if isinstance(rows, str) else json.dumps(rows)
    parts = [("files", (name, content)) for name, content in files.items()]
    return client.put(
        "/v1/items", data={"table": table}, files=parts, params=options, headers=headers
    )


def found(client, content: bytes) -> str:
    told = client.post("/v1/search?k=1&stages=refine", content=content).json()
    return told["results"][0]["image_id"]


def test_a_row_is_told_without_its_path(client):
    told = client.get("/v1/items/i3").json()
    assert told["row"]["product_id"] == "p1"
    assert told["row"]["price"] == 5.0
    assert "path" not in told["row"]
    assert "no item 'nothing'" in problem(client.get("/v1/items/nothing"), 404)


def test_a_thumbnail_is_whole_and_small_and_sent_once(shop, client, tmp_path):
    answer = client.get("/v1/items/i3/picture?size=16")
    assert answer.headers["content-type"] == "image/jpeg"
    assert Image.open(io.BytesIO(answer.content)).size == (16, 16)
    tag = answer.headers["etag"]
    again = client.get("/v1/items/i3/picture?size=16", headers={"If-None-Match": tag})
    assert (again.status_code, again.content) == (304, b"")
    assert "private" in again.headers["cache-control"]
    other = client.get("/v1/items/i3/picture?size=32", headers={"If-None-Match": tag})
    assert other.status_code == 200
    assert "no item" in problem(client.get("/v1/items/no/picture"), 404)
    assert "size" in problem(client.get("/v1/items/i3/picture?size=9999"), 422)


@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "..%2f..%2fetc%2fpasswd", "/etc/passwd", "%00"]
)
def test_no_path_of_a_clients_is_opened(client, name):
    for path in (f"/v1/items/{name}", f"/v1/items/{name}/picture", f"/{name}"):
        assert client.get(path).status_code in (404, 422), path


def test_a_wide_picture_is_not_cropped(own):
    stream = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 200, 3), np.uint8)).save(
        stream, "PNG"
    )
    assert put(
        own, [row("wide.png", image_id="wide")], {"wide.png": stream.getvalue()}, select=False
    )
    answer = own.get("/v1/items/wide/picture?size=100")
    assert Image.open(io.BytesIO(answer.content)).size == (100, 20)


def n_items(client) -> int:
    return client.get("/v1/info").json()["n_items"]


def kept_by(client) -> set[str]:
    return {file.name for file in client.kept.iterdir()} if client.kept.is_dir() else set()


def test_what_joins_is_found_shown_replaced_and_leaves(own):
    first, second = picture(701), picture(702)
    before, kept = n_items(own), kept_by(own)
    told = put(own, [row("a.png", image_id="new/1", price=9.5)], {"a.png": first}).json()
    assert (told["image_ids"], told["left_out"]) == (["new/1"], [])
    assert told["n_items"] == before + 1
    assert found(own, first) == "new/1"
    assert own.get("/v1/items/new%2F1").json()["row"]["price"] == 9.5
    (name,) = kept_by(own) - kept
    assert (own.kept / name).read_bytes() == first
    assert own.get("/v1/items/new%2F1/picture").status_code == 200

    again = put(own, [row("b.png", image_id="new/1")], {"b.png": second}).json()
    assert (again["image_ids"], again["n_items"]) == (["new/1"], before + 1)
    assert found(own, second) == "new/1"
    (name,) = kept_by(own) - kept
    assert (own.kept / name).read_bytes() == second
    with VisualSearch.open(own.folder) as other:  # it is on the disk
        whole = other.search(second, 1, stages=Stages(False, False, True, False))
        assert whole.results.image_id[0] == "new/1"

    gone = own.delete("/v1/items/new%2F1", headers=AUTHORIZED).json()
    assert (gone["image_ids"], gone["n_items"]) == (["new/1"], before)
    assert kept_by(own) == kept
    assert found(own, second) != "new/1"
    assert "no item" in problem(own.delete("/v1/items/new%2F1", headers=AUTHORIZED), 404)


def test_rows_come_as_csv_too_and_copies_are_left_out(own, shop):
    same = (shop.root / "4.png").read_bytes()
    table = "path,product_id,category,sales\na.png,x,toys,3\nb.png,y,toys,\n"
    files = {"a.png": picture(703), "b.png": same}
    told = put(own, table, files).json()
    assert told["image_ids"] == ["a.png"]
    assert told["left_out"] == [{"image_id": "b.png", "reason": "identical", "duplicate_of": "i4"}]
    assert own.get("/v1/items/a.png").json()["row"]["sales"] == 3.0
    as_file = own.put(
        "/v1/items",
        files=[
            ("table", ("t.csv", table.encode())),
            ("files", ("a.png", same)),
            ("files", ("b.png", same)),
        ],
        params={"select": "false"},
        headers=AUTHORIZED,
    )
    assert as_file.json()["image_ids"] == ["a.png", "b.png"]


@pytest.mark.parametrize(
    ("table", "told"),
    [
        ("", "no rows"),
        ("[", "cannot be read"),
        ("[" * 100_000, "cannot be read"),
        ("[]", "no rows"),
        ('{"path": "a.png"}', "no list of rows"),
        ("[3]", "no list of rows"),
        ('[{"path": "a.png", "product_id": NaN}]', "cannot be read"),
        ("path,product_id\na.png,b,c,d\n", "more cells than the header"),
        ([row("b.png")], "no file is called 'b.png'"),
        ([row("../a.png")], "no file is called '../a.png'"),
        ([{"product_id": "x", "category": "toys"}], "column path is missing"),
        ([{"path": "a.png", "category": "toys"}], "product_id"),
        ([row("a.png", category="hats")], "without the category 'hats'"),
        ([row("a.png", price="dear")], "price is no number"),
        ([row("a.png", price=-1)], "price"),
        ([row("a.png", sales=int("9" * 400))], "sales is no number"),
        ([row("a.png", leaf=["x"])], "leaf is no text"),
        ([row("a.png", colour="red")], "colour"),
        ('[{"path": "a.png", "product_id": "\\ud800", "category": "toys"}]', "no Unicode text"),
        ([row("a.png"), row("a.png")], "occurs in an earlier row"),
        ([row("bad.png")], "bad.png: the image cannot be used: not an image"),
        ([row("half.png")], "half.png: the image cannot be used: truncated"),
    ],
)
def test_a_mistake_in_rows_or_pictures_is_named_and_nothing_joins(own, table, told):
    files = {"a.png": picture(704), "bad.png": b"nothing", "half.png": picture(705)[:200]}
    before, kept = n_items(own), kept_by(own)
    answer = problem(put(own, table, files), 422)
    assert told in answer
    assert str(own.folder.parent) not in answer
    assert n_items(own) == before
    assert kept_by(own) == kept


def test_writes_need_the_token_and_are_off_without_one(own, client):
    rows, files = [row("a.png")], {"a.png": picture(706)}
    for wrong in ("", "Bearer", "Bearer x", f"Basic {TOKEN}", "Bearer é", f"Bearer {TOKEN}x"):
        headers = httpx.Headers({"Authorization": wrong}, encoding="latin-1")
        assert "not the token" in problem(put(own, rows, files, headers), 401)
        answer = own.delete("/v1/items/i3", headers=headers)
        assert "Bearer" in problem(answer, 401)
        assert answer.headers["www-authenticate"] == "Bearer"
    assert "VSA_TOKEN" in problem(put(client, rows, files), 403)
    assert "VSA_TOKEN" in problem(client.delete("/v1/items/i3"), 403)
    assert own.get("/v1/items/i3").status_code == 200


def test_a_form_of_another_kind_is_told_why(own):
    assert "multipart" in problem(own.put("/v1/items", content=b"x", headers=AUTHORIZED), 415)
    nothing = own.put("/v1/items", files={"files": ("a.png", b"x")}, headers=AUTHORIZED)
    assert "no table" in problem(nothing, 422)
    twice = [("files", ("a.png", b"x")), ("files", ("a.png", b"y"))]
    answer = own.put("/v1/items", data={"table": "[]"}, files=twice, headers=AUTHORIZED)
    assert "two files" in problem(answer, 422)


def test_a_full_disk_is_told_and_nothing_is_left(own, monkeypatch):
    def full(path) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    files, kept = {"a.png": picture(707)}, kept_by(own)
    with monkeypatch.context() as patch:
        patch.setattr(writes, "flush", full)
        assert "Let its operator free some space" in problem(put(own, [row("a.png")], files), 507)
    with monkeypatch.context() as patch:
        patch.setattr("vsa.row_files.flush", full)
        assert "disk" in problem(put(own, [row("a.png")], files), 507)
    assert kept_by(own) == kept
    assert put(own, [row("a.png", image_id="b")], files).json()["image_ids"] == ["b"]


def test_another_process_that_writes_is_waited_for(own):
    with Store(own.folder) as other, other.writing():
        answer = put(own, [row("a.png")], {"a.png": picture(708)})
        assert "another process writes" in problem(answer, 503)
        assert answer.headers["retry-after"] == "5"
    assert put(own, [row("a.png")], {"a.png": picture(708)}).status_code == 200


def test_a_catalogue_whose_pictures_are_gone_is_searched_and_says_so(shop, engine, tmp_path):
    with serving(dataclasses.replace(engine, root=tmp_path)) as client:
        told = client.post("/v1/search?k=1", content=(shop.root / "3.png").read_bytes()).json()
        answer = client.get(told["results"][0]["picture"])
        assert "(missing)" in problem(answer, 404)
        assert "--root" in answer.json()["cure"]
