"""Fonts that have the letters of people's words, whatever their script."""

from __future__ import annotations

import logging
import sys
import unicodedata
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache

from matplotlib import font_manager
from matplotlib.font_manager import FontProperties, fontManager

_NO_GLYPH = ("Cc", "Cf", "Mn", "Zl", "Zp")  # of these a font need not have any
_EAST_ASIAN = {"CJK", "HIRAGANA", "KATAKANA", "HANGUL", "BOPOMOFO", "FULLWIDTH", "IDEOGRAPHIC"}
_told: set[str] = set()


def families(text: str) -> list[str]:
    """Font families that together have the letters of `text`, the figure's own first."""
    chosen, lacking = ["sans-serif"], _unknown(text, None)
    if lacking:
        for name in _installed():
            if len(rest := _unknown(lacking, name)) < len(lacking):
                chosen.append(name)
                lacking = rest
            if not lacking:
                break
    return chosen


def tell_lacking(text: str) -> None:
    """Say once, on standard error, which letters will be boxes, and what to install."""
    for name in families(text):
        text = _unknown(text, None if name == "sans-serif" else name)
    by_package: dict[str, list[str]] = {}
    for letter in dict.fromkeys(text):
        by_package.setdefault(_package(letter), []).append(letter)
    for package, letters in by_package.items():
        if package not in _told:
            _told.add(package)
            some = " ".join(letters[:6]) + " …" * (len(letters) > 6)
            print(
                f"vsa: no font here has {some}, so figures show boxes. Install one, {package} on "
                "Debian, say; then remove the run's report and run again.",
                file=sys.stderr,
                flush=True,
            )


@contextmanager
def quiet() -> Iterator[None]:
    """Without matplotlib's own complaints about every missing letter and weight."""
    logger = logging.getLogger("matplotlib.font_manager")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", r"Glyph .* missing from font")
            yield
    finally:
        logger.setLevel(level)


def _unknown(text: str, family: str | None) -> str:
    """The letters of `text` that a family lacks; the figure's own for None."""
    return "".join(
        letter
        for letter in text
        if ord(letter) not in _code_points(family) and unicodedata.category(letter) not in _NO_GLYPH
    )


@cache
def _code_points(family: str | None) -> frozenset[int]:
    wanted = FontProperties(family=None if family is None else [family])
    with quiet(), suppress(Exception):  # of a font that FreeType cannot use
        return frozenset(font_manager.get_font(font_manager.findfont(wanted)).get_charmap())
    return frozenset()


@cache
def _installed() -> list[str]:
    """Upright families, those first that go best with the house style.

    Also those that were installed after matplotlib had made its list.
    """
    known = {entry.fname for entry in fontManager.ttflist}
    for path in font_manager.findSystemFonts():
        if path not in known:
            with suppress(Exception):  # coloured emoji have no outlines
                fontManager.addfont(path)
    names = {entry.name for entry in fontManager.ttflist if entry.style == "normal"}
    return sorted((name for name in names if not name.startswith("Last Resort")), key=_oddity)


def _oddity(name: str) -> tuple[bool, bool, bool, str]:
    is_odd = any(word in name for word in ("Mono", "Serif", "Display", "Looped"))
    return is_odd, "Sans" not in name, not name.endswith("SC"), name  # SC: also has Japanese


def _package(letter: str) -> str:
    if unicodedata.category(letter) in ("So", "Sm"):
        return "fonts-symbola"
    script = unicodedata.name(letter, "").split(" ")[0].split("-")[0]
    return "fonts-noto-cjk" if script in _EAST_ASIAN else "fonts-noto-core"
