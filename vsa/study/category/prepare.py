"""What notebook 02 learns from, and what it is judged by."""

from __future__ import annotations

from vsa.category.task import CategoryTask, make_task, require_labels
from vsa.study.catalogue.prepare import Shop


def prepare_categories(shop: Shop) -> CategoryTask:
    """Labelled pictures of the catalogue that selection kept, and of queries, by their parts.

    Raises NotApplicable, with the reason, where there is nothing to learn from or to judge by.
    """
    task = make_task(shop.dataset, shop.kept.image_id)
    require_labels(task)
    return task
