"""Bodies no honest client sends: each is refused as the sender's error and leaves no record of a fault."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import offices

DEEP = b'{"name":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
JSON = {
    "no UTF-8": b'{"code":"\xff","name":"\xd9"}',
    "a surrogate in UTF-8": b'{"code":"A","name":"\xed\xa0\x80"}',
    "a lone surrogate": b'{"code":"A","name":"\\ud800x"}',
    "bottomless arrays": DEEP,
    "bottomless objects": b'{"a":' * 50_000 + b"1" + b"}" * 50_000,
    "NaN": b'{"code":"A","name":NaN}',
    "a number beyond floats": b'{"code":"A","name":1e999}',
    "UTF-16": '{"code":"أ"}'.encode("utf-16"),
    "NUL in a text": b'{"code":"A","name":"\\u0000\\u0645"}',
    "NUL in the code": b'{"code":"A\\u0000","name":"x"}',
}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("hostile")


@pytest.fixture(scope="module")
def manager(home: Path) -> Iterator[offices.Person]:
    with offices.office(home, f"sqlite:///{home / 'test.db'}") as office:
        person = office.person()
        person.post("/api/projects", {"code": "P", "name": "مشروع"})
        yield person


@pytest.fixture(autouse=True)
def _no_fault_is_recorded(home: Path, manager: offices.Person) -> Iterator[None]:
    yield
    faults = home / "logs" / "noufal_errors.log"
    assert not faults.exists() or not faults.read_text(), faults.read_text()[-2000:]


@pytest.mark.parametrize("case", JSON)
def test_a_json_body(manager: offices.Person, case: str) -> None:
    answer = manager.send("POST", "/api/projects", content=JSON[case])
    assert answer.status in {400, 422}, answer
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("case", JSON)
@pytest.mark.parametrize("path", ["/api/auth/login", "/api/auth/link"])
def test_a_json_body_before_anybody_signed_in(manager: offices.Person, path: str, case: str) -> None:
    answer = manager.office.request("POST", path, content=JSON[case], headers={"content-type": "application/json"})
    assert answer.status in {400, 413, 422}, answer


def part(head: bytes, data: bytes) -> bytes:
    """Return one part of a form."""
    return b"--B\r\nContent-Disposition: form-data; " + head + b"\r\n\r\n" + data + b"\r\n"


FORMS = {
    "a file without a name": part(b'name="file"', b"PK\x03\x04\x92\xff"),
    "an empty file name": part(b'name="file"; filename=""', b"PK\x03\x04\x92\xff"),
    "an unknown encoding": part(b'name="a"\r\nContent-Type: text/plain; charset=nope', "م".encode()),
    "an extended file name only": part(b"name=\"file\"; filename*=utf-8''%d9%85%00%0d%0a.xlsx", b"PK\x03\x04\x92\xff"),
    "a field that is no text": part(b'name="a"', b"\xff\xfe"),
    "a bottomless field": part(b'name="a"', b"[" * 90_000),
    "a form within the form": part(b'name="file"\r\nContent-Type: multipart/mixed; boundary=C', b"--C\r\n\r\n\x92\r\n--C--"),
    "a field name of a megabyte": part(b'name="' + b"n" * 1_000_000 + b'"; filename="a.xlsx"', b"x"),
    "20,000 parts": b"".join(part(b'name="f%d"' % number, b"1") for number in range(20_000)),
    "two files": part(b'name="file"; filename="a.xlsx"', b"x") * 2,
}


@pytest.mark.parametrize("case", FORMS)
def test_a_form(manager: offices.Person, case: str) -> None:
    answer = manager.send("POST", "/api/projects/P/boq/import", content=FORMS[case] + b"--B--\r\n", kind="multipart/form-data; boundary=B")
    assert answer.status in {400, 413, 422}, answer
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(("path", "kind"), [("/api/projects", "application/json"), ("/api/projects/P/boq/import", "multipart/form-data; boundary=B")])
def test_a_client_that_leaves_halfway(manager: offices.Person, path: str, kind: str) -> None:
    async def leave() -> int:
        waiting: list[dict[str, Any]] = [{"type": "http.disconnect"}, {"type": "http.request", "body": b"--B\r\n", "more_body": True}]
        sent: list[Any] = []

        async def receive() -> dict[str, Any]:
            return waiting.pop() if len(waiting) > 1 else waiting[0]

        async def send(message: Any) -> None:
            sent.append(message)

        named = {"host": "localhost", "sec-fetch-site": "same-origin", "content-length": "100", "content-type": kind, "cookie": manager.cookie}
        scope = {
            "type": "http", "http_version": "1.1", "method": "POST", "scheme": "http", "path": path, "raw_path": path.encode(), "query_string": b"",
            "root_path": "", "client": ("127.0.0.1", 1), "server": ("localhost", 80), "state": {}, "asgi": {"version": "3.0"},
            "headers": [(name.encode(), value.encode()) for name, value in named.items()],
        }  # fmt: skip
        await manager.office.app(scope, receive, send)  # type: ignore[arg-type, unused-ignore]
        return int(sent[0]["status"])

    assert asyncio.run_coroutine_threadsafe(leave(), manager.office.loop).result(30) == 400


PATHS = ["/api/projects", "/api/projects/P", "/api/projects/P/boq/items", "/api/projects/P/boq/items/1", "/api/openapi.json"]


@pytest.mark.parametrize("path", PATHS)
def test_options_is_no_fault(manager: offices.Person, path: str) -> None:
    assert manager.send("OPTIONS", path).status == 204
    assert manager.office.request("OPTIONS", path).status == 401
