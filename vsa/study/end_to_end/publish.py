"""From a run's trained parts to the folder that `vsa.engine.VisualSearch.open` opens."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import torch

from vsa.data.schema import BOX
from vsa.engine import PAGE
from vsa.index.build import build_index, kept_from_writers
from vsa.index.index import Index
from vsa.index.model import change_facts
from vsa.index.tuning import choose_params
from vsa.runtime.atomic import atomic_dir
from vsa.study.embedding.lab import Lab
from vsa.study.embedding.variants import JOINT

_CARD = "card.json"
_WANTED_RECALL = 0.99  # of a linear scan of the features, on validation photos


def publish(
    folder: Path, lab: Lab, features: np.ndarray, catalogue: pd.DataFrame, validation: np.ndarray
) -> None:
    """Write an engine, complete or not at all; an earlier one is replaced.

    Parameters
    ----------
    folder : where it goes.
    lab : whose joint network describes photos.
    features : floating (n, d), of unit length.
    catalogue : schema CATALOGUE, n rows; the index's item i is row i.
    validation : features of photos, float32 (m, d), that choose the index's settings.
    """
    settings = lab.settings
    with kept_from_writers(folder / "index"), atomic_dir(folder, marker=_CARD) as draft:
        index = draft / "index"
        build_index(index, features, categories=catalogue.category.to_numpy(str), seed=lab.seed)
        with Index.open(index) as opened:
            k = min(PAGE, len(features))
            params = choose_params(opened, validation, _WANTED_RECALL, k).params
        change_facts(index, params=asdict(params))
        table = pa.Table.from_pandas(catalogue.drop(columns=BOX), preserve_index=False)
        with pa.ipc.new_file(draft / "catalogue.arrow", table.schema) as stream:
            stream.write_table(table.combine_chunks(), max_chunksize=max(1, len(table)))
        torch.save(lab.net(JOINT).cpu().state_dict(), draft / "network.pth")
        card = {
            "architecture": settings.architecture,
            "feature_dim": settings.feature_dim,
            "image_px": settings.image_px,
        }
        (draft / _CARD).write_text(json.dumps(card, indent=1), encoding="utf-8")
