"""Visual Search at Alibaba (Zhang et al., KDD 2018, arXiv 2102.04674), reproduced."""

from vsa.runtime.errors import InputError, NotebookError
from vsa.runtime.threads import let_waiting_threads_sleep
from vsa.study.pipeline import reproduce

__version__ = "0.1.0"
__all__ = ["InputError", "NotebookError", "reproduce"]

let_waiting_threads_sleep()  # whatever in this package loads torch is imported after this
