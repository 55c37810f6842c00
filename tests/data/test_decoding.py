import io
import logging
import os
import struct
import subprocess
import sys
import tracemalloc
import warnings
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_pictures import RED, WHITE, encode, photo, pixels
from mutated_pictures import pictures
from PIL import Image, ImageFile
from PIL.PngImagePlugin import PngInfo

from vsa.data.decoding import ImageError, decode, upright_size
from vsa.data.images import load_image
from vsa.runtime.errors import InputError


def reason_of(source, **options):
    with pytest.raises(ImageError) as caught:
        decode(source, **options)
    return caught.value.reason


# Formats and colours


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "GIF", "WEBP", "JPEG", "MPO", "AVIF"])
def test_every_format_decodes(kind, tmp_path):
    options = {"lossless": True} if kind == "WEBP" else {}
    file = tmp_path / "photo.upload"  # the contents decide, not the suffix
    file.write_bytes(encode(photo(), kind, **options))
    mean_loss = 12 if kind in {"JPEG", "MPO", "AVIF", "GIF"} else 0
    for source in (file, str(file), file.read_bytes()):
        assert np.abs(pixels(decode(source)) - pixels(photo())).mean() <= mean_loss


def test_other_formats_are_refused():
    assert reason_of(encode(photo(), "PPM")) == "not an image"
    assert reason_of(encode(photo(), "ICO")) == "not an image"


@pytest.mark.parametrize("mode", ["1", "L", "P", "CMYK", "YCbCr"])
def test_opaque_modes_equal_their_rgb(mode):
    image = photo().convert(mode)
    kind = "JPEG" if mode == "YCbCr" else "TIFF"
    mean_loss = 12 if kind == "JPEG" else 0
    expected = pixels(image.convert("RGB"))
    assert np.abs(pixels(decode(encode(image, kind))) - expected).mean() <= mean_loss
    assert np.array_equal(pixels(decode(image)), expected)


def test_cmyk_jpeg_is_not_inverted():
    red = Image.new("CMYK", (16, 16), (0, 255, 255, 0))
    assert np.abs(pixels(decode(encode(red, "JPEG"))) - RED).max() < 10


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA", "RGBa"])
def test_transparency_lies_on_white(mode):
    image = Image.new("RGBA", (2, 1), (0, 0, 0, 255))
    image.putpixel((0, 0), (0, 0, 0, 0))
    if mode == "PA":
        image = Image.new("L", image.size).convert(mode)
        image.putpixel((0, 0), (0, 0))
    assert pixels(decode(image.convert(mode))).tolist() == [[[255] * 3, [0] * 3]]


def test_half_transparency_is_mixed():
    image = Image.new("RGBA", (1, 1), (0, 0, 0, 128))
    assert np.abs(pixels(decode(encode(image))) - 127).max() <= 1


def test_palette_with_a_transparent_colour():
    image = Image.new("P", (2, 1), 0)
    image.putpalette([0, 0, 0, *RED])
    image.putpixel((1, 0), 1)
    assert pixels(decode(encode(image, transparency=0))).tolist() == [[[*WHITE], [*RED]]]


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_16_bit_greys_are_scaled_and_not_clipped(kind):
    ramp = np.linspace(0, 65535, 256).astype(np.uint16)[None]
    decoded = pixels(decode(encode(Image.fromarray(ramp), kind)))
    assert np.abs(decoded[0, :, 0] - np.arange(256)).max() <= 1


@pytest.mark.parametrize("dtype", [np.int32, np.float32])
def test_wider_greys_are_stretched(dtype):
    ramp = np.linspace(-1000, 70000, 256).astype(dtype)[None]
    decoded = pixels(decode(encode(Image.fromarray(ramp), "TIFF")))
    assert np.abs(decoded[0, :, 0] - np.arange(256)).max() <= 1
    assert np.ptp(pixels(decode(encode(Image.fromarray(ramp * 0 + 5), "TIFF")))) == 0


def test_float_image_with_nan_decodes():
    values = np.array([[np.nan, 0, 1, np.inf]], np.float32)
    assert pixels(decode(Image.fromarray(values)))[0, :, 0].tolist() == [0, 0, 255, 0]


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_first_frame_of_an_animation(kind):
    frames = [Image.new("RGB", (8, 8), colour) for colour in (RED, WHITE)]
    data = encode(frames[0], kind, save_all=True, append_images=frames[1:])
    assert np.abs(pixels(decode(data)) - RED).max() <= 3


# Sources


class Unseekable(io.RawIOBase):
    """As the body of an answer from a server."""

    def __init__(self, data):
        self.data = io.BytesIO(data)

    def readable(self):
        return True

    def readinto(self, buffer):
        return self.data.readinto(buffer)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF"])
def test_every_kind_of_source_is_decoded(kind, tmp_path):
    data = encode(photo(), kind)
    file = tmp_path / "photo"
    file.write_bytes(data)
    expected = pixels(decode(data))
    with open(file, "rb") as stream:
        sources = [file, str(file), bytearray(data), memoryview(data), io.BytesIO(data), stream]
        for source in (*sources, Unseekable(data)):
            assert np.array_equal(pixels(decode(source)), expected)
        assert not stream.closed
        assert stream.read() == b""
    assert np.array_equal(load_image(io.BytesIO(data), 16), load_image(data, 16))
    assert upright_size(io.BytesIO(data)) == photo().size


def test_file_object_is_read_from_where_it_stands():
    stream = io.BytesIO(b"header" + encode(photo()))
    stream.seek(6)
    assert decode(stream).size == photo().size
    assert reason_of(stream) == "empty file"


def test_file_object_that_cannot_be_read():
    stream = io.BytesIO(encode(photo()))
    stream.close()
    assert reason_of(stream) == "unreadable"


@pytest.mark.parametrize(
    "source",
    [None, 7, [b"bytes"], np.zeros((4, 4, 3), np.uint8), io.StringIO("text"), object()],
    ids=lambda source: type(source).__name__,
)
def test_other_sources_are_refused_by_name(source):
    for use in (decode, upright_size, lambda source: load_image(source, 8)):
        with pytest.raises(
            InputError, match=rf"{type(source).__name__}.*path.*bytes.*binary.*Pillow"
        ):
            use(source)


# Orientation


def stored_for(upright, orientation):
    """Pixels which, shown as EXIF orientation says, look like `upright` (h, w, 3).

    From the standard's words: where the stored first row and first column lie when shown.
    """
    return {
        1: upright,  # top, left
        2: upright[:, ::-1],  # top, right
        3: upright[::-1, ::-1],  # bottom, right
        4: upright[::-1],  # bottom, left
        5: upright.swapaxes(0, 1),  # left, top
        6: upright[:, ::-1].swapaxes(0, 1),  # right, top
        7: upright[::-1, ::-1].swapaxes(0, 1),  # right, bottom
        8: upright[::-1].swapaxes(0, 1),  # left, bottom
    }[orientation]


TURNABLE = {
    "PNG": {},
    "JPEG": {"quality": 95},
    "MPO": {"quality": 95},
    "WEBP": {"lossless": True},
    "AVIF": {"quality": 95},
    "TIFF": {},
    "TIFF tiff_lzw": {"compression": "tiff_lzw"},
    "TIFF jpeg": {"compression": "jpeg", "quality": 95},
}


@pytest.mark.parametrize("name", TURNABLE)
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied_once(orientation, name, tmp_path):
    upright = np.asarray(photo(64, 32)).copy()
    corners = {(3, 3): RED, (60, 3): WHITE, (3, 28): (0, 0, 255), (60, 28): (0, 0, 0)}
    for (x, y), colour in corners.items():
        upright[y // 16 * 16 :, x // 16 * 16 :][:16, :16] = colour
    stored = Image.fromarray(np.ascontiguousarray(stored_for(upright, orientation)))
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encode(stored, name.split()[0], exif=exif, **TURNABLE[name])
    file = tmp_path / "photo"
    file.write_bytes(data)
    for source in (data, file):
        shown = pixels(decode(source))
        assert shown.shape == upright.shape
        assert np.abs(shown - upright.astype(int)).mean() < 5
        for (x, y), colour in corners.items():
            assert np.abs(shown[y, x] - colour).max() < 30
        assert upright_size(source) == (64, 32)


@pytest.mark.parametrize("kind", ["JPEG", "MPO", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF"])
def test_upright_size_without_exif(kind):
    assert upright_size(encode(photo(), kind)) == photo().size == decode(encode(photo(), kind)).size


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_orientation_in_xmp_is_applied_once(kind):
    xmp = '<x:xmpmeta tiff:Orientation="6"/>'
    options = {"xmp": xmp.encode()}
    if kind == "PNG":
        options = {"pnginfo": PngInfo()}
        options["pnginfo"].add_itxt("XML:com.adobe.xmp", xmp)
    elif kind == "TIFF":
        options = {"tiffinfo": {700: xmp.encode()}}
    data = encode(photo(), kind, **options)
    assert decode(data).size == upright_size(data) == photo().size[::-1]


@pytest.mark.parametrize("kind", ["JPEG", "MPO", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF"])
def test_upright_size_decodes_nothing(kind, monkeypatch):
    data = encode(photo(), kind)

    def must_not_load(self):
        pytest.fail("decoded")  # no Exception, which would be taken for damaged EXIF

    for plugin in (ImageFile.ImageFile, type(Image.open(io.BytesIO(data)))):
        monkeypatch.setattr(plugin, "load", must_not_load)
    assert upright_size(data) == photo().size


def test_upright_size_of_an_opened_image():
    exif = Image.Exif()
    exif[0x0112] = 6
    for kind in ("JPEG", "TIFF", "PNG"):
        with Image.open(io.BytesIO(encode(photo(), kind, exif=exif))) as image:
            assert upright_size(image) == photo().size[::-1]


def test_upright_size_of_no_image(tmp_path):
    for source in (tmp_path / "none.jpg", b"", b"rubbish", png_with_header(50_000, 50_000)):
        with pytest.raises(ImageError) as caught:
            upright_size(source)
        assert caught.value.reason == reason_of(source)


@pytest.mark.parametrize("exif", [b"", b"rubbish", b"Exif\0\0rubbish", b"Exif\0\0MM\0*\0\0\0\xff"])
def test_damaged_exif_does_not_spoil_the_pixels(exif):
    assert decode(encode(photo(), "JPEG", exif=exif)).size == photo().size


# Hostile and broken files


def png_chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_with_header(width, height):
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + png_chunk(b"IDAT", zlib.compress(b"\0" * 100))


@pytest.mark.parametrize("side", [10_001, 50_000, 2**31 - 1])
def test_decompression_bomb_is_refused_by_its_header(side, monkeypatch):
    def must_not_load(self):
        raise AssertionError("decoded")

    monkeypatch.setattr("PIL.PngImagePlugin.PngImageFile.load_prepare", must_not_load)
    assert reason_of(png_with_header(side, side)) == "too large"


def test_own_size_limit_holds_without_pillows(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    assert reason_of(png_with_header(50_000, 50_000)) == "too large"
    assert reason_of(encode(photo(40, 24)), max_pixels=40 * 24 - 1) == "too large"
    assert reason_of(photo(40, 24), max_pixels=40 * 24 - 1) == "too large"
    assert decode(encode(photo(40, 24)), max_pixels=40 * 24).size == (40, 24)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "AVIF"])
def test_truncated_files_never_pass_for_half_a_picture(kind):
    data = encode(photo(64, 64), kind)
    for length in range(0, len(data) * 9 // 10, max(1, len(data) // 60)):
        assert reason_of(data[:length]) in {"empty file", "not an image", "truncated", "damaged"}


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_truncation_shows_at_a_reduced_size_too(kind):
    data = encode(photo(640, 640), kind)
    for share in (0.5, 0.9, 0.99):
        assert reason_of(data[: int(len(data) * share)], min_px=32) in {"truncated", "damaged"}


HEADS = [encode(photo(32, 32), kind) for kind in ("JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP")]
HEADS.append(encode(photo(32, 32).quantize(16), "PNG", transparency=0))


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(HEADS), st.integers(0, 4000), st.binary(max_size=200), st.booleans())
def test_any_bytes_give_an_image_or_an_image_error(data, position, junk, keep_tail):
    position %= len(data) + 1
    tail = data[position + len(junk) :] if keep_tail else b""
    try:
        image = decode(data[:position] + junk + tail)
    except ImageError:
        return
    assert image.mode == "RGB"


def test_paths_that_are_no_image(tmp_path):
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "page.jpg").write_text("<html>not found</html>")
    (tmp_path / "link.jpg").symlink_to(tmp_path / "gone.jpg")
    os.mkfifo(tmp_path / "pipe.jpg")
    assert reason_of(tmp_path / "empty.jpg") == "empty file"
    assert reason_of(b"") == "empty file"
    assert reason_of(tmp_path / "page.jpg") == "not an image"
    assert reason_of(tmp_path / "none.jpg") == "missing"
    assert reason_of(tmp_path / "empty.jpg" / "none.jpg") == "missing"
    assert reason_of(tmp_path / "link.jpg") == "missing"
    assert reason_of(tmp_path / ("long" * 100)) == "missing"
    assert reason_of("null\0.jpg") == "missing"
    assert reason_of(tmp_path) == "a directory"
    assert reason_of(tmp_path / "pipe.jpg") == "not a regular file"


def test_file_without_permission(tmp_path, monkeypatch):
    file = tmp_path / "secret.png"
    photo().save(file)
    file.chmod(0)
    if os.access(file, os.R_OK):  # the superuser reads it all the same

        def forbidden(*_, **__):
            raise PermissionError

        monkeypatch.setattr("PIL.Image.open", forbidden)
    assert reason_of(file) == "unreadable"


def test_error_names_file_reason_and_cure(tmp_path):
    with pytest.raises(InputError, match=r"none\.jpg.*missing.*JPEG"):
        decode(tmp_path / "none.jpg")


def test_no_noise_and_warnings_never_raise(capfd):
    odd = encode(photo(), "JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\xff\xff\0\0")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        decode(odd)
        decode(Image.new("P", (2, 2)))
        with pytest.raises(ImageError):
            decode(encode(photo(64, 64), "TIFF", compression="tiff_lzw")[:-300])
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("always")
        decode(odd)
    assert not shown
    assert capfd.readouterr() == ("", "")


ODD_TIFFS = """
import random
from mutated_pictures import pictures
from vsa.data.decoding import ImageError, decode
rng = random.Random(0)
odd = [name for name in pictures() if name.startswith("TIFF")] * 30
for name in odd:
    data = bytearray(pictures()[name])
    for _ in range(5):
        data[rng.randrange(len(data))] = rng.randrange(256)
    try:
        decode(data)
    except ImageError:
        pass
"""


def test_odd_tiffs_print_nothing():
    command = [sys.executable, "-c", ODD_TIFFS]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")


def test_log_of_pillow_stays_off_standard_error(capfd, monkeypatch):
    monkeypatch.setattr(logging.root, "handlers", [])  # as where nobody has set up logging
    logging.getLogger("PIL.TiffImagePlugin").error("odd file")
    assert capfd.readouterr() == ("", "")


def test_opened_image_is_left_as_it_was(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    with Image.open(io.BytesIO(encode(photo(40, 24), "JPEG", exif=exif))) as image:
        assert decode(image, min_px=8).size == (24, 40)
        assert image.size == (40, 24)
        assert image.getexif()[0x0112] == 6


def test_opened_but_truncated_image_is_refused():
    data = encode(photo(64, 64), "PNG")
    assert reason_of(Image.open(io.BytesIO(data[: len(data) // 2]))) in {"truncated", "damaged"}


def test_tile_that_is_larger_than_any_image_is_refused():
    data = bytearray(pictures()["TIFF tiles tiff_lzw"])
    sides = data.rindex(struct.pack("<HHI", 323, 4, 1)) + 8  # of the tiles, in the table of tags
    data[sides : sides + 4] = struct.pack("<I", 2**24)
    assert reason_of(bytes(data)) == "too large"


def test_large_grey_takes_little_memory():
    data = encode(Image.new("I;16", (4000, 4000), 30_000), "PNG")
    tracemalloc.start()
    assert decode(data).getpixel((0, 0)) == (117, 117, 117)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 * 4000 * 4000


# Sizes


@pytest.mark.parametrize(("min_px", "side"), [(None, 512), (300, 512), (200, 256), (64, 64)])
def test_jpeg_is_decoded_at_a_reduced_size(min_px, side):
    assert decode(encode(photo(512, 512), "JPEG"), min_px=min_px).size == (side, side)


def test_reduced_size_keeps_the_shorter_side():
    assert min(decode(encode(photo(1000, 130), "JPEG"), min_px=100).size) >= 100


@pytest.mark.parametrize("size", [(0, 0), (0, 5), (5, 0)])
def test_a_picture_without_pixels_is_none(size):
    with pytest.raises(ImageError, match="no pixels"):
        decode(Image.new("RGB", size))
