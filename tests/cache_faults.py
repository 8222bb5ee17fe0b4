"""Caches whose Redis is killed, frozen and lied about: a line that can be cut, and callers from threads and from an event loop."""

import asyncio
import contextlib
import os
import socket
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import patience
import servers
from patience import until
from rakiza.caching import CacheManager, CachingSettings

ROUNDS = patience.ROUNDS
FREEZE_SECONDS = float(os.environ.get("RK_TEST_FREEZE_SECONDS", "1"))  # noqa: TID251 - 5 in the long form
PATHS = {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
GO = float(patience.SECONDS)
PATIENT = CachingSettings(redis_timeout_seconds=1.0)
"""For tests in which Redis must not go away by itself when the machine is busy."""


def up(*caches: CacheManager) -> None:
    """Wait until every cache uses Redis."""
    until(lambda: all(cache.state == "redis" for cache in caches), [cache.state for cache in caches])


def down(*caches: CacheManager) -> None:
    """Wait until no cache uses Redis."""
    until(lambda: all(cache.state == "fallback" for cache in caches), [cache.state for cache in caches])


class World:
    """Call a cache from this thread or on an event loop, and know the longest call."""

    def __init__(self, kind: str) -> None:
        self.kind, self.longest = kind, 0.0
        self._runner = asyncio.Runner() if kind == "asyncio" else None

    def __call__(self, cache: CacheManager, method: str, *args: Any, **options: Any) -> Any:
        """Call the method, `a…` on the loop."""
        begun = time.perf_counter()
        try:
            if self._runner is None:
                return getattr(cache, method)(*args, **options)
            return self._runner.run(getattr(cache, f"a{method}")(*args, **options))
        finally:
            self.longest = max(self.longest, time.perf_counter() - begun)

    def at_once(self, calls: list[Callable[[], Any]], later: list[Callable[[], Any]]) -> list[Any]:
        """Make calls at the same time, in threads, or `later` ones as tasks of the loop."""
        if self._runner is not None:

            async def every() -> list[Any]:
                return list(await asyncio.gather(*(call() for call in later)))

            return self._runner.run(every())
        answers: list[Any] = []
        threads = [threading.Thread(target=lambda call=call: answers.append(call()), daemon=True) for call in calls]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(GO)
        assert not any(thread.is_alive() for thread in threads)
        return answers

    def close(self) -> None:
        """End the loop."""
        if self._runner is not None:
            self._runner.close()


class Line:
    """Pass TCP connections on to a Redis; hold back, cut, slow down or spoil what goes through."""

    def __init__(self, server: servers.Redis) -> None:
        """Listen on a free port."""
        self.server, self._target = server, server.port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.delay_seconds = 0.0
        self.refusing = False
        self._held: dict[bytes, tuple[threading.Event, threading.Event]] = {}
        self._lies: list[tuple[bytes, bytes | None]] = []
        self._mutex = threading.Lock()
        self._pairs: list[tuple[socket.socket, socket.socket, threading.Event]] = []
        self._threads: list[threading.Thread] = []
        self._start(self._accept)

    def hold(self, words: bytes) -> tuple[threading.Event, threading.Event]:
        """Keep back the next request with these words; return what is set when it has come, and what lets it go on."""
        came, go = threading.Event(), threading.Event()
        with self._mutex:
            self._held[words] = (came, go)
        return came, go

    def lie(self, words: bytes, answer: bytes | None = None) -> None:
        """Answer the next request with these words by other bytes, or by the first half of the true ones, and cut the connection."""
        with self._mutex:
            self._lies.append((words, answer))

    def silence(self) -> None:
        """Pass on nothing more in the connections there are; they stay open, and nobody is told. New ones work."""
        for _, _, silent in self._pairs:
            silent.set()

    def cut(self) -> None:
        """Cut every connection and refuse new ones."""
        self.refusing = True
        for client, server, _ in list(self._pairs):
            _shut(client, server)

    def mend(self) -> None:
        """Accept connections again."""
        self.refusing = False

    def close(self) -> None:
        """Cut everything and listen no more."""
        for _, go in self._held.values():
            go.set()
        self.cut()
        _shut(self._listener)
        self._listener.close()
        for thread in self._threads:
            thread.join(GO)
        for client, server, _ in self._pairs:
            client.close()
            server.close()

    def _start(self, work: Callable[..., None], *given: object) -> None:
        thread = threading.Thread(target=work, args=given, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # of the listener, at the end
            while True:
                client, _ = self._listener.accept()
                if self.refusing:
                    client.close()
                    continue
                server = socket.socket()
                silent, lies = threading.Event(), []
                self._pairs.append((client, server, silent))
                with contextlib.suppress(OSError):
                    server.connect(("127.0.0.1", self._target))
                    self._start(self._to_server, client, server, silent, lies)
                    self._start(self._to_client, client, server, silent, lies)

    def _to_server(self, client: socket.socket, server: socket.socket, silent: threading.Event, lies: list[bytes | None]) -> None:
        with contextlib.suppress(OSError):
            while data := client.recv(1 << 20):
                held = self._meant(data, lies)
                if held is not None:
                    held[0].set()
                    held[1].wait(GO)
                if not silent.is_set():
                    server.sendall(data)
        _shut(client, server)

    def _meant(self, data: bytes, lies: list[bytes | None]) -> tuple[threading.Event, threading.Event] | None:
        with self._mutex:
            for lie in [lie for lie in self._lies if lie[0] in data][:1]:
                self._lies.remove(lie)
                lies.append(lie[1])
            words = next((words for words in self._held if words in data), None)
            return self._held.pop(words) if words is not None else None

    def _to_client(self, client: socket.socket, server: socket.socket, silent: threading.Event, lies: list[bytes | None]) -> None:
        with contextlib.suppress(OSError):
            while data := server.recv(1 << 20):
                if self.delay_seconds:
                    time.sleep(self.delay_seconds)
                if silent.is_set():
                    continue
                if lies:
                    answer = lies.pop()
                    client.sendall(data[: len(data) // 2] if answer is None else answer)
                    break
                client.sendall(data)
        _shut(client, server)


def _shut(*ends: socket.socket) -> None:
    for end in ends:
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


def ask(server: servers.Redis, *words: str) -> Any:
    """Run one command on the server by a connection of its own."""
    import redis

    with redis.Redis(port=server.port) as client:
        return client.execute_command(*words)
