"""Many images in one figure."""

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image

from vsa.study.figures.grids import DrawnBox, image_grid, image_rows
from vsa.study.figures.style import PALETTE


def pixels(height, width):
    return np.zeros((height, width, 3), np.uint8)


def places(figure):
    """Left, right, bottom and top of each image, in inches."""
    return [image.get_extent() for image in figure.axes[0].images]


def words(figure):
    return {text.get_text(): text.get_position() for text in figure.axes[0].texts}


def outlines(figure):
    return [(p.get_edgecolor(), p.get_bbox().extents) for p in figure.axes[0].patches]


def test_image_grid_places_images_titles_and_frames():
    images = [Image.fromarray(pixels(8, 8)), *[pixels(8, 8)] * 4]
    figure = image_grid(images, list("abcde"), 3, ["red", None, None, None, None], heading="Look")
    assert len(places(figure)) == 5
    lefts, tops = (np.round([place[i] for place in places(figure)], 3) for i in (0, 3))
    assert lefts.tolist() == [lefts[0], lefts[1], lefts[2], lefts[0], lefts[1]]
    assert tops[0] == tops[2] < tops[3] == tops[4]
    texts = words(figure)
    assert {*"abcde", "Look"} <= set(texts)
    for letter, left, top in zip("abcde", lefts, tops, strict=True):
        x, y = texts[letter]
        assert left < x < left + 1.5
        assert top - 0.1 < y <= top  # just above its image
    ((colour, frame),) = outlines(figure)
    assert colour == (1, 0, 0, 1)
    left, right, bottom, top = places(figure)[0]
    np.testing.assert_allclose(frame, [left, top, right, bottom])
    with pytest.raises(ValueError, match="at least one"):
        image_grid([])


def test_images_keep_their_shape_and_boxes_lie_upon_them():
    boxes = [[DrawnBox(np.array([0, 0.5, 0.5, 1]))], []]
    figure = image_grid([pixels(20, 40), pixels(40, 20)], n_columns=2, boxes=boxes)
    (left, right, bottom, top), (left_2, right_2, bottom_2, top_2) = places(figure)
    assert right - left == pytest.approx(2 * (bottom - top))
    assert 2 * (right_2 - left_2) == pytest.approx(bottom_2 - top_2)
    middle_x, middle_y = (left + right) / 2, (top + bottom) / 2
    for _, extents in outlines(figure):  # the box, and white around it
        np.testing.assert_allclose(extents, [left, middle_y, middle_x, bottom])
    assert len(outlines(figure)) == 2


def test_image_rows_leave_places_empty_and_frame_what_is_asked():
    rows = [("first", [pixels(8, 8)] * 3), ("a longer\nsecond", [pixels(8, 8), None, pixels(8, 8)])]
    figure = image_rows(rows, {0: "query", 1: "results"}, framed={(1, 2)}, heading="Look")
    found = places(figure)
    assert len(found) == 5
    assert found[3][:2] == found[0][:2]
    assert found[4][:2] == found[2][:2]
    assert {"first", "a longer\nsecond", "query", "results", "Look"} == set(words(figure))
    ((colour, frame),) = outlines(figure)
    assert colour == pytest.approx([int(PALETTE[0][i : i + 2], 16) / 255 for i in (1, 3, 5)] + [1])
    left, right, bottom, top = found[4]
    np.testing.assert_allclose(frame, [left, top, right, bottom])
    renderer = FigureCanvasAgg(figure).get_renderer()
    for text in figure.axes[0].texts:  # nothing is cut off, and no label lies on an image
        extent = text.get_window_extent(renderer).transformed(figure.dpi_scale_trans.inverted())
        assert extent.x0 >= 0
        assert extent.x1 <= figure.get_figwidth()
        if text.get_ha() == "right":
            assert extent.x1 <= found[0][0]


def test_east_asian_letters_take_two_places():
    narrow = image_rows([("ab" * 5, [pixels(8, 8)])], {})
    wide = image_rows([("包鞋" * 5, [pixels(8, 8)])], {})
    assert wide.get_figwidth() - narrow.get_figwidth() == pytest.approx(10 * 0.083)
    figure = image_grid([pixels(8, 8)], ["包" * 20], cell_inches=1.5)  # 18 places
    (title,) = [text.get_text() for text in figure.axes[0].texts if text.get_text()]
    assert title.splitlines() == ["包" * 9, "包" * 9, "包" * 2]
