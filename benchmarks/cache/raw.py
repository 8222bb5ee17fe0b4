"""The floor: a plain dictionary, functools.lru_cache, and redis-py with msgpack, in the interpreter that ours runs in."""

from __future__ import annotations

import functools
from typing import Any

import msgspec
import redis
import redis.asyncio

from benchmarks.cache.side import TTL_SECONDS, Side

encode, decode = msgspec.msgpack.Encoder().encode, msgspec.msgpack.Decoder().decode


class Dictionary(Side):
    """Keep everything for ever."""

    def open(self) -> None:
        """Make it."""
        kept: dict[str, Any] = {}
        self.get, self.set = kept.get, kept.__setitem__


class Functools(Side):
    """Decorate only."""

    def open(self) -> None:
        """Set the decorator."""
        self.cached = functools.lru_cache(self.capacity)


class Redis(Side):
    """GET and SET with EX of msgpack values, nothing else."""

    def open(self) -> None:
        """Connect."""
        client = redis.Redis.from_url(self.url)
        read, write = client.get, client.set

        def get(key: str) -> Any:
            found: Any = read(key)
            return None if found is None else decode(found)

        def put(key: str, value: Any) -> None:
            write(key, encode(value), ex=TTL_SECONDS)

        self.get, self.set, self.close = get, put, client.close  # type: ignore[method-assign]

    async def aopen(self) -> None:
        """Connect."""
        client = redis.asyncio.Redis.from_url(self.url)
        read, write = client.get, client.set

        async def get(key: str) -> Any:
            found: Any = await read(key)
            return None if found is None else decode(found)

        async def put(key: str, value: Any) -> None:
            await write(key, encode(value), ex=TTL_SECONDS)

        self.aget, self.aset, self.aclose = get, put, client.aclose  # type: ignore[method-assign]


SIDES = {each.__name__: each for each in (Dictionary, Functools, Redis)}


def make(kind: str, **given: Any) -> Side:
    """Return one of them."""
    return SIDES[kind](**given)


