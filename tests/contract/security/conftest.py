"""A security service over a fresh database of each kind."""

from collections.abc import Iterator, Mapping

import pytest

from rakiza._kernel import Ports, WorkerPool
from rakiza._kernel.ports import UnitOfWork
from rakiza.security import Security, SecuritySettings
from rakiza.security.tables import METADATA
from rakiza.store import Store
from rakiza.testing import FrozenClock

CHEAP = SecuritySettings(argon2_memory_kib=8, argon2_time=1)


class Record:
    """One audit record."""

    def __init__(self, event: str, resource: str, details: Mapping[str, object], user_id: str | None) -> None:
        self.event, self.resource, self.details, self.user_id = event, resource, details, user_id


class Trail:
    """Keep audit records to look at."""

    def __init__(self) -> None:
        self.records: list[Record] = []

    def record(
        self,
        event_type: str,
        action: str,
        resource: str,
        details: Mapping[str, object] | None = None,
        user_id: str | None = None,
        *,
        tx: UnitOfWork | None = None,
    ) -> None:
        record = Record(event_type, resource, details or {}, user_id)
        if tx is None:
            self.records.append(record)
        else:
            tx.after_commit(lambda: self.records.append(record))

    @property
    def events(self) -> list[str]:
        return [record.event for record in self.records]


@pytest.fixture
def clock() -> FrozenClock:
    return FrozenClock()


@pytest.fixture
def store(database_url: str) -> Iterator[Store]:
    store = Store(database_url)
    with store.begin() as tx:
        METADATA.create_all(tx.connection)  # test_tables.py proves that the migrations give the same tables
    yield store
    store.close()


@pytest.fixture
def trail() -> Trail:
    return Trail()


@pytest.fixture
def pool() -> Iterator[WorkerPool]:
    pool = WorkerPool(2)
    yield pool
    pool.close()


@pytest.fixture
def security(store: Store, clock: FrozenClock, trail: Trail, pool: WorkerPool) -> Iterator[Security]:
    ports = Ports()
    ports.audit = trail
    security = Security(store, CHEAP, clock=clock, ports=ports, pool=pool, product="noufal")
    yield security
    security.close()
