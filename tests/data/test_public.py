import dataclasses
import io
import runpy
import shutil
import zipfile
from pathlib import Path

import pytest
from local_server import local_server
from made_pictures import photo

from vsa.data import public
from vsa.data.git_tree import git_tree_hash
from vsa.data.load import load_dataset
from vsa.data.public import CLOTHING, GROCERY, PUBLIC, download_dataset, load_public, verify
from vsa.data.schema import BOX, CATALOGUE, QUALITY, QUERIES, check
from vsa.runtime.errors import InputError
from vsa.runtime.paths import ROOT, data_dir


def real(name: str) -> None:
    if not PUBLIC[name].folder.is_dir():
        pytest.skip(f"{name} is not in VSA_DATA_DIR")


# ---------------------------------------------------------------- the real data sets


def test_grocery_tables():
    real("grocery")
    dataset = load_public("grocery")
    catalogue = check(dataset.catalogue, CATALOGUE, "catalogue")
    queries = check(dataset.queries, QUERIES, "queries")
    assert len(dataset.categories) == 43
    assert catalogue.product_id.nunique() == 81
    assert (catalogue.leaf == catalogue.product_id).all()
    assert catalogue.source.value_counts()["main"] == 81
    # 2,640 photos for training, halved per product; 296 and 2,485 as their authors split them
    assert (catalogue.source == "review").sum() + (queries.split == "train").sum() == 2640
    assert queries.split.value_counts()[["val", "test"]].tolist() == [296, 2485]
    shares = catalogue[catalogue.source == "review"].groupby("product_id").size()
    asked = queries[queries.split == "train"].groupby("product_id").size()
    assert (asked - shares).between(0, 1).all()
    assert set(queries.product_id) <= set(catalogue.product_id)
    assert dataset.has_identities
    assert not dataset.products_disjoint


def test_clothing_tables():
    real("clothing")
    dataset = load_public("clothing")
    catalogue = check(dataset.catalogue, CATALOGUE, "catalogue")
    queries = check(dataset.queries, QUERIES, "queries")
    assert len(dataset.categories) == 10
    assert len(catalogue) + len(queries) == 3781
    assert (catalogue.product_id == catalogue.image_id).all()
    assert set(catalogue.source) == {"review"}
    assert queries.product_id.isna().all()
    assert queries.split.value_counts()[["val", "test"]].tolist() == [341, 372]
    assert not dataset.has_identities


@pytest.mark.parametrize("name", PUBLIC)
def test_public_tables_are_honest(name):
    real(name)
    dataset = load_public(name)
    catalogue, queries = dataset.catalogue, dataset.queries
    assert not set(catalogue.path) & set(queries.path)
    assert not set(catalogue.image_id) & set(queries.query_id)
    assert all((dataset.root / path).is_file() for path in [*catalogue.path, *queries.path])
    assert catalogue[[*QUALITY, *BOX]].isna().all(axis=None)
    assert queries[BOX].isna().all(axis=None)
    assert dataset.rejected.empty
    assert list(dataset.simulated) == []
    assert dataset.title
    assert dataset.licence
    assert dataset.source.startswith("https://github.com/")
    again = load_public(name)
    assert again.catalogue.equals(catalogue)
    assert again.queries.equals(queries)


def test_clothing_has_the_published_root_tree():
    """The folder as a whole, README and licence included, is the pinned commit's."""
    real("clothing")
    assert git_tree_hash(CLOTHING.folder, {".git"}) == "78b24042178f02d2ec37cee1dbd23d73857fa539"


def test_a_real_data_set_is_already_complete(capsys):
    real("grocery")
    assert download_dataset("grocery") == GROCERY.folder
    assert "already complete" in capsys.readouterr().err


# ---------------------------------------------------------------- a tiny one of our own

FILES = {
    "dataset/classes.csv": "a,b,c,d,e,f\r\n"
    "Gala,0,Apple,0,/iconic/Gala_Iconic.jpg,/iconic/Gala.txt\r\n"
    "Oat-Milk,1,Milk,1,/iconic/Oat-Milk_Iconic.jpg,/iconic/Oat-Milk.txt\r\n",
    "dataset/train.txt": "".join(
        f"train/{name}/{name}_00{i}.jpg, {k}, {k}\n"
        for k, name in enumerate(["Gala", "Oat-Milk"])
        for i in range(5)
    ),
    "dataset/val.txt": "val/Gala/Gala_000.jpg, 0, 0\n",
    "dataset/test.txt": "test/Oat-Milk/Oat-Milk_000.jpg, 1, 1\n",
    "dataset/train/Gala/Gala_000.jpg": "a picture",
    "README.md": "not verified",
}


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """A data set in place of GroceryStoreDataset, complete in its own VSA_DATA_DIR."""
    monkeypatch.setenv("VSA_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("VSA_PROGRESS", "off")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    for name, content in FILES.items():
        path = GROCERY.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode())
    trees = (("dataset", git_tree_hash(GROCERY.folder / "dataset")),)
    spec = dataclasses.replace(GROCERY, trees=trees)
    monkeypatch.setitem(public.PUBLIC, "grocery", spec)
    return spec


@pytest.fixture
def server(monkeypatch):
    with local_server() as running:
        monkeypatch.setattr(public, "ARCHIVES", running.url)
        yield running


def zipped() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in FILES.items():
            archive.writestr(f"GroceryStoreDataset-{GROCERY.commit}/{name}", content)
    return buffer.getvalue()


def test_tiny_tables(tiny):
    dataset = load_public("grocery")
    catalogue, queries = dataset.catalogue, dataset.queries
    assert dataset.categories == ["Apple", "Milk"]
    main = catalogue[catalogue.source == "main"]
    assert main.path.tolist() == [
        "dataset/iconic/Gala_Iconic.jpg",
        "dataset/iconic/Oat-Milk_Iconic.jpg",
    ]
    train = queries[queries.split == "train"]
    assert catalogue[catalogue.source == "review"].groupby("category").size().tolist() == [2, 2]
    assert train.groupby("category").size().tolist() == [3, 3]
    assert queries[queries.split == "val"].query_id.tolist() == ["val-Gala_000"]
    assert queries[queries.split == "test"].product_id.tolist() == ["Oat-Milk"]


def test_clothing_of_a_made_sample(tmp_path, monkeypatch):
    monkeypatch.setenv("VSA_DATA_DIR", str(tmp_path))
    for split, n_photos in {"train": 5, "validation": 1, "test": 2}.items():
        for category in ("hat", "shoes"):
            folder = CLOTHING.folder / split / category
            folder.mkdir(parents=True)
            for number in range(n_photos):
                name = f"{number}{split[:2]}{len(category):05d}-0000-4000-8000-000000000000.jpg"
                photo(24, 16, seed=number).save(folder / name)
    trees = tuple((name, git_tree_hash(CLOTHING.folder / name)) for name, _ in CLOTHING.trees)
    spec = dataclasses.replace(CLOTHING, trees=trees)
    monkeypatch.setitem(public.PUBLIC, "clothing", spec)
    dataset = load_dataset("clothing")
    catalogue, queries = dataset.catalogue, dataset.queries
    assert dataset.categories == ["hat", "shoes"]
    assert catalogue.groupby("category").size().tolist() == [2, 2]
    assert (catalogue.product_id == catalogue.image_id).all()
    assert (catalogue.leaf == catalogue.category).all()
    assert queries.split.value_counts()[["train", "val", "test"]].tolist() == [6, 2, 4]
    assert queries.product_id.isna().all()
    assert not dataset.has_identities
    assert len(load_public("clothing", 4).queries) == 6  # one of each category in each split
    (spec.folder / "test" / "hat" / "more.jpg").touch()
    public._intact.clear()
    with pytest.raises(InputError, match="not as published"):
        load_dataset("clothing")


def test_verification_names_folder_and_cure_of_an_absent_data_set(tiny):
    shutil.rmtree(tiny.folder)
    with pytest.raises(InputError) as caught:
        verify(tiny)
    assert caught.value.file == tiny.folder
    assert "make data DATASET=grocery" in caught.value.cure
    assert "VSA_DATA_DIR" in caught.value.cure


def spoil_altered(folder: Path) -> None:
    (folder / "dataset/train/Gala/Gala_000.jpg").write_text("another picture")


def spoil_missing(folder: Path) -> None:
    (folder / "dataset/val.txt").unlink()


def spoil_additional(folder: Path) -> None:
    (folder / "dataset/more.jpg").touch()


def spoil_renamed(folder: Path) -> None:
    (folder / "dataset").rename(folder / "data set")


@pytest.mark.parametrize("spoil", [spoil_altered, spoil_missing, spoil_additional, spoil_renamed])
def test_a_corrupted_copy_is_refused(tiny, spoil):
    spoil(tiny.folder)
    with pytest.raises(InputError, match="not as published") as caught:
        load_public("grocery")
    assert caught.value.file == tiny.folder


def test_litter_and_other_folders_do_not_matter(tiny):
    (tiny.folder / "dataset" / ".DS_Store").touch()
    (tiny.folder / "sample_images").mkdir()
    (tiny.folder / "README.md").unlink()
    assert verify(tiny) == tiny.folder


def test_an_intact_folder_is_read_once(tiny, monkeypatch):
    verify(tiny)
    monkeypatch.setattr(public, "tree_mismatch", lambda *_: pytest.fail("read again"))
    verify(tiny)


def test_a_data_set_is_downloaded_once(tiny, server, capsys):
    shutil.rmtree(tiny.folder)
    server.content = zipped()
    assert download_dataset("grocery") == tiny.folder
    assert [path.name for path in data_dir().iterdir()] == ["GroceryStoreDataset"]
    assert len(load_public("grocery").queries) == 8
    assert tiny.source in capsys.readouterr().err
    download_dataset("grocery")
    assert "already complete" in capsys.readouterr().err
    assert len(server.seen) == 1


def test_a_download_never_replaces_what_is_there(tiny, server):
    spoil_altered(tiny.folder)
    with pytest.raises(InputError, match="Move the folder away"):
        download_dataset("grocery")
    assert server.seen == []
    assert (tiny.folder / "dataset/train/Gala/Gala_000.jpg").read_text() == "another picture"


@pytest.mark.parametrize("name", ["synthetic", "imagenet", "folder:shop"])
def test_only_public_data_sets_can_be_downloaded(name):
    with pytest.raises(InputError, match="grocery, clothing"):
        download_dataset(name)


def test_scripts_download_or_end_with_a_message(tiny, server, capsys):
    script = str(ROOT / "data_scripts" / "grocery.py")
    runpy.run_path(script, run_name="__main__")
    assert "already complete" in capsys.readouterr().err
    spoil_altered(tiny.folder)
    public._intact.clear()
    with pytest.raises(SystemExit, match="2"):
        runpy.run_path(script, run_name="__main__")
    assert "Move the folder away" in capsys.readouterr().err


def test_addresses_name_the_pinned_commit():
    for spec in PUBLIC.values():
        assert spec.zip_url.startswith("https://codeload.github.com/")
        assert spec.zip_url.endswith(f"/{spec.repository}/zip/{spec.commit}")
        assert spec.source.endswith(spec.commit)
        assert (ROOT / "data_scripts" / f"{spec.name}.py").is_file()
