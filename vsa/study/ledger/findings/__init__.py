"""What all published ledgers say together: FINDINGS.md and .html, and README's first screen."""

from vsa.study.ledger.findings.page import write_findings
from vsa.study.ledger.findings.readme import read_block, readme_block, update_readme
from vsa.study.ledger.findings.runs import published_folders

__all__ = [
    "published_folders",
    "read_block",
    "readme_block",
    "update_readme",
    "write_findings",
]
