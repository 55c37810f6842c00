"""Settings: frozen data classes beside their stages, made from plain values that are checked."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, TypeVar, get_type_hints

from pydantic import Field, TypeAdapter, ValidationError

from vsa.runtime.errors import InputError
from vsa.runtime.registry import unknown

S = TypeVar("S")
T = TypeVar("T")

# What a field may hold.
Count = Annotated[int, Field(ge=1, strict=True)]  # strict: True and "8" are no numbers
Whole = Annotated[int, Field(ge=0, strict=True)]
Positive = Annotated[float, Field(gt=0, strict=True)]
NotNegative = Annotated[float, Field(ge=0, strict=True)]
Share = Annotated[float, Field(ge=0, le=1, strict=True)]
Scale = Annotated[float, Field(gt=0, le=1, strict=True)]
Text = Annotated[str, Field(min_length=1)]
Some = Annotated[tuple[T, ...], Field(min_length=1)]


def make_settings(kind: type[S], values: Mapping[str, Any], where: str = "") -> S:
    """A data class of settings from plain values, such as a YAML file holds.

    Parameters
    ----------
    kind : a frozen data class; fields that are data classes take mappings.
    values : field → value. Lists become tuples; fields that are missing have their defaults.
    where : what the values are called in errors, as "smoke.yaml".

    Raises
    ------
    InputError for an unknown key, naming the nearest ones, a key that is missing, and a value that
    does not fit.
    """
    _refuse_unknown(kind, values, where)
    try:
        made: S = _checker(kind).validate_python(values)  # type: ignore[arg-type]
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        if first["type"] == "missing":
            raise InputError(
                f"{name} is missing", cure="Give it a value", file=where or None
            ) from None
        raise InputError(
            f"{name} is {first['input']!r}: {first['msg'][:1].lower()}{first['msg'][1:]}",
            cure="Correct the value",
            file=where or None,
        ) from None
    for name, value in _leaves(dataclasses.asdict(made)):  # type: ignore[call-overload]
        if isinstance(value, float) and not math.isfinite(value):
            raise InputError(f"{name} is {value}", cure="Give a number", file=where or None)
    return made


@functools.cache
def _checker(kind: type) -> TypeAdapter[Any]:
    """Kept: pydantic takes longer to make one than all else that a run's settings need."""
    return TypeAdapter(kind)


def change_settings(settings: S, changes: Mapping[str, Any]) -> S:
    """Settings with some values changed, by their dotted names; raises InputError as above."""
    values = dataclasses.asdict(settings)  # type: ignore[call-overload]
    names = setting_names(type(settings))
    for name, value in changes.items():
        if name not in names:
            raise unknown_setting(name, names)
        *parents, leaf = name.split(".")
        part = values
        for parent in parents:
            part = part[parent]
        part[leaf] = value
    return make_settings(type(settings), values)


def unknown_setting(name: str, names: list[str]) -> InputError:
    """The nearest settings; one whose last part is right comes first."""
    same = [known for known in names if known.split(".")[-1] == name.split(".")[-1]]
    if same:
        return InputError(f"unknown setting {name!r}", cure=f"Did you mean {' or '.join(same)}?")
    return unknown("setting", name, names)


def setting_names(kind: type) -> list[str]:
    """All settings of a data class of settings, dotted: ``embedding.margin``."""
    hints, names = get_type_hints(kind), []
    for field in dataclasses.fields(kind):
        inner = hints[field.name]
        if dataclasses.is_dataclass(inner):
            names += [f"{field.name}.{name}" for name in setting_names(inner)]  # type: ignore[arg-type]
        else:
            names.append(field.name)
    return names


def _refuse_unknown(kind: type, values: Mapping[str, Any], where: str, place: str = "") -> None:
    if not isinstance(values, Mapping):
        raise InputError(
            f"{place.rstrip('.') or 'this'} is {values!r}, not settings with names",
            cure="Write one `name: value` per line",
            file=where or None,
        )
    hints = get_type_hints(kind)
    for name, value in values.items():
        if name not in hints:
            wrong = unknown("setting", f"{place}{name}", [f"{place}{known}" for known in hints])
            raise InputError(wrong.problem, cure=wrong.cure, file=where or None)
        if dataclasses.is_dataclass(hints[name]):
            _refuse_unknown(hints[name], value, where, f"{place}{name}.")


def _leaves(values: Mapping[str, Any], place: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{place}{name}.")
        elif isinstance(value, tuple | list):
            yield from _leaves({str(n): part for n, part in enumerate(value)}, f"{place}{name}.")
        else:
            yield f"{place}{name}", value
