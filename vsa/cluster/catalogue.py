"""The catalogue of an engine whose index is searched on a cluster."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from vsa.cluster.client import Client
from vsa.cluster.routing import latest
from vsa.index.hits import Hits
from vsa.index.lists import Names
from vsa.index.request import SearchParams
from vsa.rows import Part
from vsa.runtime.errors import InputError
from vsa.store import State, Store


class ClusterStore(Store):
    """As `Store`; each change goes to the engine's folder first, then to the shards.

    The folder says what there is. What it has taken, and the shards have not, because a machine
    stopped in between, they get by `Client.sync`.
    """

    def __init__(self, folder: str | Path, cluster: Client) -> None:
        """Open it; raises InputError as `Store` does."""
        super().__init__(folder)
        self._cluster = cluster
        self._written = (0,) * cluster.n_shards

    def change(
        self,
        part: Part,
        features: np.ndarray | None = None,
        categories: list[str] | None = None,
    ) -> State:
        """As of `Store`; raises InputError, too, where shards lack what the folder has taken."""
        state = super().change(part, features, categories)
        try:
            sequence = self._cluster.remove(part.removed)
            if features is not None:
                more = self._cluster.put(features, part.items, categories)
                sequence = latest(sequence, more)
        except InputError as error:
            raise InputError(
                f"the engine has the change, and its cluster has not: {error.problem}",
                cure="Say `vsa cluster sync` when the cluster is whole",
                file=self.folder,
            ) from error
        self._written = latest(self._written, sequence)
        return state

    def search_one(
        self,
        feature: np.ndarray,
        k: int = 60,
        params: SearchParams | None = None,
        categories: Names | None = None,
        *,
        refined: bool = True,
    ) -> Hits:
        """As `Index.search_one`, by the cluster, with every change that was made through this."""
        return self._cluster.search_one(
            feature, k, params, categories, refined=refined, min_sequence=self._written
        )
