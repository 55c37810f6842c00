"""Write the list of modules into docs/architecture.md: each by the first line of its docstring.

    python docs/modules.py

`tests/docs/test_architecture.py` fails while the list is another one.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DOCUMENT = ROOT / "docs" / "architecture.md"
BEGIN, END = "<!-- modules:begin -->", "<!-- modules:end -->"


def first_line(file: Path) -> str:
    """What a module says of itself first, in one line."""
    words = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
    return " ".join(words.split("\n\n")[0].split()).replace("``", "`")


def folders() -> Iterator[Path]:
    """The packages of vsa: the system first, each before what is in it."""
    found = {file.parent for file in (ROOT / "vsa").rglob("*.py")}
    return iter(sorted(found, key=lambda folder: ("study" in folder.parts, folder.parts)))


def listing() -> str:
    """The list as Markdown: a heading for each package, a line for each of its modules."""
    lines = []
    for folder in folders():
        lines += [f"### {folder.relative_to(ROOT).as_posix()}", ""]
        if (folder / "__init__.py").is_file():
            lines += [first_line(folder / "__init__.py"), ""]
        modules = [file for file in sorted(folder.glob("*.py")) if file.name != "__init__.py"]
        for file in modules:
            link = Path("..", file.relative_to(ROOT)).as_posix()
            lines.append(f"- [{file.name}]({link}): {first_line(file)}")
        lines += [""] if modules else []
    return "\n".join(lines)


def with_listing(text: str) -> str:
    """A document's text with the list between its marks."""
    before, _, rest = text.partition(BEGIN)
    return f"{before}{BEGIN}\n{listing()}{END}{rest.partition(END)[2]}"


if __name__ == "__main__":
    text = DOCUMENT.read_text(encoding="utf-8")
    DOCUMENT.write_text(with_listing(text), encoding="utf-8")
