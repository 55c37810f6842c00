"""The threads of OpenMP, on which torch, faiss and scikit-learn compute: how they wait, how many.

And OpenBLAS, which multiplies faiss's matrices: which instructions it takes.

By default a thread that waits for the others spins for milliseconds. Where another process wants
the same cores, the ones that are waited for then hardly run: on two cores, a training step of
0.4 s took 9 s in each of two processes. Threads that sleep while they wait cost a process on its
own a fifth of its speed; `make bench` measures both.
"""

from __future__ import annotations

import os
from pathlib import Path

from vsa.runtime.errors import InputError

POLICIES = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME", "KMP_LIBRARY")
_N_THREADS = "OMP_NUM_THREADS"
_CORE = "OPENBLAS_CORETYPE"
_CPU = Path("/proc/cpuinfo")
_KERNELS = {  # of OpenBLAS, by what a processor must have for them; best first
    "SkylakeX": {"avx512f", "avx512bw", "avx512dq", "avx512vl", "avx2", "fma"},
    "Haswell": {"avx2", "fma"},
}


def let_waiting_threads_sleep() -> None:
    """Set OpenMP's wait policy for this process and those it starts, unless the user has set one.

    OpenMP reads it when torch is loaded; torch that is loaded already keeps its threads spinning.
    """
    if not any(os.environ.get(name) for name in POLICIES):
        os.environ["OMP_WAIT_POLICY"] = "PASSIVE"


def let_blas_use_the_processor() -> None:
    """Tell OpenBLAS what the processor can do, unless the user has.

    It goes by names of processors, and takes one that is newer than itself for the oldest of all:
    on such a one, faiss's k-means took four times as long. It reads this when faiss is loaded.
    """
    if os.environ.get(_CORE) or not _CPU.is_file():
        return
    lines = [line for line in _CPU.read_text().splitlines() if line.startswith("flags")]
    flags = set(lines[0].split()) if lines else set()
    for kernel, needed in _KERNELS.items():
        if needed <= flags:
            os.environ[_CORE] = kernel
            return


def n_threads() -> int | None:
    """What ``OMP_NUM_THREADS`` asks for, None if it is not set; of a list, its first entry.

    OpenMP takes a list, an entry for each level of nested parallel regions. Raises InputError for
    anything but whole numbers ≥ 1.
    """
    value = os.environ.get(_N_THREADS)
    if value is None:
        return None
    entries = [entry.strip() for entry in value.split(",")]
    if not all(entry.isdecimal() and entry.isascii() and int(entry) for entry in entries):
        raise InputError(
            f"{_N_THREADS}={value!r} is not a whole number ≥ 1",
            cure="Set it to how many threads may compute at once, such as 2, or unset it",
        )
    return int(entries[0])
