"""The command line: ``vsa reproduce``, ``study``, ``compare``, ``data``, ``report``, ``index``."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from vsa.runtime.errors import InputError, NotApplicable, NotebookError
from vsa.runtime.paths import ROOT, relative_to_root, reports_dir
from vsa.runtime.system import refusals_explained
from vsa.runtime.threads import n_threads
from vsa.study import pipeline
from vsa.study.run import make_run

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

index_app = typer.Typer(help="An index over your own pictures.", no_args_is_help=True)
app.add_typer(index_app, name="index")

_Index = Annotated[Path, typer.Argument(help="folder of the index")]
_Pictures = Annotated[Path, typer.Argument(help="folder of pictures, searched through")]
_Dataset = Annotated[str, typer.Option(help="synthetic, grocery, clothing or folder:PATH")]
_Profile = Annotated[str, typer.Option(help="smoke, laptop or full")]
_Seed = Annotated[int, typer.Option(help="whole number ≥ 0")]
_Set = Annotated[str, typer.Option("--set", help="settings to change: 'embedding.margin=0.3 …'")]


@app.command()
def reproduce(
    dataset: _Dataset = "synthetic",
    profile: _Profile = "laptop",
    seed: _Seed = 0,
    changes: _Set = "",
    until: Annotated[str | None, typer.Option(help="last notebook, e.g. 01_catalogue")] = None,
) -> None:
    """Run the notebooks whose inputs changed, then write the report."""
    print(f"vsa: {dataset}, {profile}, seed {seed}", file=sys.stderr, flush=True)
    made = pipeline.reproduce(dataset, profile, seed, until, set=changes)
    shown = relative_to_root(made) if made.is_relative_to(ROOT) else made
    print(f"vsa: see {shown}", file=sys.stderr)


@app.command()
def study(
    dataset: _Dataset = "synthetic",
    profile: _Profile = "laptop",
    seed: _Seed = 0,
    changes: _Set = "",
    jobs: Annotated[
        list[str] | None,
        typer.Option(metavar="GLOB", help="only variants of such names, e.g. 'mask*'; repeatable"),
    ] = None,
    minutes: Annotated[
        float | None, typer.Option(help="stop after so long; the same command goes on")
    ] = None,
    list_: Annotated[bool, typer.Option("--list", help="show the jobs and their times")] = False,
    export: Annotated[
        Path | None, typer.Option(metavar="FILE", help="pack what another machine needs to go on")
    ] = None,
    max_mb: Annotated[float, typer.Option(help="size of that file, in million bytes")] = 60,
    import_: Annotated[
        Path | None, typer.Option("--import", metavar="FILE", help="take over such a file")
    ] = None,
) -> None:
    """Train all variants of notebook 03 with all seeds; go on where an earlier study ended."""
    asked = [list_, export is not None, import_ is not None]
    if sum(asked) > 1:
        raise InputError("--list, --export and --import are one each", cure="Give one of them")
    for name, value in (("--minutes", minutes), ("--max-mb", max_mb)):
        if value is not None and not 0 < value < float("inf"):
            raise InputError(f"{name} {value:g} is not a number above 0", cure="Give one, say 8")
    run = make_run(dataset, profile, seed, changes)
    from vsa.study.embedding.command import Request, study

    request = Request(tuple(jobs or ()), minutes, list_, export, max_mb, import_)
    try:
        is_whole = study(run, request)
    except NotApplicable as reason:
        print(f"vsa: {reason}", file=sys.stderr)
        is_whole = not (any(asked) or request.is_slice)
    if is_whole:
        reproduce(dataset, profile, seed, changes)


@app.command()
def data(name: Annotated[str, typer.Argument(help="grocery or clothing")]) -> None:
    """Download a public data set, verify and unpack it."""
    from vsa.data.public import download_dataset

    print(download_dataset(name))


@app.command()
def report(run: Annotated[str, typer.Argument(help="a folder of reports/, or 'all'")]) -> None:
    """Write report.html and RESULTS.md anew from a run's numbers; 'all' does the README too."""
    from vsa.study.ledger.reporting import update_readme, write_report

    all_folders = sorted(path.parent for path in reports_dir().glob("*/metrics.json"))
    for folder in all_folders if run == "all" else [reports_dir() / run]:
        write_report(folder)
        print(f"vsa: wrote {relative_to_root(folder / 'report.html')}", file=sys.stderr)
    published = [
        folder
        for folder in all_folders
        if "-smoke" not in folder.name and not folder.name.startswith("folder-")
    ]
    if run == "all" and published:
        update_readme(ROOT / "README.md", published)


@app.command()
def compare(
    run_a: Annotated[str, typer.Argument(help="a run, such as synthetic-laptop")],
    run_b: Annotated[str, typer.Argument(help="another one")],
    experiment: Annotated[
        str, typer.Option(metavar="GLOB", help="only experiments of such names")
    ] = "*",
    csv: Annotated[Path | None, typer.Option(metavar="FILE", help="write the table there")] = None,
) -> None:
    """Each number of two runs, and their differences; with intervals where they can be paired."""
    from vsa.study.compare import compare, comparison_text, write_csv

    table = compare(run_a, run_b, experiment)
    print(comparison_text(table))
    if csv:
        write_csv(table, csv)


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
    photo: Annotated[Path, typer.Argument(help="a picture")],
    k: Annotated[int, typer.Option("-k", help="how many results")] = 10,
) -> None:
    """The pictures of an index that are most similar to a photo."""
    from vsa.pictures import Pictures

    with Pictures(index) as own:
        found = own.search(photo, k)
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
def notebook(
    path: Annotated[Path, typer.Argument(help="the notebook")],
    output: Annotated[Path, typer.Argument(help="where the executed notebook goes")],
    dataset: _Dataset = "synthetic",
    profile: _Profile = "laptop",
    seed: _Seed = 0,
    changes: _Set = "",
) -> None:
    """Execute one notebook (the Snakefile's rules call this)."""
    pipeline.end_with_pipeline()
    run = make_run(dataset, profile, seed, changes)
    from vsa.study.notebook import execute

    execute(path.resolve(), run, output.resolve())


@app.command()
def refresh(notebooks: list[Path]) -> None:
    """Execute notebooks in place with their own parameters, for committing."""
    from vsa.study.notebook import refresh

    for path in notebooks:
        refresh(path.resolve())


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
        with refusals_explained():
            try:
                _check_surroundings()
                app()
            finally:
                if sys.stdout is not None:
                    sys.stdout.flush()  # while it can be told that this is refused
    except BrokenPipeError:
        _end(1)
    except (InputError, NotebookError) as error:
        if not pipeline.hand_over(error):
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
