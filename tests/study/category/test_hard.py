"""The hard setting of claim C1, and which settings judge it."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from vsa.category.task import CategoryTask
from vsa.data.schema import Dataset
from vsa.study.category.experiment import SeedResult
from vsa.study.category.hard import CEILING, ask_leaves, is_at_ceiling, with_leaves
from vsa.study.category.results import (
    HARD,
    HARD_DIFFERENCES,
    answer_test_queries,
    reading_of_hard,
    record,
)
from vsa.study.ledger.ledger import Ledger
from vsa.study.run import make_run

LEAVES = ["boxer", "shorts", "slip", "dress"]  # two of each category
CATEGORIES = ["pants", "wear"]
SECTION = "02_category_fusion"


def table(prefix, n):
    return pd.DataFrame(
        {
            "id": [f"{prefix}{i}" for i in range(n)],
            "path": "x",
            "product_id": [f"p{i % 40}" for i in range(n)],
            "category": [CATEGORIES[i % 4 // 2] for i in range(n)],
        }
    )


@pytest.fixture
def task():
    reference = table("r", 800).assign(is_training=np.arange(800) < 400)
    return CategoryTask(reference, table("v", 200), table("t", 400), CATEGORIES)


@pytest.fixture
def dataset():
    rows = {"product_id": [f"p{i}" for i in range(40)], "leaf": [LEAVES[i % 4] for i in range(40)]}
    return Dataset("made", None, pd.DataFrame(rows), pd.DataFrame(), pd.DataFrame())


def seed_result(task, seed, skill=1.5, sure=3.0):
    """Features that tell leaves apart by `skill`; a model as `sure` of categories."""
    rng = np.random.default_rng(seed)
    rows = {"reference": task.reference, "val": task.val, "test": task.test}

    def features(one):
        leaf = np.arange(len(one)) % 4
        points = skill * np.eye(8)[leaf] + 0.5 * rng.normal(size=(len(one), 8))
        return (points / np.linalg.norm(points, axis=1, keepdims=True)).astype(np.float32)

    def model(one):
        logits = sure * np.eye(2)[task.labels(one)] + rng.normal(size=(len(one), 2))
        return (np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)).astype(np.float32)

    log = pd.DataFrame({"step": range(8), "loss": 1.0, "wait_ms": 1.0, "step_ms": 100.0})
    splits = {"val": model(task.val), "test": model(task.test)}
    found = {name: features(one) for name, one in rows.items()}
    return SeedResult(seed, splits, splits["test"], found, log, {})


@pytest.fixture
def ledger(tmp_path, monkeypatch):
    monkeypatch.setenv("VSA_REPORTS_DIR", str(tmp_path / "reports"))
    monkeypatch.setenv("VSA_ARTIFACTS_DIR", str(tmp_path / "artifacts"))
    return Ledger.open(make_run("synthetic", "laptop", 0), SECTION)


def judged(ledger, task, dataset, **options):
    results = [seed_result(task, seed, **options) for seed in range(3)]
    hard = ask_leaves(ledger.run, task, dataset, results)
    outcome = answer_test_queries(task, results, (1.0,))
    record(ledger, task, results, outcome, 100, hard)
    return hard


def test_pictures_and_photos_are_named_by_the_leaf_of_their_product(task, dataset):
    leaves = with_leaves(task, dataset)
    assert leaves.categories == sorted(LEAVES)
    assert leaves.test.category[:4].tolist() == LEAVES
    assert leaves.reference.id.tolist() == task.reference.id.tolist()
    assert task.test.category[:4].tolist() == ["pants", "pants", "wear", "wear"]


def test_a_tenth_of_the_labels_and_of_them_only_training_images_for_the_model(
    ledger, task, dataset, monkeypatch
):
    from vsa.study.category import hard as module

    seen = []
    fit = module.fit_last_layer

    def watched(features, rows, labels, leaves):
        seen.append(rows)
        return fit(features, rows, labels, leaves)

    monkeypatch.setattr(module, "fit_last_layer", watched)
    hard = judged(ledger, task, dataset)
    assert hard.n_labelled == 80
    assert all(task.reference.is_training.to_numpy()[rows].all() for rows in seen)
    assert hard.n_training == round(np.mean([len(rows) for rows in seen]))
    assert not np.array_equal(seen[0], seen[1]), "each seed draws its own"
    for found in hard.probabilities.values():
        assert found.shape == (3, 400, 4)
        np.testing.assert_allclose(found.sum(axis=2), 1, rtol=1e-4)


def test_another_data_set_is_not_asked(ledger, task, dataset):
    other = make_run("grocery", "laptop", 0)
    assert ask_leaves(other, task, dataset, [seed_result(task, 0)]) is None
    results = [seed_result(task, seed) for seed in range(3)]
    record(ledger, task, results, answer_test_queries(task, results, (1.0,)), 50)
    assert "Only of the rendered shop" in reading_of_hard(ledger)
    assert set(ledger._claims["C1"]["effects"]) == {"fusion − model", "fusion − search"}


def test_the_claim_is_judged_in_the_hard_setting_too(ledger, task, dataset):
    hard = judged(ledger, task, dataset, skill=0.5, sure=1.0)
    assert not is_at_ceiling(hard.on_validation)
    effects = ledger._claims["C1"]["effects"]
    plain = ["fusion − model", "fusion − search"]
    assert set(effects) == {*plain, *(f"{name}, leaf categories" for name in plain)}
    right = {m: p.argmax(axis=2) == hard.labels for m, p in hard.probabilities.items()}
    gained = (right["fusion"].astype(float) - right["search"]).mean()
    assert effects["fusion − search, leaf categories"]["effect"] == pytest.approx(gained, abs=1e-4)
    told = ledger.intervals(HARD_DIFFERENCES, "Accuracy@1 difference")
    assert told["fusion − search"].value == pytest.approx(gained, abs=1e-4)
    assert "neither is at the ceiling" in reading_of_hard(ledger)
    assert ledger.table(HARD).loc["model", "Accuracy@1"] == pytest.approx(
        right["model"].mean(), abs=1e-3
    )


def test_a_setting_with_a_part_at_its_ceiling_does_not_judge(ledger, task, dataset):
    """Categories are told apart nearly always; leaves are not."""
    judged(ledger, task, dataset, skill=0.5, sure=9.0)
    effects = ledger._claims["C1"]["effects"]
    assert set(effects) == {"fusion − model, leaf categories", "fusion − search, leaf categories"}


def test_where_all_settings_are_at_the_ceiling_all_are_shown(ledger, task, dataset):
    hard = judged(ledger, task, dataset, skill=9.0, sure=9.0)
    assert is_at_ceiling(hard.on_validation)
    assert len(ledger._claims["C1"]["effects"]) == 4
    assert "one of them is at the ceiling" in reading_of_hard(ledger)


def test_the_ceiling_is_that_of_the_better_part():
    assert is_at_ceiling({"model": 0.2, "search": CEILING + 0.01})
    assert not is_at_ceiling({"model": CEILING, "search": 0.2})
