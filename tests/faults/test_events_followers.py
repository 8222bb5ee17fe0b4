"""Followers of the log when processes die and race, receivers fail, disks fill and servers hang up: nothing lost, nothing twice, in order."""

import json
import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import sqlalchemy as sa

import servers
from events_faults import ROUNDS
from patience import until
from rakiza.events import MIGRATIONS, Event, EventStore, fold
from rakiza.store import Store, Transaction, migrate
from rakiza.testing import FrozenClock
from totals import InvoiceTotals, TotalsInMemory, invoice, shown

Process = Callable[..., servers.Child]
ENVIRONMENT = {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
OPEN = """
import sys, threading, time
from rakiza.events import Consumer, EventSettings, EventStore
from rakiza.store import Store
from totals import InvoiceTotals, invoice
events = EventStore(Store(sys.argv[1], busy_timeout_seconds=60.0), EventSettings(poll_seconds=0.05, takeover_seconds=0.6))
"""
RUN = OPEN + """
class Told(InvoiceTotals):
    batch_events = 7
    def committed(self, batch):
        print("at", batch[-1].position)
events.register_projection(Told())
events.start()
print("runs")
threading.Event().wait()
"""
REBUILD = OPEN + """
class Slow(InvoiceTotals):
    batch_events = 20
    def project(self, tx, batch, table):
        super().project(tx, batch, table)
        print("folded", table, batch[-1].position)
    def show(self, tx, view, table):
        super().show(tx, view, table)
        print("switching", table)
    def drop(self, tx, table):
        super().drop(tx, table)
        print("dropping", table)
events.register_projection(Slow())
events.catch_up()
print("rebuilds")
events.rebuild_projection("totals")
print("rebuilt")
"""
DELIVER = OPEN + """
import urllib.request
def deliver(event):
    request = urllib.request.Request(sys.argv[2], event.payload_text.encode(), {"Idempotency-Key": event.event_id, "Position": str(event.position)})
    with urllib.request.urlopen(request, timeout=60) as answer:
        answer.read()
    print("delivered", event.position)
events.register_consumer(Consumer(name="webhook", handler=deliver, event_types=("invoice.created",), max_attempts=1000))
events.start()
print("runs")
threading.Event().wait()
"""


@pytest.fixture
def store(log_url: str) -> Iterator[Store]:
    made = Store(log_url, busy_timeout_seconds=60.0)
    migrate(made, [MIGRATIONS])
    yield made
    made.close()


@pytest.fixture
def events(store: Store) -> Iterator[EventStore]:
    made = EventStore(store)
    yield made
    made.close()


def fill(events: EventStore, count: int, first: int = 1) -> None:
    events.append_many([invoice(number) for number in range(first, first + count)])


def wanted(events: EventStore) -> dict[str, tuple[int, int]]:
    return fold(TotalsInMemory(), (event for page in events.reader.pages() for event in page))


def state(events: EventStore, name: str) -> dict[str, object]:
    return next((state for state in events.projections() if state["name"] == name), {"lag": None, "status": None, "owner": None})


def test_two_processes_run_one_projection_and_count_every_event_once(
    log_url: str, events: EventStore, store: Store, python_process: Process
) -> None:
    children = [python_process(RUN, log_url, env=ENVIRONMENT) for _ in range(2)]
    [child.wait_for("runs") for child in children]
    for number in range(60):
        fill(events, 5, first=number * 5)
    until(lambda: state(events, "totals")["lag"] == 0)
    assert shown(store) == wanted(events)
    owner = str(state(events, "totals")["owner"])
    working, waiting = sorted(children, key=lambda child: f":{child.process.pid}:" not in owner)
    assert f":{working.process.pid}:" in owner
    working.kill9()
    fill(events, 30, first=1000)
    until(lambda: state(events, "totals")["lag"] == 0)
    assert f":{waiting.process.pid}:" in str(state(events, "totals")["owner"])
    assert shown(store) == wanted(events)


def test_a_runner_that_is_killed_again_and_again_loses_and_doubles_nothing(
    log_url: str, events: EventStore, store: Store, python_process: Process
) -> None:
    written = 0
    for round_ in range(2 + 2 * ROUNDS):
        child = python_process(RUN, log_url, env=ENVIRONMENT)
        child.wait_for("runs")
        fill(events, 200 + round_, first=written)
        written += 200 + round_
        for _ in range(3 * round_ + 1):
            child.wait_for("at ")
        child.kill9()
    child = python_process(RUN, log_url, env=ENVIRONMENT)
    until(lambda: state(events, "totals")["lag"] == 0)
    assert shown(store) == wanted(events)
    assert sum(invoices for invoices, _ in shown(store).values()) == written


@pytest.mark.parametrize("moment", ["rebuilds", "folded p_totals_2 20", "folded p_totals_2 180", "switching p_totals_2", "dropping p_totals_1"])
def test_a_rebuild_killed_at_any_moment_leaves_the_old_or_the_new_one_to_readers(
    log_url: str, events: EventStore, store: Store, python_process: Process, moment: str
) -> None:
    fill(events, 200)
    child = python_process(REBUILD, log_url, env=ENVIRONMENT)
    child.wait_for(moment)
    child.kill9()
    assert shown(store) == wanted(events)
    fill(events, 10, first=500)
    child = python_process(RUN, log_url, env=ENVIRONMENT)
    until(lambda: state(events, "totals")["lag"] == 0 and state(events, "totals")["rebuild"] is None)
    assert shown(store) == wanted(events)
    with store.read() as tx:
        tables = {name for name in sa.inspect(tx.connection).get_table_names() if name.startswith("p_totals")}
    generation = state(events, "totals")["generation"]
    until(lambda: len(rows(store)) == 1)
    assert generation in {1, 2}
    assert f"p_totals_{generation}" in tables
    child.close()


def rows(store: Store) -> list[object]:
    with store.read() as tx:
        return list(tx.execute(sa.text("select generation from rakiza_events_checkpoint")))


class Receiver:
    """Receive webhooks: answer 500 now and then, die and come back on the same port, know a repeated key."""

    def __init__(self) -> None:
        self.order: list[int] = []
        self.keys: dict[str, int] = {}
        self.requests = self.repeated = 0
        self.port = servers.free_port()
        self.start()

    def start(self) -> None:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                self.send_response(receiver.take(self.headers["Idempotency-Key"], int(self.headers["Position"]), body))
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,))
        self.thread.start()

    def take(self, key: str, position: int, body: bytes) -> int:
        self.requests += 1
        if self.requests % 7 == 0:
            return 500
        if key in self.keys:
            self.repeated += 1
        else:
            self.keys[key] = position
            self.order.append(position)
            json.loads(body)
        return 500 if self.requests % 11 == 0 else 200  # taken, and the sender does not know

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.stop()


def test_a_webhook_gets_everything_once_and_in_order_whatever_dies(
    log_url: str, events: EventStore, receiver: Receiver, python_process: Process
) -> None:
    """The receiver fails, dies and comes back; the sender is killed -9; another sender waits to take over."""
    address, written = f"http://127.0.0.1:{receiver.port}/webhook", 0
    for round_ in range(2 + ROUNDS):
        child = python_process(DELIVER, log_url, address, env=ENVIRONMENT)
        child.wait_for("runs")
        events.append_many([invoice(number) for number in range(written, written + 12)] + [invoice(0, "invoice.seen")])
        written += 12
        child.wait_for("delivered")
        if round_ == 1:
            receiver.stop()
            fill(events, 3, first=written)
            written += 3
            until(lambda: state(events, "webhook")["status"] == "failing")
            receiver.start()
        child.wait_for("delivered")
        child.kill9()
    python_process(DELIVER, log_url, address, env=ENVIRONMENT)
    until(lambda: state(events, "webhook")["lag"] == 0)
    created = events.read(limit=5000, event_types=("invoice.created",))
    assert len(created) == written
    assert receiver.order == [event.position for event in created]
    assert receiver.keys == {event.event_id: event.position for event in created}
    assert receiver.repeated > 0  # answers that were lost, and the deaths of the sender
    assert events.dead_letters("webhook") == []


def test_a_full_disk_holds_a_projection_up_and_sets_nothing_aside(sqlite_url: str) -> None:
    store = Store(sqlite_url)
    migrate(store, [MIGRATIONS])
    clock = FrozenClock()
    events = EventStore(store, clock=clock)

    class Wide(InvoiceTotals):
        def create(self, tx: Transaction, table: str) -> None:
            tx.execute(sa.text(f"create table {table} (position bigint primary key, note text not null)"))

        def project(self, tx: Transaction, events: Sequence[Event], table: str) -> None:
            tx.execute(sa.text(f"insert into {table} values (:position, :note)"), [{"position": e.position, "note": "م" * 4000} for e in events])

    events.register_projection(Wide())
    fill(events, 100)
    with store.begin() as tx:
        pages = tx.driver_connection.execute("pragma page_count").fetchone()[0]
        tx.driver_connection.execute(f"pragma max_page_count = {pages + 20}")
    assert events.catch_up() == 100
    assert state(events, "totals")["status"] == "failing"
    assert "is full" in str(state(events, "totals")["error"])
    assert events.dead_letters("totals") == []
    with store.begin() as tx:
        tx.driver_connection.execute("pragma max_page_count = 100000")
    clock.advance(1)
    assert events.catch_up() == 0
    with store.read() as tx:
        assert tx.scalar(sa.text("select count(*) from p_totals")) == 100
    events.close()
    store.close()


@pytest.mark.parametrize("alone", [False, True])
def test_a_server_that_hangs_up_in_a_batch_undoes_it_and_sets_nothing_aside(log_postgres_url: str, alone: bool) -> None:
    store, killer = Store(log_postgres_url), Store(log_postgres_url)
    migrate(store, [MIGRATIONS])
    clock = FrozenClock()
    events = EventStore(store, clock=clock)

    class Unlucky(InvoiceTotals):
        calls = 0

        def project(self, tx: Transaction, events: Sequence[Event], table: str) -> None:
            super().project(tx, events, table)
            self.calls += 1
            if alone and self.calls == 1:
                raise ValueError("one by one, please")
            if self.calls == (4 if alone else 1):
                with killer.begin() as other:
                    other.execute(sa.text("select pg_terminate_backend(:pid)"), {"pid": tx.driver_connection.info.backend_pid})
                super().project(tx, events, table)

    events.register_projection(Unlucky())
    fill(events, 9)
    assert events.catch_up() == 9
    assert "StoreUnavailableError" in str(state(events, "totals")["error"])
    clock.advance(1)
    assert events.catch_up() == 0
    assert (shown(store), events.dead_letters("totals")) == (wanted(events), [])
    events.close()
    store.close()
    killer.close()


FORK = OPEN.replace("takeover_seconds=0.6", "takeover_seconds=60") + """
import os
events.register_projection(InvoiceTotals())
events.start()
while not events.projections() or events.projections()[0]["status"] != "live":
    time.sleep(0.02)
time.sleep(0.2)
pid = os.fork()
if pid == 0:
    threading.Event().wait()
print("forked", pid)
events.followers.ledger.close()
os._exit(0)
"""


def test_followers_live_on_in_a_forked_child_as_somebody_else(log_url: str, store: Store, python_process: Process) -> None:
    """A server forks its workers after everything was registered and started; no write is under way at that moment."""
    forked = int(python_process(FORK, log_url, env=ENVIRONMENT).wait_for("forked").split()[1])
    events = EventStore(store)
    try:
        fill(events, 20)
        until(lambda: state(events, "totals")["lag"] == 0 and f":{forked}:" in str(state(events, "totals")["owner"]))
        assert shown(store) == wanted(events)
    finally:
        os.kill(forked, 9)
        events.close()
