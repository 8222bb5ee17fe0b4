"""Outgoing calls: Redis and HTTP, synchronous and not; the trace goes on, secrets do not."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import httpx
import pytest
import redis
import redis.asyncio

from rakiza._kernel import use_context
from rakiza.telemetry import client_span, trace_httpx, trace_redis


@pytest.fixture
def service() -> Iterator[tuple[str, list[dict[str, str]]]]:
    """Serve `/gone` with 404 and everything else with 200, and keep the headers."""
    asked: list[dict[str, str]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append({name.lower(): value for name, value in self.headers.items()})
            self.send_response(404 if self.path.startswith("/gone") else 200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", asked
    server.shutdown()
    server.server_close()
    thread.join()


def call_now(base: str) -> None:
    with trace_httpx(httpx.Client(base_url=base)) as client:
        client.get("/ok?token=hunter2", headers={"x": "1"})
        client.get("/gone")
        with pytest.raises(httpx.ConnectError):
            client.get("http://user:hunter2@127.0.0.1:1/")


def call_later(base: str) -> None:
    async def call() -> None:
        async with trace_httpx(httpx.AsyncClient(base_url=base)) as client:
            await client.get("/ok?token=hunter2", headers={"x": "1"})
            await client.get("/gone")
            with pytest.raises(httpx.ConnectError):
                await client.get("http://user:hunter2@127.0.0.1:1/")

    asyncio.run(call())


@pytest.mark.parametrize("call", [call_now, call_later])
@pytest.mark.parametrize("ratio", [0.0, 1.0])
def test_httpx_carries_the_trace_on(watched: Any, service: tuple[str, list[dict[str, str]]], call: Callable[[str], None], ratio: float) -> None:
    base, asked = service
    site = watched(sample_ratio=ratio)
    context = site.answered(lambda: call(base), 500)
    _, ok, gone, lost = site.spans
    assert [span.name for span in (ok, gone, lost)] == ["GET"] * 3
    assert [(span.status, span.attributes.get("http.response.status_code")) for span in (ok, gone, lost)] == [
        ("unset", 200),
        ("error", 404),
        ("error", None),
    ]
    flag = "01" if ratio else "00"
    assert [headers["traceparent"] for headers in asked] == [f"00-{context.trace_id}-{span.span_id}-{flag}" for span in (ok, gone)]
    assert asked[0]["x"] == "1"
    assert ok.attributes["url.full"] == f"{base}/ok"
    assert lost.message == "ConnectError"
    assert "hunter2" not in str(site.spans)


def test_any_client_can_be_traced_by_its_headers(watched: Any) -> None:
    site = watched(sample_ratio=0.0)

    def work() -> None:
        with client_span("BREW", "https://مثال.example/قهوة?k=v") as headers:
            assert set(headers) == {"traceparent"}
            headers.status = 503

    site.answered(work, 500)
    _, span = site.spans
    assert (span.name, span.kind, span.status, span.attributes["url.full"]) == ("OTHER", "client", "error", "https://مثال.example/قهوة")


def test_without_a_platform_a_call_is_just_made() -> None:
    with client_span("GET", "https://example.com") as headers:
        headers.status = 200
    assert headers == {}


def redis_now(url: str) -> None:
    client = trace_redis(redis.Redis.from_url(url))
    client.set("المفتاح", "hunter2")
    assert client.get("المفتاح") == b"hunter2"
    with client.pipeline() as pipe:
        pipe.incr("n").incr("n")
        assert pipe.execute() == [1, 2]
    with pytest.raises(redis.ResponseError):
        client.lpush("n", "x")
    client.close()


def redis_later(url: str) -> None:
    async def call() -> None:
        client = trace_redis(redis.asyncio.Redis.from_url(url))
        await client.set("المفتاح", "hunter2")
        assert await client.get("المفتاح") == b"hunter2"
        async with client.pipeline() as pipe:
            assert await pipe.incr("n").incr("n").execute() == [1, 2]
        with pytest.raises(redis.ResponseError):
            await client.lpush("n", "x")
        await client.aclose()

    asyncio.run(call())


@pytest.mark.parametrize("call", [redis_now, redis_later])
def test_redis_commands_are_client_spans_without_keys_and_values(watched: Any, redis_url: str, call: Callable[[str], None]) -> None:
    site = watched(sample_ratio=0.0)
    context = site.answered(lambda: call(redis_url), 500)
    calls = site.spans[1:]
    assert [(span.name, span.status, span.message) for span in calls] == [
        ("SET", "unset", ""),
        ("GET", "unset", ""),
        ("PIPELINE", "unset", ""),
        ("LPUSH", "error", "ResponseError"),
    ]
    assert {span.attributes["db.system.name"] for span in calls} == {"redis"}
    assert {span.parent_id for span in calls} == {context.span_id}
    assert "hunter2" not in str(calls)
    assert "المفتاح" not in str(calls)


def test_a_frozen_redis_shows_how_long_was_waited(watched: Any, redis_server: Any) -> None:
    site = watched(sample_ratio=0.0)
    client = trace_redis(redis.Redis.from_url(redis_server.url, socket_timeout=0.3, retry=None))
    client.ping()
    redis_server.freeze()

    def work() -> None:
        with pytest.raises(redis.TimeoutError):
            client.get("a")

    try:
        site.answered(work, 500)
    finally:
        redis_server.thaw()
        client.close()
    (span,) = [each for each in site.spans if each.name == "GET"]
    assert span.status == "error"
    assert span.end - span.start >= 0.3


def test_the_same_context_in_many_threads_loses_no_call(watched: Any) -> None:
    site = watched(sample_ratio=0.0)
    context = site.begin()

    def work() -> None:
        with use_context(context):
            for _ in range(50):
                with client_span("GET", "https://example.com"):
                    pass

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    site.telemetry.finish(context, None, "/", 500, 0.1, None, secure=False)
    assert len({span.span_id for span in site.spans}) == 401
