"""The audit trail: every audit record as an event of the log, to be searched and proved."""

import base64
import logging
import threading
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from itertools import starmap
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import msgspec
from sqlalchemy import Text, and_, func, literal_column, or_, select
from sqlalchemy import cast as sql_cast
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.sql import ColumnElement

from rakiza._kernel import Audit, current
from rakiza._kernel.ports import People, UnitOfWork
from rakiza.errors import AppError, MissingExtraError
from rakiza.store import Transaction, as_utc

from ._aside import Aside
from ._checkpoints import told
from ._core import MAX_DEPTH, MAX_NAME_CHARACTERS, Event
from ._export import Exported
from ._reading import ALL_TENANTS, COLUMNS
from ._sealer import Sealer
from ._verification import Progress, Report
from .errors import EventError, KeyFileError, SealedDataError, SealError, SubjectErasedError
from .tables import ANCHOR, EVENT

if TYPE_CHECKING:
    from ._personal import PersonalData
    from .service import EventStore

RECORDED = "audit.recorded"
AGGREGATE = "Audit"
PERSONAL = frozenset({"email", "phone", "ip", "ip_address", "user_agent", "device"})
"""Keys of details, on any level, that say who somebody is: sealed under that person's key, like the address a request came from."""
TOO_LARGE = {"left_out": "more than an event may hold; the audit file has it"}
MAX_PAGE = 500
Position = Annotated[int, msgspec.Meta(ge=-(2**53), le=2**63 - 1)]
Asked = Annotated[str, msgspec.Meta(max_length=1000, pattern=r"^[^\x00]*$")]
"""A text that may be compared with what is stored: PostgreSQL refuses NUL."""
log = logging.getLogger("rakiza.events")


class AuditQuery(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Ask for audit records; what is not said matches everything."""

    limit: int = 50
    before: Position | None = None
    q: Asked | None = None
    user: Asked | None = None
    action: Asked | None = None
    resource: Asked | None = None
    event_type: Asked | None = None
    since: datetime | None = None
    until: datetime | None = None


class AuditRecord(msgspec.Struct, kw_only=True):
    """Show one audit record; what was personal and is erased is absent."""

    position: int
    timestamp: str
    event_type: str
    user_id: str | None
    user_name: str | None
    action: str
    resource: str
    details: dict[str, object]
    ip_address: str | None
    request_id: str | None
    trace_id: str | None
    tenant: str
    sealed: bool


class VerifyState(msgspec.Struct, kw_only=True):
    """Tell how far a verification is: `idle`, `running` or `done`, with what it found."""

    state: str = "idle"
    checked: int = 0
    total: int = 0
    started_at: datetime | None = None
    finished_at: datetime | None = None
    result: Report | None = None
    error: str | None = None


class AuditTrail:
    """Write audit records into the log, find them there, prove that nothing was changed."""

    def __init__(self, events: "EventStore", sealer: Sealer | None = None, port: Audit | None = None, people: People | None = None) -> None:
        self._events, self._sealer, self._port, self._people = events, sealer, port, people
        self._aside = Aside(self._append_now)
        self.forget()
        self._closing, self._keyless = False, ""
        self.missed = 0
        """How many records stand only in the audit file, because the database could not take them."""

    def forget(self) -> None:
        """Begin anew in a forked child, whose parent may hold every lock and verifies for itself."""
        self._verifying = threading.Lock()
        self.verification = VerifyState()
        self._aside.forget()
        if self._sealer is not None:
            self._sealer.forget()

    def close(self) -> None:
        """Wait until the records taken on event loops are written; break a verification off."""
        self._closing = True
        self._aside.close()

    def record(
        self,
        event_type: str,
        action: str,
        resource: str,
        details: Mapping[str, object] | None = None,
        user_id: str | None = None,
        *,
        tx: UnitOfWork | None = None,
    ) -> None:
        """Write one audit record to the audit file and the log, with `tx` only if that transaction commits."""
        if self._port is not None:
            self._port.record(event_type, action, resource, details, user_id, tx=tx)
            return
        context = current()
        who = context.principal.id if user_id is None and context is not None and context.principal is not None else user_id
        ids = {"request_id": context.request_id, "trace_id": context.trace_id, "ip_address": context.client} if context is not None else {}
        said = {"event_type": event_type, "action": action, "resource": resource, "details": details, "user_id": who}
        self.take({"timestamp": self._events.clock.now().isoformat(), **said, **ids}, tx)

    def take(self, line: Mapping[str, object], tx: UnitOfWork | None) -> None:
        """Write a record of the audit file into the log as well: with its transaction, else by itself, once an open one has ended however it ends."""
        event, around = self._event(line), self._events.store.joinable(writing=True)
        if tx is not None:
            self._append(event, cast("Transaction", tx))
        elif around is not None:
            around.after_end(lambda: self._append_surely(event))
        else:
            self._append_surely(event)

    def _append_surely(self, event: dict[str, object]) -> None:
        """Append without a word to the caller; on an event loop, which must not wait and may end at any moment, in a thread aside."""
        if not self._events.on_loop():
            self._append_now(event)
        elif not self._aside.put(self._events.placed(event)):
            self.missed += 1
            log.error("an audit record stands only in the audit file: too many wait to be written")

    def _append_now(self, event: dict[str, object]) -> None:
        try:
            self._append(event, None)
        except (AppError, SQLAlchemyError, self._events.store.driver_error) as error:
            self.missed += 1
            log.error("an audit record stands only in the audit file: %s", error)

    def _append(self, event: dict[str, object], tx: Transaction | None) -> None:
        try:
            self._events.blocking_append([event], tx)
        except SubjectErasedError:  # what an erased person does is recorded all the same, without what would say who it is
            self._append({**event, "personal": {}}, tx)
        except (KeyFileError, SealedDataError) as error:  # no business is held up by a key
            self._keyless = f"personal details of audit records stand only in the audit file: {error}"
            self._append({**event, "personal": {}}, tx)
        except EventError as error:
            payload = cast("dict[str, object]", event["payload"])
            if error.stable_code != "event_too_large" or payload["details"] is TOO_LARGE:
                raise
            personal = {key: value for key, value in cast("dict[str, object]", event["personal"]).items() if key == "ip_address"}
            self._append({**event, "payload": {**payload, "details": TOO_LARGE}, "personal": personal}, tx)

    def _event(self, line: Mapping[str, object]) -> dict[str, object]:
        personal: dict[str, object] = {}
        details = _without_personal(line.get("details") or {}, personal)
        if line.get("ip_address"):
            personal["ip_address"] = line["ip_address"]
        user = line.get("user_id")
        payload = {key: _storable(line.get(key)) for key in ("event_type", "action", "resource", "request_id", "trace_id")}
        return {
            "event_type": RECORDED,
            "aggregate_type": AGGREGATE,
            "aggregate_id": printable(line.get("resource")) or "-",
            "payload": {**payload, "details": details},
            "user_id": printable(user) if user is not None else None,
            "tenant": line.get("tenant") or self._events.tenant(),
            "personal": personal if self._events.personal is not None else {},
            "subject": f"user:{printable(user)}" if user is not None else "visitor:" + str(line.get("timestamp"))[:7],
        }

    def search(self, asked: AuditQuery, tenant: str | None = None) -> tuple[list[AuditRecord], int | None]:
        """Return records, of one tenant or of all, newest first, and where the next page begins; blocks."""
        size = max(1, min(asked.limit, MAX_PAGE))
        self._events.filter(since=asked.since, until=asked.until)  # refuses times that cannot be
        mine = [] if tenant is None else [EVENT.c.tenant_id.concat("") == tenant]
        statement = select(*COLUMNS).where(*_conditions(asked), *mine).order_by(EVENT.c.position.desc()).limit(size)
        with self._events.store.read() as tx:
            found = list(starmap(Event, tx.execute(statement)))
        sealed = self.sealed_position()
        return self._all_shown(found, sealed), found[-1].position if len(found) == size else None

    def _all_shown(self, events: Sequence[Event], sealed: int) -> list[AuditRecord]:
        names = self._people.names({event.user_id for event in events if event.user_id}) if self._people is not None else {}
        return [self._shown(event, sealed, names) for event in events]

    def sealed_position(self) -> int:
        """Return the position up to which the log is sealed; blocks."""
        last = self._sealer.last() if self._sealer is not None else None
        return last.size if last is not None else 0

    # -- seals

    def open_keys(self, sealer: Sealer | None) -> None:
        """Seal from now on."""
        self._sealer, self._closing = sealer, False
        self.verification = VerifyState()

    def seal(self) -> None:
        """Seal what is new, step by step until nothing is left or the platform stops."""
        while self._sealer is not None and self._sealer.seal() is not None and not self._closing:
            pass

    def trouble(self) -> str | None:
        """Return what keeps records from the log or the log from its seals, or none."""
        if self._keyless:
            return self._keyless
        missed = f"{self.missed} audit records stand only in the audit file" if self.missed else None
        return (self._sealer.trouble if self._sealer is not None else None) or missed

    def sealing(self) -> Sealer:
        """Return the sealer; raise SealError when there are no keys to seal with."""
        if self._sealer is None:
            raise SealError("the log is not sealed here", hint='pip install "rakiza[events]" and set RAKIZA_EVENTS_SEAL=true')
        return self._sealer

    def verify(self, progress: Progress | None = None) -> Report:
        """Look at every event, tile, seal and anchor and say what was changed and where; `progress(checked, total)` is told each page."""
        return self.sealing().verify(progress)

    def begin_verification(self) -> VerifyState:
        """Verify in the background, one at a time, and return the state; raise SealError when there are no keys."""
        self.sealing()
        with self._verifying:
            if self.verification.state != "running":
                self.verification = VerifyState(state="running", total=self.sealed_position(), started_at=self._events.clock.now())
                self._events.pool.submit(self._verify, self.verification)
        return self.verification

    def _verify(self, state: VerifyState) -> None:
        def progress(checked: int, total: int) -> None:
            state.checked, state.total = checked, total
            if self._closing:
                raise SealError("the verification was broken off, because the platform stops")

        try:
            state.result = self.verify(progress)
        except Exception as error:  # noqa: BLE001 - border: the task supervisor
            state.error = str(error) if isinstance(error, AppError) else told(error)
        finally:
            state.state, state.finished_at = "done", self._events.clock.now()

    def seal_state(self) -> dict[str, object]:
        """Return the newest seal, the key and the anchors, for people; blocks."""
        sealer = self.sealing()
        last, public = sealer.last(), sealer.signer.public
        newest = select(ANCHOR.c.name, func.max(ANCHOR.c.size)).group_by(ANCHOR.c.name).subquery()
        found = select(ANCHOR).join(newest, and_(ANCHOR.c.name == newest.c[0], ANCHOR.c.size == newest.c[1])).order_by(ANCHOR.c.name)
        with self._events.store.read() as tx:
            anchors = [
                {"name": row.name, "size": row.size, "anchored_at": row.anchored_at.isoformat(), "receipt": row.receipt} for row in tx.execute(found)
            ]
        shown = {"size": last.size, "root": last.root.hex(), "note": last.note, "sealed_at": as_utc(last.sealed_at).isoformat()} if last else {}
        return {
            "head": self._events.head(),
            **({"size": 0, "root": "", "note": "", "sealed_at": None} | shown),
            "key_name": public.name,
            "public_key": base64.b64encode(public.key).decode(),
            "anchors": anchors,
            "trouble": sealer.trouble,
        }

    def export(self, folder: str | Path, since: datetime | None = None, until: datetime | None = None) -> Exported:
        """Write what is sealed, and a verifier that needs only Python, to a folder for an auditor; raise SealError, ValueError, OSError."""
        return self.sealing().export(folder, since, until)

    def erase(self, subject: str, tenant: str | None = None) -> None:
        """Make the personal fields of a subject (`user:<id>`) unreadable for ever; what is sealed stays provable. Raise EventError without keys.

        Nothing can be sealed for the subject from then on, also when nothing was before.
        """
        self._keys().erase(tenant or self._events.tenant(), subject)
        self.record("sensitive_delete", "ERASE", printable(subject))

    def erasure(self, subject: str, tenant: str | None = None) -> bool | None:
        """Tell whether a subject was erased; none when nothing was ever sealed for it. Raise EventError without keys."""
        keys, tenant = self._keys(), tenant or self._events.tenant()
        return keys.erased(tenant, subject) if keys.known(tenant, subject) else None

    def _keys(self) -> "PersonalData":
        if self._events.personal is None:
            raise EventError("there are no keys of subjects here", hint='pip install "rakiza[events]"')
        return self._events.personal

    def pages(self, since: datetime | None = None, until: datetime | None = None) -> Iterator[list[AuditRecord]]:
        """Yield the audit records of a time, oldest first, in pages."""
        sealed = self.sealed_position()
        chosen = self._events.filter(tenant=ALL_TENANTS, event_types=(RECORDED,), since=since, until=until)
        for page in self._events.reader.pages(chosen, size=MAX_PAGE):
            yield self._all_shown(page, sealed)

    # -- search

    def _personal(self, event: Event) -> dict[str, object]:
        """Return the personal fields; one person's lost key must not hide everybody's records."""
        try:
            return dict(self._events.personal_fields(event))
        except (SealedDataError, KeyFileError, MissingExtraError) as error:
            return {"unreadable": str(error)}

    def _shown(self, event: Event, sealed: int, names: Mapping[str, str]) -> AuditRecord:
        payload = event.payload
        details, personal = cast("dict[str, object]", payload.get("details") or {}), self._personal(event)
        address = personal.pop("ip_address", None)
        return AuditRecord(
            position=event.position,
            timestamp=event.recorded_at.isoformat(timespec="milliseconds"),
            event_type=str(payload.get("event_type", "")),
            user_id=event.user_id,
            user_name=names.get(event.user_id or ""),
            action=str(payload.get("action", "")),
            resource=str(payload.get("resource", event.aggregate_id)),
            details={**details, **personal},
            ip_address=None if address is None else str(address),
            request_id=cast("str | None", payload.get("request_id")) or None,
            trace_id=cast("str | None", payload.get("trace_id")) or None,
            tenant=event.tenant,
            sealed=event.position <= sealed,
        )


def _without_personal(value: object, found: dict[str, object], path: tuple[str, ...] = ()) -> object:
    """Return details that can be stored, with what is personal moved to `found` under its path."""
    if len(path) > MAX_DEPTH:
        return value
    if isinstance(value, Mapping):
        kept: dict[object, object] = {}
        for key, inner in value.items():
            name = _storable(key)
            if key in PERSONAL:
                found[".".join((*path, str(name)))] = inner
            else:
                kept[name] = _without_personal(inner, found, (*path, str(name)))
        return kept
    if isinstance(value, list | tuple):
        return [_without_personal(inner, found, (*path, str(number))) for number, inner in enumerate(value)]
    return _storable(value)


def _storable(value: object) -> object:
    """Return a text without what UTF-8 or PostgreSQL cannot hold: such a record must not be missing, or break the search for others."""
    if isinstance(value, str) and (("\0" in value) or not value.isascii()):
        return value.replace("\0", "\N{REPLACEMENT CHARACTER}").encode("utf-8", "replace").decode()
    return value


def printable(value: object) -> str:
    """Return a value as the name of a stream may be: printable and not too long."""
    return "".join(letter if letter.isprintable() else " " for letter in str(value))[:MAX_NAME_CHARACTERS]


def _conditions(asked: AuditQuery) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = [EVENT.c.event_type == RECORDED]
    if asked.before is not None:
        found.append(EVENT.c.position < asked.before)
    if asked.user:
        found.append(EVENT.c.user_id == asked.user)
    said = {"action": asked.action, "resource": asked.resource, "event_type": asked.event_type}
    found.extend(_field(name) == wanted for name, wanted in said.items() if wanted)
    if asked.since is not None:
        found.append(EVENT.c.recorded_at >= asked.since)
    if asked.until is not None:
        found.append(EVENT.c.recorded_at < asked.until)
    if asked.q:
        found.append(and_(*(_holds(word) for word in asked.q.split()[:8])))
    return found


def _field(name: str) -> ColumnElement[str]:
    return EVENT.c.payload.op("->>", return_type=Text())(literal_column(f"'{name}'"))


def _holds(word: str) -> ColumnElement[bool]:
    pattern = "%" + word.lower().replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") + "%"
    return or_(func.lower(sql_cast(EVENT.c.payload, Text)).like(pattern, escape="\\"), func.lower(EVENT.c.user_id).like(pattern, escape="\\"))
