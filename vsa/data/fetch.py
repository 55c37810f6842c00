"""Fetching what others publish: resumable download, safe unpacking, verification by git hash.

A data set is either complete and verified under its final name, or it is not there.
"""

from __future__ import annotations

import math
import os
import re
import stat
import time
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import BinaryIO

import requests

from vsa.data.git_tree import tree_mismatch
from vsa.runtime.atomic import atomic_dir
from vsa.runtime.errors import InputError
from vsa.runtime.progress import progress

MIB = 1 << 20
MAX_BYTES = 1024 * MIB  # unpacked size above which an archive is taken for a zip bomb


# ---------------------------------------------------------------- download


class _Interrupted(Exception):
    """The transfer ended early or cannot be continued; another attempt may succeed."""


_TRANSIENT = (
    _Interrupted,
    requests.ConnectionError,
    requests.Timeout,
    requests.exceptions.ChunkedEncodingError,
    requests.exceptions.ContentDecodingError,
)


def download(
    url: str,
    target: Path,
    *,
    timeout_s: tuple[float, float] = (15.0, 60.0),
    n_attempts: int = 4,
    backoff_s: float = 2.0,
) -> Path:
    """Download `url` to `target`, which appears only once it is complete; return `target`.

    An interrupted transfer leaves ``<target>.part``. It is continued, in this call or a later
    one, if the server offers ranges and a strong ETag shows that the file has not changed.
    `timeout_s` bounds connecting and each wait for data; attempts are `backoff_s`, twice that,
    four times that ... apart. Raises InputError when the attempts are used up.
    """
    part = target.with_name(f"{target.name}.part")
    reason = ""
    for attempt in range(n_attempts):
        if attempt > 0:
            time.sleep(backoff_s * 2 ** (attempt - 1))
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            _transfer(url, part, timeout_s)
            os.replace(part, target)
            _etag_file(part).unlink(missing_ok=True)
            return target
        except _TRANSIENT as error:
            reason = f"{type(error).__name__.lstrip('_')}: {error}"
        except requests.RequestException as error:  # no such file, not a URL, redirect loop ...
            reason = f"{type(error).__name__}: {error}"
            break
        except OSError as error:
            raise _cannot_write(target, error) from error
    if not _etag_file(part).exists():
        part.unlink(missing_ok=True)  # it could never be continued
    raise InputError(
        f"cannot download {url} ({reason})",
        cure=f"Check the network and try again, or download it by hand and save it as {target}",
    )


def _transfer(url: str, part: Path, timeout_s: tuple[float, float]) -> None:
    """One attempt: append to or overwrite `part`, and check that it is complete."""
    # Compression by the server would make lengths and ranges meaningless
    headers = {"Accept-Encoding": "identity"}
    etag_file = _etag_file(part)
    offset = part.stat().st_size if part.exists() and etag_file.exists() else 0
    if offset > 0:
        headers |= {"Range": f"bytes={offset}-", "If-Range": etag_file.read_text("latin-1")}
    with requests.get(url, headers=headers, stream=True, timeout=timeout_s) as response:
        status = response.status_code
        if status in (408, 416, 429) or status >= 500:
            if status == 416:  # the file has become shorter than what we hold
                _forget(part)
            raise _Interrupted(f"the server answered {status} {response.reason}")
        response.raise_for_status()
        resumed = status == 206
        if resumed and not _continues(response, offset, headers):
            _forget(part)
            raise _Interrupted("the server resumed at another place or another file")
        if not resumed:
            offset = 0
            _forget(part)
            etag = response.headers.get("ETag", "")
            if etag.startswith('"'):  # a weak one (W/"...") does not promise equal bytes
                etag_file.write_text(etag, "latin-1")
        length = response.headers.get("Content-Length", "")
        n_mib = math.ceil(int(length) / MIB) if length.isdecimal() else None
        with open(part, "ab") as stream:
            for _ in progress(_write(response, stream), f"{part.stem} (MiB)", n_mib):
                pass
        n_received = part.stat().st_size - offset
        if length.isdecimal() and n_received != int(length):
            raise _Interrupted(f"received {n_received} of {length} bytes")


def _write(response: requests.Response, stream: BinaryIO) -> Iterator[None]:
    """Write the body as it comes; yield once per MiB, for the progress bar."""
    n_bytes = 0
    for piece in response.iter_content(1 << 16):
        stream.write(piece)
        n_bytes += len(piece)
        while n_bytes >= MIB:
            n_bytes -= MIB
            yield


def _continues(response: requests.Response, offset: int, sent: Mapping[str, str]) -> bool:
    position = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
    return (
        position is not None
        and int(position[1]) == offset > 0
        and response.headers.get("ETag") == sent.get("If-Range")
    )


def _etag_file(part: Path) -> Path:
    return part.with_name(f"{part.name}.etag")


def _forget(part: Path) -> None:
    part.unlink(missing_ok=True)
    _etag_file(part).unlink(missing_ok=True)


def _cannot_write(target: Path, error: OSError) -> InputError:
    return InputError(
        f"cannot write {target} ({error.strerror or error})",
        cure="Free space or permissions there, or choose another folder with VSA_DATA_DIR",
    )


# ---------------------------------------------------------------- unpacking


def unpack_zip(archive: Path, target: Path, strip: int = 1, max_bytes: int = MAX_BYTES) -> Path:
    """Unpack `archive` into the folder `target`, replacing it; return `target`.

    The first `strip` components of every name are dropped. Raises InputError, and leaves
    `target` as it was, for a damaged archive, names that point elsewhere, links, duplicates,
    or more than `max_bytes` of content.
    """
    with atomic_dir(target, manifest=False) as draft:
        _extract(archive, draft, strip, max_bytes)
    return target


def _extract(archive: Path, folder: Path, strip: int, max_bytes: int) -> None:
    if not archive.is_file():
        raise InputError("there is no such archive", cure="Download it first", file=archive)
    try:
        with zipfile.ZipFile(archive) as opened:
            members = _checked_members(opened, archive, strip, max_bytes)
            n_left = max_bytes
            for relative, info in progress(members.items(), "Unpacking", len(members)):
                path = folder / relative
                if info.is_dir():
                    path.mkdir(parents=True, exist_ok=True)
                    continue
                path.parent.mkdir(parents=True, exist_ok=True)
                with opened.open(info) as source, open(path, "wb") as sink:
                    while piece := source.read(MIB):
                        n_left -= len(piece)
                        if n_left < 0:
                            raise _refused(archive, f"holds more than {max_bytes} bytes")
                        sink.write(piece)
                if (info.external_attr >> 16) & stat.S_IXUSR:
                    path.chmod(0o755)
    # RuntimeError: encrypted; NotImplementedError: unknown compression
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError) as error:
        raise _refused(archive, f"is damaged or not a zip archive ({error})") from error
    except OSError as error:
        raise _cannot_write(folder, error) from error


def _checked_members(
    opened: zipfile.ZipFile, archive: Path, strip: int, max_bytes: int
) -> dict[PurePosixPath, zipfile.ZipInfo]:
    """Members by their path below the target; raises InputError for anything but plain files."""
    members: dict[PurePosixPath, zipfile.ZipInfo] = {}
    for info in opened.infolist():
        name = info.orig_filename  # `filename` has been tidied up already
        parts = name.removesuffix("/").split("/")
        if any(part in ("", ".", "..") for part in parts) or set(name) & set("\\:\0"):
            raise _refused(archive, f"holds the unsafe name {name!r}")
        kind = stat.S_IFMT(info.external_attr >> 16)
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise _refused(archive, f"holds a link or device, {name!r}")
        if len(parts) <= strip:
            if not info.is_dir():
                raise _refused(archive, f"holds {name!r} outside its top folder")
            continue
        path = PurePosixPath(*parts[strip:])
        if path in members:
            raise _refused(archive, f"holds {name!r} twice")
        members[path] = info
    files = {path for path, info in members.items() if not info.is_dir()}
    for path in members:
        if not files.isdisjoint(path.parents):
            raise _refused(archive, f"holds {str(path)!r} below a file")
    if sum(info.file_size for info in members.values()) > max_bytes:
        raise _refused(archive, f"holds more than {max_bytes} bytes")
    return members


class _WrongContent(InputError):
    """What was downloaded is of no use."""


def _refused(archive: Path, problem: str) -> InputError:
    return _WrongContent(
        f"the archive {problem}", cure="Delete it and download again", file=archive
    )


# ---------------------------------------------------------------- both


def fetch_repository(
    url: str,
    commit: str,
    folder: Path,
    trees: Mapping[str, str],
    *,
    max_bytes: int = MAX_BYTES,
    timeout_s: tuple[float, float] = (15.0, 60.0),
    n_attempts: int = 4,
    backoff_s: float = 2.0,
) -> Path:
    """Download the zip of a repository at a commit, unpack and verify it as `folder`; return it.

    `trees` maps sub-folders to their git tree hashes. An archive saved by hand beside `folder`
    as ``<folder>-<commit>.zip`` is used instead of the network. Raises InputError if `folder`
    exists (nothing of the user's is overwritten), if the download fails, or if the content is
    not what was published; then neither folder nor archive remains. Where the disk is full the
    archive does.
    """
    if os.path.lexists(folder):
        raise InputError(
            "the folder exists already", cure="Move it away and try again", file=folder
        )
    archive = folder.with_name(f"{folder.name}-{commit}.zip")
    if not archive.exists():
        download(url, archive, timeout_s=timeout_s, n_attempts=n_attempts, backoff_s=backoff_s)
    try:
        with atomic_dir(folder, manifest=False) as draft:  # the git trees say what is whole
            _extract(archive, draft, 1, max_bytes)
            if mismatch := tree_mismatch(draft, trees):
                raise _WrongContent(
                    f"the content of {url} is not what was published: {mismatch}",
                    cure="Nothing of it was kept; try again, or download it over another network",
                )
    except _WrongContent:  # and only then: of a full disk the download is not to blame
        archive.unlink(missing_ok=True)
        raise
    archive.unlink(missing_ok=True)
    return folder
