"""Pictures looked at chunk by chunk: in order, kept, and taken up again."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from vsa import chunks
from vsa.chunks import look_at


class Looking:
    """Finds the number that a file holds, and counts the files it has seen."""

    def __init__(self, fails_at: str = "") -> None:
        self.fails_at = fails_at
        self.seen: list[str] = []

    def __call__(self, files):
        for file in files:
            if self.fails_at and Path(file).name == self.fails_at:
                raise RuntimeError("out of light")
            self.seen.append(Path(file).name)
        numbers = [int(Path(file).read_text()) for file in files]
        return {"number": np.array(numbers, np.int64), "twice": 2.0 * np.array(numbers)}


@pytest.fixture
def files(tmp_path, monkeypatch):
    """Seven files, in chunks of three."""
    monkeypatch.setattr(chunks, "CHUNK", 3)
    paths = [tmp_path / f"{number}.txt" for number in range(7)]
    for number, path in enumerate(paths):
        path.write_text(str(10 + number))
    return [str(path) for path in paths]


def test_rows_come_in_the_order_of_the_files(files):
    found = look_at(Looking(), files[::-1])
    assert found["number"].tolist() == [16, 15, 14, 13, 12, 11, 10]
    assert found["twice"].tolist() == [32, 30, 28, 26, 24, 22, 20]


def test_no_files_have_columns_nevertheless():
    assert look_at(Looking(), [])["number"].shape == (0,)


def test_work_that_ended_goes_on_after_the_last_whole_chunk(files, tmp_path):
    keep = tmp_path / "kept" / "numbers.npz"
    with pytest.raises(RuntimeError, match="out of light"):
        look_at(Looking(fails_at="4.txt"), files, keep=keep)
    assert not keep.exists()
    second = Looking()
    assert look_at(second, files, keep=keep)["number"].tolist() == list(range(10, 17))
    assert second.seen == ["3.txt", "4.txt", "5.txt", "6.txt"]
    assert [path.name for path in keep.parent.iterdir()] == ["numbers.npz"]


def test_what_is_known_by_content_is_not_looked_at_again(files, tmp_path):
    keep = tmp_path / "numbers.npz"
    look_at(Looking(), files, keep=keep)
    copy, new = tmp_path / "copy.txt", tmp_path / "new.txt"
    copy.write_text("12")
    new.write_text("99")
    again = Looking()
    assert look_at(again, [str(new), str(copy)], keep=keep)["number"].tolist() == [99, 12]
    assert again.seen == ["new.txt"]


def test_without_an_address_ray_is_not_imported(files):
    code = (
        "import sys; from vsa.chunks import look_at; "
        "look_at(lambda files: {'n': __import__('numpy').zeros(len(files))}, sys.argv[1:]); "
        "import vsa.offline, vsa.engine_cli; assert 'ray' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code, *files], check=True)
