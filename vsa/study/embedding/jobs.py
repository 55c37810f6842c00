"""What one trained variant answered, kept on disk: a folder per job, complete or absent."""

from __future__ import annotations

import glob
import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from vsa.runtime.atomic import atomic_file
from vsa.study.embedding.retrieval import Ranking

JUDGED = ("val", "test")
MAX_POINTS = 200  # of the curve of one stage
# In the card of a job: that its weights came by `transfer`, halved, or were trained from such; and
# what it is known by on any machine.
HALF, IDENTITY = "half_precision_weights", "identity"
HALVED = "halved"  # an empty file beside the checkpoints of a job that HALF will be said of
_MAX_READABLE = 60  # characters of a name of awkward letters, of up to four bytes each
_LIKE_HASHED = re.compile(r"(^|-)[0-9a-f]{8}$|.{100}")
_TAIL = 20  # last steps, whose mean says how training ended


@dataclass(frozen=True)
class Found:
    """What one trained network found for the val or for the test queries."""

    ranking: Ranking
    boxes: np.ndarray  # float32 (n, 4), shares of the sides


@dataclass(frozen=True)
class Judged:
    """What is judged of the answers to one split, one row per query of ``task.rows(split)``."""

    hits: np.ndarray  # bool (n, 60): whether that result shows the query's product
    hits_within: np.ndarray  # bool (n, 60): the same, searched within the category
    boxes: np.ndarray  # float32 (n, 4), shares of the sides
    ranks: np.ndarray  # int (n, k ≤ 60): catalogue rows, best first


@dataclass(frozen=True)
class Job:
    """A finished job, of the working files or as published."""

    variant: str
    seed: int
    judged: dict[str, Judged]  # split → what was found
    curve: pd.DataFrame  # of the log, as of `thin`
    training: dict[str, Any]  # as of `summarise`; empty where nothing was trained by triplets
    card: dict
    folder: Path | None  # of the working files; None where only what was published is here

    @property
    def trouble(self) -> list[str]:
        """What training complained of, stage by stage."""
        return self.card["trouble"]


def slug(name: str) -> str:
    """A variant's name as files have it; two names never share one.

    Words of small letters and digits stay readable alone; a hash follows all that the dashes, the
    small letters or the length would hide.
    """
    text = "".join(c if c.isalnum() else "-" for c in name.lower()).strip("-")
    if text.isascii() and text.replace("-", " ") == name and not _LIKE_HASHED.search(text):
        return text
    return f"{text[:_MAX_READABLE]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}".lstrip("-")


def make_card(trouble: Sequence[str] = (), seconds: float = 0.0, steps: int = 0) -> dict:
    return {"trouble": list(trouble), "seconds": seconds, "steps": steps}


def read_card(folder: Path) -> dict[str, Any]:
    """What a finished job of the working files says of itself."""
    return dict(json.loads((folder / "card.json").read_text(encoding="utf-8")))


def change_card(folder: Path, facts: dict[str, Any]) -> None:
    """Add facts to what a finished job says of itself."""
    with atomic_file(folder / "card.json") as draft:
        draft.write_text(json.dumps(read_card(folder) | facts, indent=1), encoding="utf-8")


def read_weights(folder: Path) -> dict[str, Tensor]:
    """The trained network of a job, whatever device it was trained on."""
    state: dict[str, Tensor] = torch.load(folder / "net.pth", weights_only=True, map_location="cpu")
    return state


def find_folder(jobs: Path, name: str, seed: int, identity: str) -> Path | None:
    """The working files of a job by what it is on any machine; the latest of several, or None.

    Folders are named by a fingerprint that holds this machine's device and libraries, too.
    """
    found = [
        card.parent
        for card in jobs.glob(f"{glob.escape(slug(name))}-seed-{seed}-*/card.json")
        if read_card(card.parent).get(IDENTITY) == identity
    ]
    return max(found, key=lambda folder: folder.stat().st_mtime, default=None)


def save_job(folder: Path, answers: dict[str, Found], log: pd.DataFrame, card: dict) -> None:
    arrays = {}
    for split, answer in answers.items():
        arrays[f"everywhere_{split}"] = answer.ranking.everywhere.astype(np.int32)
        arrays[f"within_{split}"] = answer.ranking.within.astype(np.int32)
        arrays[f"boxes_{split}"] = answer.boxes
    np.savez_compressed(folder / "answers.npz", allow_pickle=False, **arrays)
    log.to_parquet(folder / "log.parquet")
    (folder / "card.json").write_text(json.dumps(card, indent=1), encoding="utf-8")


def read_found(folder: Path) -> dict[str, Found]:
    """All that was answered: split → rankings (n, 60) and boxes; regimes know no val."""
    with np.load(folder / "answers.npz") as arrays:
        return {
            split: Found(
                Ranking(arrays[f"everywhere_{split}"], arrays[f"within_{split}"]),
                arrays[f"boxes_{split}"],
            )
            for split in JUDGED
            if f"everywhere_{split}" in arrays
        }


def read_job(
    folder: Path, name: str, seed: int, wanted: dict[str, np.ndarray], offered: np.ndarray
) -> Job:
    """A finished job of the working files.

    Parameters
    ----------
    wanted : split → product codes of its queries, (n,).
    offered : product codes of the catalogue, (m,).
    """
    judged = {}
    for split, answer in read_found(folder).items():
        hits, within = (
            (rows >= 0) & (offered[rows] == wanted[split][:, None])
            for rows in (answer.ranking.everywhere, answer.ranking.within)
        )
        judged[split] = Judged(hits, within, answer.boxes, answer.ranking.everywhere)
    card = read_card(folder)
    log = pd.read_parquet(folder / "log.parquet")
    return Job(name, seed, judged, thin(log), summarise(log), card, folder)


def summarise(log: pd.DataFrame) -> dict[str, Any]:
    """Numbers of a training log that are reported; {} for one without triplets.

    Keys: ``steps``, ``seconds``, ``wait_seconds`` (for data), ``step_ms`` (median), and ``loss``
    and ``active_share`` (means over the last 20 steps).
    """
    if "active_share" not in log:
        return {}
    end = log.tail(_TAIL)
    return {
        "steps": len(log),
        "seconds": float(log.step_ms.sum() / 1e3),
        "wait_seconds": float(log.wait_ms.sum() / 1e3),
        "step_ms": float(log.step_ms.median()),
        "loss": float(end.loss.mean()),
        "active_share": float(end.active_share.mean()),
    }


def thin(log: pd.DataFrame, n_points: int = MAX_POINTS) -> pd.DataFrame:
    """A log as a curve: at most `n_points` rows per stage, each the mean of some steps.

    The column ``at`` counts steps through all stages.
    """
    if log.empty:
        return log
    log = log.assign(at=np.arange(len(log), dtype=float))
    parts = []
    for stage, part in log.groupby("stage", sort=False):
        group = np.arange(len(part)) * min(n_points, len(part)) // len(part)
        parts.append(part.drop(columns="stage").groupby(group).mean().assign(stage=stage))
    return pd.concat(parts, ignore_index=True)
