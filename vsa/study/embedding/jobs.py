"""What one trained variant answered, kept on disk: a folder per job, complete or absent."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from vsa.study.embedding.retrieval import Ranking

JUDGED = ("val", "test")


@dataclass(frozen=True)
class Answer:
    """What one trained network found for the val or for the test queries."""

    ranking: Ranking
    boxes: np.ndarray  # float32 (n, 4), shares of the sides


@dataclass(frozen=True)
class Job:
    """A finished job."""

    variant: str
    seed: int
    answers: dict[str, Answer]  # split → answer
    log: pd.DataFrame  # of all stages, column stage
    card: dict
    folder: Path

    @property
    def trouble(self) -> list[str]:
        """What training complained of, stage by stage."""
        return self.card["trouble"]


def make_card(trouble: Sequence[str] = (), seconds: float = 0.0, steps: int = 0) -> dict:
    return {"trouble": list(trouble), "seconds": seconds, "steps": steps}


def save_job(folder: Path, answers: dict[str, Answer], log: pd.DataFrame, card: dict) -> None:
    arrays = {}
    for split, answer in answers.items():
        arrays[f"everywhere_{split}"] = answer.ranking.everywhere.astype(np.int32)
        arrays[f"within_{split}"] = answer.ranking.within.astype(np.int32)
        arrays[f"boxes_{split}"] = answer.boxes
    np.savez_compressed(folder / "answers.npz", allow_pickle=False, **arrays)
    log.to_parquet(folder / "log.parquet")
    (folder / "card.json").write_text(json.dumps(card, indent=1), encoding="utf-8")


def read_job(folder: Path, name: str, seed: int) -> Job:
    with np.load(folder / "answers.npz") as arrays:
        answers = {
            split: Answer(
                Ranking(arrays[f"everywhere_{split}"], arrays[f"within_{split}"]),
                arrays[f"boxes_{split}"],
            )
            for split in JUDGED
        }
    card = json.loads((folder / "card.json").read_text(encoding="utf-8"))
    return Job(name, seed, answers, pd.read_parquet(folder / "log.parquet"), card, folder)
