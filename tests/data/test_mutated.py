"""Ten thousand mutated pictures: an image or an ImageError, soon, silently and in bounded memory.

A sample runs always; all of them with ``.venv/bin/python -m pytest -m slow``.
"""

import json
import os
import subprocess
import sys

import mutated_pictures
import numpy as np
import pytest

from vsa.data.decoding import MAX_PIXELS, decode

REASONS = {"decoded", "not an image", "damaged", "truncated", "too large", "empty file"}
N_SAMPLE, N_ALL = 500, 10_000
MAX_S = 2  # of one core, for one picture
MAX_GROWTH_MB = 20 * MAX_PIXELS / 1e6  # Pillow's copies of the largest picture, and the decoder's


def survey(first, last):
    """In a process of its own, whose memory is only this, and which a decoder may kill."""
    command = [sys.executable, mutated_pictures.__file__, str(first), str(last)]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return json.loads(done.stdout)


@pytest.mark.parametrize(
    ("first", "last"),
    [(0, N_SAMPLE), pytest.param(N_SAMPLE, N_ALL, marks=pytest.mark.by_hand)],
)
def test_mutated_pictures(first, last):
    found = survey(first, last)
    assert sum(found["reasons"].values()) == last - first
    assert set(found["reasons"]) <= REASONS
    assert min(found["reasons"][reason] for reason in ("decoded", "damaged", "truncated")) > 0
    assert found["slowest"][0] < MAX_S
    assert found["growth_mb"] < MAX_GROWTH_MB


def test_the_pictures_are_sound():
    shown = {
        name: np.asarray(decode(data)).astype(int)
        for name, data in mutated_pictures.pictures().items()
    }
    assert {image.shape for image in shown.values()} == {(43, 61, 3), (61, 43, 3)}
    for name in ("WEBP", "AVIF", "BMP", "TIFF tiles tiff_lzw", "TIFF tiles jpeg"):
        assert np.abs(shown[name] - shown["PNG"]).mean() < 12


def test_mutation_is_by_seed():
    assert mutated_pictures.mutated(7) == mutated_pictures.mutated(7) != mutated_pictures.mutated(8)
