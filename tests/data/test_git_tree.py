import os
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vsa.data.git_tree import git_tree_hash


def git_write_tree(folder: Path, repository: Path) -> str:
    """The hash that git itself gives to the content of `folder`."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    clean |= {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    git = ["git", f"--git-dir={repository}", f"--work-tree={folder}"]
    run = {"env": clean, "check": True, "capture_output": True, "text": True}
    subprocess.run(["git", "init", "--quiet", "--bare", repository], **run)
    subprocess.run([*git, "-c", "core.autocrlf=false", "add", "--all", "--force", "."], **run)
    return subprocess.run([*git, "write-tree"], **run).stdout.strip()


needs_git = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")


@needs_git
def test_tree_hash_is_that_of_git(tmp_path):
    folder = tmp_path / "tree"
    # Names that git sorts otherwise than Python would: a folder counts as "a/", after "a-b", "a.b"
    for name in ("a/x", "a-b", "a.b", "a0", "ä/ö", "B", "b/c/d/e", "windows line\r\nend"):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode() * 3)
    (folder / "empty file").touch()
    (folder / "empty" / "folder").mkdir(parents=True)
    (folder / "script").write_text("#!/bin/sh\n")
    (folder / "script").chmod(0o755)
    (folder / "link").symlink_to("a/x")
    (folder / "link to folder").symlink_to("b")
    assert git_tree_hash(folder) == git_write_tree(folder, tmp_path / "git")


@needs_git
@settings(max_examples=10, deadline=None)
@given(
    st.dictionaries(
        st.lists(st.text("ab-0_", min_size=1, max_size=3), min_size=1, max_size=3).map(tuple),
        st.binary(max_size=20),
        max_size=6,
    )
)
def test_tree_hash_of_any_tree_is_that_of_git(tmp_path_factory, files):
    base = tmp_path_factory.mktemp("any")
    folder = base / "tree"
    folder.mkdir()
    for parts, content in files.items():
        path = folder.joinpath(*parts)
        if path.exists() or any(parent.is_file() for parent in path.parents):
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    assert git_tree_hash(folder) == git_write_tree(folder, base / "git")


def test_tree_hash_leaves_out_excluded_names_at_every_level(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a").write_text("a")
    bare = git_tree_hash(tmp_path)
    for litter in (tmp_path / ".DS_Store", tmp_path / "sub" / ".DS_Store"):
        litter.write_text("litter")
    assert git_tree_hash(tmp_path) != bare
    assert git_tree_hash(tmp_path, exclude={".DS_Store"}) == bare


def test_tree_hash_sees_the_executable_bit_unless_told_otherwise(tmp_path):
    path = tmp_path / "a"
    path.write_text("a")
    plain = git_tree_hash(tmp_path)
    path.chmod(0o755)
    assert git_tree_hash(tmp_path) != plain
    assert git_tree_hash(tmp_path, executable_bit=False) == plain
