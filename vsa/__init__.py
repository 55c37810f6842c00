"""Visual Search at Alibaba (Zhang et al., KDD 2018, arXiv 2102.04674), reproduced.

The names below are all that a user needs; each is loaded when it is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from vsa.runtime.errors import InputError, NotebookError
from vsa.runtime.threads import let_waiting_threads_sleep

if TYPE_CHECKING:
    from vsa.engine import VisualSearch
    from vsa.offline import build
    from vsa.ranking.models import RANKERS as rankers
    from vsa.study.pipeline import reproduce
    from vsa.trained import TrainedModels

__version__ = "0.1.0"
__all__ = [
    "InputError",
    "NotebookError",
    "TrainedModels",
    "VisualSearch",
    "build",
    "rankers",
    "reproduce",
]

let_waiting_threads_sleep()  # whatever in this package loads torch is imported after this

# public name → module, and the name there where it is another one
_PLACES = {
    "TrainedModels": "vsa.trained",
    "VisualSearch": "vsa.engine",
    "build": "vsa.offline",
    "rankers": "vsa.ranking.models:RANKERS",
    "reproduce": "vsa.study.pipeline",
}


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, _, attribute = _PLACES[name].partition(":")
    found = getattr(import_module(module), attribute or name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *_PLACES})
