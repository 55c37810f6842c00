"""What a file says about itself never spoils its picture."""

import io
import struct
import tracemalloc
import zlib

import numpy as np
import pytest
from mutated_pictures import encode
from PIL import ExifTags, Image, PngImagePlugin, TiffImagePlugin

from vsa.data.decoding import ImageError, decode, upright_size

RUBBISH = b"\xff\0rubbish" * 4
_exif = Image.Exif()
_exif[ExifTags.Base.Orientation] = 6
_exif[ExifTags.Base.Make] = "camera" * 10  # so that the data lie outside of the table
SIDEWAYS = _exif.tobytes()


@pytest.fixture(scope="module")
def photo():
    noise = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
    return Image.fromarray(noise).resize((40, 24), Image.Resampling.BICUBIC)


def same(data, expected):
    assert np.array_equal(np.asarray(decode(data)), np.asarray(expected))
    assert upright_size(data) == expected.size


# PNG


def chunk(kind, body, good=True):
    checksum = zlib.crc32(kind + body) ^ (not good)
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", checksum)


def with_chunks(png, before, *chunks):
    at = png.index(before) - 4
    return png[:at] + b"".join(chunks) + png[at:]


LARGE = zlib.compress(bytes(2_000_000))
SPOILT = {
    "too large zTXt": chunk(b"zTXt", b"comment\0\0" + LARGE),
    "too large iTXt": chunk(b"iTXt", b"comment\0\1\0\0\0" + LARGE),
    "too large iCCP": chunk(b"iCCP", b"profile\0\0" + LARGE),
    "iCCP of no known packing": chunk(b"iCCP", b"profile\0\7" + RUBBISH),
    "animation without frames": chunk(b"acTL", bytes(8)) + chunk(b"fcTL", bytes(26)),
    **{
        f"wrong checksum of {kind.decode()}": chunk(kind, bytes(9), good=False)
        for kind in (
            b"tEXt",
            b"zTXt",
            b"iTXt",
            b"iCCP",
            b"eXIf",
            b"tIME",
            b"pHYs",
            b"prVt",
            b"tRNS",
        )
    },
    **{
        f"{len(body)} bytes of {kind.decode()}": chunk(kind, body)
        for kind in (
            b"zTXt",
            b"iTXt",
            b"iCCP",
            b"eXIf",
            b"pHYs",
            b"gAMA",
            b"cHRM",
            b"tRNS",
            b"fdAT",
        )
        for body in (b"", b"\0", RUBBISH)
        if (kind, body) != (b"tRNS", RUBBISH)  # longer than needed is no damage
    },
}


@pytest.mark.parametrize("before", [b"IDAT", b"IEND"])
@pytest.mark.parametrize("spoilt", SPOILT.values(), ids=SPOILT)
def test_chunks_beside_the_pixels_do_not_spoil_them(photo, spoilt, before):
    same(with_chunks(encode(photo, "PNG"), before, spoilt), photo)


@pytest.mark.parametrize("n_chunks", [1, 70])
def test_more_text_than_pillow_holds_does_not_spoil_the_pixels(photo, n_chunks):
    text = chunk(b"tEXt", b"comment\0" + bytes(70_000_000 // n_chunks))
    same(with_chunks(encode(photo, "PNG"), b"IDAT", *[text] * n_chunks), photo)


def test_chunk_after_the_pixels_may_be_cut_off(photo):
    data = with_chunks(encode(photo, "PNG"), b"IEND", chunk(b"tEXt", b"comment\0" + bytes(100)))
    same(data[:-60], photo)


@pytest.mark.parametrize("kind", [b"IHDR", b"PLTE", b"IDAT"])
def test_wrong_checksum_of_what_makes_the_picture_is_damage(photo, kind):
    data = bytearray(encode(photo.quantize(8), "PNG"))
    at = data.index(kind)
    data[at + 4 + int.from_bytes(data[at - 4 : at])] ^= 1
    for use in (decode, upright_size):
        with pytest.raises(ImageError) as caught:
            use(bytes(data))
        assert caught.value.reason == "damaged"


@pytest.mark.parametrize("spoilt", ["too large iCCP", "wrong checksum of tEXt"])
def test_transparency_counts_beside_spoilt_chunks(spoilt):
    image = Image.new("P", (2, 1), 0)
    image.putpalette([0, 0, 0, 255, 0, 0])
    image.putpixel((1, 0), 1)
    data = with_chunks(encode(image, "PNG", transparency=0), b"IDAT", SPOILT[spoilt])
    assert np.asarray(decode(data)).tolist() == [[[255, 255, 255], [255, 0, 0]]]


@pytest.mark.parametrize("before", [b"IDAT", b"IEND"])
@pytest.mark.parametrize("spoilt", ["too large zTXt", "wrong checksum of tEXt"])
def test_orientation_counts_beside_spoilt_chunks(photo, spoilt, before):
    turned = chunk(b"eXIf", SIDEWAYS[6:])
    data = with_chunks(encode(photo, "PNG"), before, SPOILT[spoilt], turned)
    same(data, photo.transpose(Image.Transpose.ROTATE_270))


def test_orientation_in_text_counts(photo):
    upright, hexadecimal = photo.transpose(Image.Transpose.ROTATE_270), SIDEWAYS.hex()
    texts = {
        "Raw profile type exif": f"\nexif\n{len(hexadecimal) // 2}\n{hexadecimal}\n",
        "XML:com.adobe.xmp": '<x tiff:Orientation="6"/>',
    }
    for key, value in texts.items():
        text = PngImagePlugin.PngInfo()
        text.add_itxt(key, value)
        same(encode(photo, "PNG", pnginfo=text), upright)


def test_text_that_unpacks_to_much_takes_little_memory(photo):
    bomb = zlib.compress(bytes(100_000_000))
    comment = chunk(b"zTXt", b"comment\0\0" + bomb)
    profile = chunk(b"iCCP", b"profile\0\0" + bomb)
    data = with_chunks(encode(photo, "PNG"), b"IDAT", comment, profile)
    tracemalloc.start()
    decode(data)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10_000_000


# JPEG


def segment(number, body):
    return struct.pack(">BBH", 0xFF, number, 2 + len(body)) + body


SEGMENTS = {
    "short JFIF": segment(0xE0, b"JFIF\0"),
    "short Adobe": segment(0xEE, b"Adobe"),
    "short profile": segment(0xE2, b"ICC_PROFILE\0"),
    "short Photoshop": segment(0xED, b"Photoshop 3.0\x008BIM\4\4"),
    "pictures that are not there": segment(0xE2, b"MPF\0" + RUBBISH),
    "damaged EXIF": segment(0xE1, b"Exif\0\0II*\0\x08\0\0\0" + RUBBISH),
    "damaged XMP": segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + RUBBISH),
}


@pytest.mark.parametrize("spoilt", SEGMENTS.values(), ids=SEGMENTS)
@pytest.mark.parametrize("is_turned", [False, True])
def test_segments_beside_the_pixels_do_not_spoil_them(photo, spoilt, is_turned):
    data = encode(photo, "JPEG", exif=SIDEWAYS if is_turned else b"")
    same(data[:-2] + spoilt + data[-2:], decode(data))
    at = data.index(b"\xff\xdb")  # after the EXIF
    same(data[:at] + spoilt + data[at:], decode(data))


def test_colours_of_a_cmyk_jpeg_stay_beside_a_spoilt_segment(photo):
    data = encode(photo.convert("CMYK"), "JPEG")
    same(data[:2] + SEGMENTS["short profile"] + data[2:], decode(data))


# EXIF, profile and XMP, wherever they are


def every_change(data, start, end):
    for at in range(start, end):
        for value in (0, 1, 2, 7, 64, 255):
            changed = bytearray(data)
            changed[at] = value
            yield bytes(changed)


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "AVIF", "TIFF", "PNG"])
def test_damaged_exif_never_spoils_the_picture(photo, kind):
    data = encode(photo, kind, exif=SIDEWAYS)
    end = data.index(b"camera" * 10)
    start = max(data.rfind(mark, 0, end) for mark in (b"MM\0*", b"II*\0"))
    start, end = (end + 60, len(data)) if kind == "TIFF" else (start, end)
    if kind == "PNG":
        at = data.index(b"eXIf")
    for changed in every_change(data, start, min(end, start + 60)):
        if kind == "PNG":
            size = int.from_bytes(data[at - 4 : at])
            fresh = chunk(b"eXIf", changed[at + 4 : at + 4 + size])
            changed = changed[: at - 4] + fresh + changed[at + 8 + size :]
        image = decode(changed)
        assert image.size in {photo.size, photo.size[::-1]}
        assert image.size == upright_size(changed)


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "AVIF"])
@pytest.mark.parametrize("note", ["icc_profile", "xmp"])
def test_damaged_profile_and_xmp_never_spoil_the_picture(photo, kind, note):
    data = encode(photo, kind, **{note: b"profile" * 9})
    start = data.index(b"profile" * 9)
    for changed in every_change(data, start, start + 30):
        same(changed, decode(data))


def test_notes_after_the_pixels_of_a_webp_may_be_cut_off(photo):
    data = encode(photo, "WEBP", lossless=True, exif=SIDEWAYS, xmp=b"<x:xmpmeta>" * 9)
    same(data[:-50], photo.transpose(Image.Transpose.ROTATE_270))


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw"])
@pytest.mark.parametrize(
    ("tag", "kind", "value"),
    [
        (700, 2, '<x tiff:Orientation="6"/>'),  # XMP as text
        (34665, 4, 99_999_999),  # EXIF beyond the end
        (34665, 4, 8),  # EXIF that is this very table
        (34853, 4, 99_999_999),
        (34675, 1, RUBBISH),
        (34377, 1, RUBBISH),
        (282, 2, "wide"),
        (306, 1, RUBBISH),
    ],
)
def test_tags_beside_the_pixels_of_a_tiff_do_not_spoil_them(photo, compression, tag, kind, value):
    data = encode(photo, "TIFF", compression=compression)
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    old = Image.open(io.BytesIO(data)).tag_v2
    for number, form in [*old.tagtype.items(), (tag, kind)]:
        tags.tagtype[number] = form
        tags[number] = value if number == tag else old[number]
    tags[273] = 0  # from the end of the table
    pixels = data[old[273][0] : old[273][0] + old[279][0]]
    same(data[:4] + struct.pack("<I", 8) + tags.tobytes(8) + pixels, photo)
