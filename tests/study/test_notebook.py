from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

import nbformat
import pytest

from vsa.runtime.deadline import time_limit
from vsa.runtime.errors import NO_TIME, InputError, NotebookError
from vsa.study import notebook as executor
from vsa.study.notebook import execute, read_parameters, refresh
from vsa.study.run import make_run

RUN = make_run("grocery", "smoke", 7)


def printed(path: Path) -> str:
    cells = nbformat.read(path, as_version=4).cells
    outputs = [output for cell in cells for output in cell.get("outputs", [])]
    return "".join(output.get("text", "") for output in outputs)


def test_runs_this_interpreter_with_the_parameters_in_the_notebooks_folder(
    tmp_path, monkeypatch, write_notebook
):
    # A kernel of the same name that the user has installed and prefers
    kernel = tmp_path / "jupyter" / "kernels" / "python3"
    kernel.mkdir(parents=True)
    other = {"argv": ["false", "{connection_file}"], "display_name": "x", "language": "python"}
    (kernel / "kernel.json").write_text(json.dumps(other))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "jupyter"))
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path / "jupyter"))
    monkeypatch.setenv("JUPYTER_PREFER_ENV_PATH", "0")
    source = write_notebook(
        tmp_path / "story" / "a.ipynb",
        "import os, sys\nprint(sys.executable, dataset, profile, seed, os.getcwd())",
    )
    output = tmp_path / "out" / "a.ipynb"
    execute(source, RUN, output)
    assert printed(output).split() == [
        sys.executable,
        "grocery",
        "smoke",
        "7",
        str(source.parent),
    ]
    assert [path.name for path in output.parent.iterdir()] == ["a.ipynb"]


def test_what_was_executed_is_published_without_paths(tmp_path, monkeypatch, write_notebook):
    monkeypatch.setenv("VSA_REPORTS_DIR", str(tmp_path / "reports"))
    monkeypatch.setenv("VSA_DATA_DIR", str(tmp_path / "photos"))
    text = "import os\nprint(os.environ['VSA_DATA_DIR'])"
    source = write_notebook(tmp_path / "a.ipynb", text)
    execute(source, RUN, tmp_path / "out" / "a.ipynb")
    published = tmp_path / "reports" / RUN.name / "notebooks" / "a.ipynb"
    assert str(tmp_path) not in published.read_text(encoding="utf-8")
    assert printed(published).strip() == "data"
    cells = nbformat.read(published, as_version=4).cells
    assert cells[0].metadata.get("tags") == ["parameters"]


def test_progress_of_the_kernel_reaches_the_log(tmp_path, monkeypatch, capfd, write_notebook):
    monkeypatch.delenv("VSA_PROGRESS")
    monkeypatch.setattr(executor, "_LOG_EVERY_S", 0.1)
    source = write_notebook(
        tmp_path / "a.ipynb",
        "import time\n"
        "from vsa.runtime.progress import progress\n"
        "print(sum(progress(range(4), 'counting apples')))\n"
        "time.sleep(0.5)",
    )
    execute(source, RUN, tmp_path / "out.ipynb")
    lines = capfd.readouterr().err.splitlines()
    # a busy machine's kernel has words of its own for the same stream
    first, *bars, last = [line for line in lines if line.startswith(("a: ", "  "))]
    assert first == "a: started"
    assert [bar for bar in bars if not bar.startswith("  counting apples: ")] == [], lines
    assert bars
    assert last.startswith("a: done in ")
    assert printed(tmp_path / "out.ipynb") == "6\n"


def test_a_limit_of_time_holds_in_the_kernel_and_is_no_failure(tmp_path, write_notebook):
    code = "from vsa.runtime.deadline import DEADLINE, Stopped\nraise Stopped(repr(DEADLINE.ends))"
    source = write_notebook(tmp_path / "a.ipynb", code)
    with time_limit(5) as limit:
        with pytest.raises(NotebookError) as error:
            execute(source, RUN, tmp_path / "out.ipynb")
        assert str(error.value) == f"within a: {limit.ends!r}"
        assert error.value.status == NO_TIME
    with time_limit(0), pytest.raises(NotebookError) as error:
        execute(source, RUN, tmp_path / "out.ipynb")
    assert (str(error.value), error.value.status) == ("before a", NO_TIME)
    assert [path.name for path in tmp_path.glob("out*")] == []
    assert "VSA_ENDS" not in os.environ


def test_a_training_that_diverges_is_one_paragraph(tmp_path, write_notebook):
    code = "from vsa.runtime.training import Diverged\nraise Diverged('no number', cure='Lower it')"
    source = write_notebook(tmp_path / "a.ipynb", code)
    with pytest.raises(NotebookError) as error:
        execute(source, RUN, tmp_path / "out.ipynb")
    assert (str(error.value), error.value.status) == ("a: no number. Lower it.", 2)


def test_a_terminal_sees_every_word_of_the_kernel(monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.delenv("VSA_PROGRESS")
    with executor._kernel_progress_copied(), open(os.environ["VSA_PROGRESS"], "a") as kernel:
        for word in ("\rone", "\rtwo"):
            print(word, end="", file=kernel, flush=True)
            time.sleep(0.5)
    assert capsys.readouterr().err.startswith("\rone\rtwo\r")
    assert "VSA_PROGRESS" not in os.environ


def test_a_failing_cell_is_named_and_shown(tmp_path, write_notebook):
    source = write_notebook(tmp_path / "a.ipynb", "x = 1", "y = x / 0  # halt", "never = True")
    output = tmp_path / "out.ipynb"
    with pytest.raises(NotebookError) as caught:
        execute(source, RUN, output)
    message = str(caught.value)
    assert caught.value.status == 1
    assert "a, cell In [4] failed:\n    y = x / 0  # halt" in message
    assert "ZeroDivisionError: division by zero" in message
    assert "\x1b" not in message
    assert not output.exists()
    failed = tmp_path / "out.failed.ipynb"
    assert str(failed) in message
    assert "ZeroDivisionError" in failed.read_text()


def test_bad_input_found_in_a_cell_is_one_paragraph(tmp_path, write_notebook):
    source = write_notebook(
        tmp_path / "a.ipynb",
        "from vsa.study.run import make_run\nmake_run('shoes', profile, seed)",
    )
    with pytest.raises(NotebookError, match=r"^a: unknown data set 'shoes'\. Choose") as caught:
        execute(source, RUN, tmp_path / "out.ipynb")
    assert caught.value.status == 2
    assert "\n" not in str(caught.value)


def test_what_the_data_rule_out_is_left_out_and_no_failure(tmp_path, capfd, write_notebook):
    cell = "from vsa.runtime.errors import NotApplicable\nraise NotApplicable('no labels here')"
    output = tmp_path / "out.ipynb"
    execute(write_notebook(tmp_path / "a.ipynb", cell, "print('never')"), RUN, output)
    assert output.is_file()
    assert not output.with_suffix(".failed.ipynb").exists()
    assert "left out. no labels here" in capfd.readouterr().err


def test_a_dead_kernel_is_explained(tmp_path, write_notebook):
    source = write_notebook(tmp_path / "a.ipynb", "import os\nos._exit(1)")
    with pytest.raises(NotebookError, match="memory ran out"):
        execute(source, RUN, tmp_path / "out.ipynb")
    assert not (tmp_path / "out.ipynb").exists()


@pytest.mark.parametrize(
    ("parameters", "problem"),
    [
        ('dataset = "synthetic"\nprofile = "smoke"', "takes no parameter 'seed'"),
        ("seed = 0\nrun = seed + n", "holds 'run = seed + n'"),
        ("seed: int = 0", "holds 'seed: int = 0'"),
        ("seed = other = 0", "holds 'seed = other = 0'"),
        ("seed, n = 0, 1", "holds 'seed, n = (0, 1)'"),
        ("import os", "holds 'import os'"),
        ("seed =", "not Python"),
        (None, "0 cells are tagged"),
    ],
)
def test_parameters_must_be_known_plain_literals(
    tmp_path, monkeypatch, write_notebook, parameters, problem
):
    monkeypatch.setattr(executor.papermill, "execute_notebook", pytest.fail)
    source = write_notebook(tmp_path / "a.ipynb", parameters=parameters)
    with pytest.raises(InputError, match=r"a\.ipynb: ") as caught:
        execute(source, RUN, tmp_path / "out.ipynb")
    assert problem in str(caught.value)
    assert not (tmp_path / "out.ipynb").exists()


def test_a_missing_notebook_is_bad_input(tmp_path):
    with pytest.raises(InputError, match="no notebook"):
        execute(tmp_path / "a.ipynb", RUN, tmp_path / "out.ipynb")


def test_parameters_are_read(tmp_path, write_notebook):
    source = write_notebook(tmp_path / "a.ipynb", parameters="seed = -1  # a note\nrates = [0.1]")
    assert read_parameters(source) == {"seed": -1, "rates": [0.1]}


def test_refreshing_twice_changes_nothing(tmp_path, write_notebook):
    source = write_notebook(
        tmp_path / "a.ipynb", "import sys\nprint(1)\nprint(2)", "print(profile)"
    )
    before = nbformat.read(source, as_version=4)
    refresh(source)
    once = source.read_text()
    refresh(source)
    assert source.read_text() == once
    after = nbformat.read(source, as_version=4)
    assert [cell.id for cell in after.cells] == [cell.id for cell in before.cells]
    assert [cell.metadata for cell in after.cells] == [{"tags": ["parameters"]}, {}, {}]
    assert set(after.metadata) == {"kernelspec", "language_info"}
    assert printed(source) == "1\n2\nsmoke\n"
    assert "papermill" not in once
    assert str(tmp_path) not in once


def test_a_failing_refresh_leaves_the_notebook(tmp_path, write_notebook):
    source = write_notebook(tmp_path / "a.ipynb", "assert seed == 1")
    before = source.read_text()
    with pytest.raises(NotebookError, match="AssertionError"):
        refresh(source)
    assert source.read_text() == before
