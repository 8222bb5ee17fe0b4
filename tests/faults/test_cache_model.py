"""A model of two processes on one Redis that comes and goes: none falls behind its own invalidations, nor, at last, the other's."""

from contextlib import suppress

from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

import servers
from cache_faults import PATIENT, ROUNDS, Line, until, up
from rakiza.caching import CacheManager

KEYS = {"a:1": ("x",), "b:1": ("x", "y"), "c:1": ()}
KEY, SIDE, TAG = st.sampled_from(sorted(KEYS)), st.integers(0, 1), st.sampled_from(["x", "y"])


class Processes(RuleBasedStateMachine):
    """Two caches, and a table of versions they show."""

    server: servers.Redis

    @initialize()
    def begin(self) -> None:
        self.server.flush()
        self.line = Line(self.server)
        self.caches = [CacheManager(True, {"url": self.line.url}, settings=PATIENT) for _ in range(2)]
        up(*self.caches)
        self.table = dict.fromkeys(KEYS, 0)
        self.least = [dict.fromkeys(KEYS, 0) for _ in range(2)]
        """The version each process must not fall behind: that of its own last invalidation."""

    def teardown(self) -> None:
        with suppress(AttributeError):  # nothing began
            for cache in self.caches:
                cache.close()
            self.line.close()

    def write(self, side: int, keys: list[str]) -> None:
        for key in keys:
            self.table[key] += 1
            self.least[side][key] = self.table[key]

    def load(self, side: int, key: str) -> int:
        return self.caches[side].get_or_load(key, lambda: self.table[key], tags=KEYS[key])

    @rule(side=SIDE, key=KEY)
    def show(self, side: int, key: str) -> None:
        assert self.load(side, key) >= self.least[side][key]

    @rule(side=SIDE, key=KEY)
    def look(self, side: int, key: str) -> None:
        found = self.caches[side].get(key)
        assert found is None or (isinstance(found, int) and found >= self.least[side][key])

    @rule(side=SIDE, key=KEY)
    def delete(self, side: int, key: str) -> None:
        self.write(side, [key])
        self.caches[side].delete(key)

    @rule(side=SIDE, key=KEY)
    def set(self, side: int, key: str) -> None:
        self.write(side, [key])
        self.caches[side].set(key, self.table[key], tags=KEYS[key])

    @rule(side=SIDE, tag=TAG)
    def invalidate(self, side: int, tag: str) -> None:
        self.write(side, [key for key, tags in KEYS.items() if tag in tags])
        self.caches[side].invalidate_tag(tag)

    @rule(side=SIDE)
    def clear(self, side: int) -> None:
        self.write(side, list(KEYS))
        self.caches[side].clear()

    @rule(side=SIDE, key=KEY)
    def write_during_a_load(self, side: int, key: str) -> None:
        def load() -> int:
            read = self.table[key]
            self.write(side, [key])
            self.caches[side].delete(key)
            return read

        self.caches[1 - side].get_or_load(key, load, tags=KEYS[key])

    @rule()
    def lose_redis(self) -> None:
        self.line.cut()

    @rule()
    def find_redis(self) -> None:
        self.line.mend()

    @rule()
    def settle(self) -> None:
        self.line.mend()
        until(self.settled, (self.table, self.least))

    def settled(self) -> bool:
        latest = {key: max(least[key] for least in self.least) for key in KEYS}
        return all(self.load(side, key) >= latest[key] for side in (0, 1) for key in KEYS)

    @invariant()
    def never_newer_than_the_table(self) -> None:
        for cache in getattr(self, "caches", ()):
            assert all(entry.value <= self.table[key] for key, entry in list(cache.memory.entries.items()))


def test_nobody_falls_behind_an_invalidation(redis_server: servers.Redis) -> None:
    Processes.server = redis_server
    no_shrinking = (Phase.explicit, Phase.generate)  # each failure waits for half a minute
    run_state_machine_as_test(Processes, settings=settings(max_examples=12 * ROUNDS, stateful_step_count=20, deadline=None, phases=no_shrinking))
