"""The cache in applications: the specified forms word for word, with and without Redis, and what operators see and do."""

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from flask import Flask

import laid
import patience
import servers
from patience import until
from rakiza import Platform, integrate
from rakiza._kernel import CheckResult
from rakiza.bus import Bus
from rakiza.caching import CacheManager, cached, init_cache
from rakiza.hub import platform_of

KEY = "an-operators-key-for-tests-0123456789"
READ, WRITE = {"x-api-key": KEY}, {"x-api-key": KEY}
GO = float(patience.SECONDS)


@pytest.fixture(params=["memory", "redis"])
def redis_port(request: pytest.FixtureRequest) -> int | None:
    """Return the port of a real Redis, or none for an application without one."""
    if request.param == "memory":
        return None
    return int(str(request.getfixturevalue("redis_url")).rpartition(":")[2].partition("/")[0])


@pytest.fixture
def flask_app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, redis_port: int | None) -> Iterator[Flask]:
    monkeypatch.chdir(tmp_path)
    app = Flask("site")
    app.config.update(LOG_DIR=str(tmp_path / "logs"), RAKIZA_LOGS_CONSOLE=False, OPS_API_KEY=KEY, RAKIZA_CACHING_REDIS_TIMEOUT_SECONDS=1.0)
    if redis_port is not None:
        app.config.update(USE_REDIS_CACHE=True, REDIS_HOST="127.0.0.1", REDIS_PORT=redis_port, REDIS_DB=0, REDIS_PASSWORD="")
    yield app
    platform = platform_of(app)
    if platform is not None:
        platform.shutdown()


def begin(app: Flask) -> None:
    """Let the cache of a platform that has just started empty itself of what it may have missed before."""
    platform, give_up = platform_of(app), time.monotonic() + 5
    assert platform is not None
    app.test_client().get("/livez")
    while not platform.service("bus", Bus).count("messages") and time.monotonic() < give_up:
        time.sleep(0.01)
    time.sleep(0.2)


def test_the_specified_example_word_for_word(redis_port: int | None) -> None:
    cache = CacheManager(use_redis=True, redis_config={'host': 'localhost', 'port': redis_port or servers.free_port(), 'db': 0, 'password': None})
    cache.set("user:123", {"name": "Ahmed", "role": "Admin"}, ttl=300)
    assert cache.get("user:123") == {"name": "Ahmed", "role": "Admin"}
    assert cache.exists("user:123")
    assert cache.delete("user:123")
    assert not cache.exists("user:123")
    cache.set("user:123", {"name": "Ahmed", "role": "Admin"}, ttl=300)
    cache.clear()
    assert cache.get("user:123") is None

    @cached(ttl=600, key_prefix="user")
    def get_user(user_id):  # type: ignore[no-untyped-def]
        return {"id": user_id, "seen": time.perf_counter()}

    first = get_user(123)
    assert get_user(123) == first
    get_user.clear_cache()
    assert get_user(123) != first

    @cached(ttl=1800, key_prefix="boq")
    def get_boq_summary(project_id):  # type: ignore[no-untyped-def]
        return {"total_cost": "1250000.00", "items_count": 850, "progress": time.perf_counter()}

    project_id = 42
    before = get_boq_summary(project_id)
    assert get_boq_summary(project_id) == before
    cache.delete(f"boq:{project_id}")
    assert get_boq_summary(project_id) != before
    stats = cache.get_stats()
    assert list(stats) == ["cache_type", "total_keys", "hits", "misses", "total_requests", "hit_rate"]
    assert stats["cache_type"] == ("redis" if redis_port else "in_memory")
    cache.close()


def test_flask_as_specified(flask_app: Flask, redis_port: int | None) -> None:
    cache = init_cache(flask_app)
    client = flask_app.test_client()
    begin(flask_app)
    calls: list[int] = []

    @cached(ttl=600, key_prefix="profile")
    def profile(user_id: int) -> dict[str, object]:
        calls.append(user_id)
        return {"id": user_id, "name": "أحمد", "email": "a@example.com", "permissions": ["boq.read"]}

    flask_app.get("/profile/<int:user_id>")(profile)
    for _ in range(4):
        assert client.get("/profile/7").json == {"id": 7, "name": "أحمد", "email": "a@example.com", "permissions": ["boq.read"]}
    assert calls == [7]
    assert cache.get("profile:7") is not None
    stats = client.get("/api/cache/stats", headers=READ).json
    assert {name: stats[name] for name in ("cache_type", "total_keys", "hits", "misses", "total_requests", "hit_rate")} == {
        "cache_type": "redis" if redis_port else "in_memory", "total_keys": 1, "hits": 4, "misses": 1, "total_requests": 5, "hit_rate": 80.0,
    }
    cleared = client.post("/api/cache/clear", headers=WRITE)
    assert (cleared.status_code, cleared.json) == (200, {"success": True, "message": "Cache cleared successfully"})
    client.get("/profile/7")
    assert calls == [7, 7]
    assert client.get("/api/cache/stats").status_code == 401
    assert client.post("/api/cache/clear").status_code == 401


def test_a_platform_without_redis_address_keeps_values_in_memory(tmp_path: Path) -> None:
    platform = integrate(Flask("site"), {"hub": {"home": laid.home(tmp_path, "app")}, "logs": {"console": False}})
    platform.start()
    try:
        assert (platform.cache.state, platform.cache.wanted) == ("in_memory", False)
        (check,) = [check for part in platform.parts for check in part.checks if check.name == "cache"]
        assert check.fn() == CheckResult("pass", "in_memory")
    finally:
        platform.shutdown()


@pytest.fixture
def platform(tmp_path: Path, redis_url: str) -> Iterator[tuple[Platform, httpx.Client]]:
    app = Flask("site")
    settings: dict[str, dict[str, Any]] = {
        "hub": {"home": laid.home(tmp_path), "name": "site"}, "logs": {"console": False}, "security": {"ops_api_key": KEY},
        "store": {"redis_url": redis_url}, "caching": {"redis_timeout_seconds": 1.0},
    }
    platform = integrate(app, settings)
    platform.start()
    # Memory is emptied when the epoch of the database is known, when Redis is reached, and when the bus is: messages may have been missed before.
    until(lambda: platform.cache.lookup.flights.epoch >= 3)
    with httpx.Client(transport=httpx.WSGITransport(app), base_url="http://site.example", headers=READ) as client:
        yield platform, client
    platform.shutdown()


def test_what_operators_see(platform: tuple[Platform, httpx.Client]) -> None:
    cache, client = platform[0].cache, platform[1]
    for number in range(3):
        cache.get_or_load(f"boq:{number}", lambda number=number: {"مجموع": number}, tags=(f"project:{number}",), stale_for=60)  # type: ignore[misc]
    cache.get("boq:1")
    cache.get("user:9")
    stats = client.get("/api/cache/stats").json()
    assert (stats["state"], stats["redis"]["up"], stats["l1"]["keys"], stats["loads"], stats["total_keys"]) == ("redis", True, 3, 3, 3)
    rows = {row["prefix"]: row for row in client.get("/api/cache/prefixes").json()["prefixes"]}
    assert {name: rows["boq"][name] for name in ("hits", "misses", "hit_rate", "loads", "keys", "errors")} == {
        "hits": 1, "misses": 3, "hit_rate": 25.0, "loads": 3, "keys": 3, "errors": 0,
    }
    keys = client.get("/api/cache/keys", params={"q": ":1"}).json()
    assert (keys["total"], keys["next"], [row["key"] for row in keys["keys"]]) == (1, None, ["boq:1"])
    assert keys["keys"][0]["tags"] == ["project:1"]
    assert client.get("/api/cache/misses").json()["keys"][0]["misses"] == 1
    platform[0].cache.tallies.note(platform[0].ctx.clock.now())
    history = client.get("/api/cache/history", params={"range": "6h"}).json()
    assert (history["step_seconds"], len(history["at"])) == (300, 72)
    assert sum(history["series"][0]["hits"]) == 1
    assert client.get("/api/cache/history", params={"range": "1y"}).status_code == 422
    assert b"cache_hits 1.0" in client.get("/metrics").content


def test_operators_evict_by_key_prefix_and_tag(platform: tuple[Platform, httpx.Client]) -> None:
    cache, client = platform[0].cache, platform[1]

    def fill() -> None:
        for number in range(3):
            cache.get_or_load(f"boq:{number}", lambda: "قيمة", tags=(f"project:{number}",))
        cache.set("user:1", 1)

    fill()
    assert client.post("/api/cache/evict", json={"key": "boq:0"}).json() == {"success": True, "evicted": 1}
    assert (cache.get("boq:0"), cache.get("boq:1")) == (None, "قيمة")
    assert client.post("/api/cache/evict", json={"tag": "project:1"}).json()["evicted"] == 1
    assert (cache.get("boq:1"), cache.get("boq:2")) == (None, "قيمة")
    fill()
    cache.memory.clear()
    assert client.post("/api/cache/evict", json={"prefix": "boq"}).json() == {"success": True, "evicted": 3}
    assert [cache.get(f"boq:{number}") for number in range(3)] == [None] * 3
    assert cache.get("user:1") == 1
    for wrong in ({}, {"key": "a", "tag": "b"}):
        refused = client.post("/api/cache/evict", json=wrong)
        assert (refused.status_code, refused.json()["detail"]) == (422, "name one of key, prefix and tag")


def test_pages_of_keys(platform: tuple[Platform, httpx.Client]) -> None:
    cache, client = platform[0].cache, platform[1]
    for number in range(250):
        cache.set(f"row:{number:03}", number)
    seen: list[str] = []
    cursor = ""
    while cursor is not None:
        page = client.get("/api/cache/keys", params={"prefix": "row", "cursor": cursor}).json()
        assert page["total"] == 250
        seen += [row["key"] for row in page["keys"]]
        cursor = page["next"]
    assert seen == [f"row:{number:03}" for number in range(250)]


def test_a_transaction_decides_whether_a_value_is_forgotten(platform: tuple[Platform, httpx.Client]) -> None:
    store, cache = platform[0].store, platform[0].cache
    cache.set("boq:1", "قديم", tags=("project:1",))
    with pytest.raises(ZeroDivisionError), store.begin() as tx:
        cache.invalidate_tag("project:1", tx=tx)
        raise ZeroDivisionError
    assert cache.get("boq:1") == "قديم"
    with store.begin() as tx:
        cache.invalidate_tag("project:1", tx=tx)
        assert cache.get("boq:1") == "قديم", "until the commit the others' answer is right"
    assert cache.get("boq:1") is None
    cache.memory.clear()
    assert cache.get("boq:1") is None, "Redis has forgotten it as well"
    cache.set("boq:2", 1)
    with store.begin() as tx:
        cache.delete("boq:2", tx=tx)
    assert cache.get("boq:2") is None


def test_what_is_not_committed_is_not_cached(platform: tuple[Platform, httpx.Client]) -> None:
    store, cache = platform[0].store, platform[0].cache
    with pytest.raises(ZeroDivisionError), store.begin():
        assert cache.get_or_load("boq:1", lambda: "لم يثبت بعد") == "لم يثبت بعد"
        raise ZeroDivisionError
    assert cache.get("boq:1") is None


def test_what_an_older_snapshot_shows_is_not_cached(platform: tuple[Platform, httpx.Client]) -> None:
    store, cache = platform[0].store, platform[0].cache
    with store.read():
        assert cache.get_or_load("boq:1", lambda: "من لقطة قديمة") == "من لقطة قديمة"
    assert cache.get("boq:1") is None


def change(cache: CacheManager, how: str) -> None:
    match how:
        case "tag":
            cache.invalidate_tag("project:1")
        case "key":
            cache.delete("boq:1")
        case "clear":
            cache.clear()
        case _:
            cache.set("boq:1", 5)


@pytest.mark.parametrize("how", ["tag", "key", "clear", "set", "in a transaction"])
def test_two_platforms_of_one_database_without_redis(tmp_path: Path, erp_url: str, how: str) -> None:
    def site(name: str) -> Platform:
        hub = {"home": tmp_path / name, "name": "site"}
        made = integrate(Flask("site"), {"hub": hub, "logs": {"console": False}, "store": {"database_url": erp_url}})
        made.start()
        return made

    here, there = site("one"), site("two")
    try:
        assert there.cache.get_or_load("boq:1", lambda: "قديم", tags=("project:1",)) == "قديم"
        if how == "in a transaction":
            with here.store.begin() as tx:
                here.cache.invalidate_tag("project:1", tx=tx)
        else:
            change(here.cache, how)
        until(lambda: there.cache.get("boq:1") is None)
    finally:
        here.shutdown()
        there.shutdown()


def test_the_loop_is_not_held_up(platform: tuple[Platform, httpx.Client]) -> None:
    cache = platform[0].cache

    async def main() -> list[object]:
        await cache.aset("k", "قيمة")
        cache.memory.clear()
        return list(await asyncio.gather(*(cache.aget("k") for _ in range(50))))

    assert asyncio.run(main()) == ["قيمة"] * 50


def test_two_installations_of_one_name_share_no_values(tmp_path: Path, redis_url: str) -> None:
    made: list[Platform] = []
    for name in ("first", "second"):
        hub, store = {"home": tmp_path / name, "name": "site"}, {"redis_url": redis_url}
        made.append(integrate(Flask("site"), {"hub": hub, "logs": {"console": False}, "store": store, "caching": {"redis_timeout_seconds": 1.0}}))
        made[-1].start()
    first, second = (platform.cache for platform in made)
    first.set("boq:1", "الأول")
    second.set("boq:1", "الثاني")
    for cache in (first, second):
        cache.memory.clear()
    assert (first.get("boq:1"), second.get("boq:1")) == ("الأول", "الثاني")
    for platform in made:
        platform.shutdown()
