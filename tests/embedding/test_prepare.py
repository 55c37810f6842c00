"""Labs stand upon a whole network trained on categories, whatever notebook 02 serves."""

from types import SimpleNamespace

from vsa.runtime.device import pick_device
from vsa.study.embedding import prepare
from vsa.study.run import make_run


def test_photographs_start_from_a_whole_supervised_network(monkeypatch):
    asked = []

    def run_seeds(task, dataset, run, device, settings):
        asked.append(settings)
        state = {"backbone.weight": 1, "head.weight": 2}
        return [SimpleNamespace(seed=seed, state=state) for seed in range(settings.n_seeds)]

    monkeypatch.setattr(prepare, "run_seeds", run_seeds)
    monkeypatch.setattr(prepare, "prepare_categories", lambda shop: None)
    run = make_run("grocery", "smoke", 0)
    shop = SimpleNamespace(dataset=SimpleNamespace(root=None), pvlog_is_simulated=False)
    labs = prepare.open_labs(run, shop, None, pick_device())
    assert run.settings.category.trains == "head"
    assert asked[0].trains == "all"
    assert asked[0].stored_px == run.settings.category.store_px
    assert len(labs) == run.settings.embedding.n_study_seeds
    assert labs[0].backbone_state == {"weight": 1}
    assert "head" not in labs[0].origin["category"]
