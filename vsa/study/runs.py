"""Reading a run: numbers, claims, and what each trained method found, as tables and arrays."""

from __future__ import annotations

import html
import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
import pandas as pd

from vsa.data.schema import BOX
from vsa.runtime.errors import InputError
from vsa.runtime.paths import artifacts_dir, reports_dir
from vsa.runtime.registry import unknown
from vsa.study.commands import vsa_command
from vsa.study.embedding.jobs import JUDGED, Judged, find_folder, read_found
from vsa.study.embedding.published import (
    FOLDER,
    Published,
    read_published,
    read_tables,
    tables_digest,
)
from vsa.study.ledger.claims import sentence, shown_verdict
from vsa.study.ledger.metrics_file import CLAIM_FIELDS, RECORD_FIELDS, pivot, read_metrics
from vsa.study.ledger.rigour import Judgement, judge_run
from vsa.study.run import Run, make_run
from vsa.study.settings import Change, write_changes

if TYPE_CHECKING:
    from vsa.embedding.task import EmbeddingTask
    from vsa.study.catalogue.prepare import Shop
    from vsa.study.embedding.experiment import EmbeddingLab

CATALOGUE = "catalogue"


def open_run(name: str) -> RunReader:
    """Open a run by its name, ``synthetic-laptop``, to read what it measured and found.

    What is asked for is read from the run's working files where they are, else from what is
    published in ``reports/<run>``; nothing is read before it is asked for.

    Raises
    ------
    InputError, with near matches, if no run has that name.

    Examples
    --------
    >>> run = vsa.open_run("synthetic-laptop")       # doctest: +SKIP
    >>> run.claims[["id", "verdict"]]                # doctest: +SKIP
    >>> run.table("features")                        # doctest: +SKIP
    """
    names = _names()
    if name not in names:
        if not names:
            raise InputError(f"unknown run {name!r}", cure="There is none yet: `make reproduce`")
        raise unknown("run", name, names)
    return RunReader(name)


def command_of(run: Run, verb: str) -> str:
    """What to type for a run: ``vsa reproduce --dataset … --profile …``."""
    return vsa_command(verb, run.dataset, run.profile, run.seed, run.overrides)


def _names() -> list[str]:
    """All runs that have results, published jobs or working files."""
    marks = {reports_dir(): ("metrics.json", FOLDER), artifacts_dir(): ("run.json",)}
    found: set[str] = set()
    for place, files in marks.items():
        folders = place.iterdir() if place.is_dir() else ()
        found |= {f.name for f in folders if any((f / file).exists() for file in files)}
    return sorted(found)


@dataclass(frozen=True)
class RunReader:
    """A run, to be read; made by `open_run`."""

    name: str

    # What was run ----------------------------------------------------------------------------

    @property
    def reports(self) -> Path:
        """Folder of what is published."""
        return reports_dir() / self.name

    @property
    def artifacts(self) -> Path:
        """Folder of the working files, there or not."""
        return artifacts_dir() / self.name

    @cached_property
    def about(self) -> dict[str, Any]:
        """What was run: dataset, profile, seeds, overrides; with results, their metrics file's."""
        told = dict(self._metrics["run"]) if self._has_metrics else {}
        changes = {name: Change(**change) for name, change in told.get("changes", {}).items()}
        told["overrides"] = write_changes(changes)
        note = self.artifacts / "run.json"
        try:
            here = json.loads(note.read_text(encoding="utf-8"))
            told |= {key: str(here[key]) for key in ("dataset", "profile", "overrides")}
        except FileNotFoundError:
            pass
        except (ValueError, KeyError, TypeError):
            raise InputError(
                "this file is damaged", cure="Run `make reproduce` again", file=note
            ) from None
        return told

    @property
    def dataset(self) -> str:
        """The data set's name."""
        return str(self.about.get("dataset", "unknown"))

    @property
    def profile(self) -> str:
        """The profile's name."""
        return str(self.about.get("profile", "unknown"))

    @property
    def seed(self) -> int:
        """Seed of the run (each section says its own in the report)."""
        return int((self.about.get("seeds") or [0])[0])

    def command(self, verb: str) -> str:
        """What to type for this run, as of `command_of`."""
        overrides = self.about["overrides"]
        return vsa_command(verb, self.dataset, self.profile, self.seed, overrides)

    @property
    def measured(self) -> dict[str, Any]:
        """What the metrics file says of the run: dataset, profile, seeds, machine, sections, ….

        Raises InputError if nothing was measured yet.
        """
        return self._results()["run"]

    # Numbers ---------------------------------------------------------------------------------

    @cached_property
    def records(self) -> pd.DataFrame:
        """All numbers, one per row: section, experiment, variant, metric, value, interval, ….

        Raises InputError if nothing was measured yet.
        """
        return pd.DataFrame(self._results()["records"], columns=[*RECORD_FIELDS])

    @cached_property
    def claims(self) -> pd.DataFrame:
        """The paper's claims: id, verdict, verdict_alone, sentence, statement, effect, interval, ….

        The verdict is that of `rigour.judge_run`, of a smoke run too; its sentence gives none.
        ``verdict_alone`` is what follows from the claim's own intervals, and so is the sentence.

        Raises InputError if nothing was measured yet.
        """
        told = [
            claim
            | {"sentence": sentence(claim, self.profile).replace("**", "")}
            | {"verdict": self._judged_claims[claim["id"]].verdict}
            | {"verdict_alone": claim["verdict"]}
            for claim in self._results()["claims"]
        ]
        first = ["id", "verdict", "verdict_alone", "sentence"]
        return pd.DataFrame(told, columns=[*first, *(f for f in CLAIM_FIELDS if f not in first)])

    def table(
        self, experiment: str, section: str | None = None, *, as_text: bool = False
    ) -> pd.DataFrame:
        """An experiment: variants by metrics, as numbers or as printed with intervals.

        Raises InputError, with near matches, for an experiment that was not recorded; several
        sections may have one of that name, and `section` then says which.
        """
        records = self._results()["records"]
        chosen = [r for r in records if r["experiment"] == experiment]
        if not chosen:
            raise unknown("experiment", experiment, dict.fromkeys(r["experiment"] for r in records))
        sections = list(dict.fromkeys(record["section"] for record in chosen))
        if section is None and len(sections) > 1:
            raise InputError(
                f"{experiment!r} is in several sections",
                cure=f"Pass section=, one of {', '.join(sections)}",
            )
        if section is not None and section not in sections:
            raise unknown("section", section, sections)
        chosen = [r for r in chosen if section in (None, r["section"])]
        return pivot(chosen, as_text=as_text)

    # What trained methods found --------------------------------------------------------------

    @cached_property
    def jobs(self) -> pd.DataFrame:
        """Published jobs: variant, seed, steps, seconds, trouble, has_weights, key.

        ``has_weights`` says whether the trained network is among the working files here.
        """
        rows = []
        for (variant, seed), found in self._published.items():
            card = found.job.card
            folder = self._job_folder(found)
            has_weights = folder is not None and (folder / "net.pth").is_file()
            told = (int(card["steps"]), float(card["seconds"]), "; ".join(card["trouble"]))
            rows.append((variant, seed, *told, has_weights, found.key))
        columns = ["variant", "seed", "steps", "seconds", "trouble", "has_weights", "key"]
        return pd.DataFrame(rows, columns=columns)

    def rankings(self, variant: str, seed: int | None = None, split: str = "test") -> pd.DataFrame:
        """What a variant found: image ids, one row per query, best first in columns 1, 2, ….

        60 columns from working files, fewer from what is published; None past the end of a small
        catalogue. The first seed by default.

        Raises InputError for an unknown variant, seed or split, or if they are neither here nor
        published.
        """
        found = self._job(variant, seed)
        folder = self._job_folder(found)
        if folder is not None and split in JUDGED:
            rows = read_found(folder)[split].ranking.everywhere
        else:
            rows = self._judged(found, split).ranks
            if not rows.shape[1]:
                raise InputError(
                    "the catalogue is too large for rankings to be published",
                    cure=f"Make them here: {self.command('study')}",
                )
        ids = np.array([*self.tables[1].image_id, None], dtype=object)
        table = pd.DataFrame(ids[rows], index=self._query_ids(split))
        return table.set_axis(range(1, rows.shape[1] + 1), axis=1)

    def boxes(self, variant: str, seed: int | None = None, split: str = "test") -> pd.DataFrame:
        """Boxes of a variant, one row per query: x_min, y_min, x_max, y_max, shares of the sides.

        Raises as `rankings` does.
        """
        boxes = self._judged(self._job(variant, seed), split).boxes
        return pd.DataFrame(boxes, index=self._query_ids(split), columns=BOX)

    def judged(self, variant: str, seed: int | None = None, split: str = "test") -> Judged:
        """What is judged of a variant: hits among the first 60 results, boxes, ranks (arrays).

        Raises as `rankings` does.
        """
        return self._judged(self._job(variant, seed), split)

    def features(self, variant: str, split: str = "test", seed: int | None = None) -> np.ndarray:
        """Unit features of a variant, float32 (n, d): of a split's queries, or of the catalogue.

        `split` is train, val, test or catalogue, the rows those of `queries` and `catalogue`.
        They are computed by the trained network, which must be among the working files; behind
        masks that a variant did not find itself there are some of val and test only.

        Raises InputError, with the command that makes it, if the network is not here.
        """
        from vsa.study.embedding.features import features_of

        if split not in ("train", *JUDGED, CATALOGUE):
            raise unknown("split", split, ("train", *JUDGED, CATALOGUE))
        labs = self._labs
        seeds = {lab.seed: lab for lab in labs}
        if seed is not None and seed not in seeds:
            raise unknown("seed", str(seed), [str(known) for known in seeds])
        return features_of(labs[0] if seed is None else seeds[seed], variant, split, self.command)

    @cached_property
    def catalogue(self) -> pd.DataFrame:
        """The catalogue that selection kept: all columns from working files, else the ids only.

        Raises InputError if it is neither here nor published.
        """
        return self._task.catalogue if self._has_shop else self.tables[1]

    @cached_property
    def queries(self) -> pd.DataFrame:
        """Queries of known products: all from working files, else the judged ones (val, test).

        Raises InputError if they are neither here nor published.
        """
        return self._task.queries if self._has_shop else self.tables[0]

    def test_queries(self) -> pd.DataFrame:
        """The judged test queries as published, in the order of `judged`."""
        return self.tables[0][self.tables[0].split == "test"]

    def published(self, variant: str) -> dict[int, Published]:
        """Seed → published job of a variant, those of the published tables only."""
        return {seed: found for (v, seed), found in self._published.items() if v == variant}

    # -----------------------------------------------------------------------------------------

    @property
    def _has_metrics(self) -> bool:
        return (self.reports / "metrics.json").is_file()

    @cached_property
    def _metrics(self) -> dict[str, Any]:
        return read_metrics(self.reports / "metrics.json")

    @cached_property
    def _judged_claims(self) -> dict[str, Judgement]:
        return judge_run(self._results()["claims"])

    def _verdicts(self) -> list[str]:
        """As they may be shown, in the order of the claims."""
        return [shown_verdict(j.verdict, self.profile) for j in self._judged_claims.values()]

    def _results(self) -> dict[str, Any]:
        if not self._has_metrics:
            self._lacks("results", "reproduce")
        return self._metrics

    @cached_property
    def tables(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Judged queries (val before test) and catalogue as published: what rows of jobs mean."""
        if not (self.reports / FOLDER).is_dir():
            self._lacks("published jobs, and so no queries, catalogue, rankings or boxes", "study")
        return read_tables(self.reports / FOLDER)

    @cached_property
    def _published(self) -> dict[tuple[str, int], Published]:
        """Those whose rows mean the published tables."""
        folder = self.reports / FOLDER
        if not folder.is_dir():
            return {}
        digest = tables_digest(*self.tables)
        all_ = [read_published(file) for file in sorted(folder.glob("*.npz"))]
        fitting = [found for found in all_ if found.about["data"]["tables"] == digest]
        return {(found.job.variant, found.job.seed): found for found in fitting}

    def _job(self, variant: str, seed: int | None) -> Published:
        seeds = self.published(variant)
        if not seeds:
            if not self._published:
                self._lacks("published jobs", "study")
            raise unknown("variant", variant, dict.fromkeys(v for v, _ in self._published))
        chosen = min(seeds) if seed is None else seed
        if chosen not in seeds:
            raise unknown(f"seed of {variant!r},", str(seed), [str(known) for known in seeds])
        return seeds[chosen]

    def _judged(self, found: Published, split: str) -> Judged:
        if split not in found.job.judged:
            raise unknown("split", split, found.job.judged)
        return found.job.judged[split]

    def _job_folder(self, found: Published) -> Path | None:
        job = found.job
        return find_folder(self.artifacts / "embedding", job.variant, job.seed, found.key)

    def _query_ids(self, split: str) -> pd.Index:
        queries = self.tables[0]
        return pd.Index(queries.query_id[queries.split == split], name="query_id")

    @property
    def _has_shop(self) -> bool:
        return (self.artifacts / "tables").is_dir()

    @cached_property
    def _run(self) -> Run:
        return make_run(self.dataset, self.profile, self.seed, self.about["overrides"])

    @cached_property
    def _shop(self) -> Shop:
        from vsa.study.catalogue.prepare import open_shop

        return open_shop(self._run)

    @cached_property
    def _task(self) -> EmbeddingTask:
        from vsa.study.embedding.prepare import prepare_learning

        return prepare_learning(self._run, self._shop)

    @cached_property
    def _labs(self) -> list[EmbeddingLab]:
        from vsa.runtime.device import pick_device
        from vsa.study.embedding.prepare import open_labs

        if not (self.artifacts / "notebooks" / "02_category_fusion.ipynb").is_file():
            self._lacks("trained networks here", "reproduce --until 03_click_mined_training")
        return open_labs(self._run, self._shop, self._task, pick_device())

    def _lacks(self, what: str, verb: str) -> NoReturn:
        raise InputError(f"the run {self.name} has no {what}", cure=f"Run: {self.command(verb)}")

    # Shown -----------------------------------------------------------------------------------

    def __repr__(self) -> str:
        return "\n".join(f"{name}: {text}" for name, text in self._facts())

    def _repr_html_(self) -> str:
        facts = "".join(
            f"<tr><th>{html.escape(name)}</th><td>{html.escape(text)}</td></tr>"
            for name, text in self._facts()
        )
        if not self._has_metrics:
            return f"<table>{facts}</table>"
        rows = "".join(
            f"<tr><td>{_cell(claim['id'])}</td><td>{_cell(verdict)}</td>"
            f"<td>{_cell(claim['statement'])}</td></tr>"
            for claim, verdict in zip(self._results()["claims"], self._verdicts(), strict=True)
        )
        heads = "<tr><th>claim</th><th>verdict</th><th>the paper says</th></tr>"
        return f"<table>{facts}</table><table>{heads}{rows}</table>"

    def _facts(self) -> Iterable[tuple[str, str]]:
        yield "run", self.name
        yield "data set", self.dataset
        changed = f", with {self.about['overrides']}" if self.about["overrides"] else ""
        yield "profile", f"{self.profile}{changed}"
        yield "seed", str(self.seed)
        if self._has_metrics:
            verdicts = Counter(self._verdicts())
            yield "records", f"{len(self.records):,}"
            yield "claims", ", ".join(f"{n} {v}" for v, n in verdicts.items()) or "none judged"
        else:
            yield "records", "none yet"
        n_jobs = len(list((self.reports / FOLDER).glob("*.npz")))
        yield "published jobs", str(n_jobs)
        yield "working files", "here" if self.artifacts.is_dir() else "not here"


def _cell(value: object) -> str:
    return html.escape(str(value))
