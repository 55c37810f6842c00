"""Speed of training, of its input pipeline and of the renderer: `make bench`.

Every comparison is a ratio within one run, alternating between the two sides, because absolute
times of a shared machine drift. Prints a table and writes ``reports/benchmarks.json``.
"""

from __future__ import annotations

import dataclasses
import json
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn

from vsa.category.model import CategoryNet
from vsa.category.train import train_classifier
from vsa.data.synthetic.shop import render_shop
from vsa.evaluation.environment import commit, machine, versions
from vsa.runtime.atomic import atomic_file
from vsa.runtime.batches import to_tensor
from vsa.runtime.device import Device, pick_device
from vsa.runtime.paths import reports_dir
from vsa.runtime.profiles import CategorySettings, get_profile

N_ROUNDS = 7
N_CLASSES = 14


def training_step(net: CategoryNet, batch: torch.Tensor, labels: torch.Tensor, device: Device):
    """One step of training as a closure, for networks of any layout."""
    optimizer = torch.optim.AdamW(net.parameters())

    def step() -> None:
        with device.autocast():
            logits, _ = net(batch)
        loss = nn.functional.cross_entropy(logits.float(), labels)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        loss.item()

    return step


def step_ratio(settings: CategorySettings, device: Device) -> dict[str, float]:
    """Time of a float32, channels-first step over that of ours; above 1 ours is faster."""
    plain = Device(device.device, None, "float32, channels first")
    rng = np.random.default_rng(0)
    size = (settings.batch_size, settings.crop_px, settings.crop_px, 3)
    images = to_tensor(rng.integers(0, 256, size, dtype=np.uint8), device)
    labels = torch.from_numpy(rng.integers(0, N_CLASSES, settings.batch_size)).to(device.device)
    nets = [
        CategoryNet(settings.architecture, N_CLASSES, pretrained=False).to(device.device).train()
        for _ in range(2)
    ]
    steps = {
        "plain": training_step(nets[0], images.contiguous(), labels, plain),
        "ours": training_step(
            nets[1].to(memory_format=device.memory_format), images, labels, device
        ),
    }
    times: dict[str, list[float]] = {name: [] for name in steps}
    for round_ in range(N_ROUNDS + 2):
        for name, step in steps.items():
            start = time.perf_counter()
            step()
            if round_ >= 2:
                times[name].append(1e3 * (time.perf_counter() - start))
    pairs = [a / b for a, b in zip(times["plain"], times["ours"], strict=True)]
    return {
        "plain_ms": statistics.median(times["plain"]),
        "ours_ms": statistics.median(times["ours"]),
        "ratio": statistics.median(pairs),
    }


def waiting_share(settings: CategorySettings, device: Device) -> float:
    """Share of the training loop's time spent waiting for images."""
    rng = np.random.default_rng(0)
    size = (1024, settings.store_px, settings.store_px, 3)
    images = rng.integers(0, 256, size, dtype=np.uint8)
    labels = rng.integers(0, N_CLASSES, len(images))
    few = dataclasses.replace(settings, n_steps=15, pretrained=False)
    _, log = train_classifier(images, labels, N_CLASSES, few, device, seed=0)
    steady = log.iloc[3:]
    return float(steady.wait_ms.sum() / steady.step_ms.sum())


def rendering_speed(image_px: int) -> float:
    """Images rendered and saved per second by one process."""
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        catalogue, queries = render_shop(10, image_px, 0, Path(folder), n_workers=1)
        return (len(catalogue) + len(queries)) / (time.perf_counter() - start)


def main() -> None:
    """Run everything, print it, store it."""
    device, profile = pick_device(), get_profile("laptop")
    results: dict[str, dict[str, float]] = {}
    for settings in (profile.category_scratch, profile.category_pretrained):
        name = f"{settings.architecture}, {settings.crop_px} px, batch {settings.batch_size}"
        results[f"training step: {name}"] = step_ratio(settings, device)
        results[f"waiting for data: {name}"] = {"share": waiting_share(settings, device)}
    results["renderer, 64 px, one process"] = {"images_per_s": rendering_speed(64)}
    for name, values in results.items():
        shown = ", ".join(f"{key} {value:.3g}" for key, value in values.items())
        print(f"{name}: {shown}")
    content = {
        "commit": commit(),
        "device": device.name,
        "machine": machine(),
        "versions": versions(),
        "results": results,
    }
    with atomic_file(reports_dir() / "benchmarks.json") as draft:
        draft.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
