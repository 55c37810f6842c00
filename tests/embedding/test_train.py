import dataclasses

import numpy as np
import pandas as pd
import pytest
import torch
from killed import Killed, die_at_save

from vsa.embedding import train
from vsa.embedding.train import find_trouble, train_boxes_supervised, train_stage
from vsa.runtime import training
from vsa.runtime.errors import InputError
from vsa.runtime.seeds import generator
from vsa.study.embedding.variants import make_stage


@pytest.fixture
def learn(make_lab, task, settings, device, tmp_path):
    """Train one stage from the start; returns the network and the log."""
    lab = make_lab(tmp_path / "lab")
    source = lab.source(dataclasses.replace(train_variant(), source="clicks"))

    def run(key="features", checkpoint=tmp_path / "checkpoint.pth", **changes):
        net = lab.new_net()
        stage = dataclasses.replace(make_stage(key, "paper", settings), **changes)
        log = train_stage(net, stage, source, task.images, device, 0, checkpoint)
        return net, log

    return run


def train_variant():
    from vsa.study.embedding.variants import PER_QUERY, variants

    return variants()[PER_QUERY]


def weights(net):
    return torch.cat([value.flatten().double() for value in net.state_dict().values()])


@pytest.mark.parametrize("key", ["features", "boxes, soft", "joint"])
def test_each_stage_trains_its_branches_and_no_other(learn, make_lab, tmp_path, key):
    before = make_lab(tmp_path / "other").new_net().state_dict()
    net, log = learn(key)
    changed = {
        name.split(".")[0]
        for name, value in net.named_parameters()
        if not torch.equal(value, before[name])
    }
    wanted = {"features": {"backbone", "head"}, "boxes, soft": {"localiser"}}
    assert changed == wanted.get(key, {"backbone", "head", "localiser"})
    assert all(parameter.requires_grad for parameter in net.parameters())
    assert log.step.tolist() == list(range(len(log)))
    assert np.isfinite(log[["loss", "active_share", "feature_cosine"]]).all(axis=None)
    assert log.mean_side.notna().all() == (key != "features")


@pytest.mark.parametrize("key", ["features", "joint"])
def test_a_killed_training_continues_bit_by_bit(learn, tmp_path, monkeypatch, key):
    straight, log = learn(key)
    die_at_save(monkeypatch, 3)
    file = tmp_path / "killed.pth"
    with pytest.raises(Killed):
        learn(key, checkpoint=file)
    assert file.is_file()
    resumed, whole_log = learn(key, checkpoint=file)
    assert torch.equal(weights(straight), weights(resumed))
    assert whole_log.loss.tolist() == log.loss.tolist()
    again, _ = learn(key, checkpoint=file)
    assert torch.equal(weights(again), weights(straight)), "a finished stage is not trained again"


def test_what_another_device_has_saved_goes_on_here(learn, tmp_path, monkeypatch):
    monkeypatch.setattr(training, "CHECKPOINT_S", 0.0)
    with monkeypatch.context() as patch:
        patch.setattr("torch.serialization.location_tag", lambda storage: "cuda:7")
        straight, _ = learn("joint", checkpoint=tmp_path / "checkpoint.pth")
        with_devices = torch.load(tmp_path / "checkpoint.pth", map_location="cpu")
        patch.setattr(torch.cuda, "get_rng_state_all", lambda: [torch.get_rng_state()] * 8)
        for group in with_devices["optimizer"]["param_groups"]:
            group["fused"] = True  # as on a GPU: it would round otherwise here
        torch.save(
            with_devices | {"rng_cuda": torch.cuda.get_rng_state_all()},
            tmp_path / "checkpoint.pth",
        )
    with pytest.raises(RuntimeError, match=r"[Cc][Uu][Dd][Aa]"):
        torch.load(tmp_path / "checkpoint.pth", weights_only=True)
    resumed, _ = learn("joint", checkpoint=tmp_path / "checkpoint.pth")
    assert torch.equal(weights(resumed), weights(straight))


def test_states_are_saved_from_the_cpu():
    net = torch.nn.Linear(2, 2)
    moved = []

    class Far(torch.Tensor):
        def cpu(self):
            moved.append(tuple(self.shape))
            return torch.zeros(self.shape)

    far = {name: value.detach().as_subclass(Far) for name, value in net.state_dict().items()}
    state = training.on_cpu({"state": {0: far}, "param_groups": [{"lr": 0.1, "betas": (0.9, 1)}]})
    assert moved == [(2, 2), (2,)]
    assert type(state["state"][0]["weight"]) is torch.Tensor
    assert state["param_groups"] == [{"lr": 0.1, "betas": (0.9, 1)}]


@pytest.mark.parametrize("damage", ["truncated", "not a file of torch", "another architecture"])
def test_an_unfit_checkpoint_is_named(learn, tmp_path, damage):
    file = tmp_path / "bad.pth"
    if damage == "another architecture":
        torch.save({"net": {"weight": torch.zeros(2)}}, file)
    else:
        torch.save({"net": {}}, file)
        content = file.read_bytes()
        file.write_bytes(content[: len(content) // 2] if damage == "truncated" else b"hello")
    with pytest.raises(InputError, match="Remove it") as error:
        learn(checkpoint=file)
    assert error.value.file == file


def test_a_full_disk_leaves_the_last_checkpoint(learn, tmp_path, monkeypatch):
    monkeypatch.setattr(training, "CHECKPOINT_S", 0.0)
    file = tmp_path / "checkpoint.pth"
    save, n_saved = torch.save, 0

    def full(state, draft):
        nonlocal n_saved
        n_saved += 1
        if n_saved > 2:
            raise OSError(28, "No space left on device")
        save(state, draft)

    monkeypatch.setattr(training.torch, "save", full)
    with pytest.raises(InputError, match="No space left"):
        learn(checkpoint=file)
    assert len(torch.load(file, weights_only=True)["log"]) == 2
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".checkpoint")]


def test_a_loss_that_is_no_number_names_the_likely_cause(learn):
    with pytest.raises(training.Diverged, match=r"step \d+ .*learning rate"):
        learn(learning_rate=1e30)


def steady(**values):
    healthy = {
        "loss": 0.1,
        "active_share": 0.3,
        "feature_cosine": 0.2,
        "mean_side": 0.6,
        "centre_spread": 0.1,
    }
    return pd.DataFrame([healthy | values] * 30)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"feature_cosine": 0.999}, "features have collapsed"),
        ({"mean_side": 0.99}, "grown to the whole image"),
        ({"mean_side": 0.16}, "shrunk to the smallest"),
        ({"centre_spread": 0.001}, "one centre"),
        ({"active_share": 0.0}, "no triplet is active"),
    ],
)
def test_trouble_is_named_with_its_cause(values, words):
    (found,) = find_trouble(steady(**values))
    assert words in found


def test_no_trouble_in_a_healthy_log_with_boxes_or_without():
    assert find_trouble(steady()) == []
    assert find_trouble(steady(mean_side=float("nan"), centre_spread=float("nan"))) == []


def test_boxes_can_be_learned_from_labels(make_lab, task, settings, device, tmp_path):
    net = make_lab(tmp_path).new_net()
    stage = dataclasses.replace(make_stage("boxes, soft", "paper", settings), n_steps=25)
    rows = task.rows("train")
    log = train_boxes_supervised(
        net, task.boxes[rows], task.images.queries[rows], stage, device, seed=0
    )
    assert log.loss.tail(5).mean() < 0.8 * log.loss.head(5).mean()


def test_mirrored_boxes_are_those_of_the_mirrored_image():
    boxes = np.array([[0.1, 0.2, 0.5, 0.9]], np.float32)
    images = np.zeros((1, 10, 10, 3), np.uint8)
    images[0, 2:9, 1:5] = 255
    for step in range(8):
        batch, target = train.labelled_batch(images, boxes, 1, generator(0, "labelled boxes", step))
        columns = np.flatnonzero(batch[0].any(axis=(0, 2)))
        assert target[0, [0, 2]] == pytest.approx([columns[0] / 10, (columns[-1] + 1) / 10])
