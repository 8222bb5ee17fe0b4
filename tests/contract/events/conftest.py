"""An event store over a fresh, migrated database of each kind."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

import servers
from rakiza.events import MIGRATIONS, EventStore
from rakiza.store import Store, migrate
from rakiza.testing import FrozenClock


def migrated(url: str) -> None:
    store = Store(url)
    migrate(store, [MIGRATIONS])
    store.close()


@pytest.fixture
def clock() -> FrozenClock:
    return FrozenClock()


@pytest.fixture(params=["sqlite", "postgresql"])
def events_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield servers.sqlite_copy(tmp_path / "events.db", "events", migrated)
        return
    server: servers.Postgres = request.getfixturevalue("postgres")
    with server.database(server.template("events", migrated)) as url:
        yield url


@pytest.fixture
def store(events_url: str) -> Iterator[Store]:
    made = Store(events_url)
    yield made
    made.close()


@pytest.fixture
def events(store: Store, clock: FrozenClock) -> Iterator[EventStore]:
    made = EventStore(store, clock=clock)
    yield made
    made.supervisor.stop()
    made.close()


Make = Callable[..., dict[str, object]]


@pytest.fixture
def invoice() -> Make:
    def make(
        identity: str = "INV-1", event_type: str = "invoice.created", payload: Mapping[str, object] | None = None, **more: object
    ) -> dict[str, object]:
        given = {"customer": "شركة البناء", "total": "12.50"} if payload is None else payload
        return {"event_type": event_type, "aggregate_type": "Invoice", "aggregate_id": identity, "payload": given, **more}

    return make
