"""Whatever stops what replaces something, the old is there or the new, and a second try works."""

import os
import shutil
import tempfile
from pathlib import Path

import pytest
from faults import Killer, fail_at, steps_of
from operations import NEW, OLD, OPERATIONS, act, read

N_PAIRS = 300  # of an operation and a step, at least


@pytest.fixture
def old(tmp_path):
    """Makes a place afresh, with the old state in it; in memory if it can be, as it is flushed."""
    memory = Path("/dev/shm")
    if os.access(memory, os.W_OK):
        tmp_path = Path(tempfile.mkdtemp(dir=memory))

    def make(name):
        place, kept = tmp_path / "place", tmp_path / name
        shutil.rmtree(place, ignore_errors=True)
        if not kept.exists():
            place.mkdir()
            act(name, place, OLD)
            shutil.copytree(place, kept)
        else:
            shutil.copytree(kept, place)
        return place

    yield make
    shutil.rmtree(tmp_path)


@pytest.fixture(scope="module")
def killer():
    made = Killer()
    yield made
    made.close()


def states(name, old):
    """What is read of the old state and of the new, and how many steps lead from one to the other.

    The operation is done once before: what is imported or cached on the way is no step of it.
    """
    act(name, old(name), NEW)
    before = read(name, old(name))
    place = old(name)
    steps = steps_of(lambda: act(name, place, NEW))
    after = read(name, place)
    assert before != after
    return list(zip(before, after, strict=True)), steps


def check(name, place, both):
    """Each part is old or new and nothing else; then the operation succeeds."""
    for found, either in zip(read(name, place), both, strict=True):
        assert found in either
    act(name, place, NEW)
    assert read(name, place) == [after for _, after in both]


@pytest.mark.parametrize("name", OPERATIONS)
def test_an_error_at_any_step_leaves_the_old_or_the_new(name, old):
    both, steps = states(name, old)
    assert steps
    for number in range(len(steps)):
        place = old(name)
        has_failed = fail_at(number, lambda place=place: act(name, place, NEW))
        if not has_failed:  # it could do without that step
            assert read(name, place) == [after for _, after in both], steps[number]
        check(name, place, both)


@pytest.mark.parametrize("name", OPERATIONS)
def test_a_kill_at_any_step_leaves_the_old_or_the_new(name, old, killer):
    both, steps = states(name, old)
    for number in range(len(steps)):
        place = old(name)
        killer.kill_at(number, name, place, NEW)
        check(name, place, both)


@pytest.mark.parametrize("name", OPERATIONS)
def test_a_disk_that_fills_up_leaves_the_old_or_the_new(name, old, killer):
    both, _ = states(name, old)
    for size in (0, 100, 1_000, 5_000, 20_000):
        place = old(name)
        killer.fill_at(size, name, place, NEW)
        check(name, place, both)


def test_there_are_many_pairs(old):
    assert sum(len(states(name, old)[1]) for name in OPERATIONS) >= N_PAIRS
