"""The whole pipeline on tiny notebooks, in a checkout of its own."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from vsa.runtime.paths import ROOT

RUN = "synthetic-smoke"
THIRD, FOURTH = "03_click_mined_training", "04_binary_index"
FIFTH, SIXTH = "05_quality_rerank", "06_end_to_end"
# Each notebook notes that it ran, and by which process; the second waits for leave.
BODY = """\
import os, pathlib, time
from vsa.study.run import make_run
run = make_run(dataset, profile, seed)
root = pathlib.Path.cwd().parent
with open(root / "diary", "a") as diary:
    print({name!r}, seed, os.getpid(), file=diary)
run.reports.mkdir(parents=True, exist_ok=True)
(run.reports / "metrics.json").write_text("{{}}")
"""
WAIT = "import vsa.study.embedding\nwhile not (root / 'leave').exists():\n    time.sleep(0.05)"
REPORTING = """\
update_readme = None  # asked for with ``vsa report all`` alone
def write_report(folder):
    for name in ("report.html", "RESULTS.md"):
        (folder / name).write_text((folder / "metrics.json").read_text())
"""


class Checkout:
    """A copy of the package and the Snakefile, with notebooks that take no time."""

    def __init__(self, root: Path, write_notebook: Callable[..., Path]) -> None:
        self.root = root
        ignore = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / "vsa", root / "vsa", ignore=ignore)
        shutil.copy(ROOT / "Snakefile", root)
        (root / "vsa" / "study" / "ledger" / "reporting" / "__init__.py").write_text(REPORTING)
        for name in ("00_tour", "01_catalogue", "02_category_fusion", THIRD, FOURTH, FIFTH, SIXTH):
            cells = [BODY.format(name=name), *[WAIT] * name.startswith("02")]
            write_notebook(root / "notebooks" / f"{name}.ipynb", *cells)
        hidden = ("VSA_ARTIFACTS_DIR", "VSA_REPORTS_DIR", "PYTHONDONTWRITEBYTECODE")
        inherited = {key: value for key, value in os.environ.items() if key not in hidden}
        # HOME cannot be written
        self.environment = inherited | {"PYTHONPATH": str(root), "HOME": str(root / "Snakefile")}

    def start(self, *arguments: str, verb: str = "reproduce") -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "vsa.cli", verb, "--profile", "smoke", *arguments]
        return subprocess.Popen(
            command,
            cwd=self.root,
            env=self.environment,
            stderr=subprocess.PIPE,
            text=True,
        )

    def reproduce(self, *arguments: str, verb: str = "reproduce") -> tuple[int, str]:
        """Exit status and standard error."""
        process = self.start(*arguments, verb=verb)
        _, shown = process.communicate(timeout=120)
        return process.returncode, shown

    def entries(self) -> list[list[str]]:
        """What the notebooks noted since the last call: name, seed, process."""
        diary = self.root / "diary"
        lines = diary.read_text().splitlines() if diary.exists() else []
        diary.write_text("")
        return [line.split() for line in lines]

    def ran(self) -> list[str]:
        return [name for name, _, _ in self.entries()]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory, write_notebook) -> Checkout:
    return Checkout(tmp_path_factory.mktemp("a {checkout} {of,one's} {0} own"), write_notebook)


def wait_until(condition: Callable[[], object], limit_s: float = 60) -> None:
    end = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


# The tests are one story, told in order.


@pytest.mark.slow
def test_the_minutes_of_a_study_bound_the_notebooks_before_it(checkout):
    status, shown = checkout.reproduce("--minutes", "0.0001", verb="study")
    assert status == 0, shown
    last = shown.strip().splitlines()[-1]
    assert last == (
        "vsa: stopped in time, before 01_catalogue; the same command goes on from there"
    )
    assert not (checkout.root / "diary").exists()


def test_a_second_run_of_the_same_name_is_refused_and_a_killed_one_ends_whole(checkout):
    first = checkout.start()
    diary = checkout.root / "diary"
    wait_until(lambda: diary.exists() and len(diary.read_text().splitlines()) == 2)
    kernel = int(diary.read_text().split()[-1])

    status, shown = checkout.reproduce()
    assert status == 2
    assert f"process {first.pid} is at work on the run {RUN}" in shown
    assert "Traceback" not in shown

    first.send_signal(signal.SIGKILL)
    first.wait()
    wait_until(lambda: not is_running(kernel))
    assert checkout.ran() == ["01_catalogue", "02_category_fusion"]
    first.stderr.close()


def test_a_killed_run_resumes_where_it_stopped(checkout):
    (checkout.root / "leave").touch()
    status, shown = checkout.reproduce()
    assert status == 0, shown
    assert checkout.ran() == ["02_category_fusion", THIRD, FOURTH, FIFTH, SIXTH, "00_tour"]
    unknown = "time left not known: no earlier run to go by"
    places = {"02_category_fusion": 2, THIRD: 3, FOURTH: 4, FIFTH: 5, SIXTH: 6, "00_tour": 7}
    told = [line for line in shown.splitlines() if ": started" in line]
    assert told == [f"{name}: started, {n} of 7, {unknown}" for name, n in places.items()]
    plan = json.loads((checkout.root / "artifacts" / RUN / ".plan.json").read_text())
    assert list(plan["taken_s"]) == list(places)
    assert shown.splitlines()[-1] == f"vsa: see reports/{RUN}/report.html"
    for name in ("report.html", "RESULTS.md"):
        assert (checkout.root / "reports" / RUN / name).read_text() == "{}"


def test_nothing_runs_when_nothing_changed(checkout):
    for path in checkout.root.glob("vsa/**/*.py"):
        path.touch()  # as a fresh clone or a change of branch does
    status, shown = checkout.reproduce()
    assert status == 0
    assert checkout.ran() == []
    assert len(shown.splitlines()) == 2, shown


def test_a_changed_module_runs_what_rests_on_it_and_its_bad_input_is_one_paragraph(checkout):
    module = checkout.root / "vsa" / "study" / "embedding" / "__init__.py"
    unchanged = module.read_text()
    module.write_text(
        "from vsa.runtime.errors import InputError\n"
        "raise InputError('too few images', cure='Add some', file='catalogue.csv', row=3)\n"
    )
    status, shown = checkout.reproduce()
    module.write_text(unchanged)
    assert status == 2
    last = "vsa: 02_category_fusion: catalogue.csv, row 3: too few images. Add some."
    assert shown.splitlines()[-1] == last
    assert "Traceback" not in shown
    assert checkout.ran() == ["02_category_fusion"]
    executed = checkout.root / "artifacts" / RUN / "notebooks"
    kept = sorted(path.name for path in executed.iterdir())
    failed = "02_category_fusion.failed.ipynb"
    finished = ("00_tour", "01_catalogue", THIRD, FOURTH, FIFTH, SIXTH)
    assert kept == sorted([failed, *(f"{name}.ipynb" for name in finished)])


def test_another_seed_runs_anew(checkout):
    status, shown = checkout.reproduce("--seed", "1", "--until", "01_catalogue")
    assert status == 0, shown
    assert "01_catalogue: started, 1 of 1, " in shown
    assert [entry[:2] for entry in checkout.entries()] == [["01_catalogue", "1"]]
    assert shown.splitlines()[-1] == f"vsa: see artifacts/{RUN}/notebooks/01_catalogue.ipynb"


def test_removed_numbers_are_made_anew(checkout):
    (checkout.root / "reports" / RUN / "metrics.json").unlink()
    status, shown = checkout.reproduce("--seed", "1", "--until", "01_catalogue")
    assert status == 0, shown
    assert checkout.ran() == ["01_catalogue"]


@pytest.mark.slow
def test_a_picture_replaced_under_its_name_counts(checkout):
    shop = checkout.root / "my {b} {c,d} shop"
    shop.mkdir()
    (shop / "notes {old}.csv").write_text("braces,in,names")
    rows = [f"{name}.png,{name},bags" for name in "abc"]
    for name in "abc":
        Image.new("RGB", (40, 40), "navy").save(shop / f"{name}.png")
    for table in ("catalogue", "queries"):
        header = "image_path,product_id,category"
        (shop / f"{table}.csv").write_text("\n".join([header, *rows]))
    asked = ("--dataset", f"folder:{shop.name}", "--until", "01_catalogue")

    def ran() -> list[str]:
        status, shown = checkout.reproduce(*asked)
        assert status == 0, shown
        assert shown.splitlines()[1] == "vsa: 3 of 3 queries show a product of the catalogue"
        return checkout.ran()

    assert ran() == ["01_catalogue"]
    assert ran() == []
    Image.new("RGB", (40, 40), "gold").save(shop / "b.png")
    assert ran() == ["01_catalogue"]


@pytest.mark.by_hand
def test_an_edit_of_an_installed_plug_in_counts(checkout):
    def install(version: int, returned: str) -> None:
        text = f"def mine(batch, margin):\n    return {returned}\nmine.version = {version}\n"
        (checkout.root / "my_package.py").write_text(text)

    def ran() -> list[str]:
        status, shown = checkout.reproduce("--until", "01_catalogue")
        assert status == 0, shown
        return checkout.ran()

    ran()
    install(1, "batch")
    about = checkout.root / "my_package-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: my-package\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[vsa.losses]\nmine = my_package:mine\n")
    assert ran() == ["01_catalogue"]
    assert ran() == []
    install(2, "batch")
    assert ran() == ["01_catalogue"]
    install(2, "margin")
    assert ran() == ["01_catalogue"]
    shutil.rmtree(about)
    assert ran() == ["01_catalogue"]


def test_a_mistake_in_the_snakefile_is_shown(checkout):
    with open(checkout.root / "Snakefile", "a") as file:
        file.write("\nrule broken:\n    input: nowhere\n")
    status, shown = checkout.reproduce()
    assert status == 1
    assert "nowhere" in shown
