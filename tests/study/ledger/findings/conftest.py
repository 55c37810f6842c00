import subprocess

import pytest
from made_ledgers import make_ledger

from vsa.runtime.paths import ROOT


@pytest.fixture
def publish(tmp_path, monkeypatch):
    """`made_ledgers.make_ledger`, into a folder of reports of its own."""
    monkeypatch.setenv("VSA_REPORTS_DIR", str(tmp_path / "reports"))
    return make_ledger


@pytest.fixture
def as_published():
    """Skip where reports or README were touched: `vsa report all` brings them up to date."""
    git = ["git", "-C", str(ROOT), "status", "--porcelain", "reports", "README.md"]
    status = subprocess.run(git, capture_output=True, text=True, check=False)
    if status.returncode or status.stdout:
        pytest.skip("reports are not as published: `vsa report all` brings the README up to date")
