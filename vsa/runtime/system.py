"""What the system refuses, a full disk or a place that cannot be written, as a message with a cure.

Errors that code may be at fault for keep their traceback where one can be shown.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vsa.runtime.errors import InputError
from vsa.runtime.paths import artifacts_dir, data_dir, reports_dir, weights_dir

_WRITE = "Make that place writable"
_MOVE = "A file stands where a folder has to be: move it away"
_CURES = {
    errno.ENOSPC: "Free some space",
    errno.EDQUOT: "Free some space",
    errno.EFBIG: "Free some space",
    errno.EBUSY: "It is in use, or a place where a disk is mounted: name another",
    errno.EXDEV: "It lies on another disk: name another place",
    errno.EACCES: _WRITE,
    errno.EPERM: _WRITE,
    errno.EROFS: _WRITE,
    errno.ENOTDIR: _MOVE,
    errno.EEXIST: _MOVE,
    errno.ENAMETOOLONG: "Give it a shorter name",
    errno.EMFILE: "Allow more open files: ulimit -n 4096",
    errno.EIO: "Check the disk",
}
_QUOTED = re.compile(r"\[Errno (\d+)\] [^:\n]*(?:: '([^'\n]*)')?")


@contextmanager
def refusals_explained() -> Iterator[None]:
    """Raise InputError for OSError; a reader that has gone away is not the system's refusal."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise explain(error) from error


def explain(error: OSError) -> InputError:
    """What was refused, where, and what to do about it."""
    cure = _CURES.get(error.errno or 0, "See that it is there and can be used")
    if error.errno is None and "written" in str(error):  # numpy says how many numbers were not
        cure = _CURES[errno.ENOSPC]
    if variable := _variable_of(error.filename):
        cure += f", or set {variable} to a folder elsewhere"
    return InputError(error.strerror or str(error), cure=cure, file=error.filename)


def not_written(file: str | Path, error: OSError) -> InputError:
    """As `explain`, where something would have been replaced and was not."""
    why = explain(error)
    return InputError(
        f"it cannot be written ({why.problem}); what was there before is untouched",
        cure=why.cure,
        file=file,
    )


def explain_quoted(text: str) -> InputError | None:
    """As `explain`, of the last refusal that a traceback or a log quotes; None without one."""
    quoted = [(int(number), file) for number, file in _QUOTED.findall(text)]
    refusals = [(number, file) for number, file in quoted if number in _CURES]
    if not refusals:
        return None
    number, file = refusals[-1]
    return explain(OSError(number, os.strerror(number), *([file] if file else [])))


def _variable_of(file: object) -> str | None:
    """The environment variable that says where `file` lies."""
    folders = {
        "VSA_REPORTS_DIR": reports_dir(),
        "VSA_DATA_DIR": data_dir(),
        "VSA_WEIGHTS_DIR": weights_dir(),
        "VSA_ARTIFACTS_DIR": artifacts_dir(),
    }
    if not isinstance(file, str):
        return None
    path = Path(file)
    for variable, folder in folders.items():
        if path.is_relative_to(folder) or folder.is_relative_to(path):
            return variable
    return None
