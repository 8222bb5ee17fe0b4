"""The first level against plain models: bounded, exact in what it counts, and better than LRU."""

import itertools
import random
import threading
from collections import OrderedDict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from rakiza.caching._core import Lifetime
from rakiza.caching._memory import ENTRY_BYTES, VALUE_FACTOR, Entry, Memory, Tally

KEYS = st.sampled_from([f"k:{number}" for number in range(30)])
TAGS = st.sets(st.sampled_from(["مشروع:1", "مشروع:2", "tenant"]), max_size=2).map(lambda tags: tuple(sorted(tags)))


def entry(key: str, value: object = None, size: int = 10, tags: tuple[str, ...] = (), seconds: float = 100.0) -> Entry:
    made = Entry(key, value, "", size, tags, Tally("k"))
    made.live(Lifetime(seconds, seconds, 0.0), 0.0)
    return made


class Model(RuleBasedStateMachine):
    """What is in memory is a part of what was put, never more than there is room for, and every number of it adds up."""

    def __init__(self) -> None:
        super().__init__()
        self.memory = Memory(12, 12_000)
        self.put: dict[str, tuple[int, tuple[str, ...]]] = {}
        self.numbers = itertools.count()

    @rule(key=KEYS, size=st.integers(0, 1500), tags=TAGS)
    def keep(self, key: str, size: int, tags: tuple[str, ...]) -> None:
        number = next(self.numbers)
        self.memory.put(entry(key, number, size, tags))
        if size * VALUE_FACTOR + len(key) + ENTRY_BYTES > 12_000:
            self.put.pop(key, None)
        else:
            self.put[key] = (number, tags)

    @rule(key=KEYS, times=st.integers(1, 5))
    def use(self, key: str, times: int) -> None:
        found = self.memory.entries.get(key)
        if found is not None:
            found.frequency = min(3, found.frequency + times)

    @rule(key=KEYS)
    def drop(self, key: str) -> None:
        assert self.memory.drop(key) == (key in self.memory.entries or False) or key not in self.memory.entries
        self.put.pop(key, None)

    @rule(tag=st.sampled_from(["مشروع:1", "مشروع:2", "tenant"]))
    def drop_tag(self, tag: str) -> None:
        carrying = {key for key, held in self.memory.entries.items() if tag in held.tags}
        assert self.memory.drop_tag(tag) == len(carrying)
        self.put = {key: (number, tags) for key, (number, tags) in self.put.items() if tag not in tags}

    @rule()
    def clear(self) -> None:
        self.memory.clear()
        self.put.clear()

    @invariant()
    def adds_up(self) -> None:
        memory = self.memory
        assert {key: (held.value, held.tags) for key, held in memory.entries.items()}.items() <= self.put.items()
        assert len(memory.entries) <= memory.max_keys
        assert memory.bytes == sum(held.size for held in memory.entries.values()) <= memory.max_bytes
        assert set(memory._small) | set(memory._main) == set(memory.entries)
        assert not set(memory._small) & set(memory._main)
        assert {key for key, held in memory.entries.items() if held.in_main} == set(memory._main)
        assert len(memory._ghost) <= memory.max_keys
        tagged: dict[str, set[str]] = {}
        for key, held in memory.entries.items():
            for tag in held.tags:
                tagged.setdefault(tag, set()).add(key)
        assert memory._tagged == tagged


TestModel = Model.TestCase
TestModel.settings = settings(max_examples=60, stateful_step_count=40)


def zipf(exponent: float, keys: int, count: int, seed: int) -> list[int]:
    chance = random.Random(seed)  # noqa: S311 - a trace, not a secret
    weights = list(itertools.accumulate(1 / (rank**exponent) for rank in range(1, keys + 1)))
    return chance.choices(range(keys), cum_weights=weights, k=count)


@pytest.mark.parametrize(("exponent", "share"), [(0.8, 0.01), (0.8, 0.05), (1.0, 0.01), (1.0, 0.05)])
def test_more_is_hit_than_with_lru(exponent: float, share: float) -> None:
    trace = zipf(exponent, 10_000, 40_000, seed=7)
    capacity = int(10_000 * share)
    memory, lru = Memory(capacity, 2**40), OrderedDict[int, None]()
    hits = lru_hits = 0
    for number in trace:
        found = memory.entries.get(str(number))
        if found is not None:
            hits += 1
            found.frequency = min(3, found.frequency + 1)
        else:
            memory.put(entry(str(number)))
        if number in lru:
            lru_hits += 1
            lru.move_to_end(number)
        else:
            lru[number] = None
            if len(lru) > capacity:
                lru.popitem(last=False)
    assert hits / len(trace) >= lru_hits / len(trace) + 0.05, (hits / len(trace), lru_hits / len(trace))


def test_many_threads_leave_it_whole() -> None:
    memory = Memory(50, 10**9)
    failures: list[BaseException] = []

    def work(seed: int) -> None:
        chance = random.Random(seed)  # noqa: S311 - which operation comes next
        try:
            for _ in range(3_000):
                key = f"k:{chance.randrange(200)}"
                match chance.randrange(8):
                    case 0:
                        memory.drop(key)
                    case 1:
                        memory.drop_tag(f"t{chance.randrange(5)}")
                    case 2 | 3 | 4:
                        memory.put(entry(key, tags=(f"t{chance.randrange(5)}",)))
                    case _:
                        found = memory.entries.get(key)
                        if found is not None:
                            found.frequency = min(3, found.frequency + 1)
        except BaseException as error:
            failures.append(error)
            raise

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert set(memory._small) | set(memory._main) == set(memory.entries)
    assert memory.bytes == sum(held.size for held in memory.entries.values())


@given(st.lists(st.tuples(KEYS, st.integers(0, 50)), max_size=60))
def test_the_newest_value_of_a_key_is_the_one_there(puts: list[tuple[str, int]]) -> None:
    memory = Memory(1_000, 10**9)
    for key, number in puts:
        memory.put(entry(key, number))
    assert {key: held.value for key, held in memory.entries.items()} == dict(puts)
