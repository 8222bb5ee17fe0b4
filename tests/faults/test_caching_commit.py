"""Between the commit of a change and the moment Redis hears of it a process may die, and others may look: nothing old is kept."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

import servers
from patience import until
from rakiza import Platform, build
from rakiza.caching import CacheManager

KEY, TAG = "فاتورة:٧", "مشروع:٧"


@pytest.fixture
def platforms(tmp_path: Path, erp_url: str, redis_server: servers.Redis) -> Iterator[Callable[..., Platform]]:
    """Return a function that starts one more platform on the same database and Redis, with settings of its store."""
    with ExitStack() as held:

        def start(**given: object) -> Platform:
            home = tmp_path / f"home{time.monotonic_ns()}"
            store = {"database_url": erp_url, "redis_url": redis_server.url, **given}
            one = build({"hub": {"home": home}, "logs": {"console": False}, "store": store, "jobs": {"work": False}}, environ={})
            held.callback(one.shutdown)
            one.start()
            return one

        yield start


def cache_of(platform: Platform) -> CacheManager:
    return platform.service("caching", CacheManager)


def asked(cache: CacheManager, value: str) -> str:
    """Return what the cache has, else the value."""
    found = cache.get_or_load(KEY, lambda: value, type=str, ttl=600, tags=(TAG,))
    assert isinstance(found, str)
    return found


def in_a_thread(work: Callable[[], Any]) -> Any:
    """Do something outside the transaction at hand."""
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(work()))
    thread.start()
    thread.join()
    return found[0]


def die_at_commit(cache: CacheManager, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a cache do nothing more once a transaction has committed."""
    monkeypatch.setattr(cache, "_forget_there", lambda kind, name: iter(()))
    monkeypatch.setattr(cache, "_drop", lambda kind, name: False)


def cut_off(cache: CacheManager, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a cache not reach Redis any more."""
    assert cache.level is not None
    monkeypatch.setattr(cache.level, "connect", lambda: False)
    cache.level.down("the network is cut")


def test_what_is_loaded_before_a_commit_is_not_in_redis_after_it(platforms: Callable[..., Platform], monkeypatch: pytest.MonkeyPatch) -> None:
    writer = platforms()
    reader, third = (platforms(busy_timeout_seconds=1.0) for _ in range(2))  # they are to end while the writer holds a SQLite file
    assert asked(cache_of(writer), "old") == asked(cache_of(reader), "not asked") == "old"
    die_at_commit(cache_of(writer), monkeypatch)
    with writer.store.begin() as tx:
        cache_of(writer).invalidate_tag(TAG, tx=tx)
        assert in_a_thread(lambda: asked(cache_of(third), "old again")) == "old again"  # as the database still has it
        assert cache_of(third).state == "redis"
        for one in (third, reader):  # they die as well, and hear nothing
            one.shutdown()
    assert asked(cache_of(platforms()), "new") == "new"


def test_loads_during_a_transaction_hold_no_lock_and_what_is_set_is_shared(platforms: Callable[..., Platform]) -> None:
    writer, reader = platforms(), platforms()
    cache = cache_of(reader)
    with writer.store.begin() as tx:
        cache_of(writer).invalidate_tag(TAG, tx=tx)
        assert in_a_thread(lambda: asked(cache, "old")) == "old"
        assert cache.level is not None
        assert cache.level.ask([("EXISTS", cache.level.lock(KEY))]) == [0]
        in_a_thread(lambda: cache.set(KEY, "put", ttl=600, tags=(TAG,), type=str))
        assert cache.state == "redis"
        assert cache_of(writer).get(KEY, type=str) == "put"
    until(lambda: cache.get(KEY, type=str) is None)
    assert asked(cache, "new") == "new"
    assert asked(cache_of(platforms()), "newer") in {"new", "newer"}  # the reader tells Redis once more, and its value may go with that


def test_a_load_that_was_overtaken_gives_its_lock_back(platforms: Callable[..., Platform]) -> None:
    writer, reader = platforms(), platforms()
    cache = cache_of(reader)
    until(lambda: cache.lookup.flights.epoch >= 3)  # it knows the epoch, and has reached Redis and the bus
    assert cache.level is not None

    def overtaken() -> str:
        forgotten = cache.invalidations
        with writer.store.begin() as tx:
            cache_of(writer).invalidate_tag(TAG, tx=tx)
        until(lambda: cache.invalidations > forgotten)
        return "old"

    assert cache.get_or_load(KEY, overtaken, type=str, ttl=600, tags=(TAG,)) == "old"
    assert cache.level.ask([("EXISTS", cache.level.lock(KEY))]) == [0]
    assert asked(cache, "new") == "new"


def test_a_transaction_that_is_undone_leaves_the_cache_at_work(platforms: Callable[..., Platform]) -> None:
    writer, reader = platforms(), platforms()
    cache_of(reader).set("اختبار", 1, tags=("اختبار",))
    with writer.store.begin() as tx:
        cache_of(writer).invalidate_tag("اختبار", tx=tx)
    until(lambda: cache_of(reader).get("اختبار") is None)  # from here on it hears what is told, and forgets nothing for fear it did not
    assert asked(cache_of(reader), "kept") == "kept"
    with pytest.raises(ZeroDivisionError), writer.store.begin() as tx:
        cache_of(writer).invalidate_tag(TAG, tx=tx)
        raise ZeroDivisionError
    assert asked(cache_of(reader), "not asked") == "kept"
    assert asked(cache_of(writer), "the same") == "the same"  # nothing is read from Redis that might be old by now
    assert cache_of(writer).state == cache_of(reader).state == "redis"


def test_what_was_read_from_redis_after_the_message_came_is_dropped_when_redis_heard(
    platforms: Callable[..., Platform], monkeypatch: pytest.MonkeyPatch
) -> None:
    writer, reader = platforms(), platforms()
    old, cache = cache_of(writer), cache_of(reader)
    until(lambda: cache.lookup.flights.epoch >= 3)  # it knows the epoch, and has reached Redis and the bus: what is said before is not heard
    assert asked(old, "old") == asked(cache, "not asked") == "old"
    die_at_commit(old, monkeypatch)
    cut_off(old, monkeypatch)
    forget, seen = cache._forget_there, []

    def late(kind: str, name: str) -> Any:
        seen.append(asked(cache, "new"))  # a request comes first
        return forget(kind, name)

    monkeypatch.setattr(cache, "_forget_there", late)
    with writer.store.begin() as tx:
        old.invalidate_tag(TAG, tx=tx)
    until(lambda: bool(seen))
    until(lambda: asked(cache, "new") == "new")
    assert asked(cache_of(platforms()), "newer") in {"new", "newer"}


def test_who_starts_while_redis_is_away_trusts_nothing_it_finds_there_later(
    platforms: Callable[..., Platform], redis_server: servers.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = platforms()
    assert asked(cache_of(first), "old") == "old"
    cut_off(cache_of(first), monkeypatch)
    redis_server.freeze()
    with first.store.begin() as tx:
        cache_of(first).invalidate_tag(TAG, tx=tx)
    first.shutdown()  # and what it owes is forgotten with it
    second = platforms()
    assert cache_of(second).state == "fallback"
    redis_server.thaw()
    until(lambda: cache_of(second).state == "redis")
    assert asked(cache_of(second), "new") == "new"
    assert asked(cache_of(platforms()), "newer") in {"new", "newer"}
