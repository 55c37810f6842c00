"""What a method of notebook 07 is fitted to: a shop's pictures, its labels, and ways to rank."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import faiss
import numpy as np
from torch import Tensor, nn

from vsa.embedding.local import first_centre
from vsa.runtime.atomic import settled
from vsa.runtime.checked import file_checksum
from vsa.runtime.errors import InputError, NotApplicable
from vsa.runtime.fingerprint import checksum, key
from vsa.study.category.prepare import predictor_folder
from vsa.study.embedding.prepare import network_folder, open_network
from vsa.study.lineage.methods import N_RANKED, Search
from vsa.study.lineage.pictures import LAST, Ground, Pictures, remembered, unit
from vsa.study.lineage.task import JUDGED, LineageTask

if TYPE_CHECKING:
    from vsa.study.catalogue.prepare import Shop
    from vsa.study.run import Run
    from vsa.study.settings import LineageSettings

T = TypeVar("T")


@dataclass
class LineageLab:
    """Photos and catalogue, and the frozen network that looks at them."""

    task: LineageTask
    ground: Ground
    photos: dict[str, Pictures]  # train, val and test, in the order of ``task.rows``
    catalogue: Pictures
    settings: LineageSettings
    seed: int
    folder: Path  # of working files
    is_pretrained: bool = False  # the frozen network, on ImageNet; or on the shop's categories
    published: tuple[Run, Shop] | None = None  # for what earlier notebooks have published
    _made: dict[Hashable, Any] = field(default_factory=dict)

    def once(self, name: Hashable, make: Callable[[], T]) -> T:
        """What `make` gives, made once: settings and seeds of a method share it."""
        if name not in self._made:
            self._made[name] = make()
        found: T = self._made[name]
        return found

    def shared(self, name: Hashable, of: Callable[[Pictures], T]) -> Callable[[Pictures], T]:
        """`of`, computed once for each set of pictures, whichever setting or method asks."""
        return self.once(name, lambda: remembered(of))

    @property
    def published_by(self) -> tuple[Run, Shop]:
        """The run that earlier notebooks have published for; InputError without one."""
        if self.published is None:
            raise InputError(
                "there is no run to read from", cure="Open one: open_lineage(run, shop)"
            )
        return self.published

    @property
    def has_clicks(self) -> bool:
        """Whether notebook 03 has published what it learned from clicks."""
        if self.published is None:
            return False
        run, shop = self.published
        try:
            open_network(run, shop)
        except NotApplicable:
            return False
        return True

    @cached_property
    def published_digest(self) -> str:
        """Fingerprint of the networks that notebooks 02 and 03 have published, if they have."""
        if self.published is None:
            return ""
        run, _ = self.published
        folders = (settled(network_folder(run)), settled(predictor_folder(run)))
        files = [path for folder in folders for path in sorted(folder.rglob("*.pth"))]
        return key({}, files=[[path.name, file_checksum(path)] for path in files])

    @cached_property
    def digest(self) -> str:
        """Fingerprint of the photos, the pictures, and what is known of them."""
        task = self.task
        seen = [self.photos[split].squares for split in ("train", *JUDGED)]
        known = [*task.products, *task.categories, task.boxes]
        parts = [checksum(array) for array in (*seen, self.catalogue.squares, *known)]
        return key({}, parts=parts)

    @cached_property
    def centre(self) -> float:
        """Where the first cell of the last map looks, as of `vsa.embedding.boxes.Objectness`."""
        net = _LastMap(self.ground)
        return first_centre(net, self.ground.device, self.ground.strides[LAST])

    @property
    def seen(self) -> tuple[Pictures, Pictures]:
        """What may be learned from without labels: training photos and the catalogue."""
        return self.photos["train"], self.catalogue

    def categories(self, split: str) -> np.ndarray:
        """Category codes of a split's photos, or of the "catalogue"; −1: unknown."""
        of_photos, of_pictures = self.task.categories
        return of_pictures if split == "catalogue" else of_photos[self.task.rows(split)]

    def by_features(
        self,
        describe: Callable[[Pictures], np.ndarray],
        *,
        offered: np.ndarray | None = None,
        weights_mb: float | None = None,
    ) -> Search:
        """A search by inner products of what `describe` gives of pictures, float (n, d).

        Features are brought to unit length; two bytes are kept of each number, as an index does.
        `offered` are those of the catalogue, where they are made in another way.
        """
        offered = unit(describe(self.catalogue) if offered is None else offered)
        index = faiss.IndexFlatIP(offered.shape[1])
        index.add(offered)

        def rank(photos: Pictures) -> np.ndarray:
            return index.search(unit(describe(photos)), min(N_RANKED, len(offered)))[1]

        return Search(rank, 2 * offered.shape[1], weights_mb=weights_mb)

    def by_boxes(self, locate: Callable[[Pictures], np.ndarray]) -> Search:
        """A search by the plain features of what boxes show; photos are located once."""
        where = remembered(locate)
        shown = self.by_features(
            lambda photos: photos.pooled_at(where(photos)), offered=self.catalogue.pooled
        )
        return Search(shown.rank, shown.n_bytes, where)


class _LastMap(nn.Module):
    """The last map alone, as `first_centre` asks for it."""

    def __init__(self, ground: Ground) -> None:
        super().__init__()
        self.ground = ground

    def forward(self, images: Tensor) -> Tensor:
        """Images (B, 3, S, S) in [0, 255] → (B, c, G, G)."""
        found: Tensor = self.ground(images)[LAST]
        return found


def best_first(scores: np.ndarray) -> np.ndarray:
    """Columns of the highest scores (n, m), best first, ties in their order: int64 (n, ≤ 60)."""
    return np.argsort(-scores, axis=1, kind="stable")[:, :N_RANKED]


def reordered(found: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Results (n, k) whose first scores.shape[1] are ordered anew by scores, highest first."""
    n_scored = scores.shape[1]
    order = np.argsort(-scores, axis=1, kind="stable")
    first = np.take_along_axis(found[:, :n_scored], order, axis=1)
    return np.concatenate([first, found[:, n_scored:]], axis=1)
