"""Bodies of requests: read within limits of bytes and time, and taken apart in memory.

Nothing of a client's reaches the disk here, and no name that a client gives is opened.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from vsa.serve.limits import Limits
from vsa.serve.problems import Refused

_MAX_FIELDS = 20


@dataclass(frozen=True)
class File:
    """A file of a form."""

    name: str  # as the client has it
    content: bytes


@dataclass
class Form:
    """What a form holds, in the order in which it came."""

    fields: dict[str, str] = field(default_factory=dict)
    files: list[tuple[str, File]] = field(default_factory=list)  # with the names of their fields

    def file(self, name: str) -> File | None:
        """The first file of a field."""
        return next((file for of, file in self.files if of == name), None)


class Bodies:
    """Reads bodies, and knows how much of them is in memory."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.n_bytes = 0  # of all bodies that are held

    @asynccontextmanager
    async def held(self, request: Request, max_bytes: int) -> AsyncIterator[bytes]:
        """The body of a request, which counts as held within the block.

        Raises Refused for one that is too large (413), too slow (408), or one too many (503).
        """
        length = request.headers.get("content-length", "")
        if length.isdecimal() and int(length) > max_bytes:
            raise _too_large(max_bytes)
        parts: list[bytes] = []
        size = 0
        try:
            async with self._in_time():
                async for part in request.stream():
                    parts.append(part)
                    size += len(part)
                    self.n_bytes += len(part)
                    if size > max_bytes:
                        raise _too_large(max_bytes)
                    if self.n_bytes > self.limits.max_held_bytes:
                        raise Refused(
                            503,
                            "the service holds as many bytes as it may",
                            cure="Try again a little later",
                            retry_after_s=1,
                        )
            yield b"".join(parts)
        finally:
            self.n_bytes -= size

    @asynccontextmanager
    async def _in_time(self) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(self.limits.body_s):
                yield
        except TimeoutError:
            raise Refused(
                408,
                f"the body did not arrive within {self.limits.body_s:g} s",
                cure="Send it faster, or a smaller one",
            ) from None


async def read_form(request: Request, body: bytes, max_files: int) -> Form:
    """The parts of a body of multipart/form-data; raises Refused (400) for what is none."""
    parser = _InMemory(
        request.headers,
        _at_once(body),
        max_files=max_files,
        max_fields=_MAX_FIELDS,
        max_part_size=len(body),
    )
    try:
        parsed = await parser.parse()
    except MultiPartException as error:
        raise _no_form(error.message) from None
    except (ValueError, KeyError, AttributeError, LookupError) as error:
        raise _no_form(type(error).__name__) from None
    form = Form()
    for name, value in parsed.multi_items():
        if isinstance(value, UploadFile):
            form.files.append((name, File(value.filename or "", await value.read())))
            await value.close()
        elif name in form.fields:
            raise Refused(422, f"the field {name!r} is given twice", cure="Give it once")
        else:
            form.fields[name] = value
    return form


class _InMemory(MultiPartParser):
    spool_max_size = 2**62  # no file of a client's is written to a disk on the way


async def _at_once(body: bytes) -> AsyncGenerator[bytes, None]:
    yield body


def _too_large(max_bytes: int) -> Refused:
    return Refused(
        413,
        f"the body has more than {max_bytes:,} bytes",
        cure=f"Send at most {max_bytes:,} bytes: a smaller picture, or fewer of them",
    )


def _no_form(why: Any) -> Refused:
    return Refused(
        400,
        f"the body is no multipart/form-data ({why})",
        cure="Let a library make it: curl -F photo=@photo.jpg",
    )
