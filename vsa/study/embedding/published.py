"""Finished jobs as they are published: one small file each, beside the run's report.

Working files are lost with the machine; what judging needs of a job is committed. The file is a
compressed npz with

- ``about``: JSON, of what the job is and rests on (`about`), with its card and training summary;
- ``hits_<split>``, ``within_<split>``: uint8 (n, 8), a bit for each of the first 60 results:
  whether it shows the query's product, searched in the whole catalogue and within the category;
- ``boxes_<split>``: float32 (n, 4);
- ``ranks_<split>``: uint16 or int32 (n, k), rows of the catalogue, best first;
- ``log_<column>``: float32, the thinned log.

Queries and catalogue that the rows mean stand once beside them, without pictures.

A job is known by code, settings and data, `EmbeddingLab.identity`, and by neither the version of
torch nor the device that trained it: what a machine with a GPU has published is read on any other,
and whoever reads it says with what it was made. The same holds for what `transfer` carries.
"""

from __future__ import annotations

import dataclasses
import io
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch

from vsa.data.schema import BOX
from vsa.embedding.task import EmbeddingTask
from vsa.runtime.atomic import atomic_file
from vsa.runtime.device import Device
from vsa.runtime.errors import InputError
from vsa.runtime.fingerprint import key
from vsa.study.embedding.jobs import HALF, Job, Judged, slug
from vsa.study.embedding.retrieval import N_RESULTS
from vsa.study.embedding.variants import variants
from vsa.study.ledger import environment

if TYPE_CHECKING:
    from vsa.study.embedding.experiment import EmbeddingLab

FOLDER = "jobs"  # of a run's reports
QUERIES, CATALOGUE = "queries.parquet", "catalogue.parquet"
MAX_BYTES = 300_000
_FORMAT = 1
# What is kept, most first, until it fits: splits, and columns of ranks.
_SIZES = ((("val", "test"), 20), (("val", "test"), 10), (("test",), 10), (("test",), 0))
_QUERY_COLUMNS = ["query_id", "product_id", "category", "split", *BOX]
_CATALOGUE_COLUMNS = ["image_id", "product_id", "category"]


@dataclasses.dataclass(frozen=True)
class Published:
    """A published job, and what it says of itself."""

    about: dict[str, Any]
    job: Job

    @property
    def key(self) -> str:
        """Fingerprint of all that the job rests on."""
        return str(self.about["key"])


def path_of(folder: Path, name: str, seed: int) -> Path:
    """The file of a published job, there or not."""
    return folder / f"{slug(name)}-seed-{seed}.npz"


def about(lab: EmbeddingLab, name: str) -> dict[str, Any]:
    """What a job is and rests on: key, settings, checksums of the data, versions, machine."""
    settings = lab.settings
    if variant := variants().get(name):
        settings = variant.adapt(settings)
    return {
        "format": _FORMAT,
        "variant": name,
        "seed": lab.seed,
        "key": lab.identity(name),
        "settings": dataclasses.asdict(settings),
        "data": lab.data | {"tables": tables_digest(*tables_of(lab.task))},
        **environment_of(lab.device),
        "commit": environment.commit(),
    }


def environment_of(device: Device) -> dict[str, Any]:
    """What numbers may depend on by a little, and no key of a published job holds."""
    return {
        "versions": environment.versions(),
        "machine": environment.machine(),
        "device": device.name if device.device.type == "cuda" else _processor(device),
    }


def _processor(device: Device) -> str:
    """CPU and precision, however many threads there are."""
    precision = str(device.autocast_dtype or torch.float32).removeprefix("torch.")
    return f"{device.device.type.upper()}, {precision}"


def made_with(facts: Mapping[str, Any]) -> str:
    """Library and device of a published job, of what `environment_of` says."""
    versions = facts.get("versions", {})
    return f"torch {versions.get('torch', 'unknown')} on {facts.get('device', 'unknown')}"


def publish(lab: EmbeddingLab, name: str, job: Job) -> None:
    """Write a finished job for others to read, unless it is there already, see `is_wanted`.

    Raises InputError if the place cannot be written.
    """
    if lab.published is None or not is_wanted(lab, name, is_half=HALF in job.card):
        return
    facts = about(lab, name)
    try:
        write_tables(lab.published, lab.task)
        with atomic_file(path_of(lab.published, name, lab.seed)) as draft:
            draft.write_bytes(pack(job, facts))
    except OSError as error:
        raise InputError(
            f"{name}, seed {lab.seed}, is finished and could not be published ({error})",
            cure="Free some space, or make that folder writable, and start again",
            file=lab.published,
        ) from error


def pack(job: Job, facts: dict[str, Any]) -> bytes:
    """A job as a file of at most 300 kB, unless hits and boxes of the test alone are larger.

    Regimes judge test photos only, and of those it is enough what was right.
    """
    for splits, n_ranks in _SIZES if len(job.judged) > 1 else _SIZES[-1:]:
        content = _pack(job, facts, splits, n_ranks)
        if len(content) <= MAX_BYTES:
            break
    return content


def _pack(job: Job, facts: dict[str, Any], splits: tuple[str, ...], n_ranks: int) -> bytes:
    arrays: dict[str, np.ndarray] = {}
    for split in splits:
        judged = job.judged[split]
        arrays[f"hits_{split}"] = np.packbits(judged.hits, axis=1)
        arrays[f"within_{split}"] = np.packbits(judged.hits_within, axis=1)
        arrays[f"boxes_{split}"] = judged.boxes.astype(np.float32)
        ranks = judged.ranks[:, :n_ranks]
        arrays[f"ranks_{split}"] = ranks.astype(_smallest_type(ranks))
    curve = job.curve
    for column in curve.columns.difference(["stage"]):
        arrays[f"log_{column}"] = curve[column].to_numpy(np.float32)
    stages = curve.groupby("stage", sort=False).size() if len(curve) else pd.Series(dtype=int)
    told = facts | {
        "card": job.card,
        "training": job.training,
        "stages": [[str(stage), int(n)] for stage, n in stages.items()],
        "splits": list(splits),
    }
    text = json.dumps(told, ensure_ascii=False, sort_keys=True, indent=1)
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer, allow_pickle=False, about=np.frombuffer(text.encode(), np.uint8), **arrays
    )
    return buffer.getvalue()


def _smallest_type(rows: np.ndarray) -> type:
    low, high = (rows.min(), rows.max()) if rows.size else (0, 0)
    kinds = (np.int16, np.uint16, np.int32)
    return next(k for k in kinds if np.iinfo(k).min <= low and high <= np.iinfo(k).max)


def read_published(file: Path) -> Published:
    """A published job; raises InputError for a file that is damaged or none of ours."""
    try:
        with np.load(file) as arrays:
            told = _about_of(arrays)
            judged = {split: _judged(arrays, split) for split in told["splits"]}
            columns = {
                name.removeprefix("log_"): arrays[name].astype(np.float64)
                for name in arrays.files
                if name.startswith("log_")
            }
            curve = pd.DataFrame(columns)
            if columns:
                curve["stage"] = [stage for stage, n in told["stages"] for _ in range(n)]
            card, training = dict(told["card"]), dict(told["training"])
            card["trouble"] = [str(text) for text in card["trouble"]]
            variant, seed, _ = str(told["variant"]), int(told["seed"]), str(told["key"])
            return Published(told, Job(variant, seed, judged, curve, training, card, None))
    except _DAMAGE as error:
        raise _damaged(file, error) from error


def published_key(folder: Path, name: str, seed: int) -> str | None:
    """The key of a job as published; None if it is not, or cannot be read."""
    return _published_key(folder, name, seed)[0]


def is_wanted(lab: EmbeddingLab, name: str, *, is_half: bool) -> bool:
    """Whether a finished job is to be published: not there with its key, or of halved weights.

    One that halved weights made (`is_half`) never replaces another of the same key.
    """
    if lab.published is None:
        return False
    there, half_there = _published_key(lab.published, name, lab.seed)
    return there != lab.identity(name) or (half_there and not is_half)


def _published_key(folder: Path, name: str, seed: int) -> tuple[str | None, bool]:
    """A published job's key, None if there is none to be read; whether halved weights made it."""
    try:
        with np.load(path_of(folder, name, seed)) as arrays:
            told = _about_of(arrays)
            is_named = told["variant"] == name
            return str(told["key"]) if is_named else None, bool(told["card"].get(HALF))
    except (FileNotFoundError, NotADirectoryError, *_DAMAGE):
        return None, False


def find_published(lab: EmbeddingLab, name: str) -> Published | None:
    """A lab's job as it was published, whatever its key; None if it is not.

    Raises InputError if it is damaged.
    """
    if lab.published is None or not path_of(lab.published, name, lab.seed).is_file():
        return None
    found = read_published(path_of(lab.published, name, lab.seed))
    return found if found.job.variant == name else None


_DAMAGE = (OSError, ValueError, KeyError, TypeError, AttributeError, EOFError, zipfile.BadZipFile)


def _about_of(arrays: Any) -> dict[str, Any]:
    told = json.loads(arrays["about"].tobytes())
    if told["format"] != _FORMAT:
        raise ValueError(f"of format {told['format']}, not {_FORMAT}")
    return told


def _judged(arrays: Any, split: str) -> Judged:
    hits, within = (
        np.unpackbits(arrays[f"{kind}_{split}"], axis=1, count=N_RESULTS).astype(bool)
        for kind in ("hits", "within")
    )
    boxes, ranks = arrays[f"boxes_{split}"], arrays[f"ranks_{split}"].astype(np.int64)
    if not len(hits) == len(within) == len(boxes) == len(ranks) or boxes.shape[1:] != (4,):
        raise ValueError("arrays of different lengths")
    return Judged(hits, within, boxes, ranks)


def _damaged(file: Path, error: Exception) -> InputError:
    if isinstance(error, FileNotFoundError):
        return InputError("there is no such job", cure="Make it with `vsa study`", file=file)
    return InputError(
        f"this published job is damaged ({type(error).__name__}: {error})",
        cure="Restore it (git checkout), or remove it and make it again with `vsa study`",
        file=file,
    )


# Tables ------------------------------------------------------------------------------------------


def tables_of(task: EmbeddingTask) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Judged queries, val before test, and the catalogue: what rows of published jobs mean."""
    rows = np.concatenate([task.rows("val"), task.rows("test")])
    queries = task.queries.iloc[rows][_QUERY_COLUMNS].reset_index(drop=True)
    return queries, task.catalogue[_CATALOGUE_COLUMNS].reset_index(drop=True)


def tables_digest(queries: pd.DataFrame, catalogue: pd.DataFrame) -> str:
    """Fingerprint of the ids, products, categories, splits and boxes of both tables.

    Of judged queries it says what rows of published jobs mean; of all queries, what jobs learn
    from. Boxes count to five digits, which no other machine computes otherwise.
    """
    texts = queries[_QUERY_COLUMNS].astype(str)
    for side in BOX:
        texts[side] = queries[side].astype(float).map("{:.5f}".format)
    tables = [texts, catalogue[_CATALOGUE_COLUMNS].astype(str)]
    hashes = [pd.util.hash_pandas_object(table, index=False).to_numpy() for table in tables]
    return key({}, tables=[rows.tobytes().hex() for rows in hashes])


def read_tables(folder: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The published queries and catalogue; raises InputError if they are not there or damaged."""
    try:
        queries = pd.read_parquet(folder / QUERIES)[_QUERY_COLUMNS]
        return queries, pd.read_parquet(folder / CATALOGUE)[_CATALOGUE_COLUMNS]
    except FileNotFoundError:
        raise InputError(
            "no jobs are published here", cure="Make them with `vsa study`", file=folder
        ) from None
    except (OSError, ValueError, KeyError) as error:
        raise InputError(
            f"the published tables are damaged ({type(error).__name__})",
            cure="Restore them (git checkout), or remove the folder and run `vsa study` again",
            file=folder,
        ) from error


def write_tables(folder: Path, task: EmbeddingTask) -> None:
    """Write queries and catalogue of a task, unless they are there already."""
    tables = tables_of(task)
    try:
        if tables_digest(*read_tables(folder)) == tables_digest(*tables):
            return
    except InputError:
        pass  # not there yet, or to be replaced
    for name, table in zip((QUERIES, CATALOGUE), tables, strict=True):
        with atomic_file(folder / name) as draft:
            table.to_parquet(draft, compression="zstd")
