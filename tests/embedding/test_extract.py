import numpy as np
import pytest

from vsa.embedding import extract
from vsa.embedding.extract import describe, describe_catalogue


@pytest.fixture(scope="module")
def net(make_lab, tmp_path_factory):
    return make_lab(tmp_path_factory.mktemp("lab")).new_net().eval()


def test_one_image_is_described_as_in_a_batch(net, task, device):
    images = task.images.queries
    for boxes in (None, "own"):
        together = describe(net, images, device, boxes=boxes)
        alone = describe(net, images[3:4], device, boxes=boxes)
        assert together.features[3] == pytest.approx(alone.features[0], abs=1e-5)
        assert together.boxes[3] == pytest.approx(alone.boxes[0], abs=1e-5)
        assert np.linalg.norm(together.features, axis=1) == pytest.approx(1, abs=1e-5)


def test_given_boxes_and_own_boxes_are_the_same_masks(net, task, device):
    own = describe(net, task.images.queries, device, boxes="own")
    given = describe(net, task.images.queries, device, boxes=own.boxes)
    assert own.features == pytest.approx(given.features, abs=1e-5)
    assert not np.allclose(own.features, describe(net, task.images.queries, device).features)


def test_no_image(net, device):
    found = describe(net, np.empty((0, 32, 32, 3), np.uint8), device)
    assert found.features.shape == (0, 16)
    assert found.boxes.shape == (0, 4)


def test_a_catalogue_in_chunks_equals_one_in_memory(net, task, device, tmp_path):
    images = task.images.catalogue
    expected = describe(net, images, device, boxes="own")
    found = describe_catalogue(net, images, device, tmp_path, boxes="own", chunk_size=10)
    assert found.features == pytest.approx(expected.features, abs=1e-5)
    assert found.boxes == pytest.approx(expected.boxes, abs=1e-5)
    assert isinstance(found.features, np.memmap)
    assert [path.name for path in tmp_path.iterdir()] == ["whole"]


def test_extraction_goes_on_where_it_was_interrupted(net, task, device, tmp_path, monkeypatch):
    images = task.images.catalogue
    sizes = []

    def counted(net, images, device, **options):
        sizes.append(len(images))
        if len(sizes) == 3:
            raise KeyboardInterrupt
        return describe(net, images, device, **options)

    monkeypatch.setattr(extract, "describe", counted)
    with pytest.raises(KeyboardInterrupt):
        describe_catalogue(net, images, device, tmp_path, chunk_size=10)
    describe_catalogue(net, images, device, tmp_path, chunk_size=10)
    assert sizes == [10, 10, 10, 10, 6]
    describe_catalogue(net, images, device, tmp_path, chunk_size=10)
    assert len(sizes) == 5
