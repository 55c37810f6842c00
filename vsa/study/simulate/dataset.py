"""The rendered shop as a data set; what draws it is loaded when it is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vsa.data.datasets import DataSource
from vsa.study.simulate.settings import SyntheticSize

if TYPE_CHECKING:
    from vsa.data.schema import Dataset


def _render(size: SyntheticSize, seed: int) -> Dataset:
    from vsa.study.simulate.synthetic import load_synthetic

    return load_synthetic(size, seed)


SYNTHETIC = DataSource(_render, settings=SyntheticSize, is_rendered=True)
