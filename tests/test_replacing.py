"""Whatever stops what replaces something, the old is there or the new, and a second try works."""

import shutil

import pytest
from faults import Killer, fail_at, left_by_kills, steps_of
from operations import NEW, OLD, OPERATIONS, act, read

N_PAIRS = 300  # of an operation and a step, at least


@pytest.fixture
def folder(in_memory):
    return in_memory


@pytest.fixture
def old(folder):
    """Makes a place afresh, with the old state in it."""

    def make(name):
        place, kept = folder / "place", folder / name
        if not kept.exists():
            place.mkdir()
            act(name, place, OLD)
            place.rename(kept)
        return fill(place, kept)

    return make


def fill(place, content):
    """Let a place hold this and nothing else."""
    shutil.rmtree(place, ignore_errors=True)
    return shutil.copytree(content, place, symlinks=True)


@pytest.fixture(scope="module")
def killer():
    made = Killer()
    yield made
    made.close()


_STATES = {}


def states(name, old):
    """What is read of the old state and of the new, and the steps that lead from one to the other.

    The operation is done once before: what is imported or cached on the way is no step of it.
    """
    if name not in _STATES:
        act(name, old(name), NEW)
        before = read(name, old(name))
        place = old(name)
        steps = steps_of(lambda: act(name, place, NEW))
        after = read(name, place)
        assert before != after
        _STATES[name] = list(zip(before, after, strict=True)), steps
    return _STATES[name]


def check(name, place, both):
    """Each part is old or new and nothing else; then the operation succeeds."""
    for found, either in zip(read(name, place), both, strict=True):
        assert found in either
    act(name, place, NEW)
    assert read(name, place) == [after for _, after in both]


@pytest.mark.slow
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
def test_a_kill_at_any_step_leaves_the_old_or_the_new(name, old, folder, killer):
    both, steps = states(name, old)
    place = old(name)
    left = left_by_kills(lambda: act(name, place, NEW), place, folder / "left")
    assert len(left) == len(steps)
    for content in dict.fromkeys(left):
        check(name, fill(place, content), both)
    middle = len(steps) // 2
    killer.kill_at(middle, name, old(name), NEW)
    assert files(place) == files(left[middle]), "a kill leaves what was there"
    check(name, place, both)


def files(place):
    """Their kinds, and whether something is in them; names and numbers may be others each time."""
    found = [path for path in place.rglob("*") if path.is_file()]
    return sorted((path.suffix, path.stat().st_size > 0) for path in found)


@pytest.mark.slow
@pytest.mark.parametrize("name", OPERATIONS)
def test_a_disk_that_fills_up_leaves_the_old_or_the_new(name, old, killer):
    both, _ = states(name, old)
    for size in (0, 100, 1_000, 5_000, 20_000):
        place = old(name)
        killer.fill_at(size, name, place, NEW)
        check(name, place, both)


@pytest.mark.slow
def test_there_are_many_pairs(old):
    assert sum(len(states(name, old)[1]) for name in OPERATIONS) >= N_PAIRS
