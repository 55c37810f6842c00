"""The same models and stages without any engineering: what the engine's speed is measured by."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa
import torch
from PIL import Image

from vsa.category.predictor import CategoryPredictor
from vsa.data.decoding import Source, decode
from vsa.data.schema import QUALITY
from vsa.embedding.extract import describe
from vsa.embedding.joint import JointNet
from vsa.engine import likely_categories
from vsa.ranking.serve import QualityRanker


@dataclass(frozen=True)
class NaivePipeline:
    """Networks as they were trained, the photo decoded whole, all features compared in float32."""

    category: CategoryPredictor
    network: JointNet
    image_px: int
    features: torch.Tensor  # float32 (n, d), in memory
    categories: torch.Tensor  # int64 (n,), codes of `names`
    names: list[str]
    catalogue: pa.Table
    ranker: QualityRanker | None

    def search(self, photo: Source, k: int = 60) -> pd.DataFrame:
        """Rows of the catalogue, best first; raises ImageError."""
        whole = decode(photo)
        predictor = self.category
        prediction = predictor.predict(_square(whole, predictor.store_px))
        picture = _square(whole, self.image_px)
        feature = describe(self.network, picture[None], predictor.device, boxes="own").features[0]
        similarity = self.features @ torch.from_numpy(feature)
        if wanted := likely_categories(prediction, self.names):
            left_out = torch.tensor([name not in wanted for name in self.names])
            similarity.masked_fill_(left_out[self.categories], -torch.inf)
        best, ids = torch.topk(similarity, min(k, len(similarity)))
        ids = ids[torch.isfinite(best)]
        page = self.catalogue.take(ids.numpy()).to_pandas()
        if self.ranker is None or page.empty:
            return page
        ranked = self.ranker.order(best[: len(ids)].numpy(), page[QUALITY], None)
        return page.iloc[ranked.order].reset_index(drop=True)


def _square(image: Image.Image, size_px: int) -> np.ndarray:
    return np.array(image.resize((size_px, size_px), Image.Resampling.BICUBIC))
