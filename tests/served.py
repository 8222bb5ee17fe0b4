"""The ERP as a process of its own, to kill, fill and restart, and people who talk to it over the wire."""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, Self

from offices import Answer, multipart
from servers import Child

EMAIL, PASSWORD = "admin@example.com", "قصر أخضر فوق سبع رمال 7391"
SOURCE = "import sys; sys.argv[0] = 'noufal'; from noufal.cli import main; main()"
CHEAP = {"RAKIZA_SECURITY_ARGON2_MEMORY_KIB": "8", "RAKIZA_SECURITY_ARGON2_TIME": "1"}
APART = "import os, sys; os.dup2(os.open(sys.argv.pop(1), os.O_CREAT | os.O_TRUNC | os.O_WRONLY), 2)\n"
"""Let a process write its errors to the file that is its first argument."""


class Ran(NamedTuple):
    """How a command ended and what it wrote."""

    returncode: int
    stdout: str
    stderr: str


def command(home: Path, *arguments: str, source: str = SOURCE, **settings: str) -> Ran:
    """Run `noufal` with these arguments to its end, in a process of its own; `settings` are environment variables."""
    errors = home.with_name(f"{home.name}.errors")
    with Child(APART + source, str(errors), *arguments, env={"NOUFAL_HOME": str(home), **settings}) as child:
        written = "".join(f"{line}\n" for line in child.finish())
        return Ran(child.process.wait(), written, errors.read_text(encoding="utf-8"))


class Served:
    """One running `noufal serve`."""

    def __init__(self, home: Path, database_url: str = "", *arguments: str, **settings: str) -> None:
        """Start on a free port and wait until it answers; `settings` are environment variables."""
        given = {"NOUFAL_ADMIN_EMAIL": EMAIL, "NOUFAL_ADMIN_PASSWORD": PASSWORD, "RAKIZA_HEALTH_DRAIN_SECONDS": "0", **CHEAP}
        env = {"NOUFAL_HOME": str(home), **given, **settings}
        if database_url:
            env["DATABASE_URL"] = database_url
        self.child = Child(SOURCE, "serve", "--port", "0", *arguments, env=env)
        try:
            self.port = int(self.child.wait_for("noufal serves on").rpartition(":")[2])
        except BaseException:
            self.child.close()
            raise
        self.cookie = ""

    def request(self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None) -> Answer:
        """Send one request; raise OSError or HTTPException when the server goes away."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        try:
            given = {"sec-fetch-site": "same-origin", "content-type": "application/json", "cookie": self.cookie, **(headers or {})}
            connection.request(method, path, body, given)
            reply = connection.getresponse()
            return Answer(reply.status, {name.lower(): value for name, value in reply.getheaders()}, reply.read())
        finally:
            connection.close()

    def sign_in(self) -> Served:
        """Sign the administrator in."""
        answer = self.request("POST", "/api/auth/login", json.dumps({"email": EMAIL, "password": PASSWORD}).encode())
        assert answer.status == 200, answer
        self.cookie = answer.headers["set-cookie"].partition(";")[0]
        return self

    def send(self, method: str, path: str, body: object) -> Answer:
        """Send JSON."""
        return self.request(method, path, json.dumps(body).encode())

    def get(self, path: str) -> Any:
        """Return what a path answers; it must be 200."""
        answer = self.request("GET", path)
        assert answer.status == 200, answer
        return answer.json()

    def upload(self, code: str, content: bytes) -> Answer:
        """Import a workbook."""
        body, kind = multipart(content, "مقايسة.xlsx")
        return self.request("POST", f"/api/projects/{code}/boq/import?dry_run=false", body, {"content-type": kind})

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.child.close()
