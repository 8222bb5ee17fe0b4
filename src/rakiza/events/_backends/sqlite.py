"""The log on SQLite: the store's one writer, one transaction for each batch."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from rakiza.events._core import Append, Row, Verdict
from rakiza.store import utc_text

from . import SqlLog

INSERT = "insert into rakiza_events_event values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
TAG = "insert into rakiza_events_tag (tenant_id, tag, position) values (?, ?, ?)"
MOVE = "update rakiza_events_head set position = ? where shard = 0"


class SqliteLog(SqlLog):
    """Write through the store's writer, so that business transactions and appends queue up in one line."""

    mark, lock, key = "?", "", "?"

    def write(self, batch: Sequence[Append], now: datetime) -> list[Verdict]:
        """Write a batch in one transaction."""
        with self.store.begin() as tx:
            return self.write_in(tx, batch, now)

    def insert(self, driver: Any, rows: Sequence[Row], now: datetime) -> None:
        """Insert the rows and move the counter past them."""
        at = utc_text(now)
        driver.executemany(INSERT, [_values(position, version, event, at) for position, version, event in rows])
        if tags := [(event.tenant, tag, position) for position, _, event in rows for tag in event.tags]:
            driver.executemany(TAG, tags)
        driver.execute(MOVE, (rows[-1][0],))

    def close(self) -> None:
        """Do nothing: the connection is the store's."""

    forget = close


def _values(position: int, version: int, event: Any, at: str) -> tuple[object, ...]:
    return (
        *(position, event.tenant, event.aggregate_type, event.aggregate_id, version, event.event_id, event.event_type, event.schema_version),
        *(event.payload, event.sealed, event.metadata, event.user_id, event.correlation_id, event.causation_id, event.tags_text, at),
    )
