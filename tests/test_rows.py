"""Rows are found by their image_ids, few or many, as by looking at each."""

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from vsa.rows import Rows, make_part

NAMES = st.text(alphabet="abß𝔘\x00 ", max_size=3)


def part_of(names, first=0):
    table = pa.table({"image_id": pa.array(names, pa.large_string())})
    return make_part(table, first + np.arange(len(names)))


@given(st.lists(NAMES, max_size=20), st.lists(NAMES, max_size=100))
def test_places_are_those_of_all_rows_that_are_called_so(names, wanted):
    found = part_of(names).find(wanted)
    assert found.tolist() == [place for place, name in enumerate(names) if name in set(wanted)]


def test_of_rows_that_were_replaced_the_newest_is_found_however_many_are_asked_for():
    rows = Rows().after(part_of(["a", "b", "c"]), 0)
    again = make_part(pa.table({"image_id": ["b"]}), np.array([3]), removed=np.array([1]))
    rows = rows.after(again, 1)
    others = [f"no {number}" for number in range(100)]
    for beside in ([], others):
        assert rows.find(["b", "c", *beside]) == {"b": 3, "c": 2}
    assert Rows().find(["a"]) == {}
