"""What an operator sees of the log, its followers and the audit trail, and does about them."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Annotated

import msgspec

from rakiza._kernel import DEFAULT_TENANT, OPS_ADMIN, OPS_READ, OPS_WRITE, Ports, Principal, Request, Response, Route, json_response
from rakiza._kernel.http import Handler
from rakiza.errors import MissingExtraError, NotFoundError

from ._browsing import Browser, StreamLine
from ._core import Event
from ._reading import ALL_TENANTS
from ._trail import Asked, AuditQuery, AuditRecord, AuditTrail, Position, VerifyState
from .errors import KeyFileError, SealedDataError
from .service import EventStore

Limit = Annotated[int, msgspec.Meta(ge=1, le=500)]
NEWEST = 2**63 - 1


class EventQuery(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Choose events."""

    limit: Limit = 50
    before: Position | None = None
    type: Asked = ""
    aggregate_type: Asked = ""
    aggregate_id: Asked = ""
    correlation_id: Asked = ""
    tag: Asked = ""
    user: Asked = ""
    since: datetime | None = None
    until: datetime | None = None

    def filters(self) -> dict[str, object]:
        """Return what is asked for as filters of the log."""
        given = {name: getattr(self, name) or None for name in ("aggregate_type", "aggregate_id", "correlation_id", "tag", "since", "until")}
        given |= {"user_id": self.user or None, "event_types": (self.type,) if self.type else None}
        return {name: value for name, value in given.items() if value is not None}


class StreamQuery(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Choose streams."""

    limit: Limit = 50
    after: Asked = ""
    aggregate_type: Asked = ""
    q: Asked = ""


class Period(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Choose a time: from `since` to before `until`."""

    since: datetime | None = None
    until: datetime | None = None


class DeadLetters(msgspec.Struct, forbid_unknown_fields=True):
    """Name what to try again; all when nothing is named."""

    positions: list[int] | None = None


class EventLine(msgspec.Struct):
    """Show an event without what it says."""

    position: int
    event_id: str
    event_type: str
    schema_version: int
    tenant: str
    aggregate_type: str
    aggregate_id: str
    version: int
    user_id: str | None
    user_name: str | None
    correlation_id: str | None
    causation_id: str | None
    tags: tuple[str, ...]
    recorded_at: str


class EventPage(msgspec.Struct):
    """Hold events, newest first, and where the next page begins."""

    events: list[EventLine]
    next_before: int | None
    head: int


class StreamPage(msgspec.Struct):
    """Hold streams and where the next page begins."""

    streams: list[StreamLine]
    next_after: str | None
    types: list[str]


class AuditPage(msgspec.Struct):
    """Hold audit records, newest first, and where the next page begins."""

    records: list[AuditRecord]
    next_before: int | None
    sealed: int
    head: int


def line(event: Event, names: Mapping[str, str]) -> EventLine:
    """Return an event without what it says."""
    about = (event.event_id, event.event_type, event.schema_version, event.tenant, event.aggregate_type, event.aggregate_id, event.version)
    at = event.recorded_at.isoformat()
    return EventLine(event.position, *about, event.user_id, names.get(event.user_id or ""), event.correlation_id, event.causation_id, event.tags, at)


class Endpoints:
    """Answer `/api/events/*` and `/api/audit/*`."""

    def __init__(self, events: EventStore, trail: AuditTrail, ports: Ports) -> None:
        self._events, self._trail, self._ports = events, trail, ports
        self._browser = Browser(events.store)

    # -- the log

    def page(self, request: Request) -> Response:
        """Return events, newest first."""
        asked = request.decode_query(EventQuery)
        chosen = self._events.filter(tenant=_tenant(request) or ALL_TENANTS, **asked.filters())
        upto = NEWEST if asked.before is None else asked.before - 1
        with self._events.store.read() as tx:
            found = self._events.reader.page(tx, chosen, 0, upto, asked.limit, backwards=True)
            head = self._events.reader.head(tx)
        names = self._names(found)
        return json_response(EventPage([line(event, names) for event in found], found[-1].position if len(found) == asked.limit else None, head))

    def _names(self, events: Iterable[Event]) -> Mapping[str, str]:
        return self._ports.people.names({event.user_id for event in events if event.user_id})

    def one(self, request: Request) -> Response:
        """Return one event with what it says, the one before it in its stream, and its neighbours there."""
        text = request.params["position"]
        event = self._events.at(int(text)) if text.isdecimal() and len(text) < 19 else None
        if event is None or _tenant(request) not in {None, event.tenant}:
            raise NotFoundError("there is no event at this position", message_ar="لا يوجد حدث في هذا الموضع")
        around = self._events.blocking_stream(event.aggregate_type, event.aggregate_id, event.version - 2, event.version + 1, tenant=event.tenant)
        near = {found.version - event.version: found for found in around}
        previous = near.get(-1)
        return json_response(
            {
                **self._full(event),
                "previous": self._full(previous) if previous else None,
                "previous_position": previous.position if previous else None,
                "next_position": near[1].position if 1 in near else None,
                "personal": self._personal(event, request.context.principal),
                "sealed": event.position <= self._trail.sealed_position(),
            }
        )

    def _full(self, event: Event) -> dict[str, object]:
        raw = {"payload": msgspec.Raw(event.payload_text.encode()), "metadata": msgspec.Raw(event.metadata_text.encode())}
        return {**msgspec.structs.asdict(line(event, self._names([event]))), **raw}

    def _personal(self, event: Event, reader: Principal | None) -> dict[str, object] | None:
        """Return the personal fields for an administrator, for others only their names."""
        if event.sealed is None:
            return None
        if reader is None or not reader.may(OPS_ADMIN):
            sealed = msgspec.json.decode(event.sealed)
            return {"subject": sealed.get("subject", ""), "erased": False, "hidden": True, "fields": dict.fromkeys(sealed.get("fields", ()))}
        try:
            fields = self._events.personal_fields(event)
        except (SealedDataError, KeyFileError, MissingExtraError) as error:
            fields = {"unreadable": str(error)}
        subject = msgspec.json.decode(event.sealed).get("subject", "")
        return {"subject": subject, "erased": bool(fields) and all(value is None for value in fields.values()), "fields": fields}

    def streams(self, request: Request) -> Response:
        """Return streams in the order of their names."""
        asked = request.decode_query(StreamQuery)
        own = _tenant(request)
        after = (own or "", "", "") if not asked.after else msgspec.json.decode(asked.after, type=tuple[Asked, Asked, Asked])
        kind = asked.aggregate_type or None
        with self._events.store.read() as tx:
            found = [one for one in self._browser.streams(tx, after, asked.limit, kind, asked.q) if own in {None, one.tenant}]
            types = self._browser.aggregate_types(tx)
        last = found[-1] if len(found) == asked.limit else None
        more = msgspec.json.encode((last.tenant, last.aggregate_type, last.aggregate_id)).decode() if last else None
        return json_response(StreamPage(found, more, types))

    def stats(self, request: Request) -> Response:
        """Return how long the log is and what this process does with it."""
        with self._events.store.read() as tx:
            types = self._browser.event_types(tx)
        return json_response({**self._events.get_stats(), "sealed": self._trail.sealed_position(), "types": types})

    # -- who follows the log

    def projections(self, request: Request) -> Response:
        """Return where every projection and consumer stands."""
        return json_response({"head": self._events.head(), "projections": self._events.projections()})

    def rebuild(self, request: Request) -> Response:
        """Begin to build a projection anew beside the one that serves."""
        name = request.params["name"]
        generation = self._events.rebuild_projection(name, wait=False)
        self._ports.audit.record("sensitive_update", "REBUILD", f"projection:{name}", {"generation": generation})
        return json_response({"name": name, "generation": generation}, 202)

    def dead_letters(self, request: Request) -> Response:
        """Return the events a projection or consumer set aside."""
        name = request.params["name"]
        return json_response({"dead_letters": [] if "\0" in name else self._events.dead_letters(name)})

    def retry(self, request: Request) -> Response:
        """Apply what was set aside again."""
        name, positions = request.params["name"], request.decode(DeadLetters).positions
        done = self._events.retry_dead_letters(name, positions)
        self._ports.audit.record("sensitive_update", "RETRY", f"projection:{name}", {"positions": positions, **done})
        return json_response(done)

    # -- the audit trail

    def audit(self, request: Request) -> Response:
        """Return audit records, newest first."""
        records, more = self._trail.search(request.decode_query(AuditQuery), _tenant(request))
        return json_response(AuditPage(records, more, self._trail.sealed_position(), self._events.head()))

    def seal(self, request: Request) -> Response:
        """Return the newest seal and where it is anchored."""
        return json_response(self._trail.seal_state())

    def verify(self, request: Request) -> Response:
        """Begin to verify the whole log in the background."""
        self._ports.audit.record("sensitive_read", "VERIFY", "audit")
        return json_response(self._trail.begin_verification(), 202)

    def verification(self, request: Request) -> Response:
        """Return how far the verification is and what it found."""
        return json_response(self._trail.verification)

    def proof(self, request: Request) -> Response:
        """Return the proof that an event is in the newest seal."""
        text = request.params["position"]
        if not (text.isdecimal() and len(text) < 19 and 0 < int(text) <= self._events.head()):
            raise NotFoundError("there is no event at this position", message_ar="لا يوجد حدث في هذا الموضع")
        found = self._trail.sealing().inclusion(int(text))
        shown = {"position": found.position, "size": found.size, "leaf": found.leaf.hex(), "root": found.root.hex(), "note": found.note}
        return json_response({**shown, "proof": [one.hex() for one in found.proof]})

    def export(self, request: Request) -> Response:
        """Return the audit records of a time as JSON lines, oldest first."""
        asked = request.decode_query(Period)
        self._events.filter(since=asked.since, until=asked.until)  # refused now, for an answer once begun cannot say so
        self._ports.audit.record("sensitive_read", "EXPORT", "audit", {"since": asked.since, "until": asked.until})
        headers = [(b"content-disposition", b'attachment; filename="audit.jsonl"'), (b"cache-control", b"no-store")]
        return Response(stream=self._lines(asked), headers=headers, content_type=b"application/x-ndjson")

    def _lines(self, asked: Period) -> Iterator[bytes]:
        for records in self._trail.pages(asked.since, asked.until):
            yield b"".join(msgspec.json.encode(record) + b"\n" for record in records)


def _tenant(request: Request) -> str | None:
    """Return the only tenant the caller may see, none for the operators of the whole system."""
    principal = request.context.principal
    return None if principal is None or principal.tenant == DEFAULT_TENANT else principal.tenant


def routes(events: EventStore, trail: AuditTrail, ports: Ports) -> tuple[Route, ...]:
    """Return the routes of the log and of the audit trail, each with its permission."""
    on = Endpoints(events, trail, ports)
    return (
        _route("GET /api/events", on.page, OPS_READ, "Events, newest first", (EventQuery, EventPage)),
        _route("GET /api/events/stats", on.stats, OPS_READ, "The length of the log and the work of this process"),
        _route("GET /api/events/streams", on.streams, OPS_READ, "Streams", (StreamQuery, StreamPage)),
        _route("GET /api/events/projections", on.projections, OPS_READ, "Where projections and consumers stand"),
        _route("POST /api/events/projections/{name}/rebuild", on.rebuild, OPS_WRITE, "Build a projection anew"),
        _route("GET /api/events/projections/{name}/dead-letters", on.dead_letters, OPS_READ, "Events a projection or consumer set aside"),
        _route("POST /api/events/projections/{name}/dead-letters/retry", on.retry, OPS_WRITE, "Apply what was set aside again", (DeadLetters, None)),
        _route("GET /api/events/{position}", on.one, OPS_READ, "One event"),
        _route("GET /api/audit", on.audit, OPS_READ, "Audit records, newest first", (AuditQuery, AuditPage)),
        _route("GET /api/audit/seal", on.seal, OPS_READ, "The newest seal and its anchors"),
        _route("POST /api/audit/verify", on.verify, OPS_WRITE, "Verify the whole log", (None, VerifyState)),
        _route("GET /api/audit/verify", on.verification, OPS_READ, "How far the verification is", (None, VerifyState)),
        _route("GET /api/audit/proof/{position}", on.proof, OPS_READ, "Prove that an event is sealed"),
        _route("GET /api/audit/export", on.export, OPS_ADMIN, "Audit records as JSON lines", (Period, None)),
    )


def _route(target: str, handler: Handler, permission: str, summary: str, types: tuple[type | None, type | None] = (None, None)) -> Route:
    method, _, path = target.partition(" ")
    return Route(method=method, path=path, handler=handler, permission=permission, summary=summary, request_type=types[0], response_type=types[1])
