"""Methods of notebook 07 on a toy: how well each finds the product of each test photo."""

from __future__ import annotations

import tempfile
from pathlib import Path

from golden.methods import TRAINING, Numbers, method
from small_lineage import make_lineage_lab

from vsa.study.lineage import experiment
from vsa.study.lineage.experiment import run_method
from vsa.study.lineage.rows import METHODS

# Those whose answers rest on no generator of torch's, and on nothing that another notebook made
NAMES = (
    *("off the shelf, cosine", "off the shelf, linear SVM", "neural codes", "GeM pooling"),
    *("R-MAC", "R-MAC, box re-ranked", "VLAD of columns", "local descriptors, verified"),
    *("palette", "palette re-ranks appearance", "InfoNCE", "N-pair", "FaceNet, semi-hard"),
    *("domain confusion, MMD", "multi-similarity", "multi-fold multiple instances"),
)


@method("lineage", experiment, TRAINING)
def rows() -> Numbers:
    found: dict[str, object] = {}
    with tempfile.TemporaryDirectory() as folder:
        lab = make_lineage_lab(Path(folder))
        for name in NAMES:
            assert name in METHODS
            row = run_method(lab, name)
            assert row.test is not None
            found[name] = lab.task.precision(row.test[0], "test")
            if row.boxes is not None:
                found[f"{name}, boxes"] = lab.task.iou(row.boxes[0], lab.task.rows("test"))
    return found
