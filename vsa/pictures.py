"""An index over a folder of one's own pictures, for the command line.

Features are ImageNet's (MobileNetV2 at 224 pixels): what a shop has before it has clicks. The
offline and the online path describe a picture by the same function.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import nn

from vsa.data.images import ImageError, Source, load_image
from vsa.embedding.extract import describe
from vsa.embedding.joint import JointNet
from vsa.index.base import flush
from vsa.index.build import build_index, require_replaceable
from vsa.index.index import BinaryIndex
from vsa.index.model import change_facts
from vsa.index.tuning import choose_knobs
from vsa.runtime.atomic import atomic_file
from vsa.runtime.backbones import make_backbone
from vsa.runtime.device import Device, pick_device
from vsa.runtime.errors import InputError
from vsa.runtime.fingerprint import fingerprint
from vsa.runtime.progress import progress

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif")
_SIZE_PX = 224
_CHUNK = 256
_NAMES = "pictures.parquet"
_N_TUNING = 50


class Pictures:
    """Names, and features, of the pictures in an index."""

    def __init__(self, folder: Path, *, writable: bool = False) -> None:
        """Open an index that `build` made; raises InputError if there is none."""
        if (folder / "index.json").is_file() and not (folder / _NAMES).is_file():
            raise InputError(
                "this index is not one of pictures",
                cure="Make one with `vsa index build INDEX PICTURES`",
                file=folder,
            )
        self.device = pick_device()
        self.net = imagenet_network(self.device)
        self.folder = folder
        self.index = BinaryIndex(folder, writable=writable)

    def __enter__(self) -> Pictures:
        return self

    def __exit__(self, *_: object) -> None:
        self.index.close()

    def search(self, photo: Source, k: int = 10) -> pd.DataFrame:
        """The `k` most similar pictures: columns ``name`` and ``similarity``; raises ImageError."""
        image = load_image(photo, _SIZE_PX)
        hits = self.index.search(describe(self.net, image[None], self.device).features[0], k)
        names = self._table().set_index("id").name.reindex(hits.ids)  # written before the items
        found = pd.DataFrame({"name": names.to_numpy(), "similarity": hits.similarity})
        return found.dropna(ignore_index=True)

    def add(self, pictures: Path) -> dict[str, int]:
        """Add what is new in a folder, and replace what has changed since (by size and time).

        Returns how many were added, replaced and unreadable.
        """
        found, table = _list(pictures), self._table()
        known = table.set_index("name").stamp
        is_there = self.index.current().contains(found.id.to_numpy(np.int64))
        same = is_there & (found.name.map(known) == found.stamp).to_numpy()
        fresh, features = _describe(found[~same], self.net, self.device, None)
        ids = fresh.id.to_numpy(np.int64)
        old = self.index.current().contains(ids)
        others, rows = table[~table.id.isin(ids)], fresh[["id", "name", "stamp"]]
        # a name without its stamp comes first, and is taken up again if the items do not follow
        self._write(pd.concat([others, rows.assign(stamp="")], ignore_index=True))
        for call, chosen in ((self.index.add, ~old), (self.index.update, old)):
            places = np.flatnonzero(chosen)
            for start in range(0, len(places), _CHUNK):
                part = places[start : start + _CHUNK]
                call(ids[part], features[part])
        self._write(pd.concat([others, rows], ignore_index=True))
        n_unreadable = len(found) - int(same.sum()) - len(fresh)
        return {"added": int((~old).sum()), "replaced": int(old.sum()), "unreadable": n_unreadable}

    def delete(self, names: Sequence[str]) -> None:
        """Remove pictures by name; raises InputError, and removes none, if one is unknown."""
        table = self._table()
        unknown = sorted(set(names) - set(table.name))
        if unknown:
            raise InputError(
                f"the index has no picture {unknown[0]!r}", cure="Names are as `vsa search` shows"
            )
        gone = table.name.isin(names)
        ids = table.id[gone].to_numpy(np.int64)
        self.index.delete(ids[self.index.current().contains(ids)])
        self._write(table[~gone])

    def _table(self) -> pd.DataFrame:
        return pd.read_parquet(self.folder / _NAMES)

    def _write(self, table: pd.DataFrame) -> None:
        with atomic_file(self.folder / _NAMES) as draft:
            table.to_parquet(draft)
            flush(draft)


def build(folder: Path, pictures: Path) -> dict[str, int]:
    """Index all pictures below a folder; what an interrupted build has described is kept.

    Returns how many were added and how many could not be read. Raises InputError if there are
    none, or if the weights of the network are not at hand.
    """
    found = _list(pictures)
    whole, inside = folder.resolve(), pictures.resolve()
    if whole == inside or whole in inside.parents:
        raise InputError(
            "the index would replace the pictures", cure="Name another folder", file=folder
        )
    require_replaceable(folder)
    device = pick_device()
    net = imagenet_network(device)
    parts = whole.with_name(f".{whole.name}-parts")
    readable, features = _describe(found, net, device, parts)
    if not len(readable):
        raise InputError("none of the pictures can be read", cure="See the formats", file=pictures)
    build_index(folder, features, readable.id.to_numpy(np.int64))
    readable[["id", "name", "stamp"]].to_parquet(folder / _NAMES)
    with BinaryIndex(folder) as index:
        # no picture is held out: each finds itself, and 19 others that count
        some = features[:: max(1, len(features) // _N_TUNING)]
        knobs = choose_knobs(index, some, k=min(20, len(features))).knobs
    change_facts(folder, knobs={"n_probe": knobs.n_probe, "n_candidates": knobs.n_candidates})
    shutil.rmtree(parts, ignore_errors=True)
    return {"added": len(readable), "unreadable": len(found) - len(readable)}


def imagenet_network(device: Device) -> JointNet:
    """MobileNetV2 with ImageNet weights, from pictures to its pooled feature, 1280-d."""
    backbone, size = make_backbone("mobilenet_v2", pretrained=True)
    net = JointNet("mobilenet_v2", size)
    net.load_backbone(backbone.state_dict())
    net.head = nn.Linear(size, size, bias=False)
    with torch.no_grad():
        nn.init.eye_(net.head.weight)
    return net.to(device.device, memory_format=device.memory_format).eval()


def _list(pictures: Path) -> pd.DataFrame:
    """All picture files below a folder: id, name, stamp of size and time, path."""
    if not pictures.is_dir():
        raise InputError("there is no such folder", cure="Name a folder of pictures", file=pictures)
    files = sorted(
        path
        for path in pictures.rglob("*")
        if path.suffix.lower() in SUFFIXES and path.is_file() and not path.name.startswith(".")
    )
    if not files:
        raise InputError(
            "there are no pictures in this folder",
            cure=f"Files must end in one of {', '.join(SUFFIXES)}",
            file=pictures,
        )
    names = [path.relative_to(pictures).as_posix() for path in files]
    stamps = [f"{path.stat().st_size} {path.stat().st_mtime_ns}" for path in files]
    ids = [int(hashlib.sha256(name.encode()).hexdigest()[:15], 16) for name in names]
    columns = {"id": ids, "name": names, "stamp": stamps, "path": [str(path) for path in files]}
    return pd.DataFrame(columns)


def _describe(
    table: pd.DataFrame, net: JointNet, device: Device, parts: Path | None
) -> tuple[pd.DataFrame, np.ndarray]:
    """The readable rows, and their features; chunks are kept in `parts`, if given, until done."""
    kept, features = [], [np.empty((0, net.head.out_features), np.float32)]
    for start in progress(range(0, len(table), _CHUNK), "describe pictures"):
        chunk = table.iloc[start : start + _CHUNK]
        key = fingerprint(names=chunk.name.tolist(), stamps=chunk.stamp.tolist())
        part = None if parts is None else parts / f"{key}.npz"
        if part is None or not part.is_file():
            rows, images = [], []
            for row, path in enumerate(chunk.path):
                try:
                    images.append(load_image(Path(path), _SIZE_PX))
                    rows.append(row)
                except ImageError:
                    continue
            stacked = np.stack(images) if images else np.empty((0, _SIZE_PX, _SIZE_PX, 3), np.uint8)
            found = describe(net, stacked, device, batch_size=32).features
            if part is not None:
                with atomic_file(part) as draft, draft.open("wb") as stream:
                    np.savez(stream, rows=np.array(rows, np.int64), features=found)
        else:
            with np.load(part) as arrays:
                rows, found = arrays["rows"].tolist(), arrays["features"]
        kept.append(chunk.iloc[rows])
        features.append(found)
    joined = pd.concat(kept, ignore_index=True) if kept else table.iloc[:0]
    return joined, np.concatenate(features)
