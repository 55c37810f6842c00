"""The one training loop: fixed steps, AdamW under a one-cycle schedule, resumable by checkpoints.

The number of steps is fixed, never the time. What a step draws must depend on its number alone (and
on a seed), so that a run that continues from a checkpoint sees the batches it would have seen. A
checkpoint can be continued from on any device.
"""

from __future__ import annotations

import pickle
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from vsa.runtime.atomic import atomic_file
from vsa.runtime.batches import prefetch
from vsa.runtime.deadline import DEADLINE, Stopped
from vsa.runtime.errors import InputError
from vsa.runtime.progress import progress

VERSION = 1  # of what a step does with a loss: optimizer, schedule, weight decay
CHECKPOINT_S = 60.0

Batch = TypeVar("Batch")


class Diverged(InputError):
    """The loss became infinite or no number: a setting, or somebody's loss, does not fit."""


@dataclass(frozen=True)
class Group:
    """Parameters that learn at one rate, the highest of the schedule."""

    parameters: Iterable[nn.Parameter]
    learning_rate: float


def fit(
    net: nn.Module,
    groups: Iterable[Group],
    batches: Callable[[int], Iterator[Batch]],
    loss_of: Callable[[Batch, int], tuple[Tensor, Mapping[str, float | Tensor]]],
    n_steps: int,
    description: str,
    checkpoint: Path | None = None,
) -> pd.DataFrame:
    """Train `net` in place; the log has one row per step.

    Parameters
    ----------
    groups : what learns, and how fast.
    batches : step → the batches from that step on, the last of `n_steps` included.
    loss_of : batch, step → loss, a tensor of one number, and further columns of the log. It runs
        the forward pass, at the precision that it chooses.
    checkpoint : with that file there, training continues from it; it is written every minute, and
        the caller removes it once the result is safe.

    Returns
    -------
    Columns step, loss, those of `loss_of`, wait_ms (for data) and step_ms.

    Raises
    ------
    Diverged where the loss is no number; InputError for a checkpoint that cannot be read
    or written; Stopped, with the checkpoint written, after a step that ends past `DEADLINE`.
    """
    groups = list(groups)
    optimizer, schedule = _optimizer(groups, n_steps)
    log = _resume(checkpoint, net, optimizer, schedule)
    saved = ready = time.perf_counter()
    steps = prefetch(batches(len(log)))
    for batch in progress(steps, description, n_steps - len(log)):
        arrived = time.perf_counter()
        step = len(log)
        loss, columns = loss_of(batch, step)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        schedule.step()
        value = loss.item()  # waits for the device, so the times below are whole steps
        if not np.isfinite(value):
            rates = ", ".join(f"{group.learning_rate:g}" for group in groups)
            raise Diverged(
                f"the loss is {value} at step {step} of {description}: the learning rate "
                f"({rates}) is probably too high",
                cure="Lower the setting of that value (learning_rate, box_learning_rate, "
                "joint_learning_rate), or mend the loss if it is one of your own",
            )
        done = time.perf_counter()
        row = {"step": step, "loss": value} | {k: float(v) for k, v in columns.items()}
        log.append(row | {"wait_ms": 1e3 * (arrived - ready), "step_ms": 1e3 * (done - ready)})
        ready = done
        is_late = checkpoint is not None and DEADLINE.passed()
        if checkpoint and (is_late or done - saved > CHECKPOINT_S):
            _save(checkpoint, net, optimizer, schedule, log)
            saved = done
        if is_late:
            raise Stopped(f"{description}: {len(log)} of {n_steps} steps")
    return pd.DataFrame(log)


def _optimizer(
    groups: list[Group], n_steps: int
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    rates = [group.learning_rate for group in groups]
    parts = [{"params": [*group.parameters], "lr": group.learning_rate} for group in groups]
    optimizer = torch.optim.AdamW(parts, weight_decay=0.05, fused=_is_fused(parts))
    # Of four steps a quarter warms up in none, by which torch divides
    warm_up = 0.25 if n_steps != 4 else 0.5
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, rates, total_steps=n_steps, pct_start=warm_up
    )
    return optimizer, schedule


def _is_fused(parts: list[dict[str, Any]]) -> bool | None:
    """Whether one kernel updates all parameters: on a GPU, where launching many takes the time.

    On a CPU it would save a fiftieth of a step, round otherwise than what was published, and, as of
    torch 2.15, take a gradient of another memory layout than its parameter for one of the same.
    """
    learned = [parameter for part in parts for parameter in part["params"]]
    return all(parameter.is_cuda for parameter in learned) or None


def on_cpu(state: Any) -> Any:
    """The state of a network or an optimizer with its tensors on the CPU, for any machine."""
    if isinstance(state, Tensor):
        return state.cpu()
    if isinstance(state, Mapping):
        return {name: on_cpu(value) for name, value in state.items()}
    return [on_cpu(value) for value in state] if isinstance(state, list) else state


def _save(
    path: Path,
    net: nn.Module,
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
    log: list[dict[str, float]],
) -> None:
    state = {
        "net": on_cpu(net.state_dict()),
        "optimizer": on_cpu(optimizer.state_dict()),
        "schedule": schedule.state_dict(),
        "rng": torch.get_rng_state(),
        "rng_cuda": torch.cuda.get_rng_state_all(),
        "log": log,
    }
    try:
        with atomic_file(path) as draft:
            torch.save(state, draft)
    except (OSError, RuntimeError) as error:  # torch reports a full disk as a RuntimeError
        raise InputError(
            f"the checkpoint could not be written ({error}); the one before it, if any, is whole",
            cure="Free some space on that disk and start again: training continues from it",
            file=path,
        ) from error


def _resume(
    path: Path | None,
    net: nn.Module,
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
) -> list[dict[str, float]]:
    if path is None or not path.is_file():
        return []
    try:
        state = torch.load(path, weights_only=True, map_location="cpu")
        net.load_state_dict(state["net"])
        for saved, own in zip(
            state["optimizer"]["param_groups"], optimizer.param_groups, strict=True
        ):
            saved["fused"] = own["fused"]  # as this device has it, not the one before
        optimizer.load_state_dict(state["optimizer"])
        schedule.load_state_dict(state["schedule"])
        torch.set_rng_state(state["rng"])
        if len(state["rng_cuda"]) == torch.cuda.device_count():  # else of another machine
            torch.cuda.set_rng_state_all(state["rng_cuda"])
        return list(state["log"])
    except (OSError, RuntimeError, ValueError, KeyError, EOFError, pickle.PickleError) as error:
        raise InputError(
            f"the checkpoint does not fit this network or is damaged ({type(error).__name__})",
            cure="Remove it, and this stage is trained from its beginning",
            file=path,
        ) from error
