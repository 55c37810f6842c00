"""A picture's file without what it says about itself: text, colour profile, camera, resolution.

Pillow reads these together with the pixels, and refuses both if it cannot make out, or does not
want to hold, the former. Nothing here is decoded, and nothing grows beyond the file.
"""

from __future__ import annotations

import io
import re
import struct
import zlib
from contextlib import suppress

from PIL import ExifTags, Image
from PIL.PngImagePlugin import PngStream

_PNG, _EXIF = b"\x89PNG\r\n\x1a\n", b"Exif\0\0"
# Chunks of transparency, and those that may tell the orientation.
_PNG_NOTES = {b"tRNS", b"eXIf", b"tEXt", b"zTXt", b"iTXt"}
# JFIF and Adobe tell the colour space, if they have this many bytes.
_JPEG_COLOURS = {b"\xe0": 14, b"\xee": 12}
_WEBP_PIXELS = {b"VP8X", b"ALPH", b"VP8 ", b"VP8L", b"ANIM", b"ANMF"}
_WEBP_EXIF, _WEBP_NOTES = 0x08, 0x2C  # flags: EXIF; ICC, EXIF and XMP
_TIFF_PIXELS = {  # tags: size, samples, orientation, where the pixels lie and how they are packed
    *(256, 257, 258, 259, 262, 266, 273, 274, 277, 278, 279, 284, 292, 293, 317, 320),
    *(322, 323, 324, 325, 332, 338, 339, 347, *range(512, 522), 529, 530, 531, 532),
}
# An AVIF's table of contents: an entry's version and number, and then its kind.
_AVIF_NOTE = re.compile(rb"(infe\x02.{7}|infe\x03.{9})(?:Exif|mime)", re.DOTALL)


def is_png(head: bytes) -> bool:
    return head.startswith(_PNG)


def sound_png(data: bytes) -> bytes:
    """A PNG of the same pixels, transparency and orientation, with nothing that Pillow refuses.

    Text and orientation come before the pixels, so that the header tells all; of an animation
    the first picture stays. Raises ValueError if a checksum of pixels, palette or size is wrong.
    """
    reader, at = PngStream(io.BytesIO()), len(_PNG)
    header: list[bytes] = []
    notes: list[bytes] = []
    pixels: list[bytes] = []
    while at < len(data):
        end = at + 12 + int.from_bytes(data[at : at + 4])
        kind, body, checksum = data[at + 4 : at + 8], data[at + 8 : end - 4], data[end - 4 : end]
        if not kind.isalpha() or end > len(data):
            if not kind[:1].islower():  # Pillow finds out whether pixels are missing
                pixels.append(data[at:])
            break
        is_sound = zlib.crc32(body, zlib.crc32(kind)) == int.from_bytes(checksum)
        if kind in _PNG_NOTES:
            if is_sound and _reads(reader, kind, body):
                notes.append(data[at:end])
        elif kind[:1].isupper():
            if not is_sound and kind != b"IEND":
                raise ValueError(f"wrong checksum of {kind!r}")
            if kind == b"IHDR":
                _reads(reader, kind, body)  # what transparency means depends on it
            part = pixels if pixels or kind == b"IDAT" else header
            part.append(data[at:end])
        at = len(data) if kind == b"IEND" else end
    return b"".join([_PNG, *header, *notes, *pixels])


def without_metadata(data: bytes) -> bytes:
    """The file without its metadata but EXIF orientation; as it is if there are none to leave out.

    Damaged files may raise anything.
    """
    if data.startswith(b"\xff\xd8"):
        return _bare_jpeg(data)
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return _bare_webp(data)
    if data[4:8] == b"ftyp":
        return _AVIF_NOTE.sub(rb"\1skip", data)  # an AVIF's orientation is not in its EXIF
    if data[:4] in {b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"}:
        return _bare_tiff(data)
    return data  # GIF and BMP have none that Pillow minds


def _reads(reader: PngStream, kind: bytes, body: bytes) -> bool:
    """Whether Pillow accepts a chunk; it keeps count of the memory that text takes."""
    reader.fp = io.BytesIO(body)
    try:
        reader.call(kind, 0, len(body))
    except Exception:
        return False
    return True


def _bare_jpeg(data: bytes) -> bytes:
    kept, at = [data[:2]], 2
    while data[at : at + 1] == b"\xff" and data[at + 1 : at + 2] != b"\xda":  # up to the scan
        if data[at + 1 : at + 2] == b"\xff":  # fills the space between segments
            at += 1
            continue
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4])
        kept.append(_needed(data[at:end]))
        at = end
    return b"".join(kept) + data[at:]


def _needed(segment: bytes) -> bytes:
    """What decoding needs of a segment of a JPEG."""
    marker, body = segment[1:2], segment[4:]
    if marker == b"\xe1":
        exif = _orientation(body) if body.startswith(_EXIF) else b""
        return b"\xff\xe1" + struct.pack(">H", 2 + len(exif)) + exif if exif else b""
    if marker in _JPEG_COLOURS:
        return segment if len(body) >= _JPEG_COLOURS[marker] else b""
    return b"" if b"\xe0" <= marker <= b"\xef" or marker == b"\xfe" else segment


def _bare_webp(data: bytes) -> bytes:
    kept, exif, at = [], b"", 12
    while at + 8 <= len(data):
        kind, size = struct.unpack_from("<4sI", data, at)
        chunk = data[at : at + 8 + size + size % 2]
        at += 8 + size + size % 2
        if kind == b"EXIF":
            exif = _orientation(chunk[8:])
        elif kind in _WEBP_PIXELS:
            kept.append(chunk)
    if kept and kept[0][:4] == b"VP8X" and len(kept[0]) > 8:
        flags = kept[0][8] & ~_WEBP_NOTES | (_WEBP_EXIF if exif else 0)
        kept[0] = kept[0][:8] + bytes([flags]) + kept[0][9:]
        if exif:
            kept.append(b"EXIF" + struct.pack("<I", len(exif)) + exif)
    body = b"WEBP" + b"".join(kept)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def _bare_tiff(data: bytes) -> bytes:
    """The first picture's directory is written anew, at the end, with what pixels need."""
    order, is_big = "<" if data[:2] == b"II" else ">", data[2:4] in {b"+\0", b"\0+"}
    count, word, entry_bytes, start = ("Q", "Q", 20, 8) if is_big else ("H", "I", 12, 4)
    (at,) = struct.unpack_from(order + word, data, start)
    (n_entries,) = struct.unpack_from(order + count, data, at)
    at += struct.calcsize(order + count)
    end = min(at + n_entries * entry_bytes, len(data) - entry_bytes + 1)
    entries = [data[i : i + entry_bytes] for i in range(at, end, entry_bytes)]
    kept = [entry for entry in entries if struct.unpack(order + "H", entry[:2])[0] in _TIFF_PIXELS]
    directory = struct.pack(order + count, len(kept)) + b"".join(kept)
    if len(kept) == n_entries:
        return data
    head = data[:start] + struct.pack(order + word, len(data))
    return head + data[len(head) :] + directory + struct.pack(order + word, 0)


def _orientation(exif: bytes) -> bytes:
    """EXIF data of nothing but the orientation; empty if there is none, or it is damaged."""
    found, kept = Image.Exif(), Image.Exif()
    with suppress(Exception):
        found.load(exif)
        kept[ExifTags.Base.Orientation] = int(found[ExifTags.Base.Orientation])
        return kept.tobytes()
    return b""
