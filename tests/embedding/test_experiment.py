import dataclasses

import numpy as np
import pandas as pd
import pytest

from vsa.embedding.task import make_task
from vsa.models.embedder import Embedder
from vsa.runtime.errors import NotApplicable
from vsa.study.embedding.baselines import HISTOGRAM, IMAGENET
from vsa.study.embedding.experiment import EmbeddingLab
from vsa.study.embedding.finished import gather
from vsa.study.embedding.reading import reading
from vsa.study.embedding.results import record
from vsa.study.embedding.retrieval import N_RESULTS, rank
from vsa.study.embedding.variants import (
    CATEGORY,
    JOINT,
    LOOKS,
    PER_QUERY,
    SHARED,
    in_notebook,
    in_study,
    untrained,
    variants,
)
from vsa.study.ledger.ledger import Ledger
from vsa.study.ledger.tables import tables
from vsa.study.run import make_run


def test_names_are_unique_and_every_start_exists():
    assert len(set(in_study())) == len(in_study())
    assert set(in_notebook()) <= set(in_study())
    starts = {variant.start for variant in variants().values()}
    assert starts <= {CATEGORY, *variants()}


def test_ranking_against_brute_force():
    rng = np.random.default_rng(0)
    queries, catalogue = rng.standard_normal((4, 8)), rng.standard_normal((90, 8))
    of_queries, of_images = np.array([0, 1, 1, 2]), rng.integers(0, 2, 90)
    found = rank(queries, catalogue, of_queries, of_images)
    order = np.argsort(-(queries @ catalogue.T), axis=1)
    assert np.array_equal(found.everywhere, order[:, :N_RESULTS])
    for query in range(3):
        expected = [row for row in order[query] if of_images[row] == of_queries[query]][:N_RESULTS]
        assert found.within[query, : len(expected)].tolist() == expected
        assert (found.within[query, len(expected) :] == -1).all()
    assert (found.within[3] == -1).all(), "nothing of its category is for sale"


def test_a_finished_job_is_read_back(make_lab, tmp_path, monkeypatch):
    first = make_lab(tmp_path).run(PER_QUERY)
    monkeypatch.setattr(EmbeddingLab, "_train", None)
    again = make_lab(tmp_path).run(PER_QUERY)
    assert first.curve.equals(again.curve)
    for split in ("val", "test"):
        assert np.array_equal(first.judged[split].ranks, again.judged[split].ranks)
    assert again.card["steps"] == again.training["steps"] == len(again.curve)


def test_category_features_are_computed_once_for_the_same_weights(make_lab, tmp_path, monkeypatch):
    first = make_lab(tmp_path).category_features
    embed, n_asked = Embedder.embed, []
    monkeypatch.setattr(Embedder, "embed", lambda *args: n_asked.append(1) or embed(*args))
    again = make_lab(tmp_path).category_features
    assert not n_asked
    assert all((a == b).all() for a, b in zip(first, again, strict=True))
    state = make_lab(tmp_path).backbone_state
    name = next(name for name in state if name.endswith("weight"))
    other = dataclasses.replace(
        make_lab(tmp_path), backbone_state=state | {name: state[name].flip(0)}
    )
    assert not (other.category_features[0] == first[0]).all()
    assert len(n_asked) == 2, "queries and catalogue"


def test_labs_of_one_task_read_its_data_once(make_lab, tmp_path, monkeypatch):
    lab = make_lab(tmp_path)
    before = lab.data
    monkeypatch.setattr("vsa.embedding.task.checksum", lambda _: pytest.fail("read again"))
    assert make_lab(tmp_path, seed=1).data == before


def test_what_a_job_rests_on_names_its_folder(make_lab, tmp_path):
    lab, other = make_lab(tmp_path), make_lab(tmp_path, seed=1)
    assert lab.path(PER_QUERY) == make_lab(tmp_path).path(PER_QUERY)
    assert len({lab.path(name) for name in in_study()}) == len(in_study())
    assert lab.path(PER_QUERY) != other.path(PER_QUERY)


def test_a_job_killed_between_stages_goes_on(make_lab, tmp_path, monkeypatch):
    from vsa.embedding import recipe

    expected = make_lab(tmp_path / "straight").run(JOINT)
    train_stage, calls = recipe.train_stage, []

    def dying(*arguments):
        calls.append(arguments[-1])
        if len(calls) == 3:
            raise KeyboardInterrupt
        return train_stage(*arguments)

    monkeypatch.setattr(recipe, "train_stage", dying)
    with pytest.raises(KeyboardInterrupt):
        make_lab(tmp_path / "killed").run(JOINT)
    found = make_lab(tmp_path / "killed").run(JOINT)
    assert len(calls) == 5, "features, soft boxes, (killed) steep boxes; steep boxes, joint"
    assert found.curve.loss.tolist() == expected.curve.loss.tolist()


def test_without_true_boxes_or_a_simulated_log_some_jobs_are_impossible(make_lab, tmp_path):
    lab = make_lab(tmp_path)
    assert lab.is_possible("true boxes")
    assert not lab.is_possible("no stray clicks | raw")


def test_the_notebook_s_numbers_and_claims(make_lab, tmp_path, monkeypatch):
    monkeypatch.setenv("VSA_REPORTS_DIR", str(tmp_path / "reports"))
    monkeypatch.setenv("VSA_WEIGHTS_DIR", str(tmp_path))
    monkeypatch.setattr("torch.hub.load_state_dict_from_url", _no_network)
    labs = [make_lab(tmp_path / "jobs", seed) for seed in (0, 1)]
    for name in (SHARED, HISTOGRAM):
        labs[1].run(name)
    labs[0].run("δ = 0.2")
    finished = gather(labs)
    assert IMAGENET in finished.left_out
    not_here = {IMAGENET, *LOOKS}  # pictures of this shop lie in no files, to be looked at again
    assert {name for name in in_notebook() if name in finished} == set(in_notebook()) - not_here
    assert finished.seeds(SHARED) == [0, 1]
    assert finished.seeds(SHARED, PER_QUERY) == [0]
    ledger = Ledger.open(make_run("synthetic", "laptop", 0), "03_click_mined_training")
    record(ledger, labs, finished, n_resamples=50)
    features = ledger.table("features")
    assert set(untrained()) - {IMAGENET} < set(features.index)
    recall = [f"Identical Recall@{k}" for k in (1, 5, 20)]
    assert (features[recall].diff(axis=1).iloc[:, 1:] >= 0).all(axis=None), "recall grows with k"
    parts = ledger.table("by identical images on offer")
    assert any(row.startswith("mined − raw clicks | ") for row in parts.index)
    margin = ledger.table("sensitivity: margin δ")
    assert list(margin.index) == ["as chosen (+ per-query averaging)", "δ = 0.2"]
    assert ledger.table("boxes").loc["whole image", "mean side"] == 1
    text = ledger.verdicts()
    assert all(f"**{claim} " in text for claim in ("C2", "C2a", "C2b", "C3", "C3a"))
    lacks = {claim["id"]: claim["lacks"] for claim in ledger._claims.values()}
    assert lacks["C2"] == ["clicks − ImageNet", "3 training seeds"]
    assert "mask − no mask, same compute" in lacks["C3"]
    assert "reproduced**" not in text.replace("not reproduced", "")
    assert "(not measured in this run)" in str(tables(ledger, "sensitivity: slope k"))
    told = reading(ledger)
    assert "Does masking pay?" in told
    assert "`make study` does): clicks − ImageNet" in told


def _no_network(*arguments, **options):
    raise OSError("no network")


def test_what_cannot_be_learned_is_said(task):
    tables_ = (task.queries, task.catalogue)
    with pytest.raises(NotApplicable, match="products are not known"):
        make_task(*tables_, None, task.images, task.local)
    rows = [("s", "q0", 1, "i0", True)]
    columns = ["session_id", "query_id", "rank", "image_id", "clicked"]
    log = pd.DataFrame(rows, columns=columns)
    no_test = task.queries.assign(split=task.queries.split.replace("test", "val"))
    with pytest.raises(NotApplicable, match="no test query"):
        make_task(no_test, task.catalogue, log, task.images, task.local)
    with pytest.raises(NotApplicable, match="no training query was ever clicked"):
        make_task(*tables_, log.assign(query_id="q20"), task.images, task.local)
