"""The table of all methods, sorted by what a reader chooses, and as it stands where nobody can."""

from __future__ import annotations

from typing import Any

from vsa.study.ledger.ledger import Ledger
from vsa.study.ledger.registry import get_metric
from vsa.study.ledger.tables import Table, Tables, tables
from vsa.study.lineage.methods import EFFORTS, METHODS
from vsa.study.lineage.results import SEARCH


class SortableTable:
    """All methods, best mAP first; where widgets are alive, a menu sorts them by another column.

    A notebook keeps the table itself beside the widget, so that a page without a kernel shows it.
    """

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.columns = [str(name) for name in ledger.table(SEARCH).columns]

    def by(self, metric: str) -> Tables:
        """The table sorted by a metric, the best first; rows that lack it come last."""
        numbers = self.ledger.table(SEARCH)
        is_cost = get_metric(metric).direction == "lower"
        order = numbers[metric].sort_values(ascending=is_cost, kind="stable", na_position="last")
        part = tables(self.ledger, SEARCH).parts[0]
        cells = part.cells.loc[order.index].copy()
        cells.insert(0, "work", [METHODS[name].reference for name in order.index])
        cells.insert(1, "takes", [EFFORTS[METHODS[name].effort] for name in order.index])
        sorted_by = Table(cells, f"{part.title}, by {metric}", part.best)
        return Tables((sorted_by,), self.ledger.shared_products)

    def widget(self) -> Any:
        """A menu of the columns, above the table."""
        from ipywidgets import HTML, Dropdown, VBox  # slow to import

        menu = Dropdown(options=self.columns, value="mAP", description="sort by")
        shown = HTML(self.by("mAP")._repr_html_())
        menu.observe(
            lambda change: setattr(shown, "value", self.by(change["new"])._repr_html_()), "value"
        )
        return VBox([menu, shown])

    def __repr__(self) -> str:
        return repr(self.by("mAP"))

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        still = self.by("mAP")
        found: dict[str, Any] = {"text/plain": repr(still), "text/html": still._repr_html_()}
        try:
            return self.widget()._repr_mimebundle_() | found
        except ImportError:  # the widgets are an extra
            return found
