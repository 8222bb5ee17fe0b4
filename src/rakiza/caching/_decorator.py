"""`@cached`: the answers of a function by its arguments, for threads and event loops, functions and methods."""

import functools
import inspect
import typing
import weakref
from collections.abc import Callable, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from hashlib import blake2b
from typing import Any, Concatenate, Generic, ParamSpec, TypedDict, TypeVar, cast, overload
from uuid import UUID

import msgspec

from rakiza._kernel import service_at_hand

from ._core import MAX_KEY_BYTES, checked_tags, checked_ttl
from ._lookup import Plan
from ._values import Codec
from .service import CacheManager, newest

P = ParamSpec("P")
Q = ParamSpec("Q")
R = TypeVar("R")
S = TypeVar("S")
F = TypeVar("F", bound=Callable[..., Any])
SPELLED = {"None", "True", "False"}
SIMPLE = frozenset({int, str})
"""Of these two types equal arguments have equal texts, so that the key can be looked up."""
MAX_KEYS = 4_096
RESERVED = frozenset(":\"'\n[]{}")
Tags = tuple[str, ...] | Callable[..., tuple[str, ...]]
_prefixes: "weakref.WeakValueDictionary[str, CachedFunction[Any, Any]]" = weakref.WeakValueDictionary()
_fallback: list[CacheManager] = []
_encode = msgspec.json.Encoder(order="deterministic").encode


def cache_at_hand() -> CacheManager:
    """Return the cache of the platform at hand, else the one made last in this process, else one in memory only."""
    found = service_at_hand("caching", CacheManager) or newest()
    if found is None:
        if not _fallback:
            _fallback.append(CacheManager(use_redis=False))
        found = _fallback[0]
    return found


def part_of_key(name: str, value: object) -> str:
    """Return an argument as a part of a key, whole numbers and plain texts as they are; raise TypeError for what has no stable text."""
    kind = type(value)
    if kind is str:
        text = cast("str", value)
        return _encode(text).decode() if not text or text in SPELLED or not RESERVED.isdisjoint(text) else text
    if kind is int or value is None or kind in {bool, float, Decimal, UUID, date, datetime, time, timedelta}:
        return str(value)
    if isinstance(value, Enum):
        return f"{kind.__name__}.{value.name}"
    try:
        return _encode(value).decode()
    except TypeError:
        raise TypeError(f"the argument {name!r} of the type {kind.__qualname__} has no stable text for a cache key: give @cached(key=…)") from None


class Options(TypedDict):
    """What `cached` was told."""

    key_prefix: str
    key: Callable[..., object] | None
    tags: Tags | None
    type: object
    ttl: float | None
    how: dict[str, float | None]
    manager: CacheManager | None


class CachedFunction(Generic[P, R]):
    """Call a function through the cache of the platform at hand; made by `cached`."""

    def __init__(self, function: Callable[P, R], options: "Options") -> None:
        if isinstance(function, (classmethod, staticmethod, property)):
            raise TypeError(f"write @cached below @{type(function).__name__}, not above it")
        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            raise TypeError(f"{function.__qualname__} is a generator, whose values are gone once they were read: let a function return a list")
        functools.update_wrapper(self, function)
        self.function = function
        self.name = _name_of(function)
        self.prefix: str = options["key_prefix"] or self.name
        self._key = options["key"]
        self._tags: Tags = options["tags"] or ()
        self._signature = inspect.signature(function)
        self._names = tuple(self._signature.parameters)
        self._method = self._names[:1] in {("self",), ("cls",)}
        self._plain = all(one.kind is one.POSITIONAL_OR_KEYWORD for one in self._signature.parameters.values())
        self._defaults = tuple(one.default for one in self._signature.parameters.values())
        self.is_async = inspect.iscoroutinefunction(function)
        self._kind = options["type"] if options["type"] is not None else returned(function)
        self._codec = Codec(self._kind)
        self._how, self._ttl = options["how"], options["ttl"]
        self._plans: weakref.WeakKeyDictionary[CacheManager, Plan] = weakref.WeakKeyDictionary()
        self._manager = options["manager"]
        self._keys: dict[object, str] = {}
        self._claim()

    def _claim(self) -> None:
        other = _prefixes.get(self.prefix)
        if other is not None and other.name != self.name:
            raise ValueError(
                f"the key_prefix {self.prefix!r} belongs to {other.name} already: with the same arguments {self.name} would be given its answers;"
                " choose another"
            )
        _prefixes[self.prefix] = self

    @overload
    def __get__(self, instance: None, owner: type | None = None) -> "CachedFunction[P, R]": ...
    @overload
    def __get__(self: "CachedFunction[Concatenate[S, Q], R]", instance: S, owner: type | None = None) -> "BoundMethod[Q, R]": ...
    def __get__(self, instance: object, owner: type | None = None) -> object:
        """Bind to an object as a function would; the object itself is no part of the key."""
        return self if instance is None else BoundMethod(self, instance)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Return what the function returned for these arguments, or call it; a coroutine for an asynchronous function."""
        manager = self._manager or cache_at_hand()
        if len(args) == 1 and not kwargs and type(args[0]) in SIMPLE:
            key = self._keys.get(args[0]) or self._remembered(args[0])
        else:
            key = self.cache_key(*args, **kwargs)
        entry = manager.at_hand(key, self._codec.schema)
        if self.is_async:
            return cast("R", _ready(entry.value) if entry is not None else self._later(manager, key, args, kwargs))
        if entry is not None:
            return cast("R", entry.value)
        return cast("R", manager.find(key, self._plan(manager), self.tags_of(*args, **kwargs), lambda: self.function(*args, **kwargs)))

    def _remembered(self, argument: object) -> str:
        if len(self._keys) >= MAX_KEYS:
            self._keys.clear()
        key = self._keys[argument] = self.cache_key(argument)
        return key

    async def _later(self, manager: CacheManager, key: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> object:
        async def load() -> object:
            return await cast("Any", self.function(*args, **kwargs))

        return await manager.find_later(key, self._plan(manager), self.tags_of(*args, **kwargs), load)

    def _plan(self, manager: CacheManager) -> Plan:
        plan = self._plans.get(manager)
        if plan is None:
            plan = self._plans[manager] = manager.plan(self._codec, self._ttl, **self._how)
        return plan

    def cache_key(self, *args: object, **kwargs: object) -> str:
        """Return the key of a call, the same however its arguments are given; raise TypeError for some that do not fit or have no stable text."""
        if self._key is not None:
            return f"{self.prefix}:{self._key(*args, **kwargs)}"
        if kwargs or not self._plain or len(args) > len(self._names):
            values = self._bound(args, kwargs)
        else:
            values = args + self._defaults[len(args) :]
            if inspect.Parameter.empty in values[len(args) :]:
                values = self._bound(args, kwargs)
        if self._method:
            values = values[1:]
        key = ":".join((self.prefix, *map(part_of_key, self._names[self._method :], values)))
        return key if len(key) <= MAX_KEY_BYTES else f"{self.prefix}:{blake2b(key.encode(), digest_size=20).hexdigest()}"

    def _bound(self, args: tuple[object, ...], kwargs: Mapping[str, object]) -> tuple[object, ...]:
        bound = self._signature.bind(*args, **kwargs)
        bound.apply_defaults()
        return tuple(bound.arguments.values())

    def tags_of(self, *args: object, **kwargs: object) -> tuple[str, ...]:
        """Return the tags of a call: its function's own, by which `clear_cache` works, and those that were asked for."""
        return (f"{self.prefix}()", *checked_tags(self._tags(*args, **kwargs) if callable(self._tags) else self._tags))

    def clear_cache(self) -> None:
        """Forget all answers of the function, in every process."""
        (self._manager or cache_at_hand()).invalidate_tag(f"{self.prefix}()")

    async def aclear_cache(self) -> None:
        """Do what `clear_cache` does without blocking the event loop."""
        await (self._manager or cache_at_hand()).ainvalidate_tag(f"{self.prefix}()")


class BoundMethod(Generic[Q, R]):
    """Be a cached method of an object."""

    def __init__(self, cached: CachedFunction[..., R], instance: object) -> None:
        self._cached, self._instance = cached, instance
        self.clear_cache, self.aclear_cache = cached.clear_cache, cached.aclear_cache

    def __call__(self, *args: Q.args, **kwargs: Q.kwargs) -> R:
        """Call the method through the cache."""
        return self._cached(self._instance, *args, **kwargs)

    def cache_key(self, *args: object, **kwargs: object) -> str:
        """Return the key of a call."""
        return self._cached.cache_key(self._instance, *args, **kwargs)


async def _ready(value: object) -> object:
    return value


def _name_of(function: Callable[..., object]) -> str:
    """Return a name nothing else has: a lambda's and a partial's say where they stand."""
    name, code = getattr(function, "__qualname__", type(function).__qualname__), getattr(function, "__code__", None)
    if "<lambda>" in name or code is None:
        told = repr(function) if code is None else f"{code.co_filename}:{code.co_firstlineno}:{code.co_code.hex()}:{code.co_consts}"
        name += "-" + blake2b(told.encode(), digest_size=6).hexdigest()
    return f"{function.__module__}.{name}".replace(":", ".")


def returned(function: Callable[..., object]) -> object:
    """Return the type a function says it returns, when values of it can be read back and it says more than plain data would; else none."""
    try:
        kind = typing.get_type_hints(function).get("return")
    except (NameError, TypeError):
        return None
    if kind in {None, type(None), Any, object, dict, list, str, int, float, bool}:
        return None
    try:
        Codec(kind)
    except (TypeError, ValueError):
        return None
    return kind


def cached(
    ttl: float | None = 300,
    key_prefix: str = "",
    *,
    key: Callable[..., object] | None = None,
    tags: Tags | None = None,
    type: object = None,  # noqa: A002 - the contract's name
    stale_for: float | None = None,
    eager: float | None = None,
    soft_timeout: float | None = None,
    hard_timeout: float | None = None,
    none_ttl: float | None = None,
    manager: CacheManager | None = None,
) -> Callable[[Callable[P, R]], CachedFunction[P, R]]:
    """Keep the answers of a function, synchronous or not, for `ttl` seconds: `@cached(ttl=600, key_prefix="user")`.

    The key is the prefix (else the function's name) and the arguments, joined by colons, or what `key(*args, **kwargs)` returns in their
    place. `tags` are texts, or a function of the arguments, by which `invalidate_tag` forgets; the other options are those of
    `CacheManager.get_or_load`. A type is taken from the annotation of the function. Raises ValueError or TypeError for options that cannot
    be meant, and for a prefix another function has.
    """
    if callable(ttl):
        raise TypeError("write @cached() with brackets")
    if tags is not None and not callable(tags):
        checked_tags(tags)
    if ttl is not None:
        checked_ttl(ttl)
    how = {"stale_for": stale_for, "eager": eager, "soft_timeout": soft_timeout, "hard_timeout": hard_timeout, "none_ttl": none_ttl}
    options = Options(key_prefix=key_prefix, key=key, tags=tags, type=type, ttl=ttl, how=how, manager=manager)
    return lambda function: CachedFunction(function, options)
