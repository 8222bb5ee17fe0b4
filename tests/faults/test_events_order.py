"""Order under load: whoever follows the log misses nothing, and of writers that race for one stream each version has one winner."""

import asyncio
import random
import threading
from collections.abc import Callable, Iterator

import pytest
import sqlalchemy as sa

from events_faults import JOIN_SECONDS, PATHS, ROUNDS, event, in_threads, join, whole
from rakiza.events import EventStore, VersionConflictError, create_event_store
from rakiza.store import Store
from servers import Child

Process = Callable[..., Child]
APPENDS = 60 * ROUNDS
TRANSACTIONS = 25 * ROUNDS
LOAD = """
import random, sys, threading
from events_faults import event, in_threads
from rakiza.events import create_event_store
events, name, appends, transactions = create_event_store(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
order = random.Random(name)
def write(index):
    if index:
        for _ in range(appends):
            events.append(event(f"{name}-{index}"))
        return
    for _ in range(transactions):
        with events.store.begin() as tx:
            threading.Event().wait(order.uniform(0, 0.02))
            events.append(event(f"{name}-{index}"), tx)
            events.append(event(f"{name}-{index}"), tx)
in_threads(2, write)
events.close()
print("done")
"""


@pytest.fixture
def events(log_url: str) -> Iterator[EventStore]:
    made = create_event_store(log_url)
    yield made
    made.close()


class Follower:
    """Read `position > checkpoint` again and again while others write."""

    def __init__(self, url: str, page: int) -> None:
        """Begin at once, from the beginning."""
        self.seen: list[tuple[int, str]] = []
        self._done = threading.Event()
        self._url, self._page = url, page
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        store = Store(self._url)
        events = EventStore(store)
        try:
            ended = False
            while not ended:
                ended = self._done.is_set()  # and then once more
                while found := events.read(self.seen[-1][0] if self.seen else 0, limit=self._page):
                    self.seen += [(one.position, one.event_id) for one in found]
                self._done.wait(0.001)
        finally:
            store.close()

    def finish(self) -> list[tuple[int, str]]:
        """Return what was seen, in the order in which it was."""
        self._done.set()
        join([self._thread])
        return self.seen


def test_followers_lose_nothing_while_eight_writers_commit_at_random(log_url: str, events: EventStore, python_process: Process) -> None:
    followers = [Follower(log_url, page) for page in (7, 500)]
    children = [python_process(LOAD, log_url, str(number), str(APPENDS), str(TRANSACTIONS), env=PATHS) for number in range(2)]
    order = [random.Random(number) for number in range(4)]  # noqa: S311 - delays

    def write(index: int) -> None:
        if index % 2:
            in_transactions(events, index, order[index])
        else:
            asyncio.run(in_tasks(events, index)) if index else [events.append(event(f"thread-{index}")) for _ in range(APPENDS)]

    in_threads(4, write)
    assert [child.finish(JOIN_SECONDS)[-1] for child in children] == ["done"] * 2
    found = whole(log_url)
    assert len(found) == 4 * APPENDS + 4 * TRANSACTIONS * 2
    for follower in followers:
        assert follower.finish() == [(one.position, one.event_id) for one in found]


async def in_tasks(events: EventStore, index: int) -> None:
    for _ in range(APPENDS // 10):
        await asyncio.gather(*(events.append(event(f"task-{index}")) for _ in range(10)))


def in_transactions(events: EventStore, index: int, order: random.Random) -> None:
    """Write two events in each of many transactions with other work of 0 to 20 ms, and undo some more of them."""
    pause = threading.Event()
    for number in range(TRANSACTIONS + TRANSACTIONS // 4):
        undone = number >= TRANSACTIONS
        try:
            with events.store.begin() as tx:
                events.append(event(f"tx-{index}"), tx)
                pause.wait(order.uniform(0, 0.02))
                events.append(event(f"tx-{index}"), tx)
                tx.execute(sa.text("select 1"))
                if undone:
                    raise ZeroDivisionError
        except ZeroDivisionError:
            assert undone


def test_a_storm_on_one_stream_gives_each_version_one_winner(log_url: str, events: EventStore) -> None:
    other, winners, conflicts = create_event_store(log_url), [], []
    number = 20 * ROUNDS

    def append(mine: EventStore, index: int, expected: int) -> int:
        given = event("عقد", payload={"writer": index}, expected_version=expected)
        if index % 4 == 3:
            with mine.store.begin() as tx:
                placed = mine.append(given, tx)
            return placed.version
        if index % 4 == 2:

            async def appending() -> int:
                return (await mine.append(given)).version

            return asyncio.run(appending())
        return mine.append(given).version

    def write(index: int) -> None:
        version = won = 0
        while won < number:
            try:
                version = append(other if index >= 4 else events, index, version)
            except VersionConflictError as error:
                conflicts.append((error.expected, version, error.actual))
                version = error.actual
            else:
                won += 1
                winners.append((version, index))

    in_threads(8, write)
    found = whole(log_url)
    assert sorted(winners) == [(one.version, one.payload["writer"]) for one in found]
    assert [one.version for one in found] == list(range(1, 8 * number + 1))
    assert conflicts
    assert all(said == expected != actual for said, expected, actual in conflicts)
    other.close()
