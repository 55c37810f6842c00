import numpy as np
import pytest
from PIL import Image

from vsa.embedding import extract
from vsa.embedding.extract import JointEmbedder, describe, describe_catalogue
from vsa.runtime.errors import InputError


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


def test_a_trained_network_is_an_embedder(net, task, device, monkeypatch):
    embed, images = JointEmbedder(net, image_px=32, device=device), task.images.queries
    assert (embed.dim, embed.name) == (16, "joint network")
    for boxes in (None, "own", np.tile(np.float32([0.2, 0.2, 0.8, 0.8]), (len(images), 1))):
        expected = describe(net, images, device, boxes=boxes).features
        np.testing.assert_array_equal(embed.embed(images, boxes=boxes), expected)
    photo = Image.fromarray(images[0])
    np.testing.assert_allclose(embed(photo, boxes="own"), embed.embed(images[:1], boxes="own")[0])
    boxes = np.float32([[0.2, 0.2, 0.8, 0.8], [0, 0, 0.5, 0.5], [0.1, 0.3, 0.7, 0.9]])
    with monkeypatch.context() as small:
        small.setattr("vsa.models.embedder._CHUNK", 2)
        found = embed([Image.fromarray(image) for image in images[:3]], boxes=boxes)
    np.testing.assert_allclose(found, embed.embed(images[:3], boxes=boxes), atol=1e-6)
    for wrong in (boxes[:2], boxes.repeat(2, 0)):
        with pytest.raises(InputError, match="boxes"):
            embed([photo] * 3, boxes=wrong)
    with pytest.raises(InputError, match="48 × 48 pixels, and the network has learned from 32"):
        embed.embed(np.zeros((1, 48, 48, 3), np.uint8))


def test_other_weights_make_another_embedder(make_lab, tmp_path, device):
    nets = [make_lab(tmp_path, seed).new_net() for seed in (0, 0, 1)]
    first, again, other = (JointEmbedder(n, image_px=32, device=device).identity for n in nets)
    assert first == again
    assert first != other


def test_a_network_that_was_spoilt_is_named(make_lab, tmp_path, device, task):
    net = make_lab(tmp_path).new_net()
    embed = JointEmbedder(net, image_px=32, device=device)
    net.head.weight.data[0] = np.nan
    with pytest.raises(InputError, match="the embedder 'joint network' gives NaN"):
        embed.embed(task.images.queries)
