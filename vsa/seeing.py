"""What becomes of a photo before the index is asked: decoded, located, described.

Each step takes one photo or several: those that wait together pass the networks together.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import numpy as np
from PIL import Image

from vsa.answer import Described, Question, Seen
from vsa.data.boxes import require_pixels
from vsa.data.crops import crop_square, with_margin
from vsa.data.decoding import decode
from vsa.data.images import square
from vsa.embedding.describer import Describer, WholeDescriber
from vsa.embedding.extract import FULL_BOX
from vsa.embedding.joint import JointNet
from vsa.runtime.device import Device
from vsa.runtime.inference import one_core


@dataclass(frozen=True)
class Eyes:
    """The networks that find and describe what a photo shows."""

    describer: Describer | WholeDescriber
    network: JointNet | None  # finds boxes; None: nobody does
    image_px: int  # of the network's pictures
    shown_px: int  # of what the category stage is shown
    device: Device

    def see(self, asked: Question) -> Seen:
        """Decode a photo; raises ImageError, and InputError for a box smaller than a pixel."""
        given, photo = asked.given_box, asked.photo
        with asked.clock("decode"):
            needed = self.describer.needed_px(is_given=given is not None)
            decoded = decode(photo, min_px=max(self.shown_px, self.image_px, needed))
            if given is not None:
                require_pixels(given, photo, decoded)
            around = FULL_BOX if given is None else with_margin(given[None])[0]
            return Seen(asked, decoded, crop_square(decoded, around, self.shown_px))

    def describe(self, seen: Sequence[Seen]) -> list[Described]:
        """Box and feature of each photo; at least one."""
        with one_core(), clocks(seen, "box and feature"):
            own = [one.decoded for one in seen if isinstance(one.asked.box, str)]
            likely = iter(self._likely(own) if own else ())
            boxes = [next(likely) if isinstance(box := one.asked.box, str) else box for one in seen]
            views = [
                self.describer.view(
                    one.decoded,
                    box if box is None or box.ndim == 1 else box[0],
                    is_given=one.asked.given_box is not None,
                )
                for one, box in zip(seen, boxes, strict=True)
            ]
            features = self.describer.features(views, self.device)
            shown = [np.atleast_2d(FULL_BOX if box is None else box) for box in boxes]
            return list(map(Described, shown, features))

    def locate(self, photo: Image.Image) -> np.ndarray:
        """The learned box of a decoded photo, float32 (4,); the whole, where nobody locates."""
        if self.network is None or isinstance(self.describer, WholeDescriber):
            return FULL_BOX
        return self._likely([photo])[0][0]

    def _likely(self, photos: Sequence[Image.Image]) -> list[np.ndarray]:
        """Boxes of photos as of `Described`."""
        assert self.network is not None
        assert not isinstance(self.describer, WholeDescriber)
        return self.describer.likely_boxes(
            self.network,
            self.image_px,
            lambda size_px: np.stack([square(photo, size_px) for photo in photos]),
            self.device,
        )


@contextmanager
def clocks(seen: Sequence[Seen], stage: str) -> Iterator[None]:
    """A stage that several photos go through together takes each of them its whole time."""
    with ExitStack() as running:
        for one in seen:
            running.enter_context(one.asked.clock(stage))
        yield
