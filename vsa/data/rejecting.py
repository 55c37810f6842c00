"""Images that cannot be read leave a data set before anything else sees it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from vsa.data.decoding import ImageError, decode
from vsa.data.files import absolute, fingerprint_files, in_threads
from vsa.data.schema import Dataset
from vsa.runtime.atomic import atomic_file
from vsa.runtime.errors import InputError
from vsa.runtime.paths import artifacts_dir

_SIZE_PX = 32  # every byte of a file is read at this size too, and JPEG decodes quicker


def reject_unreadable(dataset: Dataset) -> Dataset:
    """Decode every image; move the rows that cannot be read to ``rejected``.

    Page views of a rejected image or query go too. The outcome is kept under the artifacts
    folder until a file, by path, size and time of change, is another. Raises InputError if
    nothing readable remains of a table that had rows.
    """
    paths = pd.concat([dataset.catalogue.path, dataset.queries.path])
    reasons = _unreadable(dataset.root, sorted(paths.unique()))
    if not reasons:
        return dataset
    catalogue, no_images = _split(dataset, "catalogue", "image_id", reasons)
    queries, no_queries = _split(dataset, "queries", "query_id", reasons)
    rejected = [part for part in (dataset.rejected, no_images, no_queries) if len(part)]
    pvlog = dataset.pvlog
    if pvlog is not None:
        gone = pvlog.query_id.isin(no_queries.id) | pvlog.image_id.isin(no_images.id)
        pvlog = pvlog[~gone].reset_index(drop=True)
    return dataclasses.replace(
        dataset,
        catalogue=catalogue,
        queries=queries,
        pvlog=pvlog,
        rejected=pd.concat(rejected, ignore_index=True),
    )


def _split(
    dataset: Dataset, name: str, id_column: str, reasons: dict[str, str]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The rows of a table that can be read, and the others in the form of ``rejected``."""
    table: pd.DataFrame = getattr(dataset, name)
    is_bad = table.path.isin(list(reasons))
    bad = table[is_bad]
    if len(bad) and len(bad) == len(table):
        path = bad.path.iloc[0]
        raise InputError(
            f"no image of the {name} table can be used; {path}: {reasons[path]}",
            cure="Check that the paths are relative to this folder",
            file=dataset.root,
        )
    columns = {"table": name, "id": bad[id_column], "path": bad.path}
    rejected = pd.DataFrame({**columns, "reason": bad.path.map(reasons)})
    return table[~is_bad].reset_index(drop=True), rejected


def _unreadable(root: Path, paths: Sequence[str]) -> dict[str, str]:
    """The reason for each path that cannot be decoded, kept between calls."""
    files = absolute(root, paths)
    target = artifacts_dir() / "decoded" / f"unreadable-{fingerprint_files(files)}.parquet"
    if not target.exists():
        reasons = list(in_threads(_reason, files, "check images"))
        table = pd.DataFrame({"path": paths, "reason": reasons}, dtype=str)
        with atomic_file(target) as draft:
            table[table.reason != ""].to_parquet(draft, index=False)
    return pd.read_parquet(target).set_index("path").reason.to_dict()


def _reason(file: str) -> str:
    try:
        decode(file, min_px=_SIZE_PX)
    except ImageError as error:
        return error.reason
    return ""
