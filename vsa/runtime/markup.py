"""People's words on their way into a language that would read commands in them.

HTML is escaped by Jinja2 and `html.escape`; figures take all text literally
(`vsa.study.figures.style`).
"""

from __future__ import annotations

import re


def escape_markdown(text: str) -> str:
    """The text on one line, with nothing in it that Markdown or a table would interpret."""
    line = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;")
    line = re.sub(r"([\\`*_\[\]|>~#$])", r"\\\1", line)
    return re.sub(r"^(\d*)([-+=.)])(?![\w.])", r"\1\\\2", line)  # no list, no underlined heading


def escape_braces(text: str) -> str:
    """For what goes through ``str.format``, as Snakemake's and papermill's paths do."""
    return text.replace("{", "{{").replace("}", "}}")


def escape_make(text: str) -> str:
    """For a variable on make's command line, where a dollar calls a function."""
    return text.replace("$", "$$")
