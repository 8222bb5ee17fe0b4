"""Outgoing calls against real servers that fail in every way: tried again where they may, never longer than they may, stopped where it hurts."""

import asyncio
import contextlib
import io
import threading

import aiohttp
import httpx
import pytest

from call_servers import SLOW_BODY, SLOW_HEAD, Caller, Service, hang, hang_up, head_only, reply, service
from patience import until
from rakiza._kernel import deadline
from rakiza.outbound import Outbound, OutboundSettings
from rakiza.resilience import BulkheadFullError, CircuitBreaker, CircuitOpenError

KINDS = ("httpx", "async_httpx", "aiohttp")


@pytest.fixture(params=KINDS)
def caller(request: pytest.FixtureRequest) -> Caller:
    """Return a caller that takes `localhost` for a host of its own."""
    return Caller(request.param, Outbound(OutboundSettings(internal_hosts=("localhost",), total_seconds=20.0)))


@pytest.fixture
def failure(caller: Caller) -> type[Exception]:
    """Return what a caller raises for a connection that fails."""
    return aiohttp.ClientConnectionError if caller.kind == "aiohttp" else httpx.TransportError


def test_a_call_gets_its_answer(caller: Caller) -> None:
    with service(reply(body="رصيدك ١٠٠")) as bank:
        got = caller.call("POST", bank.url() + "/رصيد", body="من فضلك".encode(), headers={"x-a": "1"})
        assert (got.status, got.text) == (200, "رصيدك ١٠٠")
        (seen,) = bank.seen
        assert (seen.method, seen.body.decode(), seen.headers["x-a"]) == ("POST", "من فضلك", "1")
        assert seen.headers["host"] == f"localhost:{bank.port}"


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS"])
def test_what_may_be_repeated_is_tried_again_after_a_reset(caller: Caller, method: str) -> None:
    with service(hang_up, hang_up, head_only if method == "HEAD" else reply()) as bank:
        got = caller.call(method, bank.url(), body=b"x" if method == "PUT" else None)
        assert got.status == 200
        assert [seen.method for seen in bank.seen] == [method] * 3


def test_the_attempts_end(caller: Caller, failure: type[Exception]) -> None:
    with service(hang_up) as bank:
        with pytest.raises(failure):
            caller.call("GET", bank.url())
        assert len(bank.seen) == 3
        with pytest.raises(failure):
            caller.call("GET", bank.url(), attempts=1)
        assert len(bank.seen) == 4


@pytest.mark.parametrize("method", ["POST", "PATCH"])
def test_what_must_not_be_done_twice_is_tried_once(caller: Caller, failure: type[Exception], method: str) -> None:
    with service(hang_up) as bank:
        with pytest.raises(failure):
            caller.call(method, bank.url(), body=b"x")
        assert len(bank.seen) == 1


def test_a_post_with_a_key_is_tried_again_with_the_same_key_and_body(caller: Caller) -> None:
    with service(hang_up, reply(201)) as bank:
        assert caller.call("POST", bank.url(), body="فاتورة".encode(), headers={"Idempotency-Key": "k1"}).status == 201
        assert [(seen.headers["idempotency-key"], seen.body.decode()) for seen in bank.seen] == [("k1", "فاتورة")] * 2


def test_a_body_that_streams_is_sent_once(caller: Caller, failure: type[Exception]) -> None:
    with service(hang_up) as bank:
        with pytest.raises(failure):
            caller.call("PUT", bank.url(), body=iter([b"a", b"b"]))
        assert len(bank.seen) == 1


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_a_busy_host_is_asked_again(caller: Caller, status: int) -> None:
    with service(reply(status, retry_after="0"), reply(status), reply(body="عاد")) as bank:
        assert caller.call("GET", bank.url()).text == "عاد"
        assert len(bank.seen) == 3


@pytest.mark.parametrize("status", [400, 404, 500, 501])
def test_any_other_answer_is_an_answer(caller: Caller, status: int) -> None:
    with service(reply(status, body="لا")) as bank:
        got = caller.call("GET", bank.url())
        assert (got.status, got.text, len(bank.seen)) == (status, "لا", 1)


def test_who_stays_busy_gives_the_last_answer(caller: Caller) -> None:
    with service(reply(503, "أول"), reply(503, "ثان"), reply(503, "ثالث")) as bank:
        got = caller.call("GET", bank.url())
        assert (got.status, got.text, len(bank.seen)) == (503, "ثالث", 3)


def test_a_busy_answer_gives_its_connection_back_before_the_next_attempt(caller: Caller) -> None:
    with service(reply(503, "x" * 500_000), reply(503, "x" * 500_000), reply(body="عاد")) as bank:
        assert caller.call("GET", bank.url(), at_once=1, attempt_seconds=2.0).text == "عاد"


@pytest.mark.parametrize("wait", ["15", "Fri, 01 Jan 2100 00:00:00 GMT"])
def test_a_pause_longer_than_the_time_left_is_not_waited_for(caller: Caller, wait: str) -> None:
    with service(reply(503, "مشغول", retry_after=wait)) as bank:
        got = caller.call("GET", bank.url(), total_seconds=10.0)
        assert (got.status, got.text, got.headers["retry-after"], len(bank.seen)) == (503, "مشغول", wait, 1)


@pytest.mark.parametrize("answer", [hang, SLOW_HEAD])
def test_an_attempt_that_takes_too_long_is_tried_again(caller: Caller, answer: object) -> None:
    with service(answer, answer, reply(body="أخيرا")) as bank:
        assert caller.call("GET", bank.url(), attempt_seconds=0.4).text == "أخيرا"
        assert len(bank.seen) == 3


@pytest.mark.parametrize("answer", [hang, SLOW_HEAD, SLOW_BODY])
def test_a_call_ends_with_its_total_time(caller: Caller, answer: object) -> None:
    with service(answer) as bank, pytest.raises(TimeoutError):
        caller.call("GET", bank.url(), total_seconds=0.5)


@pytest.mark.parametrize("answer", [hang, SLOW_HEAD])
def test_a_call_ends_with_the_deadline_of_who_makes_it(caller: Caller, answer: object) -> None:
    with service(answer) as bank, deadline(0.5), pytest.raises(TimeoutError):
        caller.call("GET", bank.url())


def test_a_body_read_later_ends_with_the_call() -> None:
    outbound = Outbound(OutboundSettings(internal_hosts=("localhost",), total_seconds=0.6))
    with service(SLOW_BODY, reply(body="بعدها")) as bank, outbound.http_client("bank", bank.url()) as client:
        with client.stream("GET", "/") as answer, pytest.raises(httpx.ReadTimeout):
            answer.read()
        assert client.get("/").text == "بعدها"


def test_a_body_read_later_on_an_event_loop_ends_with_the_call() -> None:
    outbound = Outbound(OutboundSettings(internal_hosts=("localhost",), total_seconds=0.6))

    async def calls(bank: Service) -> str:
        async with outbound.async_http_client("bank", bank.url()) as client:
            async with client.stream("GET", "/") as answer:
                with pytest.raises(httpx.ReadTimeout):
                    await answer.aread()
            return (await client.get("/")).text

    with service(SLOW_BODY, reply(body="بعدها")) as bank:
        assert asyncio.run(calls(bank)) == "بعدها"


@pytest.mark.parametrize("kind", ["async_httpx", "aiohttp"])
def test_a_cancelled_call_leaves_nothing_behind(kind: str) -> None:
    outbound = Outbound(OutboundSettings(internal_hosts=("localhost",), at_once=1, queue=0))

    async def calls(bank: Service) -> int:
        async with outbound.async_http_client("bank") if kind == "async_httpx" else outbound.aiohttp_session("bank") as client:
            for _ in range(3):
                task = asyncio.ensure_future(client.get(bank.url()))
                await asyncio.to_thread(until, lambda: bool(bank.seen))
                bank.seen.clear()
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
            answer = await client.get(bank.url())
            return answer.status_code if isinstance(answer, httpx.Response) else answer.status

    with service(hang, hang, hang, reply()) as bank:
        assert asyncio.run(calls(bank)) == 200
        assert CircuitBreaker.shelf.get(f"bank localhost:{bank.port}").stats().calls_in_window == 1


@pytest.mark.parametrize("kind", ["httpx", "async_httpx"])
@pytest.mark.parametrize("slowly", [True, False])
def test_who_takes_no_body_or_takes_it_slowly_does_not_hold_the_call(kind: str, slowly: bool) -> None:
    caller = Caller(kind, Outbound(OutboundSettings(internal_hosts=("localhost",), total_seconds=2.0 if slowly else 0.5)))
    with service(reply(), takes_bodies=slowly, slowly=slowly) as bank:
        with pytest.raises(TimeoutError):
            caller.call("PUT", bank.url(), body=b"x" * 30_000_000)
        assert bank.taken < 15_000_000, "in two seconds hardly half as much can be taken: the rest was not sent"


def test_who_takes_no_body_does_not_hold_a_session() -> None:
    async def call(bank: Service) -> None:
        outbound = Outbound(OutboundSettings(internal_hosts=("localhost",), total_seconds=0.5))
        async with outbound.aiohttp_session("bank") as session:
            with pytest.raises(TimeoutError):
                await session.put(bank.url(), data=io.BytesIO(b"x" * 30_000_000))
        bank.over.set()
        await asyncio.to_thread(until, lambda: bank.open == 0)
        await asyncio.sleep(0.05)  # the loop hears that the server hung up

    with service(reply(), takes_bodies=False) as bank:
        asyncio.run(call(bank))


def test_a_host_that_fails_is_left_alone_and_no_other_with_it(caller: Caller, failure: type[Exception]) -> None:
    with service(hang_up) as down, service(reply()) as up:
        for _ in range(10):
            with pytest.raises(failure):
                caller.call("POST", down.url())
        with pytest.raises(CircuitOpenError) as caught:
            caller.call("POST", down.url())
        assert caught.value.retry_after_seconds > 0
        assert len(down.seen) == 10
        assert caller.call("POST", up.url()).status == 200
        breakers = {breaker.name: breaker.state for breaker in CircuitBreaker.shelf.all()}
        assert breakers[f"bank localhost:{down.port}"] == "open"
        assert breakers[f"bank localhost:{up.port}"] == "closed"


def test_answers_of_the_server_count_and_those_for_the_caller_do_not(caller: Caller) -> None:
    with service(reply(500)) as broken, service(reply(404)) as strict, service(reply(429)) as asked:
        for _ in range(12):
            for one in (strict, asked):
                caller.call("POST", one.url())
        for _ in range(10):
            caller.call("POST", broken.url())
        with pytest.raises(CircuitOpenError):
            caller.call("POST", broken.url())
        assert [len(one.seen) for one in (broken, strict, asked)] == [10, 12, 12]


def test_retries_are_but_a_share_of_the_calls(caller: Caller) -> None:
    with service(reply(429, retry_after="0")) as bank:
        for _ in range(8):
            assert caller.call("GET", bank.url(), retry_share=0.0).status == 429
        assert len(bank.seen) == 8 + 10, "ten are in the budget at first, and no call adds one"


def test_so_many_calls_at_once_and_no_more(caller: Caller) -> None:
    with service(hang, reply()) as bank:
        options = {"at_once": 1, "queue": 0, "attempts": 1, "total_seconds": 10.0, "attempt_seconds": 10.0}

        def one() -> None:
            with contextlib.suppress(httpx.TransportError, aiohttp.ClientError):
                caller.call("GET", bank.url(), **options)

        first = threading.Thread(target=one)
        first.start()
        until(lambda: bool(bank.seen))
        with pytest.raises(BulkheadFullError):
            caller.call("GET", bank.url(), **options)
        bank.over.set()
        first.join()
