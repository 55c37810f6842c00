"""One machine, one number of threads: the same numbers, bit by bit."""

import json
import os
import subprocess
import sys

import pytest
from golden.learning import joint_training_once

from vsa.runtime.fingerprint import state_digest
from vsa.runtime.paths import ROOT
from vsa.study.ledger.metrics_file import record_key
from vsa.study.ledger.registry import get_metric
from vsa.study.ledger.sections import REGIMES, SECTIONS

TRAIN = """
from test_determinism import trained
print(trained())
"""


def trained() -> str:
    net, log = joint_training_once("both")
    return f"{state_digest(net.state_dict())} {log.loss.tolist()}"


@pytest.mark.slow
def test_two_processes_train_equal_weights():
    paths = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    other = subprocess.run(
        [sys.executable, "-c", TRAIN],
        env=os.environ | {"PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    assert other.stdout.strip() == trained()


@pytest.mark.by_hand
def test_two_fresh_runs_measure_the_same_but_for_times(tmp_path):
    values = []
    for number in range(2):
        folder = tmp_path / str(number)
        environment = os.environ | {
            "VSA_ARTIFACTS_DIR": str(folder / "artifacts"),
            "VSA_REPORTS_DIR": str(folder / "reports"),
        }
        command = [sys.executable, "-m", "vsa.cli", "reproduce", "--profile", "smoke"]
        subprocess.run(command, env=environment, check=True, timeout=3000)
        file = folder / "reports/synthetic-smoke/metrics.json"
        records = json.loads(file.read_text(encoding="utf-8"))["records"]
        values.append(
            {
                record_key(record): [record[name] for name in ("value", "ci_low", "ci_high", "n")]
                for record in records
                if not get_metric(record["metric"]).is_timed
            }
        )
    assert values[0] == values[1]
    assert {name.split("/")[0] for name in values[0]} == set(SECTIONS) - {"00_tour", REGIMES}
    assert len(values[0]) > 500
