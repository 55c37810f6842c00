"""A cluster of three local nodes: equal results, the cost of Ray, and many nodes that are killed.

    python benchmarks/cluster.py --kills 20

The experiments of notebook 08, of a catalogue of its own, so that nothing has to be trained.
Nodes share this machine's cores: what is measured is what survives, and what a message costs; not
what several machines can do. Figures go to ``reports/benchmarks.json``.
"""

from __future__ import annotations

import argparse
import signal
import sys
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from record import record

from vsa.index.settings import CodeSettings
from vsa.runtime.seeds import generator
from vsa.study.index.timing import latency
from vsa.study.scale.experiment import Stage, started
from vsa.study.scale.load import IN_PROCESS, OVER_RAY
from vsa.study.scale.prepare import ScaleLab
from vsa.study.scale.results import around
from vsa.study.settings import ScaleSettings
from vsa.study.simulate.growth import make_growth

N_DRAWN, DIM, N_CATEGORIES = 6_000, 128, 6  # features that the catalogue grows from
N_PHOTOS = 300
SEED = 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--queries", type=int, default=10_000, help="to be equal, under changes")
    parser.add_argument("--kills", type=int, default=20)
    asked = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # which ends the nodes, too
    settings = ScaleSettings(
        n_items=asked.items,
        n_shards=3,
        n_replicas=2,
        n_rounds=max(1, asked.queries // 100),
        n_queries=asked.queries,
        n_losses=asked.kills,
        load_s=2.0,
        n_timed=500,
        sizes=(asked.items,),
    )
    with TemporaryDirectory() as place, started(made_lab(settings, Path(place) / "lab")) as stage:
        found = results(stage)
    for part, figures in found.items():  # what is printed before is Ray's, and kept silent
        print(f"{part}: {figures}")
    record(found, "cluster")


def made_lab(settings: ScaleSettings, folder: Path) -> ScaleLab:
    """A catalogue of random features, in clusters."""
    rng = generator(SEED, "cluster")
    centres = rng.standard_normal((N_CATEGORIES, DIM), np.float32)
    names = rng.integers(0, N_CATEGORIES, N_DRAWN + N_PHOTOS)
    features = centres[names] + 2 * rng.standard_normal((len(names), DIM), np.float32)
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    growth = make_growth(features[:N_DRAWN], names[:N_DRAWN].astype(str), SEED)
    return ScaleLab(features[N_DRAWN:], growth, settings, CodeSettings(), SEED, folder)


def results(stage: Stage) -> dict[str, Any]:
    """What was measured, by part."""
    found: dict[str, Any] = {"start": {"seconds": round(stage.start_s, 1)}}
    times = {
        name: {quantile: round(float(ms), 3) for quantile, ms in latency(seconds).items()}
        for name, seconds in stage.idle().items()
    }
    found["search, idle"] = times
    added = times[OVER_RAY]["p50_ms"] - times[IN_PROCESS]["p50_ms"]
    found["added by Ray, median ms"] = round(added, 3)
    equality = stage.equality()
    found["equality"] = {
        "queries": len(equality.same),
        "that differ": int((~equality.same).sum()),
        "changes": equality.n_changes,
    }
    lost = stage.losses()
    found["seconds to whole"] = [round(loss.whole_s, 1) for loss in lost.losses]
    for name, searches in around(lost).items():
        found[f"searches, {name}"] = dict(Counter(search.kind for search in searches))
    found["changes"] = {"acknowledged": lost.n_acknowledged, "lost": lost.n_lost}
    return found


if __name__ == "__main__":
    main()
