from __future__ import annotations

import dataclasses
import json

import pytest

from vsa.runtime.errors import InputError
from vsa.study.ledger.ledger import Ledger
from vsa.study.ledger.reporting.content import reproduce_command
from vsa.study.pipeline import reproduce
from vsa.study.run import make_run
from vsa.study.settings import PROFILES, parse_changes


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("dataset", ["synthetic", "grocery", "clothing", "vpr2023"])
def test_every_profile_is_whole(dataset, profile):
    settings = make_run(dataset, profile, 0).settings
    assert settings.embedding.pretrained == (dataset != "synthetic")
    passes = 3.5 * (sum(settings.embedding.n_box_steps) + settings.embedding.n_joint_steps)
    assert abs(3 * settings.embedding.n_matched_steps - passes) <= 1.5


def test_a_profile_says_only_what_it_changes_of_its_base():
    smoke, laptop = (make_run("synthetic", name, 0).settings for name in ("smoke", "laptop"))
    assert smoke.clicks.n_results == 20
    assert laptop.clicks.n_results == 60
    assert smoke.clicks.position_bias == laptop.clicks.position_bias == 0.5


def test_photographs_start_from_imagenet_weights():
    drawn, photographs = (make_run(n, "laptop", 0).settings for n in ("synthetic", "grocery"))
    assert drawn.category.architecture == "googlenet_4a"
    assert photographs.category.architecture == "mobilenet_v2"
    assert photographs.category.crop_px == 96
    assert (drawn.category.trains, photographs.category.trains) == ("all", "head")
    assert (drawn.category.seen_px, photographs.category.seen_px) == (64, 224)
    assert make_run("grocery", "full", 0).settings.category.trains == "all"
    assert drawn.category.batch_size == photographs.category.batch_size


def test_any_setting_can_be_changed_for_a_run_of_its_own():
    plain = make_run("synthetic", "smoke", 0)
    text = "embedding.margin=0.3 end_to_end.n_clients=[1,2] data.image_px=48"
    run = make_run("synthetic", "smoke", 0, text)
    assert run.settings.embedding.margin == 0.3
    assert run.settings.end_to_end.n_clients == (1, 2)
    assert run.settings.data == {"n_products_per_category": 8, "image_px": 48}
    assert run.settings.category == plain.settings.category
    assert run.name.startswith("synthetic-smoke-image_px-48-margin-0.3-n_clients-1-2-")
    assert run.artifacts != plain.artifacts
    again = make_run("synthetic", "smoke", 0, run.overrides)
    assert (again.name, again.settings) == (run.name, run.settings)
    as_mapping = {"embedding.margin": 0.3, "end_to_end.n_clients": [1, 2], "data.image_px": 48}
    assert make_run("synthetic", "smoke", 0, as_mapping).name == run.name


def test_bits_and_codec_of_the_index_are_settings():
    run = make_run("synthetic", "smoke", 0, "embedding.margin=0.3 index.n_bits=128 index.codec=itq")
    assert (run.settings.index.n_bits, run.settings.index.codec) == (128, "itq")
    plain = make_run("synthetic", "smoke", 0).settings.index
    assert (plain.n_bits, plain.codec) == (256, "rabitq")


def test_what_changes_nothing_is_the_profiles_own_run():
    run = make_run("synthetic", "smoke", 0, "embedding.margin=0.8")
    assert run.name == "synthetic-smoke"
    assert run.overrides == ""


def test_names_of_two_changes_differ_even_where_letters_do_not():
    names = {
        make_run("synthetic", "smoke", 0, f"{stage}.n_steps={n}").name
        for stage in ("category", "embedding")
        for n in (18, 50)
    }
    assert len(names) == 4


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("embedding.margn=0.3", "unknown setting 'embedding.margn'. Did you mean embedding.margin"),
        ("margin=0.3", "Did you mean embedding.margin?"),
        ("embedding.margin", "Write name=value without blanks"),
        ("embedding.margin = 0.3", "Write name=value without blanks"),
        ("embedding.margin=0.3 embedding.margin=0.4", "twice"),
        ("embedding.margin=wide", "embedding.margin is 'wide': input should be a valid number"),
        ("embedding.margin=-1", "embedding.margin is -1: input should be greater than 0"),
        ("embedding.margin=.nan", "embedding.margin is nan"),
        ("embedding.n_steps=2.5", "embedding.n_steps is 2.5"),
        ("embedding.n_steps=0", "greater than or equal to 1"),
        ("embedding.n_box_steps=[1,2,3]", "embedding.n_box_steps"),
        ("embedding=3", "unknown setting 'embedding'"),
        ("category.crop_px=100", "category.crop_px = 100 is more than store_px = 72"),
        ("data.n_products=3", "Did you mean data.n_products_per_category"),
        ("embedding.margin='0.3", "Close the quotes"),
        ("embedding.n_steps=yes", "embedding.n_steps is True"),
        ("embedding.n_steps=010", "without leading zeros"),
        ("embedding.margin=true", "embedding.margin is True"),
        ("index.sizes=[]", "index.sizes is []"),
        ("index.n_bits=100", "index.n_bits = 100 makes no codes that lists can scan"),
        ("selection.max_hamming_bits=-1", "selection.max_hamming_bits is -1"),
        ("embedding.margin=[", "no value"),
        ("embedding.architecture=resnet18", "is googlenet_4a and embedding.architecture resnet18"),
        ("category.pretrained=true", "category.pretrained is True and embedding.pretrained False"),
    ],
)
def test_what_cannot_be_a_setting_is_told_with_a_cure(text, told):
    with pytest.raises(InputError) as failure:
        make_run("synthetic", "smoke", 0, text)
    assert told in str(failure.value)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "category.architecture=reznet18 embedding.architecture=reznet18",
            "unknown backbone 'reznet18'. Did you mean resnet18",
        ),
        ("index.codec=itqq", "unknown codec 'itqq'. Did you mean itq"),
    ],
)
def test_what_is_not_registered_is_told_before_any_notebook_runs(tmp_path, text, told):
    with pytest.raises(InputError) as failure:
        reproduce("synthetic", "smoke", set=text)
    assert told in str(failure.value)
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_profile_is_answered_with_the_nearest():
    with pytest.raises(InputError, match=r"unknown profile 'lapto'\. Did you mean laptop"):
        make_run("synthetic", "lapto", 0)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("n_bootsrap: 3", "unknown setting 'n_bootsrap'. Did you mean n_bootstrap"),
        (
            "clicks: {n_result: 3}",
            "unknown setting 'clicks.n_result'. Did you mean clicks.n_result",
        ),
        ("clicks: 3", "clicks is 3, not settings with names"),
    ],
)
def test_a_wrong_line_in_a_profile_is_told_with_its_file(tmp_path, monkeypatch, line, told):
    from vsa.study import settings

    for name in ("laptop", "smoke"):
        text = (settings._FOLDER / f"{name}.yaml").read_text()
        (tmp_path / f"{name}.yaml").write_text(text)
    with (tmp_path / "mine.yaml").open("w") as stream:
        stream.write(f"base: smoke\n{line}\n")
    monkeypatch.setattr(settings, "_FOLDER", tmp_path)
    monkeypatch.setattr(settings, "PROFILES", ("laptop", "mine", "smoke"))
    with pytest.raises(InputError) as failure:
        make_run("synthetic", "mine", 0)
    assert told in str(failure.value)
    assert "mine.yaml" in str(failure.value)


def test_settings_cannot_be_altered_by_mistake():
    settings = make_run("synthetic", "smoke", 0).settings
    with pytest.raises(dataclasses.FrozenInstanceError):
        settings.embedding.margin = 1.0


def test_the_ledger_and_the_command_say_what_was_changed():
    run = make_run("synthetic", "smoke", 0, "embedding.margin=0.3")
    ledger = Ledger.open(run, "01_catalogue")
    ledger.record("data set", "catalogue", "images", 3)
    stored = json.loads(ledger.save().read_text())["run"]
    assert stored["name"] == run.name
    assert stored["changes"] == {"embedding.margin": {"value": 0.3, "profile": 0.8}}
    command = reproduce_command(stored, 0)
    assert command.endswith("SEED=0 SET=embedding.margin=0.3")
    assert make_run("synthetic", "smoke", 0, command.rpartition(" SET=")[2]).name == run.name


def test_the_grammar_reads_yaml_values():
    text = "a.b=3 c=[1.5,2] d=true e='two words' f=1.0e-3"
    assert parse_changes(text) == {"a.b": 3, "c": [1.5, 2], "d": True, "e": "two words", "f": 1e-3}
    assert parse_changes("") == {}
