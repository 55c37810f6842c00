"""Rows of the catalogue by their names, and thumbnails of their pictures.

Only files that a row of the catalogue names are opened, never one that a client names.
"""

from __future__ import annotations

import io
import threading
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from vsa.data.decoding import ImageError, decode
from vsa.engine import VisualSearch
from vsa.rows import Rows
from vsa.serve.problems import Refused

_N_REMEMBERED = 50_000  # paths of pictures that were found lately: their thumbnails come next
_QUALITY = 85  # of a thumbnail's JPEG


@dataclass(frozen=True)
class Thumbnail:
    """A picture made small, or that it is as it was (None)."""

    jpeg: bytes | None
    tag: str  # changes with the picture's file


class Items:
    """The catalogue of an engine, one item at a time."""

    def __init__(self, engine: VisualSearch, kept: Path, max_pixels: int) -> None:
        """`kept` is the folder of pictures that came with writes."""
        self.engine, self.kept, self.max_pixels = engine, kept, max_pixels
        self._lock = threading.Lock()
        self._rows: Rows | None = None  # that the paths below are of
        self._paths: OrderedDict[str, str] = OrderedDict()

    def row(self, image_id: str) -> dict[str, Any]:
        """The row of a picture; raises Refused (404)."""
        rows = self.engine.store.current().rows
        found = rows.find([image_id])
        if not found:
            raise Refused(
                404, f"there is no item {image_id!r}", cure="Take an image_id of a search's results"
            )
        (row,) = rows.take(np.fromiter(found.values(), np.int64)).to_pylist()
        return dict(row)

    def remember(self, image_ids: Iterable[str], paths: Iterable[str]) -> None:
        """Note where pictures are that somebody will want to see, being told of them now."""
        with self._lock:
            self._forget_old()
            for image_id, path in zip(image_ids, paths, strict=True):
                self._paths[image_id] = path
                self._paths.move_to_end(image_id)
            while len(self._paths) > _N_REMEMBERED:
                self._paths.popitem(last=False)

    def _forget_old(self) -> None:
        rows = self.engine.store.current().rows
        if rows is not self._rows:
            self._rows = rows
            self._paths.clear()

    def file(self, image_id: str) -> Path:
        """Where the picture of an item is; raises Refused (404) for an item that is not there."""
        with self._lock:
            self._forget_old()
            path = self._paths.get(image_id)
        if path is None:
            path = str(self.row(image_id)["path"])
        own = self.kept / Path(path).name  # also where the engine was copied here with its pictures
        return own if own.is_file() else self.engine.root / path

    def thumbnail(self, image_id: str, size_px: int, known: str | None) -> Thumbnail:
        """The whole picture, its longer side `size_px` at most, as JPEG.

        `known` is the tag of what somebody has already. Raises Refused (404) where there is no
        such item, or no picture that can be shown.
        """
        file = self.file(image_id)
        try:
            state = file.stat()
            tag = f'"{state.st_mtime_ns:x}-{state.st_size:x}-{size_px}"'
            if known is not None and known.removeprefix("W/") == tag:  # proxies weaken it
                return Thumbnail(None, tag)
            picture = decode(file, max_pixels=self.max_pixels, min_px=size_px)
        except OSError:
            raise _no_picture(image_id, "missing") from None
        except ImageError as error:
            raise _no_picture(image_id, error.reason) from None
        picture.thumbnail((size_px, size_px), Image.Resampling.BICUBIC)
        stream = io.BytesIO()
        picture.save(stream, "JPEG", quality=_QUALITY)
        return Thumbnail(stream.getvalue(), tag)


def _no_picture(image_id: str, why: str) -> Refused:
    return Refused(
        404,
        f"there is no picture of {image_id!r} here ({why})",
        cure="Say where the catalogue's pictures are: vsa serve ENGINE --root FOLDER",
    )
