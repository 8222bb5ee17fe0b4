"""The cache in memory and on a real Redis: the same answers for threads and for event loops."""

import asyncio
import gc
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, NamedTuple

import msgspec
import pytest
import redis as driver

import patience
from rakiza.caching import CacheManager, CacheValueError, CachingSettings, cached
from rakiza.testing import FrozenClock

GO = float(patience.SECONDS)
PATIENT = CachingSettings(redis_timeout_seconds=1.0)
"""For machines that are busy; how short the patience is by default matters in the tests of faults."""


class Project(msgspec.Struct, frozen=True):
    """A row of a business table."""

    code: str
    name: str
    total: Decimal
    start: date | None = None


class Api(NamedTuple):
    """The methods of one world under one name, so that a test is written once."""

    get: Callable[..., Any]
    set: Callable[..., Any]
    delete: Callable[..., Any]
    exists: Callable[..., Any]
    clear: Callable[..., Any]
    tag: Callable[..., Any]
    load: Callable[..., Any]


def api(cache: CacheManager, world: str, loop: asyncio.AbstractEventLoop) -> Api:
    if world == "threads":
        return Api(cache.get, cache.set, cache.delete, cache.exists, cache.clear, cache.invalidate_tag, cache.get_or_load)

    def on_loop(call: Callable[..., Awaitable[Any]]) -> Callable[..., Any]:
        async def run(*args: Any, **kwargs: Any) -> Any:
            return await call(*args, **kwargs)

        return lambda *args, **kwargs: loop.run_until_complete(run(*args, **kwargs))

    calls = (cache.aget, cache.aset, cache.adelete, cache.aexists, cache.aclear, cache.ainvalidate_tag, cache.aget_or_load)
    return Api(*map(on_loop, calls))


Make = Callable[..., CacheManager]
Use = Callable[..., tuple[CacheManager, Api]]


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    yield loop
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()


@pytest.fixture(params=["memory", "redis"])
def make(request: pytest.FixtureRequest) -> Iterator[Callable[..., CacheManager]]:
    """Return a function that makes caches of one application, on one Redis or each in its own memory."""
    made: list[CacheManager] = []
    url = request.getfixturevalue("redis_url") if request.param == "redis" else None

    def build(settings: CachingSettings = PATIENT, **more: Any) -> CacheManager:
        cache = CacheManager(use_redis=url is not None, redis_config={"url": url} if url else None, settings=settings, **more)
        assert cache.state == ("redis" if url else "in_memory")
        made.append(cache)
        return cache

    yield build
    for cache in made:
        cache.close()


@pytest.fixture(params=["threads", "loop"])
def use(request: pytest.FixtureRequest, make: Make, loop: asyncio.AbstractEventLoop) -> Use:
    def build(**more: Any) -> tuple[CacheManager, Api]:
        cache = make(**more)
        return cache, api(cache, request.param, loop)

    return build


@pytest.mark.parametrize(
    "value",
    [
        *(None, True, 0, -5, 2**63, 1.5, "", "مرحباً", b"\x00\xff", [], {}, [1, [2, {"ثلاثة": None}]], {"name": "أحمد", "role": "Admin"}),
        *({1: "int keys"}, datetime(2026, 11, 27, 12, tzinfo=UTC), float("inf")),
    ],
    ids=repr,
)
def test_plain_values_come_back_as_they_went_in(use: Use, value: object) -> None:
    cache, here = use()
    here.set("k", value)
    assert here.get("k", "nothing") == value
    cache.memory.clear()
    assert here.get("k", "nothing") == (value if cache.level else "nothing")


def test_the_specified_methods(use: Use) -> None:
    cache, here = use()
    here.set("user:123", {"name": "Ahmed", "role": "Admin"}, ttl=300)
    assert here.get("user:123") == {"name": "Ahmed", "role": "Admin"}
    assert here.get("user:124") is None
    assert (here.exists("user:123"), here.exists("user:124")) == (True, False)
    assert cache.get_stats() == {
        "cache_type": "redis" if cache.level else "in_memory", "total_keys": 1, "hits": 1, "misses": 1, "total_requests": 2, "hit_rate": 50.0,
    }
    assert here.delete("user:123") is True
    assert here.delete("user:123") is False
    assert here.get("user:123") is None
    here.set("user:1", 1)
    here.set("user:2", 2)
    here.clear()
    assert (here.get("user:1"), here.get("user:2")) == (None, None)


def test_typed_values_come_back_typed(use: Use) -> None:
    cache, here = use()
    villa = Project("V-1", "فيلا النرجس", Decimal("1250000.50"), date(2026, 1, 5))
    here.set("project:1", villa, type=Project)
    assert here.get("project:1", type=Project) == villa
    cache.memory.clear()
    assert here.get("project:1", type=Project) == (villa if cache.level else None)
    here.set("project:1", villa, type=Project)
    plain = {"code": "V-1", "name": "فيلا النرجس", "total": "1250000.50", "start": "2026-01-05"}
    assert here.get("project:1") == plain, "without a type it is what every process would read"
    here.set("project:2", [villa, villa], type=list[Project])
    assert here.get("project:2", type=list[Project]) == [villa, villa]
    assert here.get("project:2", type=Project) is None, "another type than it was set with is a miss"


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (object(), "it is of the type builtins.object"),
        ({"total": Decimal("1.50")}, "total is of the type decimal.Decimal"),
        ({"lines": [{"day": date(2026, 1, 1)}]}, "lines[0].day is of the type datetime.date"),
        ([1, {2: threading.Lock()}], "[1].2 is of the type _thread.lock"),
        (Project("a", "ب", Decimal(1)), "it is of the type"),
        ({Decimal(1): 3}, "a key of it is of the type Decimal"),
        (2**64, "beyond 64 bits"),
        (datetime(2026, 1, 1), "it is of the type datetime.datetime"),  # noqa: DTZ001 - a naive time is the point
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_what_would_not_come_back_is_refused_by_its_place_and_type(use: Use, value: object, said: str) -> None:
    cache, here = use()
    with pytest.raises(CacheValueError) as caught:
        here.set("قيمة:1", value)
    assert said in str(caught.value)
    assert "قيمة:1" in str(caught.value)
    assert not cache.memory.entries


def test_a_value_that_contains_itself_is_refused(use: Use) -> None:
    loop: list[object] = []
    loop.append(loop)
    with pytest.raises(CacheValueError):
        use()[1].set("k", loop)


@pytest.mark.parametrize("ttl", [0, -1, -0.5, float("nan"), float("inf"), 10**12])
def test_a_time_to_live_is_above_zero(use: Use, ttl: float) -> None:
    _, here = use()
    with pytest.raises(ValueError, match="ttl must be above 0"):
        here.set("k", 1, ttl=ttl)
    with pytest.raises(ValueError, match="ttl must be above 0"):
        here.load("k", lambda: 1, ttl=ttl)
    assert here.get("k") is None


@pytest.mark.parametrize(("key", "error"), [("", ValueError), ("k" * 513, ValueError), (5, TypeError), (None, TypeError)])
def test_a_key_is_a_text_of_some_length(use: Use, key: Any, error: type[Exception]) -> None:
    _, here = use()
    for call in (lambda: here.get(key), lambda: here.set(key, 1), lambda: here.delete(key), lambda: here.load(key, lambda: 1)):
        with pytest.raises(error, match="a cache key"):
            call()


def test_values_end_with_their_time(use: Use) -> None:
    clock = FrozenClock()
    cache, here = use(clock=clock)
    here.set("k", "قصير", ttl=10)
    clock.advance(9.9)
    assert here.get("k") == "قصير"
    cache.memory.clear()
    assert here.get("k") == ("قصير" if cache.level else None), "a value Redis has is as old as it is"
    clock.advance(0.2)
    assert here.get("k") is None
    assert not here.exists("k")


def test_what_the_cache_gave_is_not_what_was_put_in(use: Use) -> None:
    _, here = use()
    mine = {"lines": [1]}
    here.set("k", mine)
    mine["lines"].append(2)
    assert here.get("k") == {"lines": [1]}


# -- loading


def test_a_value_is_loaded_once_also_when_it_is_none(use: Use) -> None:
    _, here = use()
    calls: list[int] = []
    for _ in range(3):
        assert here.load("user:1", lambda: calls.append(1)) is None
    assert calls == [1]
    assert here.get("user:1", "nothing") is None


def test_none_may_be_kept_for_another_time(use: Use) -> None:
    clock = FrozenClock()
    _, here = use(clock=clock)
    answers = iter([None, "موجود"])
    assert here.load("user:1", lambda: next(answers), ttl=1000, none_ttl=5) is None
    clock.advance(5.1)
    assert here.load("user:1", lambda: next(answers), ttl=1000, none_ttl=5) == "موجود"


def test_the_first_answer_is_of_the_same_types_as_the_next(use: Use) -> None:
    _, here = use()
    assert [here.load("k", lambda: (1, 2)) for _ in range(2)] == [[1, 2], [1, 2]]


def test_what_a_loader_raises_is_raised_and_nothing_is_kept(use: Use) -> None:
    _, here = use()

    def broken() -> object:
        raise LookupError("لا يوجد")

    for _ in range(2):
        with pytest.raises(LookupError, match="لا يوجد"):
            here.load("k", broken)
    with pytest.raises(CacheValueError):
        here.load("k", object)
    assert here.load("k", lambda: 5) == 5


def test_a_stale_value_serves_while_loading_fails(use: Use, caplog: pytest.LogCaptureFixture) -> None:
    clock = FrozenClock()
    cache, here = use(clock=clock)
    assert here.load("k", lambda: "قديم", ttl=10, stale_for=3600) == "قديم"
    clock.advance(60)

    def broken() -> object:
        calls.append(1)
        raise ConnectionError("away")

    calls: list[int] = []
    for _ in range(5):
        assert here.load("k", broken, ttl=10, stale_for=3600) == "قديم"
    assert calls == [1], "a loader that fails is left alone for a while"
    assert caplog.text.count("a stale value serves") == 1
    assert here.get("k") == "قديم"
    clock.advance(60)
    assert here.load("k", lambda: "جديد", ttl=10, stale_for=3600) == "جديد"
    clock.advance(7200)
    with pytest.raises(ConnectionError):
        here.load("k", broken, ttl=10, stale_for=3600)
    assert cache.tallies.totals().stale >= 1


def test_a_slow_load_gives_the_stale_value_and_goes_on(use: Use) -> None:
    clock = FrozenClock()
    _, here = use(clock=clock)
    here.load("k", lambda: "قديم", ttl=10, stale_for=3600)
    clock.advance(60)
    go, done = threading.Event(), threading.Event()

    def slow() -> str:
        go.wait(GO)
        done.set()
        return "جديد"

    assert here.load("k", slow, ttl=10, stale_for=3600, soft_timeout=0.01) == "قديم"
    go.set()
    assert eventually(lambda: here.load("k", lambda: "nobody", ttl=10, stale_for=3600, soft_timeout=5.0), "جديد")  # a loop goes on only in a call
    assert done.is_set()


def test_a_load_without_anything_stale_ends_with_its_hard_timeout(use: Use) -> None:
    _, here = use()
    go = threading.Event()

    def slow() -> str:
        go.wait(GO)
        return "متأخر"

    with pytest.raises(TimeoutError, match=r"'k' was not loaded within 0\.02 s"):
        here.load("k", slow, hard_timeout=0.02)
    go.set()
    assert eventually(lambda: here.get("k"), "متأخر")


def eventually(ask: Callable[[], object], wanted: object) -> bool:
    """Ask again and again until the answer is the wanted one, at most 30 seconds."""
    ends = time.monotonic() + GO
    while ask() != wanted:
        assert time.monotonic() < ends, ask()
        time.sleep(0.005)
    return True


def test_one_caller_refreshes_ahead_of_time_and_nobody_waits(make: Make) -> None:
    clock = FrozenClock()
    cache = make(clock=clock)
    numbers = iter(range(100))
    assert cache.get_or_load("k", lambda: next(numbers), ttl=100, eager=0.5) == 0
    clock.advance(40)
    assert cache.get_or_load("k", lambda: next(numbers), ttl=100, eager=0.5) == 0
    clock.advance(15)
    go = threading.Event()

    def slow() -> int:
        go.wait(GO)
        return next(numbers)

    assert [cache.get_or_load("k", slow, ttl=100, eager=0.5) for _ in range(5)] == [0] * 5
    go.set()
    assert eventually(lambda: cache.get("k"), 1)
    assert next(numbers) == 2, "one load, whoever asked"


@pytest.mark.parametrize("soft", [None, 5.0])
def test_a_hundred_misses_in_threads_are_one_load(make: Make, soft: float | None) -> None:
    cache = make()
    calls: list[int] = []
    barrier = threading.Barrier(100)
    answers: list[object] = []

    def load() -> str:
        calls.append(1)
        time.sleep(0.05)
        return "واحد"

    def ask() -> None:
        barrier.wait()
        answers.append(cache.get_or_load("k", load, soft_timeout=soft))

    threads = [threading.Thread(target=ask) for _ in range(100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (calls, answers) == ([1], ["واحد"] * 100)


@pytest.mark.parametrize("soft", [None, 5.0])
def test_a_hundred_misses_on_a_loop_are_one_load(make: Make, soft: float | None) -> None:
    cache = make()
    calls: list[int] = []

    async def load() -> str:
        calls.append(1)
        await asyncio.sleep(0.05)
        return "واحد"

    async def main() -> list[object]:
        return await asyncio.gather(*(cache.aget_or_load("k", load, soft_timeout=soft) for _ in range(100)))

    assert asyncio.run(main()) == ["واحد"] * 100
    assert calls == [1]


def test_when_the_loading_task_is_cancelled_another_loads(make: Make) -> None:
    cache = make()
    calls: list[int] = []

    begun = asyncio.Event()

    async def load() -> str:
        calls.append(1)
        begun.set()
        if len(calls) == 1:
            await asyncio.sleep(GO)
        return "وصل"

    async def main() -> list[object]:
        first = asyncio.create_task(cache.aget_or_load("k", load))
        await begun.wait()
        others = [asyncio.create_task(cache.aget_or_load("k", load)) for _ in range(10)]
        await asyncio.sleep(0.01)
        first.cancel()
        return await asyncio.gather(*others)

    assert asyncio.run(main()) == ["وصل"] * 10
    assert len(calls) == 2


def test_a_value_that_needs_itself_is_told_so(use: Use) -> None:
    cache, _ = use()
    with pytest.raises(RuntimeError, match="'a' is needed to load 'a' itself"):
        cache.get_or_load("a", lambda: cache.get_or_load("b", lambda: cache.get_or_load("a", lambda: 1)))
    assert cache.get_or_load("a", lambda: cache.get_or_load("b", lambda: 2)) == 2


def test_an_asynchronous_loader_needs_a_loop(make: Make) -> None:
    async def load() -> int:
        return 1

    with pytest.raises(TypeError, match=r"use `await cache\.aget_or_load"):
        make().get_or_load("k", load)
    gc.collect()


# -- invalidation


def test_tags_forget_what_carries_them(use: Use) -> None:
    _, here = use()
    for number in range(4):
        here.load(f"boq:{number}", lambda number=number: number, tags=(f"project:{number}", "tenant:1"))
    here.set("boq:set", "مضبوط", tags=("project:1",))
    here.tag("project:1")
    assert [here.get(f"boq:{number}") for number in range(4)] == [0, None, 2, 3]
    assert here.get("boq:set") is None
    here.tag("tenant:1")
    assert [here.get(f"boq:{number}") for number in range(4)] == [None] * 4
    assert here.load("boq:1", lambda: "جديد", tags=("project:1", "tenant:1")) == "جديد"
    assert here.get("boq:1") == "جديد"


@pytest.mark.parametrize("what", ["delete", "tag", "clear", "set"])
def test_a_load_that_an_invalidation_overtook_is_not_kept(make: Make, what: str) -> None:
    cache = make()
    started, go = threading.Event(), threading.Event()

    def slow() -> str:
        started.set()
        go.wait(GO)
        return "قبل التعديل"

    answers: list[object] = []
    thread = threading.Thread(target=lambda: answers.append(cache.get_or_load("boq:1", slow, tags=("project:1",))))
    thread.start()
    assert started.wait(GO)
    {
        "delete": lambda: cache.delete("boq:1"),
        "tag": lambda: cache.invalidate_tag("project:1"),
        "clear": cache.clear,
        "set": lambda: cache.set("boq:1", "مضبوط"),
    }[what]()
    later = cache.get_or_load("boq:1", lambda: "بعد التعديل", tags=("project:1",))
    assert later == ("مضبوط" if what == "set" else "بعد التعديل"), "who comes later does not join the load of before"
    go.set()
    thread.join()
    assert answers == ["قبل التعديل"]
    cache.memory.clear()
    assert cache.get("boq:1") in ({later} if cache.level else {None})


def test_typed_options_are_checked(make: Make) -> None:
    cache = make()
    for wrong in ({"eager": 1.0}, {"eager": 0}, {"soft_timeout": 0}, {"hard_timeout": -1}, {"none_ttl": 0}, {"stale_for": -1}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            cache.get_or_load("k", lambda: 1, **wrong)
    with pytest.raises(TypeError, match="unknown option 'lifetime'"):
        cache.get_or_load("k", lambda: 1, lifetime=5)


# -- memory


def test_memory_is_bounded_by_number_and_bytes(make: Make) -> None:
    cache = make(CachingSettings(max_keys=50, max_bytes=100_000, redis_timeout_seconds=1.0))
    for number in range(500):
        cache.set(f"k:{number}", "ن" * 1_000)
        assert len(cache.memory.entries) <= 50
        assert cache.memory.bytes <= 100_000
    cache.set("large", "x" * 90_000)
    assert "large" not in cache.memory.entries, "larger than all the room there is"
    assert cache.get("large") == ("x" * 90_000 if cache.level else None)
    for key in list(cache.memory.entries):
        cache.memory.drop(key)
    assert cache.memory.bytes == 0


# -- one Redis among others


def test_clear_touches_no_foreign_key_and_every_own_key_ends(redis_url: str) -> None:
    with driver.Redis.from_url(redis_url) as raw:
        raw.set("session:1", "theirs")
        raw.set("rakiza:cache-not-ours", "theirs")
        ours = CacheManager(True, {"url": redis_url}, settings=PATIENT)
        other = CacheManager(True, {"url": redis_url}, settings=PATIENT, namespace="other")
        for cache in (ours, other):
            cache.set("k", 1)
            cache.get_or_load("l", lambda: 2, tags=("t",))
        ours.clear()
        assert (ours.get("k"), ours.get("l")) == (None, None)
        assert (other.get("k"), other.get("l")) == (1, 2)
        assert raw.get("session:1") == raw.get("rakiza:cache-not-ours") == b"theirs"
        own = list(raw.scan_iter("*:cache:*"))
        assert own
        assert all(raw.pttl(name) != -1 for name in own), "a cache key always has an end"  # -2: swept away meanwhile
        ours.close()
        other.close()


def test_values_of_another_epoch_of_the_database_never_answer(redis_url: str) -> None:
    here, there = (CacheManager(True, {"url": redis_url}, settings=PATIENT) for _ in range(2))
    try:
        for cache in (here, there):
            cache.follow("one")
        here.set("مشروع", 1, ttl=60)
        assert there.get("مشروع") == 1
        there.follow("two")
        assert there.get("مشروع") is None
        there.set("مشروع", 2, ttl=60)
        here.follow("")  # the database is away: nothing is known
        here.follow("two")
        assert here.get("مشروع") == 2
    finally:
        here.close()
        there.close()


def test_two_caches_of_one_redis_see_each_other(redis_url: str) -> None:
    here, there = (CacheManager(True, {"url": redis_url}, settings=PATIENT) for _ in range(2))
    here.set("k", 1)
    assert there.get("k") == 1
    here.set("k", 2)
    assert eventually(lambda: there.get("k"), 2)
    there.delete("k")
    assert eventually(lambda: here.get("k"), None)
    assert here.get_or_load("s", lambda: "أول", tags=("p",)) == there.get_or_load("s", lambda: "ثان", tags=("p",)) == "أول"
    there.invalidate_tag("p")
    assert eventually(lambda: here.get("s"), None)
    assert here.get_or_load("s", lambda: "بعد", tags=("p",)) == "بعد"
    assert there.get_or_load("s", lambda: "خطأ", tags=("p",)) == "بعد"
    here.close()
    there.close()


def test_of_many_processes_one_loads(redis_url: str) -> None:
    caches = [CacheManager(True, {"url": redis_url}, settings=PATIENT) for _ in range(4)]
    calls: list[int] = []

    def load() -> str:
        calls.append(1)
        time.sleep(0.1)
        return "مرة"

    answers: list[object] = []
    threads = [threading.Thread(target=lambda cache=cache: answers.append(cache.get_or_load("k", load))) for cache in caches for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (calls, answers) == ([1], ["مرة"] * 20)
    for cache in caches:
        cache.close()


@cached(ttl=60, key_prefix="catalogue")
def catalogue(number: int) -> dict[str, int]:
    return {"number": number}


def test_decorated_functions_use_the_cache_made_last(make: Make) -> None:
    cache = make()
    assert catalogue(7) == {"number": 7}
    assert cache.get("catalogue:7") == {"number": 7}
    catalogue.clear_cache()
    assert cache.get("catalogue:7") is None


def test_reading_a_typed_value_as_plain_data_does_not_spoil_it(use: Use) -> None:
    cache, here = use()
    villa = Project("V-1", "فيلا النرجس", Decimal(5))
    here.set("project:1", villa, type=Project)
    if cache.level:
        cache.memory.clear()
    assert here.get("project:1") == {"code": "V-1", "name": "فيلا النرجس", "total": "5", "start": None}
    if cache.level:
        assert here.get("project:1", type=Project) == villa


def test_many_slow_loads_that_need_each_other_do_not_wait_forever(make: Make) -> None:
    cache = make()

    def outer(number: int) -> list[object]:
        return [number, cache.get_or_load(f"inner:{number}", lambda: number, soft_timeout=5.0)]

    answers: list[object] = []
    threads = [
        threading.Thread(target=lambda number=number: answers.append(cache.get_or_load(f"outer:{number}", lambda: outer(number), soft_timeout=5.0)))
        for number in range(40)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(GO)
    assert sorted(answers) == [[number, number] for number in range(40)]


def test_what_was_cleared_leaves_redis(redis_url: str) -> None:
    with driver.Redis.from_url(redis_url) as raw:
        raw.set("theirs", 1)
        cache = CacheManager(True, {"url": redis_url}, settings=PATIENT)
        for number in range(2_000):
            cache.set(f"k:{number}", number)
        cache.clear()
        assert eventually(lambda: len(list(raw.scan_iter("rakiza:cache:e:*"))), 0)
        assert raw.get("theirs") == b"1"
        cache.set("k:1", "بعد")
        assert cache.get("k:1") == "بعد"
        cache.close()
