"""What happened in each minute is added up once, whoever counted it, and is not lost while the database is away."""

import threading

import pytest
import sqlalchemy as sa

from job_rows import NOON
from rakiza.jobs import _tally
from rakiza.jobs._tally import Tally
from rakiza.jobs.tables import TALLY
from rakiza.store import Store
from rakiza.testing import FrozenClock

MINUTE = int(NOON.timestamp() // 60)


@pytest.fixture
def clock() -> FrozenClock:
    return FrozenClock(NOON)


def rows(store: Store) -> list[tuple[object, ...]]:
    with store.read() as tx:
        return [tuple(row) for row in tx.execute(sa.select(TALLY).order_by(TALLY.c.minute, TALLY.c.queue, TALLY.c.task))]


def flush(tally: Tally, store: Store) -> None:
    with store.begin() as tx:
        tally.flush(tx)


def test_two_processes_add_up_in_the_same_row(store: Store, clock: FrozenClock) -> None:
    tallies = [Tally(store, clock.now), Tally(store, clock.now)]
    for tally in tallies:
        tally.note("رسائل", "email:send", "done", 0.25, 1.5)
        tally.note("رسائل", "email:send", "retry", 0.1, 0.0)
        tally.note("رسائل", "تقرير", "cancelled", 0.0, 0.0)
        tally.note("رسائل", "تقرير", "ready", 9.0, 9.0)
        assert tally.dirty
        flush(tally, store)
        assert not tally.dirty
        flush(tally, store)
    tallies[0].note("رسائل", "email:send", "failed", 0.0, 0.0)
    clock.advance(60)
    tallies[0].note("رسائل", "email:send", "done", 0.0, 0.0)
    flush(tallies[0], store)
    assert rows(store) == [
        (MINUTE, "رسائل", "email:send", 2, 1, 2, 0, 700, 3000),
        (MINUTE, "رسائل", "تقرير", 0, 0, 0, 2, 0, 0),
        (MINUTE + 1, "رسائل", "email:send", 1, 0, 0, 0, 0, 0),
    ]


def test_sums_that_did_not_commit_wait_for_the_next_time(store: Store, clock: FrozenClock) -> None:
    tally = Tally(store, clock.now)
    tally.note("q", "t", "done", 1.0, 0.0)
    with pytest.raises(ZeroDivisionError), store.begin() as tx:
        tally.flush(tx)
        tally.note("q", "t", "done", 1.0, 0.0)
        _ = 1 / 0
    assert rows(store) == []
    flush(tally, store)
    assert rows(store) == [(MINUTE, "q", "t", 2, 0, 0, 0, 2000, 0)]


def test_what_no_chart_shows_is_forgotten(store: Store, clock: FrozenClock) -> None:
    tally = Tally(store, clock.now)
    tally.note("q", "t", "done", 0.0, 0.0)
    flush(tally, store)
    clock.advance(60 * (_tally.KEEP_MINUTES + 1))
    tally.note("q", "t", "failed", 0.0, 0.0)
    flush(tally, store)
    assert [row[0] for row in rows(store)] == [MINUTE + _tally.KEEP_MINUTES + 1]


def test_memory_is_bounded_while_the_database_is_away(clock: FrozenClock, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_tally, "MAX_ROWS", 3)
    tally = Tally(store, clock.now)
    for _ in range(5):
        tally.note("q", "t", "done", 0.0, 0.0)
        clock.advance(60)
    flush(tally, store)
    assert [row[0] for row in rows(store)] == [MINUTE, MINUTE + 1, MINUTE + 2]


def test_threads_lose_no_count(store: Store, clock: FrozenClock) -> None:
    tally = Tally(store, clock.now)

    def count() -> None:
        for _ in range(500):
            tally.note("q", "t", "done", 0.0, 0.0)

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    flush(tally, store)
    for thread in threads:
        thread.join()
    flush(tally, store)
    assert rows(store)[0][3] == 2000
