"""Labs stand upon a whole network trained on categories, whatever notebook 02 serves."""

from types import SimpleNamespace

from vsa.runtime.device import pick_device
from vsa.study.embedding import prepare
from vsa.study.embedding.published import FOLDER, path_of
from vsa.study.run import make_run


def test_photographs_start_from_a_whole_supervised_network(monkeypatch, tmp_path):
    asked = []

    def run_seeds(task, dataset, run, device, settings, seeds):
        asked.append(settings)
        state = {"backbone.weight": 1, "head.weight": 2}
        return [SimpleNamespace(seed=seed, state=state) for seed in seeds]

    monkeypatch.setattr(prepare, "run_seeds", run_seeds)
    monkeypatch.setattr(prepare, "prepare_categories", lambda shop: None)
    monkeypatch.setenv("VSA_ARTIFACTS_DIR", str(tmp_path / "artifacts"))
    monkeypatch.setenv("VSA_REPORTS_DIR", str(tmp_path / "reports"))
    run = make_run("grocery", "smoke", 0)
    shop = SimpleNamespace(dataset=SimpleNamespace(root=None), pvlog_is_simulated=False)

    def opened(**options):
        return prepare.open_labs(run, shop, None, pick_device(), **options)

    labs = opened(every_seed=True)
    assert run.settings.category.trains == "head"
    assert asked[0].trains == "all"
    assert asked[0].stored_px == run.settings.category.store_px
    assert len(labs) == run.settings.embedding.n_study_seeds
    assert labs[0].backbone_state == {"weight": 1}
    assert "head" not in labs[0].origin["category"]
    assert len(opened()) == 1  # nobody has begun a study
    published = path_of(run.reports / FOLDER, "clicks", 1)
    published.parent.mkdir(parents=True)
    published.touch()
    assert [lab.seed for lab in opened()] == [0, 1]
