"""The event store as a part."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import cast

import sqlalchemy as sa

from rakiza._kernel import Check, CheckResult, Context, Part, UnitOfWork
from rakiza.bus import Bus
from rakiza.errors import MissingExtraError
from rakiza.logs import Logs
from rakiza.store import Store, StoreError, Transaction
from rakiza.telemetry import Telemetry

from ._anchors import Anchor, FileAnchor, ObjectAnchor
from ._crypto import require
from ._notes import PublicKey, Signer
from ._personal import PersonalData
from ._sealer import Sealer
from ._trail import AuditTrail
from .commands import commands
from .http import routes
from .service import MIGRATIONS, EventStore
from .settings import EventSettings
from .tables import CHECKPOINT

QUEUE_FULL = 0.8
log = logging.getLogger("rakiza.events")


def part(settings: EventSettings, ctx: Context) -> Part:
    """Build the event store on the platform's database, take in every audit record, and seal behind the writers."""
    events = EventStore(ctx.need("store", Store), settings, clock=ctx.clock, supervisor=ctx.supervisor, pool=ctx.pool, bus=ctx.need("bus", Bus))
    logs = ctx.need("logs", Logs) if ctx.has("logs") else None
    trail = AuditTrail(events, port=logs, people=ctx.ports.people)
    if logs is not None:
        logs.audit_sinks.append(trail.take)
    else:
        ctx.ports.audit = trail
    if settings.seal:
        ctx.supervisor.every("events-seal", settings.seal_seconds, trail.seal, writes=True)
    if ctx.has("telemetry"):
        _watch(ctx.need("telemetry", Telemetry), events)
    events.trail = trail
    return Part(
        name="events",
        service=events,
        needs=("store", "bus"),
        migrations=MIGRATIONS,
        checks=(Check(name="events", fn=lambda: _look(events, trail), required=False, component_type="datastore"),),
        routes=routes(events, trail, ctx.ports),
        commands=commands(events, trail),
        start=_start(events, trail, ctx.home, ctx.app_name),
        stop=lambda: _stop(events, trail),
        restored=_let_go,
        files=(_anchor_file(settings, ctx.home),),
    )


def _let_go(tx: UnitOfWork) -> None:
    """Take the checkpoints of a database that was brought back from their owners, who know them further on than they are now."""
    cast("Transaction", tx).execute(sa.update(CHECKPOINT).values(owner=None))


def _start(events: EventStore, trail: AuditTrail, home: Path, name: str) -> Callable[[], None]:
    def start() -> None:
        settings = events.settings
        events.followers.open()
        try:
            require()
            events.personal = PersonalData(events.store, path=home / "keys" / "personal.key", key=settings.master_key, clock=events.clock)
            if settings.seal:
                earlier = [PublicKey.parse(text) for text in settings.trusted_keys]
                signer = Signer(name, path=home / "keys" / "seal.key", key=settings.signing_key, trusted=earlier)
                trail.open_keys(Sealer(events.store, signer, events.clock, _anchors(settings, home), settings.anchor_seconds))
        except MissingExtraError as error:
            log.warning("the audit trail is neither sealed nor are personal fields kept in it: %s; %s", error.detail, error.hint)

    return start


def _stop(events: EventStore, trail: AuditTrail) -> None:
    trail.close()
    try:
        trail.seal()  # so that nothing lies unsealed while nobody watches
    except StoreError as error:
        log.warning("the end of the log is not sealed: %s", error)
    events.close()


def _anchor_file(settings: EventSettings, home: Path) -> Path:
    return Path(settings.anchor_file) if settings.anchor_file else home / "anchors" / "seals.notes"


def _anchors(settings: EventSettings, home: Path) -> list[Anchor]:
    anchors: list[Anchor] = [FileAnchor(_anchor_file(settings, home))]
    if settings.anchor_url:
        anchors.append(ObjectAnchor(settings.anchor_url))
    return anchors


def _look(events: EventStore, trail: AuditTrail) -> CheckResult:
    waiting = events.waiting
    trouble = trail.trouble()
    if waiting > QUEUE_FULL * events.settings.queue_events:
        trouble = f"{waiting} events wait to be written: the database is slow or away"
    return CheckResult("warn" if trouble else "pass", waiting, "events waiting", trouble)


def _watch(telemetry: Telemetry, events: EventStore) -> None:
    metrics = telemetry.metrics
    metrics.watch("events_head", "Position of the last event, which is how many there are", lambda: _read(events.head))
    metrics.watch("events_waiting", "Events that wait to be written", lambda: events.waiting)
    metrics.watch("events_appended", "Events written by this process", lambda: events.appended)
    metrics.watch("events_conflicts", "Appends refused for another version than expected", lambda: events.conflicts)
    metrics.watch("events_lag", "Events the slowest projection or consumer has still to see", lambda: _read(events.lag))


def _read(count: Callable[[], int]) -> float:
    try:
        return count()
    except StoreError:
        return float("nan")
