"""The online path, with small untrained networks: what goes in, what comes out, who may ask."""

from __future__ import annotations

import dataclasses
import shutil
import subprocess
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from arithmetic import NEAR
from PIL import Image
from small_engine import N_ITEMS, NAMES, shaken, small_catalogue, small_shop
from torch import nn

from vsa.category.predictor import save_predictor
from vsa.data.decoding import ImageError, decode
from vsa.data.images import load_image, square
from vsa.embedding.boxes import Objectness
from vsa.embedding.describer import Describer
from vsa.embedding.extract import describe, locate
from vsa.embedding.joint import FeatureNet, JointNet
from vsa.embedding.local import LocalFeatures
from vsa.engine import STAGES, Stages, VisualSearch, likely_categories
from vsa.index.request import check_request
from vsa.offline import write_engine
from vsa.ranking.segments import Segments
from vsa.ranking.serve import Ranked
from vsa.runtime.device import pick_device
from vsa.runtime.errors import InputError
from vsa.runtime.inference import one_core, ready
from vsa.study.end_to_end.naive import NaivePipeline
from vsa.study.end_to_end.run_engine import open_engine
from vsa.study.run import make_run


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    return small_shop(tmp_path_factory.mktemp("engine"))


@pytest.fixture(scope="module")
def engine(shop):
    engine = VisualSearch.open(shop.folder)
    yield engine
    engine.close()


def photo(shop, row: int) -> Image.Image:
    return Image.fromarray(shop.pictures[row])


def test_a_picture_of_the_catalogue_finds_itself(shop, engine):
    stages = Stages(category=False, box=False)
    for row in (0, 41, N_ITEMS - 1):
        answer = engine.search(photo(shop, row), 5, stages=stages)
        assert answer.results.image_id[0] == f"i{row}"
        assert answer.results.similarity[0] == pytest.approx(1, abs=2e-3)
        assert list(answer.box) == [0, 0, 1, 1]
    assert tuple(answer.stage_ms) == STAGES
    assert (answer.results.rank_by_appearance == np.arange(1, 6)).all()


def test_only_likely_categories_are_searched(shop, engine):
    fused = np.array([0.004, 0.9, 0.096], np.float32)
    answer = engine.search(photo(shop, 0))
    sure = dataclasses.replace(answer.category, fused=fused)
    assert likely_categories(sure, NAMES) == ["shoes", "toys"]
    assert likely_categories(sure, ["hats"]) is None
    ids, _ = engine.retrieve(shop.features[0], sure, N_ITEMS, Stages())
    assert set(engine.catalogue["category"].take(ids).to_pylist()) == {"shoes", "toys"}


def test_only_the_categories_that_were_asked_for_are_searched(shop, engine):
    only = engine.search(photo(shop, 3), 90, categories=["shoes"]).results
    assert set(only.category) == {"shoes"}
    assert len(only) == 30
    with pytest.raises(InputError, match=r"unknown category 'hats'. .* bags, shoes, toys"):
        engine.search(photo(shop, 3), categories=["bags", "hats"])
    with pytest.raises(InputError, match="Name one, or leave"):
        engine.search(photo(shop, 3), categories=[])


def test_without_refined_rank_codes_order_the_page(shop, engine):
    prediction = engine.search(photo(shop, 0)).category
    feature = shop.features[7]
    ids, similarity = engine.retrieve(feature, prediction, N_ITEMS, Stages(False, refine=False))
    exact, _ = engine.retrieve(feature, prediction, N_ITEMS, Stages(False))
    assert set(ids) == set(exact)
    assert len(ids) > N_ITEMS / 2
    found = engine.index.candidates(feature, check_request(N_ITEMS, engine.index.params))
    by_code = dict(zip(found.ids.tolist(), found.distance.tolist(), strict=True))
    assert (np.diff([by_code[id_] for id_ in ids.tolist()]) >= 0).all()
    np.testing.assert_allclose(similarity, shop.features[ids] @ feature, atol=2e-3)


def test_a_box_of_ones_own_decides_what_is_described(shop, engine):
    whole = engine.search(photo(shop, 3), box=(0, 0, 1, 1), stages=Stages(category=False))
    part = engine.search(photo(shop, 3), box=(0.5, 0.5, 2, 0.9), stages=Stages(category=False))
    np.testing.assert_allclose(part.box, [0.5, 0.5, 1, 0.9], rtol=1e-6)
    assert list(whole.results.image_id) != list(part.results.image_id)


def test_a_box_of_ones_own_is_looked_at_again_by_both_networks(shop, engine):
    picture = Image.fromarray(np.kron(shop.pictures[3], np.ones((4, 4, 1), np.uint8)))
    box = (0.25, 0.25, 0.75, 0.75)
    cut = picture.crop((51.2, 51.2, 204.8, 204.8))  # with a margin of a tenth of its sides
    given = engine.search(picture, box=box)
    cropped = engine.search(cut, stages=Stages(box=False))
    np.testing.assert_allclose(given.category.fused, cropped.category.fused, atol=0.02)
    assert list(given.results.image_id[:3]) == list(cropped.results.image_id[:3])


def test_what_is_served_decides_how_a_photo_is_looked_at(shop, tmp_path):
    torch.manual_seed(1)
    net = shaken(FeatureNet("googlenet_4a", 128))
    looks = {}
    for look in ("whole", "mask", "crop"):
        describer = Describer(f"another, {look}", net, 96, look)
        models = dataclasses.replace(shop.models, describer=describer)
        big = shop.pictures.repeat(2, 1).repeat(2, 2)[:, :96, :96]
        features = describe(net, np.ascontiguousarray(big), pick_device()).features
        write_engine(tmp_path / look, models, features, small_catalogue(), tmp_path)
        with closing(VisualSearch.open(tmp_path / look)) as opened:
            assert (opened.describer.name, opened.describer.look) == (f"another, {look}", look)
            looks[look] = opened.search(photo(shop, 3), stages=Stages(category=False))
            learned = locate(shop.models.network, shop.pictures[3:4], pick_device())[0]
            expected = [0, 0, 1, 1] if look == "whole" else learned
            np.testing.assert_allclose(looks[look].box, expected, atol=NEAR)
    assert looks["whole"].results.similarity[0] != looks["crop"].results.similarity[0]


@pytest.mark.parametrize("box", [(0, 0, 0, 1), (0.5, 0, 0.2, 1), (0, 0, 1), (0, 0, np.nan, 1)])
def test_a_box_that_is_none_is_refused(shop, engine, box):
    with pytest.raises(InputError, match="box"):
        engine.search(photo(shop, 3), box=box)


def test_wrong_requests_raise_one_kind_of_error(shop, engine, tmp_path):
    (tmp_path / "notes.txt").write_text("not a picture")
    for source in (tmp_path / "notes.txt", tmp_path / "missing.jpg", b"", b"\xff\xd8\xff"):
        with pytest.raises(ImageError):
            engine.search(source)
    with pytest.raises(InputError, match="no results"):
        engine.search(photo(shop, 0), 0)


def test_threads_get_what_one_caller_gets(shop, engine):
    photos = [photo(shop, row) for row in range(16)]
    alone = [engine.search(one, 10).results for one in photos]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda one: engine.search(one, 10).results, photos))
    batch = [answer.results for answer in engine.search_batch(photos, 10)]
    for first, second, third in zip(alone, together, batch, strict=True):
        pd.testing.assert_frame_equal(first, second)
        pd.testing.assert_frame_equal(first, third)


def test_one_core_is_for_the_time_of_a_search_only(shop, engine):
    before = torch.get_num_threads()
    with one_core():
        assert torch.get_num_threads() == 1
    with pytest.raises(ImageError):
        engine.search(b"")
    assert torch.get_num_threads() == before


def test_threads_that_overlap_leave_the_settings_as_they_were():
    before, filters = torch.get_num_threads(), list(warnings.filters)
    first, second = one_core(), one_core()
    with ThreadPoolExecutor(1) as other:
        first.__enter__()
        other.submit(second.__enter__).result()
        first.__exit__(None, None, None)
        other.submit(second.__exit__, None, None, None).result()
        assert other.submit(torch.get_num_threads).result() == before
    assert torch.get_num_threads() == before
    with ThreadPoolExecutor(4) as pool:
        outcomes = list(pool.map(lambda _: _reason(b"nothing"), range(40)))
    assert set(outcomes) == {"not an image"}
    assert warnings.filters == filters


def _reason(source: bytes) -> str:
    with pytest.raises(ImageError) as caught:
        load_image(source, 32)
    return caught.value.reason


@pytest.mark.parametrize("architecture", ["googlenet_4a", "googlenet", "mobilenet_v2", "resnet18"])
def test_frozen_networks_answer_as_those_that_were_trained(architecture):
    torch.manual_seed(0)
    device = dataclasses.replace(pick_device(), autocast_dtype=None)
    net = shaken(JointNet(architecture, 32))
    frozen = ready(net, device)
    for n_images, size_px in ((4, 64), (1, 96)):
        images = np.random.default_rng(0).integers(
            0, 256, (n_images, size_px, size_px, 3), np.uint8
        )
        for boxes in (None, "own"):
            trained, fast = (describe(n, images, device, boxes=boxes) for n in (net, frozen))
            np.testing.assert_allclose(fast.features, trained.features, atol=1e-4)
            np.testing.assert_allclose(fast.boxes, trained.boxes, atol=1e-4)
    assert any(isinstance(module, nn.BatchNorm2d) for module in net.backbone.modules())
    assert "batch_norm" not in str(frozen.backbone.inlined_graph)  # folded
    assert "convolution" in str(frozen.backbone.inlined_graph)


def test_frozen_networks_run_at_the_precision_of_the_device():
    device = dataclasses.replace(pick_device(), autocast_dtype=torch.bfloat16)
    images = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), np.uint8)
    net = shaken(JointNet("googlenet_4a", 32))
    trained, fast = (describe(n, images, device, boxes="own") for n in (net, ready(net, device)))
    np.testing.assert_allclose(fast.features, trained.features, atol=0.05)
    exact = dataclasses.replace(device, autocast_dtype=None)
    assert not np.array_equal(fast.features, describe(net, images, exact, boxes="own").features)


def test_the_naive_pipeline_shows_the_same_page(shop, engine):
    engine = dataclasses.replace(engine, ranker=None)
    codes, names = pd.factorize(engine.catalogue["category"].to_numpy(), sort=True)
    naive = NaivePipeline(
        shop.models,
        torch.from_numpy(shop.features),
        torch.from_numpy(codes.astype(np.int64)),
        list(names),
        engine.catalogue,
    )
    shared = []
    for one in (photo(shop, row) for row in range(10)):
        pages = (naive.search(one, 10), engine.search(one, 10).results)
        shared.append(len(set.intersection(*(set(page.image_id) for page in pages))))
    assert np.mean(shared) > 9  # of ten; rounding to float16 may change the last


def test_what_is_missing_is_named(shop, tmp_path):
    run = make_run("synthetic", "smoke", 0)
    with pytest.raises(InputError, match="06_end_to_end"):
        open_engine(run)
    with pytest.raises(InputError, match=r"no engine here. Build one: vsa.build"):
        VisualSearch.open(tmp_path / "nothing")
    save_predictor(tmp_path / "predictor", shop.models.category)
    with pytest.raises(InputError, match="no engine of format 3"):
        VisualSearch.open(tmp_path / "predictor")


def test_a_folder_that_was_copied_elsewhere_stands_alone(shop, engine, tmp_path):
    small_shop(tmp_path)
    shutil.copytree(tmp_path / "engine", tmp_path / "mine" / "copy")
    for path in (*tmp_path.glob("*.png"), tmp_path / "engine" / "card.json"):
        path.unlink()
    before = engine.search(photo(shop, 5), 10)
    with closing(VisualSearch.open(str(tmp_path / "mine" / "copy"), root="elsewhere")) as copy:
        after = copy.search(photo(shop, 5), 10)
        assert copy.root == Path("elsewhere")
    pd.testing.assert_frame_equal(before.results, after.results)
    np.testing.assert_array_equal(before.category.fused, after.category.fused)
    assert engine.root / "5.png" == shop.folder.parent / "5.png"


def test_segments_are_those_of_the_engines_ranker(shop, engine):
    ranked = dataclasses.replace(engine, ranker=BySegment())
    up, down = (
        ranked.search(photo(shop, 0), 100, segment=segment).results.rank_by_appearance
        for segment in ranked.ranker.segments.names
    )
    assert list(up) == list(down[::-1]) == list(range(1, len(up) + 1))
    with pytest.raises(InputError, match=r"portrait 'sideways'. Choose one of upwards, downwards"):
        ranked.search(photo(shop, 0), segment="sideways")
    with pytest.raises(InputError, match="Ask without a segment"):
        engine.search(photo(shop, 0), segment="upwards")


class BySegment:
    """A ranker that turns the page round for some."""

    segments = Segments(("upwards", "downwards"), (0.5, 0.5))

    def order(self, similarity, quality, segment):
        order = np.arange(len(similarity))
        return Ranked(order[::-1] if segment == "downwards" else order, np.zeros(len(order)))


def test_answering_loads_no_plotting_notebook_or_simulation_module(shop):
    program = (
        "import sys\nfrom PIL import Image\nimport vsa\n"
        f"engine = vsa.VisualSearch.open({str(shop.folder)!r})\n"
        "assert len(engine.search(Image.new('RGB', (64, 64))).results)\n"
        "engine.close()\nprint(*sys.modules, sep='\\n')"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    loaded = done.stdout.split()
    assert "vsa.engine" in loaded, done.stderr
    strange = (
        "matplotlib",
        "IPython",
        "ipywidgets",
        "papermill",
        "nbformat",
        "snakemake",
        "jupyter",
    )
    assert not [name for name in loaded if name.startswith(strange)]
    assert not [name for name in loaded if name.startswith("vsa.study")]


def test_an_engine_locates_by_what_its_describer_was_chosen_with(shop, tmp_path):
    torch.manual_seed(1)
    net = shaken(FeatureNet("googlenet_4a", 128))
    weight = np.random.default_rng(0).normal(size=512).astype(np.float32)
    goods = Objectness(shaken(LocalFeatures("googlenet_4a")).eval(), weight, 96, 0.25)
    describer = Describer("another, objectness crop", net, 96, "crop", localiser=goods)
    models = dataclasses.replace(shop.models, describer=describer)
    big = np.ascontiguousarray(shop.pictures.repeat(2, 1).repeat(2, 2)[:, :96, :96])
    features = describe(net, big, pick_device()).features
    write_engine(tmp_path / "engine", models, features, small_catalogue(), tmp_path)
    with closing(VisualSearch.open(tmp_path / "engine")) as opened:
        for number in range(3):
            asked = photo(shop, number)
            expected = goods.boxes(square(decode(asked), 96)[None], pick_device())[0]
            np.testing.assert_allclose(opened.search(asked).box, expected, atol=1e-6)


def test_a_box_that_shows_nothing_is_told(engine, shop):
    asked = Image.fromarray(shop.pictures[0]).resize((200, 100))
    with pytest.raises(InputError, match="smaller than a pixel of the photo, which has 200 × 100"):
        engine.search(asked, box=[0.5, 0.5, 0.502, 0.9])
    with pytest.raises(InputError, match=r"the box \[10, 20, 300, 400\] seems to be in pixels"):
        engine.search(asked, box=[10, 20, 300, 400])
    assert len(engine.search(asked, 1, box=[0.5, 0.5, 0.505, 0.9]).results) == 1
