# The order of the notebooks: what each needs, and what it makes.
#
# `vsa reproduce` (or `make reproduce`) runs this with the folder artifacts/<run>/ as Snakemake's
# own; a notebook is executed again when it, the parts of vsa it rests on, the data set's tables
# or pictures, a parameter, or a notebook before it has changed.

import sys

from vsa.runtime.paths import ROOT
from vsa.runtime.pipeline import CHECKOUT_LINK, REPORTS_LINK
from vsa.runtime.run import make_run

RUN = make_run(config["dataset"], config["profile"], config["seed"])
PYTHON = sys.executable
# exec: no shell stands between Snakemake and the process that watches it.
# 2>&1: Snakemake's standard error is its log, which vsa keeps apart.
EXECUTE = (
    "exec {PYTHON:q} -m vsa.cli notebook {input.notebook:q} {output:q}"
    " --dataset {params.dataset:q} --profile {params.profile:q} --seed {params.seed} 2>&1"
)


def as_it_is(text):
    """Text that may hold braces; in a plain string Snakemake would see wildcards."""
    return lambda wildcards: text


PARAMETERS = {
    "dataset": as_it_is(RUN.dataset),
    "profile": RUN.profile.name,
    "seed": RUN.seed,
}


# All paths begin in artifacts/<run>/, where Snakemake works.
def notebook(name):
    return f"{CHECKOUT_LINK}/notebooks/{name}.ipynb"


def executed(name):
    return f"notebooks/{name}.ipynb"


def vsa(*names):
    """Source files, templates included, of sub-packages and modules of vsa."""
    files = []
    for name in names:
        files += [ROOT / "vsa" / name] if name.endswith(".py") else (ROOT / "vsa" / name).rglob("*.*")
    return sorted(
        f"{CHECKOUT_LINK}/{path.relative_to(ROOT).as_posix()}"
        for path in files
        if path.parent.name != "__pycache__"
    )


rule report:
    input:
        executed("01_catalogue"),
        executed("02_category_fusion"),
        executed("03_click_mined_training"),
        executed("04_binary_index"),
        executed("05_quality_rerank"),
        executed("06_end_to_end"),
        executed("00_tour"),
        vsa("evaluation", "reporting", "runtime"),
    output:
        f"{REPORTS_LINK}/report.html",
        f"{REPORTS_LINK}/RESULTS.md",
    params:
        run=RUN.name,
    shell:
        "exec {PYTHON:q} -m vsa.cli report {params.run:q} 2>&1"


rule catalogue:
    input:
        vsa(
            "category/selection.py",
            "category/task.py",
            "data",
            "evaluation",
            "runtime",
            "offline.py",
        ),
        notebook=notebook("01_catalogue"),
    output:
        executed("01_catalogue"),
    params:
        **PARAMETERS,
        files=config["files"],
    threads: workflow.cores
    shell:
        EXECUTE


rule category_fusion:
    input:
        executed("01_catalogue"),
        vsa("category", "data", "evaluation", "runtime", "offline.py"),
        notebook=notebook("02_category_fusion"),
    output:
        executed("02_category_fusion"),
    params:
        **PARAMETERS,
    threads: workflow.cores
    shell:
        EXECUTE


rule click_mined_training:
    input:
        executed("01_catalogue"),
        executed("02_category_fusion"),
        vsa(
            "category",
            "data",
            "embedding",
            "evaluation",
            "runtime",
            "learn.py",
            "offline.py",
        ),
        notebook=notebook("03_click_mined_training"),
    output:
        executed("03_click_mined_training"),
    params:
        **PARAMETERS,
    threads: workflow.cores
    shell:
        EXECUTE


rule binary_index:
    input:
        executed("01_catalogue"),
        executed("02_category_fusion"),
        executed("03_click_mined_training"),
        vsa(
            "category",
            "data",
            "embedding",
            "evaluation",
            "index",
            "runtime",
            "indexing.py",
            "learn.py",
            "offline.py",
        ),
        notebook=notebook("04_binary_index"),
    output:
        executed("04_binary_index"),
    params:
        **PARAMETERS,
    threads: workflow.cores
    shell:
        EXECUTE


rule quality_rerank:
    input:
        executed("01_catalogue"),
        executed("02_category_fusion"),
        executed("03_click_mined_training"),
        executed("04_binary_index"),
        vsa(
            "category",
            "data",
            "embedding",
            "evaluation",
            "index",
            "ranking",
            "runtime",
            "indexing.py",
            "learn.py",
            "offline.py",
            "reranking.py",
        ),
        notebook=notebook("05_quality_rerank"),
    output:
        executed("05_quality_rerank"),
    params:
        **PARAMETERS,
    threads: workflow.cores
    shell:
        EXECUTE


rule end_to_end:
    input:
        executed("01_catalogue"),
        executed("02_category_fusion"),
        executed("03_click_mined_training"),
        executed("04_binary_index"),
        executed("05_quality_rerank"),
        vsa(
            "category",
            "data",
            "embedding",
            "endtoend",
            "evaluation",
            "index",
            "ranking",
            "runtime",
            "engine.py",
            "indexing.py",
            "learn.py",
            "offline.py",
        ),
        notebook=notebook("06_end_to_end"),
    output:
        executed("06_end_to_end"),
    params:
        **PARAMETERS,
    threads: workflow.cores
    shell:
        EXECUTE


# Last, though its number is first: it shows what the others have made.
rule tour:
    input:
        executed("01_catalogue"),
        executed("02_category_fusion"),
        executed("03_click_mined_training"),
        executed("04_binary_index"),
        executed("05_quality_rerank"),
        executed("06_end_to_end"),
        vsa(
            "category",
            "data",
            "embedding",
            "endtoend",
            "evaluation",
            "index",
            "ranking",
            "runtime",
            "engine.py",
            "offline.py",
        ),
        notebook=notebook("00_tour"),
    output:
        executed("00_tour"),
    params:
        **PARAMETERS,
    threads: workflow.cores
    shell:
        EXECUTE
