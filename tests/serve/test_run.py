"""`vsa serve` as a process of its own: addresses, clients that hang, and how it ends."""

from __future__ import annotations

import asyncio
import json
import os
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import pytest
from made_pictures import photo
from served import problem

from vsa import cli
from vsa.engine import VisualSearch
from vsa.runtime.errors import InputError
from vsa.runtime.paths import ROOT
from vsa.serve.client import search
from vsa.serve.run import bound, read_token
from vsa.store import FORMAT

TOKEN = "0123456789abcdef"
AUTHORIZED = {"Authorization": f"Bearer {TOKEN}"}


@contextmanager
def running(engine: Path, *options: str):
    """A service in a process of its own: its address, and the process."""
    command = [sys.executable, "-m", "vsa.cli", "serve", str(engine), "--port", "0", *options]
    environment = os.environ | {"VSA_TOKEN": TOKEN, "PYTHONPATH": str(ROOT)}
    with open(engine.with_name("log"), "w+") as log:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=log, text=True, env=environment
        )
        try:
            told = process.stdout.readline()
            assert told, engine.with_name("log").read_text()
            yield re.search(r"http://\S+", told)[0], process
        finally:
            process.kill()
            process.wait()
            process.stdout.close()


@pytest.fixture(scope="module")
def service(shop, tmp_path_factory):
    folder = tmp_path_factory.mktemp("served") / "my.engine"
    shutil.copytree(shop.folder, folder)
    with running(folder, "--limit", "head_s=1", "--limit", "body_s=1") as (url, process):
        yield url, process, folder


def test_what_readme_says_of_it_is_so(service, shop, tmp_path):
    """Its lines are run as they stand, but for the address."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"^### Serve it\n.*?^```sh\n(.*?)^```", text, re.M | re.S)
    lines = [line for line in block.splitlines() if line.startswith("curl") or "--url" in line]
    assert len(lines) == 6
    photo(64, 48, seed=1).save(tmp_path / "photo.jpg")
    photo(64, 48, seed=2).save(tmp_path / "shoe.jpg")
    (tmp_path / "rows.csv").write_text("path,product_id,category\nshoe.jpg,p1,shoes\n")
    runs = f"{sys.executable} -m vsa.cli "
    said = []
    for line in lines:
        line = line.replace("http://127.0.0.1:8000", service[0])
        line = re.sub(r"^vsa ", runs, line).replace("curl ", "curl -sS --fail-with-body ", 1)
        done = subprocess.run(
            ["bash", "-c", line],
            cwd=tmp_path,
            env=os.environ | {"VSA_TOKEN": TOKEN, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        said.append(done.stdout)
    assert json.loads(said[0]) == {"status": "ready"}
    assert len(json.loads(said[1])["results"]) == 5
    assert json.loads(said[2])["image_ids"] == ["shoe.jpg"]
    assert json.loads(said[3])["row"]["category"] == "shoes"
    assert "shoe.jpg" in said[4]
    assert json.loads(said[5])["n_items"] == 90


def test_the_client_says_what_is_wrong(service, shop, tmp_path):
    url = service[0]
    found = search(url, shop.root / "3.png", 2)
    assert len(found) == 2
    (tmp_path / "notes.jpg").write_text("no picture")
    for photo_file, where, told in (
        (tmp_path / "notes.jpg", url, "notes.jpg: the image cannot be used: not an image. Give a"),
        (tmp_path / "none.jpg", url, "cannot be read"),
        (shop.root / "3.png", "http://127.0.0.1:1", "nothing answers .* vsa serve"),
        (shop.root / "3.png", "ftp://x", "no address"),
        (shop.root / "3.png", "http://127.0.0.1:port", "no address"),
        (shop.root / "3.png", f"{url}/docs?", "Method Not Allowed|Not Found"),
    ):
        with pytest.raises(InputError, match=told):
            search(where, photo_file, 2)
    with pytest.raises(InputError, match="seems to be in pixels"):
        search(url, shop.root / "3.png", 2, box=(10, 10, 20, 20))


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"", None),
        (b"POST /v1/search HT", None),
        (b"POST /v1/search HTTP/1.1\r\nHost: x\r\n", None),
        (b"POST /v1/search HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc", 408),
        (b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\nGET /hea", 200),
        (b"NONSENSE\r\n\r\n", 400),
    ],
)
def test_a_client_that_hangs_is_let_go(service, sent, status):
    host, port = service[0].removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as hanging:
        hanging.sendall(sent)
        started, told = time.monotonic(), b""
        try:
            while part := hanging.recv(4096):
                told += part
        except ConnectionResetError:
            pass
        assert time.monotonic() - started < 8
    assert (int(told.split()[1]) if told else None) == status
    assert httpx.get(f"{service[0]}/healthz").status_code == 200


def test_a_client_that_reads_nothing_is_let_go(service):
    """Answers pile up until it is clear that nobody wants them."""
    host, port = service[0].removeprefix("http://").split(":")
    with socket.socket() as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.settimeout(10)
        deaf.connect((host, int(port)))
        started = time.monotonic()
        with suppress(ConnectionError):
            while time.monotonic() - started < 10:
                deaf.sendall(b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n" * 100)
                time.sleep(0.05)
        assert time.monotonic() - started < 8
    assert httpx.get(f"{service[0]}/healthz").status_code == 200


def test_hostile_requests_are_refused_and_leave_nothing_behind(service, monkeypatch):
    """The short form of what `make load` does, ten thousand times there."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    from hostile import KINDS, send_all

    url, process, _ = service
    host, port = url.removeprefix("http://").split(":")
    counts = asyncio.run(send_all(host, int(port), 40 * len(KINDS)))
    assert counts.total() == 40 * len(KINDS)
    assert counts[422] > 50
    assert process.poll() is None
    files = Path(f"/proc/{process.pid}/fd")
    before = len(list(files.iterdir()))
    asyncio.run(send_all(host, int(port), 10 * len(KINDS), seed=1))
    time.sleep(0.2)
    assert len(list(files.iterdir())) <= before
    assert httpx.get(f"{url}/v1/info").json()["n_items"] == 90


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="of Linux")
def test_a_disk_that_is_full_refuses_writes_and_searches_go_on(shop, tmp_path):
    """For the process no file can grow: neither pictures, rows nor its log."""
    folder, content = tmp_path / "my.engine", (shop.root / "3.png").read_bytes()
    shutil.copytree(shop.folder, folder)
    rows = json.dumps([{"path": "a.png", "product_id": "a", "category": "toys"}])
    files = {"table": (None, rows), "files": ("a.png", content)}
    with running(folder) as (url, process):

        def put():
            return httpx.put(
                f"{url}/v1/items?select=false", files=files, headers=AUTHORIZED, timeout=30
            )

        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
        assert "Let its operator free some space" in problem(put(), 507)
        assert httpx.post(f"{url}/v1/search?k=3", content=content).status_code == 200
        assert httpx.get(f"{url}/readyz").status_code == 200
        assert not list(folder.with_name("my.engine.pictures").iterdir())
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
        assert put().json()["image_ids"] == ["a.png"]
    with VisualSearch.open(folder) as engine:
        engine.verify()
        assert "a.png" in set(engine.catalogue["image_id"].to_pylist())


def test_sigterm_ends_it_once_all_that_was_accepted_is_answered(shop, tmp_path):
    shutil.copytree(shop.folder, tmp_path / "my.engine")
    content = (shop.root / "3.png").read_bytes()
    statuses: list[int] = []
    kept: list[str] = []

    def ask(url: str) -> None:
        with httpx.Client(timeout=30) as client:
            while True:
                try:
                    answer = client.post(f"{url}/v1/search?k=3", content=content)
                except (httpx.ConnectError, httpx.RemoteProtocolError, httpx.ReadError):
                    return  # it was not accepted any more
                statuses.append(answer.status_code)

    def write(url: str) -> None:
        for number in range(1000):
            name = f"n{number}.png"
            photo(64, 64, seed=number).save(tmp_path / name)
            rows = json.dumps([{"path": name, "product_id": name, "category": "toys"}])
            files = {"table": (None, rows), "files": (name, (tmp_path / name).read_bytes())}
            try:
                answer = httpx.put(
                    f"{url}/v1/items?select=false", files=files, headers=AUTHORIZED, timeout=30
                )
            except httpx.TransportError:
                return
            assert answer.status_code == 200, answer.text
            kept.extend(answer.json()["image_ids"])

    with running(tmp_path / "my.engine") as (url, process), ThreadPoolExecutor(5) as pool:
        busy = [pool.submit(ask, url) for _ in range(4)] + [pool.submit(write, url)]
        while len(kept) < 3:
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        started = time.monotonic()
        assert process.wait(30) == 0
        assert time.monotonic() - started < 20
        for one in busy:
            one.result()
    assert set(statuses) == {200}
    with VisualSearch.open(tmp_path / "my.engine") as engine:
        there = set(engine.catalogue["image_id"].to_pylist())
        engine.verify()
    assert set(kept) <= there
    lines = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    assert {line["event"] for line in lines} == {"request"}
    assert sum(line["path"] == "/v1/search" for line in lines) >= len(statuses)
    assert all(len(json.dumps(line)) < 1000 for line in lines)


def test_a_port_in_use_and_an_engine_of_another_format_end_it(shop, tmp_path, monkeypatch, capsys):
    old = tmp_path / "old.engine"
    shutil.copytree(shop.folder, old)
    card = json.loads((old / "card.json").read_text())
    (old / "card.json").write_text(json.dumps(card | {"format": 1}))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        for engine, port, told in (
            (shop.folder, taken.getsockname()[1], "in use). Stop what uses it, or name another"),
            (old, 0, f"this is no engine of format {FORMAT}. Name the folder of an engine"),
        ):
            monkeypatch.setattr(sys, "argv", ["vsa", "serve", str(engine), "--port", str(port)])
            with pytest.raises(SystemExit) as end:
                cli.main()
            assert end.value.code == 2
            assert told in capsys.readouterr().err


def test_addresses_and_tokens_that_cannot_be_are_told_with_their_cure(tmp_path, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(InputError, match=rf"port {port} .*in use.* --port 8001"):
            bound("127.0.0.1", port)
    for host, port in (("no such host", 80), ("127.0.0.1", 99999), ("192.0.2.1", 8000)):
        with pytest.raises(InputError, match=r"--host|--port 8000"):
            bound(host, port)
    monkeypatch.delenv("VSA_TOKEN", raising=False)
    assert read_token(None) is None
    monkeypatch.setenv("VSA_TOKEN", "short")
    with pytest.raises(InputError, match="openssl rand"):
        read_token(None)
    with pytest.raises(InputError, match="cannot be read"):
        read_token(tmp_path / "none")
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    assert read_token(tmp_path / "token") == TOKEN


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["serve", "nowhere", "--port", "0"], "there is no engine here"),
        (["serve", "nowhere", "--port", "0", "--limit", "k=3"], "unknown setting 'k'"),
        (["search", "my.index"], "vsa search INDEX PHOTO"),
    ],
)
def test_the_command_line_says_what_is_missing(monkeypatch, capsys, tmp_path, arguments, told):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["vsa", *arguments])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 2
    assert told in capsys.readouterr().err
