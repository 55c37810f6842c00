"""Grids of settings that go on until they suffice: one rule for the index and for every peer.

A grid that ends decides by its end who is fast and who misses a recall. So where the first settings
of a method do not reach what is wanted, its numbers are doubled, until one does, or until asking
for twice as much of everything no longer finds more.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence

from vsa.study.index.method import Setting

# The first settings of whatever has lists: how many of them are visited, how many candidates are
# kept for each result, and how many centroids a graph of them examines for each list.
N_PROBE = (2, 4, 8, 16, 32, 64, 128)
FACTORS = (4, 8, 16, 32, 64)
N_EXAMINED = (1, 4)

ENOUGH = 0.997  # recall above which more can only be slower
FAR = 0.99  # below which less cannot be enough
_GAIN = 0.001  # of recall, for twice as much of everything; less is no growth


def explored(
    recall: Callable[[Setting], float],
    first: Sequence[Setting],
    most: Mapping[str, int],
) -> list[tuple[Setting, float]]:
    """Settings that were tried, with the recall of each.

    First come those of the grid, but for settings that ask more of everything than one with nearly
    all. Where none has that, the numbers named in `most` go on, none beyond the most of it: twice
    as much of all of them, again and again, until that is enough or gains nothing. Then numbers
    half-way between are tried too, where what is known does not say that they are too little or
    more than enough. Settings that differ in what does not grow are grids of their own.
    """
    tried = list[tuple[Setting, float]]()

    def ask(setting: Setting) -> float:
        tried.append((setting, recall(setting)))
        return tried[-1][1]

    first = _within(first, most)
    for setting in first:
        if not _needless(setting, tried):
            ask(setting)
    kinds = _kinds(first, most)
    ends = [_end(first, kind, most) for kind in kinds]
    before = [max(_of_kind(tried, kind), default=0.0) for kind in kinds]
    growing = set(range(len(kinds)))
    while growing and max(found for _, found in tried) < ENOUGH:
        for number in sorted(growing):
            doubled = ends[number] | {
                name: min(2 * ends[number][name], limit) for name, limit in most.items()
            }
            if doubled == ends[number]:
                growing.remove(number)
                continue
            found = ask(doubled)
            if found < before[number] + _GAIN:
                growing.remove(number)
            ends[number], before[number] = doubled, max(found, before[number])
    for kind, end in zip(kinds, ends, strict=True):
        if max(_of_kind(tried, kind), default=0.0) >= FAR:
            for setting in _between(first, kind, end, most):
                known = any(setting == other for other, _ in tried)
                if not (known or _needless(setting, tried) or _hopeless(setting, tried)):
                    ask(setting)
    return tried


def asks_more(setting: Setting, than: Setting) -> bool:
    """Whether each number is at least the other's, and all else the same."""
    return all(
        value >= than[name] if isinstance(value, int) else value == than[name]
        for name, value in setting.items()
    )


def _within(first: Sequence[Setting], most: Mapping[str, int]) -> list[Setting]:
    """Settings with their numbers cut to the most of each, every one once."""
    made = list[Setting]()
    for setting in first:
        cut = setting | {name: min(setting[name], limit) for name, limit in most.items()}
        if cut not in made:
            made.append(cut)
    return made


def _needless(setting: Setting, tried: Sequence[tuple[Setting, float]]) -> bool:
    return any(found >= ENOUGH and asks_more(setting, than=other) for other, found in tried)


def _hopeless(setting: Setting, tried: Sequence[tuple[Setting, float]]) -> bool:
    return any(found < FAR and asks_more(other, than=setting) for other, found in tried)


def _kinds(first: Sequence[Setting], most: Mapping[str, int]) -> list[Setting]:
    """What settings are apart from the numbers that grow, each once."""
    kinds = list[Setting]()
    for setting in first:
        kind = {name: value for name, value in setting.items() if name not in most}
        if kind not in kinds:
            kinds.append(kind)
    return kinds


def _of_kind(tried: Sequence[tuple[Setting, float]], kind: Setting) -> Iterator[float]:
    return (found for setting, found in tried if kind.items() <= setting.items())


def _end(first: Sequence[Setting], kind: Setting, most: Mapping[str, int]) -> Setting:
    """The most of each number in the first settings of a kind."""
    own = [setting for setting in first if kind.items() <= setting.items()]
    return own[0] | {name: max(setting[name] for setting in own) for name in most}


def _between(
    first: Sequence[Setting], kind: Setting, end: Setting, most: Mapping[str, int]
) -> list[Setting]:
    """All settings of a kind up to where its growth ended, and those half-way between them.

    The first number falls and the others rise, so that what is known of one spares most others.
    """
    if not most:
        return []
    steps = []
    for name in most:
        values = {setting[name] for setting in first if kind.items() <= setting.items()}
        while max(values) < end[name]:
            values.add(min(2 * max(values), end[name]))
        whole = sorted(values)
        between = {(low + high) // 2 for low, high in itertools.pairwise(whole)}
        steps.append(sorted(values | between))
    ordered = itertools.product(steps[0][::-1], *steps[1:])
    return [end | dict(zip(most, values, strict=True)) for values in ordered]
