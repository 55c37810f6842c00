"""What ends a notebook early: bad input, a cell that failed, an experiment the data rule out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

NO_TIME = 75  # exit status of a process that stopped in time: the system's "try again"


class InputError(Exception):
    """What the user gave cannot be used.

    The message is one paragraph: where (file and row), what is wrong, and the cure.
    The command line prints it without a traceback and exits with status 2.
    """

    def __init__(
        self, problem: str, *, cure: str, file: str | Path | None = None, row: int | None = None
    ) -> None:
        where = "" if file is None else f"{file}: " if row is None else f"{file}, row {row}: "
        end = "" if cure.endswith("?") else "."
        super().__init__(f"{where}{problem.rstrip('.')}. {cure.rstrip('.')}{end}")
        self.problem, self.cure, self.file, self.row = problem, cure, file, row

    def __reduce__(self) -> tuple[Callable[..., Exception], tuple[Any, ...]]:
        """As it is raised in another process."""
        return _received, (type(self), self.args, self.__dict__)


def _received(kind: type[InputError], args: tuple[Any, ...], known: dict[str, Any]) -> InputError:
    error = kind.__new__(kind)
    error.args = args
    error.__dict__.update(known)
    return error


class NotApplicable(Exception):
    """The data set lacks what an experiment needs, so the rest of its notebook is left out.

    For the pipeline this is no failure: the report says what was left out, and why.
    """


class NotebookError(Exception):
    """A cell of an executed notebook failed; the message names it and is ready to print.

    ``status`` is the exit status for the command line: 2 if the cell raised InputError, `NO_TIME`
    if the time was used up (`vsa.runtime.deadline`), else 1.
    """

    def __init__(self, message: str, *, status: int) -> None:
        super().__init__(message)
        self.status = status
