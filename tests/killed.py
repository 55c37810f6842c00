"""A training that is killed while it writes a checkpoint."""

import pytest

from vsa.runtime import training


class Killed(BaseException):
    """As by SIGKILL: nothing is expected to catch it."""


def die_at_save(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Write a checkpoint after every step, and die when the given one has been written."""
    monkeypatch.setattr(training, "CHECKPOINT_S", 0.0)
    save, n_saved = training._save, 0

    def save_then_die(*arguments):
        nonlocal n_saved
        save(*arguments)
        n_saved += 1
        if n_saved == number:
            raise Killed

    monkeypatch.setattr(training, "_save", save_then_die)
