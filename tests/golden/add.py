"""Keep the numbers of a method at its present version: ``python tests/golden/add.py METHOD``.

What is kept is never changed: a method whose results change gets a higher ``VERSION`` first. With
``--missing``, every method that has no file yet gets one.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from golden import learning, lineage, networks, simulated  # noqa: F401 (they register methods)
from golden.methods import METHODS, write


def main(names: list[str]) -> int:
    """Write the files of the named methods; refuse unknown ones and any that is there."""
    if names == ["--missing"]:
        names = [name for name, method in METHODS.items() if not method.path.exists()]
    if not names or not set(names) <= set(METHODS):
        print(f"{__doc__}\nMethods: {', '.join(METHODS)}", file=sys.stderr)
        return 2
    for name in names:
        try:
            write(METHODS[name])
        except FileExistsError:
            print(
                f"{METHODS[name].path.name} is there, and is never changed. If the results of "
                f"{name} are meant to differ, raise VERSION in {METHODS[name].module} first.",
                file=sys.stderr,
            )
            return 1
        print(METHODS[name].path)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
