"""The search page: an engine behind widgets, for Voilà (`make app`) and for JupyterLab.

`open_page("my.engine")` as the last line of a notebook's cell shows it. Everything is reached by
keyboard, pictures have alternative texts, messages are announced to screen readers, and the grid
folds to the width of a phone.
"""

from __future__ import annotations

import html
import logging
from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from vsa.cards import (
    STYLE,
    described_by,
    grid,
    photo_with,
    table_of_categories,
    table_of_times,
)
from vsa.data.decoding import ImageError, Source
from vsa.engine import Answer, Stages, VisualSearch
from vsa.runtime.errors import InputError
from vsa.runtime.extras import missing_explained

with missing_explained():
    import ipywidgets as widgets

_LOG = logging.getLogger(__name__)
_N_RESULTS = 20
_N_SAMPLES = 30
_UPLOAD_MB = 8  # a message of more than 10 MiB to Jupyter ends the connection, without a word
_SENT_PIXELS = 4_000_000  # of a photo made smaller: far below that limit, far above the networks'
_REFUSED = "vsa/too-large"  # the type of the empty file that stands for one that was not sent
_SWITCHES = {
    "category": "search likely categories only",
    "box": "describe the box, not the photo",
    "refine": "refine by features",
    "rerank": "re-rank by quality",
}
_EVERYBODY = "all shoppers"
_HINT = f"Photos of more than {_UPLOAD_MB} MB are made smaller before they are sent."
_TOO_LARGE = (
    f"has more than {_UPLOAD_MB} MB, and the browser cannot make a smaller photo of it. "
    "Give a smaller file, or a JPEG."
)
# Larger files are made smaller, or replaced by an empty one of a type that says so, before the
# widget sees them. Its input is not in the document: it is met when the button opens it.
_SCRIPT = """(maxBytes, sentPixels, refusedType) => {
  if (window.vsaUpload) return;
  window.vsaUpload = true;
  let turn = 0;

  async function smaller(file) {
    const picture = await createImageBitmap(file);
    const scale = Math.min(1, Math.sqrt(sentPixels / (picture.width * picture.height)));
    const canvas = document.createElement("canvas");
    canvas.width = Math.ceil(scale * picture.width);
    canvas.height = Math.ceil(scale * picture.height);
    const paper = canvas.getContext("2d");
    paper.imageSmoothingQuality = "high";
    paper.fillStyle = "white";
    paper.fillRect(0, 0, canvas.width, canvas.height);
    paper.drawImage(picture, 0, 0, canvas.width, canvas.height);
    const jpeg = await new Promise((done) => canvas.toBlob(done, "image/jpeg", 0.9));
    return new File([jpeg], file.name, {type: jpeg.type});
  }

  async function chosen(event) {
    const mine = ++turn;
    const [file] = this.files;
    if (!file || file.size <= maxBytes) return;
    event.stopImmediatePropagation();
    const refused = new File([], file.name, {type: refusedType});
    const sent = new DataTransfer();
    sent.items.add(await smaller(file).catch(() => refused));
    if (mine !== turn) return;  // another was chosen meanwhile
    this.files = sent.files;
    this.dispatchEvent(new Event("change"));
  }

  document.addEventListener("click", (event) => {
    if (!event.target.closest(".vsa-upload")) return;
    const click = HTMLInputElement.prototype.click;
    HTMLInputElement.prototype.click = function () {
      HTMLInputElement.prototype.click = click;
      this.addEventListener("change", chosen, true);
      this.click();
    };
  }, true);
}"""


class SearchPage:
    """A photo, what each stage makes of it, and switches; `widget` is what to show."""

    def __init__(self, engine: VisualSearch, samples: Sequence[Path], note: str = "") -> None:
        """A page over an open engine.

        `samples` are photos to begin with, at least one; `note` is shown below the title.
        """
        self.engine = engine
        self._photo: Source = samples[0]
        self._is_setting = False  # the page, not a person, moves the widgets
        self.samples = widgets.Dropdown(
            options=[(f"sample {n}: {path.name}", path) for n, path in enumerate(samples, 1)],
            description="Photo",
        )
        self.upload = widgets.FileUpload(accept="image/*", description="Upload a photo")
        self.upload.add_class("vsa-upload")
        self.horizontal, self.vertical = _slider("Box, across"), _slider("Box, down")
        self.reset = widgets.Button(description="Find the box again", icon="undo")
        self.objects = widgets.Box()
        self.objects.add_class("vsa-objects")
        self.switches = {
            name: widgets.Checkbox(value=True, description=text, indent=False)
            for name, text in _SWITCHES.items()
        }
        segments = engine.ranker.segments.names if engine.ranker else ()
        self.segment = widgets.Dropdown(options=[_EVERYBODY, *segments], description="Shopper")
        self.segment.disabled = not segments
        self.message, self.photo, self.facts, self.results = (widgets.HTML() for _ in range(4))
        if engine.ranker is None:
            self.switches["rerank"].value = False
            self.switches["rerank"].disabled = True
        self.widget = self._layout(note)
        self.samples.observe(self._sample_chosen, "value")
        self.upload.observe(self._uploaded, "value")
        for slider in (self.horizontal, self.vertical):
            slider.observe(self._box_moved, "value")
        self.reset.on_click(lambda _: self.search(self._photo))
        for control in (*self.switches.values(), self.segment):
            control.observe(self._switched, "value")
        self._own_box = False
        self.search(self._photo)

    def search(
        self, photo: Source, box: Sequence[float] | None = None, name: str = "This photo"
    ) -> None:
        """Ask the engine about a photo, with a box of one's own or the learned one.

        Whatever goes wrong is said on the page, of the photo by `name`; nothing is raised.
        """
        segment = None if self.segment.value == _EVERYBODY else self.segment.value
        stages = Stages(**{field.name: self.switches[field.name].value for field in fields(Stages)})
        try:
            answer = self.engine.search(photo, _N_RESULTS, box=box, stages=stages, segment=segment)
            self._show(photo, answer, has_own_box=box is not None)
        except ImageError as error:
            self._complain(f"{name} cannot be searched for: {error.reason}. {error.cure}.")
        except InputError as error:
            self._complain(f"{error}")
        except Exception as error:  # Voilà shows nothing of what a callback raises
            _LOG.exception("a search failed")
            self._complain(
                f"The search failed ({type(error).__name__}: {error}). "
                "An answer that is still shown is the one before."
            )
        else:
            self._photo, self._own_box = photo, box is not None

    # What people do ------------------------------------------------------------------------

    def _sample_chosen(self, change: dict[str, Any]) -> None:
        if change["new"] is not None:
            self.search(change["new"], name=change["new"].name)

    def _uploaded(self, change: dict[str, Any]) -> None:
        if not change["new"]:
            return
        [file] = change["new"]
        self.upload.value = ()  # so that the same file can be chosen again
        if file["type"] == _REFUSED:
            self._complain(f"{file['name']} {_TOO_LARGE}")
            return
        self.samples.value = None  # so that any sample can be chosen again
        self.search(bytes(file["content"]), name=file["name"])

    def _box_moved(self, change: dict[str, Any]) -> None:
        del change
        if not self._is_setting:
            self._is_setting = True
            self.switches["box"].value = True
            self._is_setting = False
            self.search(self._photo, self._box())

    def _object_chosen(self, box: Sequence[float]) -> None:
        self._is_setting = True
        self.switches["box"].value = True
        self._is_setting = False
        self.search(self._photo, box)

    def _switched(self, change: dict[str, Any]) -> None:
        del change
        if not self._is_setting:
            is_own = self._own_box and self.switches["box"].value
            self.search(self._photo, self._box() if is_own else None)

    # What they see -------------------------------------------------------------------------

    def _box(self) -> tuple[float, float, float, float]:
        (x_min, x_max), (y_min, y_max) = self.horizontal.value, self.vertical.value
        return x_min, y_min, x_max, y_max

    def _complain(self, text: str) -> None:
        self.message.value = ""  # so that the same words are announced again
        self.message.value = f'<p role="alert" class="vsa-error">{html.escape(text)}</p>'

    def _show(self, photo: Source, answer: Answer, *, has_own_box: bool) -> None:
        # What can fail comes first, so that a page never mixes two answers.
        picture, results = photo_with(photo, answer.box), grid(answer.results, self.engine.root)
        facts = table_of_categories(answer.category) if answer.category else ""
        facts += table_of_times(answer.stage_ms)
        x_min, y_min, x_max, y_max = (float(side) for side in answer.box)
        self._is_setting = True
        self.horizontal.value, self.vertical.value = (x_min, x_max), (y_min, y_max)
        self._is_setting = False
        self.message.value = (
            f'<p role="status">{len(answer.results)} results in {answer.total_ms:.0f} ms '
            f"among {len(self.engine.index):,} pictures; described by: "
            f"{html.escape(described_by(self.engine.describer))}</p>"
        )
        if not has_own_box:  # an answer to a box of somebody's knows of no other
            self.objects.children = self._buttons(answer.other_boxes)
        self.photo.value = picture
        self.facts.value = facts
        self.results.value = results

    def _buttons(self, other_boxes: np.ndarray) -> list[widgets.Button]:
        """One for each other thing in the photo, which searches for it."""
        buttons = []
        for number, box in enumerate(other_boxes.tolist(), start=1):
            button = widgets.Button(description=f"Other object {number}")
            button.on_click(lambda _, box=box: self._object_chosen(box))
            buttons.append(button)
        return buttons

    def _layout(self, note: str) -> widgets.VBox:
        hint = widgets.HTML(f'<p class="vsa-hint">{_HINT}</p>')
        choices = widgets.VBox(
            [self.samples, self.upload, hint, self.message, self.photo, self.objects]
        )
        box = [self.horizontal, self.vertical, self.reset]
        stages = widgets.VBox([*box, *self.switches.values(), self.segment])
        row = widgets.Box([choices, stages, self.facts])
        row.add_class("vsa-row")
        title = widgets.HTML(f"{STYLE}<h1>Search by photo</h1><p>{html.escape(note)}</p>")
        page = widgets.VBox([title, row, self.results, _script()])
        page.add_class("vsa-page")
        return page


def open_page(
    folder: str | Path,
    photos: Sequence[str | Path] = (),
    *,
    root: str | Path | None = None,
    note: str = "",
) -> widgets.Widget:
    """The page of an engine; a text that says what to do where it cannot be opened.

    Parameters
    ----------
    folder : of the engine.
    photos : to begin with, up to 30 of them; pictures of the catalogue by default.
    root : where the catalogue's pictures lie, if not where they were when it was built.
    note : shown below the title.
    """
    return or_why_not(lambda: _open_page(folder, photos, root, note))


def or_why_not(make: Callable[[], widgets.Widget]) -> widgets.Widget:
    """What `make` returns or, as Voilà shows nothing of what is raised, a text that says it."""
    try:
        return make()
    except InputError as error:
        return notice(f"{error}")
    except Exception as error:
        _LOG.exception("the page cannot be opened")
        return notice(f"The page cannot be opened ({type(error).__name__}: {error}).")


def _open_page(
    folder: str | Path, photos: Sequence[str | Path], root: str | Path | None, note: str
) -> widgets.Widget:
    engine = VisualSearch.open(folder, root=root)
    samples = [Path(photo) for photo in photos]
    if not samples:
        samples = [engine.root / path for path in engine.catalogue["path"].to_pylist()]
    step = max(1, len(samples) // _N_SAMPLES)
    return SearchPage(engine, samples[::step][:_N_SAMPLES], note).widget


def notice(text: str) -> widgets.HTML:
    """A text in place of the page."""
    return widgets.HTML(f'{STYLE}<p role="alert" class="vsa-error">{html.escape(text)}</p>')


def _script() -> widgets.Output:
    """What runs `_SCRIPT` where it is shown; a script in a widget of HTML would not be run."""
    script = f"<script>({_SCRIPT})({_UPLOAD_MB * 10**6}, {_SENT_PIXELS}, '{_REFUSED}')</script>"
    shown = {"output_type": "display_data", "data": {"text/html": script}, "metadata": {}}
    return widgets.Output(outputs=(shown,), layout={"display": "none"})


def _slider(description: str) -> widgets.FloatRangeSlider:
    return widgets.FloatRangeSlider(
        value=(0.0, 1.0),
        min=0.0,
        max=1.0,
        step=0.01,
        description=description,
        continuous_update=False,
        readout_format=".2f",
        style={"description_width": "6rem"},
    )
