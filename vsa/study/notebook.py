"""Executing notebooks: checked parameters, this very interpreter, errors that name the cell."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

import nbformat
import papermill
from jupyter_client import AsyncKernelManager
from jupyter_client.kernelspec import KernelSpecManager
from papermill.exceptions import PapermillExecutionError
from traitlets import default

from vsa.runtime.atomic import atomic_file
from vsa.runtime.deadline import DEADLINE
from vsa.runtime.errors import NO_TIME, InputError, NotebookError
from vsa.runtime.markup import escape_braces
from vsa.runtime.paths import (
    ROOT,
    artifacts_dir,
    data_dir,
    relative_to_root,
    reports_dir,
    weights_dir,
)
from vsa.runtime.system import explain_quoted
from vsa.study import pace
from vsa.study.run import Run

_LOG_EVERY_S = 20.0
_FULL_BYTES = 2**20
_WIDGET = "application/vnd.jupyter.widget-view+json"
_ANSI = re.compile(r"\x1b\[[0-9;]*m")


class _OwnKernelManager(AsyncKernelManager):
    """Starts the interpreter that runs us, whatever kernels the user has installed.

    With no folder to search, ``python3`` can only mean ipykernel's native specification, whose
    command is ``sys.executable``.
    """

    @default("kernel_spec_manager")
    def _no_installed_kernels(self) -> KernelSpecManager:
        return KernelSpecManager(kernel_dirs=[])


def execute(notebook: Path, run: Run, output: Path) -> None:
    """Execute a notebook with the run's parameters, in the notebook's own folder.

    `output` appears only when every cell has succeeded; after a failure the executed part is in
    ``<name>.failed.ipynb`` beside it. A cell that raises NotApplicable ends the notebook without
    failing it. Raises InputError, before anything is run, if the notebook does not take
    ``dataset``, ``profile``, ``seed`` and ``overrides``, and NotebookError if a cell fails, or if
    the time of `vsa.runtime.deadline` is used up before it or within one of its trainings.
    """
    if DEADLINE.passed():
        raise NotebookError(f"before {notebook.stem}", status=NO_TIME)
    parameters = {
        "dataset": run.dataset,
        "profile": run.profile,
        "seed": run.seed,
        "overrides": run.overrides,
    }
    _check_parameters(notebook, parameters)
    failed = output.with_suffix(".failed.ipynb")
    failed.unlink(missing_ok=True)
    with atomic_file(output) as draft:
        _execute(notebook, draft, failed, parameters)
    publish(output, run.reports / "notebooks" / notebook.name)


def publish(executed: Path, target: Path) -> None:
    """Put an executed notebook beside the report, without a path of this machine."""
    text = nbformat.writes(normalise(nbformat.read(executed, as_version=4)))
    for folder, name in (
        (artifacts_dir(), "artifacts"),
        (reports_dir(), "reports"),
        (data_dir(), "data"),
        (weights_dir(), "weights"),
        (ROOT, "."),
    ):
        text = text.replace(json.dumps(str(folder.resolve()))[1:-1], name)
    target.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(target) as draft:
        draft.write_text(text + "\n", encoding="utf-8")


def refresh(notebook: Path) -> None:
    """Execute a notebook in place with its default parameters, for committing.

    What differs between two machines without telling a reader anything is removed: timings,
    paths, interpreter version. Raises NotebookError if a cell fails; the notebook is then
    unchanged.
    """
    with atomic_file(notebook) as draft:
        _execute(notebook, draft, notebook.with_suffix(".failed.ipynb"), {})
        nbformat.write(normalise(nbformat.read(draft, as_version=4)), draft)


def normalise(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Keep of the metadata the kernel's name and the cells' tags; everything else is left as is.

    A widget ends with the kernel: of one that brought HTML, too, that stays.
    """
    notebook.metadata = nbformat.from_dict(
        {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        }
    )
    for cell in notebook.cells:
        tags = cell.metadata.get("tags")
        cell.metadata = nbformat.from_dict({"tags": tags} if tags else {})
        for output in cell.get("outputs", ()):
            if "text/html" in output.get("data", {}):
                output.data.pop(_WIDGET, None)
    return notebook


def _execute(notebook: Path, draft: Path, failed: Path, parameters: dict[str, Any]) -> None:
    """Execute into `draft`; on failure copy it to `failed` and raise NotebookError."""
    started = time.monotonic()
    place = pace.place(notebook.stem)
    _say(f"{notebook.stem}: started{f', {place}' if place else ''}")
    with _kernel_progress_copied():
        try:
            papermill.execute_notebook(
                escape_braces(str(notebook)),
                escape_braces(str(draft)),
                parameters,
                kernel_name="python3",
                language="python",
                kernel_manager_class=_OwnKernelManager,
                extra_arguments=["--IPKernelApp.log_level=50"],  # its complaints are not the user's
                shutdown_kernel="immediate",  # nothing is left to do; torch takes seconds to leave
                coalesce_streams=True,
                cwd=notebook.parent,
                progress_bar=False,
            )
        except (PapermillExecutionError, RuntimeError) as error:
            if isinstance(error, PapermillExecutionError) and error.ename == "NotApplicable":
                _say(f"{notebook.stem}: left out. {error.evalue}")
                pace.note_taken(notebook.stem, time.monotonic() - started)
                return
            if isinstance(error, PapermillExecutionError) and error.ename == "Stopped":
                raise NotebookError(
                    f"within {notebook.stem}: {error.evalue}", status=NO_TIME
                ) from None
            shutil.copyfile(draft, failed)
            raise _notebook_error(notebook, error, failed) from None
    taken = time.monotonic() - started
    pace.note_taken(notebook.stem, taken)
    _say(f"{notebook.stem}: done in {taken:.0f} s")


def read_parameters(notebook: Path) -> dict[str, Any]:
    """Names and default values of the cell tagged ``parameters``.

    Raises InputError if there is not exactly one such cell, or if it holds anything but
    ``name = literal`` lines: a value derived there would go stale when its source is overridden.
    """
    cells = nbformat.read(notebook, as_version=4).cells
    tagged = [cell for cell in cells if "parameters" in cell.metadata.get("tags", [])]
    if len(tagged) != 1:
        raise InputError(
            f"{len(tagged)} cells are tagged 'parameters'",
            cure="Tag exactly one",
            file=relative_to_root(notebook),
        )
    try:
        statements = ast.parse(tagged[0].source).body
    except SyntaxError as error:
        raise InputError(
            f"the parameters cell is not Python, line {error.lineno}: {error.msg}",
            cure="Write plain literals there, such as seed = 0",
            file=relative_to_root(notebook),
        ) from None
    parameters = {}
    for statement in statements:
        try:
            (target,) = statement.targets
            parameters[target.id] = ast.literal_eval(statement.value)
        except (AttributeError, ValueError):
            raise InputError(
                f"the parameters cell holds {ast.unparse(statement)!r}",
                cure="Write plain literals there (seed = 0) and derive the rest in the next cell",
                file=relative_to_root(notebook),
            ) from None
    return parameters


def _check_parameters(notebook: Path, parameters: dict[str, Any]) -> None:
    if not notebook.is_file():
        raise InputError(f"no notebook at {notebook}", cure="See the notebooks/ folder for names")
    known = read_parameters(notebook)
    unknown = [name for name in parameters if name not in known]
    if unknown:
        raise InputError(
            f"the notebook takes no parameter {', '.join(map(repr, unknown))}",
            cure="Set it in the cell tagged 'parameters'",
            file=relative_to_root(notebook),
        )


def _notebook_error(
    notebook: Path, error: PapermillExecutionError | RuntimeError, failed: Path
) -> NotebookError:
    if not isinstance(error, PapermillExecutionError):  # it died at work, or while it started
        is_full = shutil.disk_usage(failed.parent).free < _FULL_BYTES
        why = f"the disk of {failed.parent} is full" if is_full else "most often memory ran out"
        return NotebookError(
            f"{notebook.stem}: the kernel died ({error}); {why}.\nExecuted so far: {failed}",
            status=1,
        )
    if error.ename in ("InputError", "Diverged"):  # the user's to mend: one paragraph, no traceback
        return NotebookError(f"{notebook.stem}: {error.evalue}", status=2)
    if refusal := explain_quoted(f"{error.ename}: {error.evalue}"):
        return NotebookError(f"{notebook.stem}: {refusal}", status=2)
    where = f"{notebook.stem}, cell In [{error.exec_count}]"
    source = "\n".join(f"    {line}" for line in error.source.splitlines())
    frames = [_ANSI.sub("", frame).rstrip() for frame in error.traceback]
    innermost = "\n".join(frames[-2:]) if len(frames) > 1 else f"{error.ename}: {error.evalue}"
    return NotebookError(
        f"{where} failed:\n{source}\n\n{innermost}\n\nThe executed notebook: {failed}", status=1
    )


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


@contextmanager
def _kernel_progress_copied() -> Iterator[None]:
    """Copy to standard error what the kernel's progress bars write (`vsa.runtime.progress`)."""
    if os.environ.get("VSA_PROGRESS"):  # "off", or a file that someone else reads
        yield
        return
    with tempfile.NamedTemporaryFile(
        "r", prefix="vsa-progress-", encoding="utf-8", errors="replace", newline=""
    ) as stream:  # newline="": a bar's carriage returns stay what they are
        stop = threading.Event()
        tail = threading.Thread(target=_copy_growth, args=(stream, stop), daemon=True)
        os.environ["VSA_PROGRESS"] = stream.name
        tail.start()
        try:
            yield
        finally:
            del os.environ["VSA_PROGRESS"]
            stop.set()
            tail.join()


def _copy_growth(stream: TextIO, stop: threading.Event) -> None:
    """Copy what is appended to `stream` to standard error until `stop` is set.

    A terminal sees the bars move; a log gets the state of the last one now and then.
    """
    if sys.stderr.isatty():
        while not stop.wait(0.2):
            print(stream.read(), end="", file=sys.stderr, flush=True)
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)  # no half-drawn bar stays behind
        return
    rest = ""  # of a bar that was being written
    while not stop.wait(_LOG_EVERY_S):
        written = re.split(r"[\r\n]+|\x1b\[A", rest + stream.read())
        whole = [bar.strip() for bar in written if bar.rstrip().endswith("]")]
        rest = "" if written[-1].rstrip().endswith("]") else written[-1]
        if whole:
            _say(f"  {whole[-1]}")
