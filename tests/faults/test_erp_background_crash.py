"""The server is killed while a job imports a large bill: the next one ends the import, and the bill is there once."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

import bills
import offices
from rakiza.store import Store
from served import Served

ROWS = 4_000
TABLES = {"imports": "noufal_boq_import", "items": "noufal_boq_item", "told": "rakiza_events_event where event_type = 'boq.imported'"}
NOTHING, ONCE = {"imports": 0, "items": 0, "told": 0}, {"imports": 1, "items": ROWS, "told": 1}
PAUSE = threading.Event()


@pytest.fixture(params=["sqlite", "postgresql"])
def durable_url(request: pytest.FixtureRequest) -> str:
    return str(request.getfixturevalue("sqlite_url" if request.param == "sqlite" else "durable_postgres_url"))


def counted(url: str) -> dict[str, Any]:
    store = Store(url)
    with store.read() as tx:
        found = {name: tx.scalar(sa.text(f"select count(*) from {table}")) for name, table in TABLES.items()}
    store.close()
    return found


def wait(condition: Callable[[], bool]) -> None:
    """Wait until something is so; fail after a minute."""
    for _ in range(3_000):
        if condition():
            return
        PAUSE.wait(0.02)
    raise AssertionError("it did not come to that")


def test_kill_9_during_an_import_in_the_background(tmp_path: Path, durable_url: str) -> None:
    form, kind = offices.multipart(bills.layout_c(bills.lines(ROWS)), "مقايسة كبيرة.xlsx")
    spool = tmp_path / "home" / "imports"
    with Served(tmp_path / "home", durable_url) as server:
        server.sign_in().send("POST", "/api/projects", {"code": "P", "name": "مشروع"})
        answer = server.request("POST", "/api/projects/P/boq/import?dry_run=false&background=true", form, {"content-type": kind})
        assert answer.status == 202, answer
        path = f"/api/projects/P/imports/{answer.json()['job_id']}"
        wait(lambda: server.get(path)["state"] != "ready")
        server.child.process.kill()
        server.child.finish()
    assert counted(durable_url) in (NOTHING, ONCE)
    with Served(tmp_path / "home", durable_url) as server:
        server.sign_in()
        wait(lambda: server.get(path)["state"] not in {"ready", "running", "retry"})
        state = server.get(path)
        assert (state["state"], state["problem"], state["report"]["written"]) == ("done", None, True)
        assert (state["report"]["items"], state["report"]["changes"]["added"]) == (ROWS, ROWS)
        summary = server.get("/api/projects/P/boq/summary")
        assert (summary["items_count"], summary["total_cost"]) == (ROWS, state["report"]["net_total"])
        wait(lambda: not list(spool.iterdir()))  # deleted after the commit
    assert counted(durable_url) == ONCE
