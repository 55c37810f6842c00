"""Image decoding: the one way by which pixels enter, offline and online.

A shop's uploads are of every kind: rotated phone photos, CMYK scans, animations, half files. Each
becomes an upright RGB image, or an ImageError whose ``reason`` says in a few words why not.
"""

from __future__ import annotations

import ctypes
import io
import logging
import os
import stat
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError
from PIL.TiffImagePlugin import TILELENGTH, TILEWIDTH

from vsa.data import metadata
from vsa.runtime.errors import InputError

VERSION = 1  # raise it when a picture's pixels, or the reason of an ImageError, come out otherwise

# A file's path, its bytes, a file opened as binary (what its `read()` gives), or Pillow's image.
Source = str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO | Image.Image

FORMATS: tuple[str, ...] = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")  # JPEG: MPO too
try:
    import pillow_heif
except ImportError:
    pass
else:
    pillow_heif.register_heif_opener()
    FORMATS += ("HEIF",)
MAX_PIXELS = 100_000_000  # 300 MB decoded: more than most cameras take, less than a bomb
_MAX_BYTES = 8 * MAX_PIXELS  # of a file that is held in memory: 16-bit RGBA, uncompressed
_BAND_PX = 1 << 20  # of a wide grey image that are in doubles at a time
_SIDEWAYS = (5, 6, 7, 8)  # EXIF orientations that exchange width and height

_T = TypeVar("_T")

# Pillow logs what it finds odd in a file; with no handler at all that lands on standard error.
logging.getLogger("PIL").addHandler(logging.NullHandler())
# And libtiff prints there by itself, until it is told not to: once, as Pillow does with warnings.
# Pillow's own library leads to it, unless it is built in, as on Windows.
with suppress(OSError, AttributeError):
    ctypes.CDLL(Image.core.__file__).TIFFSetErrorHandler(None)


_NO_HEIF = "HEIC without pillow-heif"
_CURES = {
    "too large": f"Give one of at most {MAX_PIXELS // 10**6} million pixels",
    _NO_HEIF: "Install it: `pip install pillow-heif`; or give a JPEG",
}


class ImageError(InputError):
    """An image that cannot be used. ``reason`` is short and stable, to be counted and compared.

    It is one of: missing, a directory, not a regular file, unreadable, empty file, not an image,
    too large, truncated, damaged, HEIC without pillow-heif.
    """

    def __init__(self, reason: str, *, file: str | Path | None = None) -> None:
        super().__init__(
            f"the image cannot be used: {reason}",
            cure=_CURES.get(reason, f"Give a complete image, as {', '.join(FORMATS)}"),
            file=file,
        )
        self.reason = reason


def decode(
    source: Source, *, max_pixels: int = MAX_PIXELS, min_px: int | None = None
) -> Image.Image:
    """Decode a file, its bytes, or an image opened by Pillow to an upright RGB image.

    EXIF orientation is applied, transparency lies on white, 16-bit and wider greys are scaled,
    and of an animation the first frame is taken. With `min_px` a JPEG may come out at a half, a
    quarter or an eighth of its size, its shorter side still at least `min_px`: later stages
    resize anyway. An image of more than `max_pixels` is refused by its header, undecoded. Text,
    colour profile and other metadata never spoil a picture, however large or damaged they are.
    A binary file object is read from where it stands to its end, and is left open.

    Raises ImageError, and nothing else, for whatever is wrong with an image; InputError for a
    `source` that is none of these.
    """

    def load(image: Image.Image) -> Image.Image:
        if min_px is not None:
            image.draft(None, (min_px, min_px))
        image.load()
        return _upright_rgb(image)

    with _quiet():
        if not isinstance(source, Image.Image):
            return _read(source, max_pixels, load)
        with _refused():
            _check_size(source, max_pixels)
            return _upright_rgb(source.copy())


def upright_size(source: Source) -> tuple[int, int]:
    """Width and height of ``decode(source)``, for files from the header: no pixel is decoded.

    Raises ImageError where the header says that there is no such image.
    """
    if isinstance(source, Image.Image):
        return decode(source).size
    with _quiet():
        return _read(source, MAX_PIXELS, _upright_size)


_quiet_lock = threading.Lock()
_n_quiet = 0  # threads that are in `_quiet`
_filters = warnings.catch_warnings()  # what the first of them found


@contextmanager
def _quiet() -> Iterator[None]:
    """Warnings about odd files are neither shown nor raised.

    The filter is the process's, and threads may overlap: the first sets it, the last restores it.
    """
    global _n_quiet, _filters
    with _quiet_lock:
        if not _n_quiet:
            _filters = warnings.catch_warnings()
            _filters.__enter__()
            warnings.simplefilter("ignore")
        _n_quiet += 1
    try:
        yield
    finally:
        with _quiet_lock:
            _n_quiet -= 1
            if not _n_quiet:
                _filters.__exit__(None, None, None)


def _read(source: Source, max_pixels: int, use: Callable[[Image.Image], _T]) -> _T:
    """``use`` of the opened image; if that fails, of what its file is without metadata."""
    with _refused(source), _open(source) as file:
        head = file.read(12)
        if metadata.is_png(head):
            return _use(io.BytesIO(metadata.sound_png(_contents(file))), max_pixels, use)
        try:
            return _use(file, max_pixels, use)
        except ImageError:
            raise
        except Exception:
            if _is_heif(head):
                raise ImageError(_NO_HEIF) from None
            with suppress(Exception):
                data = _contents(file)
                bare = metadata.without_metadata(data)
                if bare != data:
                    return _use(io.BytesIO(bare), max_pixels, use)
            raise  # what was wrong at first


def _use(file: BinaryIO, max_pixels: int, use: Callable[[Image.Image], _T]) -> _T:
    with Image.open(file, formats=FORMATS) as image:
        _check_size(image, max_pixels)
        return use(image)


def _is_heif(head: bytes) -> bool:
    brands = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
    return "HEIF" not in FORMATS and head[4:8] == b"ftyp" and head[8:12] in brands


@contextmanager
def _refused(source: Source | None = None) -> Iterator[None]:
    """Whatever goes wrong is an ImageError that names the file."""
    file = os.fspath(source) if isinstance(source, str | os.PathLike) else None
    try:
        yield
    except ImageError as error:
        raise ImageError(error.reason, file=file) from None
    except InputError:
        raise
    except Exception as error:  # parsers of hostile bytes raise anything: struct, zlib, index ...
        raise ImageError(_reason(error), file=file) from error


def _open(source: Source) -> BinaryIO:
    if isinstance(source, str | os.PathLike):
        return _open_path(source)
    data = source if isinstance(source, bytes | bytearray | memoryview) else _all_of(source)
    if not data:
        raise ImageError("empty file")
    return io.BytesIO(data)


def _open_path(path: str | os.PathLike[str]) -> BinaryIO:
    try:
        status = os.stat(path)
    except PermissionError:
        raise
    except (OSError, ValueError):  # also a name that is too long, or holds a null character
        raise ImageError("missing") from None
    if stat.S_ISDIR(status.st_mode):
        raise ImageError("a directory")
    if not stat.S_ISREG(status.st_mode):
        raise ImageError("not a regular file")
    if status.st_size == 0:
        raise ImageError("empty file")
    return open(path, "rb")


def _all_of(source: Any) -> bytes:
    """What is left to read of a binary file object."""
    data = None
    if hasattr(source, "read") and not isinstance(source, io.TextIOBase):
        try:
            data = source.read()
        except Exception as error:  # closed, say
            raise ImageError("unreadable") from error
    if not isinstance(data, bytes):
        raise InputError(
            f"an image cannot be read from {type(source).__name__!r}",
            cure="Give a path, the bytes of a file, a file opened as binary, or a Pillow image",
        )
    return data


def _contents(file: BinaryIO) -> bytes:
    if file.seek(0, os.SEEK_END) > _MAX_BYTES:
        raise ImageError("too large")
    file.seek(0)
    return file.read()


def _reason(error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):
        return "not an image"
    if isinstance(error, Image.DecompressionBombError):
        return "too large"
    if isinstance(error, PermissionError):
        return "unreadable"
    return "truncated" if "truncated" in str(error).lower() else "damaged"


def _check_size(image: Image.Image, max_pixels: int) -> None:
    if not image.width * image.height:
        raise ImageError("no pixels")
    # Not left to Pillow's own limit, which is global, and which anyone may have switched off.
    if image.width * image.height > max_pixels:
        raise ImageError("too large")
    # libtiff holds a whole tile, which can be larger than the image.
    tags = getattr(image, "tag_v2", {})
    if tags.get(TILEWIDTH, 1) * tags.get(TILELENGTH, 1) > MAX_PIXELS:
        raise ImageError("too large")


def _upright_size(image: Image.Image) -> tuple[int, int]:
    tag, orientation = ExifTags.Base.Orientation, None
    if tag not in getattr(image, "tag_v2", ()):  # Pillow turns a TIFF by its tag, and says so
        with suppress(Exception):  # damaged EXIF does not spoil the size
            # Not its own `getexif`: that of PNG decodes the pixels in search of one.
            orientation = Image.Image.getexif(image).get(tag)
    return image.size[::-1] if orientation in _SIDEWAYS else image.size


def _upright_rgb(image: Image.Image) -> Image.Image:
    with suppress(Exception):  # damaged EXIF does not spoil the pixels
        ImageOps.exif_transpose(image, in_place=True)
    if image.mode == "F" or image.mode.startswith("I"):
        return _from_wide_grey(image)
    if image.has_transparency_data:
        image = image if image.mode == "RGBA" else image.convert("RGBA")
        white = Image.new("RGB", image.size, "white")
        white.paste(image, mask=image)
        return white
    return image.convert("RGB")


def _from_wide_grey(image: Image.Image) -> Image.Image:
    """8-bit greys of wider ones, which Pillow would clip.

    16 bits are scaled by their full range. 32-bit integers and floats have no agreed white, so
    they are stretched from their least to their greatest value.
    """
    values = np.asarray(image).reshape(-1)
    if image.mode == "F":
        values = np.nan_to_num(values, posinf=0, neginf=0)
    is_16_bit = image.mode.startswith("I;16")
    low, high = (0.0, 65535.0) if is_16_bit else (float(values.min()), float(values.max()))
    grey = np.empty(values.shape, np.uint8)
    for at in range(0, len(values), _BAND_PX):
        band = values[at : at + _BAND_PX].astype(np.float64)
        grey[at : at + _BAND_PX] = np.rint((band - low) * (255 / ((high - low) or 1)))
    return Image.fromarray(grey.reshape(image.height, image.width)).convert("RGB")
