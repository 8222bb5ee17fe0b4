"""The cache: memory in front of Redis, one API for threads and event loops; Redis may die, freeze and come back and no caller notices."""

import logging
import weakref
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from time import perf_counter
from typing import Any, TypedDict, TypeVar, Unpack, cast, overload
from urllib.parse import quote

import msgspec

from rakiza._kernel import SYSTEM_CLOCK, Clock, Supervisor, UnitOfWork, WorkerPool, token
from rakiza._kernel.ports import OwnSignals, Signals
from rakiza._kernel.tasks import after_fork
from rakiza.errors import MissingExtraError
from rakiza.store import StoreError
from rakiza.store.redis import RedisLink

from ._backends.redis import PUT, AwayError, RedisLevel
from ._core import Lifetime, checked_key, checked_tags, checked_ttl, prefix_of
from ._flights import Flight
from ._lookup import MISS, Lookup, Plan
from ._memory import MAX_FREQUENCY, Entry, Memory
from ._steps import Ask, Flow, run, run_later
from ._tallies import Tallies
from ._values import Codec
from .settings import CachingSettings

T = TypeVar("T")
TOPIC = "caching"
SIGNALS_SECONDS = 1.0
MINUTE_SECONDS = 60.0
MAX_WAITING = 50_000
MESSAGE_LETTERS = 400
MAX_CODECS = 1_000
COUNT_LIMIT = 100_000
log = logging.getLogger("rakiza.caching")
_newest: "list[weakref.ref[CacheManager]]" = []


class Loading(TypedDict, total=False):
    """Say how a value is loaded and kept."""

    type: object
    ttl: float | None
    tags: tuple[str, ...]
    stale_for: float | None
    eager: float | None
    soft_timeout: float | None
    hard_timeout: float | None
    none_ttl: float | None
    shared: bool


class CacheManager:
    """Keep values in memory and in Redis: `CacheManager(use_redis=True, redis_config={"host": "localhost", "port": 6379, "db": 0})`.

    `redis_config` knows `host port db password` or `url`. No method ever fails because of Redis. Values come back as they were put in, but
    are shared between callers: do not change what the cache returns.
    """

    def __init__(
        self,
        use_redis: bool = True,
        redis_config: Mapping[str, object] | None = None,
        *,
        settings: CachingSettings | None = None,
        namespace: str = "rakiza",
        clock: Clock = SYSTEM_CLOCK,
        pool: WorkerPool | None = None,
        supervisor: Supervisor | None = None,
        signals: Signals | None = None,
        inside: Callable[[], bool] | None = None,
    ) -> None:
        """Connect at once, or when `start` is called for a cache that is given a `supervisor`; raise ValueError for an address that is none."""
        self.settings = settings or CachingSettings()
        self.memory = Memory(self.settings.max_keys, self.settings.max_bytes)
        self.tallies = Tallies()
        self.clock = clock
        self._pool = pool or WorkerPool(4)
        self._own = supervisor is None
        self._supervisor = supervisor or Supervisor(clock)
        self.lookup = Lookup(self.settings, self.memory, self.tallies, clock, self._pool)
        self.lookup.inside = inside or self.lookup.inside
        self.level: RedisLevel | None = None
        self.wanted = use_redis
        self.why_not = ""
        """Why Redis is not used although it should be, when that cannot change by itself."""
        self.invalidations = 0
        self._origin = token(64)
        self._now = perf_counter if clock is SYSTEM_CLOCK else clock.monotonic
        self._entries = self.memory.entries
        self._codecs: dict[object, Codec] = {None: Codec()}
        self._waiting: deque[tuple[str, str, bool]] = deque(maxlen=MAX_WAITING)
        self._counted = (0.0, 0)
        self._littered = False
        self._signals = signals or OwnSignals()
        self.hearers = [self._signals.hear(TOPIC, self._signalled, self._flush)]
        """Held, because nobody else does."""
        self._make_level(namespace, redis_config)
        self._sender = self._supervisor.every("cache-signals", SIGNALS_SECONDS, self._send)
        self._supervisor.every("cache-history", MINUTE_SECONDS, lambda: self.tallies.note(clock.now()))
        _newest[:] = [weakref.ref(self)]
        after_fork(self.forget)
        if self._own:
            self.start()

    def _make_level(self, namespace: str, config: Mapping[str, object] | None) -> None:
        if not self.wanted:
            return
        try:
            link = RedisLink(address(config or {}), timeout_seconds=self.settings.redis_timeout_seconds)
        except MissingExtraError as error:
            self.why_not = str(error)
            log.warning("the cache keeps values in memory only: %s", error)
            return
        self.level = self.lookup.level = RedisLevel(link, namespace, self._heard, self._flush)
        self._supervisor.every("cache-redis", 0.001, self.level.listen)

    # -- the specified methods

    @overload
    def get(self, key: str, default: T | None = None, *, type: type[T]) -> T | None: ...
    @overload
    def get(self, key: str, default: object = None, *, type: None = None) -> object: ...
    def get(self, key: str, default: object = None, *, type: object = None) -> object:  # noqa: A002 - the contract's name
        """Return the value of a key, `default` when there is none; `type` is the one it was set with."""
        entry = self._entries.get(key)
        if entry is not None and type is None and entry.until > self._now() and not entry.schema:
            if entry.frequency < MAX_FREQUENCY:
                entry.frequency += 1
            entry.hits += 1
            entry.tally.hits += 1
            return entry.value
        return self._or(default, run(self._get(key, self.codec(type))))

    def set(self, key: str, value: object, ttl: float | None = None, *, tags: tuple[str, ...] = (), type: object = None) -> None:  # noqa: A002
        """Keep a value for `ttl` seconds; raise CacheValueError for one that would not come back as it is, ValueError for a ttl that is none."""
        run(self._set(key, value, ttl, tags, self.codec(type)))

    def delete(self, key: str, *, tx: UnitOfWork | None = None) -> bool:
        """Forget a key in every process, with `tx` after its commit; tell whether it was in the memory of this one, or in Redis."""
        return bool(run(self._invalidate("k", checked_key(key), tx)))

    def exists(self, key: str) -> bool:
        """Tell whether there is a value for the key; statistics stay as they are."""
        return bool(run(self._exists(key)))

    def clear(self, *, tx: UnitOfWork | None = None) -> None:
        """Forget every key of this application in every process; keys of others in the same Redis are not touched."""
        run(self._invalidate("t", "", tx))

    def invalidate_tag(self, tag: str, *, tx: UnitOfWork | None = None) -> None:
        """Forget what carries the tag in every process, with `tx` after its commit; loads that began before keep nothing."""
        run(self._invalidate("t", checked_key(tag), tx))

    def get_or_load(self, key: str, load: Callable[[], T], **how: Unpack[Loading]) -> T:
        """Return the value of a key, loading it when there is none: one caller loads, the others wait for it, also in other processes.

        `how`: `type` it is read back as, `ttl` seconds it is fresh, `tags` that forget it, `stale_for` seconds it may serve when loading
        fails, `eager` share of the ttl after which one caller refreshes in the background, `soft_timeout` seconds until a stale value is
        returned while the load goes on, `hard_timeout` seconds until TimeoutError, `none_ttl` for None, `shared=False` to keep it out of
        Redis. Raises what `load` raises when nothing stale is there, CacheValueError.
        """
        plan, tags = self._planned(how)
        return cast("T", self.find(checked_key(key), plan, tags, load))

    def _planned(self, how: Loading) -> tuple[Plan, tuple[str, ...]]:
        given: dict[str, Any] = dict(how)
        kind, ttl, tags = given.pop("type", None), given.pop("ttl", None), given.pop("tags", ())
        return self.plan(self.codec(kind), ttl, **given), tags

    # -- the same on an event loop

    @overload
    async def aget(self, key: str, default: T | None = None, *, type: type[T]) -> T | None: ...
    @overload
    async def aget(self, key: str, default: object = None, *, type: None = None) -> object: ...
    async def aget(self, key: str, default: object = None, *, type: object = None) -> object:  # noqa: A002
        """Do what `get` does without blocking the loop."""
        entry = self._entries.get(key)
        if entry is not None and type is None and entry.until > self._now() and not entry.schema:
            return self._hit(entry)
        return self._or(default, await run_later(self._get(key, self.codec(type))))

    async def aset(self, key: str, value: object, ttl: float | None = None, *, tags: tuple[str, ...] = (), type: object = None) -> None:  # noqa: A002
        """Do what `set` does without blocking the loop."""
        await run_later(self._set(key, value, ttl, tags, self.codec(type)))

    async def adelete(self, key: str) -> bool:
        """Do what `delete` does without blocking the loop."""
        return bool(await run_later(self._invalidate("k", checked_key(key), None)))

    async def aexists(self, key: str) -> bool:
        """Do what `exists` does without blocking the loop."""
        return bool(await run_later(self._exists(key)))

    async def aclear(self) -> None:
        """Do what `clear` does without blocking the loop."""
        await run_later(self._invalidate("t", "", None))

    async def ainvalidate_tag(self, tag: str) -> None:
        """Do what `invalidate_tag` does without blocking the loop."""
        await run_later(self._invalidate("t", checked_key(tag), None))

    @overload
    async def aget_or_load(self, key: str, load: Callable[[], Awaitable[T]], **how: Unpack[Loading]) -> T: ...
    @overload
    async def aget_or_load(self, key: str, load: Callable[[], T], **how: Unpack[Loading]) -> T: ...
    async def aget_or_load(self, key: str, load: Callable[[], object], **how: Unpack[Loading]) -> object:
        """Do what `get_or_load` does without blocking the loop; `load` may be asynchronous, and a synchronous one runs in a thread."""
        plan, tags = self._planned(how)
        return await self.find_later(checked_key(key), plan, tags, load)

    # -- what decorators stand on

    def plan(self, codec: Codec, ttl: float | None = None, **how: float | None) -> Plan:
        """Return how values are to be kept; raise ValueError or TypeError for times that cannot be meant."""
        unknown = how.keys() - Plan._fields
        if unknown:
            raise TypeError(f"unknown option {min(unknown)!r}; there are {', '.join(Plan._fields[2:])}")
        for name in ("soft_timeout", "hard_timeout", "none_ttl", "stale_for"):
            if (seconds := how.get(name)) is not None and (name != "stale_for" or seconds != 0):
                checked_ttl(seconds, name)
        eager = how.get("eager")
        if eager is not None and not 0 < eager < 1:
            raise ValueError(f"eager is a share of the ttl between 0 and 1, such as 0.8, not {eager}")
        return Plan(codec, self.settings.ttl_seconds if ttl is None else checked_ttl(ttl), **{**how, "stale_for": how.get("stale_for") or 0.0})  # type: ignore[arg-type]

    def find(self, key: str, plan: Plan, tags: tuple[str, ...], load: Callable[[], object]) -> object:
        """Return the value of a key, loaded when there is none."""
        entry = self._entries.get(key)
        if entry is not None and entry.until > self._now() and entry.schema == plan.codec.schema:
            return self._hit(entry)
        return run(self.lookup.find(key, plan, tags, load))

    def find_later(self, key: str, plan: Plan, tags: tuple[str, ...], load: Callable[[], object]) -> Awaitable[object]:
        """Return the value of a key, loaded when there is none, on the event loop."""
        return run_later(self.lookup.find(key, plan, tags, load))

    def at_hand(self, key: str, schema: str) -> Entry | None:
        """Return what memory has for a key that is fresh, counted as a hit."""
        entry = self._entries.get(key)
        if entry is None or entry.until <= self._now() or entry.schema != schema:
            return None
        if entry.frequency < MAX_FREQUENCY:
            entry.frequency += 1
        entry.hits += 1
        entry.tally.hits += 1
        return entry

    @staticmethod
    def _hit(entry: Entry) -> object:
        if entry.frequency < MAX_FREQUENCY:
            entry.frequency += 1
        entry.hits += 1
        entry.tally.hits += 1
        return entry.value

    def codec(self, kind: object) -> Codec:
        """Return the codec of a type, made once; raise TypeError for a type values of which cannot be read back."""
        try:
            found = self._codecs.get(kind)
        except TypeError:  # a type that cannot be hashed
            return Codec(kind)
        if found is None:
            if len(self._codecs) >= MAX_CODECS:
                self._codecs = {None: self._codecs[None]}
            found = self._codecs[kind] = Codec(kind)
        return found

    # -- how it is done, written once

    @staticmethod
    def _or(default: object, value: object) -> object:
        return default if value is MISS else value

    def _get(self, key: str, codec: Codec) -> Flow[object]:
        entry = self._entries.get(checked_key(key))
        if entry is not None and entry.fresh > self._now():
            if entry.schema == codec.schema:
                return self._hit(entry)
            if not codec.schema:  # set with a type and asked for without: what Redis would give
                self._hit(entry)
                return self._plain(entry)
        value = yield from self.lookup.read(key, codec)
        tally = self.tallies.of(key)
        if value is MISS:
            tally.misses += 1
            self.tallies.missed(key)
        else:
            tally.hits += 1
        return value

    @staticmethod
    def _plain(entry: Entry) -> object:
        return msgspec.msgpack.decode(msgspec.msgpack.encode(entry.value))

    def _exists(self, key: str) -> Flow[bool]:
        entry = self._entries.get(checked_key(key))
        if entry is not None and entry.fresh > self._now():
            return True
        return (yield from self.lookup.read(key, self._codecs[None])) is not MISS

    def _set(self, key: str, value: object, ttl: float | None, tags: tuple[str, ...], codec: Codec) -> Flow[None]:
        checked_key(key)
        tags = checked_tags(tags)
        plan = self.plan(codec, ttl)
        raw, own = codec.copy(key, value)
        life = Lifetime(plan.ttl, plan.ttl, 0.0)
        entry = self.lookup.entry(key, own, life, codec.schema, len(raw), tags)
        self.lookup.flights.spoil(lambda flight: flight.key == key, lambda: self.memory.put(entry))
        level, stored, refused = self.level, False, False
        if level is not None and level.up:
            tokens = yield from self.lookup.tokens(level, tags)
            if tokens is not None:
                blob = self.lookup.packed(codec.schema, life, tags, tokens, raw)
                names, milliseconds = (level.entry(key), level.lock(key), level.channel), max(1, int(plan.ttl * 1000))
                answers = yield Ask(level, ("EVAL", PUT, 3, *names, blob, milliseconds, level.message("k", key)))
                refused = answers is not None and isinstance(answers[0], Exception)
                stored = answers is not None and not refused
            if self._entries.get(key) is not entry:  # of two that set at once Redis and memory may have kept different ones
                self._drop("k", key)
        if not stored:
            if refused:
                yield from self._forget_there("k", key)  # what it had is older; a full Redis can still forget
            else:
                self._owe("k", key)  # without asking again: one that did not answer takes its time
            self._tell("k", key)

    def _invalidate(self, kind: str, name: str, tx: UnitOfWork | None) -> Flow[bool]:
        if tx is not None:
            if self.level is not None and self.level.up:
                yield Ask(self.level, *self.level.fencing(kind, name))  # whoever commits may die before Redis hears of it
            self._signals.publish(TOPIC, self._line(kind, name), tx=tx)
            return False
        self.invalidations += 1
        there = self._drop(kind, name)
        if (kind, name) == ("t", "") and self.level is not None:
            self._littered = True
            self._sender.wake()
        level, done = self.level, False
        if level is not None and level.up:
            answers = yield Ask(level, *level.forgetting(kind, name))
            done = answers is not None and not any(isinstance(answer, Exception) for answer in answers)
            there = there or (done and answers is not None and bool(answers[0]))
        if not done:
            self._owe(kind, name)
            self._tell(kind, name)
        if level is not None:
            self._drop(kind, name)  # what was read from Redis meanwhile
        return there

    # -- what other processes say, and are told

    def _drop(self, kind: str, name: str) -> bool:
        """Forget a key or what carries a tag in this process, and let no load at work keep what it brings."""
        dropped: list[object] = []
        if kind == "k":
            self.lookup.flights.spoil(lambda flight: flight.key == name, lambda: dropped.append(self.memory.drop(name)))
        elif name:
            self.lookup.flights.spoil(lambda flight: name in flight.tags, lambda: dropped.append(self.memory.drop_tag(name)))
        else:
            self._flush()
        return any(dropped)

    def _flush(self) -> None:
        """Forget everything in this process: messages may have been missed."""
        self.lookup.flights.spoil(_every, self.memory.clear)

    def _heard(self, kind: str, name: str) -> None:
        self.invalidations += 1
        self._drop(kind, name)

    def _signalled(self, message: str) -> None:
        """Take what the bus carries: lines of `origin kind "name"`; after an own transaction Redis is told as well, for others in the background."""
        for line in message.split("\n"):
            origin, kind, name = (*line.split(" ", 2), "", "")[:3]
            if kind not in {"k", "t"}:
                continue
            name = msgspec.json.decode(name, type=str)
            self.invalidations += 1
            if origin == self._origin:
                run(self._forget_there(kind, name))
            self._drop(kind, name)
            if origin != self._origin and self.level is not None:
                self._wait_for_sender(kind, name, own=False)

    def _forget_there(self, kind: str, name: str) -> Flow[None]:
        level = self.level
        if level is None:
            return
        answers = (yield Ask(level, *level.forgetting(kind, name))) if level.up else None
        if answers is None or any(isinstance(answer, Exception) for answer in answers):
            self._owe(kind, name)

    def _owe(self, kind: str, name: str) -> None:
        if self.level is not None:
            self.level.owe(kind, name)
            self._sender.wake()

    def _tell(self, kind: str, name: str) -> None:
        """Let the other processes of this database know by the bus, soon."""
        if not isinstance(self._signals, OwnSignals):
            self._wait_for_sender(kind, name, own=True)

    def _wait_for_sender(self, kind: str, name: str, *, own: bool) -> None:
        if len(self._waiting) >= MAX_WAITING:  # too much becomes everything
            self._waiting.clear()
            self._waiting.extend([("t", "", True), ("t", "", False)])
        self._waiting.append((kind, name, own))
        self._sender.wake()

    def _line(self, kind: str, name: str) -> str:
        return f"{self._origin} {kind} {msgspec.json.encode(name).decode()}"

    def _send(self) -> None:
        """Tell by the bus what waits, many things in one message, and repeat in Redis what others said: they may have died before they could."""
        while self._waiting:
            kind, name, own = self._waiting.popleft()
            if not own:
                run(self._forget_there(kind, name))
                self._drop(kind, name)  # what was read from Redis since it was heard
                continue
            told, lines = [(kind, name, True)], [self._line(kind, name)]
            while self._waiting and self._waiting[0][2] and sum(map(len, lines)) < MESSAGE_LETTERS:
                told.append(self._waiting.popleft())
                lines.append(self._line(*told[-1][:2]))
            try:
                self._signals.publish(TOPIC, "\n".join(lines))
            except BaseException:
                self._waiting.extendleft(reversed(told))
                raise
        if self.level is not None:
            self.level.pay()
            self._sweep(self.level)

    def _sweep(self, level: RedisLevel) -> None:
        """Give back the room of what was cleared; nobody reads it any more, and some that is newer only costs a miss."""
        if self._littered and level.up:
            self._littered = False
            with suppress(AwayError):
                names = level.scan(COUNT_LIMIT)
                for begin in range(0, len(names), MAX_CODECS):
                    level.ask([("UNLINK", *names[begin : begin + MAX_CODECS])])

    # -- what is known about it

    @property
    def state(self) -> str:
        """Return `redis`, `in_memory` where that was chosen, or `fallback` while Redis is away."""
        if self.level is not None:
            return "redis" if self.level.up else "fallback"
        return "fallback" if self.why_not else "in_memory"

    def get_stats(self) -> dict[str, str | int | float]:
        """Return `cache_type` (`redis`, `in_memory`), `total_keys`, `hits`, `misses`, `total_requests` and `hit_rate` in percent, of this process."""
        total = self.tallies.totals()
        requests = total.hits + total.misses
        rate = round(total.hits / requests * 100, 2) if requests else 0.0
        counts = {"hits": total.hits, "misses": total.misses, "total_requests": requests, "hit_rate": rate}
        return {"cache_type": "redis" if self.state == "redis" else "in_memory", "total_keys": self._count(), **counts}

    def _count(self) -> int:
        """Return how many values there are: in Redis, counted at most every five seconds, or in memory."""
        now = self.clock.monotonic()
        if self.level is None or not self.level.up:
            return sum(entry.fresh > now for entry in self.memory.alive(now))
        if now >= self._counted[0]:
            try:
                self._counted = (now + 5.0, len(self.level.scan(COUNT_LIMIT)))
            except Exception:  # noqa: BLE001 - border: observer hook
                return len(self.memory.entries)
        return self._counted[1]

    def evict(self, *, prefix: str) -> int:
        """Forget the keys of a prefix in this process and in Redis, and tell the other processes key by key; return how many."""
        names = {key for key in list(self._entries) if prefix_of(key) == prefix}
        if self.level is not None and self.level.up:
            head = len(self.level.entry("").encode())
            with suppress(AwayError):
                found = (raw[head:].decode("utf-8", "replace") for raw in self.level.scan(COUNT_LIMIT, prefix))
                names |= {key for key in found if prefix_of(key) == prefix}
        for key in names:
            self.delete(key)
        return len(names)

    # -- life

    def follow(self, epoch: str) -> None:
        """Know values only of this epoch of the database: those of another one, which Redis may still hold, never answer again."""
        if self.level is not None and epoch and epoch != self.level.epoch:
            self.level.epoch, self.level.generation = epoch, None
            self._flush()

    def start(self) -> None:
        """Connect to Redis, waiting no longer than its patience, and begin to listen."""
        if self.level is not None and not self.level.up:
            self.level.connect()
        if self._own:
            self._supervisor.start()

    def close(self) -> None:
        """Send what waits and close the connections."""
        if self._own:
            self._supervisor.stop()
            self._pool.close()
        self.lookup.background.pool.close()
        with suppress(StoreError):
            self._send()
        if self.level is not None:
            self.level.close()

    def forget(self) -> None:
        """Begin anew in a forked child."""
        self._origin = token(64)
        self.lookup.flights.forget()
        self.lookup.background.forget()
        self.memory.forget_locks()
        self.tallies.forget()
        self._waiting.clear()
        if self.level is not None:
            self.level.forget()


def address(config: Mapping[str, object]) -> str:
    """Return the address of a specified `redis_config`; raise ValueError for a key it does not know."""
    unknown = config.keys() - {"host", "port", "db", "password", "url"}
    if unknown:
        raise ValueError(f"redis_config does not know {min(unknown)!r}; it has host, port, db, password or url")
    if config.get("url"):
        return str(config["url"])
    password = config.get("password")
    secret = f":{quote(str(password), safe='')}@" if password else ""
    return f"redis://{secret}{config.get('host') or 'localhost'}:{config.get('port') or 6379}/{config.get('db') or 0}"


def newest() -> CacheManager | None:
    """Return the cache made last in this process."""
    return _newest[0]() if _newest else None


def _every(_: Flight) -> bool:
    return True




