from __future__ import annotations

import json
import shutil

import numpy as np
import pandas as pd
import pytest
from published_run import make_published_run

import vsa
from vsa.runtime.errors import InputError
from vsa.study.compare import comparison_text, write_csv

OTHER = "embedding.margin=0.3"  # gives the second run a name of its own


def test_runs_over_the_same_queries_are_compared_pair_by_pair():
    a = make_published_run(skill=1.0)
    b = make_published_run(skill=2.0, overrides=OTHER)
    table = vsa.compare(a.run.name, b.run.name).set_index(["experiment", "variant", "metric"])
    row = table.loc["features", "clicks", "Identical Recall@1"]
    first, second = (
        np.stack([made.judged["clicks", seed].hits[:, 0] for seed in (0, 1)]) for made in (a, b)
    )
    assert row.how == "paired"
    assert row.difference == pytest.approx(second.mean() - first.mean())
    assert row.ci_low <= row.difference <= row.ci_high
    assert row.ci_low > 0
    assert (row.n, row.seeds) == (75, 2)
    back = vsa.compare(b.run.name, a.run.name).set_index(["experiment", "variant", "metric"])
    assert back.difference.iloc[0] == pytest.approx(-row.difference)
    speed = table.loc["speed", "joint, one pass", "latency"]
    assert speed.how == "unpaired"
    assert speed.difference == 0
    assert np.isnan(speed.ci_low)


def test_pairing_narrows_the_interval():
    a = make_published_run(skill=2.0)
    b = make_published_run(skill=2.1, overrides=OTHER)
    row = vsa.compare(a.run.name, b.run.name, "features").iloc[0]
    record = vsa.open_run(a.run.name).records.iloc[0]
    assert row.ci_high - row.ci_low < record.ci_high - record.ci_low


def test_a_run_does_not_differ_from_itself():
    a = make_published_run(skill=1.0)
    table = vsa.compare(a.run.name, vsa.open_run(a.run.name))
    assert (table.difference == 0).all()
    assert (table.ci_low.dropna() == 0).all()
    assert table.attrs["only_a"] == table.attrs["only_b"] == []


def test_other_queries_or_other_seeds_are_not_paired():
    a = make_published_run()
    b = make_published_run(data="other photos", overrides=OTHER)
    c = make_published_run(seeds=(5, 6), overrides="embedding.margin=0.4")
    for other in (b, c):
        table = vsa.compare(a.run.name, other.run.name)
        assert (table.how == "unpaired").all()
        assert table.difference.notna().all()
        assert table.ci_low.isna().all()


def test_of_other_data_sets_no_difference_is_made():
    a = make_published_run(variants=("clicks", "+ filter"), skill=1.0)
    b = make_published_run(dataset="grocery", variants=("clicks", "identity oracle"), skill=1.0)
    table = vsa.compare(a.run.name, b.run.name)
    assert (table.how == "other data").all()
    assert table.difference.isna().all()
    text = comparison_text(table)
    assert "The data differ (data set: synthetic, grocery): values stand beside each" in text
    assert "2 only in a: 03_click_mined_training/features/+ filter/Identical Recall@1" in text
    assert "2 only in b" in text


def without_tables(made):
    shutil.rmtree(made.run.reports / "jobs")


def of_another_catalogue(made):
    file = made.run.reports / "jobs" / "catalogue.parquet"
    pd.read_parquet(file).assign(product_id="p0").to_parquet(file)


def of_another_seed(made):
    file = made.run.reports / "metrics.json"
    told = json.loads(file.read_text())
    told["run"]["seeds"] = [3]
    file.write_text(json.dumps(told))


@pytest.mark.parametrize(
    ("change", "differs"),
    [
        (without_tables, "profile: smoke, laptop"),
        (of_another_catalogue, "published queries and catalogue: "),
        (of_another_seed, "seed: 0, 3"),
    ],
)
def test_of_one_data_set_with_other_settings_or_seed_no_difference_is_made(change, differs):
    a = make_published_run(skill=1.0)
    b = make_published_run(profile="laptop", skill=2.0)
    change(b)
    table = vsa.compare(a.run.name, b.run.name)
    assert (table.how == "other data").all()
    assert table.difference.isna().all()
    assert table[["a", "b"]].notna().all(axis=None)
    (told,) = table.attrs["other_data"]
    assert told.startswith(differs)
    assert f"The data differ ({told})" in comparison_text(table)


def test_changed_settings_of_data_are_other_data():
    a = make_published_run()
    b = make_published_run(overrides="data.n_products_per_category=40")
    for made in (a, b):
        without_tables(made)
    (told,) = vsa.compare(a.run.name, b.run.name).attrs["other_data"]
    assert told == "data.n_products_per_category: as the profile has it, 40"


def test_profiles_whose_published_data_are_equal_are_compared():
    a, b = make_published_run(), make_published_run(profile="laptop")
    table = vsa.compare(a.run.name, b.run.name)
    assert table.attrs["other_data"] == []
    assert table.difference.notna().all()


def test_the_text_says_how_sure_each_difference_is(tmp_path):
    a = make_published_run(skill=1.0)
    b = make_published_run(skill=2.0, overrides=OTHER)
    table = vsa.compare(a.run.name, b.run.name)
    text = comparison_text(table)
    assert f"a: {a.run.name}\nb: {b.run.name}" in text
    assert "paired, 75 queries, 2 seeds" in text
    assert "latency (ms)" in text
    write_csv(table, tmp_path / "table.csv")
    assert len(pd.read_csv(tmp_path / "table.csv")) == len(table) == 3


def test_a_place_that_cannot_be_written_is_said(tmp_path):
    make_published_run()
    table = vsa.compare("synthetic-smoke", "synthetic-smoke")
    with pytest.raises(InputError, match="cannot be written"):
        write_csv(table, tmp_path / "no such folder" / "table.csv")


def test_experiments_are_picked_by_a_glob():
    make_published_run()
    table = vsa.compare("synthetic-smoke", "synthetic-smoke", "FEAT*")
    assert set(table.experiment) == {"features"}
    with pytest.raises(InputError, match="Did you mean features"):
        vsa.compare("synthetic-smoke", "synthetic-smoke", "featurse*")


def test_a_run_without_results_says_what_makes_them():
    made = make_published_run()
    (made.run.reports / "metrics.json").unlink()
    with pytest.raises(InputError, match="vsa reproduce"):
        vsa.compare("synthetic-smoke", "synthetic-smoke")
