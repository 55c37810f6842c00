"""Write a shop as its owner has it: pictures, tables and a click log, no product known of a photo.

    python data_scripts/observed_shop.py synthetic my-shop
    vsa reproduce --dataset folder:my-shop --profile smoke

The log is simulated, from products that are then taken away from all photos but those for testing.
With --compare, `vsa.train` learns from the folder and from the shop that knew the products, and
Identical Recall of both engines on the test photos is printed, beside that of a plain pretrained
network.
"""

import argparse
import sys
from pathlib import Path

import vsa
from vsa.runtime.errors import InputError
from vsa.study.run import make_run
from vsa.study.simulate.clicks import with_clicks
from vsa.study.simulate.observed import build_and_search, learn_and_search, write_observed_shop


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("dataset", help="synthetic or grocery, say")
    parser.add_argument("out", type=Path, help="the folder to write")
    parser.add_argument("--profile", default="smoke", help="sizes, of the comparison too")
    parser.add_argument("--compare", action="store_true", help="train with and without products")
    asked = parser.parse_args()
    run = make_run(asked.dataset, asked.profile, 0)
    shop = vsa.load_dataset(asked.dataset, settings=run.settings.data)
    shop = with_clicks(shop, settings=run.settings.clicks)
    print(f"wrote {write_observed_shop(shop, asked.out)}")
    if asked.compare:
        folder = vsa.load_dataset(f"folder:{asked.out}")
        plain = vsa.Embedder.from_pretrained("mobilenet_v2")
        print(f"plain: {build_and_search(folder, plain)}", flush=True)
        for name, one in (("products known", shop), ("clicks alone", folder)):
            print(f"{name}: {learn_and_search(one, run.settings)}", flush=True)


if __name__ == "__main__":
    try:
        main()
    except InputError as error:
        print(f"vsa: {error}", file=sys.stderr)
        sys.exit(2)
