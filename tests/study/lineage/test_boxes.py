"""A picture whose answer is known, for every method that finds boxes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from coloured_squares import CPU
from small_lineage import make_lineage_lab, square_on_grey
from torch import nn

from vsa.metrics import box_iou
from vsa.models.backbones import make_backbone
from vsa.runtime.errors import InputError
from vsa.study.embedding.detector import detect, train_detector
from vsa.study.lineage import boxes
from vsa.study.lineage.detectors import make_ssd
from vsa.study.lineage.methods import METHODS, fit_checked
from vsa.study.lineage.pictures import Ground
from vsa.study.lineage.pooling import all_rectangles
from vsa.study.lineage.rows import METHODS as ALL

SETTINGS = {
    "localisation for free": {},
    "self-taught localisation": {"price": 0.5},
    "multi-fold multiple instances": {"rounds": 3},
}


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """Squares of a hue per category on grey, which is all that the network sees."""
    made = make_lineage_lab(tmp_path_factory.mktemp("shop"))
    made.settings = made.settings.__class__(
        **{**vars(made.settings), "n_steps": 150, "learning_rate": 0.05}
    )
    return made


@pytest.mark.parametrize("name", SETTINGS)
def test_image_labels_find_the_coloured_square(lab, name):
    search = fit_checked(name, lab, 0, SETTINGS[name])
    found = search.locate(lab.photos["test"])
    iou = lab.task.iou(found, lab.task.rows("test"))
    assert iou.mean() > 0.6, found


def test_the_rectangle_that_fits_a_result_is_the_square(lab):
    search = fit_checked("R-MAC, box re-ranked", lab, 0, {"weight": 1.0})
    found = search.locate(lab.photos["test"])
    assert lab.task.iou(found, lab.task.rows("test")).mean() > 0.9


def test_a_centre_crop_is_the_middle(lab):
    search = fit_checked("off the shelf, centre crop", lab, 0, {"side": 0.5})
    assert search.locate(lab.photos["val"])[0].tolist() == [0.25, 0.25, 0.75, 0.75]


def test_occlusion_moves_the_feature_where_the_object_is(lab):
    box = np.array([0.5, 0.25, 1.0, 0.75])
    picture = square_on_grey(np.array([250, 20, 20]), box)
    moved = boxes.moved_by_patches(lab.ground, picture)
    middle = (np.arange(6) + 0.5) / 6
    inside = (middle > 0.25) & (middle < 0.75)
    within = moved[np.ix_(inside, middle > 0.5)]
    assert within.min() > 3 * moved[:, middle < 0.3].max()
    search = fit_checked("occlusion", lab, 0, {})
    iou = lab.task.iou(search.locate(lab.photos["test"]), lab.task.rows("test"))
    assert iou.mean() > 0.5


def test_masking_costs_what_masking_the_cells_by_hand_costs():
    rng = np.random.default_rng(0)
    scores, ground = rng.normal(size=(2, 3, 3, 4)), rng.normal(size=4)
    regions = all_rectangles(3)
    found = boxes.score_drops(scores, ground, regions)

    def log_probability(cells, named):
        mean = cells.mean(axis=(0, 1))
        return mean[named] - np.log(np.exp(mean).sum())

    for n in range(2):
        named = scores[n].mean(axis=(0, 1)).argmax()
        for r, (a, b, x, y) in enumerate(regions):
            masked = scores[n].copy()
            masked[a:b, x:y] = ground
            drop = log_probability(scores[n], named) - log_probability(masked, named)
            assert found[n, r] == pytest.approx(drop, abs=1e-5)


def test_folds_do_not_lock_in_to_the_whole_photo():
    """Cells of two classes lie in one corner; all others look the same in all photos."""
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 2
    maps = rng.normal(0, 0.1, (60, 4, 4, 8)).astype(np.float32)
    maps[..., 7] += 2
    maps[:, :2, :2, 7] -= 2
    maps[:, :2, :2, 0] += np.where(labels, 2, 0)[:, None, None]
    maps[:, :2, :2, 1] += np.where(labels, 0, 2)[:, None, None]
    unit = maps / np.linalg.norm(maps, axis=-1, keepdims=True)
    locate = boxes.multi_fold_boxes(unit, labels, 3, 0)

    class Photos:
        def each(self, of_maps):
            return of_maps(maps)

    corner = np.tile(np.float32([0, 0, 0.5, 0.5]), (60, 1))
    assert box_iou(locate(Photos()), corner).mean() > 0.6


def test_ssd_of_torchvision_learns_a_square():
    rng = np.random.default_rng(0)
    corner = rng.uniform(0.05, 0.4, (60, 2))
    true = np.concatenate([corner, corner + 0.55], axis=1).astype(np.float32)
    pictures = np.stack([square_on_grey(np.array([230, 30, 30]), box, 64) for box in true])
    torch.manual_seed(0)
    backbone, _ = make_backbone("googlenet_4a", pretrained=False)
    found = make_ssd("googlenet_4a", backbone.state_dict(), 64)
    assert type(found).__module__ == "torchvision.models.detection.ssd"
    before = box_iou(detect(found.eval(), pictures[40:], CPU).clip(0, 1), true[40:]).mean()
    log = train_detector(found, pictures[:40], true[:40], 40, 1e-3, CPU, 0)
    after = box_iou(detect(found, pictures[40:], CPU).clip(0, 1), true[40:]).mean()
    assert log.loss.tail(5).mean() < 0.6 * log.loss.head(5).mean()
    assert after > max(0.6, before + 0.1)


def test_detectors_run_on_a_lab(tmp_path):
    torch.manual_seed(0)
    backbone, _ = make_backbone("googlenet_4a", pretrained=False)
    lab = make_lineage_lab(tmp_path / "shop", backbone)
    for name in ("Faster R-CNN", "SSD"):
        found = fit_checked(name, lab, 0, {}).locate(lab.photos["val"])
        assert found.shape == (len(lab.photos["val"]), 4)
        assert ((found >= 0) & (found <= 1)).all()


def test_every_method_that_locates_is_tried_here():
    assert ALL is METHODS
    kinds = {name for name in METHODS if METHODS[name].effort == 3}
    assert kinds == {*SETTINGS, "occlusion", "objectness, from clicks"}


def test_a_backbone_without_such_maps_is_named():
    flat = nn.Sequential(nn.Flatten(), nn.Linear(3 * 128 * 128, 4))
    with pytest.raises(InputError, match="'mine' has no map of stride 32 or 16"):
        Ground(flat, "mine", 64, CPU)
