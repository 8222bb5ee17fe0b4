"""Looks at a real Redis, a real PostgreSQL, and services over real sockets."""

import http.server
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest

import servers
from rakiza._kernel import SYSTEM_CLOCK, CheckResult
from rakiza.health._backends.clock import ClockWatch
from rakiza.health._backends.network import look
from rakiza.health._core import target
from rakiza.store import Store
from rakiza.testing import FrozenClock


@pytest.fixture
def statuses() -> Iterator[tuple[int, list[int]]]:
    """Yield the port of a server and the statuses it gives next."""
    queue: list[int] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(queue.pop(0))
            self.send_header("location", "https://nowhere.example/")
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.server_port, queue
    server.shutdown()
    server.server_close()
    thread.join()


def test_any_status_below_500_is_an_answer(statuses: tuple[int, list[int]]) -> None:
    port, queue = statuses
    queue += [200, 302, 404, 500, 503]
    found = [look(target(f"http://127.0.0.1:{port}/health")) for _ in range(5)]
    assert [one.status for one in found] == ["pass", "pass", "pass", "fail", "fail"]
    assert [one.observed for one in found] == [200, 302, 404, 500, 503]


def test_a_service_is_there_or_not() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
        with pytest.raises(OSError, match="refused"):
            look(target(f"tcp://127.0.0.1:{port}"))
        listener.listen()
        assert look(target(f"tcp://127.0.0.1:{port}")) == CheckResult()


def test_redis_answers_is_frozen_is_gone(redis_server: servers.Redis) -> None:
    redis = target(f"redis={redis_server.url}")
    assert look(redis) == CheckResult()
    redis_server.freeze()
    with pytest.raises(TimeoutError):
        look(redis)
    redis_server.thaw()
    assert look(redis) == CheckResult()
    redis_server.kill()
    with pytest.raises(OSError, match="refused"):
        look(redis)


def test_redis_with_a_password(redis_server: servers.Redis) -> None:
    port = redis_server.port
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall("CONFIG SET requirepass كلمة\r\n".encode())
        assert connection.recv(100) == b"+OK\r\n"
    assert look(target(f"redis://:%D9%83%D9%84%D9%85%D8%A9@127.0.0.1:{port}")) == CheckResult()
    assert look(target(f"redis://default:%D9%83%D9%84%D9%85%D8%A9@127.0.0.1:{port}")) == CheckResult()
    assert "NOAUTH" in str(look(target(f"redis://127.0.0.1:{port}")).output)
    wrong = look(target(f"redis://:hunter2@127.0.0.1:{port}"))
    assert (wrong.status, "WRONGPASS" in str(wrong.output), "hunter2" in str(wrong.output)) == ("fail", True, False)


TLS = """
import socket, ssl, sys, threading
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[1])
listener = socket.create_server(("127.0.0.1", 0))
def serve():
    while True:
        plain, _ = listener.accept()
        try:
            with context.wrap_socket(plain, server_side=True) as stream:
                stream.recv(100)
                stream.sendall(b"+OK\\r\\n+PONG\\r\\n")
        except (ssl.SSLError, OSError): pass
threading.Thread(target=serve, daemon=True).start()
from rakiza.health._backends.network import look
from rakiza.health._core import target
try: print(look(target(f"rediss://:x@localhost:{listener.getsockname()[1]}")).status)
except OSError as error: print(type(error).__name__)
"""


def test_redis_over_tls_is_verified(python_process: Callable[..., servers.Child], tmp_path: Path) -> None:
    file = tmp_path / "both.pem"
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    files = ["-keyout", str(file), "-out", str(tmp_path / "cert.pem")]
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *names, *files], check=True, capture_output=True)
    certificate = (tmp_path / "cert.pem").read_text()
    file.write_text(file.read_text() + certificate)
    trusted = {"SSL_CERT_FILE": str(tmp_path / "cert.pem")}
    assert python_process(TLS, str(file), env=trusted).finish()[-1] == "pass"
    assert python_process(TLS, str(file)).finish()[-1] == "SSLCertVerificationError"


class Late(FrozenClock):
    """The system's clock, wrong by what is set."""

    off = timedelta()

    def now(self) -> datetime:
        """Return the wall time, wrong."""
        return SYSTEM_CLOCK.now() + self.off

    def monotonic(self) -> float:
        """Return the monotonic time."""
        return SYSTEM_CLOCK.monotonic()


def test_the_clock_of_postgresql_is_compared(postgres_url: str) -> None:
    store, clock = Store(postgres_url), Late()
    right = ClockWatch(clock, 2.0, store).look()
    clock.off = timedelta(seconds=-90)
    wrong = ClockWatch(clock, 2.0, store).look()
    store.close()
    assert right.status == "pass"
    assert (wrong.status, round(float(wrong.observed or 0))) == ("warn", -90)
    assert "database" in str(wrong.output)


def test_a_database_that_is_away_is_not_the_clock_s_fault(tmp_path: Path) -> None:
    store = Store(f"postgresql://nobody@/nothing?host={tmp_path}", connect_timeout_seconds=1)
    assert ClockWatch(SYSTEM_CLOCK, 2.0, store).look().status == "pass"
    store.close()
