"""What an append promises, on both databases, from threads and from tasks."""

import asyncio
import math
import threading
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from uuid import UUID, uuid4

import msgspec
import pytest

from rakiza._kernel import Principal, RequestContext, use_context
from rakiza.events import (
    MIGRATIONS,
    AppendConditionError,
    Condition,
    EventError,
    EventIdTakenError,
    EventsBusyError,
    EventSettings,
    EventStore,
    Query,
    VersionConflictError,
    caused_by,
)
from rakiza.events._backends import SqlLog
from rakiza.store import Store, migrate
from rakiza.testing import FrozenClock


def test_the_specified_call_works_word_for_word(events: EventStore) -> None:
    event_store, invoice_id, invoice_data, user_id, correlation_id = events, uuid4(), {"total": "9545.00", "العميل": "شركة"}, 17, "0b0f2c1e"

    async def specified() -> None:
        await event_store.append({'event_type': 'invoice.created', 'aggregate_type': 'Invoice', 'aggregate_id': invoice_id,
                          'payload': invoice_data, 'metadata': {'user_id': user_id, 'correlation_id': correlation_id}})  # fmt: skip
        (event,) = await event_store.get_events("Invoice", str(invoice_id))
        assert (event.payload, event.user_id, event.correlation_id, event.version) == (invoice_data, "17", "0b0f2c1e", 1)
        assert event.metadata == {"user_id": 17, "correlation_id": "0b0f2c1e"}

    asyncio.run(specified())


def test_positions_are_dense_and_versions_count_each_stream(events: EventStore, invoice, clock: FrozenClock) -> None:
    placed = [events.append(invoice("A")), *events.append_many([invoice("A"), invoice("B"), invoice("A")]), events.append(invoice("B"))]
    assert [(one.position, one.version) for one in placed] == [(1, 1), (2, 2), (3, 1), (4, 3), (5, 2)]
    assert [event.version for event in events.get_events("Invoice", "A")] == [1, 2, 3]
    assert [event.version for event in events.get_events("Invoice", "A", from_version=2)] == [3]
    assert {event.recorded_at for event in events.read()} == {clock.now()}
    assert events.head() == 5
    assert events.append_many([]) == []


def test_an_expected_version_is_kept_and_a_refused_append_leaves_no_trace(events: EventStore, invoice) -> None:
    events.append(invoice("A", expected_version=0))
    with pytest.raises(VersionConflictError, match="at version 1, not 0") as caught:
        events.append_many([invoice("B"), invoice("A", expected_version=0)])
    assert (caught.value.expected, caught.value.actual, caught.value.status) == (0, 1, 409)
    assert caught.value.message_ar
    assert events.head() == 1
    assert events.append(invoice("A", expected_version=1)).position == 2
    assert [one.version for one in events.append_many([invoice("C", expected_version=0), invoice("C", expected_version=1)])] == [1, 2]


def test_the_same_event_again_is_a_success_and_another_with_its_id_is_not(events: EventStore, invoice) -> None:
    first, second = uuid4(), uuid4()
    once = events.append_many([invoice("A", event_id=first, expected_version=0), invoice("A", event_id=str(second), tags=["x"])])
    again = events.append_many([invoice("A", event_id=first, expected_version=0), invoice("A", event_id=second, tags=["x"])])
    assert [one.position for one in again] == [one.position for one in once] == [1, 2]
    assert all(one.duplicate for one in again)
    for change in ({"aggregate_id": "B"}, {"event_type": "invoice.paid"}, {"payload": {}}, {"tags": ["x"]}):
        other = {**invoice("A", event_id=first), **change}
        with pytest.raises(EventIdTakenError, match="other content"):
            events.append(other)
    with pytest.raises(EventIdTakenError, match="only a part"):
        events.append_many([invoice("A", event_id=first), invoice("A", event_id=uuid4())])
    same = uuid4()
    with pytest.raises(EventIdTakenError, match="same event_id"):
        events.append_many([invoice("A", event_id=same), invoice("A", event_id=same)])
    assert events.head() == 2


def test_the_order_of_keys_does_not_make_another_event(events: EventStore, invoice) -> None:
    identity = uuid4()
    events.append(invoice(payload={"a": 1, "b": Decimal("2.50")}, event_id=identity))
    assert events.append(invoice(payload={"b": "2.50", "a": 1}, event_id=identity)).duplicate


def test_a_condition_is_judged_under_the_lock(events: EventStore, invoice) -> None:
    taken = Condition(Query(("seat.taken",), ("hall:1", "seat:7")))
    events.append(invoice("R1", "seat.taken", tags=["hall:1", "seat:8"]), condition=taken)
    events.append(invoice("R2", "seat.offered", tags=["hall:1", "seat:7"]), condition=taken)
    barrier, outcomes = threading.Barrier(8), []

    def take(number: int) -> None:
        barrier.wait()
        try:
            outcomes.append(events.append(invoice(f"T{number}", "seat.taken", tags=["seat:7", "hall:1"]), condition=taken).position)
        except AppendConditionError:
            outcomes.append(0)

    threads = [threading.Thread(target=take, args=(number,)) for number in range(8)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert sorted(outcomes) == [0] * 7 + [3]
    assert events.append(invoice("T9", "seat.taken", tags=["hall:1", "seat:7"]), condition=Condition(taken.fail_if_match, after=3)).position == 4


def test_a_repeated_conditional_append_is_not_ruled_out_by_itself(events: EventStore, invoice) -> None:
    condition, identity = Condition(Query(tags=("seat:1",))), uuid4()
    events.append(invoice(tags=["seat:1"], event_id=identity), condition=condition)
    assert events.append(invoice(tags=["seat:1"], event_id=identity), condition=condition).duplicate


def test_in_a_transaction_events_are_written_with_it_or_not_at_all(events: EventStore, store: Store, invoice) -> None:
    with store.begin() as tx:
        placed = events.append(invoice("A"), tx)
        assert placed.position == 0
        with pytest.raises(EventError, match="a transaction is open"):
            events.append(invoice("A"))
        with pytest.raises(ZeroDivisionError), tx.savepoint():
            events.append(invoice("undone"), tx)
            raise ZeroDivisionError
        more = events.append_many([invoice("A"), invoice("B")], tx)
    assert (placed.position, placed.version) == (1, 1)
    assert [(one.position, one.version) for one in more] == [(2, 2), (3, 1)]
    with pytest.raises(ZeroDivisionError), store.begin() as tx:
        events.append(invoice("A"), tx)
        raise ZeroDivisionError
    with pytest.raises(VersionConflictError), store.begin() as tx:
        events.append(invoice("A"), tx)
        events.append(invoice("B", expected_version=0), tx)
    assert events.head() == 3
    assert events.append(invoice("A")).position == 4


def test_in_a_transaction_many_streams_are_not_asked_one_by_one(postgres_url: str, invoice, monkeypatch: pytest.MonkeyPatch) -> None:
    def ask(*_: object) -> None:
        raise AssertionError("one question for each stream, while every other writer waits")

    store = Store(postgres_url)
    migrate(store, [MIGRATIONS])
    events = EventStore(store)
    monkeypatch.setattr(SqlLog, "_versions", ask)
    with store.begin() as tx:
        found = events.append_many([invoice(f"بند-{number % 500}") for number in range(1_000)], tx)
    assert [(one.position, one.version) for one in found] == [(number + 1, number // 500 + 1) for number in range(1_000)]
    events.close()
    store.close()


def test_what_the_work_at_hand_knows_is_recorded(events: EventStore, invoice) -> None:
    context = RequestContext("r", "a" * 32, "b" * 16)
    context.principal = Principal("u-7", "سارة", "sara@example.com", "admin", frozenset(), "user")
    with use_context(context):
        events.append(invoice("A"))
        (event,) = events.get_events("Invoice", "A")
        with caused_by(event):
            events.append(invoice("B"))
    (caused,) = events.get_events("Invoice", "B")
    assert (event.user_id, event.correlation_id, event.causation_id) == ("u-7", "a" * 32, None)
    assert (caused.user_id, caused.correlation_id, caused.causation_id) == ("u-7", "a" * 32, event.event_id)


def test_numbers_times_and_identifiers_become_text(events: EventStore, invoice) -> None:
    class Line(msgspec.Struct):
        rate: Decimal
        at: datetime

    identity, at = uuid4(), datetime(2026, 11, 27, 9, tzinfo=UTC)
    events.append(invoice(payload={"id": identity, "line": Line(Decimal("410.10"), at), "lines": [Decimal("1.50")], "نص": "\0 قيمة", "n": 2**70}))
    (event,) = events.read()
    assert event.payload == {
        "id": str(identity),
        "line": {"rate": "410.10", "at": "2026-11-27T09:00:00Z"},
        "lines": ["1.50"],
        "نص": "\0 قيمة",
        "n": 2**70,
    }
    assert UUID(event.event_id).version == 7


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"payload": {"a": {"b": [{1, 2}]}}}, r"payload\.a\.b\[0\] is a set"),
        ({"payload": {"x": math.nan}}, r"payload\.x is nan"),
        ({"metadata": {"x": [1, math.inf]}}, r"metadata\.x\[1\] is inf"),
        ({"payload": {"x": b"bytes"}}, r"payload\.x is bytes"),
        ({"payload": {"x": object()}}, "payload cannot be written"),
        ({"payload": {"x": "\ud800"}}, "payload cannot be written"),
        ({"payload": [1]}, "payload must be a mapping"),
        ({"payload": {"x": "ش" * 600_000}}, "1,200,0.. bytes, at most 1,048,576"),
        ({"metadata": "text"}, "metadata must be a mapping"),
        ({"event_type": ""}, "event_type must be a text"),
        ({"event_type": "a\0b"}, "event_type must have"),
        ({"aggregate_id": None}, "aggregate_id is missing"),
        ({"aggregate_id": "x" * 201}, "aggregate_id must have at most 200"),
        ({"expected_version": -1}, "expected_version must be a whole number"),
        ({"expected_version": "any"}, "expected_version must be a whole number"),
        ({"expected_version": True}, "expected_version must be a whole number"),
        ({"event_id": "not-a-uuid"}, "event_id must be a UUID"),
        ({"tags": "one"}, "tags must be a list"),
        ({"schema_version": 0}, "schema_version must be"),
        ({"agregate_id": "A"}, "no field 'agregate_id'"),
    ],
)
def test_bad_input_is_refused_by_name(events: EventStore, invoice, change: dict[str, object], said: str) -> None:
    with pytest.raises(EventError, match=said) as caught:
        events.append({**invoice(), **change})
    assert caught.value.status == 422
    assert events.head() == 0


def test_depth_without_end_is_refused(events: EventStore, invoice) -> None:
    deep: dict[str, object] = {}
    inner = deep
    for _ in range(500):
        inner["x"] = inner = {}  # type: ignore[assignment]
    with pytest.raises(EventError, match="nested more than 100 deep"):
        events.append(invoice(payload=deep))


def test_threads_and_tasks_share_one_queue(events: EventStore, invoice) -> None:
    async def tasks() -> list[int]:
        return [one.position for one in await asyncio.gather(*(events.append(invoice(f"task{n % 5}")) for n in range(200)))]

    threads = [threading.Thread(target=lambda n=n: [events.append(invoice(f"thread{n}")) for _ in range(25)]) for n in range(8)]
    [thread.start() for thread in threads]
    positions = asyncio.run(tasks())
    [thread.join() for thread in threads]
    found = events.read(limit=1000)
    assert [event.position for event in found] == list(range(1, 401))
    assert len(set(positions)) == 200
    stats = events.get_stats()
    assert (stats["head"], stats["appended"], stats["waiting"]) == (400, 400, 0)
    assert stats["flushes"] < 400


def test_a_full_queue_makes_writers_wait_and_then_says_so(store: Store, invoice) -> None:
    events = EventStore(store, EventSettings(queue_events=2, queue_timeout_seconds=0.05))
    with store.begin() if store.dialect == "sqlite" else _locked(store):
        threads = [threading.Thread(target=events.append, args=(invoice(),)) for _ in range(2)]
        [thread.start() for thread in threads]
        while events.get_stats()["waiting"] < 2:
            pass
        refused: list[Exception] = []

        def late() -> None:
            try:
                events.append(invoice())
            except EventsBusyError as error:
                refused.append(error)

        async def late_task() -> None:
            with pytest.raises(EventsBusyError, match="2 events wait"):
                await events.append(invoice())

        thread = threading.Thread(target=late)
        thread.start()
        thread.join()
        thread = threading.Thread(target=lambda: asyncio.run(late_task()))
        thread.start()
        thread.join()
    [thread.join() for thread in threads]
    assert [error.status for error in refused] == [503]  # type: ignore[attr-defined]
    assert events.head() == 2
    events.close()


def _locked(store: Store):
    import contextlib

    import sqlalchemy as sa

    @contextlib.contextmanager
    def hold():
        with store.begin() as tx:
            tx.execute(sa.text("select position from rakiza_events_head for update"))
            yield

    return hold()


def test_a_transaction_of_another_database_is_refused(events: EventStore, invoice, tmp_path: Path) -> None:
    other = Store(str(tmp_path / "other.db"))
    with pytest.raises(EventError, match="another database"), other.begin() as tx:
        events.append(invoice(), tx)
    other.close()
