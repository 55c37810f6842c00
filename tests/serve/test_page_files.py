"""The files of the page, and that they stand in nobody's way."""

from __future__ import annotations

from served import problem, serving

from vsa.serve import app


def test_the_page_and_its_files_are_there_and_hide_nothing(engine, tmp_path, monkeypatch):
    page = tmp_path / "page"
    page.mkdir()
    (page / "index.html").write_text("<title>Search</title>")
    (page / "page.js").write_text("1")
    (tmp_path / "secret").write_text("secret")
    monkeypatch.setattr(app, "PAGE", page)
    with serving(engine) as client:
        assert client.get("/").text == client.get("/index.html").text == "<title>Search</title>"
        assert client.get("/page.js").headers["content-type"].startswith("text/javascript")
        framed = client.get("/").headers["content-security-policy"]
        assert framed == "frame-ancestors 'none'"
        assert client.head("/").status_code == 200
        tag = client.get("/page.js").headers["etag"]
        assert client.get("/page.js", headers={"If-None-Match": tag}).status_code == 304
        problem(client.get("/v1/search"), 405)
        for path in ("/none.js", "/../secret", "/%2e%2e/secret"):
            problem(client.get(path), 404)
