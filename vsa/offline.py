"""The OFFLINE path: a shop and trained models → the folder of an engine, which stands alone.

    catalogue → select (quality, duplicates) → extract (features) → build (index) → engine folder

`vsa.engine.VisualSearch` opens it, on this machine or on another one.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

import vsa
from vsa.category import selection as selected
from vsa.category.selection import Prints, select_prints, take_prints
from vsa.category.settings import USUAL_SELECTION, SelectionSettings
from vsa.chunks import Rows, look_at
from vsa.data import decoding, descriptors
from vsa.data import images as squares
from vsa.data.descriptors import DESCRIPTOR_PX
from vsa.data.files import absolute
from vsa.data.images import load_images
from vsa.data.schema import BOX, CATALOGUE, QUALITY, Dataset
from vsa.embedding.describer import describe_photos
from vsa.engine import PAGE
from vsa.index.build import build_index, kept_from_writers
from vsa.index.index import Index
from vsa.index.model import change_facts
from vsa.index.settings import CodeSettings
from vsa.index.tuning import choose_params
from vsa.models import backbones, embedder
from vsa.models.backbones import BACKBONES
from vsa.models.embedder import Embedder
from vsa.models.kept import require_keepable
from vsa.row_files import FOLDER as ROWS
from vsa.row_files import write_part
from vsa.rows import make_part
from vsa.runtime.atomic import atomic_dir, require_replaceable
from vsa.runtime.checked import MANIFEST
from vsa.runtime.errors import InputError
from vsa.runtime.fingerprint import key, libraries, state_digest
from vsa.store import CARD, FORMAT, INDEX_FOLDER
from vsa.trained import STAGES, TrainedModels, write_stages

USUAL_CODES = CodeSettings()
_WANTED_RECALL = 0.99  # of a linear scan of the features, on validation photos
_N_TUNING = 200  # validation photos, at most
_PARTS = {CARD, MANIFEST, INDEX_FOLDER, ROWS, *STAGES}


def build(
    shop: Dataset,
    model: TrainedModels | Embedder,
    out: str | Path,
    *,
    selection: SelectionSettings | None = USUAL_SELECTION,
    codes: CodeSettings = USUAL_CODES,
    seed: int = 0,
    cache: str | Path | None = None,
    ray: str | None = None,
) -> Path:
    """Build an engine of a shop's catalogue; an earlier one in the folder is replaced as a whole.

    Pictures that are flat, blurred or duplicates are left out; the network describes the others;
    the index's parameters are the fastest that keep 99 % of a linear scan's recall for the
    shop's validation photos, and the index's own where there are none.

    Parameters
    ----------
    shop : its catalogue, and the ``val`` split of its queries; what `vsa.load_dataset` gives.
    model : what `vsa.train` gives; its networks are moved to the device of its category stage. Or
        a `vsa.Embedder` by name: an engine without category, box or re-ranking.
    out : the folder. It says where the pictures lie, so that they can be shown, and holds none.
    selection : thresholds of selection (paper section 3.1), of what is added later, too; None
        indexes all pictures.
    codes : codec and bits of the index (section 3.3).
    seed : of the index's codes and lists.
    cache : a folder that keeps what pictures are found to be, by what is in their files and what
        looks at them, chunk by chunk: a build that ended is taken up again, and of a shop that has
        changed, only pictures that are new are described. Nothing is trained here;
        ``vsa.TrainedModels.open`` reads the models of an earlier engine.
    ray : address of a Ray cluster (extra cluster), host:port or "auto", whose nodes look at the
        pictures, a chunk each; they see them at the same paths, and need nothing of `cache`.
        Codes, lists and files are made here.

    Returns
    -------
    The folder, as `VisualSearch.open` takes it.

    Raises
    ------
    InputError, before any work, for a folder that holds anything but an engine or cannot be
    replaced, and for categories that the model does not know; ImageError for a picture that
    cannot be decoded; InputError where selection leaves nothing, and where Ray cannot be joined.

    Examples
    --------
    >>> vsa.build(shop, model, out="my.engine")  # doctest: +SKIP
    >>> engine = vsa.VisualSearch.open("my.engine")  # doctest: +SKIP
    >>> engine.search("photo.jpg").results  # doctest: +SKIP
    """
    if not isinstance(shop, Dataset) or not isinstance(model, TrainedModels | Embedder):
        raise InputError(
            f"an engine is not built of a {type(shop).__name__} and a {type(model).__name__}",
            cure="Give what vsa.load_dataset(...) and vsa.train(...), or vsa.Embedder, return",
        )
    require_own_folder(Path(out))
    _require_known(shop.catalogue, model)
    catalogue, prints = shop.catalogue, None
    kept_in = None if cache is None else Path(cache)
    if selection is not None:
        prints = _prints(absolute(shop.root, catalogue.path.tolist()), kept_in, ray)
        kept = select_prints(catalogue, prints, selection).kept.to_numpy()
        catalogue, prints = catalogue[kept], prints[kept]
        if catalogue.empty:
            raise InputError(
                "selection leaves no picture of the catalogue",
                cure="Pass selection=None, or thresholds that suit these pictures",
                file=shop.root,
            )
    return write_engine(
        out,
        model,
        _features(model, absolute(shop.root, catalogue.path.tolist()), kept_in, ray),
        catalogue,
        shop.root,
        validation=_validation(shop, model),
        codes=codes,
        seed=seed,
        selection=selection,
        prints=prints,
    )


def require_own_folder(folder: Path, marker: str = CARD, more: Sequence[str] = ()) -> None:
    """Raise InputError unless an engine can be made there, and nothing else would be lost.

    Parameters
    ----------
    marker : as of `write_engine`.
    more : names of what whoever makes it puts beside it.
    """
    target = require_replaceable(folder, marker)
    if not (target / CARD).is_file():
        return
    own = {*_PARTS, *more}
    names = [path.name for path in target.iterdir()]
    others = [name for name in names if name not in own and not name.startswith(".")]
    if others:
        raise InputError(
            f"the folder holds {others[0]!r} too, which would be lost with the engine",
            cure="Move it away, or name another folder",
            file=folder,
        )


def prints_of(root: Path, paths: Sequence[str], cache: Path | None = None) -> Prints:
    """What selection needs to know of pictures `root`/`paths`; `cache` as of `load_images`."""
    return take_prints(load_images(root, paths, DESCRIPTOR_PX, cache))


def _validation(shop: Dataset, model: TrainedModels | Embedder) -> np.ndarray:
    """Features of some validation photos, as the engine will see them, float32 (n, d)."""
    photos = shop.queries.path[shop.queries.split == "val"].tolist()
    some = np.unique(np.linspace(0, len(photos) - 1, _N_TUNING).round().astype(int))
    asking = [photos[row] for row in some] if photos else []
    if isinstance(model, Embedder):
        return model.embed(load_images(shop.root, asking, model.image_px))
    device, boxes = model.category.device, None
    if model.serving.locates:
        boxes = model.serving.boxes(
            model.network, model.image_px, lambda px: load_images(shop.root, asking, px), device
        )
    return describe_photos(model.serving, shop.root, asking, boxes, device)


def write_engine(
    out: str | Path,
    model: TrainedModels | Embedder,
    features: np.ndarray,
    catalogue: pd.DataFrame,
    root: Path,
    *,
    validation: np.ndarray | None = None,
    codes: CodeSettings = USUAL_CODES,
    seed: int = 0,
    selection: SelectionSettings | None = None,
    prints: Prints | None = None,
    marker: str = CARD,
) -> Path:
    """Write an engine over features that are at hand, complete or not at all; see `build`.

    Parameters
    ----------
    features : floating (n, d), of unit length; may be mapped.
    catalogue : schema CATALOGUE, n rows; the index's item i is row i. More columns are kept.
    root : what the catalogue's paths are relative to.
    validation : features of photos, float32 (m, d), that choose the index's parameters.
    selection : thresholds that new pictures are selected by; None takes all of them.
    prints : of the n pictures, which new ones are compared with; None where nothing is selected.
    marker : a file that the folder has if it may be replaced.
    """
    out = Path(out)
    _require_known(catalogue, model)
    has_categories = isinstance(model, TrainedModels)
    if isinstance(model, TrainedModels) and not catalogue[QUALITY].notna().any(axis=None):
        model = replace(model, ranker=None)
    with kept_from_writers(out / INDEX_FOLDER, out), atomic_dir(out, marker=marker) as draft:
        write_stages(draft, model)
        index = draft / INDEX_FOLDER
        build_index(
            index,
            features,
            categories=catalogue.category.to_numpy(str) if has_categories else None,
            codec=codes.codec,
            n_bits=codes.n_bits,
            seed=seed,
        )
        if validation is not None and len(validation):
            with Index.open(index) as opened:
                k = min(PAGE, len(features))
                params = choose_params(opened, validation, _WANTED_RECALL, k).params
            change_facts(index, params=asdict(params))
        rows = pa.Table.from_pandas(catalogue.drop(columns=BOX), preserve_index=False)
        kept_prints = prints if selection is not None else None
        part = make_part(rows, np.arange(len(catalogue)), prints=kept_prints)
        write_part(draft, 0, 0, part)
        card = {
            "format": FORMAT,
            "vsa": vsa.__version__,
            "root": str(Path(root).absolute()),
            "columns": [name for name in rows.column_names if name not in CATALOGUE.columns],
            "selection": None if selection is None else asdict(selection),
            "codes": asdict(codes),
            "seed": seed,
            "notes": list(model.notes) if isinstance(model, TrainedModels) else [],
        }
        (draft / CARD).write_text(json.dumps(card, indent=1), encoding="utf-8")
    return out


def _features(
    model: TrainedModels | Embedder, files: Sequence[str], cache: Path | None, ray: str | None
) -> np.ndarray:
    """Features of pictures, float32 (n, d), some pictures in memory at a time."""
    network = model if isinstance(model, Embedder) else model.embedder
    keep = None if cache is None else cache / f"features-{_known_by(model)}.npz"
    return look_at(partial(_embedded, network), files, keep=keep, ray=ray)["features"]


def _embedded(network: Embedder, files: Sequence[str]) -> Rows:
    return {"features": network.embed(load_images(Path(), files, network.image_px))}


def _prints(files: Sequence[str], cache: Path | None, ray: str | None) -> Prints:
    """As `prints_of`, some pictures in memory at a time."""
    methods = {part.__name__: part.VERSION for part in (decoding, squares, descriptors, selected)}
    keep = None if cache is None else cache / f"prints-{key(methods | libraries('pillow'))}.npz"
    return Prints(**look_at(_taken, files, keep=keep, ray=ray))


def _taken(files: Sequence[str]) -> Rows:
    return vars(take_prints(load_images(Path(), files, DESCRIPTOR_PX)))


def _known_by(model: TrainedModels | Embedder) -> str:
    """What describes pictures, for caches."""
    methods = {part.__name__: part.VERSION for part in (decoding, squares, backbones, embedder)}
    if isinstance(model, Embedder):
        return key(methods | libraries("torch", "torchvision", "pillow"), embedder=model.identity)
    serving = model.serving
    return key(
        methods
        | {"backbone": BACKBONES.identity(serving.net.architecture)}
        | libraries("torch", "torchvision", "pillow"),
        network=state_digest(serving.net.state_dict()),
        image_px=serving.image_px,
        device=repr(model.category.device),
    )


def _require_known(catalogue: pd.DataFrame, model: TrainedModels | Embedder) -> None:
    """Only likely categories are searched: what no prediction can name would never be found."""
    if isinstance(model, Embedder):
        require_keepable(model)
        return
    strange = sorted(set(catalogue.category) - set(model.category.categories))
    if strange:
        raise InputError(
            f"the category stage was not trained for {', '.join(strange[:5])}",
            cure="Train it on this shop, or name categories as it does",
        )
