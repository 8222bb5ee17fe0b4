"""What the tests of a damaged event log share: events, the load that writes them, what must hold afterwards, a server to kill, a line to cut."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_OID, uuid5

import psutil
import psycopg
import sqlalchemy as sa

import patience
import servers
from rakiza.events import Event, EventStore
from rakiza.store import Store

ROUNDS = patience.ROUNDS
JOIN_SECONDS = 60.0
BALLAST = 700_000
"""How many bytes of a small disk are taken and can be given free."""
PATHS = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
"""The environment in which a child process finds what this one imports."""


def event(stream: object = "فاتورة-1", event_type: str = "invoice.created", **more: object) -> dict[str, object]:
    """Return an event as a caller writes it."""
    return {"event_type": event_type, "aggregate_type": "Invoice", "aggregate_id": str(stream), "payload": {"العميل": "شركة البناء"}, **more}


def three(writer: object, number: int) -> list[dict[str, object]]:
    """Return the events of one append of a writer: always the same ids for the same number."""
    parts = range(3)
    return [event(writer, payload={"n": number, "part": part}, event_id=uuid5(NAMESPACE_OID, f"{writer}/{number}/{part}")) for part in parts]


def threes(url: str) -> dict[str, list[int]]:
    """Return the numbers of the appends each writer has in the log, after checking that it is whole and each append is, in its order."""
    found: dict[str, list[tuple[object, object]]] = defaultdict(list)
    for one in whole(url):
        found[one.aggregate_id].append((one.payload["n"], one.payload["part"]))
    numbers = {writer: [number for number, part in parts if part == 0] for writer, parts in found.items()}
    assert all(parts == [(number, part) for number in numbers[writer] for part in range(3)] for writer, parts in found.items())
    return numbers  # type: ignore[return-value]


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

    def __init__(self, **settings: str) -> None:
        """Make and start a durable one; raise servers.MissingBinaryError."""
        self.folder = servers.new_folder("cluster")
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


@contextlib.contextmanager
def small_disk(path: Path) -> Iterator[Path]:
    """Mount a disk of 2 MB with ballast on it."""
    from conftest import without  # not at the top: child processes import this file

    path.mkdir()
    if os.geteuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m,mode=777", "tmpfs", path], check=False).returncode:
        without("this machine does not let a test mount a small disk")
    try:
        (path / "ballast").write_bytes(bytes(BALLAST))
        yield path
    finally:
        subprocess.run(["umount", "-l", path], check=True)


REQUEST, ANSWER, GHOST = "request", "answer", "ghost"
"""Where a line is cut: before the statement arrives; after it is done, before its answer; while it runs on, unheard."""


class Proxy:
    """A TCP line to PostgreSQL that can be cut exactly where the outcome of a statement is decided."""

    def __init__(self, url: str) -> None:
        """Listen on a free port and pass on to the socket of the server of `url`."""
        info = sa.make_url(url)
        self._socket = f"{info.query['host']}/.s.PGSQL.5432"
        self._listener = socket.create_server(("127.0.0.1", 0))
        port = self._listener.getsockname()[1]
        self.url = f"postgresql+psycopg://postgres@127.0.0.1:{port}/{info.database}?sslmode=disable&gssencmode=disable"
        self.cuts, self.refusing = 0, False
        self._rules: list[tuple[bytes, str]] = []
        self._mutex = threading.Lock()
        self._ends: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._start(self._accept)

    def cut(self, words: bytes, where: str, times: int = 1) -> None:
        """Cut the next `times` connections that send these words, at a place of REQUEST, ANSWER and GHOST."""
        with self._mutex:
            self._rules += [(words, where)] * times

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
                server = socket.socket(socket.AF_UNIX)
                self._ends += [client, server]
                with contextlib.suppress(OSError):
                    server.connect(self._socket)
                    silent = threading.Event()
                    self._start(self._to_server, client, server, silent)
                    self._start(self._to_client, client, server, silent)

    def _rule(self, data: bytes) -> str | None:
        with self._mutex:
            found = next((rule for rule in self._rules if rule[0] in data), None)
            if found is None:
                return None
            self._rules.remove(found)
            self.cuts += 1
            return found[1]

    def _to_server(self, client: socket.socket, server: socket.socket, silent: threading.Event) -> None:
        with contextlib.suppress(OSError):
            while data := client.recv(1 << 20):
                where = self._rule(data)
                if where == REQUEST:
                    break
                if where is not None:
                    silent.set()
                server.sendall(data)
                if where == GHOST:
                    _shut(client)
                    return
        if not silent.is_set():
            _shut(client, server)

    def _to_client(self, client: socket.socket, server: socket.socket, silent: threading.Event) -> None:
        with contextlib.suppress(OSError):
            while (data := server.recv(1 << 20)) and not silent.is_set():
                client.sendall(data)
        _shut(client, server)

    def close(self) -> None:
        """Cut everything and listen no more."""
        _shut(self._listener, *self._ends)
        self._listener.close()
        join(self._threads)
        for end in self._ends:
            end.close()


def _shut(*ends: socket.socket) -> None:
    for end in ends:
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


def admin(url: str) -> "psycopg.Connection[Any]":
    """Return a plain connection to a PostgreSQL database, in autocommit mode."""
    info = sa.make_url(url)
    return psycopg.connect(host=str(info.query["host"]), user="postgres", dbname=info.database, autocommit=True)


def program(name: str) -> str:
    """Return the path of one of PostgreSQL's programs."""
    return str(Path(servers.postgres_binaries()) / name)
