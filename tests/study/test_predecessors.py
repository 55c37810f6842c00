import pytest

from vsa.runtime.errors import InputError
from vsa.study.catalogue.prepare import open_shop
from vsa.study.predecessors import leave, made_by
from vsa.study.run import make_run


@pytest.mark.parametrize(
    ("run", "command"),
    [
        (("synthetic", "smoke", 0), "make reproduce PROFILE=smoke"),
        (("grocery", "laptop", 2), "make reproduce DATASET=grocery PROFILE=laptop SEED=2"),
    ],
)
def test_what_is_missing_is_said_with_the_command_that_makes_it(tmp_path, run, command):
    run = make_run(*run)
    with pytest.raises(InputError) as caught:
        made_by("02_category_fusion", run, tmp_path / "nothing")
    assert str(caught.value) == (
        f"02_category_fusion was not run for {run.name}. "
        f"Run `{command}`, or execute that notebook first."
    )


def test_what_is_there_is_given_to_runs_of_its_seed_only(tmp_path):
    run, other = (make_run("synthetic", "smoke", seed) for seed in (0, 1))
    folder = tmp_path / "made"
    folder.mkdir()
    assert leave(run, folder) == folder
    assert made_by("01_catalogue", run, folder) == folder
    with pytest.raises(InputError, match="01_catalogue was run with seed 0, not 1"):
        made_by("01_catalogue", other, folder)


def test_a_notebook_without_a_catalogue_says_so(tmp_path, monkeypatch):
    monkeypatch.setenv("VSA_ARTIFACTS_DIR", str(tmp_path))
    with pytest.raises(InputError, match="01_catalogue was not run for synthetic-smoke"):
        open_shop(make_run("synthetic", "smoke", 0))
