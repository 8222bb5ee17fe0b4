"""The first level: values in this process, bounded by number and bytes, evicted by S3-FIFO (Yang et al., SOSP 2023).

A hit takes no lock and re-orders no list: it raises a counter of two bits. Newcomers pass through a small queue; what is asked for
again there moves to the main queue; keys lately thrown out are remembered, and go to the main queue at once when they return.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator

from ._core import Lifetime

ENTRY_BYTES = 400
"""What an entry costs beside its value and key, roughly."""
VALUE_FACTOR = 3
"""How much larger Python's objects are than their packed bytes, roughly (measured 2.5 to 4 on rows of invoices)."""
MAX_FREQUENCY = 3
SMALL_SHARE = 10


class Tally:
    """Count what happened to the keys of one prefix."""

    __slots__ = ("errors", "hits", "load_seconds", "loads", "misses", "prefix", "stale")

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self.hits = self.misses = self.stale = self.loads = self.errors = 0
        self.load_seconds = 0.0


class Entry:
    """Hold a value, until when it is fresh (and unasked for a refresh), and until when it may serve in need, in monotonic seconds."""

    __slots__ = ("frequency", "fresh", "hits", "in_main", "key", "schema", "size", "stale", "tags", "tally", "until", "value")

    def __init__(self, key: str, value: object, schema: str, size: int, tags: Collection[str], tally: Tally) -> None:  # noqa: PLR0917 - its fields
        self.key, self.value, self.schema, self.size, self.tags, self.tally = key, value, schema, size, tags, tally
        self.frequency = self.hits = 0
        self.in_main = False

    def live(self, life: Lifetime, now: float) -> None:
        """Begin to be fresh."""
        self.until = now + min(life.eager, life.fresh)
        self.fresh = now + life.fresh
        self.stale = self.fresh + life.stale


class Memory:
    """Keep entries; every change is made under one lock, a lookup needs none."""

    def __init__(self, max_keys: int, max_bytes: int) -> None:
        self.max_keys, self.max_bytes = max_keys, max_bytes
        self.entries: dict[str, Entry] = {}
        self.bytes = self.evicted = 0
        self._small_max = max(1, max_keys // SMALL_SHARE)
        self._small: OrderedDict[str, None] = OrderedDict()
        self._main: OrderedDict[str, None] = OrderedDict()
        self._ghost: OrderedDict[str, None] = OrderedDict()
        self._tagged: dict[str, set[str]] = {}
        self.lock = threading.RLock()

    def put(self, entry: Entry) -> None:
        """Keep an entry in place of an older one of its key; one that is larger than all the room there is only drops the older."""
        entry.size = entry.size * VALUE_FACTOR + len(entry.key) + ENTRY_BYTES
        with self.lock:
            key, old = entry.key, self.entries.get(entry.key)
            if old is not None:
                self._untag(old)
                self.bytes -= old.size
                entry.in_main, entry.frequency, entry.hits = old.in_main, old.frequency, old.hits
            if entry.size > self.max_bytes:
                if old is not None:
                    self._unlist(old)
                return
            if old is None:
                while len(self.entries) >= self.max_keys:
                    self._evict()
                entry.in_main = self._ghost.pop(key, self) is None
                (self._main if entry.in_main else self._small)[key] = None
            self.entries[key] = entry
            self.bytes += entry.size
            for tag in entry.tags:
                self._tagged.setdefault(tag, set()).add(key)
            while self.bytes > self.max_bytes:
                self._evict()

    def drop(self, key: str) -> bool:
        """Forget a key; tell whether it was there."""
        with self.lock:
            entry = self.entries.get(key)
            if entry is None:
                return False
            self._untag(entry)
            self.bytes -= entry.size
            self._unlist(entry)
            return True

    def drop_tag(self, tag: str) -> int:
        """Forget what carries a tag; return how many."""
        with self.lock:
            return sum(self.drop(key) for key in list(self._tagged.get(tag, ())))

    def drop_where(self, holds: Callable[[str], bool]) -> int:
        """Forget the keys for which `holds` says so; return how many."""
        with self.lock:
            return sum(self.drop(key) for key in [key for key in self.entries if holds(key)])

    def clear(self) -> int:
        """Forget everything; return how many there were."""
        with self.lock:
            count = len(self.entries)
            self.entries.clear()
            for queue in (self._small, self._main, self._ghost):
                queue.clear()
            self._tagged.clear()
            self.bytes = 0
            return count

    def alive(self, now: float) -> Iterator[Entry]:
        """Yield the entries that may still serve."""
        with self.lock:
            entries = list(self.entries.values())
        return (entry for entry in entries if entry.stale > now)

    def forget_locks(self) -> None:
        """Take a new lock in a forked child, and begin with nothing: a thread of the parent may have been in the middle of a change."""
        self.lock = threading.RLock()
        self.clear()

    def _unlist(self, entry: Entry) -> None:
        del self.entries[entry.key]
        del (self._main if entry.in_main else self._small)[entry.key]

    def _untag(self, entry: Entry) -> None:
        for tag in entry.tags:
            keys = self._tagged.get(tag)
            if keys is not None:
                keys.discard(entry.key)
                if not keys:
                    del self._tagged[tag]

    def _evict(self) -> None:
        self.evicted += 1
        if len(self._small) >= self._small_max or not self._main:
            while self._small:
                key, _ = self._small.popitem(last=False)
                entry = self.entries[key]
                if entry.frequency:
                    entry.frequency, entry.in_main = 0, True
                    self._main[key] = None
                else:
                    self._gone(entry)
                    self._ghost[key] = None
                    if len(self._ghost) > self.max_keys:
                        self._ghost.popitem(last=False)
                    return
        while self._main:
            key, _ = self._main.popitem(last=False)
            entry = self.entries[key]
            if not entry.frequency:
                self._gone(entry)
                return
            entry.frequency -= 1
            self._main[key] = None

    def _gone(self, entry: Entry) -> None:
        self._untag(entry)
        self.bytes -= entry.size
        del self.entries[entry.key]
