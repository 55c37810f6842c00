import dataclasses
import json
import subprocess

import numpy as np
import pytest

from vsa.runtime.errors import InputError
from vsa.study.ledger import environment
from vsa.study.ledger.bootstrap import Interval
from vsa.study.ledger.claims import judge
from vsa.study.ledger.ledger import Ledger
from vsa.study.ledger.metrics_file import read_metrics
from vsa.study.run import make_run

CATALOGUE, FUSION = "01_catalogue", "02_category_fusion"
KEY = f"{FUSION}/accuracy/fusion/Accuracy@1"


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setenv("VSA_REPORTS_DIR", str(tmp_path))
    return make_run("synthetic", "smoke", 3)


def filled(run, section=FUSION):
    ledger = Ledger.open(run, section)
    ledger.record("accuracy", "fusion", "Accuracy@1", Interval(0.8, 0.7, 0.9, 50), seeds=[3, 4, 5])
    return ledger


def stored(run):
    return json.loads((run.reports / "metrics.json").read_text(encoding="utf-8"))


def test_a_record_has_all_its_fields(run):
    filled(run).save()
    assert stored(run)["records"] == [
        {
            "section": FUSION,
            "experiment": "accuracy",
            "variant": "fusion",
            "metric": "Accuracy@1",
            "value": 0.8,
            "ci_low": 0.7,
            "ci_high": 0.9,
            "n": 50,
            "seeds": 3,
            "unit": "",
        }
    ]


def test_run_block_says_where_and_when_without_naming_host_or_folder(run, tmp_path):
    filled(run).save()
    block = stored(run)["run"]
    assert (block["dataset"], block["profile"], block["seeds"]) == ("synthetic", "smoke", [3])
    assert block["date"].endswith("+00:00")
    section = block["sections"][FUSION]
    assert {"cpu", "cores", "threads", "memory_gib", "gpu"} <= set(section["machine"])
    assert {"python", "torch", "numpy", "scikit-learn"} <= set(section["versions"])
    assert section["run_time_s"] >= 0


def test_a_section_made_again_keeps_the_longest_that_it_took(run):
    told = []
    for minutes in (9, 4, 11):  # the second finds trained networks
        ledger = filled(run)
        ledger._started -= 60 * minutes
        ledger.save()
        section = stored(run)["run"]["sections"][FUSION]
        told.append([round(section[time] / 60) for time in ("run_time_s", "longest_s")])
    assert told == [[9, 9], [4, 9], [11, 11]]


def test_a_look_is_another_number_of_a_seed(run):
    def look(seed, accuracy):
        ledger = Ledger.open(dataclasses.replace(run, seed=seed), FUSION)
        ledger.record("accuracy", "fusion", "Accuracy@1", accuracy)
        ledger.record("speed", "fusion", "run time", np.random.default_rng().random())
        ledger.save()
        return stored(run)["run"]["sections"][FUSION]["looks"]

    assert look(3, 0.8) == {"3": 1}
    assert look(3, 0.8) == {"3": 1}  # the same again shows nothing new
    assert look(3, 0.9) == {"3": 2}
    assert look(4, 0.7) == {"3": 2, "4": 1}  # a shop nobody had looked at
    assert look(3, 0.9) == {"3": 3, "4": 1}


def test_own_folder_goes_by_its_name_alone(tmp_path, monkeypatch):
    monkeypatch.setenv("VSA_REPORTS_DIR", str(tmp_path))
    run = make_run(f"folder:{tmp_path / 'secret' / 'my shop'}", "smoke", 0)
    filled(run).save()
    assert stored(run)["run"]["dataset"] == "folder:my shop"
    filled(run).save()  # and is known again


def test_saving_replaces_the_section_and_only_it(run):
    catalogue = Ledger.open(run, CATALOGUE)
    catalogue.record("data", "catalogue", "images", 100)
    catalogue.save()
    first = filled(run)
    first.record("accuracy", "stale", "Accuracy@1", 0.1)
    first.claim(judge("C1", Interval(0.1, 0.05, 0.2, 50), "Accuracy@1", [KEY]))
    first.save()
    assert len(stored(run)["claims"]) == 1
    filled(run).save()
    found = stored(run)
    assert [r["variant"] for r in found["records"]] == ["catalogue", "fusion"]
    assert found["claims"] == []
    assert list(found["run"]["sections"]) == [CATALOGUE, FUSION]


def test_sections_come_in_the_reports_order_whatever_ran_first(run):
    filled(run).save()
    catalogue = Ledger.open(run, CATALOGUE)
    catalogue.record("data", "catalogue", "images", 100)
    catalogue.save()
    assert [r["section"] for r in stored(run)["records"]] == [CATALOGUE, FUSION]


def test_nothing_changes_before_save(run):
    filled(run).save()
    before = (run.reports / "metrics.json").read_bytes()
    filled(run).record("accuracy", "model", "Accuracy@1", 0.5)
    assert (run.reports / "metrics.json").read_bytes() == before


def test_a_crash_while_saving_leaves_the_old_file(run, monkeypatch):
    filled(run).save()
    before = (run.reports / "metrics.json").read_bytes()
    ledger = filled(run)
    monkeypatch.setattr("vsa.runtime.atomic.os.replace", lambda *_: (_ for _ in ()).throw(OSError))
    with pytest.raises(OSError):
        ledger.save()
    assert (run.reports / "metrics.json").read_bytes() == before
    assert [p.name for p in run.reports.iterdir()] == ["metrics.json"]


def test_recording_again_replaces(run):
    ledger = filled(run)
    ledger.record("accuracy", "fusion", "Accuracy@1", 0.9)
    assert ledger.value(FUSION, "accuracy", "fusion", "Accuracy@1") == 0.9


def test_reading_back_own_and_other_sections(run):
    filled(run).save()
    catalogue = Ledger.open(run, CATALOGUE)
    catalogue.record("data", "catalogue", "images", 100)
    catalogue.record("data", "queries", "queries", np.int64(7))
    assert catalogue.value(FUSION, "accuracy", "fusion", "Accuracy@1") == 0.8
    interval = catalogue.interval(FUSION, "accuracy", "fusion", "Accuracy@1")
    assert interval == Interval(0.8, 0.7, 0.9, 50)
    table = catalogue.table("data")
    assert list(table.columns) == ["images", "queries"]
    assert table.loc["catalogue", "images"] == 100
    assert np.isnan(table.loc["catalogue", "queries"])
    assert catalogue.table("data", as_text=True).loc["queries"].tolist() == ["", "7"]
    with pytest.raises(InputError, match="not in the ledger"):
        catalogue.value(FUSION, "accuracy", "nobody", "Accuracy@1")
    with pytest.raises(InputError, match="no interval"):
        catalogue.interval(CATALOGUE, "data", "queries", "queries")
    with pytest.raises(InputError, match="no records"):
        catalogue.table("nothing")


def test_intervals_of_an_experiment_come_in_order_of_recording(run):
    ledger = filled(run)
    ledger.record("accuracy", "another", "Accuracy@1", Interval(0.5, 0.4, 0.6, 50))
    ledger.record("accuracy", "another", "run time", 3.0)
    assert list(ledger.intervals("accuracy", "Accuracy@1").items()) == [
        ("fusion", Interval(0.8, 0.7, 0.9, 50)),
        ("another", Interval(0.5, 0.4, 0.6, 50)),
    ]
    with pytest.raises(InputError, match="no interval"):
        ledger.intervals("accuracy", "run time")


def test_a_verdict_in_a_sentence(run):
    ledger = filled(make_run("synthetic", "laptop", 3))
    with pytest.raises(InputError, match="was not judged"):
        ledger.verdict("C1")
    ledger.claim(judge("C1", Interval(-0.1, -0.2, -0.05, 50), "Accuracy@1", [KEY]))
    sentence = ledger.verdict("C1")
    assert sentence.startswith("**C1 not reproduced** by its intervals alone: Fusing ")
    assert sentence.endswith("(effect -0.100 [-0.200, -0.050] Accuracy@1).")
    assert ledger.verdicts() == sentence


def test_a_smoke_run_keeps_its_verdict_and_does_not_tell_it(run):
    ledger = filled(run)
    ledger.claim(judge("C1", Interval(-0.1, -0.2, -0.05, 50), "Accuracy@1", [KEY]))
    ledger.save()
    assert stored(run)["claims"][0]["verdict"] == "not reproduced"
    for told in (ledger.verdicts(), ledger.verdict("C1")):
        note, sentence = told.split("\n\n")
        assert "its numbers mean nothing" in note
        assert sentence.startswith("**C1 not judged at smoke**: Fusing ")
        assert "reproduced" not in told


@pytest.mark.parametrize(
    ("metric", "value", "ci"),
    [
        ("Accuracy@1", float("nan"), None),
        ("Accuracy@1", float("inf"), None),
        ("Accuracy@1", 0.5, Interval(0.6, 0.5, 0.7, 10)),
        ("Accuracy@1", Interval(0.5, float("nan"), 0.6, 10), None),
        ("images", 3.5, None),
        ("images", float("nan"), None),
    ],
)
def test_numbers_that_make_no_sense_are_refused(run, metric, value, ci):
    ledger = Ledger.open(run, FUSION)
    with pytest.raises(ValueError):
        ledger.record("accuracy", "fusion", metric, value, ci)


def test_unknown_names_are_refused(run):
    with pytest.raises(InputError, match="02_category_fusion"):
        Ledger.open(run, "category")
    ledger = Ledger.open(run, FUSION)
    with pytest.raises(InputError, match="not a registered metric"):
        ledger.record("accuracy", "fusion", "goodness", 1.0)
    with pytest.raises(ValueError, match="unknown facts"):
        ledger.dataset_card({"titel": "x"})


def test_a_claim_needs_its_evidence_recorded(run):
    ledger = Ledger.open(run, FUSION)
    claim = judge("C1", Interval(0.1, 0.05, 0.2, 50), "Accuracy@1", [KEY])
    with pytest.raises(InputError, match="was not recorded"):
        ledger.claim(claim)


def test_rounding_cannot_contradict_a_verdict(run):
    ledger = filled(run)
    # 0.02 + 1e-9 is stored as 0.02, which is not above the threshold
    ledger.claim(judge("C1", Interval(0.1, 0.02 + 1e-9, 0.2, 50), "", [KEY], threshold=0.02))
    ledger.save()
    (claim,) = read_metrics(ledger.path)["claims"]
    assert (claim["ci_low"], claim["verdict"]) == (0.02, "inconclusive")


def test_dataset_card_survives_other_sections(run):
    catalogue = Ledger.open(run, CATALOGUE)
    catalogue.dataset_card({"title": "Shop", "simulated": ("All of it.",), "rejected": {"bad": 2}})
    catalogue.save()
    filled(run).save()
    card = stored(run)["run"]["dataset_card"]
    assert (card["title"], card["simulated"], card["rejected"]) == (
        "Shop",
        ["All of it."],
        {"bad": 2},
    )


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[:-40],
        lambda text: "[]",
        lambda text: "null",
        lambda text: text.replace("Accuracy@1", "Goodness@1"),
        lambda text: text.replace('"value": 0.8', '"value": NaN'),
        lambda text: text.replace('"value": 0.8', '"value": "0.8"'),
        lambda text: text.replace('"records"', '"rekords"'),
        lambda text: text.replace('"verdict": "reproduced"', '"verdict": "not reproduced"'),
        lambda text: text.replace('"dataset": "synthetic"', '"dataset": "grocery"'),
    ],
)
def test_a_broken_or_foreign_file_is_refused_and_kept(run, damage):
    ledger = filled(run)
    ledger.claim(judge("C1", Interval(0.1, 0.05, 0.2, 50), "Accuracy@1", [KEY]))
    ledger.save()
    damaged = damage(ledger.path.read_text(encoding="utf-8"))
    ledger.path.write_text(damaged, encoding="utf-8")
    with pytest.raises(InputError, match="Move"):
        Ledger.open(run, CATALOGUE)
    assert ledger.path.read_text(encoding="utf-8") == damaged


def test_commit_marks_a_tree_that_differs_in_more_than_results(tmp_path, monkeypatch):
    def git(*arguments):
        identity = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
        subprocess.run(["git", *identity, *arguments], cwd=tmp_path, check=True)

    monkeypatch.setattr(environment, "ROOT", tmp_path.resolve())
    assert environment.commit() == "unknown"
    git("init", "-q")
    assert environment.commit() == "unknown"  # nothing committed yet
    (tmp_path / "code.py").write_text("1")
    git("add", "code.py")
    git("commit", "-q", "-m", "first")
    clean = environment.commit()
    assert len(clean) == 40
    (tmp_path / "reports").mkdir()
    (tmp_path / "reports" / "metrics.json").write_text("{}")
    (tmp_path / "README.md").write_text("a table of results")
    assert environment.commit() == clean
    (tmp_path / "code.py").write_text("2")
    assert environment.commit() == f"{clean}+dirty"
    inner = tmp_path / "inner"
    inner.mkdir()
    monkeypatch.setattr(environment, "ROOT", inner.resolve())
    assert environment.commit() == "unknown"  # someone else's checkout around us


def test_of_a_claim_that_two_sections_judge_the_later_one_stands(run):
    """Whichever is saved last: notebook 04 may be run again after notebook 08."""
    for section in ("04_binary_index", "08_scale_out", "04_binary_index"):
        ledger = Ledger.open(run, section)
        key = ledger.record("shards", "many", "equal results", Interval(1.0, 0.9, 1.0, 50))
        ledger.claim(judge("C4a", Interval(0.1, 0.0, 0.1, 50), "share", [key]))
        ledger.save()
    (claim,) = stored(run)["claims"]
    assert (claim["id"], claim["section"]) == ("C4a", "08_scale_out")
