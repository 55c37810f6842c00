"""What notebook 03 leaves for those after it, and what they say where it is missing."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from vsa.embedding import describer as describer_module
from vsa.embedding import extract
from vsa.embedding.candidates import MASKED
from vsa.embedding.extract import describe
from vsa.embedding.task import rows_of
from vsa.runtime.errors import InputError, NotApplicable
from vsa.study.embedding import prepare
from vsa.study.embedding.finished import FinishedJobs
from vsa.study.embedding.jobs import Judged
from vsa.study.embedding.variants import JOINT
from vsa.study.index import prepare as index_prepare
from vsa.study.run import make_run


@pytest.fixture
def run():
    run = make_run("synthetic", "smoke", 0)
    run.begin()
    return run


@pytest.fixture
def shop(task, monkeypatch):
    monkeypatch.setattr(prepare.embedding_task, "require_clicks", lambda *_: task.pages)
    tables = dict.fromkeys(("known_queries", "clicked_queries"), task.queries)
    return SimpleNamespace(**tables, kept=task.catalogue, pvlog=None)


def publish(run, lab, tmp_path):
    """Publish a network of which it is known only that it finds nothing on validation photos."""
    lab.files = tmp_path, tmp_path
    n = len(lab.task.rows("val"))
    nothing = Judged(*np.zeros((2, n, 60), bool), np.zeros((n, 4)), np.zeros((n, 60), int))
    job = SimpleNamespace(judged={"val": nothing})
    return prepare.publish_network(run, lab, FinishedJobs(lab.task, {JOINT: {0: job}}, {}))


def test_the_published_network_describes_as_the_one_that_was_trained(
    run, shop, make_lab, tmp_path, monkeypatch
):
    lab = make_lab(tmp_path / "jobs")
    trained = lab.new_net().eval()
    monkeypatch.setattr(type(lab), "net", lambda self, name: {JOINT: trained}[name])
    publish(run, lab, tmp_path)
    network, image_px = prepare.open_network(run, shop)
    assert image_px == lab.settings.image_px
    some = lab.task.images.queries[:4]
    before, after = (describe(net, some, lab.device, boxes="own") for net in (trained, network))
    assert np.array_equal(before.features, after.features)
    assert np.array_equal(before.boxes, after.boxes)
    served = prepare.open_describer(run, shop)
    assert (served.name, served.look, served.image_px) == (MASKED, "mask", image_px)
    assert prepare.open_plain_hits(run, shop) is None  # nobody has asked the plain network


def test_a_notebook_that_was_not_run_is_named_with_the_command(run, shop):
    with pytest.raises(
        InputError, match=r"03_click_mined_training was not run for synthetic-smoke"
    ):
        prepare.open_network(run, shop)


def test_where_training_was_left_out_what_rests_on_it_is_too(run, shop):
    executed = run.artifacts / "notebooks" / "03_click_mined_training.ipynb"
    executed.parent.mkdir()
    executed.write_text("{}")
    with pytest.raises(NotApplicable, match="click-mined training was left out"):
        prepare.open_network(run, shop)


def test_a_damaged_network_is_named(run, shop, make_lab, tmp_path, monkeypatch):
    lab = make_lab(tmp_path / "jobs")
    monkeypatch.setattr(type(lab), "net", lambda self, name: self.new_net())
    folder = publish(run, lab, tmp_path)
    with (folder / "network.pth").open("r+b") as stream:
        stream.truncate(1000)
    with pytest.raises(InputError, match="truncated"):
        prepare.open_network(run, shop)


def test_rows_of_a_split_are_those_of_products_for_sale(task):
    for split in ("val", "test"):
        rows = rows_of(split, task.queries, task.catalogue)
        assert np.array_equal(rows, task.rows(split))
        assert set(task.queries.product_id.iloc[rows]) <= set(task.catalogue.product_id)


def test_features_are_described_again_when_a_method_changes(
    run, shop, make_lab, tmp_path, monkeypatch
):
    lab = make_lab(tmp_path / "jobs")
    trained = lab.new_net().eval()
    monkeypatch.setattr(type(lab), "net", lambda self, name: trained)
    publish(run, lab, tmp_path)
    made = []

    def note(net, images, device, folder, **_):
        made.append(folder)
        return SimpleNamespace(features=np.zeros((len(images), 4), np.float32))

    monkeypatch.setattr(index_prepare, "describe_catalogue", note)
    monkeypatch.setattr(
        index_prepare, "load_images", lambda root, paths, *_: np.zeros((len(paths), 1))
    )
    monkeypatch.setattr(
        describer_module, "locate", lambda net, images, _: np.zeros((len(images), 4))
    )
    shop.dataset = SimpleNamespace(catalogue=shop.kept, root=tmp_path)
    kept = np.ones(len(shop.kept), bool)
    shop.selection = pd.DataFrame({"kept": kept, "group": -1})
    for version in (1, 1, 2):
        monkeypatch.setattr(extract, "VERSION", version)
        index_prepare.index_task(run, shop)
    first, again, changed = (set(made[start : start + 4]) for start in (0, 4, 8))
    assert first == again
    assert not first & changed
