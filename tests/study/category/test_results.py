import dataclasses

import numpy as np
import pandas as pd
import pytest

from vsa.category.predictor import open_predictor, save_predictor
from vsa.category.task import CategoryTask, make_task, require_labels
from vsa.data.schema import BOX, QUALITY, Dataset
from vsa.runtime.device import pick_device
from vsa.runtime.errors import InputError, NotApplicable
from vsa.study.category.experiment import SeedResult, growing_references, trained_predictor
from vsa.study.category.plots import prediction_plot, telling_query
from vsa.study.category.results import (
    COMPARISONS,
    accuracy_by_category,
    answer_test_queries,
    growth_curves,
    hits,
    reading,
    record,
)
from vsa.study.ledger.ledger import Ledger
from vsa.study.run import make_run

CATEGORIES = ["bag", "hat", "shoe"]
N_REFERENCES, N_JUDGED = 120, 900


def table(prefix, n, split=None):
    return pd.DataFrame(
        {
            "id": [f"{prefix}{i}" for i in range(n)],
            "path": [f"{prefix}{i}.png" for i in range(n)],
            "category": [CATEGORIES[i % 3] for i in range(n)],
            "product_id": [f"{prefix}-p{i // 2}" for i in range(n)],
        }
    )


@pytest.fixture
def task():
    reference = table("r", N_REFERENCES).assign(is_training=np.arange(N_REFERENCES) < 60)
    return CategoryTask(reference, table("v", N_JUDGED), table("t", N_JUDGED), CATEGORIES)


def seed_result(task, seed, model_skill, feature_skill):
    """A made-up network: how sure its softmax is, and how well its features separate."""
    rng = np.random.default_rng(seed)

    def features(rows):
        points = np.eye(8)[task.labels(rows)] * feature_skill + rng.normal(size=(len(rows), 8))
        return (points / np.linalg.norm(points, axis=1, keepdims=True)).astype(np.float32)

    def model(rows):
        logits = model_skill * np.eye(3)[task.labels(rows)] + rng.normal(size=(len(rows), 3))
        return (np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)).astype(np.float32)

    log = pd.DataFrame({"step": range(8), "loss": 1.0, "wait_ms": 1.0, "step_ms": 100.0})
    tables = {"reference": task.reference, "val": task.val, "test": task.test}
    return SeedResult(
        seed,
        {"val": model(task.val), "test": model(task.test)},
        model(task.test),
        {name: features(rows) for name, rows in tables.items()},
        log,
        {},
    )


@pytest.fixture
def ledger(tmp_path, monkeypatch):
    monkeypatch.setenv("VSA_REPORTS_DIR", str(tmp_path / "reports"))
    monkeypatch.setenv("VSA_ARTIFACTS_DIR", str(tmp_path / "artifacts"))
    return Ledger.open(make_run("synthetic", "laptop", 0), "02_category_fusion")


def judged(task, ledger, model_skill, feature_skill):
    results = [seed_result(task, seed, model_skill, feature_skill) for seed in range(3)]
    outcome = answer_test_queries(task, results, (0.3, 1.0))
    record(ledger, task, results, outcome, 200)
    ledger.save()
    return outcome


def test_records_equal_what_is_counted(task, ledger):
    outcome = judged(task, ledger, 1.0, 1.0)
    for method in ("model", "search", "fusion"):
        counted = (outcome.probabilities[method].argmax(axis=2) == outcome.labels).mean()
        recorded = ledger.value("02_category_fusion", "accuracy", method, "Accuracy@1")
        assert recorded == pytest.approx(counted, rel=1e-3)
    model = hits(outcome.probabilities["model"], outcome.labels)
    fusion = hits(outcome.probabilities["fusion"], outcome.labels)
    difference = ledger.value(
        "02_category_fusion", "difference", "fusion − model", "Accuracy@1 difference"
    )
    assert difference == pytest.approx((fusion - model).mean(), abs=1e-3)


def test_two_weak_independent_opinions_reproduce_the_claim(task, ledger):
    judged(task, ledger, 1.0, 1.0)
    assert "C1 reproduced" in ledger.verdict("C1")


def test_a_search_that_knows_nothing_does_not_reproduce_it(task, ledger):
    judged(task, ledger, 2.0, 0.0)
    assert "C1 reproduced" not in ledger.verdict("C1")


def test_search_helps_more_with_more_references(task, ledger):
    outcome = judged(task, ledger, 0.5, 1.5)
    sizes, curves = growth_curves(ledger, outcome)
    assert sizes == [36, 120]
    assert set(curves) == {"model", "search", "fusion"}
    assert curves["search"][1].value == pytest.approx(
        ledger.value("02_category_fusion", "accuracy", "search", "Accuracy@1")
    )


def test_confusion_counts_every_answer_once(task, ledger):
    outcome = judged(task, ledger, 1.0, 1.0)
    matrix = outcome.confusion("fusion")
    assert matrix.sum() == 3 * N_JUDGED
    by_category = accuracy_by_category(task, outcome).fusion
    np.testing.assert_allclose(matrix.diagonal() / matrix.sum(axis=1), by_category)


def test_telling_queries_changed_their_answer(task, ledger):
    outcome = judged(task, ledger, 1.0, 1.0)
    right = {
        method: outcome.probabilities[method][0].argmax(axis=1) == outcome.labels
        for method in ("model", "fusion")
    }
    repaired = telling_query(outcome, repaired=True)
    assert right["fusion"][repaired]
    assert not right["model"][repaired]


def test_growing_references_are_nested(task):
    small, large = (set(growing_references(task, f, seed=5)) for f in (0.3, 0.6))
    assert small < large
    assert len(growing_references(task, 0.001, seed=5)) == 30


def test_predictor_is_what_was_saved(task, ledger, tmp_path):
    from vsa.category.model import CategoryNet

    settings = make_run("synthetic", "smoke", 0).settings.category
    net = CategoryNet(settings.architecture, 3, pretrained=False)
    result = seed_result(task, 0, 1.0, 1.0)
    rng = np.random.default_rng(0)
    wide = rng.normal(size=(N_REFERENCES, net.head.in_features)).astype(np.float32)
    result.features["reference"] = wide / np.linalg.norm(wide, axis=1, keepdims=True)
    result = dataclasses.replace(result, state=net.state_dict())
    choice = answer_test_queries(task, [seed_result(task, 0, 1.0, 1.0)], (1.0,)).choices[0]
    trained = trained_predictor(task, result, choice, settings, pick_device())
    save_predictor(tmp_path / "predictor", trained)
    predictor = open_predictor(tmp_path / "predictor", pick_device())
    assert (predictor.store_px, predictor.crop_px) == (settings.store_px, settings.crop_px)
    image = rng.integers(0, 256, (72, 72, 3), dtype=np.uint8)
    prediction = predictor.predict(image)
    expected = choice.weight * prediction.model + (1 - choice.weight) * prediction.search
    np.testing.assert_allclose(prediction.fused, expected, rtol=1e-5)
    assert prediction.neighbours.weight.sum() == pytest.approx(1, rel=1e-5)
    votes = prediction.neighbours.groupby("category").weight.sum()
    np.testing.assert_allclose(
        votes.reindex(CATEGORIES, fill_value=0), prediction.search, atol=1e-5
    )
    assert predictor.categories[prediction.fused.argmax()] == prediction.category
    both = predictor.predict_batch(np.stack([image[:, ::-1], image]))
    assert len(both) == 2
    np.testing.assert_allclose(both[1].fused, prediction.fused, atol=1e-5)
    assert list(both[1].neighbours.id) == list(prediction.neighbours.id)
    assert predictor.predict_batch(np.empty((0, 72, 72, 3), np.uint8)) == []
    pictures = np.zeros((10, 8, 8, 3), np.uint8)
    assert prediction_plot(image, prediction, pictures, "bag").axes


def test_opening_what_was_not_trained_says_what_to_run(tmp_path):
    with pytest.raises(InputError, match="02_category_fusion"):
        open_predictor(tmp_path / "none", pick_device())


def make_dataset(test_product):
    """Two products; the query of p1 is for training, that of `test_product` for the test."""
    catalogue = pd.DataFrame(
        {
            "image_id": ["c1", "c2", "c3"],
            "product_id": ["p1", "p2", "p2"],
            "category": "bag",
            "leaf": "bag",
            "source": ["main", "main", "sku"],
            "path": ["c1", "c2", "c3"],
        }
    )
    queries = pd.DataFrame(
        {
            "query_id": ["q1", "q2", "q3"],
            "path": ["q1", "q2", "q3"],
            "product_id": ["p1", test_product, None],
            "category": ["bag", "bag", None],
            "split": ["train", "test", "val"],
        }
    )
    catalogue[QUALITY + BOX] = np.nan
    queries[BOX] = np.nan
    return Dataset("tiny", None, catalogue, queries, pd.DataFrame())


def test_the_classifier_never_sees_products_of_the_test_split():
    task = make_task(make_dataset("p2"), pd.Series(["c1", "c2", "c3"]))
    assert set(task.reference.id[task.reference.is_training]) == {"c1", "q1"}
    assert set(task.reference.id) == {"c1", "c2", "c3", "q1"}
    assert list(task.test.id) == ["q2"]
    assert task.val.empty, "a query of unknown category cannot be judged"


def test_where_products_are_shared_all_main_images_train():
    task = make_task(make_dataset("p1"), pd.Series(["c1", "c2"]))
    assert set(task.reference.id[task.reference.is_training]) == {"c1", "c2", "q1"}
    assert "c3" not in set(task.reference.id), "selection removed it"


def test_cases_of_agreement_cover_all_queries(task, ledger):
    judged(task, ledger, 1.0, 1.0)
    cases = ledger.table("why: who is right when")["share of queries"]
    whole = ["both right", "only the model right", "only search right", "both wrong"]
    assert cases[whole].sum() == pytest.approx(1, abs=1e-3)
    assert reading(ledger).count("\n- ") == len(COMPARISONS) - 1
    assert "not compared" not in reading(ledger)
    assert cases["only search right, and fusion too"] <= cases["only search right"]


def test_a_task_without_labelled_test_queries_is_left_out(task):
    require_labels(task)
    with pytest.raises(NotApplicable, match="no test query"):
        require_labels(CategoryTask(task.reference, task.val, task.test.iloc[:0], CATEGORIES))
    with pytest.raises(NotApplicable, match="one category"):
        require_labels(CategoryTask(task.reference, task.val, task.test, CATEGORIES[:1]))
