"""One run from start to report: what ``make reproduce`` and ``vsa.reproduce`` do.

The order of the notebooks and what each depends on is in the Snakefile; this module checks the
input before anything runs, keeps two processes off one run, and hands on the error of a notebook.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from vsa.data.datasets import DATASETS, find_source
from vsa.runtime.atomic import atomic_file
from vsa.runtime.deadline import Stopped
from vsa.runtime.errors import NO_TIME, InputError, NotebookError
from vsa.runtime.paths import (
    NOTEBOOKS,
    ROOT,
    artifacts_dir,
    cache_variables,
    data_dir,
    is_checkout,
    reports_dir,
    weights_dir,
)
from vsa.runtime.registry import Registry, has_plugins, plugin_files
from vsa.runtime.system import explain_quoted, refusals_explained
from vsa.runtime.threads import n_threads
from vsa.study import pace
from vsa.study.run import Run, make_run

# Links beside a run's files. In paths through them Snakemake finds no braces, whatever the user's
# folders are called; in braces it would see wildcards.
CHECKOUT_LINK, REPORTS_LINK = ".links/checkout", ".links/reports"
_ROOM_FOR_FAILURE = 4096  # characters; a message of why the disk is full has to fit
_ORPHANS_END_S = 20  # processes of a killed run notice within about a second that it is gone


def reproduce(
    dataset: str = "synthetic",
    profile: str = "laptop",
    seed: int = 0,
    until: str | None = None,
    *,
    set: str | Mapping[str, Any] = "",
) -> Path:
    """Execute the notebooks whose inputs changed, in order, then write the report.

    Parameters
    ----------
    dataset : str
        ``synthetic``, ``grocery``, ``clothing``, ``vpr2023`` or ``folder:PATH``.
    profile : str
        ``smoke``, ``laptop`` or ``full``.
    seed : int
        ≥ 0; a different one makes the whole run anew.
    until : str, optional
        Stop after this notebook, e.g. ``01_catalogue``, and write no report.
    set : str or mapping, optional
        Settings of the profile that are changed, ``{"embedding.margin": 0.3}`` or
        ``"embedding.margin=0.3"``. Such a run has a name, and a report, of its own.

    Returns
    -------
    Path
        The report, or the executed notebook named by `until`.

    Raises
    ------
    InputError
        If the data set, profile, seed, a setting, the notebook or ``OMP_NUM_THREADS`` cannot be
        used, or a folder cannot be written.
    NotebookError
        If a notebook or the report failed. Calling again resumes there.
    Stopped
        If a limit of `vsa.runtime.deadline` is used up before or within a notebook; the same.
    """
    with refusals_explained():
        run = make_run(dataset, profile, seed, set)
        if not is_checkout():
            raise InputError(
                "the notebooks are not here: vsa was installed without its repository",
                cure="Clone the repository, and run `make reproduce` there",
            )
        _check_names(run)
        n_threads()  # what it cannot read is answered here
        names = sorted(path.stem for path in NOTEBOOKS.glob("*.ipynb"))
        if until not in (None, *names):
            raise InputError(f"no notebook {until!r}", cure=f"Choose one of {', '.join(names)}")
        files = _check_data(run)
        target = f"notebooks/{until}.ipynb" if until else f"{REPORTS_LINK}/report.html"
        with locked(run) as lock:
            _snakemake(run, target, files, lock, pace.begin_plan(run, until))
        _repeat_warnings(run, until or "[0-9]*")
    return run.artifacts / target if until else run.reports / "report.html"


def _check_names(run: Run) -> None:
    """Raise InputError for a backbone or a codec that was asked for and is not there."""
    if {"category.architecture", "embedding.architecture"} & set(run.changes):
        from vsa.models.backbones import BACKBONES  # slow to import

        _ = BACKBONES[run.settings.category.architecture]
    if "index.codec" in run.changes:
        from vsa.index.codec import CODECS

        _ = CODECS[run.settings.index.codec]


def _repeat_warnings(run: Run, notebooks: str) -> None:
    """Print, each once, what vsa warns of in executed notebooks: it holds for the report too."""
    lines: dict[str, None] = {}
    for path in sorted((run.artifacts / "notebooks").glob(f"{notebooks}.ipynb")):
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
            for output in cell.get("outputs", ()):
                if output.get("name") == "stderr":
                    lines |= dict.fromkeys("".join(output["text"]).splitlines())
    for line in lines:
        if line.startswith("vsa: "):
            print(line, file=sys.stderr)


def end_with_pipeline() -> None:
    """Let this process end soon after the pipeline that started it, even after ``kill -9``."""
    if pipeline := os.environ.get("VSA_PIPELINE_PID"):
        watch = threading.Thread(target=_watch, args=(int(pipeline), os.getppid()), daemon=True)
        watch.start()


def _watch(pipeline: int, parent: int) -> None:
    while _is_alive(pipeline) and os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)  # the kernel watches us in the same way


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _check_data(run: Run) -> str:
    """Name an absent or altered data set, or a bad table, before a notebook runs.

    Returns a fingerprint of what a data set that users bring holds; others are made from the
    package, or known to the last byte.
    """
    source, name = find_source(run.dataset), run.dataset
    is_own = name in DATASETS and DATASETS.is_own(name)
    if is_own and source.is_rendered:
        return ""
    # Imported here: pandas is slow to import, and what is drawn needs no check
    from vsa.data.load import fingerprint_dataset, load_dataset
    from vsa.data.public import PUBLIC

    dataset = load_dataset(name, seed=run.seed, settings=run.settings.data)
    for note in dataset.notes:
        print(f"vsa: {note}", file=sys.stderr, flush=True)
    if is_own and name in PUBLIC:
        return ""
    made_by = DATASETS.identity(name) if name in DATASETS else name
    return fingerprint_dataset(dataset, made_by)


def _plugins() -> str:
    """Fingerprint of the files that ``VSA_PLUGINS`` names, and of all that plug-ins register."""
    if not has_plugins():
        return ""
    import vsa  # here: torch comes with its registries

    known = [hashlib.sha256(path.read_bytes()).hexdigest() for path in plugin_files()]
    for public in vsa.__all__:
        registry = getattr(vsa, public)
        if isinstance(registry, Registry):
            known += [_known_as(registry, name) for name in registry if not registry.is_own(name)]
    return hashlib.sha256("\n".join(known).encode()).hexdigest()


def _known_as(registry: Registry[Any], name: str) -> str:
    try:
        return f"{registry.kinds} {registry.identity(name)}"
    except InputError as error:  # the notebook that needs it tells that
        return f"{registry.kinds} {name} {error}"


@contextmanager
def locked(run: Run) -> Iterator[int]:
    """Hold the run's lock and yield its descriptor; the system frees it if we are killed.

    Raises InputError if a living process has it.
    """
    run.begin()
    with open(run.artifacts / ".lock", "a+", encoding="utf-8") as file:
        give_up = time.monotonic() + _ORPHANS_END_S
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                file.seek(0)
                owner = int(file.read() or 0)
                if (owner and _is_alive(owner)) or time.monotonic() > give_up:
                    raise InputError(
                        f"process {owner} is at work on the run {run.name}",
                        cure="Wait until it has ended, or stop it",
                    ) from None
                time.sleep(0.5)
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield file.fileno()


def _link(link: Path, target: Path) -> None:
    link.parent.mkdir(exist_ok=True)
    link.unlink(missing_ok=True)
    link.symlink_to(target)


def _snakemake(run: Run, target: str, files: str, lock: int, plan: Path) -> None:
    """Make `target`, a path from the run's folder; raises NotebookError saying what failed."""
    config, failure = run.artifacts / "config.json", run.artifacts / ".failure.json"
    failure.write_text(" " * _ROOM_FOR_FAILURE, encoding="utf-8")
    for draft in (run.artifacts / "notebooks").glob(".*.ipynb"):  # of a run that was killed
        draft.unlink()
    _link(run.artifacts / CHECKOUT_LINK, ROOT)
    _link(run.artifacts / REPORTS_LINK, run.reports)
    with atomic_file(config) as draft:
        values = {"dataset": run.dataset, "profile": run.profile, "seed": run.seed}
        values |= {"overrides": run.overrides, "plugins": _plugins()}
        values["files"] = files
        draft.write_text(json.dumps(values))
    command = [
        *(sys.executable, "-m", "snakemake", target),
        *("--snakefile", str(ROOT / "Snakefile"), "--directory", str(run.artifacts)),
        *("--configfile", str(config), "--cores", str(n_threads() or "all")),
        *("--rerun-incomplete", "--nolock", "--nocolor"),
    ]
    if not (run.reports / "metrics.json").exists():  # the notebooks' numbers have been removed
        command.append("--forceall")
    environment = os.environ | cache_variables()
    environment |= {
        "VSA_ARTIFACTS_DIR": str(artifacts_dir()),
        "VSA_DATA_DIR": str(data_dir()),
        "VSA_REPORTS_DIR": str(reports_dir()),
        "VSA_WEIGHTS_DIR": str(weights_dir()),
        "VSA_FAILURE": str(failure),
        "VSA_PLUGINS": os.pathsep.join(str(path) for path in plugin_files()),
        "VSA_PIPELINE_PID": str(os.getpid()),
        pace.VARIABLE: str(plan),
    }
    # Snakemake's own words go to a file, those of the notebooks (its standard output) to ours.
    # The lock goes on to Snakemake, which may outlive us by a moment.
    log = run.artifacts / "snakemake.log"
    with open(log, "w") as stream:
        done = subprocess.run(
            command, env=environment, stdout=2, stderr=stream, pass_fds=[lock], check=False
        )
    if text := failure.read_text(encoding="utf-8").strip():
        told = json.loads(text)
        if told["status"] == NO_TIME:
            raise Stopped(told["message"])
        raise NotebookError(**told)
    if done.returncode:
        last = "\n".join(log.read_text(errors="replace").splitlines()[-12:])
        if refusal := explain_quoted(last):
            raise refusal
        raise NotebookError(f"Snakemake failed:\n{last}\nIts log: {log}", status=1)
