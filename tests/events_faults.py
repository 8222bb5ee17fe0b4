"""What the tests of a damaged event log share: events, the load that writes them, what must hold afterwards, a server to kill, a line to cut."""

import contextlib
import os
import signal
import socket
import sys
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import psycopg
import sqlalchemy as sa

import servers
from rakiza.events import Event, EventStore
from rakiza.store import Store

ROUNDS = int(os.environ.get("RK_TEST_ROUNDS", "1"))  # noqa: TID251 - raised for a long search
"""How many times over the loops of the crash tests run."""
JOIN_SECONDS = 60.0
PATHS = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
"""The environment in which a child process finds what this one imports."""


def event(stream: object = "فاتورة-1", event_type: str = "invoice.created", **more: object) -> dict[str, object]:
    """Return an event as a caller writes it."""
    return {"event_type": event_type, "aggregate_type": "Invoice", "aggregate_id": str(stream), "payload": {"العميل": "شركة البناء"}, **more}


def in_threads(number: int, work: Callable[[int], object]) -> None:
    """Run `work(0)` … `work(number - 1)` at once; raise the first failure, and AssertionError when a thread does not end."""
    failures: list[BaseException] = []

    def guarded(index: int) -> None:
        try:
            work(index)
        except BaseException as error:  # noqa: BLE001 - shown by the test
            failures.append(error)

    threads = [threading.Thread(target=guarded, args=(index,), daemon=True) for index in range(number)]
    join(threads, start=True)
    if failures:
        raise failures[0]


def join(threads: list[threading.Thread], *, start: bool = False) -> None:
    """Wait for threads; raise AssertionError when one waits for ever."""
    for thread in threads if start else []:
        thread.start()
    for thread in threads:
        thread.join(JOIN_SECONDS)
    assert not any(thread.is_alive() for thread in threads), "a thread waits for ever"


@contextlib.contextmanager
def held(store: Store) -> Iterator[None]:
    """Hold the lock of the log, so that appends gather."""
    with store.begin() as tx:
        tx.execute(sa.text("select position from rakiza_events_head" + ("" if store.dialect == "sqlite" else " for update")))
        yield


def gathered(events: EventStore, number: int) -> None:
    """Return when so many events wait to be written."""
    pause = threading.Event()
    for _ in range(int(JOIN_SECONDS * 500)):
        if events.get_stats()["waiting"] >= number:
            return
        pause.wait(0.002)
    raise AssertionError(f"{events.get_stats()['waiting']} events wait, not {number}")


def whole(url: str) -> list[Event]:
    """Return every event after checking what must always hold: positions and versions without a gap, one of each id, the tags of each event."""
    store = Store(url)
    events = EventStore(store)
    found = [one for page in events.reader.pages() for one in page]
    assert [one.position for one in found] == list(range(1, len(found) + 1))
    assert events.head() == len(found)
    versions: dict[object, list[int]] = defaultdict(list)
    for one in found:
        versions[one.stream].append(one.version)
    assert all(numbers == list(range(1, len(numbers) + 1)) for numbers in versions.values())
    assert len({(one.tenant, one.event_id) for one in found}) == len(found)
    with store.read() as tx:
        tags = {tuple(row) for row in tx.execute(sa.text("select position, tag from rakiza_events_tag"))}
    assert tags == {(one.position, tag) for one in found for tag in one.tags}
    events.close()
    store.close()
    return found


class Cluster:
    """A PostgreSQL server of a test's own, to kill, to stop for a moment and to start again."""

    def __init__(self, name: str, **settings: str) -> None:
        """Make and start a durable one; raise servers.MissingBinaryError."""
        self.folder = servers.run_folder() / name
        self.options = " ".join(f"-c {key}='{value}'" for key, value in {**servers.COMMON, **settings}.items())
        servers._start_postgres(self.folder, {**servers.COMMON, **settings})
        self._note()
        self.postgres = servers.Postgres(str(self.folder))

    def _note(self) -> None:
        self.pid = int((self.folder / "data" / "postmaster.pid").read_text().partition("\n")[0])
        (self.folder.parent / f"{self.folder.name}.pid").write_text(f"{self.pid}\n")  # the watchdog of the run stops what is left

    def _all(self) -> list[psutil.Process]:
        postmaster = psutil.Process(self.pid)
        return [postmaster, *postmaster.children(recursive=True)]

    def kill9(self) -> None:
        """Kill every process of the server at once."""
        processes = self._all()
        processes[0].suspend()  # it must not see its children die and start again
        for process in reversed(processes):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(processes, timeout=servers.START_SECONDS)

    def signal_all(self, number: signal.Signals) -> None:
        """Send a signal to every process of the server: SIGSTOP, SIGCONT."""
        for process in self._all():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(number)

    def start(self) -> None:
        """Start again, on the data of before."""
        control = [str(servers.postgres_binaries() / "pg_ctl"), "-D", str(self.folder / "data"), "-w", "-t", str(servers.START_SECONDS)]
        servers._as_database_user([*control, "-l", str(self.folder / "log"), "-o", f"-k {self.folder} {self.options}", "start"])
        self._note()

    def stop(self) -> None:
        """End it, running or not."""
        with contextlib.suppress(psutil.NoSuchProcess):
            self.kill9()


COMMIT, ANSWER = "request", "answer"


class Proxy:
    """A TCP line to PostgreSQL that can be cut exactly where the outcome of a statement is decided."""

    def __init__(self, url: str) -> None:
        """Listen on a free port and pass on to the socket of the server of `url`."""
        info = sa.make_url(url)
        self._socket = f"{info.query['host']}/.s.PGSQL.5432"
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.url = f"postgresql+psycopg://postgres@127.0.0.1:{self.port}/{info.database}?sslmode=disable&gssencmode=disable"
        self._rules: list[tuple[bytes, str]] = []
        self.cuts = 0
        self.refusing = False
        self._mutex = threading.Lock()
        self._open: set[socket.socket] = set()
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def cut(self, words: bytes, where: str, times: int = 1) -> None:
        """Cut the next `times` connections that send a message with these words: before it arrives (`request`) or before its answer does."""
        with self._mutex:
            self._rules += [(words, where)] * times

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self.refusing:
                client.close()
                continue
            server = socket.socket(socket.AF_UNIX)
            server.connect(self._socket)
            self._open |= {client, server}
            silent = threading.Event()
            for target, ends in ((self._to_server, (client, server, silent)), (self._to_client, (client, server, silent))):
                thread = threading.Thread(target=target, args=ends, daemon=True)
                self._threads.append(thread)
                thread.start()

    def _rule(self, data: bytes) -> str | None:
        with self._mutex:
            for rule in self._rules:
                if rule[0] in data:
                    self._rules.remove(rule)
                    return rule[1]
        return None

    def _to_server(self, client: socket.socket, server: socket.socket, silent: threading.Event) -> None:
        with contextlib.suppress(OSError):
            while data := client.recv(65536):
                where = self._rule(data)
                if where == COMMIT:
                    break
                if where == ANSWER:
                    silent.set()
                server.sendall(data)
        self._end(client, server, counted=not silent.is_set() and bool(data))

    def _to_client(self, client: socket.socket, server: socket.socket, silent: threading.Event) -> None:
        with contextlib.suppress(OSError):
            while data := server.recv(65536):
                if silent.is_set():
                    self._end(client, server, counted=True)
                    return
                client.sendall(data)
        self._end(client, server, counted=False)

    def _end(self, *ends: socket.socket, counted: bool) -> None:
        self.cuts += counted
        for end in ends:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Cut everything and listen no more."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for end in self._open:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        for thread in list(self._threads):
            thread.join(JOIN_SECONDS)
        for end in self._open:
            end.close()


def admin(url: str) -> "psycopg.Connection[Any]":
    """Return a plain connection to a PostgreSQL database, in autocommit mode."""
    info = sa.make_url(url)
    return psycopg.connect(host=str(info.query["host"]), user="postgres", dbname=info.database, autocommit=True)


def program(name: str) -> str:
    """Return the path of one of PostgreSQL's programs."""
    return str(Path(servers.postgres_binaries()) / name)
