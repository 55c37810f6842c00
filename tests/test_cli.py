from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import vsa
from vsa import cli
from vsa.study import pipeline


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """Exit status of ``vsa ARGUMENTS``; Snakemake must not be reached."""
    monkeypatch.setattr(pipeline, "_snakemake", pytest.fail)
    monkeypatch.setattr(sys, "argv", ["vsa", *arguments])
    with pytest.raises(SystemExit) as end:
        cli.main()
    return int(end.value.code or 0)


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--dataset", "shoes"], "unknown data set 'shoes'. Choose one of grocery,"),
        (["--profile", "huge"], "unknown profile 'huge'. Choose one of full,"),
        (["--seed", "-1"], "seed -1 is not a whole number"),
        (["--dataset", "folder:no such place"], "no such"),
        (["--until", "99_end"], "no notebook '99_end'. Choose one of"),
        (["--dataset", "grocery"], "make data DATASET=grocery"),
    ],
)
def test_bad_input_is_one_paragraph_and_leaves_nothing(
    tmp_path, monkeypatch, capsys, arguments, problem
):
    monkeypatch.setenv("VSA_DATA_DIR", str(tmp_path / "data"))
    assert run(monkeypatch, "reproduce", *arguments) == 2
    announced, complaint = capsys.readouterr().err.splitlines()
    assert announced.startswith("vsa: ")
    assert problem in complaint
    assert list(tmp_path.iterdir()) == []


def test_a_bad_table_is_named_before_anything_runs(tmp_path, monkeypatch, capsys):
    shop = tmp_path / "my shop"
    shop.mkdir()
    (shop / "catalogue.csv").write_text("image_path,category\na.jpg,bags\n")
    (shop / "queries.csv").write_text("image_path\nb.jpg\n")
    assert run(monkeypatch, "reproduce", "--dataset", f"folder:{shop}") == 2
    shown = capsys.readouterr().err
    assert "catalogue.csv" in shown
    assert "'product_id'" in shown
    assert not (tmp_path / "artifacts").exists()


@pytest.mark.parametrize("command", ["reproduce", "study"])
def test_a_meaningless_number_of_threads_is_bad_input(tmp_path, monkeypatch, capsys, command):
    monkeypatch.setenv("OMP_NUM_THREADS", "0")
    assert run(monkeypatch, command) == 2
    assert "vsa: OMP_NUM_THREADS='0' is not" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_the_package_offers_the_same_with_the_same_errors():
    with pytest.raises(vsa.InputError, match="unknown profile"):
        vsa.reproduce(profile="huge")


@pytest.mark.parametrize("command", [["data", "synthetic"], ["report", "nowhere-smoke"]])
def test_other_commands_explain_bad_input(monkeypatch, capsys, command):
    assert run(monkeypatch, *command) == 2
    (complaint,) = capsys.readouterr().err.splitlines()
    assert complaint.startswith("vsa: ")


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--list", "--export", "jobs.tar"], "one each"),
        (["--minutes", "0"], "--minutes 0 is not a number above 0"),
        (["--minutes", "nan"], "--minutes nan is not"),
        (["--export", "jobs.tar", "--max-mb", "-1"], "--max-mb -1 is not"),
        (["--export", "."], "this is a folder"),
        (["--jobs", "maks*"], "unknown variant 'maks'"),
        (["--import", "absent.tar"], "absent.tar: there is no such archive"),
        (["--list"], "are known once 02_category_fusion has been executed"),
        (["--list", "--jobs", "sessions*"], "are known once 01_catalogue has been executed"),
    ],
)
def test_what_a_study_cannot_do_is_said_before_anything_runs(
    tmp_path, monkeypatch, capsys, arguments, problem
):
    monkeypatch.chdir(tmp_path)
    assert run(monkeypatch, "study", "--profile", "smoke", *arguments) == 2
    (complaint,) = capsys.readouterr().err.splitlines()
    assert problem in complaint
    assert list(tmp_path.iterdir()) == []


def test_two_slices_at_once_on_one_folder_are_refused(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(pipeline, "_snakemake", lambda *_: None)
    code = "import sys, time\nfrom vsa.study import pipeline\nfrom vsa.study.run import make_run\n"
    code += "with pipeline.locked(make_run('synthetic', 'smoke', 0)):\n"
    code += "    print('locked', flush=True)\n    time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as other:
        assert other.stdout.readline() == b"locked\n"
        monkeypatch.setattr(sys, "argv", ["vsa", "study", "--profile", "smoke", "--minutes", "8"])
        with pytest.raises(SystemExit) as end:
            cli.main()
        other.kill()
    assert end.value.code == 2
    assert f"process {other.pid} is at work on the run synthetic-smoke" in capsys.readouterr().err


def test_a_slice_says_how_to_go_on_and_a_whole_study_is_reported(monkeypatch, capsys):
    from vsa.study.embedding import command
    from vsa.study.embedding.slices import Slice

    made = []
    monkeypatch.setattr(pipeline, "reproduce", lambda *a, **o: made.append(o.get("until")))
    monkeypatch.setattr(pipeline, "_repeat_warnings", lambda *_: None)
    monkeypatch.setattr(command, "open_study", lambda *_: [])
    monkeypatch.setattr("vsa.study.cli.reproduce", lambda *_: made.append("all"))
    monkeypatch.setattr(command, "run_jobs", lambda *_: Slice(9, 4, 2, "within clicks: 3 of 6"))
    for more, expected in ((["--minutes", "8"], []), ([], ["all"])):
        made.clear()
        monkeypatch.setattr(sys, "argv", ["vsa", "study", "--profile", "smoke", *more])
        with pytest.raises(SystemExit) as end:
            cli.main()
        assert not end.value.code
        assert made == ["02_category_fusion", *expected]
    told = capsys.readouterr().err
    assert "stopped in time, within clicks: 3 of 6: 4 of 9 jobs are finished, 2 of them now" in told
    assert "the same command goes on from there" in told


def test_a_study_ends_with_a_status_that_says_that_jobs_failed(monkeypatch, capsys):
    from vsa.study.embedding import command
    from vsa.study.embedding.slices import Slice

    failed = ("clicks, seed 0: the loss is nan", "+ filter, seed 1: the loss is inf")
    monkeypatch.setattr(pipeline, "reproduce", lambda *a, **o: None)
    monkeypatch.setattr(command, "open_study", lambda *_: [])
    monkeypatch.setattr("vsa.study.cli.reproduce", pytest.fail)
    monkeypatch.setattr(command, "run_jobs", lambda *_: Slice(9, 7, 2, failed=failed))
    for more in (["--minutes", "8"], []):
        assert run(monkeypatch, "study", "--profile", "smoke", *more) == 2
        told = capsys.readouterr().err
        assert "7 of 9 jobs are finished" in told
        assert f"2 jobs failed: {failed[0]} | {failed[1]}" in told


def test_compare_prints_and_writes_a_table(tmp_path, monkeypatch, capsys):
    from published_run import make_published_run

    make_published_run()
    table = str(tmp_path / "table.csv")
    arguments = ["compare", "synthetic-smoke", "synthetic-smoke", "--csv", table]
    assert run(monkeypatch, *arguments) == 0
    assert "Identical Recall@1" in capsys.readouterr().out
    assert Path(table).read_text().startswith("section,experiment,variant,metric,unit,a,b,")
    assert run(monkeypatch, "compare", "synthetic-smoke", "synthetic-smokee") == 2
    assert "Did you mean synthetic-smoke?" in capsys.readouterr().err


def test_an_unknown_option_is_refused(monkeypatch, capsys):
    assert run(monkeypatch, "reproduce", "--epochs", "3") == 2
    assert "--epochs" in capsys.readouterr().err


def test_a_number_of_threads_that_is_none_is_answered_by_every_command(monkeypatch, capsys):
    monkeypatch.setenv("OMP_NUM_THREADS", "abc")
    assert run(monkeypatch, "search", "nowhere", "photo.jpg") == 2
    assert "OMP_NUM_THREADS='abc'" in capsys.readouterr().err


def test_a_folder_that_is_gone_is_said(tmp_path, monkeypatch, capsys):
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert run(monkeypatch, "search", "index", "photo.jpg") == 2
    assert "the folder you are in was removed" in capsys.readouterr().err
    monkeypatch.chdir(tmp_path)


def test_help_imports_nothing_heavy():
    code = "import sys, vsa.cli; print(*{m.split('.')[0] for m in sys.modules})"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    heavy = {"torch", "numpy", "pandas", "papermill", "snakemake", "matplotlib"}
    assert not heavy & set(done.stdout.split())


def test_a_relative_folder_is_resolved_where_the_command_was_given(tmp_path, monkeypatch):
    asked = []
    (tmp_path / "my shop").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(pipeline, "_check_data", asked.append)
    monkeypatch.setattr(pipeline, "_snakemake", lambda *_: None)
    report = pipeline.reproduce("folder:my shop", "smoke")
    assert asked[0].dataset == f"folder:{tmp_path / 'my shop'}"
    assert report == asked[0].reports / "report.html"


def test_a_place_that_cannot_be_written_is_one_paragraph(tmp_path, monkeypatch, capsys):
    (tmp_path / "file").touch()
    monkeypatch.setenv("VSA_ARTIFACTS_DIR", str(tmp_path / "file" / "artifacts"))
    assert run(monkeypatch, "reproduce", "--profile", "smoke") == 2
    assert "set VSA_ARTIFACTS_DIR to a folder elsewhere" in capsys.readouterr().err
    with pytest.raises(vsa.InputError, match="Not a directory"):
        vsa.reproduce(profile="smoke")


def shell(command: str, *redirected: str) -> tuple[int, str]:
    """Exit status and standard error of ``vsa`` with its output redirected."""
    line = f"set -o pipefail; {sys.executable} -m vsa.cli {command} {' '.join(redirected)}"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=False)
    return done.returncode, done.stderr


def test_a_reader_that_has_seen_enough_hears_no_complaint():
    assert shell("--help", "| true") == (1, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="of Linux")
def test_output_that_cannot_be_written_is_told():
    assert shell("--help", ">/dev/full") == (2, "vsa: No space left on device. Free some space.\n")


def test_an_interrupted_command_ends_without_a_word(tmp_path):
    code = "import vsa.cli, vsa.study.pipeline as p, os, signal\n"
    code += "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # in the background, too
    code += "p.reproduce = lambda *_, **__: os.kill(os.getpid(), signal.SIGINT)\nvsa.cli.main()"
    command = [sys.executable, "-c", code, "reproduce"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 130
    assert done.stderr == "vsa: synthetic, laptop, seed 0\n"
