"""Digests of values of any kind, somebody's functions and classes with their source included."""

from __future__ import annotations

import copyreg
import dis
import hashlib
import inspect
import io
import os
import re
import sys
import weakref
import zipfile
from collections import OrderedDict
from collections.abc import Collection, Mapping
from functools import cache, cached_property, partial
from pathlib import Path
from types import (
    CellType,
    CodeType,
    FunctionType,
    GetSetDescriptorType,
    MappingProxyType,
    MemberDescriptorType,
    MethodType,
    ModuleType,
)
from typing import Any

from vsa.runtime.errors import InputError


class Digest:
    """Digests, 32 bytes each, of values of any kind: the same in every process and on every device.

    Parameters
    ----------
    own : names of installed packages whose source counts.
    """

    def __init__(self, own: Collection[str] = ()) -> None:
        self.own = own
        self.packages: set[str] = set()
        """Installed packages whose networks and functions were met: known by name alone."""
        self._known: dict[int, tuple[object, bytes]] = {}  # holds them: ids stay theirs
        self._begun: dict[int, int] = {}
        self._at = ["a value"]
        self._is_others = False  # inside of an object that nobody can change

    def __call__(self, part: object) -> bytes:
        """Raises InputError as `source_digest`."""
        if type(part) in _PLAIN:
            said = part if isinstance(part, bytes) else repr(part).encode()
            return _hash(type(part).__name__, said)
        if id(part) in self._known:
            return self._known[id(part)][1]
        if id(part) in self._begun:
            return _hash("again", b"%d" % self._begun[id(part)])
        self._begun[id(part)] = len(self._begun)
        was_others = self._is_others
        try:
            found = self._take_apart(part)
        except RecursionError:
            raise self._refused(part) from None
        finally:
            del self._begun[id(part)]
            self._is_others = was_others
        self._known[id(part)] = part, found
        return found

    def _take_apart(self, part: Any) -> bytes:
        match part:
            case FunctionType():
                return self._function(part)
            case type():
                return self._class(part)
            case ModuleType():
                return self._module(part)
            case MethodType():
                return _hash("method", self(part.__func__), self(part.__self__))
            case staticmethod() | classmethod():
                return _hash(type(part).__name__, self(part.__func__))
            case partial():
                return _hash("partial", *map(self, (part.func, part.args, part.keywords)))
            case property():
                return _hash("property", *map(self, (part.fget, part.fset, part.fdel)))
            case cached_property():
                return _hash("cached_property", self(part.func))
            case MappingProxyType():
                return self(dict(part))
            case weakref.ref() | weakref.WeakKeyDictionary() | weakref.WeakValueDictionary():
                return _hash(type(part).__name__)  # holds what lives elsewhere
        if isinstance(part, _CACHING):
            return _hash("cache", self(part.__wrapped__))
        if type(part) in (list, tuple):
            return _hash(type(part).__name__, *map(self, part))
        if type(part) in (set, frozenset):
            return _hash(type(part).__name__, *sorted(map(self._alone, part)))
        if type(part) is dict:
            return _hash("dict", *sorted(self(name) + self(value) for name, value in part.items()))
        return self._numbers(part) or self._object(part)

    def _alone(self, part: object) -> bytes:
        """The digest that does not depend on what has been met before."""
        if type(part) in _PLAIN:
            return self(part)
        known = self._known
        self._known = dict(known)
        try:
            return self(part)
        finally:
            self._known = known

    def _function(self, part: FunctionType) -> bytes:
        code, module = part.__code__, str(part.__globals__.get("__name__"))
        said: list[bytes] = []
        if self._is_settled(module, code.co_filename):
            name = f"{module}.{part.__qualname__}"
            self._note(module)
            if _found_by_name(module, part.__qualname__) is part:
                return _hash("settled", name.encode())
            said.append(name.encode())
            used: dict[str, object] = {}
        else:
            said.append(_source(part).encode())
            names = _global_names(code) & part.__globals__.keys()
            used = {name: part.__globals__[name] for name in names}
            self._is_others = False
        self._at.append(part.__qualname__)
        cells = [cell.cell_contents for cell in part.__closure__ or () if cell != CellType()]
        held = [cells, part.__defaults__, part.__kwdefaults__, vars(part), used]
        found = _hash("function", *said, *map(self, held))
        self._at.pop()
        return found

    def _class(self, part: type) -> bytes:
        if self._is_settled(part.__module__):
            return _hash("settled", f"{part.__module__}.{part.__qualname__}".encode())
        self._is_others = False
        self._at.append(part.__qualname__)
        fields = vars(part).get("__dataclass_fields__", {}).values()
        held = [
            part.__bases__,
            type(part),
            [[field.name, field.default, field.default_factory] for field in fields],
            {name: value for name, value in vars(part).items() if _is_written(name, value)},
        ]
        found = _hash("class", part.__qualname__.encode(), *map(self, held))
        self._at.pop()
        return found

    def _module(self, part: ModuleType) -> bytes:
        file = getattr(part, "__file__", None)
        if file and Path(file).is_file() and not self._is_settled(part.__name__):
            return _hash("module", Path(file).read_bytes())
        return _hash("settled", part.__name__.encode())

    def _numbers(self, part: Any) -> bytes | None:
        """The digest of arrays, tensors and networks, and None of anything else."""
        numpy, torch = sys.modules.get("numpy"), sys.modules.get("torch")
        if numpy and isinstance(part, numpy.ndarray):
            mask = self(part.mask if isinstance(part, numpy.ma.MaskedArray) else None)
            if part.dtype.hasobject:
                return _hash("array", self(part.tolist()), mask)
            values = numpy.ascontiguousarray(part, part.dtype).reshape(-1).view(numpy.uint8)
            return _hash(f"array {part.shape} {part.dtype.descr}", values.data, mask)
        if torch and isinstance(part, torch.Tensor):
            try:
                dense = part.detach().cpu().to_dense().resolve_conj().resolve_neg().contiguous()
                values = dense.reshape(-1).view(torch.uint8).numpy()
            except (RuntimeError, TypeError, ValueError):  # a quantised one, or without values
                raise self._refused(part) from None
            return _hash(f"tensor {tuple(part.shape)} {part.dtype}", values.data)
        if torch and isinstance(part, torch.device):
            return _hash("device")  # results are the same on all
        if torch and isinstance(part, torch.nn.Module):
            return self._network(part, vars(torch.nn.Module()))
        return None

    def _network(self, part: Any, usual: Mapping[str, object]) -> bytes:
        """Weights, buffers and whatever else a network holds; `usual`: what they all have."""
        if hasattr(part, "_orig_mod"):  # it is compiled
            return self(part._orig_mod)
        self._note(type(part).__module__)
        if hasattr(part, "save_to_buffer"):  # of TorchScript, which has no fields
            with zipfile.ZipFile(io.BytesIO(part.save_to_buffer())) as archive:
                names = [name for name in archive.namelist() if not name.endswith(_OF_ONE_SAVING)]
                return self([_NUMBERED.sub(b"", archive.read(name)) for name in sorted(names)])
        own = {name: value for name, value in _kept(part, vars(part)) if name not in usual}
        for name in ("_parameters", "_buffers", "training"):
            own[name] = getattr(part, name)
        own["_modules"] = list(part._modules.items())
        for name in ("_forward_hooks", "_forward_pre_hooks"):
            own[name] = list(getattr(part, name).values())
        return _hash("network", *self._held(part, [own]))

    def _object(self, part: Any) -> bytes:
        """What `pickle` would keep of an object."""
        kind = type(part)
        if kind.__module__.startswith("vsa.") and isinstance(
            inspect.getattr_static(kind, "identity", None), property
        ):
            return _hash("identity", self(part.identity))
        try:
            reduce = copyreg.dispatch_table.get(kind)
            reduced: Any = reduce(part) if reduce else part.__reduce_ex__(4)
            if isinstance(reduced, str):
                return _hash("named", f"{getattr(part, '__module__', '')}.{reduced}".encode())
            make, values, state, items, pairs = (*reduced, None, None, None)[:5]
        except Exception:
            if self._is_others:
                return _hash("kind", self(kind))
            raise self._refused(part) from None
        if isinstance(state, dict):
            state = dict(_kept(part, state))
        named = list(pairs or ()) if isinstance(part, OrderedDict) else dict(pairs or ())
        return _hash("object", *self._held(part, [make, values, state, list(items or ()), named]))

    def _held(self, part: object, held: list[object]) -> list[bytes]:
        """Digests of an object's class and of what it holds."""
        self._at.append(type(part).__qualname__)
        found = [self(type(part))]
        module = type(part).__module__
        self._is_others = self._is_settled(module) and module.partition(".")[0] != "vsa"
        found += map(self, held)
        self._at.pop()
        return found

    def _is_settled(self, module: str, file: str | None = None) -> bool:
        """Whether the version of a package stands for what is in a module."""
        top = module.partition(".")[0]
        if top in self.own or top == "vsa":
            return top not in self.own
        for name in (module, top):
            file = file or getattr(sys.modules.get(name), "__file__", None)
        if not file:
            return top in sys.stdlib_module_names
        return "site-packages" in file or "dist-packages" in file or _is_standard(file)

    def _note(self, module: str) -> None:
        top = module.partition(".")[0]
        if self._is_settled(module) and top not in sys.stdlib_module_names:
            self.packages.add(top)

    def _refused(self, part: object) -> InputError:
        kind = f"{type(part).__module__}.{type(part).__qualname__}"
        return InputError(
            f"{self._at[-1]} holds an object of type {kind}, by whose content no cache can know it",
            cure="Make it inside of the function that uses it",
        )


_PLAIN = (int, float, complex, str, bytes, bool, type(None))
_CACHING = type(cache(len))
_NUMBERED = re.compile(rb"\.?___torch_mangle_\d+")  # of how many have been loaded
_OF_ONE_SAVING = (".debug_pkl", "serialization_id")
_WRITTEN_BY_PYTHON = {
    "__abstractmethods__",
    "__annotations__",
    "__annotate__",
    "__annotate_func__",
    "__annotations_cache__",
    "__classcell__",
    "__dataclass_fields__",
    "__dataclass_params__",
    "__dict__",
    "__doc__",
    "__firstlineno__",
    "__hash__",
    "__match_args__",
    "__module__",
    "__orig_bases__",
    "__parameters__",
    "__qualname__",
    "__static_attributes__",
    "__weakref__",
    "_abc_impl",
}


def _hash(kind: str, *parts: bytes | memoryview) -> bytes:
    digest = hashlib.sha256(kind.encode())
    for part in parts:
        digest.update(b"%d:" % len(part))
        digest.update(part)
    return digest.digest()


def _global_names(code: CodeType) -> set[str]:
    """Names outside of it that a function asks for, those inside of it included."""
    own = {
        step.argval
        for step in dis.get_instructions(code)
        if step.opname in ("LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS")
    }
    inner = (part for part in code.co_consts if isinstance(part, CodeType))
    return own.union(*map(_global_names, inner))


def _found_by_name(module: str, name: str) -> object:
    found: object = sys.modules.get(module)
    for part in name.split("."):
        found = getattr(found, part, None)
    return found


def _is_written(name: str, value: object) -> bool:
    """Whether a class has it from somebody, and not from Python, `dataclass` or attrs."""
    inner = inspect.unwrap(value) if isinstance(value, FunctionType) else value
    file = inner.__code__.co_filename if isinstance(inner, FunctionType) else ""
    is_generated = file == "<string>" or file.startswith("<attrs")
    is_slot = isinstance(value, MemberDescriptorType | GetSetDescriptorType)
    return not (is_generated or is_slot or name in _WRITTEN_BY_PYTHON)


def _kept(part: object, state: Mapping[str, object]) -> list[tuple[str, object]]:
    """Fields of an object but for those that it computes from the others."""
    kind = type(part)
    return [
        (name, value)
        for name, value in state.items()
        if not isinstance(inspect.getattr_static(kind, str(name), None), cached_property)
    ]


def _source(part: FunctionType) -> str:
    try:
        return inspect.getsource(part.__code__)
    except (OSError, TypeError):
        raise InputError(
            f"{part.__qualname__} has no source to be known by",
            cure="Define it in a file or in a notebook's cell",
        ) from None


def _is_standard(file: str) -> bool:
    return file.startswith(os.path.dirname(os.__file__) + os.sep)
