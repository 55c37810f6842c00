"""Keys of cached products: whatever changes their results counts, and nothing else."""

from __future__ import annotations

import ast
import dataclasses
from pathlib import Path

import numpy as np
import pytest

from vsa.runtime.fingerprint import checksum, key, libraries
from vsa.runtime.paths import ROOT


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (200, 16, 16, 3), dtype=np.uint8)


@dataclasses.dataclass(frozen=True)
class Settings:
    margin: float
    slopes: tuple[float, float] = (1.0, 2.0)


def test_a_key_changes_with_each_version_and_each_parameter():
    same = key({"mask": 1, "vote": 2}, a=1, b="x")
    assert same == key({"vote": 2, "mask": 1}, b="x", a=1)
    others = [
        key({"mask": 2, "vote": 2}, a=1, b="x"),
        key({"mask": 1}, a=1, b="x"),
        key({"mask": 1, "vote": 2}, a=2, b="x"),
        key({"mask": 1, "vote": 2}, a=1),
    ]
    assert len({same, *others}) == 5


def test_data_classes_count_by_their_values_and_not_by_their_name():
    @dataclasses.dataclass(frozen=True)
    class Renamed:
        margin: float
        slopes: tuple[float, float] = (1.0, 2.0)

    assert key({}, settings=Settings(0.3)) == key({}, settings=Renamed(0.3))
    assert key({}, settings=Settings(0.3)) != key({}, settings=Settings(0.4))


def test_numbers_of_numpy_and_paths_are_plain_values():
    assert key({}, n=np.int64(3), rows=np.arange(3)) == key({}, n=3, rows=[0, 1, 2])
    assert key({}, folder=Path("a/b")) == key({}, folder="a/b")


@pytest.mark.parametrize("thing", [object(), Settings, print, {1, 2}])
def test_what_may_print_differently_tomorrow_is_refused(thing):
    with pytest.raises(TypeError, match=r"cannot hold a .*version or checksum"):
        key({}, thing=thing)


def test_libraries_are_known_by_their_version_and_may_be_missing():
    found = libraries("torch", "no-such-package")
    assert found["torch"][0].isdigit()
    assert "+" not in found["torch"]
    assert found["no-such-package"] == "none"


def test_no_module_that_makes_keys_reads_source():
    """Only `fingerprint.source_digest` does, for functions of other people's."""
    n_makers = 0
    for file in sorted((ROOT / "vsa").rglob("*.py")):
        text = file.read_text(encoding="utf-8")
        imports_key = any(
            isinstance(node, ast.ImportFrom)
            and node.module == "vsa.runtime.fingerprint"
            and any(alias.name == "key" for alias in node.names)
            for node in ast.walk(ast.parse(text))
        )
        if imports_key:
            n_makers += 1
            assert "getsource" not in text, file
            assert "inspect" not in text, file
    assert n_makers >= 6


@pytest.mark.parametrize("row", [0, 57, 199])
def test_one_replaced_image_of_many_changes_the_checksum(images: np.ndarray, row: int):
    before = checksum(images)
    images[row] = 255 - images[row]
    assert checksum(images) != before


def test_exchanged_images_change_the_checksum(images: np.ndarray):
    before = checksum(images)
    images[[3, 4]] = images[[4, 3]]
    assert checksum(images) != before
    images[[3, 4]] = images[[4, 3]]
    assert checksum(images) == before
