"""Ids, clocks, the request context and cookies."""

import asyncio
import os
import random
import re
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rakiza._kernel import (
    DEFAULT_TENANT,
    SYSTEM_CLOCK,
    RequestContext,
    WorkerPool,
    current,
    deadline,
    draw,
    span_id,
    time_left,
    token,
    trace_id,
    use_context,
    uuid7,
)
from rakiza._kernel.attach import framework_of
from rakiza._kernel.http import cookie_value
from rakiza.testing import FrozenClock


def test_uuids_have_version_7_and_sort_by_time() -> None:
    clock = FrozenClock(datetime(2026, 11, 24, tzinfo=UTC))
    made = []
    for _ in range(200):
        made.append(uuid7(clock))
        clock.advance(0.001)
    assert made == sorted(made)
    assert {(value.version, value.variant) for value in made} == {(7, "specified in RFC 4122")}
    assert made[0].int >> 80 == int(datetime(2026, 11, 24, tzinfo=UTC).timestamp() * 1000)
    assert len({uuid7(clock) for _ in range(1000)}) == 1000


def test_trace_ids_have_their_width_and_differ() -> None:
    assert all(re.fullmatch("[0-9a-f]{32}", trace_id()) for _ in range(50))
    assert all(re.fullmatch("[0-9a-f]{16}", span_id()) for _ in range(50))
    assert len({trace_id() for _ in range(1000)}) == 1000


def test_a_forked_child_makes_other_ids() -> None:
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(write_end, trace_id().encode())
        os._exit(0)
    os.waitpid(child, 0)
    os.close(write_end)
    with os.fdopen(read_end) as answer:
        assert answer.read() != trace_id()


def test_tokens_have_the_bits_asked_for() -> None:
    assert len(token(256)) == 43
    assert re.fullmatch(r"[\w-]+", token())


def test_the_context_ends_with_its_block_even_by_an_error() -> None:
    outer, inner = RequestContext("r1", "t" * 32, "s" * 16, sampled=True), RequestContext("r2", "t" * 32, "s" * 16)
    assert current() is None
    with use_context(outer) as seen:
        assert seen is current() is outer
        with pytest.raises(KeyError), use_context(inner):
            assert current() is inner
            raise KeyError
        assert current() is outer
    assert current() is None
    assert outer.tenant == DEFAULT_TENANT
    assert outer.traceparent == f"00-{'t' * 32}-{'s' * 16}-01"
    assert inner.traceparent.endswith("-00")
    assert outer.expires_at == 0.0


def test_without_a_deadline_there_is_no_time_left_to_tell() -> None:
    assert time_left() is None
    with use_context(RequestContext("r1", "t" * 32, "s" * 16)):
        assert time_left() is None


def test_a_deadline_can_only_shorten() -> None:
    with deadline(100):
        assert 99 < left() <= 100
        with deadline(1000):
            assert 99 < left() <= 100
            with deadline(10), deadline(50):
                assert 9 < left() <= 10
        assert 99 < left() <= 100
    assert time_left() is None


def test_the_request_and_the_blocks_share_the_nearest_deadline() -> None:
    context = RequestContext("r1", "t" * 32, "s" * 16)
    context.expires_at = SYSTEM_CLOCK.monotonic() + 50
    with deadline(100), use_context(context):
        assert 49 < left() <= 50
        with deadline(100):
            assert 49 < left() <= 50
        with deadline(5):
            assert 4 < left() <= 5
    context.expires_at = SYSTEM_CLOCK.monotonic() - 1
    with use_context(context), deadline(100):
        assert left() == 0.0


def test_a_deadline_ends_with_its_block_and_travels_to_threads_and_tasks() -> None:
    pool, told = WorkerPool(1), []

    async def inside() -> None:
        told.append(left())

    with pytest.raises(KeyError), deadline(10):
        told.append(pool.submit(left).result())
        asyncio.run(inside())
        raise KeyError
    pool.close()
    assert all(9 < seconds <= 10 for seconds in told)
    assert len(told) == 2
    assert time_left() is None


@pytest.mark.parametrize("seconds", [-1, float("nan")])
def test_a_deadline_is_a_time(seconds: float) -> None:
    with pytest.raises(ValueError, match="number of seconds"), deadline(seconds):
        pass


def left() -> float:
    seconds = time_left()
    assert seconds is not None
    return seconds


def test_a_frozen_clock_moves_only_when_told() -> None:
    clock = FrozenClock()
    before = clock.now()
    clock.advance(1.5)
    assert ((clock.now() - before).total_seconds(), clock.monotonic()) == (1.5, 1.5)


NAME = st.text("abcdefg_-", min_size=1, max_size=8)
VALUE = st.text("abcXYZ019=._~%", max_size=12)


@given(st.dictionaries(NAME, VALUE, max_size=6), NAME)
def test_a_cookie_is_found_by_its_whole_name(cookies: dict[str, str], name: str) -> None:
    header = "; ".join(f"{key}={value}" for key, value in cookies.items()).encode()
    assert cookie_value(header, name.encode()) == cookies.get(name)


@pytest.mark.parametrize(
    ("header", "found"),
    [(b"", None), (b"sid=1", "1"), (b"asid=2;sid=1", "1"), (b"sid", ""), (b"x=sid", None), (b"sid=a; sid=b", "a"), (b" sid=caf\xe9", "café")],
)
def test_odd_cookie_headers(header: bytes, found: str | None) -> None:
    assert cookie_value(header, b"sid") == found


def test_applications_are_known_by_their_classes() -> None:
    flask, starlette, fastapi = pytest.importorskip("flask"), pytest.importorskip("starlette.applications"), pytest.importorskip("fastapi")

    class Own(starlette.Starlette):
        """Derive, as applications do."""

    assert [framework_of(app) for app in (flask.Flask("x"), Own(), fastapi.FastAPI())] == ["flask", "starlette", "fastapi"]
    assert framework_of(lambda scope, receive, send: None) == "asgi"
    with pytest.raises(TypeError, match="cannot integrate int"):
        framework_of(1)


def test_moments_are_spread_without_the_random_of_the_application() -> None:
    random.seed(7)
    before = random.getstate()
    drawn = [draw() for _ in range(100)]
    assert random.getstate() == before
    assert all(0 <= one < 1 for one in drawn)
    assert len(set(drawn)) > 90
