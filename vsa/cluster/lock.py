"""One cluster at a time has the shards of a folder; and where it runs, for who looks for it."""

from __future__ import annotations

import fcntl
import json
from pathlib import Path

from vsa.runtime.errors import InputError
from vsa.runtime.system import not_written


def lock_file(folder: Path) -> Path:
    """Beside the shards: a rebuild of the folder leaves it alone."""
    return folder.with_name(f"{folder.name}.lock")


class ClusterLock:
    """Held by the process that supervises a cluster, for as long as it lives."""

    def __init__(self, folder: Path, address: str) -> None:
        """Take it; raises InputError if another cluster has it, or nobody may write there."""
        path = lock_file(folder)
        try:
            self._file = path.open("a+")
        except OSError as error:
            raise not_written(path, error) from None
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            other = running_at(folder)
            self._file.close()
            raise InputError(
                f"another cluster has these shards, on the Ray at {other}",
                cure="Stop it first: vsa cluster stop; or name other shards: --folder",
                file=folder,
            ) from None
        self._file.truncate(0)
        self._file.write(json.dumps({"address": address}))
        self._file.flush()

    def release(self) -> None:
        self._file.truncate(0)
        fcntl.flock(self._file, fcntl.LOCK_UN)
        self._file.close()


def running_at(folder: Path) -> str | None:
    """The address of the Ray on which the shards' cluster was started; None if none was."""
    try:
        return str(json.loads(lock_file(folder).read_text(encoding="utf-8"))["address"])
    except (OSError, ValueError, KeyError):
        return None
