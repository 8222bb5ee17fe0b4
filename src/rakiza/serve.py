"""Run an application on uvicorn or granian, or a worker: one clear line when the port is taken, readiness away first on SIGTERM."""

import asyncio
import queue
import signal
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from types import FrameType

import msgspec

from rakiza._kernel import SettingsError, framework_of
from rakiza._kernel.tasks import POOL_THREADS
from rakiza.hub import Platform, platform_of

SERVERS = ("uvicorn", "granian")
BACKLOG = 2048
SIGNAL_SECONDS = 0.25
Handler = Callable[[int, FrameType | None], object] | int | None


def bind(host: str, port: int) -> socket.socket:
    """Return a listening socket; raise SettingsError in one line when the address cannot be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise SettingsError(f"cannot listen on {host}:{port}: {error.strerror}; stop the other program, or choose another port with --port") from None
    return listener


def serve_uvicorn(app: object, platform: Platform | None, host: str, port: int, on_ready: Callable[[int], None] | None = None) -> None:
    """Serve until a signal: SIGINT stops at once, SIGTERM fails readiness, waits, then stops; a second signal cuts."""
    import uvicorn

    listener = bind(host, port)

    class Server(uvicorn.Server):
        drain: asyncio.Task[None] | None = None

        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            if self.started and on_ready is not None:
                on_ready(listener.getsockname()[1])

        def handle_exit(self, sig: int, frame: FrameType | None) -> None:
            if sig == signal.SIGTERM and platform is not None and self.drain is None and not self.should_exit:
                platform.health.begin_draining()
                self.drain = asyncio.get_running_loop().create_task(self._stop_after(platform.health.settings.drain_seconds))
            else:
                super().handle_exit(sig, frame)

        async def _stop_after(self, seconds: float) -> None:
            await asyncio.sleep(seconds)
            self.should_exit = True

    config = uvicorn.Config(
        app,  # type: ignore[arg-type] # any ASGI callable or import string
        log_config=None,
        access_log=False,
        server_header=False,
        lifespan="on" if platform else "auto",
        timeout_graceful_shutdown=30,
        backlog=BACKLOG,
        proxy_headers=False,
    )
    server = Server(config)
    server.run(sockets=[listener])
    if not server.started:
        sys.exit(3)


def serve_granian(target: str, host: str, port: int, *, factory: bool = False, wsgi: bool = False) -> None:
    """Serve an import string on granian with one worker; scale by processes."""
    from granian import Granian
    from granian.constants import Interfaces

    bind(host, port).close()
    interface = Interfaces.WSGI if wsgi else Interfaces.ASGI
    threads = POOL_THREADS if wsgi else None
    Granian(
        target, address=host, port=port, interface=interface, workers=1, blocking_threads=threads, factory=factory, log_enabled=False
    ).serve()


def serve_target(target: str, server: str, host: str, port: int) -> None:
    """Serve MODULE:APP, a Flask application on granian, any other on uvicorn unless `server` says otherwise; raise SettingsError."""
    app = load(target)
    platform = platform_of(app)
    wsgi = framework_of(app) == "flask"
    server = server or ("granian" if wsgi else "uvicorn")
    if server not in SERVERS:
        raise SettingsError(f"--server {server!r}: choose one of {', '.join(SERVERS)}")
    if wsgi and server == "uvicorn":
        raise SettingsError(f"{target} is a Flask application, which uvicorn cannot serve; use --server granian")
    if server == "uvicorn":
        serve_uvicorn(app, platform, host, port)
        return
    if platform is not None:
        platform.shutdown()  # the worker process has its own
    serve_granian(target, host, port, wsgi=wsgi)


class _AtOnce(BaseException):
    """Be raised where the worker waits for its jobs when a second signal comes."""


def work(platform: Platform, on_ready: Callable[[], None], queues: Sequence[str] = (), concurrency: int | None = None) -> int:
    """Work on jobs until SIGTERM or SIGINT, then let those at work end; a second signal gives them back at once. Return how many attempts it made."""
    jobs, signals = platform.jobs, (signal.SIGTERM, signal.SIGINT)
    own = {"work": True, "queues": tuple(queues) or jobs.settings.queues, "concurrency": concurrency or jobs.settings.concurrency}
    jobs.settings = msgspec.structs.replace(jobs.settings, **own)
    asked: queue.SimpleQueue[int] = queue.SimpleQueue()  # the one queue that a signal handler may write to
    before = {one: signal.signal(one, lambda number, _frame: asked.put(number)) for one in signals}
    try:
        platform.start()
        on_ready()
        _wait(asked)
        _stop(platform, asked, before)
    finally:
        for one in signals:
            signal.signal(one, before[one])
        platform.shutdown()
    return sum(jobs.tally.totals.values())


def _wait(asked: "queue.SimpleQueue[int]") -> None:
    # A signal that comes between two steps of the interpreter and the wait itself is heard only when the wait ends.
    while True:
        with suppress(queue.Empty):
            asked.get(timeout=SIGNAL_SECONDS)
            return


def _stop(platform: Platform, asked: "queue.SimpleQueue[int]", before: Mapping[signal.Signals, Handler]) -> None:
    def at_once(_number: int, _frame: FrameType | None) -> None:
        raise _AtOnce

    workers = list(platform.jobs.workers)
    try:
        for one in before:
            signal.signal(one, at_once)
        if not asked.empty():
            raise _AtOnce
        platform.jobs.stop()
    except _AtOnce:
        for one, handler in before.items():
            signal.signal(one, handler)
        for worker in workers:
            worker.stop(0)


def load(target: str) -> object:
    """Return the application that MODULE:APP names; raise SettingsError."""
    from uvicorn.importer import ImportFromStringError, import_from_string

    try:
        return import_from_string(target)
    except ImportFromStringError as error:
        raise SettingsError(f"cannot serve {target!r}: {error}") from None
