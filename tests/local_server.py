"""An HTTP server on this machine that misbehaves as told, for tests of downloading."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class LocalServer:
    """Answers each GET with the next behaviour of `script`, the last one for ever.

    Behaviours: a status code as text, or ok (ranges supported), no-range, no-length, truncate,
    truncate-chunked, stall, redirect, wrong-place (a range other than the one asked for).
    """

    def __init__(self) -> None:
        self.content = b""
        self.etag: str | None = '"v1"'
        self.script = ["ok"]
        self.seen: list[dict[str, str]] = []  # headers of each request
        self.closing = threading.Event()
        handler = type("Handler", (_Handler,), {"owner": self})
        self.http = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}"

    def next_behaviour(self) -> str:
        return self.script.pop(0) if len(self.script) > 1 else self.script[0]


class _Handler(BaseHTTPRequestHandler):
    owner: LocalServer
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.owner.seen.append(dict(self.headers))
        behaviour = self.owner.next_behaviour()
        if behaviour.isdecimal():
            self.send_response(int(behaviour))
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif behaviour == "redirect":
            self.send_response(302)
            self.send_header("Location", f"{self.owner.url}/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif "chunked" in behaviour or behaviour == "no-length":
            self._send_chunked(complete=behaviour == "no-length")
        else:
            self._send(behaviour)

    def _send(self, behaviour: str) -> None:
        content, wanted = self.owner.content, self.headers.get("Range", "")
        start = 0
        current = self.headers.get("If-Range") in (None, self.owner.etag)
        if wanted and current and behaviour != "no-range":
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
            if start >= len(content):
                self.send_response(416)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            start = 1 if behaviour == "wrong-place" else start
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        else:
            self.send_response(200)
        if self.owner.etag is not None:
            self.send_header("ETag", self.owner.etag)
        body = content[start:]
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if behaviour in ("truncate", "stall"):
            body = body[: len(body) // 2]
        self.wfile.write(body)
        self.wfile.flush()
        if behaviour == "stall":
            self.owner.closing.wait(10)

    def _send_chunked(self, *, complete: bool) -> None:
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        body = self.owner.content
        self.wfile.write(b"%x\r\n%s\r\n" % (len(body), body))
        if complete:
            self.wfile.write(b"0\r\n\r\n")

    def end_headers(self) -> None:
        self.send_header("Connection", "close")
        super().end_headers()

    def log_message(self, *args: object) -> None:
        pass


@contextmanager
def local_server() -> Iterator[LocalServer]:
    server = LocalServer()
    thread = threading.Thread(target=server.http.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.closing.set()
        server.http.shutdown()
        server.http.server_close()
        thread.join()
