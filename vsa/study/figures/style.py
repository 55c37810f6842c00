"""The house style of figures, and how they are saved: small, reproducible, with words.

Every plotting function returns a matplotlib figure that pyplot has already let go of: shown
in a notebook as the last expression of a cell, it leaves nothing open. Text is shown as it is
written: names are people's, and a dollar or an underscore in them means nothing more. Arabic and
other scripts whose letters join are set as well as the installed matplotlib can.
"""

from __future__ import annotations

import io
import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
from cycler import cycler
from matplotlib.axis import Axis
from matplotlib.backend_bases import RendererBase
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import LogFormatter, LogLocator, NullFormatter, ScalarFormatter
from PIL import Image

from vsa.runtime.atomic import atomic_file
from vsa.runtime.errors import InputError
from vsa.study.figures import fonts
from vsa.study.figures.pictures import MAY_NOT, holds_pictures
from vsa.study.run import Run

# Okabe and Ito's colours, told apart by colour-blind readers; yellow comes last as it is faint.
PALETTE = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#F0E442"]
MARKERS = ["o", "s", "^", "D", "v", "P", "X", "*"]
GREY = "#767676"
STYLE: dict[str, Any] = {
    "figure.dpi": 100,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "font.size": 11,
    "axes.titlesize": 12,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.prop_cycle": cycler(color=PALETTE),
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.8,
    "legend.frameon": False,
    "lines.linewidth": 2,
    "image.interpolation": "antialiased",
}
MAX_BYTES = 300_000
_DPI, _MIN_DPI = 144, 50


@dataclass(frozen=True)
class Words:
    """A figure in words: they are written beside the plot, and travel with it.

    Raises ValueError where one of them is empty.
    """

    name: str  # file name without ending, unique in a run
    alt_text: str  # what the figure shows, for who cannot see it
    caption: str  # printed below the figure

    def __post_init__(self) -> None:
        if not self.name or not self.alt_text.strip() or not self.caption.strip():
            raise ValueError(f"figure {self.name!r} needs a name, an alt text and a caption")


class HouseFigure(Figure):
    """Whoever draws it, and whenever: text as it is written, in fonts that have its letters."""

    words: Words | None = None  # see `worded`

    def __repr__(self) -> str:
        return f"Figure: {self.words.alt_text}" if self.words else "Figure"

    def draw(self, renderer: RendererBase) -> None:
        numbers = _numbers(self)
        words = [text for text in self.findobj(Text) if text.get_text() and text not in numbers]
        for text in words:
            text.set_parse_math(False)
            text.set_fontfamily(fonts.families(text.get_text()))
        fonts.tell_lacking("".join(text.get_text() for text in words))
        with mpl.rc_context(STYLE), fonts.quiet():  # some ticks are made only while drawing
            super().draw(renderer)


def _numbers(figure: Figure) -> set[Text]:
    """Labels that matplotlib writes itself, powers of ten among them; labels get their text."""
    numbers: set[Text] = set()
    for axis in (side for axes in figure.axes for side in (axes.xaxis, axes.yaxis)):
        labels = axis.get_majorticklabels()
        if isinstance(axis.get_major_formatter(), ScalarFormatter | LogFormatter):
            numbers.update(labels)
        numbers.update(axis.get_minorticklabels())
    return numbers


def new_figure(
    width: float, height: float, n_rows: int = 1, n_columns: int = 1, **options: Any
) -> tuple[Figure, Any]:
    """A figure of that size in inches and its axes, (n_rows, n_columns) or one, in house style."""
    options.setdefault("layout", "constrained")
    with mpl.rc_context(STYLE):
        figure, axes = plt.subplots(
            n_rows, n_columns, figsize=(width, height), FigureClass=HouseFigure, **options
        )
    plt.close(figure)
    return figure, axes


def plain_log_numbers(axis: Axis) -> None:
    """Ticks of a logarithmic axis at 1, 2, 5, 10 …, written without powers."""
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.set_major_formatter("{x:g}")
    axis.set_minor_formatter(NullFormatter())


def class_style(index: int) -> dict[str, str]:
    """Colour and marker of a class; the pair stays different for 56 classes."""
    n = len(PALETTE)
    return {"color": PALETTE[index % n], "marker": MARKERS[(index + index // n) % n]}


def worded(figure: Figure, name: str, alt_text: str, caption: str) -> HouseFigure:
    """The figure, carrying its words: what `vsa.study.shown.show` saves it with.

    Raises TypeError for a figure that `new_figure` did not make, and ValueError for empty words.
    """
    if not isinstance(figure, HouseFigure):
        raise TypeError("only figures in house style, from `new_figure`, carry words")
    figure.words = Words(name, alt_text, caption)
    return figure


def save_figure(
    figure: Figure, run: Run, name: str, alt_text: str, section: str, caption: str
) -> Path:
    """Write ``figures/<name>.png`` of the run's report and register its words.

    The file stays below 300 kB (by a lower resolution, and if need be a palette of 256 colours) and
    carries no metadata, so the same figure gives the same bytes.

    Parameters
    ----------
    figure : a matplotlib figure.
    run : whose report it belongs to.
    name : file name without ending, unique in the run.
    alt_text : what the figure shows, for who cannot see it; not empty.
    section : the report's section, a key of `sections.SECTIONS`.
    caption : printed below the figure.

    Returns
    -------
    The file's path.

    Raises
    ------
    ValueError for missing words, and for a figure that holds pictures which may not be shown.
    """
    words = Words(name, alt_text, caption)  # checked
    if not run.may_show_pictures and holds_pictures(figure):
        raise ValueError(f"figure {name!r} holds pictures, but {MAY_NOT}")
    path = run.figures / f"{name}.png"
    content = small_png(figure)
    with atomic_file(path) as draft:
        draft.write_bytes(content)
    entry = {"section": section, **asdict(words)}
    others = [other for other in read_figures(run.reports) if other["name"] != name]
    _write_figures(run, [*others, entry])
    return path


def read_figures(run_folder: Path) -> list[dict[str, str]]:
    """The registered figures of a report folder, in the order of saving."""
    path = run_folder / "figures" / "figures.json"
    if not path.exists():
        return []
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
        return [
            {key: str(entry[key]) for key in ("section", "name", "alt_text", "caption")}
            for entry in entries
        ]
    except (ValueError, TypeError, KeyError) as error:
        raise InputError(
            f"this is not a list of figures that vsa wrote ({error})",
            cure="Remove the figures folder and run `make reproduce` again",
            file=path,
        ) from error


def forget_figures(run: Run, section: str) -> None:
    """Remove a section's figures, before it is run again."""
    entries = read_figures(run.reports)
    gone = [entry for entry in entries if entry["section"] == section]
    if gone:
        _write_figures(run, [entry for entry in entries if entry not in gone])
        for entry in gone:
            (run.figures / f"{entry['name']}.png").unlink(missing_ok=True)


def _write_figures(run: Run, entries: list[dict[str, str]]) -> None:
    with atomic_file(run.figures / "figures.json") as draft:
        text = json.dumps(entries, indent=1, ensure_ascii=False)
        draft.write_text(text + "\n", encoding="utf-8")


def small_png(figure: Figure) -> bytes:
    """As rendered if that is below 300 kB; else with a palette and as large as may be."""
    rendered = io.BytesIO()
    with mpl.rc_context(STYLE):
        figure.savefig(rendered, format="png", dpi=_DPI, metadata={"Software": None})
    content = rendered.getvalue()
    if len(content) <= MAX_BYTES:
        return content
    with Image.open(rendered) as picture:
        full = picture.convert("RGB")
    scale = min(1.0, math.sqrt(MAX_BYTES / (0.3 * len(content))))  # a palette saves some 70 %
    while scale * _DPI >= _MIN_DPI:
        dpi = int(scale * _DPI)
        size = (full.width * dpi // _DPI, full.height * dpi // _DPI)
        buffer = io.BytesIO()
        small = full.resize(size, Image.Resampling.LANCZOS).quantize(256)
        small.save(buffer, "png", optimize=True, dpi=(dpi, dpi))
        content = buffer.getvalue()
        if len(content) <= MAX_BYTES:
            return content
        scale *= 0.97 * math.sqrt(MAX_BYTES / len(content))
    raise ValueError(f"{len(content)} bytes even at {_MIN_DPI} dpi: show less in one figure")
