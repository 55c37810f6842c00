"""``folder:PATH``, the name of a data set of one's own."""

from __future__ import annotations

from pathlib import Path

from vsa.runtime.errors import InputError

FOLDER_PREFIX = "folder:"


def folder_path(dataset: str) -> Path:
    """Where the folder of ``folder:PATH`` lies, links resolved; raises InputError for no path."""
    path = dataset.removeprefix(FOLDER_PREFIX)
    try:
        path.encode()  # notebooks and reports are UTF-8, and name it
        return Path(path).expanduser().resolve()
    except (OSError, RuntimeError, ValueError) as error:  # a loop of links, ~nobody, a null byte
        raise InputError(
            f"{path!r} is no path ({error})", cure="Name an existing folder as folder:PATH"
        ) from None
