"""What notebook 03 has kept of whole splits is read back; a single photo is looked at."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace

import numpy as np
import pytest
from small_lineage import make_lineage_lab

from vsa.embedding.candidates import PLAIN_OBJECT
from vsa.study.lineage import published
from vsa.study.lineage.methods import fit_checked

BOX = np.float32([0.1, 0.2, 0.6, 0.9])


@dataclass
class Looking:
    """Features whose first number is the row; boxes only as they are given."""

    lab: SimpleNamespace
    _found: dict = field(default_factory=dict)
    asked: list = field(default_factory=list)
    objectness = SimpleNamespace(
        image_px=64, boxes=lambda squares, device: np.tile(BOX, (len(squares), 1))
    )

    def boxes(self, how):
        return self._found[how]

    def photos(self, who, how):
        self.asked.append((who, how))
        return np.arange(len(self.lab.task.queries))[:, None].astype(np.float32)


@pytest.fixture
def lab(tmp_path, monkeypatch):
    made = make_lineage_lab(tmp_path / "shop")
    order = np.random.default_rng(0).permutation(len(made.task.queries))
    queries = made.task.queries.iloc[order].reset_index(drop=True)  # another order of photos
    task = SimpleNamespace(
        queries=queries, rows=lambda split: np.flatnonzero(queries.split == split)
    )
    study = SimpleNamespace(task=task, run=lambda name: None, path=lambda name: name)
    study.looking = Looking(study)
    found = {
        split: SimpleNamespace(boxes=np.stack([[row / 100, 0, 0.8, 1] for row in task.rows(split)]))
        for split in ("val", "test")
    }
    monkeypatch.setattr(published, "jobs", lambda lab: study)
    monkeypatch.setattr(published, "read_found", lambda folder: {PLAIN_OBJECT: found}[folder])
    made.study = study
    return made


def row_of(lab, path):
    return int(np.flatnonzero(lab.study.task.queries.path == path)[0])


def test_boxes_of_a_split_are_those_of_the_job_and_of_a_photo_those_of_its_pixels(lab):
    found, locate = published.goods(lab)
    photos = lab.photos["test"]
    wanted = [row_of(lab, path) / 100 for path in photos.paths]
    np.testing.assert_allclose(locate(photos)[:, 0], wanted, atol=1e-6)
    assert np.array_equal(locate(photos.one(0)), BOX[None])
    assert found is Looking.objectness
    assert published.goods(lab)[1] is locate  # rows that look for goods share them


def test_features_of_a_split_are_read_back_and_a_photo_is_described(lab):
    by = SimpleNamespace(
        name="adapted, objectness crop", describe=lambda photo, box, device: np.float32([box[0]])
    )
    photos = lab.photos["val"]
    found = published.described(lab, by, photos, None)
    assert found[:, 0].tolist() == [row_of(lab, path) for path in photos.paths]
    assert published.looking_of(lab).asked == [("adapted", "objectness crop")]
    assert published.described(lab, by, photos.one(1), BOX[None]) == BOX[0]


def test_photos_that_notebook_03_does_not_judge_are_looked_at(lab):
    lab.study.task.queries.loc[row_of(lab, lab.photos["test"].paths[0]), "path"] = "another.png"
    _, locate = published.goods(lab)
    assert np.array_equal(locate(lab.photos["test"]), np.tile(BOX, (8, 1)))
    assert locate(lab.photos["val"])[0, 2] == pytest.approx(0.8)


def test_goods_are_what_the_row_searches_by(lab):
    search = fit_checked("objectness, from clicks", lab, 0, {})
    assert search.rank(lab.photos["test"]).shape == (8, 54)
    assert search.locate(lab.photos["test"])[0, 3] == 1
