"""The search, compiled: probe, scan, select, gather, refine and rank in a single call.

`search` holds no interpreter lock, so threads of one process search side by side; all that it
works in is its own. `vsa.index.plain` is the same in numpy, slow and equal to the last bit: sums
are taken in a fixed order, whatever the width of the machine's vectors.

Only `vsa.index.hits` loads this module, at the first search: numba takes time to load, and to
compile where no earlier process has (numba keeps what it compiled, here or in its user's folder).
Everything compiled is in this one file, because numba compiles again only when the file changed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit, types
from numba.core import cgutils
from numba.core.cgutils import ir
from numba.extending import intrinsic
from numba.np.arrayobj import populate_array

from vsa.index.view import Arrays

_LINE = 64  # bytes that memory is fetched in
_LANES = 16  # sums of an inner product, added up in pairs at its end
_BLOCK = 1024  # codes whose distances are computed before any is looked at
_N_BINS = 2048  # of similarities
_AHEAD = 8  # candidates between the one that is read and the one that is fetched
_FEW = 32  # that are sorted by insertion
ANY = 2**62  # distance, however far
_N_STEPS = 4096  # of similarity, from a query's with itself down to none
_RARE = 16  # where one in so many is near enough, a branch is foretold


def _compiled(function: Callable, **how: Any) -> Any:
    try:
        return njit(nogil=True, cache=True, **how)(function)
    except RuntimeError:  # there is no folder that numba could write to
        return njit(nogil=True, **how)(function)


def _inlined(function: Callable) -> Any:
    """Compiled into those that call it: for each list, where a call costs as much as ten items."""
    return _compiled(function, inline="always")


# What numba lacks ------------------------------------------------------------------------------


@intrinsic
def _popcount(context: Any, word: Any) -> Any:
    """Ones in a word of 64 bits; LLVM counts those of several words at a time."""

    def generate(_: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.ctpop(arguments[0])

    return types.uint64(types.uint64), generate


class _Array:
    """An array of a function that is being compiled."""

    def __init__(self, context: Any, builder: Any, kind: Any, value: Any) -> None:
        made = context.make_array(kind)(context, builder, value)
        self.builder, self.data = builder, made.data
        self.size = cgutils.unpack_tuple(builder, made.shape, kind.ndim)[-1]  # of a row

    def pointer(self, place: Any, kind: Any) -> Any:
        """To an element, by its place in memory, as if elements were of a kind."""
        return self.builder.bitcast(self.builder.gep(self.data, [place]), kind.as_pointer())


@intrinsic
def _prefetch(context: Any, array: Any, place: Any, size: Any) -> Any:
    """Ask for the memory of `size` elements of an array, by their place in it."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        memory = _Array(context, builder, signature.args[0], arguments[0])
        whole, byte = ir.IntType(32), ir.IntType(8)
        kind = ir.FunctionType(ir.VoidType(), [byte.as_pointer(), whole, whole, whole])
        fetch = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        _, first, n = arguments
        step = n.type(_LINE * 8 // array.dtype.bitwidth)
        with cgutils.for_range_slice(builder, n.type(0), n, step) as (i, _):
            line = memory.pointer(builder.add(first, i), byte)
            builder.call(fetch, [line, whole(0), whole(3), whole(1)])  # to read data, soon again
        return context.get_dummy_value()

    return types.void(array, types.int64, types.int64), generate


def _from_half(context: Any, builder: Any, bits: Any, several: Callable) -> Any:
    """Floats of 16 bits, as integers → floats of 32 bits, exactly; they must be finite.

    In integers, where the processor has no instruction for it; `several` makes a type one of
    several lanes.
    """
    wide, single = several(ir.IntType(32)), several(ir.FloatType())
    if "+f16c" in context.codegen().magic_tuple()[-1]:  # features of what is compiled for
        return builder.fpext(builder.bitcast(bits, several(ir.HalfType())), single)

    def constant(value: int) -> Any:
        return ir.Constant(wide, [value] * wide.count if isinstance(wide, ir.VectorType) else value)

    bits = builder.zext(bits, wide)
    sign = builder.shl(builder.and_(bits, constant(0x8000)), constant(16))
    size = builder.and_(bits, constant(0x7FFF))
    shifted = builder.shl(size, constant(13))
    normal = builder.add(shifted, constant(112 << 23))
    # subnormal: with an implied one before the fraction, which is then taken away
    with_one = builder.bitcast(builder.add(shifted, constant(113 << 23)), single)
    one = builder.bitcast(constant(113 << 23), single)
    subnormal = builder.bitcast(builder.fsub(with_one, one), wide)
    small = builder.icmp_unsigned("<", size, constant(0x400))
    return builder.bitcast(builder.or_(builder.select(small, subnormal, normal), sign), single)


def _summed(table: Any, number: Any) -> Callable:
    """What computes the inner product of a row of a table (n, d) and a query, float32 (d,).

    The table's are floats of 32 bits, or of 16 bits as uint16; products and sums are of a type,
    `number`.
    """
    is_half = table.dtype == types.uint16

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        rows, asked = (_Array(context, builder, signature.args[i], arguments[i]) for i in (0, 2))
        single = ir.FloatType()
        stored = ir.IntType(16) if is_half else single
        first, integer = builder.mul(arguments[1], rows.size), rows.size.type

        def sum_of(start: Any, end: Any, n_lanes: int) -> Any:
            def several(kind: Any) -> Any:
                return ir.VectorType(kind, n_lanes) if n_lanes > 1 else kind

            def as_number(value: Any) -> Any:
                return value if number == single else builder.fpext(value, several(number))

            total = cgutils.alloca_once_value(builder, ir.Constant(several(number), None))
            with cgutils.for_range_slice(builder, start, end, integer(n_lanes)) as (i, _):
                place = rows.pointer(builder.add(first, i), several(stored))
                left = builder.load(place, align=2 if is_half else 4, typ=several(stored))
                place = asked.pointer(i, several(single))
                right = builder.load(place, align=4, typ=several(single))
                left = _from_half(context, builder, left, several) if is_half else left
                product = builder.fmul(as_number(left), as_number(right))
                builder.store(builder.fadd(builder.load(total), product), total)
            return builder.load(total)

        whole = builder.and_(rows.size, integer(-_LANES))
        lanes, rest = sum_of(integer(0), whole, _LANES), sum_of(whole, rows.size, 1)
        while lanes.type.count > 1:
            half = lanes.type.count // 2
            mask = ir.VectorType(ir.IntType(32), half)
            nothing = ir.Constant(lanes.type, ir.Undefined)
            lanes = builder.fadd(
                *(
                    builder.shuffle_vector(lanes, nothing, mask(list(range(at, at + half))))
                    for at in (0, half)
                )
            )
        return builder.fadd(builder.extract_element(lanes, ir.IntType(32)(0)), rest)

    return generate


@intrinsic
def _inner_product(context: Any, table: Any, row: Any, query: Any) -> Any:
    """Of a row of a table (n, d) and a query, float32 (d,), at the query's precision."""
    made = types.float32(table, types.int64, query)
    return made, _summed(table, ir.FloatType())


@intrinsic
def _precise_product(context: Any, table: Any, row: Any, query: Any) -> Any:
    """As `_inner_product`, in float64."""
    made = types.float64(table, types.int64, query)
    return made, _summed(table, ir.DoubleType())


def _reader(kind: types.Array) -> Any:
    """What makes an array of that type, of a row of a table: its address and its shape."""

    @intrinsic
    def read(context: Any, table: Any, row: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            known = _Array(context, builder, signature.args[0], arguments[0])
            first, whole = builder.mul(arguments[1], known.size), known.size.type
            address, *sides = (
                builder.load(known.pointer(builder.add(first, whole(i)), whole), typ=whole)
                for i in range(1 + kind.ndim)
            )
            made = context.make_array(kind)(context, builder)
            data = builder.inttoptr(address, made.data.type)
            size = context.get_constant(types.intp, context.get_abi_sizeof(made.data.type.pointee))
            steps = [size]
            for side in reversed(sides[1:]):
                steps.insert(0, builder.mul(steps[0], side))
            populate_array(made, data, sides, steps, size, None)
            return made._getvalue()

        return kind(table, types.int64), generate

    return read


def _mapped(dtype: Any, ndim: int) -> Any:
    """A reader of arrays that nobody is to write to."""
    return _reader(types.Array(dtype, ndim, "C", readonly=True))


_floats, _floats2 = _mapped(types.float32, 1), _mapped(types.float32, 2)
_halves2, _words2 = _mapped(types.uint16, 2), _mapped(types.uint64, 2)
_integers, _flags = _mapped(types.int64, 1), _mapped(types.boolean, 1)


@_compiled
def _opened(table: Any) -> Any:
    """The arrays of a view, in their order, by what `vsa.index.view.View.table` says of each."""
    return Arrays(
        _floats2(table, 0),
        _floats(table, 1),
        _floats2(table, 2),
        _words2(table, 3),
        _words2(table, 4),
        _halves2(table, 5),
        _integers(table, 6),
        _integers(table, 7),
        _integers(table, 8),
        _words2(table, 9),
        _halves2(table, 10),
        _integers(table, 11),
        _flags(table, 12),
        _integers(table, 13),
        _integers(table, 14),
    )


# The coarse filter -----------------------------------------------------------------------------


@_compiled
def projected(arrays: Any, query: Any) -> Any:
    """``weight @ query + bias``, float64 (n_bits,): their signs are the bits of a code.

    So precise that a query has the code that an item of the same feature has.
    """
    values = np.empty(len(arrays.bias), np.float64)
    for bit in range(len(values)):
        values[bit] = _precise_product(arrays.weight, bit, query) + arrays.bias[bit]
    return values


@_compiled
def query_code(values: Any, weighted: Any) -> Any:
    """The code of projected values, uint64 (W,), and what its bits weigh, uint64 (3, W).

    How far a query is from the plane of a bit says how much it weighs if an item's bit differs:
    1, 3, … or 15, in eight steps up to the largest. That is 1 + 2m, where m has three bits, which
    are kept; none are if every bit is to weigh one.
    """
    n_words = len(values) // 64
    code = np.zeros(n_words, np.uint64)
    planes = np.zeros((3 if weighted else 0, n_words), np.uint64)
    largest = 0.0
    for value in values:
        largest = max(largest, abs(value))
    step = largest / 8 if largest > 0 else 1.0
    for bit in range(len(values)):  # without a branch: nobody could foretell it
        word = bit // 64
        # as np.packbits has them in bytes: the first bit is the greatest
        place = np.uint64(8 * (bit % 64 // 8) + 7 - bit % 8)
        code[word] |= np.uint64(values[bit] > 0) << place
        if weighted:
            size = np.uint64(min(abs(values[bit]) / step, 7.0))
            for plane in range(3):
                planes[plane, word] |= (size >> np.uint64(plane) & np.uint64(1)) << place
    return code, planes


@_compiled
def aimed(arrays: Any, query: Any, values: Any, visited: Any, weighted: Any) -> Any:
    """What a query is compared with items in some lists by: a tuple, the same for all of them.

    It holds the query's code, and what its bits weigh; and where codes are of differences, in steps
    of similarity (`_N_STEPS`): how far the lists' centroids are and how near, float64
    (2, n_visited); a scale, and half of what all bits weigh. An item whose code differs by d and
    whose factors are f and g is estimated to be ``far − g · near − f · scale · (half − d)`` steps
    away: see `vsa.index.codec.Codec.encode_differences`.
    """
    n_words = len(values) // 64
    if arrays.codes.shape[0] == n_words:
        code, planes = query_code(values, weighted)
        return code, planes, np.empty((2, 0), np.float64), 0.0, 0.0
    turned = np.empty(len(values), np.float64)
    for bit in range(len(values)):
        turned[bit] = values[bit] - arrays.bias[bit]  # none remains of two features' difference
    code, planes = query_code(turned, weighted)
    size, total = 0.0, np.int64(64 * n_words)
    if weighted:  # as in `query_code`, a bit that weighs one stands for half a step
        for value in turned:
            size = max(size, abs(value) / 16)
        for plane in range(3):
            for word in planes[plane]:
                total += np.int64(_popcount(word)) << (plane + 1)
    else:
        for value in turned:
            size += abs(value)
        size /= len(turned)
    own = np.float64(_inner_product(query.reshape(1, len(query)), 0, query))
    step = own / _N_STEPS if own > 0 else 1.0
    lists = np.empty((2, len(visited)), np.float64)
    for i, list_ in enumerate(visited):
        near = np.float64(_inner_product(arrays.centroids, list_, query))
        lists[0, i], lists[1, i] = (own - near) / step, near / step
    return code, planes, lists, 2 * size / step, total / 2


@_inlined
def _estimated(
    factors: Any, n: Any, far: Any, near: Any, scale: Any, half: Any, found: Any
) -> None:
    """Turn distances of codes into steps of similarity: see `aimed`."""
    for i in range(n):
        f, g = np.float64(factors[2 * i]), np.float64(factors[2 * i + 1])
        steps = far - g * near - f * (scale * (half - np.float64(np.int32(found[i]))))
        found[i] = np.uint64(np.int32(min(max(steps, 0.0), np.float64(_N_STEPS))))


@_compiled
def _distance(other: Any, planes: Any, word: Any) -> Any:
    """What the bits of a word weigh in which two codes differ; all one without `planes`."""
    ones = _popcount(other)
    for plane in range(len(planes)):
        ones += _popcount(other & planes[plane, word]) << np.uint64(plane + 1)
    return ones


@_compiled
def _furthest(code: Any, planes: Any) -> Any:
    """The distance of codes of which all bits differ, at most."""
    return 64 * len(code) * ((1 << (len(planes) + 1)) - 1)


@_inlined
def distances(codes: Any, start: Any, n: Any, code: Any, planes: Any, out: Any) -> None:
    """Of rows of codes, uint64 (≥ W, N), from a row on; several at a time."""
    out[:n] = 0
    first, n_words = 0, len(code)
    while first < n_words:
        if len(planes) and first + 4 <= n_words:
            _add_four(codes, start, n, code, planes, first, out)
            first += 4
        else:
            _add_one(codes[first, start : start + n], code, planes, first, out)
            first += 1


@_inlined
def _add_four(codes: Any, start: Any, n: Any, code: Any, planes: Any, first: Any, out: Any) -> None:
    """Add to distances what four words of codes differ by: as `_add_one` for each."""
    one, two, three = np.uint64(1), np.uint64(2), np.uint64(3)
    a, b = codes[first, start : start + n], codes[first + 1, start : start + n]
    c, d = codes[first + 2, start : start + n], codes[first + 3, start : start + n]
    own_a, own_b, own_c, own_d = code[first], code[first + 1], code[first + 2], code[first + 3]
    p = planes[:, first : first + 4]
    a1, b1, c1, d1 = p[0, 0], p[0, 1], p[0, 2], p[0, 3]
    a2, b2, c2, d2 = p[1, 0], p[1, 1], p[1, 2], p[1, 3]
    a3, b3, c3, d3 = p[2, 0], p[2, 1], p[2, 2], p[2, 3]
    for i in range(n):
        w, x, y, z = a[i] ^ own_a, b[i] ^ own_b, c[i] ^ own_c, d[i] ^ own_d
        ones = _popcount(w) + _popcount(x) + _popcount(y) + _popcount(z)
        twos = _popcount(w & a1) + _popcount(x & b1) + _popcount(y & c1) + _popcount(z & d1)
        fours = _popcount(w & a2) + _popcount(x & b2) + _popcount(y & c2) + _popcount(z & d2)
        eights = _popcount(w & a3) + _popcount(x & b3) + _popcount(y & c3) + _popcount(z & d3)
        out[i] += ones + (twos << one) + (fours << two) + (eights << three)


@_inlined
def _add_one(column: Any, code: Any, planes: Any, word: Any, out: Any) -> None:
    """Add to distances what a word of codes differs by."""
    one, two, three = np.uint64(1), np.uint64(2), np.uint64(3)
    own, n = code[word], len(column)
    if len(planes):  # as `_distance`, unrolled
        first, second, third = planes[0, word], planes[1, word], planes[2, word]
        for i in range(n):
            other = column[i] ^ own
            out[i] += (
                _popcount(other)
                + (_popcount(other & first) << one)
                + (_popcount(other & second) << two)
                + (_popcount(other & third) << three)
            )
    else:
        for i in range(n):
            out[i] += _popcount(column[i] ^ own)


@_compiled
def scanned(codes: Any, number: Any, start: Any, n: Any, aim: Any, out: Any) -> None:
    """How far rows of the base are, from one on: all in the list that is visited as `number`."""
    code, planes, lists, scale, half = aim
    distances(codes, start, n, code, planes, out)
    if lists.shape[1]:
        factors = codes[len(code), start : start + n].view(np.float32)
        _estimated(factors, n, lists[0, number], lists[1, number], scale, half, out)


@_compiled
def _limited(counts: Any, n_wanted: Any, limit: Any) -> Any:
    """How far the `n_wanted`-th of those counted is, or the limit if there are not as many."""
    total = 0
    for distance in range(limit + 1):
        total += counts[distance]
        if total >= n_wanted:
            return np.int64(distance)
    return np.int64(limit)


@_compiled
def _tightened(rows: Any, near: Any, n: Any, counts: Any, n_wanted: Any, limit: Any) -> Any:
    """Drop what is further than the `n_wanted`-th; how many are left, and its distance."""
    limit = _limited(counts, n_wanted, limit)
    kept = 0
    for i in range(n):  # without a branch: nobody could foretell it
        rows[kept], near[kept] = rows[i], near[i]
        kept += near[i] <= limit
    return kept, limit


@_compiled
def _pushed(
    found: Any, n_found: Any, first: Any, rows: Any, near: Any, n: Any, counts: Any, limit: Any
) -> Any:
    """Append rows from `first` on that are near enough; how many there are now.

    There must be room for all of them, and one more.
    """
    before, n_near, most = n, 0, np.uint64(limit)
    for i in range(n_found):
        n_near += found[i] <= most
    if n_near < n_found // _RARE:
        for i in range(n_found):
            if found[i] <= most:
                rows[n], near[n] = first + i, np.int64(found[i])
                n += 1
    else:
        for i in range(n_found):  # without a branch: nobody could foretell it
            rows[n], near[n] = first + i, np.int64(found[i])
            n += found[i] <= most
    for i in range(before, n):
        counts[near[i]] += 1
    return n


@_compiled
def _ranked(similarity: Any, k: Any) -> Any:
    """Places of the `k` most similar, best first, and of all that equal the last, int64 (≥ k,).

    Ties go to the first place. Similarities are counted in bins, so that few are sorted.
    """
    n, lowest, highest = len(similarity), np.float32(np.inf), np.float32(-np.inf)
    for i in range(n):
        lowest, highest = min(lowest, similarity[i]), max(highest, similarity[i])
    scale = (_N_BINS - 1) / (np.float64(highest) - lowest) if highest > lowest else 0.0
    last = _N_BINS
    if k < n:
        counts, total = np.zeros(_N_BINS, np.int64), 0
        for i in range(n):
            counts[np.int64((np.float64(highest) - similarity[i]) * scale)] += 1
        for last in range(_N_BINS):
            total += counts[last]
            if total >= k:
                break
    keys, n_kept, bits = np.empty(n, np.int64), 0, similarity.view(np.uint32)
    for i in range(n):
        if np.int64((np.float64(highest) - similarity[i]) * scale) <= last:
            # bits of floats, turned so that as integers they fall where floats rise
            turned = bits[i] if bits[i] >> np.uint32(31) else bits[i] ^ np.uint32(0x7FFFFFFF)
            keys[n_kept] = (np.int64(turned) - 2**31) << 32 | i
            n_kept += 1
    keys = np.sort(keys[:n_kept])
    for i in range(n_kept):
        keys[i] &= 0xFFFFFFFF
    return keys


@_compiled
def probed(
    arrays: Any, query: Any, code: Any, planes: Any, ranges: Any, n_probe: Any, n_short: Any
) -> Any:
    """The most similar lists within ranges of their numbers, int64 (≤ n_probe,), best first.

    Lists near by code are compared by feature.
    """
    n_lists = 0
    for first, end in ranges:
        n_lists += end - first
    rows, near = np.empty(n_lists + 1, np.int64), np.empty(n_lists + 1, np.int64)
    n = 0
    if n_lists <= n_short:
        for first, end in ranges:
            for row in range(first, end):
                rows[n] = row
                n += 1
    else:
        limit = _furthest(code, planes)
        counts, found = np.zeros(limit + 1, np.int64), np.empty(_BLOCK, np.uint64)
        for first, end in ranges:
            for start in range(first, end, _BLOCK):
                size = min(_BLOCK, end - start)
                distances(arrays.centroid_codes, start, size, code, planes, found)
                n = _pushed(found, size, start, rows, near, n, counts, limit)
                if n > 2 * n_short:
                    n, limit = _tightened(rows, near, n, counts, n_short, limit)
        n, limit = _tightened(rows, near, n, counts, n_short, limit)
        n_ties, kept = n_short - (n - counts[limit]), 0  # the first of those, in order of number
        for i in range(n):
            if near[i] < limit or n_ties > 0:
                n_ties -= near[i] == limit
                rows[kept] = rows[i]
                kept += 1
        n = kept
    if n <= n_probe:
        return rows[:n]
    similarity = np.empty(n, np.float32)
    for i in range(n):
        if i + _AHEAD < n:
            _prefetch(arrays.centroids, rows[i + _AHEAD] * len(query), len(query))
        similarity[i] = _inner_product(arrays.centroids, rows[i], query) + np.float32(0)
    return rows[_ranked(similarity, n_probe)[:n_probe]]


@_compiled
def begun(
    arrays: Any, query: Any, values: Any, weighted: Any, ranges: Any, n_probe: Any, n_short: Any
) -> Any:
    """The lists that a query visits (`probed`), and what it is compared with items by (`aimed`)."""
    code, planes = query_code(values, weighted)
    visited = probed(arrays, query, code, planes, ranges, n_probe, n_short)
    return visited, aimed(arrays, query, values, visited, weighted)


@_compiled
def _names(arrays: Any, rows: Any) -> Any:
    """Ids of rows: of the base, then of the live part."""
    n_base, ids = len(arrays.ids), np.empty(len(rows), np.int64)
    for i, row in enumerate(rows):
        ids[i] = arrays.ids[row] if row < n_base else arrays.live_ids[row - n_base]
    return ids


@_compiled
def _cut(arrays: Any, rows: Any, near: Any, n: Any, counts: Any, n_wanted: Any, limit: Any) -> Any:
    """Of those as near as the last, keep the lower ids: `n_wanted` are left."""
    n_ties, n_tied = n_wanted - (n - counts[limit]), 0
    tied_rows = np.empty(counts[limit], np.int64)
    for i in range(n):
        if near[i] == limit:
            tied_rows[n_tied] = rows[i]
            n_tied += 1
    names = _names(arrays, tied_rows)
    highest = np.sort(names)[n_ties - 1]
    kept, at = 0, 0
    for i in range(n):
        tied = near[i] == limit
        if not tied or names[at] <= highest:
            rows[kept], near[kept] = rows[i], near[i]
            kept += 1
        at += tied
    counts[limit] = n_ties
    return kept


@_compiled
def passed(arrays: Any, visited: Any, aim: Any, n_wanted: Any, most: Any) -> Any:
    """Rows of the `n_wanted` nearest items in some lists, and their distances, in no order.

    Only such are looked for as are at most `most` away. Lists come best first, so that the limit
    soon is near its end, and few are kept in vain.
    """
    n_base = len(arrays.ids)
    n_wanted = min(n_wanted, n_base + len(arrays.live_ids))
    room = 2 * n_wanted + _BLOCK
    rows, near = np.empty(room + 1, np.int64), np.empty(room + 1, np.int64)
    code, planes, lists, scale, half = aim
    estimates, n_words = lists.shape[1] > 0, len(code)
    furthest, n = _N_STEPS if estimates else _furthest(code, planes), 0
    limit = min(most, furthest)
    counts, found = np.zeros(furthest + 1, np.int64), np.empty(_BLOCK, np.uint64)
    never = np.uint64(furthest + 1)
    for number, list_ in enumerate(visited):
        start, end = arrays.offsets[list_], arrays.offsets[list_ + 1]
        if number + 1 < len(visited):
            after = visited[number + 1]
            size = min(_BLOCK, arrays.offsets[after + 1] - arrays.offsets[after])
            for word in range(arrays.codes.shape[0]):
                _prefetch(arrays.codes, word * n_base + arrays.offsets[after], size)
        gone = np.searchsorted(arrays.hidden, start) if len(arrays.hidden) else 0
        live = np.int64(arrays.live_first[list_])
        while start < end or live >= 0:
            if n + _BLOCK > room:
                n, limit = _tightened(rows, near, n, counts, n_wanted, limit)
                if n + _BLOCK > room:
                    n = _cut(arrays, rows, near, n, counts, n_wanted, limit)
            if start < end:
                size = min(_BLOCK, end - start)
                scanned(arrays.codes, number, start, size, aim, found)
                while gone < len(arrays.hidden) and arrays.hidden[gone] < start + size:
                    found[arrays.hidden[gone] - start] = never
                    gone += 1
                n = _pushed(found, size, start, rows, near, n, counts, limit)
                start += size
            else:
                if not arrays.dead[live]:
                    found[0] = 0
                    for word in range(n_words):
                        other = arrays.live_codes[live, word] ^ code[word]
                        found[0] += _distance(other, planes, word)
                    if estimates:
                        factors = arrays.live_codes[live, n_words:].view(np.float32)
                        _estimated(
                            factors, 1, lists[0, number], lists[1, number], scale, half, found
                        )
                    n = _pushed(found, 1, n_base + live, rows, near, n, counts, limit)
                live = np.int64(arrays.live_next[live])
    n, limit = _tightened(rows, near, n, counts, n_wanted, limit)
    if n > n_wanted:
        n = _cut(arrays, rows, near, n, counts, n_wanted, limit)
    return rows[:n], near[:n]


# The refined rank ------------------------------------------------------------------------------


@_compiled
def similarities(arrays: Any, rows: Any, query: Any) -> Any:
    """Inner products of a query with the features of some items, float32 (n,)."""
    n_base, n = len(arrays.ids), len(rows)
    similarity = np.empty(n, np.float32)
    for i in range(n):
        if i + _AHEAD < n and rows[i + _AHEAD] < n_base:
            _prefetch(arrays.features, rows[i + _AHEAD] * len(query), len(query))
        if rows[i] < n_base:
            product = _inner_product(arrays.features, rows[i], query)
        else:
            product = _inner_product(arrays.live_features, rows[i] - n_base, query)
        similarity[i] = product + np.float32(0)  # −0 is 0
    return similarity


@_compiled
def best(arrays: Any, rows: Any, similarity: Any, k: Any) -> Any:
    """Places of the `k` most similar rows, best first, and their ids; ties go to the lower id."""
    places = _ranked(similarity, k)
    names = _names(arrays, rows[places])
    _settle(places, names, similarity)
    return places[:k], names[:k]


@_compiled
def _settle(places: Any, names: Any, similarity: Any) -> None:
    """Bring places, best first, and the ids there into order where similarities are equal."""
    start = 0
    for i in range(1, len(places) + 1):
        if i == len(places) or similarity[places[i]] != similarity[places[start]]:
            if i - start > _FEW:
                tied, known = places[start:i].copy(), names[start:i].copy()
                ascending = np.sort(known)
                for at in range(len(tied)):
                    rank = start + np.searchsorted(ascending, known[at])
                    places[rank], names[rank] = tied[at], known[at]
            else:  # by insertion: there are many such by Hamming distance
                for at in range(start + 1, i):
                    name, place = names[at], places[at]
                    while at > start and names[at - 1] > name:
                        names[at], places[at] = names[at - 1], places[at - 1]
                        at -= 1
                    names[at], places[at] = name, place
            start = i


# Several parts of a catalogue ---------------------------------------------------------------------


@_compiled
def _of_several(
    tables: Any, visited: Any, aim: Any, n_wanted: Any, refined: Any, query: Any
) -> Any:
    """Ids, distances and similarities of the `n_wanted` nearest of all views, in no order.

    Each view looks no further than those before it allow, and no feature is read but of these.
    """
    code, planes, lists, _, _ = aim
    furthest = _N_STEPS if lists.shape[1] else _furthest(code, planes)
    counts, limit = np.zeros(furthest + 1, np.int64), np.int64(furthest)
    room, n = len(tables) * n_wanted, 0
    rows, near = np.empty(room, np.int64), np.empty(room, np.int64)
    ends = np.zeros(len(tables) + 1, np.int64)
    for view in range(len(tables)):
        r, d = passed(_opened(tables[view]), visited, aim, n_wanted, limit)
        for i in range(len(r)):
            rows[n], near[n] = r[i], d[i]
            counts[d[i]] += 1
            n += 1
        ends[view + 1] = n
        limit = _limited(counts, n_wanted, limit)
    names, tied = np.empty(n, np.int64), np.empty(counts[limit], np.int64)
    kept, n_tied = 0, 0
    for view in range(len(tables)):
        first = kept
        for i in range(ends[view], ends[view + 1]):
            if near[i] <= limit:
                rows[kept], near[kept] = rows[i], near[i]
                kept += 1
        ids = _names(_opened(tables[view]), rows[first:kept])
        for i in range(first, kept):
            names[i] = ids[i - first]
            if near[i] == limit:
                tied[n_tied] = names[i]
                n_tied += 1
        ends[view] = first
    ends[len(tables)], highest = kept, np.int64(ANY)
    if kept > n_wanted:  # of those as near as the last, the lower ids
        highest = np.sort(tied)[n_tied - 1 - (kept - n_wanted)]
    similarity, kept = np.empty(min(kept, n_wanted), np.float32), 0
    for view in range(len(tables)):
        first = kept
        for i in range(ends[view], ends[view + 1]):
            if near[i] < limit or names[i] <= highest:
                rows[kept], near[kept], names[kept] = rows[i], near[i], names[i]
                kept += 1
        if refined:
            found = similarities(_opened(tables[view]), rows[first:kept], query)
            for i in range(len(found)):
                similarity[first + i] = found[i]
        else:
            for i in range(first, kept):
                similarity[i] = np.float32(-near[i])
    return names[:kept], near[:kept], similarity[:kept]


# All of it ---------------------------------------------------------------------------------------


@_compiled
def search(
    tables: Any,
    queries: Any,
    values: Any,
    weighted: Any,
    ranges: Any,
    n_probe: Any,
    n_short: Any,
    n_candidates: Any,
    refined: Any,
    ids: Any,
    similarity: Any,
    distance: Any,
) -> None:
    """Fill ids, similarity and distance, (n, k), of what queries find: see `vsa.index.hits`.

    `tables`, int64 (m, 15, 3), are of views of one model, which are searched as if they were one.
    `values` are what codes are made of, (n, n_bits), or nothing, (0, n_bits): then the codec's map
    makes them of the queries.
    """
    arrays, k = _opened(tables[0]), ids.shape[1]
    for number in range(len(queries)):
        query = queries[number]
        given = values[number] if len(values) else projected(arrays, query)
        visited, aim = begun(arrays, query, given, weighted, ranges, n_probe, n_short)
        if len(tables) == 1:
            rows, near = passed(arrays, visited, aim, n_candidates, np.int64(ANY))
            found = similarities(arrays, rows, query) if refined else (-near).astype(np.float32)
            places, names = best(arrays, rows, found, k)
        else:
            names, near, found = _of_several(tables, visited, aim, n_candidates, refined, query)
            places = _ranked(found, k)
            names = names[places]
            _settle(places, names, found)
            places, names = places[:k], names[:k]
        for i, place in enumerate(places):
            ids[number, i], similarity[number, i] = names[i], found[place]
            distance[number, i] = near[place]
        for i in range(len(places), k):
            ids[number, i], similarity[number, i], distance[number, i] = -1, -np.inf, 0
