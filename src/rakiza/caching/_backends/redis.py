"""The second level: Redis behind a circuit breaker, with messages between processes, and everything owed to it after an outage.

Reads are allowed only between a successful `connect` and the first trouble: then this process listens to the messages, has paid
what it owed, and its memory was emptied after it began to listen, so nothing stale is read.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from typing import Any

from rakiza._kernel import SYSTEM_CLOCK, token
from rakiza.resilience import CircuitBreaker, CircuitOpenError
from rakiza.store.redis import RedisLink

LISTEN_SECONDS = 0.25
SILENT_TIMES = 4
"""How often Redis may leave the connection that listens without an answer before it is taken for broken."""
RETRY_SECONDS = 0.25
MAX_OWED = 10_000
TOKEN_MILLISECONDS = 30 * 86_400_000
"""A token that expires makes what it guards a miss, never stale."""
FENCE, FENCE_MILLISECONDS = "!", 60_000
"""How the token of a tag begins that a transaction at work will invalidate."""
SCAN_COUNT = 500
PROBE_MILLISECONDS = 1_000
FILL = """
if redis.call('get', KEYS[2]) ~= ARGV[2] then return 0 end
redis.call('set', KEYS[1], ARGV[1], 'px', ARGV[3])
redis.call('del', KEYS[2])
redis.call('publish', KEYS[3], ARGV[4])
return 1
"""
"""Store what was loaded if the lock is still held: whoever deletes or sets the key takes the lock away, so a slow load undoes nothing."""
PUT = """
redis.call('set', KEYS[1], ARGV[1], 'px', ARGV[2])
redis.call('del', KEYS[2])
redis.call('publish', KEYS[3], ARGV[3])
"""
"""Store what was set, take the lock away from whoever loads it, and tell the others."""
UNLOCK = """
if redis.call('get', KEYS[1]) == ARGV[1] then redis.call('del', KEYS[1]) redis.call('publish', KEYS[2], ARGV[2]) end
"""
Command = tuple[Any, ...]
log = logging.getLogger("rakiza.caching")


class AwayError(Exception):
    """Say that Redis is not to be asked now."""


class RedisLevel:
    """Hold the namespace of one application in one Redis; raises AwayError where it cannot be asked, never anything of the driver."""

    def __init__(self, link: RedisLink, namespace: str, heard: Callable[[str, str], object], flush: Callable[[], object]) -> None:
        self.link, self.up, self._ever_up = link, False, False
        self.origin = token(64)
        self.last_error = ""
        self.errors = 0
        self.latency_seconds = 0.0
        self.changed_at = SYSTEM_CLOCK.now()
        self._prefix, self._heard, self._flush = f"{namespace}:cache:", heard, flush
        self.channel = f"{self._prefix}signals"
        name, failures = f"{namespace}:redis-cache", link.failures
        self.breaker = CircuitBreaker(name, window=10, min_calls=3, open_seconds=RETRY_SECONDS, record=failures, quiet=True)
        # The others when its socket was closed meanwhile, and when what answers is no Redis.
        self._deaf: tuple[type[Exception], ...] = (*link.failures, ValueError, TypeError, AttributeError)
        self._left: deque[Command] = deque(maxlen=MAX_OWED)
        self._owed: set[tuple[str, str]] = set()
        self._paying: set[tuple[str, str]] = set()
        self._waiting: dict[str, set[Future[None]]] = {}
        self._said_down = False
        self.epoch = ""
        """That of the database the values were made from."""
        self.generation: bytes | None = None
        """The token of the namespace when it was last seen."""
        self._forget()

    def _forget(self) -> None:
        self._lock, self._connecting = threading.RLock(), threading.Lock()
        self._listener: Any = None
        self._subscription: Any = None
        self._silent = 0

    # -- names

    def entry(self, key: str) -> str:
        """Return the name of a value."""
        return f"{self._prefix}e:{key}"

    def lock(self, key: str) -> str:
        """Return the name of the lock of who loads a value."""
        return f"{self._prefix}l:{key}"

    def tag(self, tag: str) -> str:
        """Return the name of a tag's token; the empty tag is the whole namespace."""
        return f"{self._prefix}t:{tag or self.epoch}"

    # -- asking

    def ask(self, commands: Sequence[Command]) -> list[Any]:
        """Run commands in one round trip and return their answers, an exception for one that was refused; raise AwayError."""
        ticket, begun = self._enter(), SYSTEM_CLOCK.monotonic()
        try:
            answers = self.link.run(commands)
        except BaseException as error:
            self._leave(ticket, begun, error)
            raise
        self._leave(ticket, begun, None)
        return self._seen(answers)

    async def ask_later(self, commands: Sequence[Command]) -> list[Any]:
        """Do what `ask` does on the event loop."""
        async with self.link.room():
            ticket, begun = self._enter(), SYSTEM_CLOCK.monotonic()
            try:
                answers = await self.link.run_later(commands)
            except BaseException as error:
                self._leave(ticket, begun, error)
                raise
        self._leave(ticket, begun, None)
        return self._seen(answers)

    def _enter(self) -> object:
        if not self.up:
            raise AwayError
        try:
            return self.breaker.enter()
        except CircuitOpenError:
            self.down("the circuit is open")
            raise AwayError from None

    def _leave(self, ticket: Any, begun: float, error: BaseException | None) -> None:
        seconds = SYSTEM_CLOCK.monotonic() - begun
        if error is None:
            self.latency_seconds += (seconds - self.latency_seconds) / 16
            self.breaker.leave(ticket, failed=False, seconds=seconds)
            return
        if not isinstance(error, Exception):
            self.breaker.cancel(ticket)
            return
        self.breaker.leave(ticket, failed=True, seconds=seconds)
        self._note(error)
        if self.breaker.state != "closed":
            self.down(self.last_error)
        raise AwayError from error

    def _seen(self, answers: list[Any]) -> list[Any]:
        for answer in answers:
            if isinstance(answer, Exception):
                self._note(answer)
                if not str(answer).startswith("WRONGTYPE"):  # full, read-only, no permission
                    self.down(self.last_error)
        return answers

    def _note(self, error: BaseException) -> None:
        self.errors += 1
        self.last_error = f"{type(error).__name__}: {error}"[:200]

    # -- what is owed

    def owe(self, kind: str, name: str) -> None:
        """Remember what must be forgotten in Redis and is not read before: a key (`k`) or what carries a tag (`t`); too much becomes everything."""
        with self._lock:
            if len(self._owed) >= MAX_OWED:
                self._owed = {("t", "")}
            self._owed.add((kind, name))

    def owes(self, key: str, tags: Sequence[str]) -> bool:
        """Tell whether what Redis has for a key was to be forgotten and could not be yet."""
        if not self._owed and not self._paying:
            return False
        owed = self._owed | self._paying
        return ("k", key) in owed or ("t", "") in owed or any(("t", tag) in owed for tag in tags)

    def pay(self) -> None:
        """Forget in Redis what is owed, now that it may answer again; one that does not is away."""
        with self._connecting:
            if self.up and self._owed:
                try:
                    self._pay()
                except self._deaf as error:
                    self._note(error)
                    self.down(self.last_error)

    def _pay(self) -> None:
        with self._lock:  # what is owed once more meanwhile is paid once more
            self._paying, self._owed = self._owed, set()
        try:
            owed = list(self._paying)
            for begin in range(0, len(owed), SCAN_COUNT):
                part = owed[begin : begin + SCAN_COUNT]
                self._insist([command for kind, name in part for command in self.forgetting(kind, name)])
        except BaseException:
            with self._lock:
                self._owed |= self._paying
            raise
        finally:
            self._paying = set()

    def _insist(self, commands: Sequence[Command]) -> None:
        for answer in self.link.run(commands):
            if isinstance(answer, Exception):
                raise answer

    def forgetting(self, kind: str, name: str) -> list[Command]:
        """Return the commands that invalidate a key or a tag and tell the other processes."""
        told: Command = ("PUBLISH", self.channel, self.message(kind, name))
        if kind == "k":
            return [("DEL", self.entry(name), self.lock(name)), told]
        self.generation = self.generation if name else None
        return [("DEL", self.tag(name)), told]  # works in a full Redis as well; the next load makes a new token

    def unlock(self, key: str, lock: bytes) -> Command:
        """Return the command that gives the lock of a key back, if it is still held, and wakes who waits for it."""
        return ("EVAL", UNLOCK, 2, self.lock(key), self.channel, lock, self.message("f", key))

    def leave_lock(self, key: str, lock: bytes) -> None:
        """Give a lock back soon, in the background: its answer was lost, so that it may be held."""
        self._left.append(self.unlock(key, lock))

    def _unlock_left(self) -> None:
        while self._left:
            self.link.run([self._left[0]])
            self._left.popleft()

    def mended(self, tags: tuple[str, ...], tokens: list[bytes | None]) -> list[Command]:
        """Return the commands that remove what stands where a token should."""
        return [("DEL", self.tag(tag)) for tag, found in zip(("", *tags), tokens, strict=True) if found is None]

    def fencing(self, kind: str, name: str) -> list[Command]:
        """Return the commands that invalidate a key or a tag before a commit; what is loaded until the commit is not stored under that tag."""
        if kind == "k":
            return [("DEL", self.entry(name), self.lock(name))]
        return [("SET", self.tag(name), FENCE + token(96), "PX", FENCE_MILLISECONDS)]

    def message(self, kind: str, name: str) -> str:
        """Return what the other processes are told."""
        return f"{self.origin} {kind} {name}"

    # -- waiting for another process

    def waiter(self, key: str) -> "Future[None]":
        """Return a future that is done when another process has loaded the key, or when Redis goes away."""
        future: Future[None] = Future()
        with self._lock:
            self._waiting.setdefault(key, set()).add(future)
        return future

    def leave(self, key: str, future: "Future[None]") -> None:
        """Wait no more."""
        with self._lock:
            waiting = self._waiting.get(key)
            if waiting is not None:
                waiting.discard(future)
                if not waiting:
                    del self._waiting[key]

    def _wake(self, key: str | None = None) -> None:
        with self._lock:
            names = [key] if key is not None else list(self._waiting)
            found = [future for name in names for future in self._waiting.get(name, ())]
        for future in found:
            with suppress(InvalidStateError):
                future.set_result(None)

    # -- life

    def connect(self) -> bool:
        """Begin to listen, pay what is owed, let the memory be emptied, and allow reading; tell whether that went well."""
        with self._connecting:
            return self.up or (self.breaker.stats().forced != "open" and self._connect())

    def _connect(self) -> bool:
        try:
            self._close_listener()
            self._pay()  # a full Redis forgets as well
            self._insist([("SET", f"{self._prefix}probe", "", "PX", PROBE_MILLISECONDS)])
            self._listen_anew()
            self._pay()
            self.generation = None
            self._flush()
            self.up = True
        except self._deaf as error:
            self._note(error)
            if not self._ever_up:  # what others owe, who may be gone when Redis is back, nobody can tell
                self.owe("t", "")
            self._say_down()
            return False
        self._ever_up = True
        if self.breaker.state != "closed":
            self.breaker.reset("connected again")
        self.changed_at, self._said_down, self.last_error = SYSTEM_CLOCK.now(), False, ""
        log.info("the cache uses Redis at %s", self.link.shown)
        return True

    def _listen_anew(self) -> None:
        self._listener, self._silent = self.link.patient(LISTEN_SECONDS * 2), 0
        self._subscription = self._listener.pubsub()
        self._subscription.subscribe(self.channel)
        if self._subscription.get_message(timeout=self.link.timeout_seconds) is None:
            raise TimeoutError("Redis did not answer SUBSCRIBE in time")

    def listen(self) -> None:
        """Take messages for a moment; while Redis is away, try again to connect."""
        if not self.up and not self.connect():
            threading.Event().wait(RETRY_SECONDS)
            return
        try:
            while self.up and (message := self._subscription.get_message(timeout=LISTEN_SECONDS)) is not None:
                self._silent = 0
                if message["type"] == "message":
                    self._take(message["data"].decode("utf-8", "replace"))
            self._unlock_left()
            if self.up:
                self._silent += 1
                if self._silent > SILENT_TIMES:
                    raise TimeoutError("the connection that listens is silent")
                self._subscription.ping()
        except self._deaf as error:
            self._note(error)
            self.down(self.last_error)

    def _take(self, message: str) -> None:
        origin, kind, name = (*message.split(" ", 2), "", "")[:3]
        if kind == "f":
            self._wake(name)
        elif origin != self.origin:
            if (kind, name) == ("t", ""):
                self.generation = None
            self._heard(kind, name)

    def down(self, why: str) -> None:
        """Ask Redis no more until it is connected again."""
        with self._lock:
            self._go_down(why)

    def _go_down(self, why: str) -> None:
        if self.up:
            self.up = False
            self.last_error = self.last_error or why
            self._say_down()
            self._wake()

    def _say_down(self) -> None:
        if not self._said_down:
            self._said_down = True
            self.changed_at = SYSTEM_CLOCK.now()
            log.warning("the cache cannot use Redis at %s (%s); values are kept in memory until it is back", self.link.shown, self.last_error)

    def _close_listener(self) -> None:
        for one in (self._subscription, self._listener):
            if one is not None:
                with suppress(*self._deaf):
                    one.close()
        self._subscription = self._listener = None

    def close(self) -> None:
        """Close the connections."""
        self.up = False
        self._wake()
        self._close_listener()
        self.link.close()

    def forget(self) -> None:
        """Begin anew in a forked child, which is another process to the others."""
        self.origin, self.up = token(64), False
        self._waiting = {}
        self._forget()

    # -- looking over all keys, for operators

    def scan(self, limit: int, prefix: str = "") -> list[bytes]:
        """Return at most `limit` names of values; looks through the database in small steps and never blocks it (no KEYS). Raises AwayError."""
        found: list[bytes] = []
        cursor: Any = 0
        pattern = _escaped(self.entry(prefix)) + "*"
        while len(found) < limit:
            answer = self.ask([("SCAN", cursor, "MATCH", pattern, "COUNT", SCAN_COUNT)])[0]
            if isinstance(answer, Exception):
                raise AwayError from answer
            cursor, names = answer
            found += names
            if int(cursor) == 0:
                break
        return found[:limit]


def _escaped(text: str) -> str:
    return "".join(f"\\{letter}" if letter in "*?[]\\^" else letter for letter in text)
