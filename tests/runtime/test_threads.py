from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

import vsa
from vsa.runtime import threads
from vsa.runtime.errors import InputError
from vsa.runtime.paths import NOTEBOOKS, ROOT
from vsa.runtime.threads import POLICIES, n_threads

WITH_OPENMP = {"faiss", "sklearn", "torch", "torchvision", "usearch"}


def output_of(code: str, **environment: str) -> tuple[str, str]:
    """Standard output and error of a fresh Python without any wait policy but the one given."""
    clean = {name: value for name, value in os.environ.items() if name not in POLICIES}
    command = [sys.executable, "-c", code]
    done = subprocess.run(
        command, env=clean | environment, capture_output=True, text=True, check=True
    )
    return done.stdout, done.stderr


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ({}, "PASSIVE"),
        ({"OMP_WAIT_POLICY": ""}, "PASSIVE"),
        ({"OMP_WAIT_POLICY": "ACTIVE"}, "ACTIVE"),
        *[({name: "5"}, "None") for name in POLICIES if name != "OMP_WAIT_POLICY"],
    ],
)
def test_waiting_threads_sleep_unless_the_user_has_decided(given, found):
    code = "import os, vsa; print(os.environ.get('OMP_WAIT_POLICY'))"
    shown, complaints = output_of(code, **given)
    assert shown.strip() == found
    assert complaints == ""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="other systems have another OpenMP")
def test_every_openmp_that_the_package_loads_has_read_it():
    code = "import sklearn.cluster, torchvision, usearch.index, vsa.index.index"
    _, shown = output_of(f"import vsa; {code}", OMP_DISPLAY_ENV="verbose")
    counts = [line.split("=")[1].strip() for line in shown.splitlines() if "SPINCOUNT" in line]
    assert counts
    assert set(counts) == {"'0'"}


def imported(source: str) -> list[str]:
    """Packages in the order in which they are imported."""
    found: list[tuple[int, str]] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.append((node.lineno, node.module))
    return [name.split(".")[0] for _, name in sorted(found)]


@pytest.mark.parametrize(
    "path",
    [*sorted(NOTEBOOKS.rglob("*.ipynb")), *sorted((ROOT / "benchmarks").glob("*.py"))],
    ids=lambda path: path.name,
)
def test_notebooks_and_scripts_import_vsa_before_what_computes_with_openmp(path: Path):
    if path.suffix == ".ipynb":
        cells = nbformat.read(path, as_version=4).cells
        names = imported("\n".join(cell.source for cell in cells if cell.cell_type == "code"))
    else:
        names = imported(path.read_text(encoding="utf-8"))
    assert not WITH_OPENMP & set(names[: names.index("vsa")] if "vsa" in names else names)


@pytest.mark.parametrize(
    ("value", "n"), [("2", 2), ("2,1", 2), (" 16 , 4,1", 16), ("02", 2), (None, None)]
)
def test_the_number_of_threads_is_the_first_that_is_asked_for(monkeypatch, value, n):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if value is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", value)
    assert n_threads() == n


@pytest.mark.parametrize("value", ["", " ", "0", "abc", "-1", "1e3", "1.5", "2,", "2,0", ",2", "²"])
def test_what_is_no_number_of_threads_is_named_before_any_work(monkeypatch, tmp_path, value):
    monkeypatch.setenv("OMP_NUM_THREADS", value)
    with pytest.raises(InputError) as refusal:
        vsa.reproduce(profile="smoke")
    assert f"OMP_NUM_THREADS={value!r}" in refusal.value.problem
    assert "unset" in refusal.value.cure
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("flags", "kernel"),
    [
        ("fpu sse3 avx2 fma avx512f avx512bw avx512dq avx512vl", "SkylakeX"),
        ("fpu sse3 avx2 fma avx512f", "Haswell"),
        ("fpu sse3", ""),
        (None, ""),  # another system
    ],
)
def test_blas_is_told_what_the_processor_can_do(flags, kernel, monkeypatch, tmp_path):
    monkeypatch.setenv("OPENBLAS_CORETYPE", "")
    monkeypatch.setattr(threads, "_CPU", tmp_path / "cpuinfo")
    if flags:
        (tmp_path / "cpuinfo").write_text(f"processor : 0\nflags\t\t: {flags}\n")
    threads.let_blas_use_the_processor()
    assert os.environ["OPENBLAS_CORETYPE"] == kernel


def test_blas_does_as_the_user_says(monkeypatch):
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Nehalem")
    threads.let_blas_use_the_processor()
    assert os.environ["OPENBLAS_CORETYPE"] == "Nehalem"
