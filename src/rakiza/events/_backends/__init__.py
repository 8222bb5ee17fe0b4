"""Write batches of appends under the lock of the log's counter; one file per database engine."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, ClassVar, Protocol

from rakiza.events._core import Append, Condition, Row, Stored, Stream, Verdict, decide, stored_content
from rakiza.events.errors import AppendConditionError
from rakiza.store import Store, Transaction


class Log(Protocol):
    """Write appends, each whole or not at all, and give one verdict for each."""

    def write(self, batch: Sequence[Append], now: datetime) -> list[Verdict]:
        """Write a batch in one commit of its own; raise StoreUnavailableError when its fate is unknown, else nothing of it is stored."""
        ...

    def write_in(self, tx: Transaction, batch: Sequence[Append], now: datetime) -> list[Verdict]:
        """Write a batch in a transaction that is open; what is refused leaves no trace in it."""
        ...

    def close(self) -> None:
        """Close what is held open."""
        ...

    def forget(self) -> None:
        """Leave to the parent of a fork what is held open."""
        ...


class SqlLog:
    """Judge a batch by what the log holds, statement by statement, under the lock; what both engines share."""

    mark: ClassVar[str]
    lock: ClassVar[str]
    key: ClassVar[str]

    def __init__(self, store: Store) -> None:
        self.store = store
        self._head = f"select position from rakiza_events_head where shard = 0 {self.lock}"  # noqa: S608 - our own words
        self._version = self.sql("select max(version) from rakiza_events_event where tenant_id = ? and aggregate_type = ? and aggregate_id = ?")
        columns = "position, version, tenant_id, aggregate_type, aggregate_id, event_type, schema_version, cast(payload as text), tags"
        self._stored = self.sql(f"select {columns} from rakiza_events_event where tenant_id = ? and event_id = {self.key}")  # noqa: S608 - our own words

    def sql(self, text: str) -> str:
        """Return the text with this driver's parameter marks."""
        return text.replace("?", self.mark)

    def write_in(self, tx: Transaction, batch: Sequence[Append], now: datetime) -> list[Verdict]:
        """Judge and write in the open transaction."""
        driver, verdicts = tx.driver_connection, []
        for run in _runs(batch):
            head = int(driver.execute(self._head).fetchone()[0])
            found, rows = decide(run, head, self._versions(driver, run), self._known(driver, run))
            if rows and (condition := run[0].condition) and self._matches(driver, condition, rows[0][2].tenant):
                refused = AppendConditionError("the log has an event that rules this append out", hint="read again, decide again, append again")
                found, rows = [refused], []
            if rows:
                self.insert(driver, rows, now)
            verdicts += found
        return verdicts

    def insert(self, driver: Any, rows: Sequence[Row], now: datetime) -> None:
        """Insert the rows and move the counter past them."""
        raise NotImplementedError

    def _versions(self, driver: Any, run: Sequence[Append]) -> dict[Stream, int]:
        streams = dict.fromkeys(event.stream for append in run for event in append.events)
        return {stream: driver.execute(self._version, stream).fetchone()[0] or 0 for stream in streams}

    def _known(self, driver: Any, run: Sequence[Append]) -> dict[tuple[str, str], Stored]:
        known: dict[tuple[str, str], Stored] = {}
        for key in {(event.tenant, event.event_id) for append in run for event in append.events if event.repeated}:
            row = driver.execute(self._stored, key).fetchone()
            if row is not None:
                known[key] = Stored(row[0], row[1], stored_content((row[2], row[3], row[4]), *row[5:]))
        return known

    def _matches(self, driver: Any, condition: Condition, tenant: str) -> bool:
        query, after = condition.fail_if_match, condition.after
        given: list[object] = [after, tenant]
        text = "select 1 from rakiza_events_event e where e.position > ? and e.tenant_id = ?"
        if query.event_types:
            text += f" and e.event_type in ({', '.join('?' * len(query.event_types))})"
            given += query.event_types
        for tag in query.tags:
            text += " and e.position in (select t.position from rakiza_events_tag t where t.tenant_id = ? and t.tag = ? and t.position > ?)"
            given += [tenant, tag, after]
        return driver.execute(self.sql(f"{text} limit 1"), given).fetchone() is not None


def _runs(batch: Sequence[Append]) -> Iterator[list[Append]]:
    """Yield the batch in pieces: an append with a condition is judged alone, after what comes before it is written."""
    run: list[Append] = []
    for append in batch:
        if append.condition is None:
            run.append(append)
            continue
        if run:
            yield run
        yield [append]
        run = []
    if run:
        yield run
