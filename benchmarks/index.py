"""The index at sizes beyond the notebook's: `make bench-index N=10000000`.

Measures what notebook 04 does, on a catalogue of N items grown from the features of a run, and
keeps it where that notebook looks; executed again (`make reproduce`), the notebook shows it.
"""

from __future__ import annotations

import argparse
import sys

from vsa.indexing import index_lab
from vsa.offline import open_shop
from vsa.runtime.errors import InputError
from vsa.runtime.run import make_run


def main() -> None:
    """Measure one size; print the judged settings and the peers that reach as much."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--items", type=int, default=10_000_000)
    parser.add_argument("--dataset", default="synthetic")
    parser.add_argument("--profile", default="laptop")
    arguments = parser.parse_args()
    run = make_run(arguments.dataset, arguments.profile, 0)
    lab = index_lab(run, open_shop(run))
    curve = lab.curve(arguments.items)
    columns = ["method", "setting", "recall", "code_recall", "p50_ms", "p95_ms", "bytes", "build_s"]
    good = curve[(curve.recall >= 0.99) | (curve.code_recall >= 0.99) | (curve.chosen == 1)]
    print(good[columns].round(4).to_string(index=False))


if __name__ == "__main__":
    try:
        main()
    except InputError as error:
        print(f"bench-index: {error}", file=sys.stderr)
        sys.exit(2)
