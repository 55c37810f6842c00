"""The command line: engines, data, checks; and the commands of the replication."""

from __future__ import annotations

import gc
import io
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn, cast

import typer

from vsa.cluster_cli import cluster_app
from vsa.engine_cli import engine_app
from vsa.runtime.console import N_NAMED, one_line, tell
from vsa.runtime.errors import InputError, NotebookError
from vsa.runtime.extras import missing_explained
from vsa.runtime.system import refusals_explained
from vsa.runtime.threads import n_threads
from vsa.serve.options import (
    BackendOption,
    HostOption,
    LimitOption,
    PortOption,
    RootOption,
    TokenFileOption,
)
from vsa.study.cli import COMMANDS, hand_over

if TYPE_CHECKING:
    from vsa.index.index import Index
    from vsa.pictures import Taken
    from vsa.runtime.device import Backend
    from vsa.store import Store

# Heavy modules are imported inside the commands that need them, so that --help is instant.
app = typer.Typer(
    help="Visual Search at Alibaba (KDD 2018), reproduced.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

for _command in COMMANDS:
    app.command()(_command)

index_app = typer.Typer(help="An engine over folders of your own pictures.", no_args_is_help=True)
app.add_typer(index_app, name="index")
app.add_typer(engine_app, name="engine")
app.add_typer(cluster_app, name="cluster")

_Index = Annotated[Path, typer.Argument(help="folder of the index, or of any engine")]
_Pictures = Annotated[Path, typer.Argument(help="folder of pictures, searched through")]


@app.command()
def data(name: Annotated[str, typer.Argument(help="grocery, clothing or vpr2023")]) -> None:
    """Download a public data set, verify and unpack it; or say where to get one yourself."""
    from vsa.data.public import download_dataset

    print(download_dataset(name))


@index_app.command("build")
def index_build(
    index: _Index,
    pictures: _Pictures,
    embedder: Annotated[
        str, typer.Option(help="one of yours, by its name (VSA_PLUGINS), or of torchvision's")
    ] = "mobilenet_v2",
) -> None:
    """Index all pictures below a folder, by an embedder; go on where it was interrupted."""
    from vsa import pictures as own

    _account(own.build(index, pictures, embedder=embedder), index)


@index_app.command("add")
def index_add(
    index: _Index,
    pictures: _Pictures,
    replace: Annotated[
        bool, typer.Option("--replace", help="take the places of another folder's equal names")
    ] = False,
) -> None:
    """Add what is new in a folder, and replace what has changed."""
    from vsa.pictures import Pictures

    with Pictures(index) as own:
        _account(own.add(pictures, replace=replace), index)


@index_app.command("delete")
def index_delete(index: _Index, names: list[str]) -> None:
    """Remove pictures, by the names that `vsa search` shows."""
    from vsa.pictures import Pictures

    with Pictures(index) as own:
        own.delete(names)


@index_app.command("compact")
def index_compact(index: _Index) -> None:
    """Fold all changes into the base; searches may go on."""
    with _opened(index, writable=True) as whole:
        whole.compact()


@index_app.command("stats")
def index_stats(index: _Index) -> None:
    """What the index holds."""
    with _opened(index) as whole:
        tell(whole.stats())


@index_app.command("verify")
def index_verify(index: _Index) -> None:
    """Check every byte of the index."""
    with _opened(index) as whole:
        whole.verify()
    print("the index is whole")


def _opened(folder: Path, *, writable: bool = False) -> Store | Index:
    """An engine, as of pictures; or a vsa.Index that somebody saved, which has no card."""
    from vsa.index.index import Index
    from vsa.runtime.checked import INDEX
    from vsa.store import CARD, Store

    if (folder / INDEX).is_file() and not (folder / CARD).is_file():
        return Index.open(folder, writable=writable)
    return Store(folder)


@app.command()
def search(
    places: Annotated[
        list[Path],
        typer.Argument(
            metavar="INDEX PHOTOS...",
            help="folder of the index, or of any engine; then pictures: many cost hardly more "
            "than one. With --url, pictures only",
        ),
    ],
    k: Annotated[int, typer.Option("-k", help="how many results")] = 10,
    box: Annotated[
        tuple[float, float, float, float] | None,
        typer.Option(
            metavar="X_MIN Y_MIN X_MAX Y_MAX",
            help="search for what this part of one photo shows; shares of its sides, from 0 to 1",
        ),
    ] = None,
    url: Annotated[
        str, typer.Option(help="of a service (`vsa serve`), which is asked in place of a folder")
    ] = "",
) -> None:
    """The pictures of an index or an engine that are most similar to a photo, or to several."""
    photos = places if url else places[1:]
    if not photos:
        raise InputError("no photo was named", cure="Say vsa search INDEX PHOTO")
    if box is not None and len(photos) > 1:
        raise InputError(
            f"--box was given for {len(photos)} photos", cure="Give it with one photo at a time"
        )
    found = _of_service(url, photos, k, box) if url else _of_folder(places[0], photos, k, box)
    for photo, page in zip(photos, found, strict=True):
        if len(photos) > 1:
            print(f"{one_line(str(photo))}:")
        for similarity, name in page:
            print(f"{similarity:.3f}  {one_line(name)}")


_Page = list[tuple[float, str]]  # similarity and name, best first


def _of_folder(
    folder: Path, photos: Sequence[Path], k: int, box: Sequence[float] | None
) -> list[_Page]:
    from vsa.pictures import Pictures

    with Pictures(folder) as own:
        pages = [own.search(photos[0], k, box=box)] if box else own.search_batch(photos, k)
    return [list(zip(page.similarity, page.name, strict=True)) for page in pages]


def _of_service(
    url: str, photos: Sequence[Path], k: int, box: Sequence[float] | None
) -> list[_Page]:
    from vsa.serve.client import search

    pages = [search(url, photo, k, box=box) for photo in photos]
    return [[(result["score"], result["image_id"]) for result in page] for page in pages]


@app.command()
def serve(
    engine: _Index,
    host: HostOption = "127.0.0.1",
    port: PortOption = 8000,
    token_file: TokenFileOption = None,
    root: RootOption = None,
    backend: BackendOption = "torch",
    limit: LimitOption = None,
) -> None:
    """Serve an engine over HTTP (extra serve): search, items, health, metrics and the page."""
    gc.disable()  # until it answers: next to nothing that imports and opening make is garbage
    try:
        from vsa.serve.limits import make_limits
        from vsa.serve.run import read_token
        from vsa.serve.run import serve as run

        run(
            engine,
            host=host,
            port=port,
            token=read_token(token_file),
            limits=make_limits(limit or []),
            root=root,
            backend=cast("Backend", backend),
            tell=lambda text: print(text, flush=True),
        )
    finally:
        gc.enable()


@app.command()
def dedup(
    pictures: _Pictures,
    csv: Annotated[Path, typer.Option(help="where the table goes")] = Path("copies.csv"),
    sheet: Annotated[
        Path | None, typer.Option(help="where a contact sheet of the groups goes, as PNG")
    ] = None,
    max_bits: Annotated[
        int, typer.Option(help="of 64 bits of two copies' perceptual hashes that may differ")
    ] = 6,
    max_distance: Annotated[
        float, typer.Option(help="between the descriptors of two copies, from 0 to 2")
    ] = 0.2,
) -> None:
    """Find copies in a folder, by the paper's image selection, and say which of them to keep.

    No picture is changed or removed. Of a group of copies the one with most pixels stays.
    """
    from vsa.category.settings import SelectionSettings
    from vsa.copies import find_copies, write_sheet
    from vsa.runtime.atomic import atomic_file
    from vsa.runtime.settings import make_settings

    limits = {"max_hamming_bits": max_bits, "max_distance": max_distance}
    found = find_copies(pictures, make_settings(SelectionSettings, limits))
    with atomic_file(csv) as draft:
        found.to_csv(draft, index=False)
    counts = found.reason.value_counts()
    tell({"pictures": len(found), "to keep": int(found.keep.sum())})
    tell({f"left out: {one_line(reason)}": int(n) for reason, n in counts.items() if reason})
    tell({"groups of copies": int(found.group.max()) + 1})
    print(f"all of them: {csv}")
    if sheet is not None and write_sheet(pictures, found, sheet):
        print(f"groups of copies, the one to keep first: {sheet}")


@app.command()
def verify(
    what: Annotated[str, typer.Argument(help="an index, an engine or another folder; or a run")],
) -> None:
    """Name what is damaged of an index, an engine, a report, or all that a run has trained."""
    from vsa.verify import verify

    checked = verify(what)
    for folder in checked:
        print(f"whole: {folder}")


@app.command()
def export(
    what: Annotated[
        str, typer.Argument(help="folder of an engine or of saved models; an embedder")
    ],
    out: Annotated[Path, typer.Argument(help="folder of the ONNX files")],
) -> None:
    """Write networks as ONNX files, each compared with the network that it was made of."""
    from vsa.onnx_files import export

    for name, difference in export(what, out).items():
        print(f"{difference:.1e}  {name}")


def _account(taken: Taken, index: Path) -> None:
    """What became of every entry below a folder; the first of those that could not be read."""
    from vsa.pictures import LEFT_OUT

    tell(taken.counts)
    bad = taken.unreadable
    for name, reason in zip(bad.name[:N_NAMED], bad.reason[:N_NAMED], strict=True):
        print(f"unreadable: {one_line(name)}: {reason}")
    if len(taken.left_out):
        print(f"all that was left out, and why: {index / LEFT_OUT}")


def main() -> None:
    """Entry point; an error the user can mend is one paragraph and exit status 2.

    Ctrl-C ends with 130, and a reader that has seen enough (``vsa … | head``) with 1, both
    without a word.
    """
    speak_any_name()
    try:
        with refusals_explained(), missing_explained():
            try:
                _check_surroundings()
                app()
            finally:
                if sys.stdout is not None:
                    sys.stdout.flush()  # while it can be told that this is refused
    except BrokenPipeError:
        _end(1)
    except (InputError, NotebookError) as error:
        if not hand_over(error):
            print(f"vsa: {error}", file=sys.stderr)
        _end(error.status if isinstance(error, NotebookError) else 2)


def _check_surroundings() -> None:
    """Raise InputError for what would end a library in words of its own."""
    n_threads()
    try:
        os.getcwd()
    except FileNotFoundError:
        raise InputError("the folder you are in was removed", cure="Go to another one") from None


def speak_any_name() -> None:
    """Let names be printed that the terminal has no letters for, or that are no text at all."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _end(status: int) -> NoReturn:
    """Exit; what nobody takes is let go of, or Python would complain at the very end."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(status)


if __name__ == "__main__":
    main()
