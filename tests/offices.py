"""A site office for tests: the ERP on a database of its own, people signed in, and requests to it in this process."""

from __future__ import annotations

import asyncio
import json
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlencode

from noufal.app import create_app, create_platform
from noufal.part import Erp
from rakiza import Platform

XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
CHEAP = {"argon2_memory_kib": 8, "argon2_time": 1}
Make = Callable[[dict[str, Mapping[str, object]]], Platform]
UNLIMITED = {"rate_limit_per_minute": 10_000_000, "request_timeout_seconds": 300.0}


class Answer:
    """Hold what came back."""

    def __init__(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.status, self.headers, self.body = status, headers, body

    def json(self) -> Any:
        """Return the body read as JSON."""
        return json.loads(self.body)

    def __repr__(self) -> str:
        return f"{self.status} {self.body[:600].decode(errors='replace')}"


class Office:
    """The ERP in this process, on its own event loop."""

    def __init__(
        self, home: Path, database_url: str, make: Make = lambda given: create_platform(given, environ={}), **rooms: Mapping[str, object]
    ) -> None:
        settings: dict[str, Mapping[str, object]] = {
            "noufal": {"home": home, **rooms.pop("noufal", {})},
            "store": {"database_url": database_url, **rooms.pop("store", {})},
            "security": {**CHEAP, **rooms.pop("security", {})},
            "web": {**UNLIMITED, **rooms.pop("web", {})},
            **rooms,
        }
        self.platform = make(settings)
        self.app = create_app(self.platform)
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, name="office", daemon=True)
        self._thread.start()
        try:
            self.platform.start()
        except BaseException:
            self.close()
            raise

    @property
    def erp(self) -> Erp:
        """Return the services behind the routes."""
        return self.platform.service("noufal", Erp)

    def close(self) -> None:
        """Stop the platform and the loop."""
        self.platform.shutdown()
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.run_until_complete(self.loop.shutdown_asyncgens())
        self.loop.close()

    def person(self, email: str = "admin@noufal.example", role: str = "admin", name: str = "المدير") -> Person:
        """Return somebody signed in by a one-time link, created when new."""
        security = self.platform.security
        user = security.find_user(email) or security.create_user(email, name, role)
        return self.by_link(security.create_link(user))

    def by_link(self, token: str) -> Person:
        """Return who signs in with this link over HTTP."""
        answer = self.request("POST", "/api/auth/link", content=json.dumps({"token": token}).encode(), headers={"content-type": "application/json"})
        assert answer.status == 200, answer
        return Person(self, answer.headers["set-cookie"].partition(";")[0], answer.json())

    def request(self, method: str, target: str, *, content: bytes = b"", headers: Mapping[str, str] | None = None) -> Answer:
        """Send one request and return the answer."""
        return asyncio.run_coroutine_threadsafe(self._send(method, target, content, dict(headers or {})), self.loop).result(120)

    async def _send(self, method: str, target: str, content: bytes, headers: dict[str, str]) -> Answer:
        path, _, query = target.partition("?")
        given = {"host": "localhost", "sec-fetch-site": "same-origin", "content-length": str(len(content)), **headers}
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": unquote(path),
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "root_path": "",
            "headers": [(name.lower().encode(), value.encode("utf-8")) for name, value in given.items()],
            "client": ("127.0.0.1", 50000),
            "server": ("localhost", 80),
            "state": {},
        }
        sent: list[dict[str, Any]] = []
        waiting = [{"type": "http.request", "body": content, "more_body": False}]

        answered = asyncio.Event()

        async def receive() -> dict[str, Any]:
            if waiting:
                return waiting.pop()
            await answered.wait()
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            sent.append(message)
            if message["type"] == "http.response.body" and not message.get("more_body"):
                answered.set()

        await self.app(scope, receive, send)  # type: ignore[arg-type]
        head = {name.decode().lower(): value.decode("latin-1") for name, value in sent[0]["headers"]}
        return Answer(sent[0]["status"], head, b"".join(message.get("body", b"") for message in sent[1:]))


class Person:
    """Somebody signed in."""

    def __init__(self, office: Office, cookie: str, me: dict[str, Any]) -> None:
        self.office, self.cookie, self.me = office, cookie, me

    def send(
        self, method: str, path: str, body: object = None, *, content: bytes | None = None, kind: str = "application/json", **query: object
    ) -> Answer:
        """Send a request with this session."""
        data = content if content is not None else b"" if body is None else json.dumps(body).encode()
        asked = {key: str(value).lower() if isinstance(value, bool) else value for key, value in query.items()}
        target = f"{path}?{urlencode(asked)}" if asked else path
        return self.office.request(method, target, content=data, headers={"cookie": self.cookie, "content-type": kind})

    def get(self, path: str, **query: object) -> Any:
        """Return what a path answers; it must be 200."""
        answer = self.send("GET", path, **query)
        assert answer.status == 200, (path, query, answer)
        return answer.json()

    def post(self, path: str, body: object, status: int = 201) -> Any:
        """Post JSON and return the answer's JSON."""
        answer = self.send("POST", path, body)
        assert answer.status == status, (path, body, answer)
        return answer.json()

    def patch(self, path: str, body: object, status: int = 200) -> Any:
        """Patch and return the answer's JSON."""
        answer = self.send("PATCH", path, body)
        assert answer.status == status, (path, body, answer)
        return answer.json()

    def upload(self, code: str, content: bytes, name: str = "مقايسة.xlsx", *, dry_run: bool = False, field: str = "file") -> Answer:
        """Send a workbook to the import of a project."""
        body, kind = multipart(content, name, field)
        return self.send("POST", f"/api/projects/{quote(code)}/boq/import", content=body, kind=kind, dry_run=dry_run)

    def bring_in(self, code: str, content: bytes, name: str = "مقايسة.xlsx", *, dry_run: bool = False) -> Any:
        """Import a workbook that must be taken and return the report."""
        answer = self.upload(code, content, name, dry_run=dry_run)
        assert answer.status == 200, answer
        return answer.json()

    def items(self, code: str) -> list[dict[str, Any]]:
        """Return every item of a bill, walked by cursor."""
        found: list[dict[str, Any]] = []
        cursor = ""
        while True:
            page = self.get(f"/api/projects/{quote(code)}/boq/items", limit=500, **({"cursor": cursor} if cursor else {}))
            found += page["items"]
            cursor = page["next_cursor"]
            if not cursor:
                return found


def multipart(content: bytes, name: str, field: str = "file") -> tuple[bytes, str]:
    """Return body and content type of a form with one file."""
    boundary = f"form-{uuid.uuid4().hex}"
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="{field}"; filename="{name}"\r\nContent-Type: {XLSX}\r\n\r\n'
    return head.encode() + content + f"\r\n--{boundary}--\r\n".encode(), f"multipart/form-data; boundary={boundary}"


@contextmanager
def office(home: Path, database_url: str, **rooms: Mapping[str, object]) -> Iterator[Office]:
    """Open an office for a block."""
    one = Office(home, database_url, **rooms)
    try:
        yield one
    finally:
        one.close()
