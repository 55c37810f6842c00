from __future__ import annotations

import pytest
from coloured_squares import CPU, make_squares, make_squares_lab, small_settings

from vsa.runtime.device import Device


@pytest.fixture(scope="session")
def device() -> Device:
    return CPU


@pytest.fixture(scope="session")
def task():
    return make_squares()


@pytest.fixture(scope="session")
def settings():
    return small_settings()


@pytest.fixture(scope="session")
def make_lab(task, settings):
    def make(folder, seed=0):
        return make_squares_lab(task, settings, folder, seed)

    return make
