"""Commands of `vsa engine`: build one of a shop, let it grow and shrink, check it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vsa.runtime.console import N_NAMED, one_line, tell
from vsa.runtime.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

    from vsa.growing import Change

# Heavy modules are imported inside the commands that need them, so that --help is instant.
engine_app = typer.Typer(
    help="An engine over a shop: build it, and let it grow while it serves.", no_args_is_help=True
)

_Engine = Annotated[Path, typer.Argument(help="folder of the engine")]
_Table = Annotated[
    Path,
    typer.Argument(
        help="CSV file: image_path (relative to it), product_id, category; and, where they are "
        "known, image_id (the path by default), leaf, source, sales, conversion_rate, "
        "applause_rate, price"
    ),
]
_All = Annotated[bool, typer.Option("--all", help="take flat, blurred and duplicate pictures, too")]
_Skip = Annotated[
    bool, typer.Option("--skip-unreadable", help="leave out what cannot be read, not all rows")
]
_LeftOut = Annotated[
    Path | None, typer.Option(metavar="FILE", help="write what was left out, and why, as CSV")
]


@engine_app.command()
def build(
    engine: _Engine,
    shop: Annotated[str, typer.Argument(help="synthetic, grocery, ..., or folder:PATH")],
    models: Annotated[
        Path | None,
        typer.Option(help="trained models: what model.save wrote, or the folder of an engine"),
    ] = None,
    embedder: Annotated[
        str,
        typer.Option(help="without models, what describes pictures: a network of torchvision's"),
    ] = "mobilenet_v2",
    take_all: _All = False,
    codec: Annotated[str, typer.Option(help="of the index's codes")] = "rabitq",
    n_bits: Annotated[int, typer.Option(help="of a code, a multiple of 64")] = 256,
    seed: Annotated[int, typer.Option(help="of the index's codes and lists")] = 0,
    cache: Annotated[
        Path | None, typer.Option(help="folder that keeps features, to go on or for the next build")
    ] = None,
    ray: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help="of a Ray cluster whose nodes look at the pictures"),
    ] = None,
) -> None:
    """Build an engine of a shop's catalogue; an earlier one there is replaced as a whole.

    With --models it has all stages that were trained. Without, an embedder describes pictures, and
    there is no category, no box and no re-ranking.
    """
    import vsa
    from vsa.category.settings import USUAL_SELECTION
    from vsa.index.settings import CodeSettings
    from vsa.store import Store

    codes = CodeSettings(codec=codec, n_bits=n_bits)
    described_by = (
        vsa.Embedder.from_pretrained(embedder) if models is None else vsa.TrainedModels.open(models)
    )
    loaded = vsa.load_dataset(shop)
    made = vsa.build(
        loaded,
        described_by,
        engine,
        selection=None if take_all else USUAL_SELECTION,
        codes=codes,
        seed=seed,
        cache=cache,
        ray=ray,
    )
    with Store(made) as store:
        tell({"pictures in": len(store), "left out": len(loaded.catalogue) - len(store)})


@engine_app.command()
def add(
    engine: _Engine,
    table: _Table,
    take_all: _All = False,
    skip_unreadable: _Skip = False,
    left_out: _LeftOut = None,
) -> None:
    """Let the pictures of a table join; open engines find them with the next search."""
    _grow("add", engine, table, take_all, skip_unreadable, left_out)


@engine_app.command()
def update(
    engine: _Engine,
    table: _Table,
    take_all: _All = False,
    skip_unreadable: _Skip = False,
    left_out: _LeftOut = None,
) -> None:
    """Replace rows by those of a table, with their pictures."""
    _grow("update", engine, table, take_all, skip_unreadable, left_out)


@engine_app.command()
def remove(
    engine: _Engine,
    image_ids: Annotated[list[str], typer.Argument(help="as `vsa search` shows them")],
) -> None:
    """Remove pictures: all that are named, or none."""
    from vsa.growing import remove
    from vsa.store import Store

    with Store(engine) as store:
        remove(store, image_ids)
        tell({"pictures now": len(store)})


@engine_app.command()
def compact(engine: _Engine) -> None:
    """Fold all changes into what was built; searches may go on."""
    from vsa.store import Store

    with Store(engine) as store:
        store.compact()
        tell(store.stats())


@engine_app.command()
def verify(engine: _Engine) -> None:
    """Check every byte of the engine, and that index and catalogue agree."""
    from vsa.store import Store

    with Store(engine) as store:
        store.verify()
    print("the engine is whole")


@engine_app.command()
def stats(engine: _Engine) -> None:
    """What the engine holds, and how it was built."""
    from vsa.store import Store

    with Store(engine) as store:
        tell(store.stats())
        for name in ("vsa", "root", "selection", "codes", "seed", "notes"):
            print(f"{name}: {store.card[name]}")


def _grow(
    how: str, engine: Path, table: Path, take_all: bool, skip: bool, left_out: Path | None
) -> None:
    from vsa.data.folder import read_catalogue
    from vsa.engine import VisualSearch

    if not table.is_file():
        raise InputError("there is no such table", cure="Name a CSV file", file=table)
    rows = read_catalogue(table)
    opened = VisualSearch.open(engine)
    try:
        if table.absolute().parent != opened.root:
            rows = rows.assign(path=[str(table.absolute().parent / path) for path in rows.path])
        change = getattr(opened, how)(
            rows, select=not take_all, on_error="skip" if skip else "raise"
        )
        _account(change, left_out)
        tell({"pictures now": len(opened.store)})
    finally:
        opened.close()


def _account(change: Change, left_out: Path | None) -> None:
    """How many rows are in, and what was left out: all of it in a file, if one was named."""
    table: pd.DataFrame = change.left_out
    tell({"in": len(change), "left out": len(table)})
    for row in table.head(N_NAMED).itertuples():
        copy = f", a copy of {one_line(row.duplicate_of)}" if row.duplicate_of else ""
        print(f"left out: {one_line(row.image_id)}: {row.reason}{copy}")
    if left_out is not None:
        table.to_csv(left_out, index=False)
        print(f"all that was left out: {left_out}")
    elif len(table) > N_NAMED:
        print("for the others, say --left-out FILE")
