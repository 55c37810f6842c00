"""What notebook 06 experiments with: all that a run has trained, as the parts of an engine."""

from __future__ import annotations

from vsa.ranking.serve import open_ranker
from vsa.runtime.atomic import settled
from vsa.study.catalogue.prepare import Shop
from vsa.study.category.prepare import open_published
from vsa.study.embedding.prepare import open_describer, open_network, open_plain_hits
from vsa.study.end_to_end.experiment import EndToEndLab
from vsa.study.index.prepare import index_task
from vsa.study.predecessors import made_by
from vsa.study.ranking.prepare import can_be_ranked, ranker_folder
from vsa.study.run import Run
from vsa.trained import TrainedModels


def open_end_to_end(run: Run, shop: Shop) -> EndToEndLab:
    """Where notebook 06 experiments.

    Raises NotApplicable where there are no features, and InputError where notebook 02 or 05 left
    nothing that the engine could open.
    """
    task = index_task(run, shop)
    if can_be_ranked(task):
        made_by("05_quality_rerank", run, ranker_folder(run))
    return EndToEndLab(run, shop, task, trained_models(run, shop), open_plain_hits(run, shop))


def trained_models(run: Run, shop: Shop) -> TrainedModels:
    """The category stage, the joint network and, if notebook 05 fitted one, the ranker of a run."""
    ranker = settled(ranker_folder(run))
    network, image_px = open_network(run, shop)
    return TrainedModels(
        open_published(run),
        network,
        image_px,
        open_ranker(ranker) if ranker.is_dir() else None,
        open_describer(run, shop),
    )
