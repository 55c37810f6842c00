"""What can be replaced, and what is refused beforehand; `test_replacing` has what stops it."""

import os
import time
from pathlib import Path

import pytest

from vsa.runtime import atomic
from vsa.runtime.atomic import atomic_dir, atomic_file, require_replaceable, settled
from vsa.runtime.checked import MANIFEST, check_manifest
from vsa.runtime.errors import InputError


def fill(target, text, **options):
    with atomic_dir(target, **options) as draft:
        (draft / "file").write_text(text)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_link_is_followed_and_stays(tmp_path):
    fill(tmp_path / "real", "old")
    (tmp_path / "link").symlink_to("real")
    fill(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real" / "file").read_text() == "new"
    (tmp_path / "a").symlink_to("b")
    with atomic_file(tmp_path / "a") as draft:
        draft.write_text("x")
    assert (tmp_path / "a").is_symlink()
    assert (tmp_path / "b").read_text() == "x"


def test_what_cannot_be_replaced_is_refused_before_any_work(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "below").mkdir()
    monkeypatch.chdir(tmp_path / "below")
    mounted = "/dev/shm" if os.path.ismount("/dev/shm") else "/proc"
    for target, reason in (
        (tmp_path / "file", "not a folder"),
        (tmp_path / "loop", "not a folder"),
        (tmp_path / "file" / "inside", "is not a folder"),
        (Path("."), "the folder you are in"),
        (tmp_path, "the folder you are in, or above it"),
        (Path(mounted), "a mount point"),
    ):
        with pytest.raises(InputError, match=reason):
            fill(target, "new")
    assert names(tmp_path) == ["below", "file", "loop"]


def test_a_parent_that_may_not_be_written_to_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: path != tmp_path)
    with pytest.raises(InputError, match="may not be written to"):
        require_replaceable(tmp_path / "new")


def test_a_folder_without_the_marker_is_somebody_elses(tmp_path):
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.tex").touch()
    with pytest.raises(InputError, match="holds other things"):
        fill(tmp_path / "home", "new", marker="file")
    fill(tmp_path / "own", "old", marker="file")
    fill(tmp_path / "own", "new", marker="file")
    assert (tmp_path / "own" / "file").read_text() == "new"


def test_a_name_as_long_as_may_be(tmp_path):
    fill(tmp_path / ("n" * 255), "new")
    with atomic_file(tmp_path / ("f" * 255)) as draft:
        draft.write_text("x")
    assert len(names(tmp_path)) == 2


def test_drafts_of_the_killed_are_removed_and_those_of_the_living_are_not(tmp_path):
    prefix = atomic._prefix(tmp_path / "target")
    dead, young = tmp_path / f"{prefix}aaaaaaaa", tmp_path / f"{prefix}bbbbbbbb"
    file = tmp_path / f"{atomic._prefix(tmp_path / 'file.txt')}cccccccc.txt"
    other = tmp_path / ".target-20241127"  # somebody's copy
    for folder in (dead, young, other):
        folder.mkdir()
    file.touch()
    long_ago = time.time() - 3600
    for path in (dead, other, file):
        os.utime(path, (long_ago, long_ago))
    with atomic_dir(tmp_path / "target") as living:
        os.utime(living, (long_ago, long_ago))
        fill(tmp_path / "target", "new")
        assert living.is_dir()
        (living / "file").write_text("newer")
    with atomic_file(tmp_path / "file.txt") as draft:
        draft.write_text("x")
    assert names(tmp_path) == sorted(["target", "file.txt", young.name, other.name])
    assert (tmp_path / "target" / "file").read_text() == "newer"


def test_who_comes_after_a_kill_between_two_steps_finds_the_old_one(tmp_path, monkeypatch):
    fill(tmp_path / "target", "old")
    (tmp_path / "target").rename(atomic._aside(tmp_path / "target"))
    assert (settled(tmp_path / "target") / "file").read_text() == "old"
    assert names(tmp_path) == ["target"]


def test_names_that_begin_alike_do_not_share_what_is_moved_aside(tmp_path):
    one, two = tmp_path / ("x" * 50 + "-one"), tmp_path / ("x" * 50 + "-two")
    fill(one, "one")
    fill(two, "two")
    one.rename(atomic._aside(one))
    assert (settled(two) / "file").read_text() == "two"
    assert (settled(one) / "file").read_text() == "one"


def test_a_reader_may_come_between_two_steps(tmp_path, monkeypatch):
    monkeypatch.setattr(atomic, "_exchange", lambda *_: False)
    fill(tmp_path / "target", "old")
    real, calls = os.rename, []

    def rename(first, second):
        real(first, second)
        calls.append(second)
        if len(calls) == 1:  # it has been moved aside: somebody opens it now
            settled(tmp_path / "target")

    monkeypatch.setattr(os, "rename", rename)
    fill(tmp_path / "target", "new")
    assert (tmp_path / "target" / "file").read_text() == "new"
    assert names(tmp_path) == ["target"]


def test_what_cannot_take_the_place_leaves_the_old_one_in_it(tmp_path, monkeypatch):
    monkeypatch.setattr(atomic, "_exchange", lambda *_: False)
    fill(tmp_path / "target", "old")
    real = os.rename

    def rename(first, second):
        if second == tmp_path / "target" and first != atomic._aside(second):
            raise OSError(28, "No space left on device")
        real(first, second)

    monkeypatch.setattr(os, "rename", rename)
    with pytest.raises(OSError, match="No space"):
        fill(tmp_path / "target", "new")
    assert (tmp_path / "target" / "file").read_text() == "old"
    assert names(tmp_path) == ["target"]


def test_a_disk_without_locks_will_do(tmp_path, monkeypatch):
    def flock(*_):
        raise OSError(9, "Bad file descriptor")

    monkeypatch.setattr(atomic.fcntl, "flock", flock)
    fill(tmp_path / "target", "new")
    with atomic_file(tmp_path / "file") as draft:
        draft.write_text("x")
    assert names(tmp_path) == ["file", "target"]


def test_every_folder_says_whether_it_is_whole(tmp_path):
    fill(tmp_path / "target", "content")
    assert names(tmp_path / "target") == [MANIFEST, "file"]
    assert check_manifest(tmp_path / "target") == 1
    for spoil, reason in (
        (lambda path: path.write_text("CONTENT"), "checksum is wrong"),
        (lambda path: path.write_text("cont"), "missing or truncated"),
        (lambda path: path.unlink(), "missing or truncated"),
    ):
        spoil(tmp_path / "target" / "file")
        with pytest.raises(InputError, match=reason):
            check_manifest(tmp_path / "target")
