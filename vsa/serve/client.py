"""Asking a service from the command line: warm, so that an answer takes no opening of an engine."""

from __future__ import annotations

import http.client
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

from vsa.runtime.errors import InputError

_TIMEOUT_S = 60.0


def search(
    url: str, photo: Path, k: int, *, box: Sequence[float] | None = None
) -> list[dict[str, Any]]:
    """Results of a service at `url`, best first, as `vsa.serve.messages.Result` has them.

    Raises InputError for a photo or a service that is not there, and for what the service refuses,
    with its cure.
    """
    try:
        content = photo.read_bytes()
    except OSError as error:
        raise InputError(
            f"the photo cannot be read ({error.strerror})", cure="Name a picture", file=photo
        ) from None
    options = {"k": str(k)}
    if box is not None:
        options["box"] = ",".join(map(str, box))
    headers = {"Content-Type": "application/octet-stream"}
    status, told = _ask(url, f"/v1/search?{urlencode(options)}", content, headers)
    if status != http.HTTPStatus.OK:
        detail, cure = (str(told.get(name, "")) for name in ("detail", "cure"))
        raise InputError(
            detail or f"the service answered {status}",
            cure=cure or "See whether that is a service of vsa",
            file=photo,
        )
    return list(told["results"])


def _ask(url: str, path: str, body: bytes, headers: dict[str, str]) -> tuple[int, dict[str, Any]]:
    try:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("no http:// or https:// address")
        kind = {"http": http.client.HTTPConnection, "https": http.client.HTTPSConnection}
        connection = kind[parts.scheme](parts.hostname, parts.port, timeout=_TIMEOUT_S)
    except ValueError as error:
        raise InputError(
            f"{url!r} is no address ({error})", cure="Write --url http://127.0.0.1:8000"
        ) from None
    try:
        connection.request("POST", parts.path.rstrip("/") + path, body, headers)
        answer = connection.getresponse()
        told = json.loads(answer.read() or b"null")
    except (OSError, http.client.HTTPException) as error:
        raise InputError(
            f"nothing answers at {url} ({error or type(error).__name__})",
            cure="Start it: vsa serve ENGINE",
        ) from None
    except ValueError:
        told = None
    finally:
        connection.close()
    if not isinstance(told, dict):
        raise InputError(
            f"{url} is no service of vsa", cure="Write the address that vsa serve has printed"
        )
    return answer.status, told
