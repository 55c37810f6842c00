"""Uses each example of docs/extending.md for what it is for: run by test_extending, all plugged in.

``python uses.py FOLDER`` writes what went wrong with each kind, or "", to FOLDER/found.json.
"""

from __future__ import annotations

import dataclasses
import json
import sys
import traceback
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import numpy as np
from coloured_squares import TRAINING, make_squares, make_squares_lab, small_settings
from made_pictures import photo
from small_labs import make_index_lab, make_ranking_lab
from small_lineage import make_lineage_lab

import vsa
from vsa import cli
from vsa.embedding.joint import JointNet
from vsa.study import pipeline
from vsa.study.embedding import finished
from vsa.study.embedding.finished import gather
from vsa.study.embedding.plots import differences_figure, recall_figure
from vsa.study.embedding.results import record
from vsa.study.embedding.variants import CATEGORY, PER_QUERY, in_notebook, registered
from vsa.study.figures.style import HouseFigure
from vsa.study.index.plots import codec_plot, recall_plot
from vsa.study.index.results import IndexResults
from vsa.study.ledger.ledger import Ledger
from vsa.study.lineage.experiment import run_method
from vsa.study.lineage.plots import map_figure
from vsa.study.lineage.results import LineageResults
from vsa.study.ranking.experiment import RankingLab
from vsa.study.ranking.plots import conversion_plot, gain_plot
from vsa.study.ranking.results import RankingResults
from vsa.study.run import make_run
from vsa.study.simulate.clicks import with_clicks


def open_ledger(section: str) -> Ledger:
    return Ledger.open(make_run("synthetic", "smoke", 0), section)


def words(figure: HouseFigure) -> str:
    """All that is written in a figure: labels of axes, ticks and legends."""
    found = []
    for axis in figure.axes:
        ticks = (*axis.get_xticklabels(), *axis.get_yticklabels())
        found += [label.get_text().replace("\n", " ") for label in ticks]
        found += axis.get_legend_handles_labels()[1]
    return "\n".join(found)


def use_losses_and_baselines(folder: Path) -> None:
    """Both stand in notebook 03."""
    names = [variant.name for variant in registered()]
    assert names == ["circle loss"]
    assert {"circle loss", "edge orientations"} <= set(in_notebook())
    finished.in_study = lambda: ["edge orientations", CATEGORY, PER_QUERY, *names]  # for time
    lab = make_squares_lab(make_squares(), small_settings(), folder / "jobs")
    outcome = gather([lab])
    job = outcome.jobs["circle loss"][0]
    assert len(job.curve) == small_settings().n_steps
    assert np.isfinite(job.curve.loss).all()
    ledger = open_ledger("03_click_mined_training")
    record(ledger, [lab], outcome, n_resamples=20)
    for name in ("circle loss", "edge orientations"):
        assert name in ledger.table("features").index, name
        assert name in words(recall_figure(ledger)), name
    assert "circle loss" in ledger.table("training").index
    assert "circle loss − the paper's loss" in words(differences_figure(ledger))


def use_backbones(folder: Path) -> None:
    """One below both networks of a search that is trained, built and asked."""
    size = {"n_products_per_category": 4, "image_px": 32}
    shop = with_clicks(vsa.load_dataset("synthetic", settings=size))
    model = vsa.train(
        shop,
        loss="circle",
        backbone="efficientnet_b0",
        pretrained=False,
        settings=TRAINING,
    )
    assert isinstance(model.network, JointNet)
    assert model.network.architecture == "efficientnet_b0"
    assert model.category.net.architecture == "efficientnet_b0"
    vsa.build(shop, model, out=folder / "my.engine", selection=None)
    engine = vsa.VisualSearch.open(folder / "my.engine")
    assert len(engine.search(shop.root / shop.catalogue.path[0]).results)
    engine.close()
    changed = "category.architecture=efficientnet_b0 embedding.architecture=efficientnet_b0"
    assert make_run("synthetic", "smoke", 0, changed).settings.embedding.architecture


def use_embedders(folder: Path) -> None:
    """Pictures are indexed and found from the command line."""
    pictures = folder / "my-pictures"
    pictures.mkdir()
    for number in range(5):
        photo(48, 40, seed=number).save(pictures / f"{number}.png")
    index = str(folder / "pictures.index")
    say("index", "build", index, str(pictures), "--embedder", "wavelets")
    found = say("search", index, str(pictures / "3.png"), "-k", "2").splitlines()
    assert found[0].split() == ["1.000", "3.png"]
    assert len(found) == 2
    assert "wavelets" in in_notebook()
    photos = sorted(pictures.iterdir())
    assert vsa.Embedder.from_pretrained("wavelets")(photos).shape == (5, 624)


def say(*words: str) -> str:
    """What ``vsa WORDS`` prints."""
    with redirect_stdout(StringIO()) as said:
        sys.argv = ["vsa", *words]
        try:
            cli.main()
        except SystemExit as end:
            if end.code:
                raise
    return said.getvalue()


def use_codecs_and_peers(folder: Path) -> None:
    """Both stand in notebook 04."""
    lab = make_index_lab(folder / "index", dim=64)
    curve, codecs = lab.curve(500), lab.codecs()
    assert curve[curve.method == "faiss HNSW"].recall.max() > 0.95
    ledger = open_ledger("04_binary_index")
    results = IndexResults(ledger, lab.task, lab.settings.n_queries, 20, 0)
    results.codecs(codecs)
    results.curves({500: curve})
    assert "faiss HNSW" in words(recall_plot(500, curve))
    assert any("faiss HNSW" in row for row in ledger.table("500 items").index)
    features = np.random.default_rng(0).standard_normal((300, 64), np.float32)
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    assert "pca" in words(codec_plot(codecs))
    index = vsa.Index(64, codec="pca", n_bits=64)
    index.train(features)
    index.add(features)
    assert index.search(features[:9], k=1)[1].ravel().tolist() == list(range(9))
    index.save(folder / "pca.index")
    with vsa.Index.open(folder / "pca.index") as opened:
        assert opened.search(features[7], k=1)[1].tolist() == [7]


def use_datasets(folder: Path) -> None:
    """Tables are checked, and a run knows them."""
    shop = vsa.load_dataset("folders")
    assert shop.has_identities
    assert shop.categories == ["bags", "shoes"]
    assert len(shop.catalogue) == 8
    assert not shop.catalogue.product_id.duplicated().any()
    assert shop.queries.split.value_counts().to_dict() == {"train": 8, "val": 4, "test": 4}
    run = make_run("folders", "smoke", 0)
    assert run.name == "folders-smoke"
    assert pipeline._check_data(run)


def use_rankers(folder: Path) -> None:
    """One stands in notebook 05."""
    lab = make_ranking_lab()
    settings = dataclasses.replace(lab.settings, n_seeds=1)
    results = RankingResults(
        open_ledger("05_quality_rerank"), RankingLab(lab.task, settings, 0, 20)
    )
    results.own_order()
    results.blended()
    results.gains()
    for title in ("own order", "appearance kept", "gain over appearance only"):
        assert "LR of products" in results.ledger.table(title).index, title
    own, kept = results.points("own order"), results.points("appearance kept")
    assert "LR of products" in words(conversion_plot(own, kept, {}))
    assert "LR of products" in words(gain_plot(results))
    gain = results.ledger.table("gain over appearance only")
    assert gain.loc["LR of products"].iloc[0] > 0


def use_methods(folder: Path) -> None:
    """One stands in notebook 07, tuned and judged as the others."""
    lab = make_lineage_lab(folder / "squares")
    rows = [run_method(lab, name) for name in ("off the shelf, cosine", "query expansion")]
    assert rows[1].setting["n"] in (1, 3, 5)
    assert "Chum et al." in rows[1].about
    ledger = open_ledger("07_lineage")
    lineage = LineageResults(ledger, lab, rows, 20)
    lineage.record()
    assert "query expansion" in words(map_figure(ledger))
    assert "query expansion" in lineage.reading()
    assert "query expansion" in ledger.table("methods").index


USES = {
    "losses": use_losses_and_baselines,
    "baselines": use_losses_and_baselines,
    "backbones": use_backbones,
    "embedders": use_embedders,
    "codecs": use_codecs_and_peers,
    "peers": use_codecs_and_peers,
    "datasets": use_datasets,
    "rankers": use_rankers,
    "methods": use_methods,
}


def main(folder: Path) -> None:
    trouble = {}
    for use in dict.fromkeys(USES.values()):
        try:
            use(folder)
            trouble[use] = ""
        except BaseException:
            trouble[use] = traceback.format_exc()
    found = {kinds: trouble[use] for kinds, use in USES.items()}
    (folder / "found.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
