"""The group commit when an append of a batch is poison, when who leads it dies, and when loops, tasks and processes end while appends wait."""

import asyncio
import sys
import threading
from collections.abc import Callable, Iterator, Sequence

import pytest
import sqlalchemy as sa

from events_faults import PATHS, ROUNDS, event, gathered, held, in_threads, join, whole
from rakiza.events import Appended, EventError, EventSettings, EventStore, EventsUnavailableError, create_event_store
from rakiza.events._core import Append, Origin, Verdict, new_event
from rakiza.events._group import GroupCommit
from rakiza.store import StoreError
from servers import Child

Process = Callable[..., Child]
SICK = "سم"


@pytest.fixture
def events(log_url: str) -> Iterator[EventStore]:
    made = create_event_store(log_url)
    yield made
    made.close()


def refuse_sick(events: EventStore) -> None:
    """Let the database itself refuse an event of one stream."""
    made = "create trigger sick before insert on rakiza_events_event "
    with events.store.begin() as tx:
        if events.store.dialect == "sqlite":
            tx.driver_connection.execute(f"{made} when new.aggregate_id = '{SICK}' begin select raise(abort, 'sick'); end")
        else:
            tx.execute(sa.text(f"alter table rakiza_events_event add constraint sick check (aggregate_id <> '{SICK}')"))


def append_at_once(events: EventStore, names: list[str]) -> dict[str, object]:
    """Append to all these streams in one batch, every second one from a task, and return each outcome by stream."""
    outcomes: dict[str, object] = {}

    def blocking(name: str) -> None:
        try:
            outcomes[name] = events.append(event(name)).position
        except BaseException as error:  # noqa: BLE001 - what the test looks at
            outcomes[name] = error

    async def tasks() -> None:
        found = await asyncio.gather(*(events.append(event(name)) for name in names[1::2]), return_exceptions=True)
        outcomes.update({name: one if isinstance(one, BaseException) else one.position for name, one in zip(names[1::2], found, strict=True)})

    threads = [threading.Thread(target=blocking, args=(name,), daemon=True) for name in names[::2]]
    threads.append(threading.Thread(target=lambda: asyncio.run(tasks()), daemon=True))
    with held(events.store):
        first = threading.Thread(target=events.append, args=(event("first"),), daemon=True)
        first.start()
        gathered(events, 1)
        for thread in threads:
            thread.start()
        gathered(events, len(names) + 1)
    join([first, *threads])
    return outcomes


def test_a_sick_append_fails_alone_and_by_its_own_error(events: EventStore, log_url: str) -> None:
    refuse_sick(events)
    names = [str(number) for number in range(19)]
    outcomes = append_at_once(events, [*names, SICK])
    assert events.get_stats()["largest_batch"] == 20
    assert isinstance(outcomes[SICK], events.store.driver_error)
    assert "sick" in str(outcomes[SICK])
    assert sorted(outcomes[name] for name in names) == list(range(2, 21))
    assert {one.aggregate_id for one in whole(log_url)} == {"first", *names}


@pytest.mark.parametrize("when", ["before", "after"])
def test_an_unforeseen_error_of_a_batch_leaves_each_append_its_own_outcome(events: EventStore, log_url: str, when: str) -> None:
    write, broken = events._log.write, []

    def brittle(batch, now):
        sick = [append for append in batch if append.events[0].aggregate_id == SICK]
        if sick and (when == "before" or len(batch) == 1):
            raise ArithmeticError("sick alone" if len(batch) == 1 else "the whole batch")
        done = write([append for append in batch if append not in sick], now)
        if sick and not broken:
            broken.append(1)
            raise ArithmeticError("written, and then broken")
        return done

    events._log.write = brittle  # type: ignore[method-assign]
    names = [str(number) for number in range(19)]
    outcomes = append_at_once(events, [*names, SICK])
    assert str(outcomes[SICK]) == "sick alone"
    assert sorted(outcomes[name] for name in names) == list(range(2, 21))
    assert {one.aggregate_id for one in whole(log_url)} == {"first", *names}


def test_callers_of_one_failed_batch_each_get_an_error_of_their_own(events: EventStore) -> None:
    def full(batch, now):
        if len(batch) == 1:
            return write(batch, now)
        raise StoreError("the disk is full", code="store_disk_full", hint="free space")

    write, events._log.write = events._log.write, full  # type: ignore[method-assign]
    outcomes = list(append_at_once(events, [str(number) for number in range(8)]).values())
    assert len({id(one) for one in outcomes}) == 8
    assert {(one.stable_code, one.hint, one.status) for one in outcomes} == {("store_disk_full", "free space", 503)}  # type: ignore[attr-defined]
    assert events.append(event()).position == 2


@pytest.mark.parametrize("end", [KeyboardInterrupt, SystemExit])
def test_a_leader_that_dies_leaves_nobody_waiting(events: EventStore, log_url: str, end: type[BaseException]) -> None:
    write, deaths = events._log.write, []

    def deadly(batch, now):
        if len(batch) > 1 and not deaths:
            deaths.append(len(batch))
            raise end
        return write(batch, now)

    events._log.write = deadly  # type: ignore[method-assign]
    outcomes = append_at_once(events, [str(number) for number in range(20)])
    assert len(outcomes) == 20
    lost = [one for one in outcomes.values() if isinstance(one, EventsUnavailableError)]
    assert len(lost) + sum(isinstance(one, end) for one in outcomes.values()) == deaths[0] == 20
    assert all(one.event_ids and one.event_ids[0] in str(one.hint) for one in lost)
    assert events.get_stats()["waiting"] == 0
    assert events.append(event("after")).position == 2

    async def later() -> None:
        assert (await events.append(event("later"))).position == 3

    asyncio.run(later())
    assert len(whole(log_url)) == 3


@pytest.mark.parametrize("end", [KeyboardInterrupt, SystemExit])
def test_the_thread_that_serves_tasks_outlives_whatever_is_thrown_in_it(events: EventStore, end: type[BaseException]) -> None:
    write, deaths = events._log.write, []

    def deadly(batch, now):
        if len(deaths) < 3:
            deaths.append(1)
            raise end
        return write(batch, now)

    events._log.write = deadly  # type: ignore[method-assign]

    async def tasks() -> list[object]:
        return await asyncio.wait_for(asyncio.gather(*(events.append_many([event(n)] * 300) for n in range(6)), return_exceptions=True), 60)

    found = asyncio.run(tasks())
    assert [isinstance(one, EventsUnavailableError) for one in found] == [True] * 3 + [False] * 3
    assert events.head() == 900


def test_a_process_without_room_for_a_thread_writes_all_the_same(events: EventStore, monkeypatch: pytest.MonkeyPatch) -> None:
    start = threading.Thread.start

    def refused(thread: threading.Thread) -> None:
        if thread.name == "rakiza-events":
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refused)

    async def tasks() -> list[int]:
        return [one.position for one in await asyncio.wait_for(asyncio.gather(*(events.append(event(n)) for n in range(20))), 60)]

    assert sorted(asyncio.run(tasks())) == list(range(1, 21))
    outcomes = append_at_once(events, [str(number) for number in range(10)])
    assert sorted(outcomes.values()) == list(range(22, 32))


def test_a_loop_that_ends_before_its_answers_harms_nobody(events: EventStore, log_url: str, caplog: pytest.LogCaptureFixture) -> None:
    loop = asyncio.new_event_loop()

    async def leave() -> None:
        futures.extend(events.append(event(f"task{n}")) for n in range(5))

    futures: list[object] = []
    with held(events.store):
        other = threading.Thread(target=events.append, args=(event("thread"),), daemon=True)
        runner = threading.Thread(target=lambda: loop.run_until_complete(leave()), daemon=True)
        join([runner], start=True)
        other.start()
        gathered(events, 6)
        loop.close()
    join([other])
    assert "an event loop ended before" in caplog.text
    assert len(whole(log_url)) == 6
    assert events.append(event()).position == 7


def test_a_cancelled_task_takes_nobody_with_it(events: EventStore, log_url: str) -> None:
    async def tasks() -> list[object]:
        waiting = [asyncio.ensure_future(events.append(event(n))) for n in range(10)]
        await asyncio.to_thread(gathered, events, 10)
        for task in waiting[::2]:
            task.cancel()
        release.set()
        return await asyncio.wait_for(asyncio.gather(*waiting, return_exceptions=True), 60)

    release, locked = threading.Event(), threading.Event()

    def hold() -> None:
        with held(events.store):
            locked.set()
            release.wait(60)

    holder = threading.Thread(target=hold, daemon=True)
    holder.start()
    locked.wait(60)
    found = asyncio.run(tasks())
    join([holder])
    assert [isinstance(one, asyncio.CancelledError) for one in found] == [True, False] * 5
    assert len(whole(log_url)) == 10  # a cancelled wait does not take back what was handed over


def test_closing_writes_what_waits_and_what_comes_later_opens_anew(events: EventStore, log_url: str) -> None:
    def tasks() -> None:
        async def all_at_once() -> list[object]:
            return await asyncio.gather(*(events.append(event(f"task{n}")) for n in range(10)))

        assert len(asyncio.run(all_at_once())) == 10

    threads = [threading.Thread(target=events.append, args=(event(n),), daemon=True) for n in range(10)]
    threads.append(threading.Thread(target=tasks, daemon=True))
    closer = threading.Thread(target=events.close, daemon=True)
    with held(events.store):
        for thread in threads:
            thread.start()
        gathered(events, 20)
        closer.start()
    join([*threads, closer])
    assert len(whole(log_url)) == 20
    for _ in range(2):
        assert events.append(event()).position > 20
        in_threads(1, lambda _: tasks())
        events.close()
    assert len(whole(log_url)) == 42


def test_closing_races_with_tasks_and_none_waits_for_ever(events: EventStore, log_url: str) -> None:
    async def tasks() -> int:
        return sum([1 for _ in range(60 * ROUNDS) if (await asyncio.wait_for(events.append(event()), 60)).position])

    counts: list[int] = []
    runner = threading.Thread(target=lambda: counts.append(asyncio.run(tasks())), daemon=True)
    runner.start()
    while runner.is_alive():
        events._group.close()
    join([runner])
    assert counts == [len(whole(log_url))] == [60 * ROUNDS]


def test_no_signal_between_callers_and_the_thread_is_lost() -> None:
    """Threads and short-lived loops take turns as fast as they can, switched at every step."""

    def flush(batch: Sequence[Append]) -> list[Verdict]:
        return [[Appended(1, 1, append.events[0].event_id)] for append in batch]

    group = GroupCommit(flush, EventSettings())
    append, number = Append((new_event(event(), Origin(), 10_000),)), 2_000 * ROUNDS

    async def tasks(several: int) -> None:
        await asyncio.wait_for(asyncio.gather(*(group.submit_from_loop(append, asyncio.get_running_loop(), len) for _ in range(several))), 30)

    async def one_by_one() -> None:
        for turn in range(number):
            await tasks(1 + turn % 2)

    def write(index: int) -> None:
        if index < 2:
            asyncio.run(one_by_one())
        else:
            assert all(isinstance(group.submit(append), list) for _ in range(number))

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        in_threads(4, write)
    finally:
        sys.setswitchinterval(before)
    group.close()
    assert (group.waiting, group._leader) == (0, None)


def test_large_events_fill_batch_and_queue_sooner(log_url: str) -> None:
    """Five hundred events of a megabyte would be one statement of a gigabyte."""
    events = create_event_store(log_url, queue_events=1000)
    large = {"x": "ش" * 500_000}  # 62 places of 1,000, and of the 500 of a batch

    async def tasks() -> list[int]:
        asked = [events.append(event(n, payload=large)) for n in range(30)]
        waiting.append(events.waiting)
        return [one.position for one in await asyncio.gather(*asked)]

    waiting: list[int] = []
    assert sorted(asyncio.run(tasks())) == list(range(1, 31))
    assert waiting[0] <= 16
    assert events.get_stats()["largest_batch"] <= 8
    with pytest.raises(EventError, match="in 34 events, at most 16,777,216") as caught:
        events.append_many([event(payload=large) for _ in range(34)])
    assert caught.value.stable_code == "event_too_large"
    assert len(whole(log_url)) == 30
    events.close()


def test_a_listener_that_fails_does_not_make_a_written_append_fail(events: EventStore) -> None:
    def broken() -> None:
        raise ArithmeticError("a waker failed")

    called: list[int] = []
    wakers = [events.bus.on("events", call) for call in (broken, lambda: called.append(1), broken)]
    assert events.append(event()).position == 1
    assert called
    del wakers


WAIT_AND_BE_INTERRUPTED = """
import signal, sys, threading
from events_faults import event, gathered, held, join
from rakiza.events import create_event_store
events = create_event_store(sys.argv[1])
class Enough(BaseException): pass
def stop(*_): raise Enough
signal.signal(signal.SIGALRM, stop)
locked, release = threading.Event(), threading.Event()
def hold():
    with held(events.store):
        locked.set(); release.wait(60)
holder = threading.Thread(target=hold, daemon=True); holder.start(); locked.wait(60)
threads = [threading.Thread(target=events.append, args=(event(n),), daemon=True) for n in range(2)]
threads[0].start(); gathered(events, 1)
def second():  # after the main thread's append, so that the lead would be handed to that
    gathered(events, 2); threads[1].start(); gathered(events, 3); signal.pthread_kill(threading.main_thread().ident, signal.SIGALRM)
helper = threading.Thread(target=second, daemon=True); helper.start()
try:
    events.append(event("main"))
except Enough:
    print("interrupted")
helper.join(60)
release.set()
join([holder, *threads])
print("waiting", events.get_stats()["waiting"], "next", events.append(event()).position)
events.close()
"""
STORM = """
import random, signal, sys, threading, time
from events_faults import event, join
from rakiza.events._core import Append, Appended, Origin, new_event
from rakiza.events._group import GroupCommit
from rakiza.events import EventSettings
written, order = [], random.Random(7)
def flush(batch):
    time.sleep(0.0002)
    written.extend(append.events[0].event_id for append in batch)
    return [[Appended(1, 1, append.events[0].event_id)] for append in batch]
group = GroupCommit(flush, EventSettings())
def one(stream):
    return Append((new_event(event(stream), Origin(), 10000),))
class Enough(BaseException): pass  # as KeyboardInterrupt: an Exception within a batch is the outcome of its appends
armed, done, told = False, threading.Event(), []
def stop(*_):
    if armed: raise Enough
signal.signal(signal.SIGALRM, stop)
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM])  # for the threads; the main thread takes it back
def write(index):
    while not done.is_set():
        append = one(index)
        verdict = group.submit(append)
        if isinstance(verdict, list):
            told.append(append.events[0].event_id)
        else:
            assert type(verdict).__name__ == "EventsUnavailableError", repr(verdict)
threads = [threading.Thread(target=write, args=(n,), daemon=True) for n in range(3)]
for thread in threads: thread.start()
signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGALRM])
interrupted = 0
for number in range(int(sys.argv[1])):
    try:
        armed = True
        signal.setitimer(signal.ITIMER_REAL, order.uniform(0.00005, 0.003))
        while True:
            group.submit(one("main"))
    except Enough:
        interrupted += 1
    finally:
        armed = False
done.set()
join(threads)
assert len(set(written)) == len(written) and set(told) <= set(written)
print("interrupted", interrupted, "waiting", group.waiting, "left", len(group._queue), group._leader)
"""
FORK = """
import os, sys, threading, time
from events_faults import event, gathered, join
from rakiza.events import create_event_store
events = create_event_store(sys.argv[1])
events.append(event("before"))
events.start(); seen = events.bus.count("events"); events.bus.wait("events", seen, 0.3)
session = events._log._connection.info.backend_pid if events.store.dialect == "postgresql" else 0
threads = [threading.Thread(target=events.append, args=(event(n),), daemon=True) for n in range(5)]
write, release = events._log.write, threading.Event()
def slow(batch, now):
    release.wait(60)
    return write(batch, now)
events._log.write = slow  # not the database's lock: SQLite itself forbids to fork within a transaction
for thread in threads: thread.start()
gathered(events, 5)
read_end, write_end = os.pipe()
child = os.fork()
if child == 0:
    grandchild = os.fork()  # as a daemon does
    if grandchild:
        sys.exit(os.waitstatus_to_exitcode(os.waitpid(grandchild, 0)[1]))
    assert events.get_stats()["waiting"] == 0
    events._log.write = write
    for n in range(3):
        events.append(event("child"))
    events.append(event("child"))
    time.sleep(1)
    seen = events.bus.count("events")
    os.write(write_end, b"heard")
    assert events.bus.wait("events", seen, 30), "the child does not hear what the parent appends"
    events.close()
    sys.exit(0)
release.set()
join(threads)
os.read(read_end, 5)
events.append(event("heard"))
code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
events.append(event("after"))
same = events.store.dialect == "sqlite" or events._log._connection.info.backend_pid == session
print("child", code, "same session", same, "head", events.head())
events.close()
"""


def test_a_waiting_caller_that_is_interrupted_does_not_take_the_lead_with_it(log_url: str, python_process: Process) -> None:
    lines = python_process(WAIT_AND_BE_INTERRUPTED, log_url, env=PATHS).finish(timeout_seconds=60)
    assert lines[-2:] == ["interrupted", "waiting 0 next 3"]
    assert len(whole(log_url)) == 3


def test_a_storm_of_interrupts_leaves_nobody_waiting(python_process: Process) -> None:
    number = 200 * ROUNDS
    lines = python_process(STORM, str(number), env=PATHS).finish(timeout_seconds=60 * ROUNDS)
    assert lines[-1] == f"interrupted {number} waiting 0 left 0 None"


def test_a_fork_leaves_what_waits_to_the_parent_and_its_connection_alone(log_url: str, python_process: Process) -> None:
    lines = python_process(FORK, log_url, env=PATHS).finish(timeout_seconds=60)
    assert lines[-1] == "child 0 same session True head 12"
    assert len(whole(log_url)) == 12
