"""Grids go on until they suffice, and no further."""

import itertools

from vsa.study.index.grids import asks_more, explored
from vsa.study.index.method import grid


def test_a_grid_that_suffices_is_not_left_but_made_finer():
    asked = []

    def recall(setting):
        asked.append(setting["n"])
        return 1.0 if setting["n"] >= 20 else 0.5

    tried = explored(recall, [{"n": n} for n in (10, 20, 30)], {"n": 1000})
    assert tried == [({"n": 10}, 0.5), ({"n": 20}, 1.0), ({"n": 15}, 0.5)]
    assert asked == [10, 20, 15]  # 30 could only be slower


def test_a_number_is_doubled_until_it_suffices_and_steps_between_are_tried():
    def recall(setting):
        return min(1.0, setting["n"] / 300)

    tried = [setting["n"] for setting, _ in explored(recall, [{"n": 10}, {"n": 20}], {"n": 1000})]
    assert tried[:6] == [10, 20, 40, 80, 160, 320]
    assert not set(tried[6:]) & {30, 60, 120}  # known to be too little


def test_a_number_ends_at_its_limit_and_where_more_finds_no_more():
    tried = explored(lambda s: 0.9 * s["n"] / 50, [{"n": 20}], {"n": 50})
    assert [setting["n"] for setting, _ in tried] == [20, 40, 50]
    tried = explored(lambda s: 0.95, [{"n": 20}], {"n": 10**6})
    assert [setting["n"] for setting, _ in tried] == [20, 40]
    tried = explored(lambda s: 0.9, [{"n": 5}, {"n": 20}, {"n": 30}], {"n": 8})
    assert [setting["n"] for setting, _ in tried] == [5, 8]  # more is none
    assert explored(lambda s: 0.5, [{"n": 20}], {}) == [({"n": 20}, 0.5)]


def test_of_two_numbers_the_least_that_suffice_are_among_those_tried():
    def recall(setting):
        return min(1.0, 0.9 + setting["a"] / 1000) * min(1.0, 0.9 + setting["b"] / 5000)

    first = grid(a=(10, 20), b=(10, 20))
    tried = explored(recall, first, {"a": 10**4, "b": 10**4})
    reached = [setting for setting, found in tried if found >= 0.997]
    assert {"a": 120, "b": 640} in reached
    values = itertools.product((80, 120, 160), (320, 480, 640))
    least = [{"a": a, "b": b} for a, b in values if recall({"a": a, "b": b}) >= 0.997]
    assert all(any(asks_more(own, than=other) for other in reached) for own in least)
    assert len(tried) < 40


def test_each_way_to_measure_grows_by_itself():
    def recall(setting):
        return min(1.0, setting["n"] / (100 if setting["by"] == "weights" else 1000))

    tried = explored(recall, grid(n=(10, 20), by=("bits", "weights")), {"n": 10**6})
    assert ({"n": 160, "by": "weights"}, 1.0) in tried
    assert max(setting["n"] for setting, _ in tried if setting["by"] == "bits") == 160
