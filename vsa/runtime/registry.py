"""Registries: whatever a researcher would swap is one registered object of its kind.

An object gets in by `Registry.register`, called in a notebook, in a file that ``VSA_PLUGINS`` names
(several are separated as in ``PATH``), or in this package; or by an entry point of an installed
package, in the group ``vsa.<kinds>``. All four have equal rights.
"""

from __future__ import annotations

import difflib
import importlib
import os
import runpy
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Generic, TypeVar, overload

from vsa.runtime.errors import InputError
from vsa.runtime.fingerprint import source_digest

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

T = TypeVar("T")
_OWN = "vsa"


class Registry(Mapping[str, T], Generic[T]):
    """Objects of one kind by their names, in the order in which they were registered.

    Parameters
    ----------
    kind, kinds : what one and what several are called: "loss", "losses".
    check : raises InputError for an object that cannot be one of this kind; called when it is
        registered, or first asked for where it comes by an entry point.
    """

    def __init__(
        self, kind: str, kinds: str, check: Callable[[str, T], None] | None = None
    ) -> None:
        self.kind, self.kinds = kind, kinds
        self._check = check
        self._entries: dict[str, T] = {}
        self._versions: dict[str, int] = {}
        self._distant: dict[str, str | EntryPoint] = {}  # names whose objects are not loaded yet
        self._has_looked_around = False

    @overload
    def register(self, name: str, entry: T, *, version: int = 1) -> T: ...

    @overload
    def register(self, name: str, *, version: int = 1) -> Callable[[T], T]: ...

    def register(
        self, name: str, entry: T | None = None, *, version: int = 1
    ) -> T | Callable[[T], T]:
        """Add an object, or decorate it: ``@losses.register("mine")``.

        `version` says that its results changed; caches hold it and, for objects of other people's,
        the source, too. What a notebook defines anew takes its own earlier place.

        Raises
        ------
        InputError for a name that is taken, or an object that is none of this kind.
        """
        if entry is None:
            return lambda decorated: self.register(name, decorated, version=version)
        if not isinstance(name, str) or not name.strip() or name != name.strip():
            raise InputError(f"{name!r} is no name for a {self.kind}", cure="Give it a plain text")
        if self._check:
            self._check(name, entry)
        announced = _ANNOUNCED.get(self.kinds, {})  # plug-ins run before one looks around
        taken = name in self._entries or name in self._distant or name in announced
        if taken and not self._is_again(name, entry):
            raise InputError(
                f"there is a {self.kind} {name!r} already", cure="Register it by another name"
            )
        self._entries[name], self._versions[name] = entry, version
        _REGISTERED.append((self, name))
        return entry

    def identity(self, name: str) -> str:
        """What caches know an object by: name and version and, unless it is ours, its source."""
        entry = self[name]
        known = f"{name} v{self._versions[name]}"
        return known if _is_own(entry) else f"{known} {source_digest(entry)}"

    def is_own(self, name: str) -> bool:
        """Whether an object came with this package."""
        return _is_own(self[name])

    def __getitem__(self, name: str) -> T:
        """The object of that name; raises InputError with near matches if there is none."""
        self._look_around()
        if name in self._distant:
            self._fetch(name)
        if name not in self._entries:
            raise unknown(self.kind, name, self)
        return self._entries[name]

    def __contains__(self, name: object) -> bool:
        self._look_around()
        return name in self._entries or name in self._distant

    def __iter__(self) -> Iterator[str]:
        self._look_around()
        return iter([*self._entries, *self._distant])

    def __len__(self) -> int:
        self._look_around()
        return len(self._entries) + len(self._distant)

    def _look_around(self) -> None:
        load_plugins()
        if not self._has_looked_around:
            self._has_looked_around = True
            for announced in _ANNOUNCED.get(self.kinds, {}).items():
                self._distant.setdefault(*announced)
            from importlib.metadata import entry_points  # slow to import

            for point in entry_points(group=f"{_OWN}.{self.kinds}"):
                if point.name in self._entries or point.name in self._distant:
                    raise InputError(
                        f"there is a {self.kind} {point.name!r} already, and {point.value} of an "
                        "installed package has the same name",
                        cure="Rename one of the two",
                    )
                self._distant[point.name] = point

    def _fetch(self, name: str) -> None:
        where = self._distant[name]
        try:
            if isinstance(where, str):
                module, _, attribute = where.partition(":")
                entry = getattr(importlib.import_module(module), attribute)
            else:
                entry = where.load()
        except InputError:
            raise
        except Exception as error:
            value = where if isinstance(where, str) else where.value
            raise InputError(
                f"the {self.kind} {name!r} cannot be loaded from {value} "
                f"({type(error).__name__}: {error})",
                cure="Mend the package that offers it, or uninstall it",
            ) from error
        if self._check:
            self._check(name, entry)
        del self._distant[name]
        self._entries[name] = entry
        self._versions.setdefault(name, getattr(entry, "version", 1))

    def _is_again(self, name: str, entry: T) -> bool:
        """Whether `entry` is what somebody else's code has registered before, defined anew."""
        before = self._entries.get(name)
        return before is not None and not _is_own(before) and _place(before) == _place(entry)


def unknown(kind: str, name: str, known: Iterable[str]) -> InputError:
    """What to say of a name that nothing of a kind has: the nearest ones, or all."""
    names = list(known)
    near = difflib.get_close_matches(str(name), names, n=3, cutoff=0.6)
    cure = f"Choose one of {', '.join(names)}" if names else "There is none to choose from"
    if near:
        cure = f"Did you mean {' or '.join(near)}?"
    return InputError(f"unknown {kind} {name!r}", cure=cure)


def announce(kinds: str, name: str, place: str) -> None:
    """Let a registry know an object by its place, ``module:attribute``, without loading it."""
    _ANNOUNCED.setdefault(kinds, {})[name] = place


_ANNOUNCED: dict[str, dict[str, str]] = {}

# Plug-ins --------------------------------------------------------------------------------------

_REGISTERED: list[tuple[Registry, str]] = []
_LOADED: set[Path] = set()
_LOADING: list[Path] = []


def plugin_files() -> list[Path]:
    """The files that ``VSA_PLUGINS`` names, absolute; raises InputError for one that is none."""
    named = [part for part in os.environ.get("VSA_PLUGINS", "").split(os.pathsep) if part.strip()]
    paths = [Path(part.strip()).expanduser().absolute() for part in named]
    for path in paths:
        if not path.is_file():
            raise InputError(
                "VSA_PLUGINS names a file that is not there", cure="Correct the path", file=path
            )
    return paths


def load_plugins() -> None:
    """Run the files that ``VSA_PLUGINS`` names, each once.

    Raises InputError for one that fails; what it had registered until then is taken back.
    """
    if _LOADING or "VSA_PLUGINS" not in os.environ:
        return
    for path in plugin_files():
        if path not in _LOADED:
            _run(path)


def _run(path: Path) -> None:
    before = len(_REGISTERED)
    _LOADING.append(path)
    try:
        runpy.run_path(str(path), run_name=f"vsa_plugin_{path.stem}")
    except (Exception, SystemExit) as error:
        for registry, name in _REGISTERED[before:]:
            if not _is_own(registry._entries.get(name)):  # a module of ours may have been loaded
                registry._entries.pop(name, None)
                registry._versions.pop(name, None)
        del _REGISTERED[before:]
        what, cure = f"{type(error).__name__}: {error}", "Mend it"
        if isinstance(error, InputError):
            what, cure = error.problem, error.cure
        raise InputError(
            f"this plug-in fails ({what})", cure=f"{cure}, or take it out of VSA_PLUGINS", file=path
        ) from error
    finally:
        _LOADING.pop()
    _LOADED.add(path)


def _module(entry: object) -> str:
    while isinstance(entry, partial):
        entry = entry.func
    named = getattr(entry, "__module__", None) or type(entry).__module__
    return str(named)


def _is_own(entry: object) -> bool:
    """Whether this package made it; a data class of ours that holds somebody's function is not."""
    held = vars(entry).values() if hasattr(entry, "__dataclass_fields__") else ()
    mine = _module(entry).split(".")[0] == _OWN
    return mine and all(_module(part).split(".")[0] in _TRUSTED for part in held if callable(part))


_TRUSTED = (_OWN, "torch", "torchvision", "numpy", "faiss", "functools", "builtins")


def _place(entry: object) -> tuple[str, str]:
    named = getattr(entry, "__qualname__", None) or type(entry).__qualname__
    return _module(entry), str(named)
