"""`@cached`: one key for one call however it is written, and never one key for two functions."""

import asyncio
import gc
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from enum import Enum
from functools import partial
from uuid import UUID

import msgspec
import pytest

from rakiza.caching import CachedFunction, CacheManager, CacheValueError, cached


@pytest.fixture
def cache() -> Iterator[CacheManager]:
    made = CacheManager(use_redis=False)
    yield made
    made.close()


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    """Let the prefixes of the functions of one test be free for the next."""
    yield
    gc.collect()


class State(Enum):
    OPEN = 1


class Money(msgspec.Struct, frozen=True):
    total: Decimal
    due: date


@dataclass
class Odd:
    lock: object


def test_the_specified_form(cache: CacheManager) -> None:
    calls: list[object] = []

    @cached(ttl=600, key_prefix="user")
    def get_user(user_id):  # type: ignore[no-untyped-def]
        calls.append(user_id)
        return {"id": user_id, "name": "أحمد"}

    assert get_user(123) == get_user(123) == {"id": 123, "name": "أحمد"}
    assert calls == [123]
    assert cache.get("user:123") == {"id": 123, "name": "أحمد"}
    cache.delete(f"user:{123}")
    get_user(123)
    assert calls == [123, 123]
    get_user.clear_cache()
    get_user(123)
    get_user(124)
    assert calls == [123, 123, 123, 124]
    assert get_user.__name__ == "get_user"


@pytest.mark.parametrize(
    ("args", "kwargs", "key"),
    [
        ((1,), {}, "f:1:ar:None"),
        ((), {"number": 1}, "f:1:ar:None"),
        ((1, "ar"), {}, "f:1:ar:None"),
        ((1,), {"lang": "ar", "kind": None}, "f:1:ar:None"),
        (("1",), {}, "f:1:ar:None"),
        (("a:b", "c"), {}, 'f:"a:b":c:None'),
        (("a", "b:c"), {}, 'f:a:"b:c":None'),
        (("None",), {}, 'f:"None":ar:None'),
        (("",), {}, 'f:"":ar:None'),
        ((True,), {}, "f:True:ar:None"),
        ((1.0,), {}, "f:1.0:ar:None"),
        ((Decimal("1.50"), date(2026, 1, 2)), {}, "f:1.50:2026-01-02:None"),
        ((UUID(int=7), State.OPEN), {}, "f:00000000-0000-0000-0000-000000000007:State.OPEN:None"),
        (({"ب": 2, "أ": 1}, [1, "x"]), {}, 'f:{"أ":1,"ب":2}:[1,"x"]:None'),
        ((Money(Decimal(1), date(2026, 1, 1)),), {}, 'f:{"total":"1","due":"2026-01-01"}:ar:None'),
        (("فيلا النرجس",), {}, "f:فيلا النرجس:ar:None"),
    ],
)
def test_the_key_of_a_call(cache: CacheManager, args: tuple[object, ...], kwargs: dict[str, object], key: str) -> None:
    @cached(key_prefix="f", manager=cache)
    def function(number: object, lang: object = "ar", kind: object = None) -> object:
        return None

    assert function.cache_key(*args, **kwargs) == key


def test_a_key_that_grows_too_long_is_shortened(cache: CacheManager) -> None:
    function = cached(key_prefix="f", manager=cache)(lambda text: text)
    keys = {function.cache_key("ن" * length) for length in (600, 601)}
    assert len(keys) == 2
    assert all(len(key) < 60 and key.startswith("f:") for key in keys)


def test_an_argument_without_a_stable_text_is_named(cache: CacheManager) -> None:
    @cached(key_prefix="f", manager=cache)
    def function(number: int, session: object) -> int:
        return number

    with pytest.raises(TypeError, match=r"the argument 'session' of the type object has no stable text for a cache key: give @cached\(key=…\)"):
        function(1, object())
    chosen = cached(key_prefix="g", key=lambda number, session: number, manager=cache)(function.function)
    assert chosen(1, object()) == chosen(1, object()) == 1
    assert cache.get("g:1") == 1


def test_arguments_of_any_kind(cache: CacheManager) -> None:
    @cached(key_prefix="f", manager=cache)
    def function(first: int, /, *rest: int, key: str = "k", **more: int) -> list[object]:
        return [first, list(rest), key, dict(sorted(more.items()))]

    assert function(1, 2, 3, b=1, a=2) == function(1, 2, 3, a=2, b=1) == [1, [2, 3], "k", {"a": 2, "b": 1}]
    assert function(1) == [1, [], "k", {}]
    with pytest.raises(TypeError, match="missing a required argument"):
        function()


def repr_of(value: object) -> str:
    return repr(value)


def test_one_and_true_are_different_calls(cache: CacheManager) -> None:
    function = cached(key_prefix="f", manager=cache)(repr_of)
    assert [function(value) for value in (1, True, 1.0, 1)] == ["1", "True", "1.0", "1"]


def test_a_prefix_belongs_to_one_function(cache: CacheManager) -> None:
    first = cached(key_prefix="user", manager=cache)(lambda number: number)

    def other(number: int) -> int:
        return -number

    with pytest.raises(ValueError, match=r"the key_prefix 'user' belongs to .* already"):
        cached(key_prefix="user", manager=cache)(other)
    del first
    gc.collect()
    assert cached(key_prefix="user", manager=cache)(other)(5) == -5


def test_the_name_is_the_prefix_where_none_is_given(cache: CacheManager) -> None:
    @cached(manager=cache)
    def price(code: str) -> int:
        return 5

    price("A-1")
    assert cache.get(price.cache_key("A-1")) == 5
    assert price.prefix.endswith("price")
    assert ":" not in price.prefix


class Bills:
    """A service with cached methods."""

    def __init__(self, cache: CacheManager) -> None:
        self.calls = 0
        Bills.total._manager = Bills.later._manager = cache  # type: ignore[attr-defined]

    @cached(key_prefix="bill", tags=lambda self, code: (f"project:{code}",))
    def total(self, code: str) -> int:
        self.calls += 1
        return self.calls

    @cached(key_prefix="bill-later")
    async def later(self, code: str) -> int:
        self.calls += 1
        return self.calls

    @staticmethod
    @cached(key_prefix="bill-static")
    def static(code: str) -> str:
        return code


def test_methods_are_cached_by_their_arguments(cache: CacheManager) -> None:
    bills = Bills(cache)
    assert (bills.total("V-1"), bills.total(code="V-1"), bills.total("V-2")) == (1, 1, 2)
    assert cache.get("bill:V-1") == 1
    assert bills.total.cache_key("V-1") == "bill:V-1"
    cache.invalidate_tag("project:V-1")
    assert (bills.total("V-1"), bills.total("V-2")) == (3, 2)
    bills.total.clear_cache()
    assert bills.total("V-2") == 4

    async def main() -> list[int]:
        return [await bills.later("V-1"), await bills.later("V-1")]

    assert asyncio.run(main()) == [5, 5]
    assert bills.static("أ") == "أ"


def test_asynchronous_functions(cache: CacheManager) -> None:
    calls: list[int] = []

    @cached(ttl=60, key_prefix="rate", manager=cache)
    async def rate(code: str) -> float:
        calls.append(1)
        await asyncio.sleep(0)
        return 3.75

    async def main() -> None:
        assert await asyncio.gather(*(rate("USD") for _ in range(20))) == [3.75] * 20
        assert await rate("USD") == 3.75
        assert len(calls) == 1
        await rate.aclear_cache()
        await rate("USD")
        assert len(calls) == 2

    asyncio.run(main())


def test_the_annotation_is_the_type(cache: CacheManager) -> None:
    @cached(key_prefix="money", manager=cache)
    def money(number: int) -> Money | None:
        return Money(Decimal("10.50"), date(2026, 1, 1)) if number else None

    @cached(key_prefix="untyped", manager=cache)
    def untyped(number):  # type: ignore[no-untyped-def]
        return Money(Decimal(1), date(2026, 1, 1))

    assert money(1) == money(1) == Money(Decimal("10.50"), date(2026, 1, 1))
    assert money(0) is None
    with pytest.raises(CacheValueError, match=r"it is of the type .*Money"):
        untyped(1)


def test_wrong_options_are_refused_where_they_are_written() -> None:
    with pytest.raises(TypeError, match=r"write @cached\(\) with brackets"):
        cached(lambda: 1)  # type: ignore[arg-type]
    for ttl in (0, -1):
        with pytest.raises(ValueError, match="ttl must be above 0"):
            cached(ttl=ttl)


def test_tags_are_several(cache: CacheManager) -> None:
    with pytest.raises(TypeError, match=r"write tags=\('project',\)"):
        cached(tags="project", manager=cache)  # type: ignore[arg-type]
    function = cached(key_prefix="t", tags=lambda number: f"project:{number}", manager=cache)(repr_of)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"write tags=\('project:1',\)"):
        function(1)


def test_what_cannot_be_cached_is_refused_where_it_is_written(cache: CacheManager) -> None:
    def several(number: int) -> Iterator[int]:
        yield number

    with pytest.raises(TypeError, match="several is a generator"):
        cached(manager=cache)(several)
    with pytest.raises(TypeError, match="write @cached below @classmethod"):
        cached(manager=cache)(classmethod(repr_of))  # type: ignore[arg-type]


def test_a_partial_and_a_lambda_work(cache: CacheManager) -> None:
    function = cached(key_prefix="p", manager=cache)(partial(lambda a, b: a + b, 1))  # type: ignore[arg-type]
    assert isinstance(function, CachedFunction)
    assert (function(2), function(2), function(3)) == (3, 3, 4)
