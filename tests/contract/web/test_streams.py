"""Answers without end: sent as they come, given up when the client leaves or the platform drains, under ASGI and WSGI."""

import asyncio
import io
from collections.abc import AsyncGenerator, Iterator
from pathlib import Path
from typing import Any

import pytest

import laid
from rakiza import build
from rakiza._kernel import PUBLIC, Request, Response, Route
from rakiza.hub import Platform
from rakiza.web import PassCore
from rakiza.web.asgi import AsgiPass
from rakiza.web.wsgi import WsgiPass


class Source:
    """Give numbered lines, and know whether it was closed."""

    def __init__(self) -> None:
        self.closed = 0
        self.last = 10**9
        self.pause = 0.0

    async def lines(self) -> AsyncGenerator[bytes, None]:
        try:
            for number in range(self.last):
                await asyncio.sleep(self.pause)
                yield f"سطر {number}\n".encode()
        finally:
            self.closed += 1


@pytest.fixture
def source() -> Source:
    return Source()


@pytest.fixture
def core(tmp_path: Path, source: Source) -> Iterator[PassCore]:
    platform: Platform = build({"hub": {"home": str(laid.home(tmp_path, "app"))}, "logs": {"console": False}}, environ={})

    def stream(_: Request) -> Response:
        return Response(stream=source.lines(), content_type=b"text/event-stream")

    route = Route(method="GET", path="/t/stream", handler=stream, permission=PUBLIC)
    core = PassCore(platform.web, platform.ctx, [*platform.routes(), route], platform.start)
    platform._core = core
    platform.start()
    yield core
    platform.shutdown()


async def asgi(core: PassCore, leave_after: int | None = None, on_chunk: Any = None) -> list[dict[str, Any]]:
    sent: list[dict[str, Any]] = []
    left = asyncio.Event()

    async def receive() -> dict[str, Any]:
        await left.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)
        if leave_after is not None and len(sent) > leave_after:
            left.set()
        if on_chunk is not None:
            on_chunk(len(sent))

    scope = {"type": "http", "method": "GET", "path": "/t/stream", "query_string": b"", "headers": [], "scheme": "http", "client": ("203.0.113.7", 5)}
    async with asyncio.timeout(10):
        await AsgiPass(_no_app, core, lambda: None)(scope, receive, send)
    assert [task for task in asyncio.all_tasks() if task is not asyncio.current_task()] == []
    return sent


async def _no_app(scope: Any, receive: Any, send: Any) -> None:
    raise AssertionError("the stream is the platform's own")


def test_a_stream_with_an_end_is_sent_whole(core: PassCore, source: Source) -> None:
    source.last = 4
    sent = asyncio.run(asgi(core))
    assert b"".join(message.get("body", b"") for message in sent).decode() == "سطر 0\nسطر 1\nسطر 2\nسطر 3\n"
    assert sent[-1] == {"type": "http.response.body", "body": b""}
    assert source.closed == 1


@pytest.mark.parametrize("pause", [0.0, 3600.0])
def test_a_client_that_leaves_ends_the_stream_even_while_it_waits(core: PassCore, source: Source, pause: float) -> None:
    source.pause = pause
    sent = asyncio.run(asgi(core, leave_after=0 if pause else 3))
    assert len(sent) < 20
    assert source.closed == 1


def test_a_platform_that_drains_ends_the_stream(core: PassCore, source: Source) -> None:
    source.pause = 0.01
    assert core.health is not None
    begin = core.health.begin_draining
    sent = asyncio.run(asgi(core, on_chunk=lambda count: begin() if count == 3 else None))
    assert sent[-1] == {"type": "http.response.body", "body": b""}
    assert source.closed == 1


def wsgi(core: PassCore, statuses: list[str] | None = None) -> Any:
    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/t/stream", "QUERY_STRING": "", "REMOTE_ADDR": "203.0.113.7"}
    environ |= {"wsgi.url_scheme": "http", "wsgi.input": io.BytesIO()}
    return WsgiPass(_no_app, core)(environ, lambda status, *_: statuses.append(status) if statuses is not None else None)  # type: ignore[arg-type]


def test_wsgi_gets_the_same_lines_and_closes_the_stream(core: PassCore, source: Source) -> None:
    source.last = 3
    answer = wsgi(core)
    assert b"".join(answer).decode() == "سطر 0\nسطر 1\nسطر 2\n"
    answer.close()
    assert source.closed == 1


def test_a_wsgi_server_that_closes_early_closes_the_stream(core: PassCore, source: Source) -> None:
    answer = wsgi(core)
    lines = iter(answer)
    assert [next(lines), next(lines)] == ["سطر 0\n".encode(), "سطر 1\n".encode()]
    answer.close()
    assert source.closed == 1


def test_a_wsgi_stream_ends_when_the_platform_drains(core: PassCore, source: Source) -> None:
    lines = iter(wsgi(core))
    next(lines)
    assert core.health is not None
    core.health.begin_draining()
    assert list(lines) == []
    assert source.closed == 1


def test_few_threads_of_a_wsgi_server_may_follow(core: PassCore, source: Source) -> None:
    statuses: list[str] = []
    open_ones = [iter(wsgi(core, statuses)) for _ in range(2)]
    assert [next(lines) for lines in open_ones] == ["سطر 0\n".encode()] * 2
    assert b"too many streams" in b"".join(wsgi(core, statuses))
    assert statuses == ["200 OK", "200 OK", "503 Service Unavailable"]
    for lines in open_ones:
        lines.close()
    answer = wsgi(core, statuses)
    next(iter(answer))
    answer.close()
    assert statuses[-1] == "200 OK"
    assert source.closed == 3


def test_an_asgi_server_counts_its_streams(core: PassCore, source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rakiza.web.asgi.MAX_STREAMS", 0)
    assert asyncio.run(asgi(core))[0]["status"] == 503
    assert source.closed == 0
    monkeypatch.setattr("rakiza.web.asgi.MAX_STREAMS", 1)
    source.last = 1
    assert [asyncio.run(asgi(core))[0]["status"] for _ in range(2)] == [200, 200]


def test_a_stream_lasts_a_bounded_time(core: PassCore, source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    source.pause = 0.01
    monkeypatch.setattr("rakiza.web.asgi.STREAM_SECONDS", 0.05)
    assert asyncio.run(asgi(core))[-1] == {"type": "http.response.body", "body": b""}
    monkeypatch.setattr("rakiza.web.wsgi.STREAM_SECONDS", 0.05)
    assert b"".join(wsgi(core)).startswith("سطر 0".encode())
    assert source.closed == 2
