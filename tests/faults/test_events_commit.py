"""An append whose connection is cut at the very moment that decides: it stands exactly once, or the caller is told that nobody knows."""

import asyncio
import threading
from collections.abc import Iterator
from typing import LiteralString
from uuid import UUID, uuid4

import psycopg
import pytest

from events_faults import ANSWER, GHOST, REQUEST, ROUNDS, Proxy, admin, event, held, in_threads, join, whole
from rakiza.events import Condition, EventSettings, EventStore, EventsUnavailableError, Query, create_event_store
from rakiza.store import Store, StoreUnavailableError

NEVER = Condition(Query(("never.happened",)))


@pytest.fixture
def log_url(log_postgres_url: str) -> str:
    return log_postgres_url


@pytest.fixture
def proxy(log_url: str) -> Iterator[Proxy]:
    made = Proxy(log_url)
    yield made
    made.close()


@pytest.fixture
def events(proxy: Proxy) -> Iterator[EventStore]:
    made = create_event_store(proxy.url, retry_seconds=0.5)
    made.append(event("before"))
    yield made
    made.close()


@pytest.mark.parametrize("where", [REQUEST, ANSWER, GHOST])
@pytest.mark.parametrize("way", ["alone", "three", "condition", "task", "repeated"])
def test_an_append_that_is_cut_stands_exactly_once(events: EventStore, proxy: Proxy, log_url: str, way: str, where: str) -> None:
    proxy.cut(b"COMMIT" if way == "condition" else b"cut.here", where)
    given = [event(number, "cut.here", tags=["موقع"]) for number in range(3 if way == "three" else 1)]
    if way == "task":

        async def appending() -> int:
            return (await events.append(given[0])).position

        assert asyncio.run(appending()) == 2
    elif way == "three":
        assert [one.position for one in events.append_many(given)] == [2, 3, 4]
    else:
        own = {"event_id": uuid4(), "expected_version": 0} if way == "repeated" else {}
        assert events.append({**given[0], **own}, condition=NEVER if way == "condition" else None).position == 2
    assert proxy.cuts == 1
    assert [one.event_type for one in whole(log_url)] == ["invoice.created", *["cut.here"] * len(given)]
    assert events.append(event()).position == len(given) + 2


def test_a_write_that_runs_on_behind_a_cut_line_is_waited_for(events: EventStore, proxy: Proxy, log_url: str) -> None:
    """The first attempt still waits for the lock of the log when the second one comes."""
    placed: list[int] = []
    writer = threading.Thread(target=lambda: placed.append(events.append(event("x", "cut.here", expected_version=0)).position), daemon=True)
    side = Store(log_url)
    with held(side):
        proxy.cut(b"cut.here", GHOST)
        writer.start()
        with admin(log_url) as looking:
            _until(looking, "select count(*) = 2 from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()")
    join([writer])
    side.close()
    assert placed == [2]
    assert len(whole(log_url)) == 2


def _until(looking: "psycopg.Connection[tuple[object, ...]]", question: LiteralString) -> None:
    pause = threading.Event()
    for _ in range(3000):
        if (looking.execute(question).fetchone() or (False,))[0]:
            return
        pause.wait(0.01)
    raise AssertionError(f"never true: {question}")


@pytest.mark.parametrize("where", [REQUEST, ANSWER])
def test_after_the_time_for_retries_the_caller_is_told_the_outcome_is_unknown(
    events: EventStore, proxy: Proxy, log_url: str, where: str
) -> None:
    proxy.cut(b"cut.here", where)
    proxy.refusing = True
    with pytest.raises(EventsUnavailableError, match="outcome is unknown") as caught:
        events.append_many([event("a", "cut.here", expected_version=0), event("b", "cut.here")])
    error = caught.value
    assert (error.status, error.stable_code, len(error.event_ids)) == (503, "events_unavailable", 2)
    assert all(one in str(error.hint) for one in error.event_ids)
    assert error.message_ar
    proxy.refusing = False
    ids = [UUID(one) for one in error.event_ids]
    again = events.append_many([event("a", "cut.here", expected_version=0, event_id=ids[0]), event("b", "cut.here", event_id=ids[1])])
    assert [(one.position, one.duplicate) for one in again] == [(2, where == ANSWER), (3, where == ANSWER)]
    assert len(whole(log_url)) == 3


@pytest.mark.parametrize("where", [REQUEST, ANSWER])
def test_a_business_transaction_that_is_cut_at_its_commit_may_be_repeated(events: EventStore, proxy: Proxy, log_url: str, where: str) -> None:
    identity = uuid4()
    with pytest.raises(StoreUnavailableError), events.store.begin() as tx:
        placed = events.append(event("tx", event_id=identity), tx)
        proxy.cut(b"COMMIT", where)
    assert placed.position == 0
    with events.store.begin() as tx:
        again = events.append(event("tx", event_id=identity), tx)
    assert (again.position, again.duplicate) == (2, where == ANSWER)
    assert len(whole(log_url)) == 2


def test_eight_writers_over_a_bad_line_lose_and_double_nothing(proxy: Proxy, log_url: str) -> None:
    events = create_event_store(proxy.url, EventSettings(retry_seconds=60))
    acknowledged: list[str] = []

    def write(index: int) -> None:
        for number in range(24 * ROUNDS):
            if number % 8 == index:
                proxy.cut(b"invoice.created", (REQUEST, ANSWER, GHOST)[(index + number // 8) % 3])
            placed = events.append_many([event(index, payload={"n": number, "of": part}) for part in range(3)])
            acknowledged.extend(one.event_id for one in placed)
            assert placed[0].version == number * 3 + 1

    in_threads(8, write)
    found = whole(log_url)
    assert proxy.cuts == 24 * ROUNDS
    assert sorted(one.event_id for one in found) == sorted(acknowledged)
    assert len(found) == 8 * 24 * 3 * ROUNDS
    events.close()
