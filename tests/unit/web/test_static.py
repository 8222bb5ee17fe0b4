"""The folder of built files: what is served, how packed, and what never leaves it."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rakiza._kernel import Request, RequestContext
from rakiza.errors import NotFoundError
from rakiza.web import static_routes
from rakiza.web.static import StaticFolder

CONTEXT = RequestContext("1" * 32, "1" * 32, "2" * 16)


def asked(path: str = "", accept: bytes = b"") -> Request:
    return Request("GET", "/assets/" + path, {b"accept-encoding": accept}, CONTEXT, params={"path": path})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "assets").mkdir()
    (tmp_path / "index.html").write_text('<script nonce="__NONCE__"></script>نوفل', encoding="utf-8")
    (tmp_path / "assets/app-1.js").write_bytes(b"plain")
    (tmp_path / "assets/app-1.js.br").write_bytes(b"brotli")
    (tmp_path / "assets/app-1.js.gz").write_bytes(b"gzip")
    return tmp_path


def test_every_page_has_a_nonce_of_its_own_in_body_and_policy(folder: Path) -> None:
    static = StaticFolder(folder)
    pages = [static.page(asked()) for _ in range(2)]
    policies = [dict(page.headers)[b"content-security-policy"] for page in pages]
    assert policies[0] != policies[1]
    for page, policy in zip(pages, policies, strict=True):
        nonce = policy.partition(b"'nonce-")[2].partition(b"'")[0]
        assert len(nonce) >= 22
        assert b'nonce="' + nonce + b'"' in page.body
        assert b"__NONCE__" not in page.body
        assert dict(page.headers)[b"cache-control"] == b"no-store"


@pytest.mark.parametrize(
    ("accept", "encoding", "content"),
    [(b"gzip, br", b"br", b"brotli"), (b"gzip", b"gzip", b"gzip"), (b"", None, b"plain"), (b"zstd", None, b"plain")],
)
def test_an_asset_comes_packed_as_the_client_takes_it_and_for_ever(folder: Path, accept: bytes, encoding: bytes | None, content: bytes) -> None:
    response = StaticFolder(folder).asset(asked("app-1.js", accept))
    headers = dict(response.headers)
    assert response.file is not None
    assert response.file.read_bytes() == content
    assert headers.get(b"content-encoding") == encoding
    assert headers[b"content-type"] == b"text/javascript; charset=utf-8"
    assert headers[b"content-length"] == str(len(content)).encode()
    assert b"immutable" in headers[b"cache-control"]
    assert headers[b"vary"] == b"accept-encoding"


@pytest.mark.parametrize("path", ["../index.html", "app-1.js.br", "../../etc/passwd", "%2e%2e/index.html", "nothing.js", ""])
def test_nothing_but_the_built_files_is_served(folder: Path, path: str) -> None:
    with pytest.raises(NotFoundError):
        StaticFolder(folder).asset(asked(path))


@given(st.text())
def test_any_other_path_is_not_found(tmp_path_factory: pytest.TempPathFactory, path: str) -> None:
    with pytest.raises(NotFoundError):
        StaticFolder(tmp_path_factory.getbasetemp() / "none").asset(asked(path))


def test_a_file_that_went_away_is_not_found(folder: Path) -> None:
    static = StaticFolder(folder)
    (folder / "assets/app-1.js").unlink()
    with pytest.raises(NotFoundError, match="load the page again"):
        static.asset(asked("app-1.js"))


def test_without_a_build_a_plain_page_says_what_to_do(tmp_path: Path) -> None:
    static = StaticFolder(tmp_path / "static")
    page = static.page(asked())
    assert page.status == 200
    assert b"make ui" in page.body
    assert "الواجهة غير مبنية".encode() in page.body
    (tmp_path / "static").mkdir()
    (tmp_path / "static/index.html").write_bytes(b"built now")
    assert static.page(asked()).body == b"built now"


def test_the_page_stands_at_every_path_of_the_application(folder: Path) -> None:
    routes = static_routes(folder, ("/", "/projects/{rest:path}"))
    assert [route.path for route in routes] == ["/assets/{path:path}", "/", "/projects/{rest:path}"]
    assert {route.permission for route in routes} == {"public"}
