"""Real HTTP servers for outgoing calls: they answer as told, hang, hang up, drip, or take nothing; and callers of every kind of client."""

import asyncio
import contextlib
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from rakiza.outbound import Outbound

Answer = Callable[[socket.socket, threading.Event], object]
DRIP_SECONDS = 0.05


@dataclass
class Seen:
    """Hold a request a server got."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Service:
    """Answer the requests one after another with `answers`, the last one again and again."""

    answers: list[Answer] = field(default_factory=list)
    seen: list[Seen] = field(default_factory=list)
    names: list[str | None] = field(default_factory=list)
    """The names TLS clients asked for."""
    port: int = 0
    over: threading.Event = field(default_factory=threading.Event)
    takes_bodies: bool = True
    taken: int = 0
    """Bytes of bodies that came after the heads."""
    slowly: bool = False
    """Whether bodies are taken at some three megabytes a second, so that no single step ever waits long."""
    open: int = 0
    """Connections that are open."""

    def url(self, host: str = "localhost", scheme: str = "http") -> str:
        """Return the address under a name."""
        return f"{scheme}://{host}:{self.port}"

    def talk(self, connection: socket.socket) -> None:
        """Answer the requests of one connection."""
        rest = b""
        while (request := self._read(connection, rest)) is not None:
            seen, rest = request
            self.seen.append(seen)
            answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
            answer(connection, self.over)

    def _read(self, connection: socket.socket, rest: bytes) -> tuple[Seen, bytes] | None:
        while b"\r\n\r\n" not in rest:
            if not (part := connection.recv(65_536)):
                return None
            rest += part
        head, _, rest = rest.partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        if not self.takes_bodies:
            hang(connection, self.over)
        chunked, length = "chunked" in headers.get("transfer-encoding", ""), int(headers.get("content-length", 0))
        while not rest.endswith(b"0\r\n\r\n") if chunked else len(rest) < length:
            if not (part := connection.recv(16_384)) or (self.slowly and self.over.wait(0.005)):
                return None
            rest += part
            self.taken += len(part)
        return Seen(first.split()[0], first.split()[1], headers, rest), b""


def reply(status: int = 200, body: str = "حسنا", **headers: str) -> Answer:
    """Return an answer with a body; names of headers are written with `_`."""
    content = body.encode()
    lines = [f"HTTP/1.1 {status} So", f"content-length: {len(content)}", *(f"{name.replace('_', '-')}: {value}" for name, value in headers.items())]
    return lambda connection, _: connection.sendall("\r\n".join([*lines, "", ""]).encode() + (b"" if status == 204 else content))


def head_only(connection: socket.socket, _: threading.Event) -> None:
    """Answer what a HEAD gets."""
    connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n")


def hang(connection: socket.socket, over: threading.Event) -> None:
    """Say nothing."""
    over.wait(30)
    raise OSError


def hang_up(connection: socket.socket, _: threading.Event) -> None:
    """Reset the connection."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()
    raise OSError


def drip(content: bytes, before: bytes = b"") -> Answer:
    """Return an answer of which one byte comes every twentieth of a second after what comes `before`."""

    def answer(connection: socket.socket, over: threading.Event) -> None:
        connection.sendall(before)
        for one in content:
            if over.wait(DRIP_SECONDS):
                break
            connection.sendall(bytes([one]))

    return answer


SLOW_HEAD = drip(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nx-long: " + b"x" * 60 + b"\r\n\r\n")
SLOW_BODY = drip(b"x" * 80, b"HTTP/1.1 200 OK\r\ncontent-length: 80\r\n\r\n")
"""Both take four seconds, every byte of them far faster than any step may take."""


@contextlib.contextmanager
def service(*answers: Answer, secure: ssl.SSLContext | None = None, takes_bodies: bool = True, slowly: bool = False) -> Iterator[Service]:
    """Serve on a free port of 127.0.0.1."""
    made = Service(list(answers), takes_bodies=takes_bodies, slowly=slowly)
    if secure is not None:
        secure.sni_callback = lambda _, name, __: made.names.append(name)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(0.02)
        made.port = listening.getsockname()[1]
        threads: list[threading.Thread] = []

        def one(connection: socket.socket) -> None:
            with contextlib.suppress(OSError), connection:
                connection.settimeout(30)
                with secure.wrap_socket(connection, server_side=True) if secure else contextlib.nullcontext(connection) as spoken:
                    made.talk(spoken)
            made.open -= 1

        def serve() -> None:
            while not made.over.is_set():
                with contextlib.suppress(OSError):
                    connection, _ = listening.accept()
                    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    made.open += 1
                    threads.append(threading.Thread(target=one, args=(connection,), daemon=True))
                    threads[-1].start()

        threads.append(threading.Thread(target=serve))
        threads[-1].start()
        try:
            yield made
        finally:
            made.over.set()
            threads[0].join()


@dataclass
class Got:
    """Hold an answer, its body read."""

    status: int
    text: str
    headers: dict[str, str]


class Caller:
    """Make calls with one kind of client; each call has a client of its own, all of them one name."""

    def __init__(self, kind: str, outbound: Outbound) -> None:
        self.kind, self.outbound = kind, outbound

    def call(self, method: str, url: str, *, name: str = "bank", headers: dict[str, str] | None = None, body: object = None, **options: Any) -> Got:
        """Make a call and read the answer."""
        return getattr(self, f"_{self.kind}")(name, (method, url, headers or {}), body, options)

    def _httpx(self, name: str, asked: tuple[str, str, dict[str, str]], body: Any, options: Any) -> Got:
        method, url, headers = asked
        with self.outbound.http_client(name, **options) as client:
            answer = client.request(method, url, headers=headers, content=body)
            return Got(answer.status_code, answer.text, dict(answer.headers))

    def _async_httpx(self, name: str, asked: tuple[str, str, dict[str, str]], body: Any, options: Any) -> Got:
        method, url, headers = asked

        async def call() -> Got:
            async with self.outbound.async_http_client(name, **options) as client:
                answer = await client.request(method, url, headers=headers, content=_later(body))
                return Got(answer.status_code, answer.text, dict(answer.headers))

        return asyncio.run(call())

    def _aiohttp(self, name: str, asked: tuple[str, str, dict[str, str]], body: Any, options: Any) -> Got:
        method, url, headers = asked

        async def call() -> Got:
            async with (
                self.outbound.aiohttp_session(name, **options) as client,
                client.request(
                    method, url, headers=headers, data=_later(body), allow_redirects=options.get("follow_redirects", False)
                ) as answer,
            ):
                return Got(answer.status, await answer.text(), {key.lower(): value for key, value in answer.headers.items()})

        return asyncio.run(call())


def _later(body: Any) -> Any:
    if not isinstance(body, Iterator):
        return body

    async def parts() -> Any:
        for part in body:
            yield part

    return parts()
