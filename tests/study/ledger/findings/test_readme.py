"""README's first screen of results."""

import pytest
from made_ledgers import WHOLE, surely

from vsa.runtime.errors import InputError
from vsa.runtime.paths import ROOT
from vsa.study.ledger.findings import (
    published_folders,
    read_block,
    readme_block,
    update_readme,
)

TEXT = "# Title\n\n<!-- results:begin -->\nold\n<!-- results:end -->\n\nThe end.\n"


@pytest.fixture
def folders(publish):
    return [
        publish("synthetic", {"C1": {"over both": surely(0.05)}}),
        publish("grocery", {"C1": {"over both": surely(-0.02)}}),
    ]


@pytest.fixture
def readme(tmp_path):
    path = tmp_path / "README.md"
    path.write_text(TEXT, encoding="utf-8")
    return path


def test_the_block_is_what_was_found_and_a_table_of_claims_by_runs(folders):
    lines = readme_block(folders).splitlines()
    assert lines[0] == "- Held on some data sets, and surely did not on others: **C1**."
    assert lines[1].startswith("- Settled on no data set: **C2**, **C2a**, ")
    assert lines[3] == (
        "| claim of the paper | [synthetic](reports/synthetic-laptop/RESULTS.md) "
        "| [grocery](reports/grocery-laptop/RESULTS.md) |"
    )
    assert lines[4] == "|---|:---:|:---:|"
    assert lines[5].startswith("| **C1** Fusing ")
    assert lines[5].endswith(" | ✓ | ✗ |")
    assert lines[6].endswith(" | – | – |")
    assert "(reports/FINDINGS.md)" in lines[-3]
    assert len(lines) < 25  # one screen


def test_a_run_that_is_not_whole_is_named_below(folders, publish):
    partial = publish("vpr2023", sections=WHOLE[:4])
    block = readme_block([*folders, partial])
    assert block.endswith(
        "Left out: vpr2023-laptop (it lacks the notebooks 05\\_quality\\_rerank, "
        "06\\_end\\_to\\_end)."
    )
    assert "vpr2023" not in block.split("Left out")[0]


def test_a_link_reaches_a_folder_of_any_name(folders):
    copy = folders[0].rename(folders[0].with_name("synthetic (a copy)"))
    assert "[synthetic](reports/synthetic%20%28a%20copy%29/RESULTS.md)" in readme_block([copy])


def test_updating_changes_the_block_alone_and_once(folders, readme):
    assert read_block(readme) == "old"
    assert update_readme(readme, folders)
    assert read_block(readme) == readme_block(folders)
    text = readme.read_text(encoding="utf-8")
    assert text.startswith("# Title\n\n<!-- results:begin -->\n- Held on ")
    assert text.endswith("\n<!-- results:end -->\n\nThe end.\n")
    assert not update_readme(readme, folders)


def test_a_readme_that_differs_from_the_ledger_is_found(folders, readme):
    update_readme(readme, folders)
    readme.write_text(readme.read_text(encoding="utf-8").replace("✓ | ✗", "✗ | ✓"))
    assert read_block(readme) != readme_block(folders)


@pytest.mark.parametrize("text", ["none", TEXT + TEXT, TEXT.replace("begin", "x")])
def test_markers_must_be_there_once(folders, readme, text):
    readme.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match="results:begin"):
        update_readme(readme, folders)
    assert readme.read_text(encoding="utf-8") == text


def test_without_any_verdict_there_is_no_table(publish):
    with pytest.raises(InputError, match="make reproduce"):
        readme_block([publish("synthetic")])


def test_the_published_readme_is_what_the_ledgers_give(as_published):
    folders = published_folders(ROOT / "reports")
    assert read_block(ROOT / "README.md") == readme_block(folders)
