"""Searches that wait together: equal to those alone, and each on its own when something fails."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest
from made_pictures import photo as noise

from vsa.answer import Stages
from vsa.data.decoding import ImageError
from vsa.serve.batching import Pools
from vsa.serve.problems import Refused


class Held:
    """An engine whose first photo waits until it is let go."""

    def __init__(self, engine) -> None:
        self.go = threading.Event()
        self._engine, self.eyes = engine, self
        self.sizes: list[int] = []

    def __getattr__(self, name):
        return getattr(self._engine, name)

    def see(self, asked):
        self.go.wait()
        return self._engine.eyes.see(asked)

    def describe(self, seen):
        self.sizes.append(len(seen))
        return self._engine.eyes.describe(seen)


def answers(engine, questions, **options):
    """What becomes of questions that wait together, and how many were described at a time."""
    held = Held(engine)
    pools = Pools(held, n_workers=2, **options)
    futures = [pools.submit(ask, lambda answer, asked: answer, within_s=60) for ask in questions]
    held.go.set()
    pools.close()
    return futures, held.sizes


def test_photos_that_wait_together_get_what_they_would_alone(shop, engine):
    """Similarities within 1e-5, boxes and probabilities within 1e-4, and the same results.

    Within a hundredth where networks run in bfloat16, which has three digits.
    """
    is_exact = engine.device.autocast_dtype is None
    close, closest = (1e-4, 1e-5) if is_exact else (1e-2, 1e-2)
    photos = [shop.root / f"{row}.png" for row in range(24)]
    ways = [
        {},
        {"box": (0.1, 0.2, 0.8, 0.9)},
        {"stages": Stages(box=False)},
        {"stages": Stages(category=False, rerank=False), "k": 7},
        {"categories": ["toys"]},
    ]
    asked = [(photo, ways[row % len(ways)]) for row, photo in enumerate(photos)]
    alone = [engine.search(photo, **way) for photo, way in asked]
    questions = [lambda photo=photo, way=way: engine.ask(photo, **way) for photo, way in asked]
    futures, sizes = answers(engine, questions, max_batch=8)
    # eight as soon as eight wait; who decodes the last photo leaves it to a batch of its own
    assert (max(sizes), sum(sizes)) == (8, 24)
    for future, one in zip(futures, alone, strict=True):
        together = future.result()
        np.testing.assert_allclose(together.box, one.box, atol=close)
        np.testing.assert_allclose(together.category.fused, one.category.fused, atol=close)
        np.testing.assert_allclose(
            together.results.similarity, one.results.similarity, atol=closest
        )
        same = together.results.image_id == one.results.image_id
        assert same.mean() > (0.95 if is_exact else 0.5)  # those that are as similar change places


def test_engines_without_a_category_stage_are_served_too(tmp_path, monkeypatch):
    import torch

    import vsa
    from vsa import pictures
    from vsa.engine import VisualSearch
    from vsa.models.embedder import EMBEDDERS

    torch.manual_seed(0)
    monkeypatch.setattr(EMBEDDERS, "_entries", {**EMBEDDERS})
    EMBEDDERS.register("tiny", lambda: vsa.Embedder(lambda x: x.mean((2, 3)), image_px=16))
    for seed in range(5):
        noise(32, 32, seed=seed).save(tmp_path / f"{seed}.png")
    pictures.build(tmp_path.with_name("tiny.index"), tmp_path, embedder="tiny")
    with VisualSearch.open(tmp_path.with_name("tiny.index")) as engine:
        questions = [lambda s=s: engine.ask(tmp_path / f"{s}.png", 1) for s in range(5)]
        futures, sizes = answers(engine, questions, max_batch=2)
        found = [future.result().results.image_id[0] for future in futures]
    assert found == [f"{seed}.png" for seed in range(5)]
    assert (max(sizes), sum(sizes)) == (2, 5)


def test_what_is_wrong_with_one_spoils_no_other(shop, engine):
    photos = [shop.root / "1.png", b"no picture", shop.root / "2.png", shop.root / "3.png"]
    questions = [lambda photo=photo: engine.ask(photo, 1) for photo in photos]

    class Picky(Held):
        def describe(self, seen):
            super().describe(seen)
            if any(one.asked.photo == photos[2] for one in seen):
                raise MemoryError("of this one")
            return self._engine.eyes.describe(seen)

    held = Picky(engine)
    pools = Pools(held, max_batch=4, n_workers=1)
    futures = [pools.submit(ask, lambda answer, asked: 1, within_s=60) for ask in questions]
    held.go.set()
    pools.close()
    assert [future.exception() is None for future in futures] == [True, False, False, True]
    assert isinstance(futures[1].exception(), ImageError)
    assert isinstance(futures[2].exception(), MemoryError)
    assert held.sizes == [3, 1, 1, 1]  # together, then one by one


def test_who_waits_too_long_is_refused_and_who_gives_up_is_forgotten(shop, engine):
    held = Held(engine)
    pools = Pools(held, max_batch=4, n_workers=1)
    question, begun = (lambda: engine.ask(shop.root / "1.png")), []
    first = pools.submit(question, lambda answer, asked: begun.append(1), within_s=60)
    late = pools.submit(question, lambda answer, asked: begun.append(2), within_s=0.01)
    left = pools.submit(question, lambda answer, asked: begun.append(3), within_s=60)
    left.cancel()
    time.sleep(0.05)
    held.go.set()
    pools.close()
    assert first.exception() is None
    with pytest.raises(Refused, match="not answered in time"):
        late.result()
    assert begun == [1]
    with pytest.raises(RuntimeError, match="closed"):
        pools.submit(question, lambda answer, asked: 1, within_s=60)
