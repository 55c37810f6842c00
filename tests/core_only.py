"""An environment that holds the core of vsa and nothing else, made of what is installed here."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterable
from importlib.metadata import PathDistribution, distribution
from pathlib import Path

from packaging.requirements import Requirement

from vsa.runtime.paths import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
# What requirements.lock leaves out on purpose
OVERRIDDEN = {Requirement(text).name for text in PROJECT["tool"]["uv"]["override-dependencies"]}


def build_wheel(folder: Path) -> Path:
    """Build a wheel from a copy of the tree, so that nothing is written into the checkout."""
    tree = folder / "tree"
    shutil.copytree(ROOT / "vsa", tree / "vsa", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tree / name)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    command += ["--disable-pip-version-check", "--wheel-dir", str(folder), str(tree)]
    subprocess.run(command, check=True)
    (wheel,) = folder.glob("vsa-*.whl")
    return wheel


def unpack(wheel: Path, folder: Path) -> PathDistribution:
    """Install a wheel of Python alone: its files and its metadata, as an installer would."""
    with zipfile.ZipFile(wheel) as opened:
        opened.extractall(folder)
    (metadata,) = folder.glob("vsa-*.dist-info")
    return PathDistribution(metadata)


def required(requirements: Iterable[str], extras: Iterable[str] = ()) -> dict[str, Requirement]:
    """All that requirements lead to, by name, with those of what they need in turn.

    Fails where what is installed here does not fit.
    """
    found: dict[str, Requirement] = {}
    waiting = [(Requirement(text), tuple(extras)) for text in requirements]
    while waiting:
        needed, asked = waiting.pop()
        surroundings = [{"extra": extra} for extra in ("", *asked)]
        if needed.marker and not any(map(needed.marker.evaluate, surroundings)):
            continue
        if needed.name in OVERRIDDEN:
            continue
        installed = distribution(needed.name)
        assert needed.specifier.contains(installed.version, prereleases=True), needed
        known = found.get(needed.name)
        if known is None or needed.extras - known.extras:
            found[needed.name] = needed
            waiting += [
                (Requirement(text), tuple(needed.extras)) for text in installed.requires or ()
            ]
    return found


def link_packages(names: Iterable[str], folder: Path) -> None:
    """Links to the files of distributions: a site-packages that holds these and no others."""
    folder.mkdir()
    for name in names:
        installed = distribution(name)
        tops = {file.parts[0] for file in installed.files or ()}
        for top in tops - {"..", "__pycache__", "bin"}:
            if not (folder / top).exists():
                (folder / top).symlink_to(Path(str(installed.locate_file(top))))


def run(folders: Iterable[Path], *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run Python with these folders on its path, and without its own site-packages."""
    surroundings = {
        "PYTHONPATH": os.pathsep.join(map(str, folders)),
        "XDG_DATA_HOME": str(cwd / "share"),
        "HOME": str(cwd),
        "PATH": os.environ["PATH"],
        "OMP_NUM_THREADS": "1",
        "VSA_PROGRESS": "off",
    }
    command = [sys.executable, "-S", *arguments]
    return subprocess.run(command, env=surroundings, cwd=cwd, capture_output=True, text=True)
