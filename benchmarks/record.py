"""``reports/benchmarks.json``: what benchmarks measured last, on which machine and commit."""

from __future__ import annotations

import json
from typing import Any

from vsa.runtime.atomic import atomic_file
from vsa.runtime.device import pick_device
from vsa.runtime.paths import reports_dir
from vsa.study.ledger.environment import commit, machine, versions


def record(results: dict[str, Any], section: str | None = None) -> None:
    """Store results in place of earlier ones of that section; by default those of training."""
    file = reports_dir() / "benchmarks.json"
    before = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    now = {
        "commit": commit(),
        "device": pick_device().name,
        "machine": machine(),
        "versions": versions(),
        "results": results,
    }
    content = before | (now if section is None else {section: now})
    with atomic_file(file) as draft:
        draft.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
