from __future__ import annotations

import numpy as np
import pytest
from arithmetic import NEAR

from vsa.runtime.errors import InputError
from vsa.study.embedding.baselines import HISTOGRAM
from vsa.study.embedding.features import features_of
from vsa.study.embedding.jobs import read_found
from vsa.study.embedding.variants import CONSTANT_BOX, JOINT, PER_QUERY, SHARED


@pytest.fixture(scope="module")
def lab(make_lab, tmp_path_factory):
    made = make_lab(tmp_path_factory.mktemp("features"))
    made.run(CONSTANT_BOX)  # and what it rests on
    return made


def command(verb):
    return f"vsa {verb}"


@pytest.mark.parametrize("name", [HISTOGRAM, PER_QUERY, JOINT, CONSTANT_BOX])
def test_features_rank_as_the_job_did(lab, name):
    queries = features_of(lab, name, "test", command)
    catalogue = features_of(lab, name, "catalogue", command)
    np.testing.assert_allclose(np.linalg.norm(queries, axis=1), 1, rtol=1e-5)
    found = read_found(lab.run(name).folder)["test"].ranking.everywhere
    similarity = queries @ catalogue.T
    of_found = np.take_along_axis(similarity, found[:, :1], axis=1)[:, 0]
    np.testing.assert_allclose(of_found, similarity.max(axis=1), atol=NEAR)


def test_what_is_not_trained_or_not_known_is_said(lab):
    with pytest.raises(InputError, match=r"Run: vsa study --jobs '\+ shared negatives'"):
        features_of(lab, SHARED, "test", command)
    with pytest.raises(InputError, match="Did you mean clicks"):
        features_of(lab, "clikcs", "test", command)
    with pytest.raises(InputError, match="val and the test queries only"):
        features_of(lab, CONSTANT_BOX, "train", command)
    assert len(features_of(lab, JOINT, "train", command)) == 12
