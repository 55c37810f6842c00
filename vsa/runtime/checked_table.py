"""Tables in files that say themselves whether they are whole."""

from __future__ import annotations

import zlib
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from vsa.runtime.checked import CURE, cannot_read
from vsa.runtime.errors import InputError

_KEY = b"vsa.crc32"


def write_checked_table(path: Path, table: pd.DataFrame) -> None:
    """Write a table of texts and whole numbers as Parquet, with a checksum of its values."""
    made = pa.Table.from_pandas(table, preserve_index=False)
    known = made.schema.metadata or {}
    checksum = str(_table_checksum(table)).encode()
    pq.write_table(made.replace_schema_metadata(known | {_KEY: checksum}), path)


def read_checked_table(path: Path) -> pd.DataFrame:
    """Read what `write_checked_table` wrote; raises InputError if that is not what is there."""
    try:
        read = pq.read_table(path)
        table = read.to_pandas()
        if int(read.schema.metadata[_KEY]) == _table_checksum(table):
            return table
    except (
        FileNotFoundError,
        NotADirectoryError,
        ValueError,
        KeyError,
        TypeError,
        pa.ArrowException,
    ):
        pass
    except OSError as error:
        if error.errno is not None:  # pyarrow's own are of a file that is no table
            raise cannot_read(path, error) from None
    raise InputError("the file is missing or damaged", cure=CURE, file=path)


def _table_checksum(table: pd.DataFrame) -> int:
    value = zlib.crc32("\0".join(map(str, table.columns)).encode())
    for name in table.columns:
        value = zlib.crc32("\0".join(map(str, table[name])).encode(), value)
    return value
