"""What the ERP tells the log of events in the transaction that changes the rows, and how it reads the history of a line back."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import NamedTuple, Protocol

from rakiza._kernel import Principal
from rakiza.events import Event, EventStore
from rakiza.store import Transaction

PROJECT, ITEM = "Project", "BoqItem"
CHUNK = 5_000
"""Events handed over at once; all of a transaction stand or fall together anyway."""

Changes = dict[str, dict[str, str | None]]


class Fact(NamedTuple):
    """Say what happened to a project, or to one line of its bill."""

    event_type: str
    payload: Mapping[str, object]
    item: int | None = None


class History(Protocol):
    """Keep what happened and tell it again."""

    def record(self, tx: Transaction, caller: Principal, code: str, facts: Iterable[Fact]) -> None:
        """Write facts about the project `code` with the transaction, or not at all; the first, which must be there, is the cause of the others."""
        ...

    def of_item(self, tx: Transaction, caller: Principal, code: str, item: int, *, limit: int, before: int | None) -> Sequence[Event]:
        """Return at most `limit` events of a line, newest first, those with versions below `before` when it is given."""
        ...


class NoHistory:
    """Keep nothing, where the part `events` is switched off."""

    def record(self, tx: Transaction, caller: Principal, code: str, facts: Iterable[Fact]) -> None:
        """Do nothing."""

    def of_item(self, tx: Transaction, caller: Principal, code: str, item: int, *, limit: int, before: int | None) -> Sequence[Event]:
        """Return nothing."""
        return ()


class EventHistory:
    """Keep the history in the platform's event store: streams `Project` (its code) and `BoqItem` (`<code>/<id>`)."""

    def __init__(self, events: EventStore) -> None:
        self._events = events

    def record(self, tx: Transaction, caller: Principal, code: str, facts: Iterable[Fact]) -> None:
        """Append the facts at the end of the transaction."""
        events = (_event(caller, code, fact) for fact in facts)
        cause = {"causation_id": self._events.append(next(events), tx).event_id}
        while part := [{**event, **cause} for event in islice(events, CHUNK)]:
            self._events.append_many(part, tx)

    def of_item(self, tx: Transaction, caller: Principal, code: str, item: int, *, limit: int, before: int | None) -> Sequence[Event]:
        """Return one page of the stream."""
        identity = _item_stream(code, item)
        if before is None:
            return self._events.read(limit=limit, backwards=True, tenant=caller.tenant, aggregate_type=ITEM, aggregate_id=identity)
        last = before - 1
        return self._events.reader.stream(tx, (caller.tenant, ITEM, identity), last - limit, last)[::-1]


def difference(before: Mapping[str, str | None], after: Mapping[str, str | None]) -> Changes:
    """Return the fields of `after` that `before` has otherwise, each with both texts."""
    return {name: {"from": before[name], "to": text} for name, text in after.items() if before[name] != text}


def _event(caller: Principal, code: str, fact: Fact) -> dict[str, object]:
    kind, identity = (PROJECT, code) if fact.item is None else (ITEM, _item_stream(code, fact.item))
    what = {"event_type": fact.event_type, "aggregate_type": kind, "aggregate_id": identity, "payload": fact.payload}
    # A person is named by an id, so that the log, which forgets nothing, holds no personal data; a program has no such id.
    return {**what, "tenant": caller.tenant, "user_id": caller.id, "metadata": {} if caller.user_key else {"by": caller.name}}


def _item_stream(code: str, item: int) -> str:
    return f"{code}/{item}"
