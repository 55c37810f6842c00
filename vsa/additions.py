"""What joined an engine since it was built: rows of its catalogue, and references of its vote.

Each addition is a file that never changes, in the engine's folder; its name holds its number and
its checksum. Items go into the index after it, in one transaction, and an addition whose items
never came there counts for nothing: so an engine that was interrupted is what it was before.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from vsa.runtime.atomic import atomic_file
from vsa.runtime.checked import CURE, file_checksum, flush
from vsa.runtime.errors import InputError

FOLDER = "added"  # in an engine's
_REFERENCE = "reference feature"  # a column beside those of the catalogue


@dataclass(frozen=True)
class Addition:
    """Rows that joined at once."""

    rows: pa.Table  # n, with the columns of the engine's catalogue
    features: np.ndarray  # float32 (n, d): by what describes; empty once they are in the index
    references: np.ndarray  # float32 (n, d'): by the category network


def write_addition(engine: Path, number: int, addition: Addition) -> None:
    """Write an addition, complete or not at all, and on the disk once this returns."""
    n, dim = addition.references.shape
    flat = pa.array(addition.references.ravel())
    table = addition.rows.append_column(_REFERENCE, pa.FixedSizeListArray.from_arrays(flat, dim))
    folder = engine / FOLDER
    folder.mkdir(exist_ok=True)
    whole = folder / f".{number:08d}"
    with atomic_file(whole) as draft, pa.ipc.new_file(str(draft), table.schema) as stream:
        stream.write_table(table.combine_chunks(), max_chunksize=max(1, n))
    flush(whole)
    whole.rename(folder / f"{number:08d}-{file_checksum(whole):08x}.arrow")
    flush(folder)


def read_additions(engine: Path, after: int = 0) -> list[Addition]:
    """All additions but the first `after`, in order; raises InputError for a damaged one."""
    return [_read(path) for path in _files(engine)[after:]]


def count_additions(engine: Path) -> int:
    """How many there are."""
    return len(_files(engine))


def _files(engine: Path) -> list[Path]:
    return sorted((engine / FOLDER).glob("[0-9]*.arrow"))


def _read(path: Path) -> Addition:
    if f"{file_checksum(path):08x}" != path.stem.partition("-")[2]:
        raise InputError("the file's checksum is wrong", cure=CURE, file=path)
    with pa.memory_map(str(path)) as mapped:
        table = pa.ipc.open_file(mapped).read_all()
    column = table[_REFERENCE].combine_chunks()
    dim = column.type.list_size
    references = column.flatten().to_numpy().reshape(-1, dim)
    return Addition(table.drop_columns(_REFERENCE), np.empty((0, 0), np.float32), references)
