"""Data sets by name: the system's own, the study's, and anybody's.

A data set is a function ``make(settings, seed)`` that returns a `vsa.Dataset`; one with settings,
or with drawn pictures, is a `DataSource` around that function. Light to import: what makes a data
set is loaded when it is asked for.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from vsa.data.names import FOLDER_PREFIX
from vsa.runtime.errors import InputError
from vsa.runtime.registry import Registry, unknown
from vsa.runtime.settings import Count, make_settings

if TYPE_CHECKING:
    from vsa.data.schema import Dataset

Make = Callable[[Any, int], "Dataset"]


@dataclass(frozen=True)
class NoSettings:
    """Of a data set that has none."""


@dataclass(frozen=True, kw_only=True)
class PublicSettings:
    """Of a public data set."""

    max_images_per_table: Count | None = None  # None: all of them


@dataclass(frozen=True)
class DataSource:
    """How a data set is made, and what is to be known of it before.

    Parameters
    ----------
    make : ``make(settings, seed)`` → `vsa.Dataset`, with settings of the kind below.
    settings : frozen data class with a default for every field (see ``vsa.runtime.settings``).
    is_rendered : whether a program draws its pictures. Networks then learn from random weights,
        since those of ImageNet know photographs only.
    may_show_pictures : False where its pictures may not be redistributed: notebooks and reports
        then leave out every figure that holds one.
    """

    make: Make
    settings: type = NoSettings
    is_rendered: bool = False
    may_show_pictures: bool = True

    def __call__(self, settings: Any = None, seed: int = 0) -> Dataset:
        """The data set; `settings` as an object, a mapping or None for the defaults.

        Raises InputError for an unknown setting, naming the nearest, or a value that does not fit.
        """
        values: Any = {} if settings is None else settings
        if isinstance(settings, self.settings):
            values = dataclasses.asdict(values)
        return self.make(make_settings(self.settings, values), seed)


def _check(name: str, entry: Make) -> None:
    # The name is a part of the names of folders
    if not re.fullmatch(r"\w[\w.-]*", name) or name.split("-")[0] == "folder":
        raise InputError(
            f"{name!r} is no name for a data set",
            cure="Use letters, digits, dashes, and no 'folder' at the beginning",
        )
    if not callable(entry):
        raise InputError(
            f"the data set {name!r} cannot be called",
            cure="Register a function (settings, seed) → vsa.Dataset",
        )
    if isinstance(entry, DataSource):
        is_plain = dataclasses.is_dataclass(entry.settings)
        if not is_plain or not all(map(_has_default, dataclasses.fields(entry.settings))):
            raise InputError(
                f"the settings of the data set {name!r} are no data class with defaults",
                cure="Give a frozen data class with a default for every field",
            )


def _has_default(field: dataclasses.Field[Any]) -> bool:
    missing = dataclasses.MISSING
    return field.default is not missing or field.default_factory is not missing


DATASETS: Registry[Make] = Registry("data set", "datasets", _check)


def find_source(name: str) -> DataSource:
    """The data set of that name, or of ``folder:PATH``; raises InputError if there is none."""
    if name.startswith(FOLDER_PREFIX):
        return DataSource(partial(_make_folder, name.removeprefix(FOLDER_PREFIX)))
    if name not in DATASETS:
        raise unknown("data set", name, [*DATASETS, f"{FOLDER_PREFIX}PATH"])
    entry = DATASETS[name]
    return entry if isinstance(entry, DataSource) else DataSource(entry)


def _make_folder(path: str, settings: NoSettings, seed: int) -> Dataset:
    from vsa.data.folder import load_folder

    return load_folder(path)


def _make_public(name: str, settings: PublicSettings, seed: int) -> Dataset:
    from vsa.data.public import load_public

    return load_public(name, settings.max_images_per_table)


def _make_vpr2023(settings: PublicSettings, seed: int) -> Dataset:
    from vsa.data.vpr2023 import load_vpr2023

    return load_vpr2023(settings.max_images_per_table)


for _name in ("grocery", "clothing"):
    DATASETS.register(_name, DataSource(partial(_make_public, _name), settings=PublicSettings))
DATASETS.register(
    "vpr2023",
    DataSource(_make_vpr2023, settings=PublicSettings, may_show_pictures=False),
)
