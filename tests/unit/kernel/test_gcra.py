"""Rate limits: never more than the burst and what time gives back, in bounded memory."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rakiza._kernel import Gcra

PAUSES = st.lists(st.floats(0, 30, allow_nan=False), min_size=1, max_size=80)


@given(limit=st.integers(1, 20), per_seconds=st.floats(0.5, 120), burst=st.integers(1, 30), pauses=PAUSES, start=st.floats(0, 1e6))
def test_no_window_allows_more_than_the_burst_and_the_rate(limit: int, per_seconds: float, burst: int, pauses: list[float], start: float) -> None:
    gate = Gcra(limit, per_seconds, burst)
    now, allowed = start, []
    for pause in pauses:
        now += pause
        if gate.hit("عميل", now) == 0.0:
            allowed.append(now)
    for first in range(len(allowed)):
        for last in range(first, len(allowed)):
            window = allowed[last] - allowed[first]
            assert last - first + 1 <= burst + window * limit / per_seconds + 1e-6


@given(limit=st.integers(1, 20), per_seconds=st.floats(0.5, 120), hits=st.integers(1, 60))
def test_who_waits_as_told_is_let_in(limit: int, per_seconds: float, hits: int) -> None:
    gate = Gcra(limit, per_seconds)
    now = 1000.0
    for _ in range(hits):
        wait = gate.hit("k", now)
        if wait:
            assert wait <= per_seconds + 1e-6
            now += wait
            assert gate.hit("k", now) == 0.0


@given(limit=st.integers(1, 30), used=st.integers(0, 40))
def test_what_remains_is_what_is_still_allowed(limit: int, used: int) -> None:
    gate = Gcra(limit, 60)
    for _ in range(used):
        gate.hit("k", 5.0)
    remaining = gate.remaining("k", 5.0)
    assert remaining == max(0, limit - used)
    assert [gate.hit("k", 5.0) for _ in range(remaining)] == [0.0] * remaining
    assert gate.hit("k", 5.0) > 0


def test_keys_are_apart_and_can_be_forgotten() -> None:
    gate = Gcra(1, 60)
    assert [gate.hit("a", 0.0), gate.hit("b", 0.0)] == [0.0, 0.0]
    assert gate.hit("a", 0.0) > 0
    gate.forget("a")
    assert gate.hit("a", 0.0) == 0.0


@given(st.integers(1, 64), st.lists(st.tuples(st.integers(0, 500), st.floats(0, 5)), max_size=300))
def test_the_keys_held_are_bounded(most: int, hits: list[tuple[int, float]]) -> None:
    gate, now = Gcra(2, 10, max_keys=most), 0.0
    for key, pause in hits:
        now += pause
        gate.hit(key, now)
        assert len(gate) <= most


def test_a_flood_of_new_keys_does_not_free_the_one_that_hits_most() -> None:
    gate = Gcra(10, 60, max_keys=100)
    for _ in range(10):
        gate.hit("attacker", 0.0)
    for number in range(100):
        gate.hit(number, 0.0)
    assert gate.hit("attacker", 0.0) > 0


def test_another_thread_may_forget_a_key_in_the_middle_of_a_sweep() -> None:
    gate = Gcra(1, 1000, max_keys=8)
    for number in range(8):
        gate.hit(number, 0.0)
    left = list(range(8))

    class Meddling(float):
        """Be the time that the sweep compares each key with; a comparison is when another thread acts."""

        def __lt__(self, other: float) -> bool:
            if left:
                gate.forget(left.pop())
            return float(self) < other

    assert gate.hit("new", Meddling(0.0)) == 0.0
    assert not left
    assert len(gate) <= 8


@pytest.mark.parametrize(("limit", "per_seconds"), [(0, 60), (1, 0), (-1, 1)])
def test_limits_that_are_none_are_refused(limit: int, per_seconds: float) -> None:
    with pytest.raises(ValueError, match="at least one hit"):
        Gcra(limit, per_seconds)
