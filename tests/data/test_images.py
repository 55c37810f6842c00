import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from made_pictures import RED, WHITE, encode, folder_of_pictures, photo, pixels
from PIL import Image, ImageOps

from vsa.data import decoding
from vsa.data import images as images_module
from vsa.data.decoding import ImageError, decode
from vsa.data.images import load_image, load_images

# One image


def test_reduced_size_hardly_changes_the_picture():
    data = encode(photo(512, 384), "JPEG", quality=95)
    full = decode(data).resize((64, 64), Image.Resampling.BICUBIC)
    assert np.abs(load_image(data, 64).astype(int) - pixels(full)).max() <= 4


def test_square_holds_the_whole_picture():
    wide = Image.new("RGB", (100, 10), RED)
    wide.paste(WHITE, (50, 0, 100, 10))
    square = load_image(wide, 20)
    assert square.shape == (20, 20, 3)
    assert square.dtype == np.uint8
    assert (square[:, :8] == RED).all()
    assert (square[:, 12:] == WHITE).all()
    square[0] = 0  # a caller may write into it


@settings(max_examples=30, deadline=None)
@given(
    hnp.arrays(np.uint8, st.tuples(st.integers(1, 40), st.integers(1, 40), st.just(3))),
    st.integers(1, 48),
)
def test_any_shape_fits_the_square(array, size_px):
    square = load_image(Image.fromarray(array), size_px)
    assert square.shape == (size_px, size_px, 3)
    assert np.array_equal(square, load_image(encode(Image.fromarray(array)), size_px))


# Many images


@pytest.fixture
def shop(tmp_path):
    return folder_of_pictures(tmp_path / "shop")


def test_parallel_load_equals_one_by_one(shop):
    root, names = shop
    many = load_images(root, names, 16)
    assert many.dtype == np.uint8
    assert np.array_equal(many, np.stack([load_image(root / name, 16) for name in names]))


def test_cached_load_is_the_same_and_read_only(shop, tmp_path, monkeypatch):
    root, names = shop
    cache = tmp_path / "cache"
    first = load_images(root, names, 16, cache)
    monkeypatch.setattr(images_module, "_fill", None)  # nothing may be decoded again
    second = load_images(root, names, 16, cache)
    monkeypatch.undo()
    assert isinstance(second, np.memmap)
    assert not second.flags.writeable
    assert np.array_equal(first, load_images(root, names, 16))
    assert np.array_equal(first, second)
    assert [file.suffix for file in cache.iterdir()] == [".npy"]


@pytest.mark.parametrize("change", ["contents", "order", "size_px", "root"])
def test_cache_notices_every_change(shop, tmp_path, change):
    root, names = shop
    cache, size_px = tmp_path / "cache", 16
    load_images(root, names, size_px, cache)
    if change == "contents":
        photo(seed=99).save(root / names[0], "JPEG")
    elif change == "order":
        names = names[::-1]
    elif change == "size_px":
        size_px = 17
    else:
        root = root.rename(tmp_path / "moved")
    again = load_images(root, names, size_px, cache)
    assert np.array_equal(again, load_images(root, names, size_px))
    assert len(list(cache.iterdir())) == 2


@pytest.mark.parametrize("module", [images_module, decoding])
def test_cache_notices_another_version(shop, tmp_path, module, monkeypatch):
    root, names = shop
    load_images(root, names[:2], 16, tmp_path / "cache")
    monkeypatch.setattr(module, "VERSION", 0)
    load_images(root, names[:2], 16, tmp_path / "cache")
    assert len(list((tmp_path / "cache").iterdir())) == 2


def test_cache_notices_a_change_that_keeps_the_size(tmp_path):
    file, cache = tmp_path / "photo.bmp", tmp_path / "cache"
    for second, colour in enumerate((RED, WHITE)):
        Image.new("RGB", (8, 8), colour).save(file)
        os.utime(file, (second, second))
        assert (load_images(tmp_path, ["photo.bmp"], 4, cache) == colour).all()


def test_unreadable_image_is_named_and_leaves_no_cache(shop, tmp_path):
    root, names = shop
    (root / names[7]).write_bytes(b"broken")
    with pytest.raises(ImageError, match=names[7]):
        load_images(root, names, 16, tmp_path / "cache")
    assert not list((tmp_path / "cache").iterdir())


@pytest.mark.parametrize("cached", [False, True])
def test_no_images(tmp_path, cached):
    cache = tmp_path / "cache" if cached else None
    assert load_images(tmp_path, [], 8, cache).shape == (0, 8, 8, 3)


def test_real_photos_decode(monkeypatch):
    folder = os.environ.get("VSA_DATA_DIR", "")
    files = sorted(Path(folder).rglob("*.jpg"))[:20] if folder else []
    if not files:
        pytest.skip("no photographs in VSA_DATA_DIR")
    stack = load_images(Path(), [str(file) for file in files], 64)
    for file, square in zip(files, stack, strict=True):
        with Image.open(file) as image:
            full = ImageOps.exif_transpose(image).convert("RGB").resize((64, 64))
        assert np.abs(square.astype(int) - pixels(full)).mean() < 6
