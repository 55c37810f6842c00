"""Commands of the replication: reproduce, study, report and compare; and two that make calls.

What they need is imported when they are called: the core of vsa is installed without it.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from vsa.runtime.errors import InputError, NotApplicable, NotebookError
from vsa.runtime.paths import ROOT, relative_to_root, reports_dir

_Dataset = Annotated[str, typer.Option(help="synthetic, grocery, clothing, vpr2023 or folder:PATH")]
_Profile = Annotated[str, typer.Option(help="smoke, laptop or full")]
_Seed = Annotated[int, typer.Option(help="whole number ≥ 0")]
_Set = Annotated[str, typer.Option("--set", help="settings to change: 'embedding.margin=0.3 …'")]


def reproduce(
    dataset: _Dataset = "synthetic",
    profile: _Profile = "laptop",
    seed: _Seed = 0,
    changes: _Set = "",
    until: Annotated[str | None, typer.Option(help="last notebook, e.g. 01_catalogue")] = None,
) -> None:
    """Run the notebooks whose inputs changed, then write the report."""
    from vsa.study import pipeline

    print(f"vsa: {dataset}, {profile}, seed {seed}", file=sys.stderr, flush=True)
    made = pipeline.reproduce(dataset, profile, seed, until, set=changes)
    shown = relative_to_root(made) if made.is_relative_to(ROOT) else made
    print(f"vsa: see {shown}", file=sys.stderr)


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
    ray: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="of a Ray cluster whose nodes do the jobs; they share this machine's folders",
        ),
    ] = None,
) -> None:
    """Train all variants of notebook 03 with all seeds; go on where an earlier study ended."""
    asked = [list_, export is not None, import_ is not None]
    if sum(asked) > 1:
        raise InputError("--list, --export and --import are one each", cure="Give one of them")
    for name, value in (("--minutes", minutes), ("--max-mb", max_mb)):
        if value is not None and not 0 < value < float("inf"):
            raise InputError(f"{name} {value:g} is not a number above 0", cure="Give one, say 8")
    from vsa.study.run import make_run

    run = make_run(dataset, profile, seed, changes)
    from vsa.study.embedding.command import Request, study

    request = Request(tuple(jobs or ()), minutes, list_, export, max_mb, import_, ray)
    try:
        is_whole = study(run, request)
    except NotApplicable as reason:
        print(f"vsa: {reason}", file=sys.stderr)
        is_whole = not (any(asked) or request.is_slice)
    if is_whole:
        reproduce(dataset, profile, seed, changes)


def report(
    run: Annotated[str, typer.Argument(help="a folder of reports/, 'findings' or 'all'")],
) -> None:
    """Write a run's report anew from its numbers; 'findings': FINDINGS and README; 'all': both."""
    from vsa.study.ledger.findings import published_folders, update_readme, write_findings
    from vsa.study.ledger.reporting import write_report

    everything, findings = "all", "findings"
    all_folders = sorted(path.parent for path in reports_dir().glob("*/metrics.json"))
    named = {everything: all_folders, findings: []}
    for folder in named.get(run, [reports_dir() / run]):
        write_report(folder)
        print(f"vsa: wrote {relative_to_root(folder / 'report.html')}", file=sys.stderr)
    published = published_folders(reports_dir())
    if run in named and published:
        for path in write_findings(reports_dir(), published):
            print(f"vsa: wrote {relative_to_root(path)}", file=sys.stderr)
        update_readme(ROOT / "README.md", published)


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


def notebook(
    path: Annotated[Path, typer.Argument(help="the notebook")],
    output: Annotated[Path, typer.Argument(help="where the executed notebook goes")],
    dataset: _Dataset = "synthetic",
    profile: _Profile = "laptop",
    seed: _Seed = 0,
    changes: _Set = "",
) -> None:
    """Execute one notebook (the Snakefile's rules call this)."""
    from vsa.study.pipeline import end_with_pipeline

    end_with_pipeline()
    from vsa.study.notebook import execute
    from vsa.study.run import make_run

    execute(path.resolve(), make_run(dataset, profile, seed, changes), output.resolve())


def refresh(notebooks: list[Path]) -> None:
    """Execute notebooks in place with their own parameters, for committing."""
    from vsa.study.notebook import refresh

    for path in notebooks:
        refresh(path.resolve())


def demo(
    photo: Annotated[
        Path | None, typer.Argument(help="a photo of yours; by default one of the shop's")
    ] = None,
    folder: Annotated[Path, typer.Option(help="where it is kept")] = Path("vsa-demo"),
    make: Annotated[bool, typer.Option("--make", help="make it anew")] = False,
    k: Annotated[int, typer.Option("-k", help="how many results")] = 5,
) -> None:
    """Search a small rendered shop: made at the first call, in about a minute, then opened."""
    from vsa.study import demo as small

    if make or not small.is_demo(folder):
        print("vsa: a shop is rendered and a small engine trained, once", file=sys.stderr)
        small.make_demo(folder)
    photo = photo or next(iter(sorted((folder / small.PHOTOS).iterdir())))
    with small.open_demo(folder) as engine:
        answer = engine.search(photo, k)
        print(f"{photo} among {len(engine.index)} rendered pictures:")
        if answer.category is not None:
            name, share = answer.category.category, answer.category.fused.max()
            print(f"  category: {name} ({share:.0%} sure)")
        print("  box: " + ", ".join(f"{side:.2f}" for side in answer.box))
        for row in answer.results.itertuples(index=False):
            print(f"  {row.similarity:.3f}  {row.image_id}  {row.category}, {row.product_id}")
    found = small.quality(folder)
    n_photos = int(found.pop("photos"))
    print(f"A minute's training shows how it works, not how well; of {n_photos} test photos:")
    for what, share in found.items():
        print(f"  {share:.0%}  {what}")
    print(f"Go on: vsa search {folder / small.ENGINE} {folder / small.PHOTOS}/*")


COMMANDS = (reproduce, study, report, compare, demo, notebook, refresh)


def hand_over(error: InputError | NotebookError) -> bool:
    """Pass a notebook's error to the pipeline that runs us; False if there is none."""
    file = os.environ.get("VSA_FAILURE")
    if not file:
        return False
    status = error.status if isinstance(error, NotebookError) else 2
    with open(file, "r+", encoding="utf-8") as stream:  # in place: the disk may be full
        stream.write(json.dumps({"message": str(error), "status": status}))
    return True
