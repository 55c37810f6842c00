"""All methods of notebook 07, in the order of its table; ``vsa.methods`` is the registry here."""

# ruff: noqa: F401, I001 (each module registers its methods when it is imported, in this order)
from vsa.study.lineage import aggregation
from vsa.study.lineage import colours
from vsa.study.lineage import verification
from vsa.study.lineage import heads
from vsa.study.lineage import boxes
from vsa.study.lineage import detectors
from vsa.study.lineage import backbones
from vsa.study.lineage import published
from vsa.study.lineage import systems
from vsa.study.lineage.methods import METHODS

__all__ = ["METHODS"]
