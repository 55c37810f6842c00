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
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

from vsa.runtime.errors import InputError
from vsa.runtime.extras import missing_explained
from vsa.runtime.fingerprint import source_digest
from vsa.runtime.paths import ROOT

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

T = TypeVar("T")
_OWN = "vsa"
_PLUGINS = "VSA_PLUGINS"
_DECORATED: Any = object()  # what is registered comes below the decorator


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
        self._by: dict[str, str] = {}  # name → module that registered it
        self._distant: dict[str, str | EntryPoint] = {}  # names whose objects are not loaded yet
        self._has_looked_around = False

    @overload
    def register(self, name: str, entry: T, *, version: int = 1) -> T: ...

    @overload
    def register(self, name: str, *, version: int = 1) -> Callable[[T], T]: ...

    def register(
        self, name: str, entry: T = _DECORATED, *, version: int = 1
    ) -> T | Callable[[T], T]:
        """Add an object, or decorate it: ``@losses.register("mine")``.

        `version` says that its results changed; caches hold it and, for what other modules than
        ours register, the source, too. What a notebook or an interactive session defines anew takes
        its own earlier place.

        Raises
        ------
        InputError for a name that is taken, or an object that is none of this kind.
        """
        caller = sys._getframe(1).f_globals
        if entry is _DECORATED:
            return lambda decorated: self._add(name, decorated, version, caller)
        return self._add(name, entry, version, caller)

    def _add(self, name: str, entry: T, version: int, caller: Mapping[str, Any]) -> T:
        """Register for a module, whose global names `caller` has."""
        if not isinstance(name, str) or not name.strip() or name != name.strip():
            raise InputError(f"{name!r} is no name for a {self.kind}", cure="Give it a plain text")
        if self._check:
            self._check(name, entry)
        announced = _ANNOUNCED.get(self.kinds, {})  # plug-ins run before one looks around
        taken = name in self._entries or name in self._distant or name in announced
        by = _SESSION if _is_session(caller) else _place(caller)
        if taken and not (by == _SESSION and self._is_again(name, entry)):
            raise InputError(
                f"there is a {self.kind} {name!r} already", cure="Register it by another name"
            )
        self._entries[name], self._versions[name], self._by[name] = entry, version, by
        _REGISTERED.append((self, name))
        return entry

    def identity(self, name: str) -> str:
        """What caches know an object by: name and version and, unless it is ours, its source."""
        entry = self[name]
        known = f"{name} v{self._versions[name]}"
        if self.is_own(name):
            return known
        # The package that offers it may be installed like any library
        return f"{known} {source_digest(entry, own={_package(self._by.get(name, ''))})}"

    def is_own(self, name: str) -> bool:
        """Whether this package registered an object; raises InputError for an unknown name."""
        if name not in self:
            raise unknown(self.kind, name, self)
        where = self._distant.get(name)
        by = self._by.get(name, "") if where is None else where
        return isinstance(by, str) and _package(by) == _OWN

    def __reduce__(self) -> str:
        """Caches know it by its kind, not by what is in it."""
        return self.kinds

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
        if self._has_looked_around:
            return
        from importlib.metadata import entry_points  # slow to import

        found: dict[str, str | EntryPoint] = {**_ANNOUNCED.get(self.kinds, {})}
        for point in entry_points(group=f"{_OWN}.{self.kinds}"):
            if point.name in self._entries or point.name in self._distant or point.name in found:
                raise InputError(
                    f"there is a {self.kind} {point.name!r} already, and {point.value} of an "
                    "installed package has the same name",
                    cure="Rename one of the two",
                )
            found[point.name] = point
        self._distant = found | self._distant
        self._has_looked_around = True

    def _fetch(self, name: str) -> None:
        where = self._distant[name]
        try:
            if isinstance(where, str):
                module, _, attribute = where.partition(":")
                with missing_explained():
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
        self._by[name] = where if isinstance(where, str) else where.module
        self._versions.setdefault(name, getattr(entry, "version", 1))

    def _is_again(self, name: str, entry: T) -> bool:
        """Whether `entry` is what a session has registered before, defined anew."""
        return self._by.get(name) == _SESSION and _name(self._entries.get(name)) == _name(entry)


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
_all_loaded = ""  # the value of ``VSA_PLUGINS`` whose files have all been run


def plugin_files() -> list[Path]:
    """The files that ``VSA_PLUGINS`` names, absolute; raises InputError for one that is none."""
    settle_plugins()
    paths = [Path(part) for part in os.environ.get(_PLUGINS, "").split(os.pathsep) if part]
    for path in paths:
        if not os.path.isfile(path):  # False for a name that is too long, too
            raise InputError(
                f"{_PLUGINS} names a file that is not there", cure="Correct the path", file=path
            )
    return paths


def settle_plugins() -> None:
    """Make ``VSA_PLUGINS`` absolute, for this process wherever it goes, and for those it starts.

    A relative path is of the working directory or, where nothing is there, of the checkout: the
    kernels of notebooks start in ``notebooks/``.
    """
    named = [part.strip() for part in os.environ.get(_PLUGINS, "").split(os.pathsep)]
    if any(named):
        os.environ[_PLUGINS] = os.pathsep.join(_absolute(part) for part in named if part)


def _absolute(named: str) -> str:
    try:
        here = Path(named).expanduser().absolute()
    except (OSError, RuntimeError):  # ~nobody, or a working directory that has been removed
        return str(ROOT / named)
    is_of_root = os.path.exists(ROOT / named) and not os.path.exists(here)
    return str(ROOT / named if is_of_root else here)


def has_plugins() -> bool:
    """Whether ``VSA_PLUGINS`` or an installed package offers anything."""
    from importlib.metadata import entry_points  # slow to import

    return bool(plugin_files()) or any(
        group.startswith(f"{_OWN}.") for group in entry_points().groups
    )


def load_plugins() -> None:
    """Run the files that ``VSA_PLUGINS`` names, each once.

    Raises InputError for one that fails; what it had registered until then is taken back.
    """
    global _all_loaded
    if _LOADING or os.environ.get(_PLUGINS) in (None, _all_loaded):  # asked for at every look-up
        return
    for path in plugin_files():
        if path not in _LOADED:
            _run(path)
    _all_loaded = os.environ[_PLUGINS]


def _run(path: Path) -> None:
    before = len(_REGISTERED)
    _LOADING.append(path)
    try:
        runpy.run_path(str(path), run_name=f"vsa_plugin_{path.stem}")
    except (Exception, SystemExit) as error:
        for registry, name in _REGISTERED[before:]:
            if (
                _package(registry._by.get(name, "")) != _OWN
            ):  # a module of ours may have been loaded
                registry._entries.pop(name, None)
                registry._versions.pop(name, None)
                registry._by.pop(name, None)
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


_SESSION = "__main__"  # of a notebook, or of an interactive session


def _is_session(names: Mapping[str, Any]) -> bool:
    """Whether these are the global names of a notebook or a session, where cells run again."""
    is_main = names.get("__name__") == "__main__"
    return is_main and ("__file__" not in names or "get_ipython" in names)


def _place(names: Mapping[str, Any]) -> str:
    module = str(names.get("__name__"))
    return "a script" if module == "__main__" else module


def _package(module: str) -> str:
    return module.partition(":")[0].partition(".")[0]


def _name(entry: object) -> str:
    return str(getattr(entry, "__qualname__", None) or type(entry).__qualname__)


settle_plugins()
