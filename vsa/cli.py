"""The command line: an index of pictures, data, checks; and the commands of the replication."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from vsa.runtime.errors import InputError, NotebookError
from vsa.runtime.extras import missing_explained
from vsa.runtime.system import refusals_explained
from vsa.runtime.threads import n_threads
from vsa.study.cli import COMMANDS, hand_over

if TYPE_CHECKING:
    from vsa.pictures import Taken

_N_NAMED = 10  # of the pictures that could not be read; a file has all

# Heavy modules are imported inside the commands that need them, so that --help is instant.
app = typer.Typer(
    help="Visual Search at Alibaba (KDD 2018), reproduced.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

for _command in COMMANDS:
    app.command()(_command)

index_app = typer.Typer(help="An index over your own pictures.", no_args_is_help=True)
app.add_typer(index_app, name="index")

_Index = Annotated[Path, typer.Argument(help="folder of the index")]
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

    with Pictures(index, writable=True) as own:
        _account(own.add(pictures, replace=replace), index)


@index_app.command("delete")
def index_delete(index: _Index, names: list[str]) -> None:
    """Remove pictures, by the names that `vsa search` shows."""
    from vsa.pictures import Pictures

    with Pictures(index, writable=True) as own:
        own.delete(names)


@index_app.command("compact")
def index_compact(index: _Index) -> None:
    """Fold all changes into the base; searches may go on."""
    from vsa.index.index import Index

    with Index.open(index, writable=True) as whole:
        whole.compact()


@index_app.command("stats")
def index_stats(index: _Index) -> None:
    """What the index holds."""
    from vsa.index.index import Index

    with Index.open(index) as whole:
        _tell(whole.stats())


@index_app.command("verify")
def index_verify(index: _Index) -> None:
    """Check every byte of the index."""
    from vsa.index.index import Index

    with Index.open(index) as whole:
        whole.verify()
    print("the index is whole")


@app.command()
def search(
    index: _Index,
    photos: Annotated[list[Path], typer.Argument(help="pictures; many cost hardly more than one")],
    k: Annotated[int, typer.Option("-k", help="how many results")] = 10,
    box: Annotated[
        tuple[float, float, float, float] | None,
        typer.Option(
            metavar="X_MIN Y_MIN X_MAX Y_MAX",
            help="search for what this part of one photo shows; shares of its sides, from 0 to 1",
        ),
    ] = None,
) -> None:
    """The pictures of an index that are most similar to a photo, or to each of several."""
    from vsa.pictures import Pictures

    if box is not None and len(photos) > 1:
        raise InputError(
            f"--box was given for {len(photos)} photos", cure="Give it with one photo at a time"
        )
    with Pictures(index) as own:
        pages = [own.search(photos[0], k, box=box)] if box else own.search_batch(photos, k)
    for photo, found in zip(photos, pages, strict=True):
        if len(photos) > 1:
            print(f"{_one_line(str(photo))}:")
        for similarity, name in zip(found.similarity, found.name, strict=True):
            print(f"{similarity:.3f}  {_one_line(name)}")


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

    _tell(taken.counts)
    bad = taken.unreadable
    for name, reason in zip(bad.name[:_N_NAMED], bad.reason[:_N_NAMED], strict=True):
        print(f"unreadable: {_one_line(name)}: {reason}")
    if len(taken.left_out):
        print(f"all that was left out, and why: {index / LEFT_OUT}")


def _one_line(name: str) -> str:
    """A file's name without what a terminal would obey."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in name)


def _tell(facts: dict[str, Any]) -> None:
    for name, value in facts.items():
        print(f"{value:>12,}  {name}")


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
