"""All settings of a run: a profile, a YAML file of values, and what was changed for this run.

``smoke`` is for tests, ``laptop`` for two CPU cores, ``full`` for one GPU. Sizes of the shop were
set before any two methods were compared (see notebook 01, "Datasheet"), those of click logs before
any two of notebook 03 were.
"""

from __future__ import annotations

import dataclasses
import functools
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from vsa.category.settings import ClassifierSettings, SelectionSettings
from vsa.embedding.settings import EmbeddingSettings
from vsa.index.settings import CodeSettings
from vsa.ranking.settings import RankerSettings
from vsa.runtime.errors import InputError
from vsa.runtime.registry import unknown
from vsa.runtime.settings import (
    Count,
    Positive,
    Share,
    Some,
    make_settings,
    setting_names,
    unknown_setting,
)
from vsa.study.simulate.settings import ClickSettings

_FOLDER = Path(__file__).with_name("profiles")
PROFILES = tuple(sorted(path.stem for path in _FOLDER.glob("*.yaml")))


@dataclass(frozen=True, kw_only=True)
class CategorySettings(ClassifierSettings):
    """The classifier, and the set-up of its comparisons."""

    n_seeds: Count
    reference_fractions: Some[Share]  # growth of the reference set of the search branch


@dataclass(frozen=True, kw_only=True)
class EmbeddingStudySettings(EmbeddingSettings):
    """Click-mined training, and the set-up of its comparisons."""

    n_detector_steps: Count
    n_study_seeds: Count

    @property
    def n_matched_steps(self) -> int:
        """Steps that give an unmasked control as many image passes as box and joint stages have.

        Per m triplets, an unmasked step needs 3m, a box step 3.5m and a joint step 3.5m. Seconds
        differ, as the training table of notebook 03 shows.
        """
        return round(3.5 * (sum(self.n_box_steps) + self.n_joint_steps) / 3)


@dataclass(frozen=True, kw_only=True)
class IndexSettings(CodeSettings):
    """Codes of the index, and sizes of the experiments with it (see ``vsa.index``)."""

    sizes: Some[Count]  # of catalogues grown from the features at hand
    n_peers: Count  # the size at which slow peers are compared too
    n_queries: Count  # at most, of each split
    traffic_s: Positive  # how long a load lasts


@dataclass(frozen=True, kw_only=True)
class RankingSettings(RankerSettings):
    """Trees, and the simulated sessions that they learn from."""

    n_sessions: Count  # per photo
    n_seeds: Count  # click logs, and rankers fitted to them


@dataclass(frozen=True, kw_only=True)
class EndToEndSettings:
    """Sizes of the experiments with the whole path (see ``vsa.study.end_to_end``)."""

    n_items: Count  # of the grown catalogue that time is measured with
    n_timed: Count  # photos, at most
    traffic_s: Positive  # how long a number of clients asks
    n_clients: Some[Count]


@dataclass(frozen=True, kw_only=True)
class LineageSettings:
    """One budget for all methods of notebook 07 (see ``vsa.study.lineage``)."""

    image_px: Count  # of the squares that the frozen network sees
    detail_px: Count  # of those that boxes are cut from
    dim: Count  # of features that a linear map is learned for
    n_steps: Count  # of each such map
    n_pairs: Count  # of photo and picture, in a step
    learning_rate: Positive
    scratch_px: Count  # of the squares that whole networks and detectors learn from
    n_scratch_steps: Count
    n_detector_steps: Count
    detector_learning_rate: Positive
    pretrained_px: Count  # of the squares that other pretrained networks see
    hash_bits: Count  # of the codes that are learned for categories
    n_seeds: Count  # where something is trained
    n_located: Count  # photos that are located by covering places, one after the other
    n_timed: Count  # photos, at most


@dataclass(frozen=True, kw_only=True)
class ScaleSettings:
    """Sizes of the experiments on several nodes (see ``vsa.study.scale``)."""

    n_items: Count  # of the catalogue that is searched on them
    n_shards: Count
    n_replicas: Count
    n_rounds: Count  # of changes, with as many queries after each
    n_queries: Count  # in all rounds
    n_losses: Count  # nodes that are killed, one after the other
    load_s: Positive  # how long clients ask before a node is killed, and around a new base
    n_timed: Count  # queries behind each median
    sizes: Some[Count]  # of the indexes whose searches are timed for the model


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a run does, and how much of it. Stages take their part."""

    data: dict[str, Any]  # of the data set
    selection: SelectionSettings
    clicks: ClickSettings
    category: CategorySettings
    embedding: EmbeddingStudySettings
    index: IndexSettings
    ranking: RankingSettings
    end_to_end: EndToEndSettings
    lineage: LineageSettings
    scale: ScaleSettings
    n_bootstrap: Count  # resamples behind every confidence interval


class Change(NamedTuple):
    """A setting of a run that is not the profile's."""

    value: Any
    profile: Any  # what the profile has


def read_settings(
    profile: str,
    dataset: str,
    data_settings: type,
    *,
    is_rendered: bool,
    changes: Mapping[str, Any],
) -> tuple[Settings, dict[str, Change]]:
    """The settings of a run, and those of the changes that change anything, by name.

    Parameters
    ----------
    profile : its name.
    dataset : whose part of ``data`` is taken.
    data_settings : data class of the settings that the data set has.
    is_rendered : whether networks start from random weights; for photographs, the part
        ``photographs`` of a profile replaces what stands above it.
    changes : dotted name → value.

    Raises
    ------
    InputError for an unknown profile, setting or backbone, naming the nearest, a value that does
    not fit, and two networks that do not fit each other.
    """
    values = _read(profile)
    photographs = values.pop("photographs", {})
    if not is_rendered:
        values = _merged(values, photographs)
    values["data"] = values.get("data", {}).get(dataset, {})
    before = _made(values, data_settings, f"{profile}.yaml")
    names = _names(data_settings)
    for name, value in changes.items():
        if name not in names:
            raise unknown_setting(name, names)
        *parents, leaf = name.split(".")
        part = values
        for parent in parents:
            part[parent] = dict(part[parent])
            part = part[parent]
        part[leaf] = value
    settings = _made(values, data_settings, "")
    _check_networks(settings)
    found = {name: Change(_at(settings, name), _at(before, name)) for name in sorted(changes)}
    return settings, {
        name: change for name, change in found.items() if change.value != change.profile
    }


def _check_networks(settings: Settings) -> None:
    """Raise InputError unless one backbone is below both networks."""
    first, second = settings.category, settings.embedding
    for name in ("architecture", "pretrained"):
        values = getattr(first, name), getattr(second, name)
        if values[0] != values[1]:
            raise InputError(
                f"category.{name} is {values[0]} and embedding.{name} {values[1]}, but the second "
                "network starts from the first",
                cure="Give both the same",
            )


def parse_changes(text: str) -> dict[str, Any]:
    """``embedding.margin=0.3 end_to_end.n_clients=[1,2]`` → dotted name → value, YAML's grammar.

    Raises InputError for what is no ``name=value``, and a name that is given twice.
    """
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise InputError(f"SET={text!r}: {error}", cure="Close the quotes") from None
    changes: dict[str, Any] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or not name or not value:
            raise InputError(
                f"SET has {word!r}", cure="Write name=value without blanks: embedding.margin=0.3"
            )
        if name in changes:
            raise InputError(f"SET gives {name} twice", cure="Give it once")
        if re.fullmatch(r"[-+]?0\d+", value):  # octal to YAML
            raise InputError(f"SET has {word!r}", cure="Write numbers without leading zeros")
        try:
            changes[name] = yaml.safe_load(value)
        except yaml.YAMLError:
            raise InputError(f"SET has {word!r}, no value", cure="Quote it") from None
    return changes


def write_changes(changes: Mapping[str, Change]) -> str:
    """The text that `parse_changes` reads."""
    return shlex.join(f"{name}={_plain(change.value)}" for name, change in changes.items())


def _plain(value: Any) -> str:
    text = yaml.safe_dump(_listed(value), default_flow_style=True, width=float("inf"))
    return text.removesuffix("\n").removesuffix("\n...").replace(", ", ",")


def _listed(value: Any) -> Any:
    return [_listed(part) for part in value] if isinstance(value, tuple | list) else value


def _read(profile: str) -> dict[str, Any]:
    if profile not in PROFILES:
        raise unknown("profile", profile, PROFILES)
    values = dict(_parsed((_FOLDER / f"{profile}.yaml").read_text(encoding="utf-8")))
    base = values.pop("base", None)
    return _merged(_read(base), values) if base else values


@functools.cache
def _parsed(text: str) -> dict[str, Any]:
    """Nobody changes it: it is kept."""
    values: dict[str, Any] = yaml.safe_load(text)
    return values


def _merged(values: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(values)
    for name, value in over.items():
        both = isinstance(value, Mapping) and isinstance(merged.get(name), Mapping)
        merged[name] = _merged(merged[name], value) if both else value
    return merged


def _made(values: Mapping[str, Any], data_settings: type, where: str) -> Settings:
    settings = make_settings(Settings, values, where)
    data = dataclasses.asdict(make_settings(data_settings, settings.data, where))
    return dataclasses.replace(settings, data=data)


def _names(data_settings: type) -> list[str]:
    names = [name for name in setting_names(Settings) if name != "data"]
    return [*names, *(f"data.{name}" for name in setting_names(data_settings))]


def _at(settings: Settings, name: str) -> Any:
    value: Any = settings
    for part in name.split("."):
        value = value[part] if isinstance(value, Mapping) else getattr(value, part)
    return value
