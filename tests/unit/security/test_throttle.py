"""Slowing down guesses, and the memory of sessions."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rakiza._kernel import Principal
from rakiza.security._core import LOCK_SECONDS, MAX_WAIT_SECONDS, backoff_seconds
from rakiza.security._memory import SessionMemory
from rakiza.security._roles import Roles
from rakiza.security._throttle import Throttle
from rakiza.testing import FrozenClock


def test_the_wait_doubles_and_has_a_roof_but_no_lock_before_a_hundred() -> None:
    assert [backoff_seconds(n) for n in (0, 4, 5, 6, 7, 14)] == [0, 0, 1, 2, 4, 512]
    assert backoff_seconds(99) == MAX_WAIT_SECONDS
    assert backoff_seconds(100) == LOCK_SECONDS


@given(st.integers(min_value=0, max_value=10_000))
def test_one_more_failure_never_shortens_the_wait(failures: int) -> None:
    assert backoff_seconds(failures) <= backoff_seconds(failures + 1)


def test_an_account_has_five_attempts_then_waits_longer_each_time() -> None:
    clock = FrozenClock()
    throttle = Throttle(5, 1000, clock)
    for _ in range(5):
        assert throttle.wait("default a@x", "203.0.113.1") == 0.0
        throttle.failed("default a@x")
    assert throttle.wait("default a@x", "203.0.113.2") > 0
    assert throttle.wait("default b@x", "203.0.113.2") == 0.0
    for _ in range(8):
        throttle.failed("default a@x")
    clock.advance(250)
    assert 0 < throttle.wait("default a@x", "203.0.113.2") <= 6
    clock.advance(10)
    assert throttle.wait("default a@x", "203.0.113.2") == 0.0


def test_success_gives_the_whole_allowance_back() -> None:
    throttle = Throttle(2, 1000, FrozenClock())
    for _ in range(20):
        assert throttle.wait("default a@x", "") == 0.0
        throttle.failed("default a@x")
        throttle.succeeded("default a@x")


def test_an_address_is_limited_across_accounts() -> None:
    throttle = Throttle(5, 3, FrozenClock())
    assert [throttle.wait(f"default {n}@x", f"2001:db8::{n}") for n in range(1, 4)] == [0.0, 0.0, 0.0]
    assert throttle.wait("default 9@x", "2001:db8::9") > 0
    assert throttle.wait("default 9@x", "2001:db8:0:1::9") == 0.0


def person(key: int) -> Principal:
    return Principal(str(key), "خالد", "k@x", "member", frozenset(), "user", key)


def test_memory_forgets_in_time_and_on_demand() -> None:
    clock = FrozenClock()
    memory = SessionMemory(5.0, 100, clock)
    memory.put("a", person(1), memory.generation, 1000)
    memory.put("b", person(2), memory.generation, 2.0)
    assert memory.get("a") == person(1)
    clock.advance(3)
    assert (memory.get("a"), memory.get("b")) == (person(1), None)
    memory.forget("a")
    assert memory.get("a") is None


def test_what_was_read_before_a_revocation_is_not_kept_after_it() -> None:
    memory = SessionMemory(5.0, 100, FrozenClock())
    before = memory.generation
    memory.forget_user(7)
    memory.put("a", person(7), before, 1000)
    assert memory.get("a") is None


def test_forgetting_a_user_leaves_others() -> None:
    memory = SessionMemory(5.0, 100, FrozenClock())
    for token, key in (("a", 1), ("b", 1), ("c", 2)):
        memory.put(token, person(key), memory.generation, 1000)
    memory.forget_user(1)
    assert [memory.get(token) is not None for token in "abc"] == [False, False, True]
    memory.clear()
    assert memory.get("c") is None


def test_memory_is_bounded_and_keeps_the_latest() -> None:
    memory = SessionMemory(5.0, 10, FrozenClock())
    for number in range(1000):
        memory.put(str(number), person(number), memory.generation, 1000)
        assert len(memory._entries) <= 10
    assert memory.get("999") is not None
    tiny = SessionMemory(5.0, 1, FrozenClock())
    tiny.put("a", person(1), 0, 1000)
    tiny.put("b", person(2), 0, 1000)
    assert tiny.get("b") is not None
    assert len(tiny._entries) == 1


def test_roles_grow_and_unknown_ones_may_nothing() -> None:
    roles = Roles()
    roles.define("admin", {"projects.create"})
    roles.define("مهندس الموقع", {"boq.read"})
    assert {"ops.admin", "users.manage", "projects.create"} <= roles.permissions("admin")
    assert roles.permissions("viewer") == {"ops.read"}
    assert roles.permissions("مهندس الموقع") == {"boq.read"}
    assert roles.permissions("nobody") == frozenset()
    assert "member" in roles
    assert "nobody" not in roles
    with pytest.raises(ValueError, match="name"):
        roles.define(" ", ())
