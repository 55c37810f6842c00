"""Writes where jobs would lie, for a process of its own to compare: collected only by name."""

import json
import os
from pathlib import Path

from vsa.study.embedding.variants import in_study


def test_write_the_keys(make_lab, tmp_path):
    lab = make_lab(tmp_path)
    found = {name: lab.path(name).name for name in in_study()}
    Path(os.environ["KEYS_FILE"]).write_text(json.dumps(found), encoding="utf-8")
