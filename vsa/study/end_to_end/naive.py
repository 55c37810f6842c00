"""The same models and stages without any engineering: what the engine's speed is measured by."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd
import pyarrow as pa
import torch

from vsa.data.decoding import Source, decode
from vsa.data.images import square
from vsa.data.schema import QUALITY
from vsa.engine import likely_categories
from vsa.trained import TrainedModels


@dataclass(frozen=True)
class NaivePipeline:
    """Networks as they were trained, the photo decoded whole, all features compared in float32."""

    models: TrainedModels
    features: torch.Tensor  # float32 (n, d), in memory
    categories: torch.Tensor  # int64 (n,), codes of `names`
    names: list[str]
    catalogue: pa.Table

    def search(self, photo: Source, k: int = 60) -> pd.DataFrame:
        """Rows of the catalogue, best first; raises ImageError."""
        whole = decode(photo)
        models, predictor = self.models, self.models.category
        prediction = predictor.predict(square(whole, predictor.store_px))
        box = None
        if models.serving.locates:
            box = models.serving.boxes(
                models.network,
                models.image_px,
                lambda size_px: square(whole, size_px)[None],
                predictor.device,
            )[0]
        feature = models.serving.describe(whole, box, predictor.device)
        similarity = self.features @ torch.from_numpy(feature)
        if wanted := likely_categories(prediction, self.names):
            left_out = torch.tensor([name not in wanted for name in self.names])
            similarity.masked_fill_(left_out[self.categories], -torch.inf)
        best, ids = torch.topk(similarity, min(k, len(similarity)))
        ids = ids[torch.isfinite(best)]
        page = self.catalogue.take(ids.numpy()).to_pandas()
        if models.ranker is None or page.empty:
            return page
        ranked = models.ranker.order(best[: len(ids)].numpy(), page[QUALITY], None)
        return page.iloc[ranked.order].reset_index(drop=True)
