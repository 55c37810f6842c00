"""Pictures in figures: those of a data set that may not be redistributed leave with no figure.

Plots need not know of it. A figure reaches a notebook's output and the report by one way,
`vsa.study.shown.show`, which asks here; and `vsa.study.figures.style.save_figure` refuses what went
past it. Every image counts as a picture: matrices are drawn as meshes.
"""

from __future__ import annotations

from matplotlib.artist import Artist
from matplotlib.figure import Figure
from matplotlib.image import AxesImage, BboxImage, FigureImage

THUMBNAIL = "thumbnail"  # gid of what a figure can do without: small pictures, and their frames
MAY_NOT = "the pictures of this data set may not be redistributed"


def holds_pictures(figure: Figure) -> bool:
    """Whether any part of a figure is an image, in an axis, on the figure itself or in a box."""
    return bool(figure.findobj(_is_image))


def take_thumbnails(figure: Figure) -> bool:
    """Take away all that is marked as `THUMBNAIL`; returns whether there was any."""
    thumbnails = figure.findobj(lambda artist: artist.get_gid() == THUMBNAIL)
    for artist in thumbnails:
        artist.remove()
    return bool(thumbnails)


def _is_image(artist: Artist) -> bool:
    return isinstance(artist, AxesImage | BboxImage | FigureImage)
