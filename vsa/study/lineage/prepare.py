"""What notebook 07 compares methods on: photos, catalogue and the frozen network of a run."""

from __future__ import annotations

import torch

from vsa.models.backbones import make_backbone
from vsa.runtime.device import Device, pick_device
from vsa.runtime.errors import NotApplicable
from vsa.study.catalogue.prepare import Shop
from vsa.study.category.experiment import run_seeds, supervised
from vsa.study.category.prepare import prepare_categories
from vsa.study.lineage.lab import LineageLab
from vsa.study.lineage.pictures import Ground, Pictures
from vsa.study.lineage.task import JUDGED, LineageTask
from vsa.study.run import Run


def open_lineage(run: Run, shop: Shop) -> LineageLab:
    """The lab of a run.

    The frozen network is MobileNetV2 by ImageNet weights, or whatever describes photographs in
    notebook 03; for a rendered shop, which ImageNet knows nothing of, the category network that
    notebooks 02 and 03 start from.

    Raises NotApplicable where neither products nor boxes of test photos are known, and InputError
    for weights that cannot be had.
    """
    task = LineageTask(shop.dataset.queries.reset_index(drop=True), shop.kept)
    if not (task.knows_products or task.knows_boxes("test")):
        raise NotApplicable("Lineage: neither products nor boxes of test photos are known.")
    settings, device = run.settings.lineage, pick_device()
    ground = make_ground(run, shop, device)
    root, cache = shop.dataset.root, run.artifacts / "images"
    folder = run.artifacts / "lineage"

    def pictures(paths: list[str]) -> Pictures:
        return Pictures(ground, root, paths, settings.detail_px, cache, folder / "maps")

    paths = task.queries.path
    photos = {
        split: pictures(paths.iloc[task.rows(split)].tolist()) for split in ("train", *JUDGED)
    }
    return LineageLab(
        task,
        ground,
        photos,
        pictures(task.catalogue.path.tolist()),
        settings,
        run.seed,
        folder,
        run.settings.embedding.pretrained,
        (run, shop),
    )


def make_ground(run: Run, shop: Shop, device: Device) -> Ground:
    """The frozen network; raises InputError for weights that cannot be had."""
    settings, px = run.settings.embedding, run.settings.lineage.image_px
    if settings.pretrained:
        backbone, _ = make_backbone(settings.describer, pretrained=True)
        return Ground(backbone, settings.describer, px, device)
    labels = prepare_categories(shop)
    category = supervised(run.settings.category)
    (network,) = run_seeds(labels, shop.dataset, run, device, category, [run.seed])
    backbone, _ = make_backbone(settings.architecture, pretrained=False)
    parts: dict[str, torch.Tensor] = {
        name.removeprefix("backbone."): value
        for name, value in network.state.items()
        if name.startswith("backbone.")
    }
    backbone.load_state_dict(parts)
    return Ground(backbone, settings.architecture, px, device)
