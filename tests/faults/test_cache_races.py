"""Races of the cache, each made to happen: an invalidation against reads, loads and stores of the same moment, and loads nobody ends."""

import asyncio
import gc
import threading
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import msgspec
import pytest

import servers
from cache_faults import GO, PATIENT, Line, World, ask, until, up
from rakiza.caching import CacheManager, CachingSettings
from rakiza.testing import FrozenClock

Make = Callable[..., CacheManager]


class Sum(msgspec.Struct):
    """A typed value."""

    total: Decimal


@pytest.fixture(params=["threads", "asyncio"])
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    made = World(request.param)
    yield made
    made.close()


@pytest.fixture
def make() -> Iterator[Make]:
    """Return a function that makes a cache on a Redis, or in memory without one."""
    made: list[CacheManager] = []

    def build(url: str = "", settings: CachingSettings = PATIENT, **options: Any) -> CacheManager:
        made.append(CacheManager(bool(url), {"url": url} if url else None, settings=settings, **options))
        if url:
            up(made[-1])
        return made[-1]

    yield build
    for cache in made:
        cache.close()


@pytest.fixture
def line(redis_server: servers.Redis) -> Iterator[Line]:
    made = Line(redis_server)
    yield made
    made.close()


def in_thread(call: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    return thread


def joined(*threads: threading.Thread) -> None:
    for thread in threads:
        thread.join(GO)
    assert not any(thread.is_alive() for thread in threads)


@pytest.mark.parametrize("how", ["delete", "invalidate_tag", "clear"])
@pytest.mark.parametrize("read", ["get", "get_or_load"])
def test_what_is_read_from_redis_while_it_is_being_forgotten_there_is_not_kept(how: str, read: str, line: Line, make: Make) -> None:
    here = make(line.url)
    here.set("k:1", "قديم", tags=("t",))
    came, go = line.hold(b"DEL")
    forget = {"delete": lambda: here.delete("k:1"), "invalidate_tag": lambda: here.invalidate_tag("t"), "clear": here.clear}[how]
    forgetting = in_thread(forget)
    assert came.wait(GO)
    load = lambda: here.get("k:1") if read == "get" else here.get_or_load("k:1", lambda: "جديد", tags=("t",))  # noqa: E731
    load()  # before Redis has forgotten it, it may be seen
    go.set()
    joined(forgetting)
    assert load() == (None if read == "get" else "جديد")


def test_what_is_read_from_redis_while_it_is_being_set_there_is_not_kept(line: Line, make: Make) -> None:
    here = make(line.url, CachingSettings(redis_timeout_seconds=1.0, max_bytes=65_536))
    here.set("k:1", "قديم")
    came, go = line.hold(b"EVAL")
    setting = in_thread(lambda: here.set("k:1", "x" * 65_536))  # too large for memory
    assert came.wait(GO)
    here.get("k:1")
    go.set()
    joined(setting)
    assert here.get("k:1") == "x" * 65_536


def test_two_that_set_at_once_leave_memory_and_redis_alike(line: Line, make: Make) -> None:
    here, there = make(line.url), make(line.url)
    came, go = line.hold(b"EVAL")
    first = in_thread(lambda: here.set("k:1", 1))
    assert came.wait(GO)
    here.set("k:1", 2)
    go.set()
    joined(first)
    until(lambda: here.get("k:1") == there.get("k:1"))


@pytest.mark.parametrize("words", [b"NX", b"EVAL"])
def test_a_lock_whose_answer_was_lost_is_given_back(words: bytes, line: Line, make: Make) -> None:
    here = make(line.url, CachingSettings(redis_timeout_seconds=1.0, lock_wait_seconds=60))
    line.lie(words)
    assert here.get_or_load("k:1", lambda: 1) == 1
    here.memory.clear()
    assert here.get_or_load("k:1", lambda: 1) == 1
    until(lambda: ask(line.server, "KEYS", "*:l:*") == [])


def test_a_load_that_was_overtaken_lets_others_load_at_once(redis_server: servers.Redis, make: Make) -> None:
    here = make(redis_server.url)

    def load() -> str:
        here.invalidate_tag("t")
        return "قديم"

    here.get_or_load("k:1", load, tags=("t",))
    assert ask(redis_server, "KEYS", "*:l:*") == []
    assert here.get_or_load("k:1", lambda: "جديد", tags=("t",)) == "جديد"


@pytest.mark.parametrize("how", ["get", "exists"])
def test_a_typed_value_read_without_its_type_stays_typed(how: str, redis_server: servers.Redis, make: Make) -> None:
    here, there = make(redis_server.url), make(redis_server.url)
    here.set("k:1", Sum(Decimal("1.50")), type=Sum)
    assert getattr(there, how)("k:1") in {"get": [{"total": "1.50"}], "exists": [True]}[how]
    assert there.get("k:1", type=Sum) == Sum(Decimal("1.50"))
    assert there.get_or_load("k:1", lambda: Sum(Decimal(0)), type=Sum) == Sum(Decimal("1.50"))


def test_many_tasks_at_once_do_not_take_redis_for_dead(redis_server: servers.Redis, make: Make) -> None:
    here, there = make(redis_server.url), make(redis_server.url)
    for number in range(300):
        here.set(f"k:{number}", number)

    async def read() -> list[Any]:
        return list(await asyncio.gather(*(there.aget(f"k:{number}") for number in range(300))))

    assert asyncio.run(read()) == list(range(300))
    assert there.level is not None
    assert (there.state, there.level.errors) == ("redis", 0)


# -- loads nobody ends


def test_a_refresh_whose_loop_ended_before_it_began_is_done_by_somebody_else(make: Make) -> None:
    clock = FrozenClock()
    here = make(clock=clock)
    here.get_or_load("k:1", lambda: 1, ttl=10, eager=0.5)
    clock.advance(6)

    async def hit() -> object:
        return await here.aget_or_load("k:1", lambda: 2, ttl=10, eager=0.5)

    assert asyncio.run(hit()) == 1  # the refresh is a task of a loop that ends now
    clock.advance(5)
    answers: list[object] = []
    joined(in_thread(lambda: answers.append(here.get_or_load("k:1", lambda: 3, ttl=10))))
    assert answers[0] in {2, 3}
    clock.advance(11)
    joined(in_thread(lambda: answers.append(here.get_or_load("k:1", lambda: 4, ttl=10, hard_timeout=GO))))
    assert answers[1] == 4


def test_a_refresh_that_waits_for_a_thread_keeps_nobody_waiting(make: Make) -> None:
    clock = FrozenClock()
    here = make(clock=clock)
    here.get_or_load("k:1", lambda: 1, ttl=10, eager=0.5)
    stop = threading.Event()
    busy = [here.lookup.background.pool.submit(stop.wait, GO) for _ in range(here.lookup.background.pool.threads)]
    clock.advance(6)
    assert here.get_or_load("k:1", lambda: 2, ttl=10, eager=0.5) == 1  # its refresh waits for a thread
    clock.advance(5)
    answers: list[object] = []
    waiting = in_thread(lambda: answers.append(here.get_or_load("k:1", lambda: 3, ttl=10)))
    waiting.join(5)
    stop.set()
    assert answers == [3]
    assert all(one.result(GO) for one in busy)
    joined(waiting)


def test_loads_in_threads_of_the_pool_that_need_each_other_come_to_an_end(make: Make) -> None:
    here = make()
    pool = here.lookup.background.pool

    def outer(number: int) -> int:
        return here.get_or_load(f"outer:{number}", lambda: here.get_or_load(f"inner:{number}", lambda: number, soft_timeout=1), soft_timeout=1)

    assert [one.result(GO) for one in [pool.submit(outer, number) for number in range(pool.threads)]] == list(range(pool.threads))


def test_who_may_not_wait_on_its_loop_loads_by_itself(make: Make) -> None:
    here, answers = make(), []

    async def both() -> None:
        begun, go = asyncio.Event(), asyncio.Event()

        async def load() -> int:
            begun.set()
            await go.wait()
            return 1

        task = asyncio.create_task(here.aget_or_load("k:1", load))
        await begun.wait()
        answers.append(here.get_or_load("k:1", lambda: 2))  # a synchronous call on the loop that would have to end the other
        go.set()
        answers.append(await task)

    joined(in_thread(lambda: asyncio.run(both())))
    assert answers == [2, 1]


def test_a_task_that_is_thrown_away_ends_its_load(redis_server: servers.Redis, make: Make) -> None:
    here = make(redis_server.url)

    loop, begun = asyncio.new_event_loop(), asyncio.Event()

    async def forever() -> None:
        begun.set()
        await asyncio.Event().wait()

    task = loop.create_task(here.aget_or_load("k:1", forever))
    loop.run_until_complete(begun.wait())
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()
    del task
    gc.collect()
    answers: list[object] = []
    joined(in_thread(lambda: answers.append(here.get_or_load("k:1", lambda: 5))))
    assert answers == [5]


def test_what_a_loader_leaves_behind_may_need_the_same_value(make: Make) -> None:
    here, later = make(), []

    async def load() -> int:
        async def after() -> None:
            await done.wait()
            later.append(await here.aget_or_load("k:1", lambda: 2))

        tasks.append(asyncio.create_task(after()))
        return 1

    async def main() -> None:
        await here.aget_or_load("k:1", load)
        here.delete("k:1")
        done.set()
        await asyncio.gather(*tasks)

    done, tasks = asyncio.Event(), []
    asyncio.run(main())
    assert later == [2]


@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit, GeneratorExit, StopIteration])
def test_whatever_a_loader_raises_ends_its_load(stop: type[BaseException], redis_server: servers.Redis, make: Make) -> None:
    here = make(redis_server.url)

    def load() -> None:
        raise stop

    with pytest.raises(RuntimeError if stop is StopIteration else stop):
        here.get_or_load("k:1", load)
    assert ask(redis_server, "KEYS", "*:l:*") == [] or stop is GeneratorExit
    answers: list[object] = []
    joined(in_thread(lambda: answers.append(here.get_or_load("k:1", lambda: 5))))
    assert answers == [5]


# -- stale values


def test_a_stale_value_never_serves_longer_than_it_may(make: Make) -> None:
    clock = FrozenClock()
    here = make(clock=clock)
    here.get_or_load("k:1", lambda: 1, ttl=10, stale_for=2)
    clock.advance(10.5)
    assert here.get_or_load("k:1", lambda: 1 / 0, ttl=10, stale_for=2) == 1
    clock.advance(2)
    assert here.get("k:1") is None
    with pytest.raises(ZeroDivisionError):
        here.get_or_load("k:1", lambda: 1 / 0, ttl=10, stale_for=2)


def test_a_refresh_that_fails_leaves_the_value_as_fresh_as_it_was(make: Make) -> None:
    clock = FrozenClock()
    here = make(clock=clock)
    here.get_or_load("k:1", lambda: 1, ttl=100, eager=0.1)
    clock.advance(20)
    failed = threading.Event()

    def fail() -> object:
        failed.set()
        raise ZeroDivisionError

    assert here.get_or_load("k:1", fail, ttl=100, eager=0.1) == 1
    assert failed.wait(GO)
    until(lambda: here.tallies.totals().errors == 1)
    clock.advance(10)
    assert here.get("k:1") == 1
    clock.advance(71)
    assert here.get("k:1") is None


def test_the_stale_value_of_redis_rests_as_one_of_memory_does(redis_server: servers.Redis, make: Make) -> None:
    here, there = make(redis_server.url), make(redis_server.url)
    here.get_or_load("k:1", lambda: 1, ttl=0.05, stale_for=60)
    time.sleep(0.1)
    calls: list[int] = []

    def fail() -> object:
        calls.append(1)
        raise ZeroDivisionError

    assert [there.get_or_load("k:1", fail, ttl=10, stale_for=60) for _ in range(3)] == [1, 1, 1]
    assert len(calls) == 1
