import json
import subprocess

import pytest

from vsa.runtime.errors import InputError
from vsa.runtime.paths import ROOT
from vsa.study.ledger.bootstrap import Interval
from vsa.study.ledger.claims import judge
from vsa.study.ledger.ledger import Ledger
from vsa.study.ledger.reporting import read_block, readme_block, update_readme
from vsa.study.run import make_run

TEXT = "# Title\n\n<!-- results:begin -->\nold\n<!-- results:end -->\n\nThe end.\n"


@pytest.fixture
def folders(tmp_path, monkeypatch):
    monkeypatch.setenv("VSA_REPORTS_DIR", str(tmp_path / "reports"))
    made = []
    for dataset, effect in (
        ("synthetic", Interval(0.05, 0.02, 0.09, 50)),
        ("grocery", Interval(-0.02, -0.03, -0.01, 50)),
    ):
        run = make_run(dataset, "laptop", 0)
        ledger = Ledger.open(run, "02_category_fusion")
        key = ledger.record("accuracy", "fusion", "Accuracy@1", 0.8)
        ledger.claim(judge("C1", effect, "Accuracy@1", [key]))
        ledger.save()
        made.append(run.reports)
    return made


@pytest.fixture
def readme(tmp_path):
    path = tmp_path / "README.md"
    path.write_text(TEXT, encoding="utf-8")
    return path


def test_the_block_is_a_table_of_claims_by_runs(folders):
    head, rule, row = readme_block(folders).splitlines()
    assert head == (
        "| claim | [synthetic-laptop](reports/synthetic-laptop/RESULTS.md) "
        "| [grocery-laptop](reports/grocery-laptop/RESULTS.md) |"
    )
    assert rule == "|---|---|---|"
    assert "✓ reproduced: +0.050 [+0.020, +0.090] Accuracy@1" in row
    assert "✗ not reproduced: -0.020 [-0.030, -0.010] Accuracy@1" in row


def test_a_link_reaches_a_folder_of_any_name(folders):
    copy = folders[0].rename(folders[0].with_name("synthetic (a copy)"))
    assert "[synthetic (a copy)](reports/synthetic%20%28a%20copy%29/RESULTS.md)" in readme_block(
        [copy]
    )


def test_a_claim_judged_in_one_run_only(folders):
    path = folders[0] / "metrics.json"
    metrics = json.loads(path.read_text())
    metrics["claims"][0]["id"] = "C7"
    path.write_text(json.dumps(metrics))
    rows = readme_block(folders).splitlines()[2:]
    assert [row.count("not run") for row in rows] == [1, 1]
    assert rows[0].startswith("| **C1**")
    assert rows[1].startswith("| **C7**")


def test_updating_changes_the_block_alone_and_once(folders, readme):
    assert read_block(readme) == "old"
    assert update_readme(readme, folders)
    assert read_block(readme) == readme_block(folders)
    text = readme.read_text(encoding="utf-8")
    assert text.startswith("# Title\n\n<!-- results:begin -->\n| claim |")
    assert text.endswith("|\n<!-- results:end -->\n\nThe end.\n")
    assert not update_readme(readme, folders)


def test_a_readme_that_differs_from_the_ledger_is_found(folders, readme):
    update_readme(readme, folders)
    readme.write_text(readme.read_text(encoding="utf-8").replace("+0.050", "+0.051"))
    assert read_block(readme) != readme_block(folders)


@pytest.mark.parametrize("text", ["none", TEXT + TEXT, TEXT.replace("begin", "x")])
def test_markers_must_be_there_once(folders, readme, text):
    readme.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match="results:begin"):
        update_readme(readme, folders)
    assert readme.read_text(encoding="utf-8") == text


def test_without_any_verdict_there_is_no_table(tmp_path, monkeypatch):
    monkeypatch.setenv("VSA_REPORTS_DIR", str(tmp_path))
    run = make_run("synthetic", "smoke", 0)
    ledger = Ledger.open(run, "01_catalogue")
    ledger.record("data", "catalogue", "images", 1)
    ledger.save()
    with pytest.raises(InputError, match="make reproduce"):
        readme_block([run.reports])


def test_the_published_readme_is_what_the_ledgers_give():
    git = ["git", "-C", str(ROOT), "status", "--porcelain", "reports", "README.md"]
    status = subprocess.run(git, capture_output=True, text=True, check=False)
    if status.returncode or status.stdout:
        pytest.skip("reports are not as published: `vsa report all` brings the README up to date")
    folders = sorted(path.parent for path in (ROOT / "reports").glob("*-laptop/metrics.json"))
    published = [folder for folder in folders if not folder.name.startswith("folder-")]
    assert read_block(ROOT / "README.md") == readme_block(published)
