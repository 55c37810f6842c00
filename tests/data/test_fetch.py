import io
import os
import stat
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from local_server import LocalServer, local_server

from vsa.data.fetch import download, fetch_repository, unpack_zip
from vsa.data.git_tree import git_tree_hash
from vsa.runtime.errors import InputError

QUICK = {"timeout_s": (2.0, 0.3), "n_attempts": 3, "backoff_s": 0.001}
CONTENT = bytes(range(256)) * 2000


@pytest.fixture(autouse=True)
def _direct_and_silent(monkeypatch):
    monkeypatch.setenv("VSA_PROGRESS", "off")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture
def server():
    with local_server() as running:
        running.content = CONTENT
        yield running


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# ---------------------------------------------------------------- download


def test_download_arrives_whole(server: LocalServer, tmp_path):
    target = tmp_path / "new folder" / "file.zip"
    assert download(f"{server.url}/file", target, **QUICK) == target
    assert target.read_bytes() == CONTENT
    assert names(target.parent) == ["file.zip"]


@pytest.mark.parametrize("fault", ["truncate", "stall", "503", "429"])
def test_download_tries_again(server: LocalServer, tmp_path, fault):
    server.script = [fault, "ok"]
    download(server.url, tmp_path / "file", **QUICK)
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert names(tmp_path) == ["file"]
    assert len(server.seen) == 2


@pytest.mark.parametrize("fault", ["truncate", "stall"])
def test_download_continues_where_it_stopped(server: LocalServer, tmp_path, fault):
    server.script = [fault, "ok"]
    download(server.url, tmp_path / "file", **QUICK)
    offset = int(server.seen[1]["Range"].removeprefix("bytes=").removesuffix("-"))
    assert 0 < offset <= len(CONTENT) // 2
    assert server.seen[1]["If-Range"] == '"v1"'


def test_download_continues_in_a_later_call(server: LocalServer, tmp_path):
    server.script = ["truncate", "404"]
    with pytest.raises(InputError):
        download(server.url, tmp_path / "file", **QUICK)
    assert names(tmp_path) == ["file.part", "file.part.etag"]
    server.script = ["ok"]
    download(server.url, tmp_path / "file", **QUICK)
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert "Range" in server.seen[-1]
    assert names(tmp_path) == ["file"]


def test_download_starts_anew_where_ranges_are_not_supported(server: LocalServer, tmp_path):
    server.script = ["truncate", "no-range"]
    download(server.url, tmp_path / "file", **QUICK)
    assert "Range" in server.seen[1]
    assert (tmp_path / "file").read_bytes() == CONTENT


@pytest.mark.parametrize("etag", [None, 'W/"weak"'])
def test_download_starts_anew_without_a_strong_etag(server: LocalServer, tmp_path, etag):
    server.etag = etag
    server.script = ["truncate", "ok"]
    download(server.url, tmp_path / "file", **QUICK)
    assert "Range" not in server.seen[1]
    assert (tmp_path / "file").read_bytes() == CONTENT


@pytest.mark.parametrize("changed", [CONTENT[::-1], b"short", b""])
def test_download_starts_anew_when_the_file_has_changed(server: LocalServer, tmp_path, changed):
    server.script = ["truncate", "404"]
    with pytest.raises(InputError):
        download(server.url, tmp_path / "file", **QUICK)
    server.content, server.etag, server.script = changed, '"v2"', ["ok"]
    download(server.url, tmp_path / "file", **QUICK)
    assert (tmp_path / "file").read_bytes() == changed


def test_download_mistrusts_a_server_that_ignores_if_range(server: LocalServer, tmp_path):
    """The file changed, yet the server continues it; its new ETag gives it away."""
    (tmp_path / "file.part").write_bytes(b"old half")
    (tmp_path / "file.part.etag").write_text('"v0"')

    class Careless(dict):
        def get(self, key, default=None):
            return None if key == "If-Range" else super().get(key, default)

    handler = server.http.RequestHandlerClass
    answer = handler._send
    handler._send = lambda self, behaviour: (  # type: ignore[attr-defined]
        setattr(self, "headers", Careless(self.headers)),
        answer(self, behaviour),
    )
    download(server.url, tmp_path / "file", **QUICK)
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert "Range" in server.seen[0]
    assert "Range" not in server.seen[1]


def test_download_forgets_the_etag_of_what_it_threw_away(server: LocalServer, tmp_path):
    (tmp_path / "file.part").write_bytes(b"old half")
    (tmp_path / "file.part.etag").write_text('"v0"')
    server.etag, server.script = None, ["truncate", "ok"]
    download(server.url, tmp_path / "file", **QUICK)
    assert "Range" in server.seen[0]
    assert "Range" not in server.seen[1]
    assert (tmp_path / "file").read_bytes() == CONTENT


def test_download_mistrusts_another_range_than_it_asked_for(server: LocalServer, tmp_path):
    server.script = ["truncate", "wrong-place", "ok"]
    download(server.url, tmp_path / "file", **QUICK)
    assert (tmp_path / "file").read_bytes() == CONTENT


def test_download_starts_anew_when_the_part_is_longer_than_the_file(server, tmp_path):
    (tmp_path / "file.part").write_bytes(CONTENT + b"more")
    (tmp_path / "file.part.etag").write_text('"v1"')
    download(server.url, tmp_path / "file", **QUICK)
    assert (tmp_path / "file").read_bytes() == CONTENT


def test_download_follows_redirects(server: LocalServer, tmp_path):
    server.script = ["redirect", "ok"]
    download(server.url, tmp_path / "file", **QUICK)
    assert (tmp_path / "file").read_bytes() == CONTENT


def test_download_gives_up_on_a_redirect_loop(server: LocalServer, tmp_path):
    server.script = ["redirect"]
    with pytest.raises(InputError, match="TooManyRedirects"):
        download(server.url, tmp_path / "file", **QUICK)


def test_download_without_a_length_is_complete_when_the_last_chunk_came(server, tmp_path):
    server.script = ["truncate-chunked", "no-length"]
    download(server.url, tmp_path / "file", **QUICK)
    assert len(server.seen) == 2
    assert (tmp_path / "file").read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("fault", "n_requests"), [("404", 1), ("503", 3), ("truncate-chunked", 3), ("stall", 3)]
)
def test_download_gives_up_with_a_cure(server: LocalServer, tmp_path, fault, n_requests):
    server.script, server.etag = [fault], None
    target = tmp_path / "file"
    with pytest.raises(InputError) as caught:
        download(server.url, target, **QUICK)
    assert server.url in caught.value.problem
    assert str(target) in caught.value.cure
    assert "by hand" in caught.value.cure
    assert len(server.seen) == n_requests
    assert names(tmp_path) == []


def test_download_needs_a_server(tmp_path):
    with local_server() as gone:
        url = gone.url
    with pytest.raises(InputError, match="ConnectionError"):
        download(url, tmp_path / "file", **QUICK)


def test_download_says_when_it_cannot_write(server: LocalServer, tmp_path):
    (tmp_path / "a file").touch()
    with pytest.raises(InputError, match="cannot write"):
        download(server.url, tmp_path / "a file" / "below", **QUICK)


# ---------------------------------------------------------------- unpacking

SAFE = {"top/a.txt": b"a", "top/sub/b.txt": b"b" * 5000, "top/sub/run.sh": b"#!/bin/sh\n"}


def zip_bytes(files: dict[str, bytes], modes: dict[str, int] | None = None) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            info = zipfile.ZipInfo("x")
            info.filename = info.orig_filename = name  # past the constructor, which tidies names
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = (modes or {}).get(name, stat.S_IFREG | 0o644) << 16
            archive.writestr(info, content)
    return buffer.getvalue()


def saved(tmp_path: Path, content: bytes) -> Path:
    archive = tmp_path / "archive.zip"
    archive.write_bytes(content)
    return archive


def test_unpack_restores_content_and_executable_bit(tmp_path):
    modes = {"top/sub/run.sh": stat.S_IFREG | 0o755}
    target = unpack_zip(saved(tmp_path, zip_bytes(SAFE, modes)), tmp_path / "out")
    for name, content in SAFE.items():
        path = target / name.removeprefix("top/")
        assert path.read_bytes() == content
        assert os.access(path, os.X_OK) == (name == "top/sub/run.sh")


def test_unpack_keeps_what_is_not_to_be_stripped(tmp_path):
    unpack_zip(saved(tmp_path, zip_bytes(SAFE)), tmp_path / "out", strip=0)
    assert (tmp_path / "out" / "top" / "a.txt").read_bytes() == b"a"


def test_unpack_replaces_the_target(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "old").touch()
    unpack_zip(saved(tmp_path, zip_bytes(SAFE)), tmp_path / "out")
    assert names(tmp_path / "out") == ["a.txt", "sub"]


LINK = stat.S_IFLNK | 0o777
ATTACKS = {
    "parent": ({"top/../../evil": b"x"}, {}),
    "absolute": ({"/top/evil": b"x"}, {}),
    "drive": ({"top/C:/evil": b"x"}, {}),
    "backslash": ({"top\\..\\..\\evil": b"x"}, {}),
    "nul": ({"top/evil\0.txt": b"x"}, {}),
    "dot": ({"top/./evil": b"x"}, {}),
    "link": ({"top/evil": b"/etc/passwd"}, {"top/evil": LINK}),
    "link then file": ({"top/d": b"/tmp", "top/d/evil": b"x"}, {"top/d": LINK}),
    "device": ({"top/evil": b""}, {"top/evil": stat.S_IFCHR | 0o666}),
    "two tops": ({"one/a": b"x", "two/a": b"y"}, {}),
    "file below file": ({"top/a": b"x", "top/a/b": b"y"}, {}),
    "outside the top": ({"evil": b"x"}, {}),
    "too much": ({"top/zeros": bytes(200_000)}, {}),
    "too much in all": ({f"top/{i}": bytes(30_000) for i in range(5)}, {}),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_unpack_refuses_attacks_and_leaves_nothing(tmp_path, attack):
    inside = tmp_path / "inside"
    inside.mkdir()
    files, modes = ATTACKS[attack]
    archive = saved(inside, zip_bytes({"top/good": b"good", **files}, modes))
    with pytest.raises(InputError) as caught:
        unpack_zip(archive, inside / "out", max_bytes=100_000)
    assert caught.value.file == archive
    assert names(inside) == ["archive.zip"]
    assert names(tmp_path) == ["inside"]


def test_unpack_refuses_a_size_that_lies(tmp_path):
    """The header declares 10 bytes; the content is more."""
    content = zip_bytes({"top/zeros": bytes(200_000)})
    archive = saved(tmp_path, content.replace((200_000).to_bytes(4, "little"), b"\n\0\0\0"))
    with pytest.raises(InputError):
        unpack_zip(archive, tmp_path / "out", max_bytes=100_000)
    assert names(tmp_path) == ["archive.zip"]


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_unpack_of_a_damaged_archive_is_an_error_or_harmless(tmp_path_factory, data):
    tmp_path = tmp_path_factory.mktemp("damaged")
    content = bytearray(zip_bytes(SAFE))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    archive = saved(tmp_path, bytes(content[: data.draw(st.integers(0, len(content)))]))
    try:
        unpack_zip(archive, tmp_path / "out", max_bytes=100_000)
    except InputError:
        assert names(tmp_path) == ["archive.zip"]


def test_unpack_refuses_what_is_no_archive(tmp_path):
    with pytest.raises(InputError, match="not a zip archive"):
        unpack_zip(saved(tmp_path, b"<html>please log in</html>"), tmp_path / "out")
    with pytest.raises(InputError, match="no such archive"):
        unpack_zip(tmp_path / "absent.zip", tmp_path / "out")


# ---------------------------------------------------------------- repositories


@pytest.fixture
def trees(tmp_path_factory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("published")
    unpack_zip(saved(folder, zip_bytes(SAFE)), folder / "out")
    return {"sub": git_tree_hash(folder / "out" / "sub")}


def test_repository_arrives_verified(server: LocalServer, tmp_path, trees):
    server.content = zip_bytes(SAFE)
    folder = fetch_repository(server.url, "c0ffee", tmp_path / "repo", trees, **QUICK)
    assert (folder / "a.txt").read_bytes() == b"a"
    assert names(tmp_path) == ["repo"]


WRONG = {
    "altered": zip_bytes(SAFE | {"top/sub/b.txt": b"c" * 5000}),
    "additional": zip_bytes(SAFE | {"top/sub/c.txt": b""}),
    "incomplete": zip_bytes({"top/a.txt": b"a"}),
    "not a zip": b"<html>please log in</html>",
    "cut": zip_bytes(SAFE)[:-30],
}


@pytest.mark.parametrize("wrong", WRONG)
def test_nothing_unverified_remains_of_a_repository(server: LocalServer, tmp_path, trees, wrong):
    server.content = WRONG[wrong]
    with pytest.raises(InputError):
        fetch_repository(server.url, "c0ffee", tmp_path / "repo", trees, **QUICK)
    assert names(tmp_path) == []


def test_repository_downloaded_by_hand_is_used(server: LocalServer, tmp_path, trees):
    (tmp_path / "repo-c0ffee.zip").write_bytes(zip_bytes(SAFE))
    fetch_repository(server.url, "c0ffee", tmp_path / "repo", trees, **QUICK)
    assert server.seen == []
    assert names(tmp_path) == ["repo"]


def test_repository_never_overwrites_a_folder(server: LocalServer, tmp_path, trees):
    (tmp_path / "repo").mkdir()
    (tmp_path / "repo" / "mine").touch()
    with pytest.raises(InputError, match="exists already"):
        fetch_repository(server.url, "c0ffee", tmp_path / "repo", trees, **QUICK)
    assert names(tmp_path / "repo") == ["mine"]
    assert server.seen == []


def test_a_full_disk_does_not_cost_the_download(tmp_path, monkeypatch):
    folder = tmp_path / "shop"
    archive = tmp_path / "shop-abc.zip"
    with zipfile.ZipFile(archive, "w") as stream:
        stream.writestr("top/dataset/a.txt", "a")

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr(Path, "mkdir", full)
        with pytest.raises((InputError, OSError)):
            fetch_repository("http://localhost:9", "abc", folder, {})
    assert archive.exists()
    assert not folder.exists()
    fetch_repository("http://localhost:9", "abc", folder, {})
    assert (folder / "dataset" / "a.txt").read_text() == "a"
