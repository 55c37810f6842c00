"""What notebook 02 learns from, and what it is judged by."""

from __future__ import annotations

from pathlib import Path

from vsa.category.predictor import CategoryPredictor, open_predictor, save_predictor
from vsa.category.task import CategoryTask, make_task, require_labels
from vsa.runtime.device import pick_device
from vsa.study.catalogue.prepare import Shop
from vsa.study.predecessors import leave, made_by
from vsa.study.run import Run


def prepare_categories(shop: Shop) -> CategoryTask:
    """Labelled pictures of the catalogue that selection kept, and of queries, by their parts.

    Raises NotApplicable, with the reason, where there is nothing to learn from or to judge by.
    """
    task = make_task(shop.dataset, shop.kept.image_id)
    require_labels(task)
    return task


def predictor_folder(run: Run) -> Path:
    """Where notebook 02 publishes the category stage that later ones open."""
    return run.artifacts / "category" / "predictor"


def publish_predictor(run: Run, predictor: CategoryPredictor) -> Path:
    """Publish the category stage; replaces an earlier one."""
    save_predictor(predictor_folder(run), predictor)
    return leave(run, predictor_folder(run))


def open_published(run: Run) -> CategoryPredictor:
    """The published stage; raises InputError if notebook 02 was not run, or it is damaged."""
    return open_predictor(made_by("02_category_fusion", run, predictor_folder(run)), pick_device())
