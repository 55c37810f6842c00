"""Bars are for loops, not for single steps, and appear where they can be read."""

from vsa.runtime.progress import progress


def test_a_loop_is_shown_and_a_single_step_is_not(tmp_path, monkeypatch):
    shown = tmp_path / "log"
    monkeypatch.setenv("VSA_PROGRESS", str(shown))
    assert list(progress(range(1), "one")) == [0]
    assert not shown.exists()
    assert list(progress(range(3), "three")) == [0, 1, 2]
    assert "three" in shown.read_text()


def test_an_iterator_of_unknown_length_is_shown_too(tmp_path, monkeypatch):
    monkeypatch.setenv("VSA_PROGRESS", str(tmp_path / "log"))
    assert list(progress(iter("ab"), "letters")) == ["a", "b"]
    assert "letters" in (tmp_path / "log").read_text()
