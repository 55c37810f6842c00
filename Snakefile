# The order of the notebooks: what each needs, and what it makes.
#
# `vsa reproduce` (or `make reproduce`) runs this with the folder artifacts/<run>/ as Snakemake's
# own; a notebook is executed again when it, the parts of vsa it rests on, the data set's tables
# or pictures, a parameter, or a notebook before it has changed.

import sys

from vsa.runtime.paths import NOTEBOOKS, ROOT
from vsa.study.pace import notebooks_in_order
from vsa.study.run import make_run
from vsa.study.pipeline import CHECKOUT_LINK, REPORTS_LINK
from vsa.study.sources import sources

RUN = make_run(config["dataset"], config["profile"], config["seed"], config["overrides"])
PYTHON = sys.executable
# exec: no shell stands between Snakemake and the process that watches it.
# 2>&1: Snakemake's standard error is its log, which vsa keeps apart.
EXECUTE = (
    "exec {PYTHON:q} -m vsa.cli notebook {input.notebook:q} {output:q}"
    " --dataset {params.dataset:q} --profile {params.profile:q} --seed {params.seed}"
    " --set={params.overrides:q} 2>&1"
)


def as_it_is(text):
    """Text that may hold braces; in a plain string Snakemake would see wildcards."""
    return lambda wildcards: text


PARAMETERS = {
    "dataset": as_it_is(RUN.dataset),
    "profile": RUN.profile,
    "seed": RUN.seed,
    "overrides": as_it_is(RUN.overrides),
    "settings": as_it_is(repr(RUN.settings)),
    "plugins": config["plugins"],
}


# All paths begin in artifacts/<run>/, where Snakemake works.
def notebook(name):
    return f"{CHECKOUT_LINK}/notebooks/{name}.ipynb"


def executed(name):
    return f"notebooks/{name}.ipynb"


def rests_on(path):
    """Files of vsa behind a notebook or a module, by the link."""
    return [f"{CHECKOUT_LINK}/{file.relative_to(ROOT).as_posix()}" for file in sources(path)]


NAMES = notebooks_in_order()


rule report:
    input:
        [executed(name) for name in NAMES],
        rests_on(ROOT / "vsa/study/ledger/reporting/__init__.py"),
    output:
        f"{REPORTS_LINK}/report.html",
        f"{REPORTS_LINK}/RESULTS.md",
    params:
        run=RUN.name,
    shell:
        "exec {PYTHON:q} -m vsa.cli report {params.run:q} 2>&1"


for place, name in enumerate(NAMES):

    rule:
        name:
            name
        input:
            [executed(before) for before in NAMES[:place]],
            rests_on(NOTEBOOKS / f"{name}.ipynb"),
            notebook=notebook(name),
        output:
            executed(name),
        params:
            **PARAMETERS,
            # tables and pictures of a folder; other data sets are fixed, or made from the package
            files=config["files"] if name == NAMES[0] else "",
        threads: workflow.cores
        shell:
            EXECUTE
