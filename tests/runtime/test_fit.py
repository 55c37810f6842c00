"""The one training loop, however short a training is."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from vsa.runtime.training import Group, fit


@pytest.mark.parametrize("n_steps", range(1, 9))
def test_any_number_of_steps_trains(n_steps):
    net = nn.Linear(2, 1)
    before = net.weight.detach().clone()

    def loss_of(batch, step):
        return net(batch).square().mean(), {}

    def batches(first):
        return iter([torch.ones(3, 2)] * (n_steps - first))

    log = fit(net, [Group(net.parameters(), 0.1)], batches, loss_of, n_steps, "short")
    assert log.step.tolist() == list(range(n_steps))
    assert not torch.equal(net.weight, before)
