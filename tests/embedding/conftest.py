from __future__ import annotations

import dataclasses

import pytest
from coloured_squares import CPU, make_squares, make_squares_lab, small_settings
from PIL import Image

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


@pytest.fixture(scope="session")
def make_lab_in_files(task, make_lab):
    """A lab whose pictures lie in files of a folder, which it looks at again at 48 pixels."""

    def make(folder):
        root = folder / "pictures"
        root.mkdir()
        paths = {"queries": [], "catalogue": []}
        for table, names in paths.items():
            for row, picture in enumerate(getattr(task.images, table)):
                names.append(f"{table}-{row}.png")
                Image.fromarray(picture).save(root / names[-1])
        lab = make_lab(folder / "jobs")
        lab.task = dataclasses.replace(
            task,
            queries=task.queries.assign(path=paths["queries"]),
            catalogue=task.catalogue.assign(path=paths["catalogue"]),
        )
        lab.files = (root, root / "cache")
        lab.settings = dataclasses.replace(
            lab.settings, describer_px=48, objectness_px=96, n_adapt_triplets=4, n_adapt_steps=8
        )
        return lab

    return make
