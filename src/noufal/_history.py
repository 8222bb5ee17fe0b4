"""What the ERP tells the log of events in the transaction that changes the rows, and how it reads the history of a line back."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import NamedTuple, Protocol

from rakiza._kernel import Principal, uuid7
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
        """Write facts about the project `code` with the transaction, or not at all; the first is the cause of the others."""
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
        events = _events(caller, code, facts)
        while part := list(islice(events, CHUNK)):
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


def _events(caller: Principal, code: str, facts: Iterable[Fact]) -> Iterator[dict[str, object]]:
    # A person is named by an id, so that the log, which forgets nothing, holds no personal data; a program has no such id.
    shared = {"tenant": caller.tenant, "user_id": caller.id, "metadata": {} if caller.user_key else {"by": caller.name}}
    cause: dict[str, object] = {"event_id": uuid7()}
    for fact in facts:
        stream = (PROJECT, code) if fact.item is None else (ITEM, _item_stream(code, fact.item))
        yield {
            "event_type": fact.event_type, "aggregate_type": stream[0], "aggregate_id": stream[1], "payload": fact.payload, **shared, **cause,
        }
        if "event_id" in cause:
            cause = {"causation_id": cause["event_id"]}


def _item_stream(code: str, item: int) -> str:
    return f"{code}/{item}"
