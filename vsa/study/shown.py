"""What cells of notebooks show: figures, which are saved for the report too, and source code."""

from __future__ import annotations

import ast
import inspect
import sys
import textwrap
from dataclasses import dataclass, replace
from typing import Any

from IPython.display import Markdown, display
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer

from vsa.runtime.markup import escape_markdown
from vsa.study.figures.pictures import MAY_NOT, holds_pictures, take_thumbnails
from vsa.study.figures.style import HouseFigure, Words, save_figure
from vsa.study.ledger.ledger import Ledger


def show(ledger: Ledger, figure: HouseFigure | None) -> None:
    """Show a figure, and save it with its words for the report; None, which has none, is passed.

    Where the pictures of the run's data set may not be shown, thumbnails are taken from the figure,
    and a sentence stands for one that holds others.

    Raises ValueError for a figure that carries no words (`vsa.study.figures.style.worded`).
    """
    if figure is None:
        return
    if keep(ledger, figure):
        display(figure, metadata={"image/jpeg": {"alt": _words(figure).alt_text}})
    else:
        words_only = escape_markdown(_words(figure).alt_text)
        display(Markdown(f"*A figure is left out here, because {MAY_NOT}:* {words_only}"))


def keep(ledger: Ledger, figure: HouseFigure) -> bool:
    """Save a figure as `show` does, without showing it; False for one that is left out."""
    words = _words(figure)
    if not ledger.run.may_show_pictures:
        if take_thumbnails(figure):
            words = replace(words, caption=f"{words.caption} Without thumbnails: {MAY_NOT}.")
            figure.words = words
        if holds_pictures(figure):
            return False
    save_figure(figure, ledger.run, words.name, words.alt_text, ledger.section, words.caption)
    return True


def _words(figure: HouseFigure) -> Words:
    if figure.words is None:
        raise ValueError("this figure carries no words: let its plot function end with worded(...)")
    return figure.words


@dataclass(frozen=True)
class Source:
    """Python code: highlighted where HTML is shown, and plain text elsewhere."""

    code: str

    def __repr__(self) -> str:
        return self.code

    def _repr_html_(self) -> str:
        style = HtmlFormatter(
            noclasses=True,
            style="friendly",
            cssstyles="overflow-x: auto",
            prestyles="font-family: monospace",
        )
        return highlight(self.code, PythonLexer(), style)


def source(*objects: Any) -> Source:
    """The code of functions, methods or classes as the package runs it, without docstrings.

    Private functions of the same module that they call follow them. Raises TypeError for what has
    no source in Python.
    """
    wanted, parts, module = list(objects), [], ""
    for thing in wanted:  # grows
        code = _code(thing)
        wanted += [helper for helper in _helpers(thing, code) if helper not in wanted]
        heading = f"# {thing.__module__}\n" if thing.__module__ != module else ""
        parts.append(heading + code)
        module = thing.__module__
    return Source("\n\n".join(parts))


def _helpers(thing: Any, code: str) -> list[Any]:
    """Private functions of the module that the code names."""
    known = vars(sys.modules[thing.__module__])
    names = [node.id for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Name)]
    found = [known.get(name) for name in dict.fromkeys(names) if name.startswith("_")]
    return [f for f in found if inspect.isfunction(f) and f.__module__ == thing.__module__]


def _code(thing: Any) -> str:
    code = textwrap.dedent(inspect.getsource(inspect.unwrap(thing)))
    lines = code.splitlines()
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and ast.get_docstring(node) is not None:
            words = node.body[0]
            # a body of nothing but its docstring keeps it
            if len(node.body) > 1:
                assert words.end_lineno is not None
                for number in range(words.lineno - 1, words.end_lineno):
                    lines[number] = _GONE
    return "\n".join(_without_gone(lines))


_GONE = "\0"


def _without_gone(lines: list[str]) -> list[str]:
    """Lines less the marked ones and the empty line that followed them."""
    kept = []
    for before, line in zip(["", *lines], lines, strict=False):
        if line != _GONE and not (before == _GONE and not line.strip()):
            kept.append(line)
    return kept
