"""Visual Search at Alibaba (Zhang et al., KDD 2018, arXiv 2102.04674), reproduced.

The names below are all that a user needs; each is loaded when it is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from vsa.runtime.errors import InputError, NotebookError
from vsa.runtime.extras import missing_explained
from vsa.runtime.registry import announce
from vsa.runtime.threads import let_blas_use_the_processor, let_waiting_threads_sleep

if TYPE_CHECKING:
    from vsa.data.datasets import DATASETS as datasets
    from vsa.data.datasets import DataSource
    from vsa.data.load import load_dataset
    from vsa.data.schema import Dataset
    from vsa.embedding.losses import LOSSES as losses
    from vsa.engine import VisualSearch
    from vsa.index.codec import CODECS as codecs
    from vsa.index.index import Index
    from vsa.index.request import SearchParams
    from vsa.learn import train
    from vsa.models.backbones import BACKBONES as backbones
    from vsa.models.backbones import Backbone
    from vsa.models.embedder import EMBEDDERS as embedders
    from vsa.models.embedder import Embedder
    from vsa.offline import build
    from vsa.onnx_files import export
    from vsa.ranking.models import RANKERS as rankers
    from vsa.study.compare import compare
    from vsa.study.embedding.baselines import BASELINES as baselines
    from vsa.study.index.peers import PEERS as peers
    from vsa.study.lineage.rows import METHODS as methods
    from vsa.study.pipeline import reproduce
    from vsa.study.runs import open_run
    from vsa.trained import TrainedModels

__version__ = "0.1.0"
__all__ = [
    "Backbone",
    "DataSource",
    "Dataset",
    "Embedder",
    "Index",
    "InputError",
    "NotebookError",
    "SearchParams",
    "TrainedModels",
    "VisualSearch",
    "backbones",
    "baselines",
    "build",
    "codecs",
    "compare",
    "datasets",
    "embedders",
    "export",
    "load_dataset",
    "losses",
    "methods",
    "open_run",
    "peers",
    "rankers",
    "reproduce",
    "train",
]

# whatever in this package loads torch or faiss is imported after this
let_waiting_threads_sleep()
let_blas_use_the_processor()

# public name → module, and the name there where it is another one
_PLACES = {
    "TrainedModels": "vsa.trained",
    "VisualSearch": "vsa.engine",
    "build": "vsa.offline",
    "rankers": "vsa.ranking.models:RANKERS",
    "DataSource": "vsa.data.datasets",
    "Dataset": "vsa.data.schema",
    "datasets": "vsa.data.datasets:DATASETS",
    "load_dataset": "vsa.data.load",
    "losses": "vsa.embedding.losses:LOSSES",
    "Index": "vsa.index.index",
    "SearchParams": "vsa.index.request",
    "codecs": "vsa.index.codec:CODECS",
    "peers": "vsa.study.index.peers:PEERS",
    "methods": "vsa.study.lineage.rows:METHODS",
    "Backbone": "vsa.models.backbones",
    "Embedder": "vsa.models.embedder",
    "backbones": "vsa.models.backbones:BACKBONES",
    "baselines": "vsa.study.embedding.baselines:BASELINES",
    "embedders": "vsa.models.embedder:EMBEDDERS",
    "compare": "vsa.study.compare",
    "open_run": "vsa.study.runs",
    "reproduce": "vsa.study.pipeline",
    "export": "vsa.onnx_files",
    "train": "vsa.learn",
}

# What the study adds to the system, as anybody's plug-in does
announce("datasets", "synthetic", "vsa.study.simulate.dataset:SYNTHETIC")


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, _, attribute = _PLACES[name].partition(":")
    with missing_explained():
        found = getattr(import_module(module), attribute or name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *_PLACES})
