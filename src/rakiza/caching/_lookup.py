"""How a value is found: in memory, in Redis, by another caller or process that loads it, or by loading it; written once for threads and loops."""

import logging
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeGuard

import msgspec

from rakiza._kernel import Clock, WorkerPool, draw, token

from ._backends.redis import FENCE, FILL, TOKEN_MILLISECONDS, Command, RedisLevel
from ._core import FORMAT, Lifetime, Stored, checked_tags, lifetime, pack, unpack, valid
from ._flights import AbandonedError, Flight, Flights
from ._memory import Entry, Memory
from ._steps import Ask, Background, Flow, Load, OwnLoopError, Spawn, Wait, loading
from ._tallies import Tallies
from ._values import Codec
from .settings import CachingSettings

MISS = object()
REST_SECONDS = 5.0
"""How long a stale value serves before a loader that failed is asked again."""
log = logging.getLogger("rakiza.caching")


class Plan(NamedTuple):
    """Say how values are loaded and kept."""

    codec: Codec
    ttl: float
    stale_for: float = 0.0
    eager: float | None = None
    soft_timeout: float | None = None
    hard_timeout: float | None = None
    none_ttl: float | None = None
    shared: bool = True
    """Whether other processes may give and take the value by Redis; not so for what somebody who can write to Redis must not decide."""


class Found(NamedTuple):
    """Be a value of Redis: what it is, and what it is worth now."""

    value: object
    stored: Stored
    life: Lifetime
    schema: str
    """Of the type it was read as, none for plain data: not what it was stored as."""


class Lookup:
    """Find values; holds both levels and the loads at work."""

    def __init__(self, settings: CachingSettings, memory: Memory, tallies: Tallies, clock: Clock, pool: WorkerPool) -> None:
        self.settings, self.memory, self.tallies, self.clock, self.pool = settings, memory, tallies, clock, pool
        self.flights = Flights()
        self.level: RedisLevel | None = None
        self.inside: Callable[[], bool] = lambda: False
        """Whether the caller is in a transaction: it may see what will never be committed, or what was forgotten since it began."""
        self.background = Background()

    def now_ms(self) -> int:
        """Return the wall time in milliseconds."""
        return int(self.clock.now().timestamp() * 1000)

    # -- reading only

    def read(self, key: str, codec: Codec) -> Flow[object]:
        """Return the value Redis has, keeping it in memory, or `MISS`."""
        level, epoch = self.level, self.flights.epoch
        if level is None or not level.up:
            return MISS
        found = yield from self._read(level, key, None, codec)
        if found is None or found.life.fresh <= 0:
            return MISS
        self.flights.keep_since(epoch, lambda: self.memory.put(self._entry(key, found)))
        return found.value

    def _read(self, level: RedisLevel, key: str, tags: tuple[str, ...] | None, codec: Codec) -> Flow[Found | None]:
        answer = yield Ask(level, ("MGET", level.entry(key), level.tag(""), *(level.tag(tag) for tag in tags or ())))
        if not _listed(answer):
            return None
        raw, *tokens = answer[0]
        stored = self._stored(key, raw)
        if stored is not None and tags is None and stored.tags:
            answer = yield Ask(level, ("MGET", *(level.tag(tag) for tag in stored.tags)))
            if not _listed(answer):
                return None
            tokens += answer[0]
        return self._judge(level, key, stored, tokens, codec)

    def _stored(self, key: str, raw: bytes | None) -> Stored | None:
        stored = unpack(raw)
        if raw is not None and stored is None:
            self.tallies.of(key).errors += 1
        return stored

    def _judge(self, level: RedisLevel, key: str, stored: Stored | None, tokens: list[bytes | None], codec: Codec) -> Found | None:
        level.generation = tokens[0]
        if stored is None or not valid(stored, tokens) or level.owes(key, stored.tags):
            return None
        if codec.schema != stored.schema and codec.schema:
            return None
        now = self.now_ms()
        if stored.stale <= now:
            return None
        try:
            value = codec.read(stored.value)
        except msgspec.DecodeError:
            self.tallies.of(key).errors += 1
            return None
        # A clock that differs from the writer's makes a value neither fresher than it was made nor older than it is.
        whole = max(0, stored.fresh - stored.created)
        fresh = min(whole, stored.fresh - now) / 1000
        return Found(value, stored, Lifetime(fresh, fresh, (stored.stale - stored.fresh) / 1000), codec.schema)

    # -- reading, and loading what is not there

    def find(self, key: str, plan: Plan, tags: tuple[str, ...], call: Callable[[], object]) -> Flow[object]:
        """Return the value of a key; raise what the loader raises when there is no stale value, TimeoutError when it takes too long."""
        if self.inside():
            self.tallies.of(key).misses += 1
            return (yield Load(key, call, self.pool))
        if key in loading.get() and key in self.flights:
            raise RuntimeError(f"{key!r} is needed to load {key!r} itself")
        followed = False
        while True:
            known, fresh = self._known(key, plan)
            if known is not None and fresh:
                yield from self._refresh(known, plan, tags, call)
                return known.value
            flight, leads = self.flights.join(key, checked_tags(tags))
            if leads and plan.hard_timeout is None and (plan.soft_timeout is None or known is None):
                yield from self._bring(flight, plan, call, known)
            elif leads:
                yield Spawn(self._bring(flight, plan, call, known), self.background)
            elif not followed:
                followed = True
                self._count_miss(key)
            try:
                value = yield from self._arrival(flight, plan, known)
            except OwnLoopError:
                return plan.codec.copy(key, (yield Load(key, call, self.pool)))[1]
            if value is not MISS:
                return value

    def _arrival(self, flight: Flight, plan: Plan, known: Entry | None) -> Flow[object]:
        """Wait for a load as long as the plan says; return its value, a stale one in its place, or `MISS` when whoever loaded gave up."""
        seconds = plan.soft_timeout if known is not None and plan.soft_timeout is not None else plan.hard_timeout
        if not (yield Wait(flight.future, seconds, flight.loop)):
            if known is None:
                raise TimeoutError(f"{flight.key!r} was not loaded within {seconds} s; the load goes on and fills the cache")
            known.tally.stale += 1
            return known.value
        error = flight.future.exception()
        if error is None:
            return flight.future.result()
        if isinstance(error, AbandonedError):
            return MISS
        raise error

    def _refresh(self, known: Entry, plan: Plan, tags: tuple[str, ...], call: Callable[[], object]) -> Flow[None]:
        """Count a hit, and let the value be loaded in the background when its moment has come."""
        known.tally.hits += 1
        if known.until < known.fresh:
            known.until = known.fresh  # one attempt ahead of time is enough
            flight, leads = self.flights.join(known.key, tags)
            if leads:
                yield Spawn(self._bring(flight, plan, call, known), self.background)

    def _count_miss(self, key: str) -> None:
        self.tallies.of(key).misses += 1
        self.tallies.missed(key)

    def _known(self, key: str, plan: Plan) -> tuple[Entry | None, bool]:
        entry, now = self.memory.entries.get(key), self.clock.monotonic()
        if entry is None or entry.schema != plan.codec.schema or entry.stale <= now:
            return None, False
        return entry, entry.fresh > now

    def _bring(self, flight: Flight, plan: Plan, call: Callable[[], object], known: Entry | None) -> Flow[None]:
        """Fetch or load unless somebody does, and tell everybody who waits for the flight."""
        if not self.flights.begin(flight):
            return
        try:
            value, entry = yield from self._fetch(flight, plan, call, known)
        except Exception as error:  # noqa: BLE001 - border: handed to who waits
            self.flights.land(flight)
            flight.future.set_exception(error)
        except BaseException:
            self.flights.land(flight)
            flight.future.set_exception(AbandonedError())
            raise
        else:
            self.flights.land(flight, (lambda: self.memory.put(entry)) if entry is not None else None)
            flight.future.set_result(value)

    def _fetch(self, flight: Flight, plan: Plan, call: Callable[[], object], known: Entry | None) -> Flow[tuple[object, Entry | None]]:
        key, tags, tally, held = flight.key, tuple(flight.tags), self.tallies.of(flight.key), None
        level = self.level if plan.shared else None
        refreshing = known is not None and known.fresh > self.clock.monotonic()
        if level is not None and level.up:
            troubles = level.errors
            found = yield from self._read(level, key, tags, plan.codec)
            if level.errors == troubles and (found is None or found.life.fresh <= 0 or refreshing):  # what just failed is not tried again
                held, found = yield from self._hold(level, key, tags, plan.codec, refreshing)
            newer = found is not None and found.life.fresh > (known.fresh - self.clock.monotonic() if known is not None else 0.0)
            if found is not None and newer and found.life.fresh > 0 and held is None:
                tally.hits += not refreshing
                return found.value, self._entry(key, found)
            if refreshing and held is None and known is not None and level.up:
                return known.value, None  # another process refreshes it
            if found is not None and known is None:
                known = self._entry(key, found)
        if not refreshing:
            self._count_miss(key)
        begun = self.clock.monotonic()
        try:
            value = yield Load(key, call, self.pool)
            raw, value = plan.codec.copy(key, value)
        except BaseException as error:
            tally.errors += isinstance(error, Exception)
            if level is not None and held is not None and not isinstance(error, GeneratorExit):
                yield Ask(level, level.unlock(key, held.lock))
            if known is None or not isinstance(error, Exception):
                raise
            return self._serve_stale(known, error), known if self.memory.entries.get(key) is not known else None
        tally.loads += 1
        tally.load_seconds += self.clock.monotonic() - begun
        return (yield from self._keep(flight, plan, value, raw, held))

    def _entry(self, key: str, found: Found) -> Entry:
        stored = found.stored
        return self.entry(key, found.value, found.life, found.schema, len(bytes(stored.value)), stored.tags)

    def _serve_stale(self, known: Entry, error: Exception) -> object:
        known.tally.stale += 1
        known.until = known.fresh = max(known.fresh, min(known.stale, self.clock.monotonic() + REST_SECONDS))
        if known.tally.errors & (known.tally.errors - 1) == 0:
            log.warning("%r could not be loaded (%s: %s); a stale value serves", known.key, type(error).__name__, error)
        return known.value

    def _keep(self, flight: Flight, plan: Plan, value: object, raw: bytes, held: "Held | None") -> Flow[tuple[object, Entry | None]]:
        """Store what was loaded in Redis, if nobody took the lock away, and say what memory is to keep."""
        key, tags, level = flight.key, tuple(flight.tags), self.level
        ttl = plan.none_ttl if value is None and plan.none_ttl is not None else plan.ttl
        life = lifetime(ttl, plan.stale_for, plan.eager, draw())
        if level is not None and held is not None and flight.spoiled:
            yield Ask(level, level.unlock(key, held.lock))
        elif level is not None and held is not None:
            blob = self.packed(plan.codec.schema, life, tags, held.tokens, raw)
            milliseconds = max(1, int((life.fresh + life.stale) * 1000))
            names = (level.entry(key), level.lock(key), level.channel)
            answer = yield Ask(level, ("EVAL", FILL, 3, *names, blob, held.lock, milliseconds, level.message("f", key)))
            if answer is None:
                level.leave_lock(key, held.lock)
            elif answer[0] == 0:
                return value, None
        return value, self.entry(key, value, life, plan.codec.schema, len(raw), tags)

    def entry(self, key: str, value: object, life: Lifetime, schema: str, size: int, tags: tuple[str, ...]) -> Entry:  # noqa: PLR0917 - its fields
        """Return a new entry for memory; `size` is that of the packed value."""
        entry = Entry(key, value, schema, size, tags, self.tallies.of(key))
        entry.live(life, self.clock.monotonic())
        return entry

    def packed(self, schema: str, life: Lifetime, tags: tuple[str, ...], tokens: tuple[bytes, ...], raw: bytes) -> bytes:
        """Return the bytes of a value for Redis."""
        now = self.now_ms()
        fresh = now + int(life.fresh * 1000)
        return pack(Stored(FORMAT, schema, now, fresh, fresh + int(life.stale * 1000), tags, tokens, msgspec.Raw(raw)))

    # -- one load among processes

    def _hold(self, level: RedisLevel, key: str, tags: tuple[str, ...], codec: Codec, impatient: bool) -> "Flow[tuple[Held | None, Found | None]]":
        """Take the lock of a key, or wait for the process that has it; return the lock, or what was found, or neither when Redis is away."""
        waiter, own = level.waiter(key), token(96).encode()
        ends = self.clock.monotonic() + self.settings.lock_wait_seconds
        found: Found | None = None
        try:
            while True:
                left = ends - self.clock.monotonic()
                answers = yield Ask(level, *self._locking(level, key, tags, own, steal=left <= 0 and not impatient))
                if not _listed(answers):
                    level.leave_lock(key, own)
                if not _listed(answers) or isinstance(answers[0], Exception):
                    return None, found
                raw, *tokens, holder = answers[-1]
                found = self._judge(level, key, self._stored(key, raw), tokens, codec)
                got = holder == own  # what was said twice, because an answer was lost, holds as well
                if found is not None and found.life.fresh > 0 and not impatient:
                    if got:
                        yield Ask(level, level.unlock(key, own))
                    return None, found
                if got and storable(tokens):
                    return Held(own, tuple(tokens)), found
                if got:  # a token is something else; without it there is a miss
                    yield Ask(level, *level.mended(tags, tokens), level.unlock(key, own))
                if got or left <= 0 or impatient:
                    return None, found
                yield Wait(waiter, left)
                level.leave(key, waiter)
                waiter = level.waiter(key)
        finally:
            level.leave(key, waiter)

    def _locking(self, level: RedisLevel, key: str, tags: tuple[str, ...], own: bytes, *, steal: bool) -> list[Command]:
        lease = int(self.settings.lock_lease_seconds * 1000)
        take: Command = ("SET", level.lock(key), own, "PX", lease) if steal else ("SET", level.lock(key), own, "NX", "PX", lease)
        names = [level.tag(tag) for tag in ("", *tags)]
        fresh_tokens = [("SET", name, token(96).encode(), "NX", "PX", TOKEN_MILLISECONDS) for name in names]
        return [take, *fresh_tokens, ("MGET", level.entry(key), *names, level.lock(key))]

    def tokens(self, level: RedisLevel, tags: tuple[str, ...]) -> Flow[tuple[bytes, ...] | None]:
        """Return the tokens of the namespace and of tags, made where there are none or something else; none when Redis is away or full."""
        if not tags and level.generation is not None:
            return (level.generation,)
        names = [level.tag(tag) for tag in ("", *tags)]
        answer = yield Ask(level, ("MGET", *names))
        for mend in (False, True):
            if _listed(answer) and None in answer[-1]:
                made = [("SET", name, token(96).encode(), "NX", "PX", TOKEN_MILLISECONDS) for name in names]
                answer = yield Ask(level, *(level.mended(tags, answer[-1]) if mend else ()), *made, ("MGET", *names))
        if not _listed(answer) or None in answer[-1]:
            return None
        level.generation = answer[-1][0]
        return tuple(answer[-1])


def _listed(answers: list[Any] | None) -> TypeGuard[list[Any]]:
    """Tell whether Redis ended its answers with a list, as it should."""
    return answers is not None and isinstance(answers[-1], list) and bool(answers[-1])


def storable(tokens: Sequence[bytes | None]) -> bool:
    """Tell whether what was loaded may be stored with these tokens: a full Redis makes none, and a transaction at work will make it old."""
    return not any(one is None or one.startswith(FENCE.encode()) for one in tokens)


class Held(NamedTuple):
    """Be the lock of a key, with the tokens its value depends on."""

    lock: bytes
    tokens: tuple[bytes, ...]


