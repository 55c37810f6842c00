"""Whether all that stands in a folder is whole: indexes, engines, parts of runs, reports."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from vsa.index.index import Index
from vsa.row_files import FOLDER as ROWS
from vsa.runtime.atomic import settled
from vsa.runtime.checked import INDEX, MANIFEST, check_manifest
from vsa.runtime.errors import InputError
from vsa.runtime.paths import artifacts_dir, reports_dir
from vsa.store import INDEX_FOLDER, Store

# each of them stands in a folder that has a manifest: stages and jobs, reports
_MARKS = {MANIFEST, "card.json", "report.html"}


def verify(what: str | Path) -> list[Path]:
    """Read every byte that has a checksum; returns the folders that were checked.

    `what` is a folder, with all below it, or the name of a run: what it trained, and its report.
    Raises InputError, naming every folder that is damaged, or if nothing can be checked there.
    """
    places = [Path(what)]
    if not places[0].is_dir():
        places = [folder / what for folder in (artifacts_dir(), reports_dir())]
    checked, damage = [], []
    for place in places:
        for folder, check in _checks(place):
            try:
                check(folder)
            except InputError as error:
                damage.append(error)
            checked.append(folder)
    if damage:
        others = "".join(f"\n     {error}" for error in damage[1:])
        raise InputError(f"{damage[0].problem}{others}", cure=damage[0].cure, file=damage[0].file)
    if not checked:
        raise InputError(
            "there is nothing here that can be checked",
            cure="Name an index, an engine, a report's folder, or a run such as synthetic-laptop",
            file=what,
        )
    return checked


def _checks(place: Path) -> list[tuple[Path, Callable[[Path], object]]]:
    found: list[tuple[Path, Callable[[Path], object]]] = []
    for name, folders, files in os.walk(settled(place)):
        if INDEX in files:
            found.append((Path(name), _check_index))
            folders.clear()
        elif not _MARKS.isdisjoint(files) and not {ROWS, INDEX_FOLDER}.isdisjoint(folders):
            found.append((Path(name), _check_engine))
            folders.clear()
        elif not _MARKS.isdisjoint(files):
            found.append((Path(name), lambda folder: check_manifest(folder, check_all=True)))
            # its manifest holds all that is below it, but the indexes
            folders[:] = [folder for folder in folders if Path(name, folder, INDEX).is_file()]
        # drafts, and links to the checkout, are hidden
        folders[:] = sorted(folder for folder in folders if not folder.startswith("."))
    return found


def _check_engine(folder: Path) -> None:
    with Store(folder) as store:
        store.verify()


def _check_index(folder: Path) -> None:
    with Index.open(folder) as index:
        index.verify()
