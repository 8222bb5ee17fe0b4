"""The cache while its Redis is dead, frozen, full, foreign or lying: no caller notices, operators do, and nothing old comes back afterwards."""

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

import servers
from cache_faults import FREEZE_SECONDS, GO, PATHS, PATIENT, ROUNDS, Line, World, ask, down, until, up
from rakiza.caching import CacheManager, CachingSettings
from rakiza.caching.part import look

Make = Callable[..., CacheManager]
Log = pytest.LogCaptureFixture
OUTAGES = ("killed", "frozen", "password", "cut", "full")
PASSWORD = "سر"
HUNG = """
import sys, threading
from rakiza.caching import CacheManager
cache = CacheManager(True, {"url": sys.argv[1]})
def load():
    print("loading")
    threading.Event().wait()
cache.get_or_load("k:1", load)
"""
FORKED = """
import os, sys
from rakiza.caching import CacheManager, CachingSettings
cache = CacheManager(True, {"url": sys.argv[1]}, settings=CachingSettings(redis_timeout_seconds=1.0))
while cache.state != "redis":
    pass
cache.set("k:1", "من الأب")
children = []
for number in range(4):
    child = os.fork()
    if child == 0:
        while cache.state != "redis":
            pass
        assert cache.get("k:1") == "من الأب"
        cache.set(f"k:child{number}", number)
        print("child", number, flush=True)
        while cache.get("k:end") is None:
            pass
        cache.close()
        os._exit(0)
    children.append(child)
for child in children:
    assert os.waitpid(child, 0)[1] == 0
assert [cache.get(f"k:child{number}") for number in range(4)] == [0, 1, 2, 3]
cache.close()
print("whole")
"""


@pytest.fixture(params=["threads", "asyncio"])
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    made = World(request.param)
    yield made
    made.close()
    request.node.user_properties.append(("longest_call_ms", round(made.longest * 1000, 1)))


@pytest.fixture
def make() -> Iterator[Make]:
    """Return a function that makes a cache on a Redis, as a process of its own would."""
    made: list[CacheManager] = []

    def build(url: str, **options: Any) -> CacheManager:
        made.append(CacheManager(True, {"url": url}, **options))
        return made[-1]

    yield build
    for cache in made:
        cache.close()


class Outage:
    """Take a Redis away from who uses it, and give it back."""

    def __init__(self, kind: str, line: Line) -> None:
        self.kind, self.server, self.line = kind, line.server, line

    def begin(self) -> None:
        if self.kind == "killed":
            self.server.kill()
        elif self.kind == "frozen":
            self.server.freeze()
        elif self.kind == "cut":
            self.line.cut()
        elif self.kind == "full":
            ask(self.server, "CONFIG", "SET", "maxmemory", "1")
        else:
            ask(self.server, "CONFIG", "SET", "requirepass", PASSWORD)
            self.line.cut()
            self.line.mend()

    def end(self) -> None:
        if self.kind == "killed":
            self.server.restart()
        elif self.kind == "frozen":
            self.server.thaw()
        elif self.kind == "cut":
            self.line.mend()
        elif self.kind == "full":
            ask(self.server, "CONFIG", "SET", "maxmemory", "0")
        else:
            import redis

            with redis.Redis(port=self.server.port, password=PASSWORD) as admin:
                admin.execute_command("CONFIG", "SET", "requirepass", "")


@pytest.fixture
def line(redis_server: servers.Redis) -> Iterator[Line]:
    made = Line(redis_server)
    yield made
    made.close()


def said(caplog: Log) -> list[str]:
    """Return what the cache has told of its states."""
    words = {"cannot": "down", "uses": "up"}
    lines = [record.getMessage() for record in caplog.records if record.name == "rakiza.caching"]
    return [word for line in lines for start, word in words.items() if line.startswith(f"the cache {start}")]


def fill(world: World, *caches: CacheManager) -> None:
    """Let every cache have the same old values in memory, and Redis as well."""
    up(*caches)
    for key in ("k:delete", "k:tag", "k:set", "k:loaded"):
        for cache in caches:
            assert world(cache, "get_or_load", key, lambda: "قديم", tags=("t",) if key == "k:tag" else ()) == "قديم"


def refreshed(world: World, cache: CacheManager, key: str) -> Any:
    return world(cache, "get_or_load", key, lambda: "جديد", tags=("t",) if key == "k:tag" else ())


@pytest.mark.parametrize("kind", OUTAGES)
def test_an_outage_is_noticed_by_operators_only(kind: str, world: World, line: Line, make: Make, caplog: Log) -> None:
    caplog.set_level(logging.INFO)
    here, there = make(line.url), make(line.url)
    fill(world, here, there)
    outage = Outage(kind, line)
    for _ in range(ROUNDS):
        fill(world, here, there)
        caplog.clear()
        outage.begin()
        # the same process sees what it did, at once
        world(here, "delete", "k:delete")
        world(here, "invalidate_tag", "t")
        world(here, "set", "k:set", "جديد")
        assert [world(here, "get", key) for key in ("k:delete", "k:tag", "k:set", "k:loaded")] == [None, None, "جديد", "قديم"]
        assert [refreshed(world, here, key) for key in ("k:delete", "k:tag", "k:set")] == ["جديد"] * 3
        assert world(here, "exists", "k:delete")
        assert not world(here, "exists", "k:nothing")
        here.evict(prefix="other")
        assert (here.state, here.get_stats()["cache_type"]) == ("fallback", "in_memory")
        assert (look(here).status, here.level is not None and bool(here.level.last_error)) == ("warn", True)
        for number in range(20):
            assert world(here, "get_or_load", f"k:{number}", lambda number=number: number) == number
            assert world(there, "get_or_load", f"k:{number}", lambda number=number: number) == number
        if kind == "frozen":  # everything above came back although it still is
            assert is_stopped(line.server)
            time.sleep(FREEZE_SECONDS)
        down(here, there)
        outage.end()
        up(here, there)
        until(lambda: refreshed(world, there, "k:delete") == "جديد")
        for cache in (here, there):
            assert [refreshed(world, cache, key) for key in ("k:delete", "k:tag", "k:set")] == ["جديد"] * 3
            assert look(cache).status == "pass"
        assert sorted(said(caplog)) == ["down", "down", "up", "up"]
        world(here, "clear")
        until(lambda: world(there, "get", "k:loaded") is None)


def is_stopped(server: servers.Redis) -> bool:
    return Path(f"/proc/{server.process.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


@pytest.mark.parametrize("kind", [kind for kind in OUTAGES if kind != "full"])
def test_what_was_cleared_in_an_outage_does_not_come_back(kind: str, world: World, line: Line, make: Make) -> None:
    here, there = make(line.url), make(line.url)
    fill(world, here, there)
    outage = Outage(kind, line)
    outage.begin()
    world(here, "clear")
    assert world(here, "get", "k:loaded") is None
    assert refreshed(world, here, "k:loaded") == "جديد"
    outage.end()
    up(here, there)
    until(lambda: refreshed(world, there, "k:loaded") == "جديد")
    assert refreshed(world, here, "k:loaded") == "جديد"


def test_a_cache_that_starts_without_redis_finds_it_later(world: World, redis_server: servers.Redis, make: Make, caplog: Log) -> None:
    caplog.set_level(logging.INFO)
    redis_server.kill()
    here = make(redis_server.url, settings=PATIENT)
    assert here.state == "fallback"
    world(here, "set", "k:1", "قيمة")
    assert world(here, "get", "k:1") == "قيمة"
    assert world(here, "get_or_load", "k:2", lambda: 2) == 2
    redis_server.restart()
    up(here)
    world(here, "set", "k:3", 3)
    assert ask(redis_server, "EXISTS", "rakiza:cache:e:k:3") == 1
    assert said(caplog) == ["down", "up"]


def test_a_redis_that_comes_and_goes(world: World, redis_server: servers.Redis, make: Make, caplog: Log) -> None:
    caplog.set_level(logging.INFO)
    here = make(redis_server.url, settings=PATIENT)
    up(here)
    for number in range(3 * ROUNDS):
        redis_server.kill()
        down(here)
        world(here, "set", "k:1", number)
        assert world(here, "get", "k:1") == number
        redis_server.restart()
        up(here)
        assert world(here, "get", "k:1") is None
        assert world(here, "get_or_load", "k:1", lambda number=number: -number) == -number
    assert said(caplog) == ["up"] + ["down", "up"] * 3 * ROUNDS


def test_a_frozen_redis_is_noticed_without_a_single_call(redis_server: servers.Redis, make: Make) -> None:
    here = make(redis_server.url)
    up(here)
    redis_server.freeze()
    down(here)
    redis_server.thaw()
    up(here)


def test_a_connection_that_listens_and_falls_silent_is_replaced(line: Line, make: Make) -> None:
    here, there = make(line.url, settings=PATIENT), make(line.url, settings=PATIENT)
    up(here, there)
    here.set("k:1", "قديم")
    assert there.get("k:1") == "قديم"
    line.silence()  # as a router does that forgets connections
    here.set("k:1", "جديد")
    until(lambda: there.get("k:1") != "قديم")
    up(here, there)


# -- what Redis holds and answers


@pytest.mark.parametrize("poison", ["list", "bytes", "format", "array", "value"])
def test_what_others_left_under_our_names_is_a_miss(poison: str, world: World, redis_server: servers.Redis, make: Make) -> None:
    here, there = make(redis_server.url, settings=PATIENT), make(redis_server.url, settings=PATIENT)
    up(here, there)
    for number in range(4):
        world(here, "set", f"k:{number}", "قديم", tags=("t",))
    name = "rakiza:cache:e:k:1"
    good = msgspec.msgpack.decode(ask(redis_server, "GET", name))
    ask(redis_server, "DEL", name)
    bad: dict[str, Any] = {
        "bytes": b"\xff\x00\x93garbage",
        "format": msgspec.msgpack.encode([99, *good[1:]]),
        "array": b"\xdd\xff\xff\xff\xff",
        "value": msgspec.msgpack.encode([*good[:7], msgspec.Raw(b"\xa5\xff\xfe\xfd\xfc\xfb")]),
    }
    if poison == "list":
        ask(redis_server, "LPUSH", name, "x")
    else:
        ask(redis_server, "SET", name, bad[poison])
    assert world(there, "get", "k:1") is None
    assert not world(there, "exists", "k:1")
    assert world(there, "get_or_load", "k:1", lambda: "جديد", tags=("t",)) == "جديد"
    assert (here.state, there.state) == ("redis", "redis")
    assert msgspec.msgpack.decode(ask(redis_server, "GET", name))[7] == "جديد"  # it is mended
    assert world(there, "get", "k:2") == "قديم"


@pytest.mark.parametrize("name", ["t:t", "t:", "l:k:1"])
def test_what_is_no_token_and_no_lock_is_replaced(name: str, world: World, redis_server: servers.Redis, make: Make) -> None:
    here = make(redis_server.url, settings=CachingSettings(redis_timeout_seconds=1.0, lock_wait_seconds=0.1))
    up(here)
    world(here, "set", "k:1", "قديم", tags=("t",))
    here.memory.clear()
    ask(redis_server, "DEL", f"rakiza:cache:{name}", "rakiza:cache:e:k:1")
    ask(redis_server, "LPUSH", f"rakiza:cache:{name}", "x")
    assert world(here, "get", "k:1") is None
    assert world(here, "get_or_load", "k:1", lambda: "جديد", tags=("t",)) == "جديد"
    world(here, "set", "k:2", "جديد", tags=("t",))
    here.memory.clear()
    assert world(here, "get", "k:2") == "جديد"
    assert world(here, "get_or_load", "k:3", lambda: 3, tags=("t",)) == 3
    here.memory.clear()
    assert world(here, "get", "k:3") == 3
    assert here.state == "redis"


@pytest.mark.parametrize("answer", [None, b":abc\r\n", b"\x00\xff\xfe", b"$99999999999999\r\n", b"*-7\r\n", b"+OK\r\n"])
def test_an_answer_that_breaks_off_or_is_none_reaches_nobody(answer: bytes | None, world: World, line: Line, make: Make) -> None:
    here = make(line.url, settings=PATIENT)
    up(here)
    for words, call in (
        (b"MGET", lambda: world(here, "get", "k:1")),
        (b"MGET", lambda: world(here, "get_or_load", "k:1", lambda: 1)),
        (b"NX", lambda: world(here, "get_or_load", "k:2", lambda: 1)),
        (b"EVAL", lambda: world(here, "get_or_load", "k:3", lambda: 1)),
        (b"EVAL", lambda: world(here, "set", "k:4", 1)),
        (b"PUBLISH", lambda: world(here, "delete", "k:4")),
    ):
        up(here)
        line.lie(words, answer)
        assert call() in {None, 1, False}
    up(here)
    assert world(here, "get_or_load", "k:9", lambda: 9) == 9


def test_slow_answers_are_answers(world: World, line: Line, make: Make) -> None:
    here = make(line.url, settings=CachingSettings(redis_timeout_seconds=0.5))
    up(here)
    line.delay_seconds = 0.03
    world(here, "set", "k:1", 1)
    here.memory.clear()
    assert world(here, "get", "k:1") == 1
    assert world(here, "get_or_load", "k:2", lambda: 2) == 2
    assert here.state == "redis"


def test_a_wrong_password_is_an_outage(world: World, redis_server: servers.Redis, make: Make, caplog: Log) -> None:
    caplog.set_level(logging.INFO)
    ask(redis_server, "CONFIG", "SET", "requirepass", "right")
    here = make(f"redis://:wrong@127.0.0.1:{redis_server.port}/0")
    world(here, "set", "k:1", 1)
    assert world(here, "get", "k:1") == 1
    assert look(here).status == "warn"
    assert "wrong" not in caplog.text.replace("wrong number", "")
    time.sleep(1)
    assert said(caplog) == ["down"]


def test_a_breaker_opened_by_hand_stays_open(world: World, redis_server: servers.Redis, make: Make) -> None:
    here = make(redis_server.url, settings=PATIENT)
    up(here)
    assert here.level is not None
    here.level.breaker.force_open(60, "صيانة")
    assert world(here, "get", "k:1") is None
    time.sleep(1)
    assert (here.state, here.level.breaker.stats().forced) == ("fallback", "open")
    here.level.breaker.reset()
    up(here)


# -- loads and waiting across an outage


def test_a_load_in_flight_across_an_outage_keeps_nothing_old(world: World, redis_server: servers.Redis, make: Make) -> None:
    here, there = (make(redis_server.url, settings=PATIENT) for _ in range(2))
    up(here, there)

    def load() -> str:
        redis_server.kill()
        down(here, there)
        there.delete("k:1")
        redis_server.restart()
        up(here, there)
        return "قديم"

    assert world(here, "get_or_load", "k:1", load) == "قديم"
    for cache in (here, there):
        assert world(cache, "get_or_load", "k:1", lambda: "جديد") == "جديد"


def test_who_waits_for_another_process_is_freed_when_redis_goes(world: World, redis_server: servers.Redis, make: Make) -> None:
    patience = CachingSettings(redis_timeout_seconds=0.5, lock_wait_seconds=60)
    here, there = make(redis_server.url, settings=patience), make(redis_server.url, settings=patience)
    up(here, there)
    begun, stop = threading.Event(), threading.Event()

    def slow() -> int:
        begun.set()
        stop.wait(GO)
        return 1

    loading = threading.Thread(target=lambda: here.get_or_load("k:1", slow), daemon=True)
    loading.start()
    assert begun.wait(GO)
    killer = threading.Timer(0.3, redis_server.kill)
    killer.start()
    answers = world.at_once([lambda: there.get_or_load("k:1", lambda: 2)] * 5, [lambda: there.aget_or_load("k:1", lambda: 2)] * 5)
    assert answers == [2] * 5
    assert loading.is_alive()
    stop.set()
    loading.join(GO)
    killer.join()


def test_the_lock_of_a_killed_process_holds_others_up_no_longer_than_they_are_told(
    world: World, redis_server: servers.Redis, make: Make, python_process: Callable[..., servers.Child]
) -> None:
    child = python_process(HUNG, redis_server.url, env=PATHS)
    child.wait_for("loading")
    child.kill9()
    here = make(redis_server.url, settings=CachingSettings(redis_timeout_seconds=0.5, lock_wait_seconds=0.3))
    up(here)
    assert ask(redis_server, "PTTL", "rakiza:cache:l:k:1") > 10_000
    assert world(here, "get_or_load", "k:1", lambda: 2) == 2
    assert ask(redis_server, "EXISTS", "rakiza:cache:l:k:1") == 0


def test_forked_children_use_redis_as_processes_of_their_own(
    redis_server: servers.Redis, make: Make, python_process: Callable[..., servers.Child]
) -> None:
    here = make(redis_server.url, settings=PATIENT)
    child = python_process(FORKED, redis_server.url, env=PATHS)
    for _ in range(4):
        child.wait_for("child")
    up(here)
    assert sorted(here.get(f"k:child{number}") for number in range(4)) == [0, 1, 2, 3]
    here.set("k:end", True)  # the children hear of it
    child.wait_for("whole")
    assert child.finish()[-1] == "whole"


def test_loops_one_after_another_leave_no_connection(redis_server: servers.Redis, make: Make) -> None:
    here = make(redis_server.url, settings=PATIENT)
    up(here)

    async def use() -> None:
        await asyncio.gather(*(here.aget(f"k:{number}") for number in range(5)))

    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(20):
        asyncio.run(use())
    assert len(list(Path("/proc/self/fd").iterdir())) <= before + 2
    assert here.state == "redis"
