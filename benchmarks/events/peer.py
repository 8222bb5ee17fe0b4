"""The `eventsourcing` library (BSD-3-Clause), as its documentation shows it, with a pool that is large enough for every caller."""

from __future__ import annotations

import json
import time
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit
from uuid import NAMESPACE_URL, UUID, uuid4, uuid5

from eventsourcing.application import Application
from eventsourcing.domain import Aggregate, event
from eventsourcing.persistence import StoredEvent, Tracking
from eventsourcing.postgres import PostgresTrackingRecorder
from eventsourcing.projection import Projection, ProjectionRunner
from psycopg.sql import SQL

from benchmarks.events import load
from benchmarks.events.samples import METADATA, PAYLOAD, VERSIONS

if TYPE_CHECKING:
    from collections.abc import Callable

PAGE = 5000
FILL_BATCH = 1000
POSTGRES_FILL = (
    "INSERT INTO {} (originator_id, originator_version, topic, state) "
    f"SELECT md5((g / {VERSIONS})::text)::uuid, g %% {VERSIONS} + 1, t[least(g %% {VERSIONS}, 1) + 1], s[least(g %% {VERSIONS}, 1) + 1] "
    "FROM (SELECT ARRAY[%s, %s]::text[] AS t, ARRAY[%s, %s]::bytea[] AS s) AS each, generate_series(0, %s - 1) g ORDER BY g"
)


class Invoice(Aggregate):
    """An aggregate whose events carry the sample."""

    @event("Created")
    def __init__(self, body: dict[str, Any], metadata: dict[str, Any]) -> None:
        """Keep nothing: only the events are of interest."""

    @event("Changed")
    def change(self, body: dict[str, Any], metadata: dict[str, Any]) -> None:
        """Keep nothing."""


class Office(Application[UUID]):
    """An application of the library."""


class Totals(PostgresTrackingRecorder):
    """A view: one row for each aggregate."""

    def __init__(self, datastore: Any, **settings: Any) -> None:
        """Add the table."""
        super().__init__(datastore, **settings)
        self.sql_create_statements.append(SQL("CREATE TABLE IF NOT EXISTS total (id text PRIMARY KEY, events bigint, amount numeric)"))

    def add(self, key: str, amount: Decimal, tracking: Tracking) -> None:
        """Add one event to its row, with the checkpoint in the same transaction."""
        with self.datastore.transaction(commit=True) as cursor:
            self._insert_tracking(cursor, tracking)
            cursor.execute(
                "INSERT INTO total VALUES (%s, 1, %s) ON CONFLICT (id) DO UPDATE SET events = total.events + 1, "
                "amount = total.amount + excluded.amount", (key, amount), prepare=True,
            )


class Amounts(Projection[Totals]):
    """Add up amounts, and keep when each event was done."""

    name = "amounts"
    seen: dict[int, float]

    def process_event(self, domain_event: Any, tracking: Tracking) -> None:  # type: ignore[override]
        """Take one event."""
        self.view.add(str(domain_event.originator_id), Decimal(domain_event.body["total"]), tracking)
        self.seen[tracking.notification_id] = time.perf_counter()


def environment(target: str, callers: int = 8) -> dict[str, str]:
    """Return the settings of the library."""
    if not target.startswith("postgresql:"):
        return {"PERSISTENCE_MODULE": "eventsourcing.sqlite", "SQLITE_DBNAME": target, "SQLITE_LOCK_TIMEOUT": "60"}
    parts = urlsplit(target)
    return {
        "PERSISTENCE_MODULE": "eventsourcing.postgres", "POSTGRES_DBNAME": parts.path[1:], "POSTGRES_HOST": parse_qs(parts.query)["host"][0],
        "POSTGRES_USER": str(parts.username), "POSTGRES_PASSWORD": "none", "POSTGRES_POOL_SIZE": str(callers + 2),
    }


def saving(application: Office, events: int) -> Callable[[], int]:
    """Return one call of `Application.save`."""

    def save() -> int:
        invoice = Invoice(body=PAYLOAD, metadata=METADATA)
        for _ in range(events - 1):
            invoice.change(body=PAYLOAD, metadata=METADATA)
        application.save(invoice)
        return events

    return save


def recording(application: Office, events: int) -> Callable[[], int]:
    """Return one call of the recorder, with events that are already text."""
    state = json.dumps({"body": PAYLOAD, "metadata": METADATA}, ensure_ascii=False, separators=(",", ":")).encode()

    def record() -> int:
        key = uuid4()
        application.recorder.insert_events([StoredEvent(key, version, "sample:Invoice.Created", state) for version in range(1, events + 1)])
        return events

    return record


def append(target: str, how: str, callers: int, events: int, seconds: float) -> load.Figures:
    """Append from threads through the recorder or the whole application."""
    make = saving if how == "save" else recording
    with Office(environment(target, callers)) as application:
        return load.threads(callers, seconds, lambda: make(application, events)) | {"stored": count(application)}


def count(application: Office) -> int:
    """Return the number of stored events, read back page by page."""
    return sum(len(page) for page in pages(application))


def fill(target: str, events: int) -> load.Figures:
    """Make a log to read from the events that `save` would write."""
    with Office(environment(target)) as application:
        invoice = Invoice(body=PAYLOAD, metadata=METADATA)
        invoice.change(body=PAYLOAD, metadata=METADATA)
        created, changed = [application.mapper.to_stored_event(each) for each in invoice.pending_events]
        recorder: Any = application.recorder
        if target.startswith("postgresql:"):  # a large pipelined insert of the library waits for ever
            with recorder.datastore.transaction(commit=True) as cursor:
                cursor.execute(POSTGRES_FILL.format(recorder.events_table_name), (created.topic, changed.topic, created.state, changed.state, events))
        else:
            for first in range(0, events, FILL_BATCH):
                recorder.insert_events([
                    StoredEvent(uuid5(NAMESPACE_URL, str(number // VERSIONS)), number % VERSIONS + 1, each.topic, each.state)
                    for number in range(first, min(events, first + FILL_BATCH))
                    for each in [changed if number % VERSIONS else created]
                ])
        return {"stored": count(application)}


def pages(application: Office) -> Any:
    """Yield pages of notifications."""
    start = 1
    while page := application.recorder.select_notifications(start=start, limit=PAGE):
        start = page[-1].id + 1
        yield page


def replay(target: str, how: str) -> load.Figures:
    """Read every event once: `read` fetches notifications, `mapper` makes domain events of them."""
    with Office(environment(target)) as application:
        start, done, total = time.perf_counter(), 0, 0.0
        for page in pages(application):
            done += len(page)
            if how == "mapper":
                for notification in page:
                    total += float(application.mapper.to_domain_event(notification).body["total"])
        return {"per_second": done / (time.perf_counter() - start), "read": done}


def rebuild(target: str, events: int) -> load.Figures:
    """Run the projection over a log from nothing, in a database of its own."""
    fill(target, events)
    Amounts.seen = {}
    with ProjectionRunner(application_class=Office, projection_class=Amounts, view_class=Totals, env=environment(target)) as runner:
        runner.wait(events, timeout=600)
    first, *_, last = sorted(Amounts.seen.values())
    return {"per_second": (len(Amounts.seen) - 1) / (last - first), "read": len(Amounts.seen)}


def lag(target: str, appends: int, pause_seconds: float) -> load.Figures:
    """Follow the application with the runner while it saves."""
    Amounts.seen = {}
    acknowledged: dict[int, float] = {}
    with ProjectionRunner(application_class=Office, projection_class=Amounts, view_class=Totals, env=environment(target)) as runner:
        for _ in range(appends):
            recordings = runner.app.save(Invoice(body=PAYLOAD, metadata=METADATA))
            acknowledged[recordings[-1].notification.id] = time.perf_counter()
            time.sleep(pause_seconds)
        runner.wait(max(acknowledged), timeout=30)
        time.sleep(0.1)
    return load.lags(acknowledged, Amounts.seen)


CASES: dict[str, Callable[..., load.Figures]] = {"append": append, "fill": fill, "replay": replay, "rebuild": rebuild, "lag": lag}
