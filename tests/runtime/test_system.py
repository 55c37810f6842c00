from __future__ import annotations

import errno
import os

import pytest

from vsa.runtime.errors import InputError
from vsa.runtime.system import explain, explain_quoted, refusals_explained


def refusal(number: int, file: object = None) -> OSError:
    return OSError(number, os.strerror(number), *([str(file)] if file else []))


def test_a_file_where_a_folder_has_to_be_names_the_variable_that_moves_it(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("VSA_ARTIFACTS_DIR", str(tmp_path / "file"))
    with pytest.raises(InputError) as told, refusals_explained():
        (tmp_path / "file" / "run").mkdir()
    assert str(told.value) == (
        f"{tmp_path / 'file' / 'run'}: Not a directory. A file stands where a folder has to be: "
        "move it away, or set VSA_ARTIFACTS_DIR to a folder elsewhere."
    )


def test_other_places_are_not_blamed_on_a_variable():
    told = str(explain(refusal(errno.ENOSPC, "/nowhere/of/ours")))
    assert told == "/nowhere/of/ours: No space left on device. Free some space."
    assert str(explain(refusal(errno.ENOSPC))) == "No space left on device. Free some space."


def test_a_reader_that_went_away_is_no_refusal():
    with pytest.raises(BrokenPipeError), refusals_explained():
        raise refusal(errno.EPIPE)


def test_a_refusal_in_a_log_is_found_and_a_mistake_in_code_is_not():
    told = explain_quoted(
        f"Traceback …\nOSError: {refusal(errno.ENOSPC, '/full/x')}\nShutting down"
    )
    assert str(told) == "/full/x: No space left on device. Free some space."
    assert explain_quoted(f"{refusal(errno.ENOENT, 'a.csv')}") is None
    assert explain_quoted("ValueError: no error number") is None
