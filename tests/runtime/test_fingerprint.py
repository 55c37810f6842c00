"""Keys of cached products: whatever changes their results counts, and nothing else."""

from __future__ import annotations

import ast
import copy
import dataclasses
import importlib
import inspect
import os
import runpy
import subprocess
import sys
import textwrap
import threading
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from vsa.data.datasets import DataSource
from vsa.models.backbones import Backbone
from vsa.runtime import fingerprint
from vsa.runtime.errors import InputError
from vsa.runtime.fingerprint import checksum, key, libraries, source_digest
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
    """Only `vsa.runtime.digest` does, for functions of other people's."""
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


@pytest.fixture
def mapped(images: np.ndarray, tmp_path: Path) -> np.ndarray:
    np.save(tmp_path / "images.npy", images)
    return np.load(tmp_path / "images.npy", mmap_mode="r")


def test_a_mapped_file_is_read_once_for_its_checksum(images, mapped, tmp_path, monkeypatch):
    assert checksum(mapped) == checksum(images)
    monkeypatch.setattr(fingerprint, "_checksum", lambda _: pytest.fail("computed again"))
    again = np.load(tmp_path / "images.npy", mmap_mode="r")
    assert checksum(mapped) == checksum(again)


def test_another_or_changed_file_of_that_name_has_another_checksum(images, mapped, tmp_path):
    before = checksum(mapped)
    images[7] = 0
    np.save(tmp_path / "new.npy", images)
    os.replace(tmp_path / "new.npy", tmp_path / "images.npy")
    replaced = np.load(tmp_path / "images.npy", mmap_mode="r")
    assert checksum(replaced) == checksum(images) != before
    changed = np.load(tmp_path / "images.npy", mmap_mode="r+")
    changed[9] = 1
    changed.flush()
    assert checksum(changed) == checksum(np.load(tmp_path / "images.npy", mmap_mode="r"))
    assert checksum(changed) not in (before, checksum(replaced[::-1]))


def test_a_part_of_a_mapped_file_is_not_taken_for_the_whole(images, mapped):
    whole = checksum(mapped)
    for part in (mapped[1:], mapped[::-1], mapped[[3, 2]], mapped[:, :, ::-1], mapped.view()):
        assert checksum(part) == checksum(np.array(part))
    assert len({whole, checksum(mapped[1:]), checksum(mapped[::-1])}) == 3


@pytest.mark.parametrize("note", ["", "[]", "null", '{"state": [1], "checksum": "0"}', "{"])
def test_a_note_that_does_not_fit_is_made_anew(images, mapped, tmp_path, note):
    file = tmp_path / "images.npy.checksum.json"
    file.write_text(note, encoding="utf-8")
    assert checksum(mapped) == checksum(images)
    assert checksum(images) in file.read_text(encoding="utf-8")


def test_where_nothing_can_be_noted_the_checksum_is_computed(images, mapped, monkeypatch):
    def full(*_, **__):
        raise OSError("disk full")

    monkeypatch.setattr(fingerprint, "atomic_file", full)
    assert checksum(mapped) == checksum(images)


# Somebody's own -------------------------------------------------------------------------------

FILE = """
import functools
import torch
import numpy as np
from dataclasses import dataclass

MARGIN = 1
TABLE = np.arange(3)
WEIGHTS = torch.ones(3)
NAMES = {"a": 1}

class Base:
    def scaled(self, x):
        return 1 * x

class Mine(Base):
    slope = 1

    def __call__(self, x):
        return self.scaled(x)

    @staticmethod
    def still():
        return MARGIN

    @classmethod
    def of_class(cls):
        return MARGIN

    @property
    def shown(self):
        return MARGIN

    @functools.cached_property
    def kept(self):
        return MARGIN

    @torch.no_grad()
    def quiet(self):
        return 1

def by_default(x, margin=MARGIN):
    return x

def by_keyword(x, *, margin=MARGIN):
    return x

@functools.cache
def helper(x):
    return 1

def by_helper(x):
    return helper(x)

def by_array(x):
    return TABLE[x]

def by_tensor(x):
    return WEIGHTS[x]

def by_names(x):
    return [NAMES[y] for y in x]

@functools.wraps(by_array)
def wrapper(x):
    return 1

@dataclass
class Fields:
    size: int = 1
"""


@pytest.fixture
def made(tmp_path):
    """What a file of somebody's defines under a name; each call has another file."""
    n_files = 0

    def make(name: str, *changes: tuple[str, str], text: str = FILE) -> object:
        nonlocal n_files
        n_files += 1
        for before, after in changes:
            assert before in text
            text = text.replace(before, after)
        path = tmp_path / f"mine{n_files}.py"
        path.write_text(textwrap.dedent(text))
        return runpy.run_path(str(path), run_name="vsa_plugin_mine")[name]

    return make


MARGIN = ("MARGIN = 1", "MARGIN = 2")


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("by_default", MARGIN),
        ("by_keyword", MARGIN),
        ("Mine", ("return 1 * x", "return 2 * x")),
        ("Mine", ("slope = 1", "slope = 2")),
        ("Mine", MARGIN),
        ("Mine", ("quiet(self):\n        return 1", "quiet(self):\n        return 2")),
        ("by_helper", ("(x):\n    return 1\n\ndef by_h", "(x):\n    return 2\n\ndef by_h")),
        ("helper", ("(x):\n    return 1\n\ndef by_h", "(x):\n    return 2\n\ndef by_h")),
        ("by_array", ("arange(3)", "arange(4)")),
        ("by_array", ("arange(3)", "arange(3.0)")),
        ("by_array", ("arange(3)", "arange(3)[::-1]")),
        ("by_tensor", ("ones(3)", "zeros(3)")),
        ("by_names", ('"a": 1', '"a": 2')),
        ("wrapper", ("wrapper(x):\n    return 1", "wrapper(x):\n    return 2")),
        ("Fields", ("size: int = 1", "size: int = 2")),
    ],
)
def test_an_edit_of_somebody_s_file_is_noticed(made, name, change):
    before = source_digest(made(name))
    assert source_digest(made(name)) == before
    assert source_digest(made(name, change)) != before


@pytest.mark.parametrize(
    "kind", ["staticmethod", "classmethod", "property", "functools.cached_property"]
)
def test_what_each_kind_of_method_uses_is_noticed(made, kind):
    text = "import functools\nMARGIN = 1\nclass Mine:\n"
    text += f"    @{kind}\n    def f(*_):\n        return MARGIN\n"
    before = source_digest(made("Mine", text=text))
    assert source_digest(made("Mine", MARGIN, text=text)) != before


def test_what_one_does_not_use_changes_nothing(made):
    assert source_digest(made("by_array", MARGIN)) == source_digest(made("by_array"))
    before = source_digest(made("Mine"))
    assert source_digest(made("Mine", ("ones(3)", "zeros(3)"))) == before


SETS = """
    WORDS = {"red", "green", "blue", "grey"}
    PAIRS = {("a", 1), ("b", 2), ("c", 3)}
    def double(x):
        return 2 * x
    def triple(x):
        return 3 * x
    BY_NAME = {"double": double, "triple": triple}
    def mine(x):
        return BY_NAME["double"](x) if x in WORDS or x in PAIRS else object
"""


def test_the_digest_is_the_same_whatever_python_s_hashes_and_addresses(tmp_path):
    (tmp_path / "mine.py").write_text(textwrap.dedent(SETS))
    code = (
        "import runpy; from vsa.runtime.fingerprint import source_digest\n"
        "print(source_digest(runpy.run_path('mine.py')['mine']))"
    )
    found = set()
    for seed in "123":
        environment = os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-c", code]
        found.add(subprocess.check_output(command, cwd=tmp_path, env=environment))
    assert len(found) == 1


def test_functions_in_containers_count_by_their_source(made):
    text = textwrap.dedent(SETS)
    found = {source_digest(made("mine", text=text))}
    for change in [("2 * x", "4 * x"), ('"grey"', '"gray"'), ('("c", 3)', '("c", 4)')]:
        found.add(source_digest(made("mine", change, text=text)))
    found.add(source_digest(made("mine", ('"double": d', '"single": d'), text=text)))
    assert len(found) == 5


def test_of_this_package_only_fields_count(monkeypatch, made):
    """No source of it is read; what is held of somebody's is."""
    read = []
    original = inspect.getsource
    monkeypatch.setattr(inspect, "getsource", lambda part: read.append(part) or original(part))
    function = made("by_array")
    before = source_digest(Backbone(function, trunk=("stem",)))
    assert [code.co_name for code in read] == ["by_array"]
    assert source_digest(Backbone(function, trunk=("stem",))) == before
    others = [
        Backbone(function, trunk=("stern",)),
        Backbone(made("by_array", ("arange(3)", "arange(4)")), trunk=("stem",)),
        DataSource(function),
    ]
    assert len({before, *map(source_digest, others)}) == 4


@pytest.mark.parametrize("held", [threading.Lock(), (x for x in "ab"), open(os.devnull)])  # noqa: SIM115
def test_what_has_no_content_that_lasts_is_refused_with_its_place(held):
    def mine(x):
        return held

    with pytest.raises(InputError, match=r"mine holds an object of type .*Make it inside"):
        source_digest(mine)
    with pytest.raises(InputError):
        source_digest(partial(max, held))


def test_a_function_without_source_is_refused():
    names: dict = {}
    exec("def mine(x): ...", names)
    with pytest.raises(InputError, match="mine has no source"):
        source_digest(names["mine"])


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (np.float32(1), np.float32(2)),
        (np.array(["a", None], object), np.array(["b", None], object)),
        (np.ma.array([1, 2], mask=[0, 1]), np.ma.array([1, 2], mask=[1, 0])),
        (torch.ones(2, dtype=torch.bfloat16), torch.zeros(2, dtype=torch.bfloat16)),
        (torch.tensor(1), torch.tensor(2)),
        (np.zeros((2, 3)), np.zeros((3, 2))),
        (pd.DataFrame({"a": [1]}), pd.DataFrame({"a": [2]})),
        (range(3), range(4)),
        (Path("a"), Path("b")),
        ([1, [2]], [1, [3]]),
        ([1, 2], (1, 2)),
        (1, True),
        (nn.Sequential(nn.ReLU()), nn.Sequential(nn.Tanh())),
        (nn.Dropout(0.1), nn.Dropout(0.2)),
        (np.random.default_rng(0), np.random.default_rng(1)),
        (torch.relu, torch.tanh),
        (np.mean, np.median),
        ("a".upper, "b".upper),
    ],
)
def test_values_count_by_their_content(one, other):
    assert source_digest(one) == source_digest(copy.deepcopy(one))
    assert source_digest(one) != source_digest(other)


def test_a_value_within_itself_has_a_digest():
    one: list = [1]
    one.append(one)
    assert source_digest(one) == source_digest(one)
    deep: list = []
    for _ in range(10_000):
        deep = [deep]
    with pytest.raises(InputError, match=r"type builtins\.list"):
        source_digest(deep)


def test_an_installed_package_counts_by_name_unless_it_is_somebody_s(tmp_path, monkeypatch):
    package = tmp_path / "site-packages" / "their_package"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "parts.py").write_text("def part(x):\n    return 1\n")
    text = "from their_package.parts import part\ndef whole(x):\n    return part(x)\n"
    (package / "whole.py").write_text(text)
    monkeypatch.syspath_prepend(package.parent)
    found = []
    for returned in "12":
        (package / "parts.py").write_text(f"def part(x):\n    return {returned * int(returned)}\n")
        for name in [name for name in sys.modules if name.startswith("their_package")]:
            del sys.modules[name]
        whole = importlib.import_module("their_package.whole").whole
        found.append((source_digest(whole), source_digest(whole, own={"their_package"})))
    assert found[0][0] == found[1][0]
    assert found[0][1] != found[1][1]
