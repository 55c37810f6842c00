"""Tables of notebooks: HTML that scrolls, a plain-text twin, and the best of each metric marked."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape

import pandas as pd

from vsa.runtime.errors import InputError
from vsa.study.ledger.ledger import Ledger
from vsa.study.ledger.registry import get_metric

_ABSENT = "(not measured in this run)"
_OF_PRODUCTS = ("Identical Recall", "mAP")  # metrics that ask for the very product
_SCROLLS = '<div style="overflow-x: auto">'
_TABLE = '<table style="margin-left: 0">'
_ONE_LINE = "white-space: nowrap"  # per cell: Jupyter's own style of cells lets them wrap
_CAPTION = '<caption style="text-align: left; font-weight: bold">'


@dataclass(frozen=True)
class Table:
    """Texts in rows and columns, and which of them are the best of their metric."""

    cells: pd.DataFrame  # of texts
    title: str = ""
    best: frozenset[tuple[str, str]] = frozenset()  # row and column

    def __str__(self) -> str:
        marked = self.cells.copy()
        for column in {column for _, column in self.best}:
            stars = [" *" if (row, column) in self.best else "  " for row in marked.index]
            marked[column] = marked[column] + stars  # numbers stay below each other
        heading = f"{self.title}\n" if self.title else ""
        return heading + (marked.to_string(index_names=False) if len(marked) else _ABSENT)

    def html(self) -> str:
        """One table that scrolls within its own width."""
        if self.cells.empty:
            return f"<p><strong>{escape(self.title)}</strong><br>{_ABSENT}</p>"
        caption = f"{_CAPTION}{escape(self.title)}</caption>" if self.title else ""
        names = "".join(f"<th>{escape(str(name))}</th>" for name in self.cells.columns)
        head = f"<thead><tr><th></th>{names}</tr></thead>"
        rows = "\n".join(self._row(row) for row in self.cells.index)
        return f"{_SCROLLS}{_TABLE}{caption}\n{head}\n<tbody>\n{rows}\n</tbody></table></div>"

    def _row(self, row: str) -> str:
        parts = [f'<th style="text-align: left; {_ONE_LINE}">{escape(str(row))}</th>']
        for column in self.cells.columns:
            text = escape(str(self.cells.loc[row, column]))
            shown = f"<b>{text}</b>" if (row, column) in self.best else text
            parts.append(f'<td style="{_ONE_LINE}">{shown}</td>')
        return f"<tr>{''.join(parts)}</tr>"


@dataclass(frozen=True)
class Tables:
    """One table below the other; a notebook shows them as HTML, a terminal as text."""

    parts: tuple[Table, ...]
    declared: str = ""  # a sentence that stands above them

    def __repr__(self) -> str:
        text = "\n\n".join([self.declared, *map(str, self.parts)][not self.declared :])
        return f"{text}\n\n* the best of its metric" if self._are_marked else text

    def _repr_html_(self) -> str:
        html = "\n".join(part.html() for part in self.parts)
        if self.declared:
            html = f"<p><small>{escape(self.declared)}</small></p>\n{html}"
        note = "<p><small><b>Bold</b>: the best of its metric.</small></p>"
        return f"{html}\n{note}" if self._are_marked else html

    @property
    def _are_marked(self) -> bool:
        return any(part.best for part in self.parts)


def as_table(frame: pd.DataFrame, title: str = "") -> Tables:
    """A data frame as it is, nothing marked."""
    return Tables((Table(frame.astype(str), title),))


def tables(ledger: Ledger, *experiments: str, mark: bool = True) -> Tables:
    """Recorded experiments, one below the other; says so of what was not measured.

    The best value of each metric, by the registry's direction and as printed, is marked: bold, or
    by a star. Rows that are differences or ratios of two methods are not ranked; `mark` is False
    where rows are no rivals either, such as stages or seeds. Where recall is among them, and
    products of training photos are tested, that is declared above them.
    """
    parts = tuple(_table(ledger, experiment, mark) for experiment in experiments)
    headings = [f"{part.title} {' '.join(map(str, part.cells.columns))}" for part in parts]
    shows_recall = any(name in heading for heading in headings for name in _OF_PRODUCTS)
    return Tables(parts, ledger.shared_products if shows_recall else "")


def _table(ledger: Ledger, experiment: str, mark: bool) -> Table:
    try:
        cells, values = (ledger.table(experiment, as_text=text) for text in (True, False))
    except InputError:
        return Table(pd.DataFrame(), experiment)
    metrics = map(str, values if mark else ())
    best = {(row, metric) for metric in metrics for row in _best(metric, values[metric])}
    if len(cells.columns) == 1 and cells.index.str.contains(" | ", regex=False).all():
        heading = _heading(cells.columns[0])
        return Table(
            _two_way(cells), f"{experiment}: {heading}", frozenset(_split(row) for row, _ in best)
        )
    headings = {metric: _heading(metric) for metric in cells.columns}
    marked = frozenset((row, headings[metric]) for row, metric in best)
    return Table(cells.rename(columns=headings), experiment, marked)


def _heading(metric: str) -> str:
    unit = get_metric(metric).unit
    return f"{metric} ({unit})" if unit else metric


def _two_way(cells: pd.DataFrame) -> pd.DataFrame:
    """Variants named "row | column", as the report shows them too."""
    table: dict[str, dict[str, str]] = {}
    for variant, text in cells.iloc[:, 0].items():
        row, column = _split(str(variant))
        table.setdefault(row, {})[column] = text
    return pd.DataFrame.from_dict(table, orient="index").fillna("")


def _split(variant: str) -> tuple[str, str]:
    row, _, column = variant.rpartition(" | ")
    return row, column


def _best(metric: str, values: pd.Series) -> list[str]:
    """Rows with the best value as printed; none where there is no better, or no choice."""
    known, present = get_metric(metric), values.dropna()
    if known.direction == "none" or known.compares or len(present) < 2:
        return []
    best = present.max() if known.direction == "higher" else present.min()
    printed = present.map(known.text)
    rows = [str(row) for row in present.index[printed == known.text(best)]]
    return [] if len(rows) == len(present) else rows
