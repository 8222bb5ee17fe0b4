"""noufal on uvicorn, answered by clients of its own while its database is backed up by nobody, another process, or the server itself."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing
from http.client import HTTPConnection
from typing import TYPE_CHECKING

from benchmarks.backup import data, plan
from benchmarks.erp.office import EMAIL, PASSWORD, SAME_ORIGIN, Office, workbook
from benchmarks.http.processes import INHERITED, Server, two_cores
from benchmarks.http.stacks import LOG_BYTES, UNLIMITED
from benchmarks.turns import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from benchmarks.turns import Figures, Rows

CODE, ITEMS = "BENCH-400", 400
PAUSE_SECONDS, POLL_SECONDS, QUIET_SECONDS = 0.01, 0.005, 5.0
STALL_SECONDS = 0.02
NOUFAL = [sys.executable, "-c", "import sys; from noufal.cli import main; sys.exit(main())"]


def measure(rounds: int, megabytes: int, folder: Path) -> Rows:
    """Return the figures of every row by round; raise RuntimeError for an answer that is no success."""
    variables = {
        "NOUFAL_HOME": str(folder / "home"), "NOUFAL_ADMIN_EMAIL": EMAIL, "NOUFAL_ADMIN_PASSWORD": PASSWORD, "LOG_MAX_BYTES": str(LOG_BYTES),
        "RAKIZA_WEB_RATE_LIMIT_PER_MINUTE": str(UNLIMITED), "RAKIZA_WEB_REQUEST_TIMEOUT_SECONDS": "300", "PYTHONPATH": str(ROOT / "src"),
        "MAX_BACKUPS": "1",
    }
    command = (*NOUFAL, "serve", "--host", "127.0.0.1", "--port", "{port}", "--server", "uvicorn")
    with Server(command, variables, folder, two_cores()[0], "/readyz") as server:
        office = Office(server)
        office.open_project(CODE, "مشروع القياس")
        office.import_bill(CODE, workbook(ITEMS))
        _weigh(folder, megabytes)
        ways: dict[str, Callable[[], object]] = {
            plan.QUIET: lambda: time.sleep(QUIET_SECONDS),
            plan.BESIDE: lambda: _beside({**INHERITED, **variables}, folder),
            plan.WITHIN: lambda: _asked(server, office),
        }
        rows: Rows = {title: [] for title in ways}
        for _ in range(rounds):
            for title, way in ways.items():
                rows[title].append(Clients(server.port, office.headers).during(way))
        return rows


def _weigh(folder: Path, megabytes: int) -> None:
    """Put much else into the database of the server."""
    data.fill_sqlite(folder / "ballast.db", megabytes)
    (live,) = (folder / "home").rglob("noufal.db")
    with closing(sqlite3.connect(live, timeout=60, isolation_level=None)) as connection:
        connection.execute("attach ? as ballast", [str(folder / "ballast.db")])
        for table in data.ROW_BYTES:
            connection.execute(f"create table ballast_{table} as select * from ballast.{table}")
        connection.execute("pragma main.wal_checkpoint(truncate)")
    (folder / "ballast.db").unlink()


def _beside(variables: dict[str, str], folder: Path) -> None:
    done = subprocess.run([*NOUFAL, "backup", "create"], env=variables, cwd=folder, check=False, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"backup create ended with {done.returncode}: {done.stderr[-300:]}")


def _asked(server: Server, office: Office) -> None:
    reply = server.request("POST", "/api/backup/create", b"{}", {**office.headers, **SAME_ORIGIN, "Content-Type": "application/json"})
    if reply.status != 200:
        raise RuntimeError(f"/api/backup/create answered {reply.status}: {reply.body[:300].decode(errors='replace')}")


class Clients:
    """Read one project by its key and open another, by turns; and ask for /livez all the time: what keeps it waiting is the event loop."""

    _opened = 0

    def __init__(self, port: int, headers: dict[str, str]) -> None:
        self._port, self._headers = port, {**headers, **SAME_ORIGIN, "Content-Type": "application/json"}
        self._over, self._wrong = threading.Event(), list[str]()
        self._took: dict[str, list[float]] = {"read": [], "write": [], "live": []}

    def during(self, work: Callable[[], object]) -> Figures:
        """Return what the clients saw while something was done."""
        threads = [threading.Thread(target=each) for each in (self._read_and_write, self._poll)]
        begun = time.perf_counter()
        for each in threads:
            each.start()
        try:
            work()
        finally:
            seconds = time.perf_counter() - begun
            self._over.set()
            for each in threads:
                each.join()
        if self._wrong:
            raise RuntimeError(self._wrong[0])
        live, figures = self._took["live"], {"seconds": seconds, "requests": sum(map(len, self._took.values()))}
        for name in ("read", "write"):
            found = sorted(self._took[name])
            figures |= {f"{name}_p50": found[len(found) // 2] * 1000, f"{name}_p99": found[int(len(found) * 0.99)] * 1000}
        return figures | {"stalls": 100 * sum(one > STALL_SECONDS for one in live) / len(live)}

    def _read_and_write(self) -> None:
        with closing(HTTPConnection("127.0.0.1", self._port, timeout=300)) as connection:
            while not self._over.is_set() and not self._wrong:
                self._send(connection, "read", "GET", f"/api/projects/{CODE}")
                Clients._opened += 1
                self._send(connection, "write", "POST", "/api/projects", {"code": f"W-{Clients._opened}", "name": "مشروع جديد"})
                time.sleep(PAUSE_SECONDS)

    def _poll(self) -> None:
        with closing(HTTPConnection("127.0.0.1", self._port, timeout=300)) as connection:
            while not self._over.is_set() and not self._wrong:
                self._send(connection, "live", "GET", "/livez")
                time.sleep(POLL_SECONDS)

    def _send(self, connection: HTTPConnection, what: str, method: str, path: str, body: dict[str, str] | None = None) -> None:
        begun = time.perf_counter()
        connection.request(method, path, json.dumps(body).encode() if body else None, self._headers)
        response = connection.getresponse()
        said = response.read()
        self._took[what].append(time.perf_counter() - begun)
        if response.status not in (200, 201):
            self._wrong.append(f"{method} {path} answered {response.status}: {said[:300].decode(errors='replace')}")
