"""Pictures of every format, mutated by seed; as a script, decodes some and prints what came of it.

``python tests/mutated_pictures.py FIRST LAST`` answers in JSON; anything but ImageError ends it.
"""

from __future__ import annotations

import io
import json
import random
import resource
import struct
import sys
import time
import zlib
from collections import Counter
from functools import cache

import numpy as np
from PIL import Image, PngImagePlugin, TiffImagePlugin

from vsa.data.decoding import ImageError, decode, upright_size

_WIDTH, _HEIGHT = 61, 43  # found again in the files' headers
_SIDES = (0, 1, 2, 300, 5000, 9999, 10_001, 16_383, 32_767, 65_535, 2**24 - 1, 2**31 - 1, 2**32 - 1)
_PNG = b"\x89PNG\r\n\x1a\n"


def encode(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.copy().save(buffer, kind, **options)
    return buffer.getvalue()


def tiled_tiff(photo: Image.Image, compression: str, side: int = 32) -> bytes:
    """A TIFF in tiles, which Pillow cannot write: its own strips of a tile's size, put together."""
    directory, tiles = TiffImagePlugin.ImageFileDirectory_v2(), []
    for top in range(0, photo.height, side):
        for left in range(0, photo.width, side):
            tile = photo.crop((left, top, left + side, top + side))
            data = encode(tile, "TIFF", compression=compression)
            tags = Image.open(io.BytesIO(data)).tag_v2
            tiles.append(data[tags[273][0] : tags[273][0] + tags[279][0]])
    for tag in (258, 259, 262, 277, 284, 317, 339, 347):
        if tag in tags:
            directory[tag] = tags[tag]
    directory[256], directory[257] = photo.size
    directory[322] = directory[323] = side
    ends = np.cumsum([8] + [len(tile) for tile in tiles]).tolist()
    directory[324], directory[325] = tuple(ends[:-1]), tuple(len(tile) for tile in tiles)
    head = b"II*\0" + struct.pack("<I", ends[-1])
    return head + b"".join(tiles) + directory.tobytes(ends[-1])


@cache
def pictures() -> dict[str, bytes]:
    """A small picture of each kind of file."""
    noise = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
    photo = Image.fromarray(noise).resize((_WIDTH, _HEIGHT), Image.Resampling.BICUBIC)
    other, grey = photo.transpose(Image.Transpose.FLIP_LEFT_RIGHT), photo.convert("L")
    clear = photo.copy()
    clear.putalpha(grey)
    tags, text = Image.Exif(), PngImagePlugin.PngInfo()
    tags[0x0112], tags[0x010F] = 6, "camera"
    exif = tags.tobytes()
    text.add_text("comment", "text" * 20, zip=True)
    notes = {"exif": exif, "icc_profile": b"profile" * 20, "xmp": b"<x:xmpmeta/>"}
    wide = Image.fromarray(np.asarray(grey).astype(np.uint16) * 257)

    def frames() -> dict[str, object]:  # copies: Pillow leaves one format's settings on an image
        return {"save_all": True, "append_images": [other.copy(), grey.convert("RGB")]}

    found = {
        "JPEG": encode(photo, "JPEG"),
        "JPEG progressive": encode(photo, "JPEG", progressive=True, **notes),
        "JPEG CMYK": encode(photo.convert("CMYK"), "JPEG"),
        "JPEG grey": encode(grey, "JPEG", comment=b"comment"),
        "MPO": encode(photo, "MPO", **frames()),
        "PNG": encode(photo, "PNG"),
        "PNG notes": encode(clear, "PNG", exif=exif, icc_profile=b"profile" * 20, pnginfo=text),
        "PNG 16 bit": encode(wide, "PNG"),
        "PNG palette": encode(photo.quantize(32), "PNG", transparency=0),
        "PNG animated": encode(photo, "PNG", **frames()),
        "WEBP": encode(photo, "WEBP"),
        "WEBP notes": encode(clear, "WEBP", lossless=True, **notes),
        "WEBP animated": encode(photo, "WEBP", **frames()),
        "GIF": encode(photo, "GIF", comment=b"comment"),
        "GIF animated": encode(clear, "GIF", **frames()),
        "BMP": encode(photo, "BMP"),
        "BMP palette": encode(photo.quantize(16), "BMP"),
        "TIFF": encode(photo, "TIFF", exif=exif),
        "TIFF 16 bit": encode(wide, "TIFF"),
        "TIFF float": encode(Image.fromarray(np.asarray(grey, dtype=np.float32)), "TIFF"),
        "TIFF CMYK": encode(photo.convert("CMYK"), "TIFF", compression="packbits"),
        "TIFF fax": encode(photo.convert("1"), "TIFF", compression="group4"),
        "TIFF pages": encode(photo, "TIFF", compression="tiff_lzw", **frames()),
        "AVIF": encode(photo, "AVIF", speed=10),
        "AVIF notes": encode(clear, "AVIF", speed=10, **notes),
        "AVIF animated": encode(photo, "AVIF", speed=10, **frames()),
    }
    for compression in ("tiff_lzw", "tiff_adobe_deflate", "jpeg"):
        found[f"TIFF {compression}"] = encode(photo, "TIFF", compression=compression)
        found[f"TIFF tiles {compression}"] = tiled_tiff(photo, compression)
    return found


# Mutations: a file's bytes → another's.


def _flipped(data: bytearray, rng: random.Random) -> bytes:
    for _ in range(rng.choice((1, 2, 5, 20))):
        data[rng.randrange(len(data))] = rng.randrange(256)
    return bytes(data)


def _truncated(data: bytearray, rng: random.Random) -> bytes:
    return bytes(data[: rng.randrange(len(data))])


def _inserted(data: bytearray, rng: random.Random) -> bytes:
    at = rng.randrange(len(data))
    return bytes(data[:at] + rng.randbytes(rng.randrange(1, 100)) + data[at:])


def _duplicated(data: bytearray, rng: random.Random) -> bytes:
    start, to = rng.randrange(len(data)), rng.randrange(len(data))
    return bytes(data[:to] + data[start : start + rng.randrange(1, 200)] + data[to:])


def _resized(data: bytearray, rng: random.Random) -> bytes:
    """Width or height in the header is another: in every way of writing them that is found."""
    for side in rng.sample((_WIDTH, _HEIGHT), rng.choice((1, 2))):
        ways = [(side + less, form) for less in (0, -1) for form in ("<I", ">I", "<H", ">H")]
        spots = [(data.find(struct.pack(form, old)), form, old - side) for old, form in ways]
        at, form, less = rng.choice(
            [spot for spot in spots if 0 <= spot[0] < 400] or [(0, "<I", 0)]
        )
        largest = 2 ** (8 * struct.calcsize(form)) - 1
        new = max(0, min(rng.choice(_SIDES), largest) + less)
        data[at : at + struct.calcsize(form)] = struct.pack(form, new)
    return bytes(data)


def _spliced(data: bytearray, rng: random.Random) -> bytes:
    other = rng.choice(list(pictures().values()))
    return bytes(data[: rng.randrange(len(data))] + other[rng.randrange(len(other)) :])


def _with_good_checksums(data: bytes) -> bytes:
    """A PNG whose chunks pass, so that what is in them is looked at."""
    at, parts = len(_PNG), [_PNG]
    while at + 8 <= len(data):
        size = int.from_bytes(data[at : at + 4])
        body = data[at + 4 : at + 8 + size]
        parts += [data[at : at + 4], body, struct.pack(">I", zlib.crc32(body))]
        at += 12 + size
    return b"".join(parts)


def mutated(seed: int) -> tuple[str, bytes]:
    """What was done to which picture, and its bytes."""
    rng = random.Random(seed)
    name = rng.choice(list(pictures()))
    mutate = rng.choice((_flipped, _truncated, _inserted, _duplicated, _resized, _spliced))
    data = mutate(bytearray(pictures()[name]), rng)
    if data.startswith(_PNG) and rng.random() < 0.7:
        data = _with_good_checksums(data)
    return f"{name}{mutate.__name__}", data


def survey(first: int, last: int) -> dict[str, object]:
    """Decode mutants `first` to `last`; an exception but ImageError passes through."""
    for data in pictures().values():
        decode(data)
    before, slowest, reasons = _peak_mb(), (0.0, ""), Counter[str]()
    for seed in range(first, last):
        what, data = mutated(seed)
        start = time.process_time()
        try:
            image = decode(data, min_px=None if seed % 2 else 16)
        except ImageError as error:
            reasons[error.reason] += 1
        else:
            reasons["decoded"] += 1
            assert image.mode == "RGB"
            assert image.size == upright_size(data) or not seed % 2, (seed, what)
        slowest = max(slowest, (time.process_time() - start, f"{seed}: {what}"))
    return {"reasons": reasons, "slowest": slowest, "growth_mb": _peak_mb() - before}


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (
        1e6 if sys.platform == "darwin" else 1e3
    )


if __name__ == "__main__":
    print(json.dumps(survey(int(sys.argv[1]), int(sys.argv[2]))))
