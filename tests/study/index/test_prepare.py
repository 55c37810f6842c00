"""The wiring from the trained network to the index."""

import numpy as np
import pandas as pd

from vsa.study.index.prepare import _key


def test_what_was_described_is_known_by_all_its_images():
    images = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 3), np.uint8)
    paths = pd.Series(["a.jpg", "b.jpg", "c.jpg"])
    others = {
        "one less": _key(paths[:2], images[:2]),
        "another order": _key(paths[::-1], images),
        "another picture": _key(paths, images ^ 1),
    }
    assert _key(paths, images.copy()) == _key(paths, images)
    assert _key(paths, images) not in others.values()
    assert len(set(others.values())) == len(others)
