"""Speed of training, alone and beside itself, of its input and of the renderer: `make bench`.

Every comparison is a ratio within one run, alternating between the two sides, because absolute
times of a shared machine drift. Prints a table and writes ``reports/benchmarks.json``.
"""

from __future__ import annotations

import dataclasses
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import vsa  # noqa: F401 (before torch, whose threads then wait as the product's do)

# isort: split
import numpy as np
import torch
from PIL import Image
from record import record
from torch import nn
from torchvision import transforms

from vsa.category.model import CategoryNet
from vsa.category.train import train_classifier
from vsa.embedding.joint import JointNet
from vsa.embedding.mining import Triplets
from vsa.embedding.train import Images, train_stage
from vsa.embedding.triplets import from_clicks
from vsa.models.torchvision_models import IMAGENET_MEAN, IMAGENET_STD
from vsa.runtime.batches import to_tensor
from vsa.runtime.device import Device, pick_device
from vsa.runtime.threads import POLICIES
from vsa.study.embedding.variants import make_stage
from vsa.study.run import make_run
from vsa.study.settings import CategorySettings, EmbeddingStudySettings
from vsa.study.simulate.synthetic.shop import render_shop

N_ROUNDS = 7
N_CLASSES = 14
Step = Callable[[], None]


def training_step(
    net: CategoryNet, batch: torch.Tensor, labels: torch.Tensor, device: Device
) -> Step:
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


def plain_and_ours(settings: CategorySettings, device: Device) -> tuple[Step, Step]:
    """A float32, channels-first step of training, and one as vsa takes it."""
    plain = Device(device.device, None, "float32, channels first")
    rng = np.random.default_rng(0)
    size = (settings.batch_size, settings.crop_px, settings.crop_px, 3)
    images = to_tensor(rng.integers(0, 256, size, dtype=np.uint8), device)
    labels = torch.from_numpy(rng.integers(0, N_CLASSES, settings.batch_size)).to(device.device)
    nets = [
        CategoryNet(settings.architecture, N_CLASSES, pretrained=False).to(device.device).train()
        for _ in range(2)
    ]
    nets[1].to(memory_format=device.memory_format)
    return (
        training_step(nets[0], images.contiguous(), labels, plain),
        training_step(nets[1], images, labels, device),
    )


def time_ms(step: Step) -> float:
    """Milliseconds that a step takes."""
    start = time.perf_counter()
    step()
    return 1e3 * (time.perf_counter() - start)


def step_ratio(settings: CategorySettings, device: Device) -> dict[str, float]:
    """Time of a float32, channels-first step over that of ours; above 1 ours is faster."""
    plain, ours = plain_and_ours(settings, device)
    pairs = [(time_ms(plain), time_ms(ours)) for _ in range(N_ROUNDS + 2)][2:]
    return {
        "plain_ms": statistics.median(a for a, _ in pairs),
        "ours_ms": statistics.median(b for _, b in pairs),
        "ratio": statistics.median(a / b for a, b in pairs),
    }


def beside_itself() -> dict[str, float]:
    """A training step on the CPU: in two processes at once, alone, and alone with spinning threads.

    ``pair_ratio`` is time in the pair over time alone, ``alone_ratio`` time alone over time with
    threads that spin while they wait, as they do by default.
    """
    rounds = [
        (
            fresh_step_ms(1),
            fresh_step_ms(2),
            fresh_step_ms(1, GOMP_SPINCOUNT="300000"),  # libgomp's own default, which vsa respects
        )
        for _ in range(3)
    ]
    return {
        "alone_ms": statistics.median(alone for alone, _, _ in rounds),
        "pair_ms": statistics.median(pair for _, pair, _ in rounds),
        "default_ms": statistics.median(default for _, _, default in rounds),
        "pair_ratio": statistics.median(pair / alone for alone, pair, _ in rounds),
        "alone_ratio": statistics.median(alone / default for alone, _, default in rounds),
    }


def fresh_step_ms(n_processes: int, **policy: str) -> float:
    """Milliseconds of a step of ours in so many new processes that train at once, on average."""
    environment = {name: value for name, value in os.environ.items() if name not in POLICIES}
    environment |= {"CUDA_VISIBLE_DEVICES": "", **policy}
    processes = [
        subprocess.Popen(
            [sys.executable, __file__, "steps"],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(n_processes)
    ]
    for process in processes:
        process.stdout.readline()  # it has warmed up
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    return statistics.mean(float(process.communicate()[0]) for process in processes)


def take_steps(settings: CategorySettings) -> None:
    """Print the median milliseconds of a step, when standard input says that all are ready."""
    _, step = plain_and_ours(settings, pick_device())
    for _ in range(2):
        step()
    print("ready", flush=True)
    sys.stdin.readline()
    print(statistics.median(time_ms(step) for _ in range(N_ROUNDS)))


def waiting_share(settings: CategorySettings, device: Device) -> float:
    """Share of the training loop's time spent waiting for images."""
    rng = np.random.default_rng(0)
    size = (1024, settings.store_px, settings.store_px, 3)
    images = rng.integers(0, 256, size, dtype=np.uint8)
    labels = rng.integers(0, N_CLASSES, len(images))
    few = dataclasses.replace(settings, n_steps=15, trains="all", pretrained=False)
    _, log = train_classifier(images, labels, N_CLASSES, few, device, seed=0)
    steady = log.iloc[3:]
    return float(steady.wait_ms.sum() / steady.step_ms.sum())


def _endless(loader: torch.utils.data.DataLoader) -> Iterator[torch.Tensor]:
    """Batches of one epoch after the other, each decoded anew."""
    while True:
        yield from loader


class PlainPictures(torch.utils.data.Dataset):
    """A common way to feed a network: open, flip, to tensor, normalise, a picture at a time."""

    def __init__(self, files: list[Path]) -> None:
        self.files = files
        self.transform = transforms.Compose(
            [
                transforms.RandomHorizontalFlip(),
                transforms.ToTensor(),
                transforms.Normalize(IMAGENET_MEAN, IMAGENET_STD),
            ]
        )

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> torch.Tensor:
        with Image.open(self.files[index]) as picture:
            return self.transform(picture.convert("RGB"))


def triplet_training_ratio(settings: EmbeddingStudySettings, device: Device) -> dict[str, float]:
    """Time of a plain loop's step of m triplets over that of `train_stage`, median of rounds."""
    rng = np.random.default_rng(0)
    size, m, n_steps = settings.image_px, settings.n_triplets, 8
    pictures = rng.integers(0, 256, (6 * m, size, size, 3), dtype=np.uint8)
    rows = np.arange(2 * m)
    negatives = rng.integers(2 * m, size=(2 * m, 8))
    source = from_clicks(Triplets(rows, rows, negatives), 2 * m, 2 * m)
    images = Images(pictures[: 2 * m], pictures[2 * m : 4 * m])
    stage = dataclasses.replace(make_stage("features", "own negatives", settings), n_steps=n_steps)
    plain, ours = (JointNet(settings.architecture, settings.feature_dim) for _ in range(2))
    plain.to(device.device).train()
    ours.to(device.device, memory_format=device.memory_format)
    optimizer = torch.optim.AdamW(plain.parameters())
    times: dict[str, list[float]] = {"plain": [], "ours": []}
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder, f"{i}.png") for i in range(len(pictures))]
        for file, picture in zip(files, pictures, strict=True):
            Image.fromarray(picture).save(file)
        loader = torch.utils.data.DataLoader(PlainPictures(files), 3 * m, shuffle=True)
        for round_ in range(4):
            start = time.perf_counter()
            for _, batch in zip(range(n_steps), _endless(loader), strict=False):
                raw = plain.head(plain.backbone(batch.to(device.device)))
                query, positive, negative = nn.functional.normalize(raw, dim=1).split(m)
                loss = nn.functional.triplet_margin_loss(query, positive, negative, settings.margin)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            spent = 1e3 * (time.perf_counter() - start) / n_steps
            log = train_stage(
                ours, stage, source, images, device, round_, Path(folder, f"{round_}.pth")
            )
            if round_:  # the first one warms up
                times["plain"].append(spent)
                times["ours"].append(float(log.step_ms.mean()))
    pairs = [a / b for a, b in zip(times["plain"], times["ours"], strict=True)]
    return {
        "plain_ms": statistics.median(times["plain"]),
        "ours_ms": statistics.median(times["ours"]),
        "ratio": statistics.median(pairs),
    }


def rendering_speed(image_px: int) -> float:
    """Images rendered and saved per second by one process."""
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        catalogue, queries = render_shop(10, image_px, 0, Path(folder), n_workers=1)
        return (len(catalogue) + len(queries)) / (time.perf_counter() - start)


def main() -> None:
    """Run everything, print it, store it."""
    device = pick_device()
    rendered, photographs = (
        make_run(name, "laptop", 0).settings for name in ("synthetic", "grocery")
    )
    results: dict[str, dict[str, float]] = {}
    for settings in (rendered.category, photographs.category):
        name = f"{settings.architecture}, {settings.crop_px} px, batch {settings.batch_size}"
        results[f"training step: {name}"] = step_ratio(settings, device)
        results[f"waiting for data: {name}"] = {"share": waiting_share(settings, device)}
        if settings is rendered.category:
            results[f"training beside itself, CPU: {name}"] = beside_itself()
    for settings in (rendered.embedding, photographs.embedding):
        name = f"{settings.architecture}, {settings.image_px} px, {settings.n_triplets} triplets"
        results[f"triplet training: {name}"] = triplet_training_ratio(settings, device)
    results["renderer, 64 px, one process"] = {"images_per_s": rendering_speed(64)}
    for name, values in results.items():
        shown = ", ".join(f"{key} {value:.3g}" for key, value in values.items())
        print(f"{name}: {shown}")
    record(results)


if __name__ == "__main__":
    if sys.argv[1:] == ["steps"]:
        take_steps(make_run("synthetic", "laptop", 0).settings.category)
    else:
        main()
