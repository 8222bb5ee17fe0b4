"""Rows of the job queue as the engine leaves them, written directly: many at once, in any state."""

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa

from rakiza import Platform
from rakiza.jobs.tables import JOB, METADATA
from rakiza.store import JsonText, Store

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
STATES: dict[str, dict[str, object]] = {
    "ready": {"state": "ready"},
    "delayed": {"state": "ready", "waits_for": "time"},
    "waiting": {"state": "ready", "waits_for": "key"},
    "running": {"state": "running", "worker": "w-1", "started_at": NOON},
    "retry": {"state": "retry", "waits_for": "time", "attempt": 1},
    "failed": {"state": "failed", "finished_at": NOON},
    "done": {"state": "done", "finished_at": NOON},
    "cancelled": {"state": "cancelled", "finished_at": NOON},
}
"""What the columns of a job hold in each state that is shown."""


def written(payload: object) -> str:
    """Return JSON as the queue writes it: short, and Arabic as it is."""
    return json.dumps(payload, ensure_ascii=False, separators=(",", ":"))


def row(shown: str = "ready", **fields: Any) -> dict[str, Any]:
    """Return the columns of a job in a state that is shown; `payload` and `tags` are given as they mean."""
    none = {column.name: False if isinstance(column.type, sa.Boolean) else None for column in JOB.c}
    usual = {"tenant_id": "default", "queue": "default", "task": "email:send", "priority": 0, "run_at": NOON, "attempt": 0, "max_attempts": 10}
    usual |= {"tries": 10, "rescues": 0, "pending": 0, "created_at": NOON}
    given = {**none, **usual, **STATES[shown], **fields}
    given["payload"] = written(fields.get("payload", {"to": "sara@example.com"}))
    for name in ("tags", "context", "result", "errors"):
        given[name] = written(given[name]) if given[name] is not None else None
    return given


def _statement(store: Store) -> sa.Insert:
    values: dict[str, sa.ColumnElement[Any]] = {}
    for column in JOB.c:
        if column.name != "id":
            as_json = isinstance(column.type, JsonText) and store.dialect == "postgresql"
            given = sa.bindparam(f"v_{column.name}", type_=sa.Text() if as_json else column.type)
            values[column.name] = sa.cast(given, sa.JSON()) if as_json else given
    return JOB.insert().values(values)


def _given(one: Mapping[str, Any]) -> dict[str, Any]:
    return {f"v_{name}": value for name, value in one.items() if name != "id"}


def insert(store: Store, rows: Iterable[Mapping[str, Any]]) -> list[int]:
    """Write jobs and return their ids."""
    with store.begin() as tx:
        last = tx.scalar(sa.select(sa.func.max(JOB.c.id))) or 0
        if given := [_given(one) for one in rows]:
            tx.execute(_statement(store), given)
        return list(tx.execute(sa.select(JOB.c.id).where(JOB.c.id > last).order_by(JOB.c.id)).scalars())


def clear(store: Store) -> None:
    """Take every row away."""
    with store.begin() as tx:
        for table in METADATA.sorted_tables:
            tx.execute(table.delete())


def begin(platform: Platform) -> int:
    """Take every job away, and what a platform that serves test after test remembers of them; return where its log stands."""
    clear(platform.store)
    platform.jobs.engine._known_queues.clear()
    bulk: Any = next(route.handler for route in platform.routes() if route.path == "/api/jobs/bulk")
    bulk.__self__._browser.forget()
    return platform.events.head()


def failure(message: str = "تعذر الإرسال", attempt: int = 1, **more: object) -> dict[str, object]:
    """Return one entry of a job's errors."""
    return {"at": NOON.isoformat(), "attempt": attempt, "type": "OSError", "message": message, "traceback": "", **more}


def later(seconds: float) -> datetime:
    """Return the moment so many seconds after noon."""
    return NOON + timedelta(seconds=seconds)
