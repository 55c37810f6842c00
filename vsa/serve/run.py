"""`vsa serve`: bind, open the engine, answer until told to stop, finish what was accepted."""

from __future__ import annotations

import asyncio
import errno
import gc
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from vsa.engine import VisualSearch
from vsa.runtime.device import Backend
from vsa.runtime.errors import InputError
from vsa.serve.app import make_app
from vsa.serve.limits import Limits
from vsa.serve.log import start_log
from vsa.serve.writes import kept_pictures

TOKEN = "VSA_TOKEN"
_LAST_PORT = 65535
_LEAST_TOKEN = 16  # characters: fewer can be guessed


def serve(
    engine: Path,
    *,
    host: str,
    port: int,
    token: str | None,
    limits: Limits,
    root: Path | None = None,
    backend: Backend = "torch",
    tell: Callable[[str], object] = print,
) -> None:
    """Serve an engine until SIGTERM or SIGINT.

    `tell` is told where, once it answers. Raises InputError for an address that cannot be had, and
    as `VisualSearch.open`.
    """
    with (
        bound(host, port) as listening,
        VisualSearch.open(engine, root=root, backend=backend) as opened,
    ):
        if token is not None:
            kept_pictures(opened).mkdir(exist_ok=True)  # or say now that it cannot be
        start_log()
        app = make_app(opened, limits=limits, token=token)
        config = uvicorn.Config(
            app,
            http=protocol_of(limits),
            ws="none",
            lifespan="on",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=limits.stop_s,
        )
        where = f"http://{host}:{listening.getsockname()[1]}"
        server = _Server(config, lambda: tell(f"vsa serves {engine} at {where}"))
        try:
            server.run(sockets=[listening])
        finally:
            gc.unfreeze()  # libraries count what is left at the end, and say so


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, on_start: Callable[[], object]) -> None:
        super().__init__(config)
        self._on_start = on_start

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """As of uvicorn's, and tell that it answers."""
        await super().startup(sockets)
        gc.freeze()  # what is open stays: to look through it again would hold searches up
        gc.enable()
        self._on_start()

    def handle_exit(self, sig: int, frame: Any) -> None:
        """Stop, and end as a program that has done what it was told: not by the signal itself."""
        super().handle_exit(sig, frame)
        self._captured_signals.clear()


def bound(host: str, port: int) -> socket.socket:
    """A socket that has the address, and does not listen yet; raises InputError."""
    if not 0 <= port <= _LAST_PORT:
        raise InputError(f"there is no port {port}", cure="Say --port 8000, or 0 for a free one")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        made = socket.socket(family, kind, protocol)
    except OSError as error:
        raise InputError(
            f"there is no host {host!r} ({error})", cure="Say --host 127.0.0.1"
        ) from None
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(address)
    except OSError as error:
        made.close()
        cures = {
            errno.EADDRINUSE: "Stop what uses it, or name another: --port 8001",
            errno.EACCES: "Name one above 1023: --port 8000",
        }
        cure = cures.get(error.errno or 0, "Name another --host and --port")
        raise InputError(f"port {port} of {host} cannot be had ({error})", cure=cure) from None
    return made


def read_token(file: Path | None) -> str | None:
    """What writes have to show: of a file, or of `VSA_TOKEN`; None: there are no writes.

    Raises InputError for a file that cannot be read, and a token that is easily guessed.
    """
    if file is None:
        token = os.environ.get(TOKEN, "")
        if not token:
            return None
    else:
        try:
            token = file.read_text(encoding="utf-8").strip()
        except (OSError, ValueError) as error:
            raise InputError(
                f"the token cannot be read ({error})", cure="Name a text file", file=file
            ) from None
    if len(token) < _LEAST_TOKEN:
        raise InputError(
            f"the token has fewer than {_LEAST_TOKEN} characters, and is easily guessed",
            cure="Make one: openssl rand -hex 32",
            file=file,
        )
    return token


def protocol_of(limits: Limits) -> type[H11Protocol]:
    """HTTP/1.1 that no client can hold up: neither by what it does not send nor does not read."""

    class Protocol(H11Protocol):
        _head: asyncio.TimerHandle | None = None
        _unread: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            self._watch()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self._watch()

        def connection_lost(self, exc: Exception | None) -> None:
            super().connection_lost(exc)
            for timer in (self._head, self._unread):
                if timer is not None:
                    timer.cancel()

        def _watch(self) -> None:
            """While no request is answered, its head has so long to arrive, or the rest of it."""
            is_busy = self.cycle is not None and not self.cycle.response_complete
            if is_busy and self._head is not None:
                self._head.cancel()
                self._head = None
            elif not is_busy and self._head is None:
                self._head = self.loop.call_later(limits.head_s, self.transport.abort)

        def on_response_complete(self) -> None:
            super().on_response_complete()
            self._watch()

        def pause_writing(self) -> None:
            super().pause_writing()
            self._unread = self.loop.call_later(limits.body_s, self.transport.abort)

        def resume_writing(self) -> None:
            super().resume_writing()
            if self._unread is not None:
                self._unread.cancel()

    return Protocol
