"""Whole descriptors against plain loops, and components against scikit-learn's."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.decomposition import PCA
from small_lineage import make_lineage_lab

from vsa.study.lineage.aggregation import components, first_of, r_mac_of
from vsa.study.lineage.pictures import LAST
from vsa.study.lineage.pooling import r_mac_regions


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    return make_lineage_lab(tmp_path_factory.mktemp("shop"))


@pytest.mark.parametrize("whiten", [False, True])
def test_one_pca_serves_all_dimensions(whiten):
    rng = np.random.default_rng(0)
    features = (rng.normal(size=(60, 12)) * np.arange(1, 13)).astype(np.float32)
    found = components(features)
    for dim in (3, 12):
        wanted = PCA(dim, whiten=whiten, svd_solver="covariance_eigh").fit_transform(features)
        mapped = first_of(found, dim, whiten=whiten)(features)
        np.testing.assert_allclose(mapped, wanted, atol=2e-4)


def test_components_without_spread_are_no_reason_for_nan():
    features = np.zeros((5, 3), np.float32)
    features[:, 0] = np.arange(5)
    assert np.isfinite(first_of(components(features), 3, whiten=True)(features)).all()


def test_r_mac_is_the_sum_of_whitened_maxima_of_loops(lab):
    describe = r_mac_of(lab, 0, 2, 4)
    found = describe(lab.photos["val"])
    white = lab._made["components of regions", 0, 2]
    for row, cells in enumerate(lab.photos["val"].maps[LAST].astype(np.float32)):
        total = np.zeros(4)
        for top, bottom, left, right in r_mac_regions(len(cells), 2):
            peak = np.array(
                [
                    max(cells[i, j, c] for i in range(top, bottom) for j in range(left, right))
                    for c in range(cells.shape[2])
                ]
            )
            peak /= np.sqrt((peak**2).sum())
            spread = np.maximum(np.sqrt(white.explained_variance_[:4]), 1.2e-7)
            region = (white.components_[:4] @ (peak - white.mean_)) / spread
            total += region / np.sqrt((region**2).sum())
        np.testing.assert_allclose(found[row], total / np.sqrt((total**2).sum()), atol=1e-3)
