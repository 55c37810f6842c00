"""Requests that nobody should send, for `benchmarks/load.py` and for the tests of the service.

Each is raw bytes, by a generator of its own: broken forms, bombs, wrong types, absurd options,
path tricks, wrong tokens, and what is no HTTP at all. Equal seeds give equal requests.
"""

from __future__ import annotations

import asyncio
import io
import json
import struct
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache

import numpy as np
from PIL import Image

Rng = np.random.Generator
ALLOWED = {200, 304, 400, 401, 403, 404, 405, 408, 413, 415, 422, 429, 431, 503}
SECRETS = (b"root:x:", b"Traceback", b'File "/')  # of the server's disk or code
_PATIENCE_S = 20.0


def request(
    method: str, target: str, body: bytes = b"", length: int | None = None, **headers: str
) -> bytes:
    """One request as it goes over the wire, which ends its connection."""
    lines = [f"{method} {target} HTTP/1.1", "Host: localhost", "Connection: close"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    if body or method in ("POST", "PUT"):
        lines.append(f"Content-Length: {len(body) if length is None else length}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1", "replace") + body


def picture(rng: Rng, kind: str = "PNG", size: int = 64) -> bytes:
    cells = rng.integers(0, 256, (size, size, 3), np.uint8)
    stream = io.BytesIO()
    Image.fromarray(cells).save(stream, kind)
    return stream.getvalue()


@cache
def png_of(width: int, height: int, n_bytes: int) -> bytes:
    """A PNG whose header says that size, and that unpacks to so many zeros."""

    def chunk(name: bytes, content: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(name + content))
        return struct.pack(">I", len(content)) + name + content + check

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = chunk(b"IHDR", head), chunk(b"IDAT", zlib.compress(bytes(n_bytes))), chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def form(parts: list[tuple[str, bytes]], boundary: str = "x") -> bytes:
    body = b""
    for disposition, content in parts:
        head = f"--{boundary}\r\nContent-Disposition: form-data; {disposition}\r\n\r\n"
        body += head.encode("utf-8", "surrogateescape") + content + b"\r\n"
    return body + f"--{boundary}--\r\n".encode()


def _any(rng: Rng, *choices: str) -> str:
    return choices[int(rng.integers(len(choices)))]


_FORM = {"Content_Type": "multipart/form-data; boundary=x"}


def broken_form(rng: Rng) -> bytes:
    photo = picture(rng)
    whole = form([('name="photo"; filename="a.png"', photo), ('name="k"', b"3")])
    ways: list[Callable[[], bytes]] = [
        lambda: whole[: int(rng.integers(len(whole)))],
        lambda: whole.replace(b"\r\n", b"\n"),
        lambda: whole.replace(b"form-data;", b"form-data"),
        lambda: whole.replace(b'name="photo"', b""),
        lambda: whole.replace(b"--x", b"--y", 1),
        lambda: form([(f'name="f{n}"', b"1") for n in range(200)]),
        lambda: form([(f'name="photo"; filename="{n}"', b"1") for n in range(50)]),
        lambda: form([('name="photo"; filename="' + "a" * 100_000 + '"', photo)]),
        lambda: form([('name="photo"; filename="/etc/passwd"', b"")]),
        lambda: form([('name="photo"; filename="\udcff\x00"', photo)]),
        lambda: form([('name="photo"', photo)]),
        lambda: b"--x\r\n" + b"A: " + b"b" * 200_000 + b"\r\n\r\n--x--\r\n",
        lambda: b"--x\r\n" * 5000,
        lambda: rng.bytes(2000),
    ]
    kinds = [
        _FORM,
        {"Content_Type": "multipart/form-data"},
        {"Content_Type": "multipart/form-data; boundary=" + "x" * 500},
        {"Content_Type": 'multipart/form-data; boundary="'},
        {"Content_Type": "multipart/form-data; boundary=x; charset=nonsense"},
    ]
    headers = kinds[int(rng.integers(len(kinds)))] if rng.random() < 0.3 else _FORM
    return request("POST", "/v1/search", ways[int(rng.integers(len(ways)))](), **headers)


def bomb(rng: Rng) -> bytes:
    ways: list[Callable[[], bytes]] = [
        lambda: png_of(60_000, 60_000, 0),
        lambda: png_of(2**31 - 1, 1, 0),
        lambda: png_of(0, 0, 0),
        lambda: png_of(5000, 3000, 1_000_000),
        lambda: png_of(4, 4, 30_000_000),
        lambda: _mutated(rng, picture(rng, "JPEG")),
        lambda: _mutated(rng, picture(rng, "PNG")),
        lambda: _mutated(rng, picture(rng, "WEBP")),
        lambda: _mutated(rng, picture(rng, "GIF")),
        lambda: _mutated(rng, picture(rng, "TIFF")),
        lambda: picture(rng, "JPEG")[:300],
        lambda: b"GIF89a" + struct.pack("<HH", 65535, 65535) + rng.bytes(100),
        lambda: b"BM" + rng.bytes(200),
        lambda: b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n(/etc/passwd) run\n",
    ]
    body = ways[int(rng.integers(len(ways)))]()
    return request("POST", "/v1/search", body, Content_Type="image/png")


def _mutated(rng: Rng, content: bytes) -> bytes:
    changed = bytearray(content)
    for place in rng.integers(0, len(changed), 8):
        changed[place] = rng.integers(256)
    return bytes(changed)


def wrong_type(rng: Rng) -> bytes:
    kind = _any(
        rng,
        "application/json",
        "text/html",
        "application/x-www-form-urlencoded",
        "image/",
        "/",
        ";",
        "application/octet-stream; a=" + "b" * 3000,
        "multipart/mixed; boundary=x",
    )
    body = picture(rng) if rng.random() < 0.5 else json.dumps({"photo": [[]] * 50}).encode()
    encoding = {"Content_Encoding": "gzip"} if rng.random() < 0.3 else {}
    method = _any(rng, "POST", "PUT", "PATCH", "DELETE", "TRACE", "OPTIONS", "BREW")
    return request(method, "/v1/search", body, Content_Type=kind, **encoding)


def absurd_option(rng: Rng) -> bytes:
    option = _any(
        rng,
        "k=999999999999999999999",
        "k=-1",
        "k=1e309",
        "k=%D9%A1%D9%A2",
        "k=" + "9" * 5000,
        "k=1&k=2&k=0",
        "box=" + ",".join(["9" * 400] * 4),
        "box=0,0,1e-30,1",
        "box=nan,nan,nan,nan",
        "box=" + "0," * 2000,
        "categories=" + "a," * 5000,
        "categories=%00%ff",
        "stages=__class__",
        "segment='%20OR%201=1--",
        "%ff=%ff",
        "&" * 3000,
        "a[b][c]=1",
    )
    return request("POST", f"/v1/search?{option}", picture(rng), Content_Type="image/png")


def path_trick(rng: Rng) -> bytes:
    secret = _any(
        rng,
        "../../../../etc/passwd",
        "..%2f..%2f..%2fetc%2fpasswd",
        "%2e%2e/%2e%2e/etc/passwd",
        "....//....//etc/passwd",
        "%2fetc%2fpasswd",
        "..%5c..%5cwin.ini",
        "%00",
        "a%00.png",
        "%c0%ae%c0%ae/etc/passwd",
        "file:%2f%2f%2fetc%2fpasswd",
        "a" * 5000,
        "%F0%9F%91%A0",
        "/" * 100,
    )
    place = _any(rng, "/v1/items/", "/static/", "/", "//", "/docs/", "http://other/")
    end = _any(rng, "", "/picture", "/picture?size=0", "/picture?size=99999")
    return request(_any(rng, "GET", "HEAD", "DELETE"), place + secret + end)


def wrong_token(rng: Rng) -> bytes:
    token = _any(
        rng,
        "",
        "Bearer",
        "Bearer ",
        "Bearer x",
        "Bearer " + "x" * 5000,
        "Basic YTpi",
        "Bearer \xff\xfe",
        "bearer null",
        "Digest username=a",
    )
    if rng.random() < 0.4:
        return request("DELETE", "/v1/items/i3", Authorization=token)
    table = b'[{"path": "../../x", "product_id": "p", "category": "toys"}]'
    body = form([('name="table"', table), ('name="files"; filename="../../x"', picture(rng))])
    return request("PUT", "/v1/items", body, Authorization=token, **_FORM)


def no_http(rng: Rng) -> bytes:
    ways = [
        rng.bytes(300),
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + rng.bytes(200),
        b"GET /healthz\r\n\r\n",
        b"GET / HTTP/9.9\r\nHost: x\r\n\r\n",
        b"POST /v1/search HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
        b"POST /v1/search HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nab",
        b"POST /v1/search HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\nabc\r\n",
        b"POST /v1/search HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"
        b"Content-Length: 4\r\n\r\n0\r\n\r\nGET /etc/passwd HTTP/1.1\r\n\r\n",
        b"POST /v1/search HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\nabc",
        b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: x\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 500 + b"\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"b" * 200_000 + b"\r\n\r\n",
        b"GET /\r\nX: \x00 HTTP/1.1\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        request("POST", "/v1/search", picture(rng), length=10**12, Content_Type="image/png"),
        request("POST", "/v1/search", b"abc", length=1000, Content_Type="image/png"),  # and waits
    ]
    return ways[int(rng.integers(len(ways)))]


KINDS: dict[str, Callable[[Rng], bytes]] = {
    "broken forms": broken_form,
    "bombs": bomb,
    "wrong types": wrong_type,
    "absurd options": absurd_option,
    "path tricks": path_trick,
    "wrong tokens": wrong_token,
    "no HTTP": no_http,
}


def hostile(n: int, seed: int = 0) -> Iterator[tuple[str, bytes]]:
    """So many requests, with the name of their kind."""
    rng = np.random.default_rng(seed)
    names = list(KINDS)
    for number in range(n):
        name = names[number % len(names)]
        yield name, KINDS[name](rng)


async def send(host: str, port: int, raw: bytes) -> tuple[int | None, bytes]:
    """What is answered: the status, None where the connection just ends; and all of it."""
    reader, writer = await asyncio.open_connection(host, port)
    told = b""
    try:
        writer.write(raw)
        async with asyncio.timeout(_PATIENCE_S):
            while part := await reader.read(65536):
                told += part
                if _is_whole(told):
                    break
    except ConnectionError:
        pass  # it would not read all of this
    finally:
        writer.close()
    return (int(told.split()[1]) if told.startswith(b"HTTP/") else None), told


def _is_whole(told: bytes) -> bool:
    """Whether an answer has all the bytes that it announced."""
    head, end, body = told.partition(b"\r\n\r\n")
    for line in head.lower().split(b"\r\n"):
        if end and line.startswith(b"content-length:"):
            return len(body) >= int(line.split(b":")[1])
    return False


async def send_all(host: str, port: int, n: int, *, n_at_once: int = 16, seed: int = 0) -> Counter:
    """Send so many; how often each status came, "closed" where the connection just ended.

    Raises AssertionError for an answer that is no refusal, or that tells what it should not.
    """
    counts: Counter = Counter()
    waiting = hostile(n, seed)

    async def client() -> None:
        for name, raw in waiting:
            status, told = await send(host, port, raw)
            assert status is None or status in ALLOWED, (name, raw[:300], told[:500])
            assert not any(secret in told for secret in SECRETS), (name, raw[:300], told[:500])
            counts[status or "closed"] += 1

    await asyncio.gather(*(client() for _ in range(n_at_once)))
    return counts
