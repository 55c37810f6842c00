"""The index at sizes beyond the notebook's: `make bench-index N=10M`, or 100M.

Measures what notebook 04 does, on a catalogue of N items grown from the features of a run, and
keeps it where that notebook looks; executed again (`make reproduce`), the notebook shows it. Each
method's curve is kept as soon as it is measured: the same command goes on from there. More than 25
million items go into shards, and only the linear scan is their peer.
"""

from __future__ import annotations

import argparse
import shutil
import sys

import pandas as pd

from vsa.runtime.atomic import atomic_file
from vsa.runtime.errors import InputError
from vsa.study.catalogue.prepare import open_shop
from vsa.study.index.experiment import IndexLab, open_lab
from vsa.study.index.scale import compare_shards
from vsa.study.run import make_run

_SHARD = 25_000_000  # features of so many are in memory at once while a shard is built


def number(text: str) -> int:
    """Parse 2500, 10M or 1k."""
    factors = {"k": 10**3, "M": 10**6}
    return int(text[:-1]) * factors[text[-1]] if text[-1] in factors else int(text)


def measure(lab: IndexLab, n: int) -> pd.DataFrame:
    """Curves of `n` items, from disk if they were measured before."""
    path = lab.curve_path(n)
    if n > _SHARD and not path.is_file():
        folder, n_shards = lab.folder / "scale", -(-n // _SHARD)
        made = compare_shards(
            folder, lab.growth, n, n_shards, lab.asked, lab.validation, codes=lab.settings
        )
        shutil.rmtree(folder)
        with atomic_file(path) as draft:
            made.to_parquet(draft)
    return lab.curve(n)


def main() -> None:
    """Measure one size; print what validation chose, and all settings with as much recall."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--items", type=number, default=10_000_000)
    parser.add_argument("--dataset", default="synthetic")
    parser.add_argument("--profile", default="laptop")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    run = make_run(arguments.dataset, arguments.profile, arguments.seed)
    lab = open_lab(run, open_shop(run))
    curve = measure(lab, arguments.items)
    columns = ["method", "setting", "recall", "code_recall", "p50_ms", "p95_ms", "cpu_share"]
    columns += ["bytes", "build_s"]
    good = curve[(curve.recall >= 0.99) | (curve.code_recall >= 0.99) | (curve.chosen == 1)]
    columns = [column for column in (*columns, "chosen") if column in curve]
    print(good.sort_values(["ranks_by", "p50_ms"])[columns].round(4).to_string(index=False))


if __name__ == "__main__":
    try:
        main()
    except InputError as error:
        print(f"bench-index: {error}", file=sys.stderr)
        sys.exit(2)
