"""Tables of the event store."""

from typing import Any

from sqlalchemy import BigInteger, Column, Index, Integer, LargeBinary, SmallInteger, Table, Text, UniqueConstraint, Uuid
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator, TypeEngine

from rakiza.store import BigKey, JsonText, UtcDateTime, metadata

METADATA = metadata()


class EventId(TypeDecorator[str]):
    """Keep a UUID: `uuid` on PostgreSQL, 36 characters on SQLite."""

    impl = Text
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Return `uuid` for PostgreSQL, text elsewhere."""
        return dialect.type_descriptor(Uuid(as_uuid=False) if dialect.name == "postgresql" else Text())


def _tenant(primary_key: bool = False) -> Column[str]:
    return Column("tenant_id", Text, nullable=False, server_default="default", primary_key=primary_key)


def _stream() -> tuple[Column[str], Column[str]]:
    return Column("aggregate_type", Text, nullable=False), Column("aggregate_id", Text, nullable=False)


HEAD = Table(
    "rakiza_events_head",
    METADATA,
    Column("shard", SmallInteger, primary_key=True, autoincrement=False),
    Column("position", BigInteger, nullable=False),
    postgresql_with={"fillfactor": 50},
)

EVENT = Table(
    "rakiza_events_event",
    METADATA,
    Column("position", BigKey, primary_key=True, autoincrement=False),
    _tenant(),
    *_stream(),
    Column("version", Integer, nullable=False),
    Column("event_id", EventId, nullable=False),
    Column("event_type", Text, nullable=False),
    Column("schema_version", Integer, nullable=False),
    Column("payload", JsonText, nullable=False),
    Column("sealed", Text),
    Column("metadata", JsonText, nullable=False),
    Column("user_id", Text),
    Column("correlation_id", Text),
    Column("causation_id", Text),
    Column("tags", Text),
    Column("recorded_at", UtcDateTime, nullable=False),
    UniqueConstraint("tenant_id", "aggregate_type", "aggregate_id", "version"),
    UniqueConstraint("event_id", "tenant_id"),
)
Index(None, EVENT.c.event_type, EVENT.c.position)
Index(None, EVENT.c.correlation_id)
Index(None, EVENT.c.recorded_at, postgresql_using="brin").ddl_if(dialect="postgresql")  # a B-tree would cost SQLite a fifth of a commit

TAG = Table(
    "rakiza_events_tag",
    METADATA,
    _tenant(primary_key=True),
    Column("tag", Text, primary_key=True),
    Column("position", BigKey, primary_key=True, autoincrement=False),
)

SNAPSHOT = Table(
    "rakiza_events_snapshot",
    METADATA,
    _tenant(primary_key=True),
    Column("aggregate_type", Text, primary_key=True),
    Column("aggregate_id", Text, primary_key=True),
    Column("version", Integer, nullable=False),
    Column("schema_hash", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("taken_at", UtcDateTime, nullable=False),
)

CHECKPOINT = Table(
    "rakiza_events_checkpoint",
    METADATA,
    _tenant(primary_key=True),
    Column("projection", Text, primary_key=True),
    Column("generation", Integer, primary_key=True, autoincrement=False),
    Column("position", BigInteger, nullable=False),
    Column("status", Text, nullable=False),
    Column("owner", Text),
    Column("seen_at", UtcDateTime, nullable=False),
    Column("error", Text),
)

DEAD_LETTER = Table(
    "rakiza_events_dead_letter",
    METADATA,
    _tenant(primary_key=True),
    Column("projection", Text, primary_key=True),
    Column("position", BigKey, primary_key=True, autoincrement=False),
    Column("event_id", Text, nullable=False),
    Column("event_type", Text, nullable=False),
    Column("error", Text, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("failed_at", UtcDateTime, nullable=False),
)

SUBJECT = Table(
    "rakiza_events_subject",
    METADATA,
    _tenant(primary_key=True),
    Column("subject", Text, primary_key=True),
    Column("wrapped_key", LargeBinary),
    Column("created_at", UtcDateTime, nullable=False),
    Column("erased_at", UtcDateTime),
)

SEAL = Table(
    "rakiza_events_seal",
    METADATA,
    Column("size", BigKey, primary_key=True, autoincrement=False),
    Column("root", LargeBinary, nullable=False),
    Column("note", Text, nullable=False),
    Column("sealed_at", UtcDateTime, nullable=False),
)

TILE = Table(
    "rakiza_events_tile",
    METADATA,
    Column("level", SmallInteger, primary_key=True, autoincrement=False),
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("hashes", LargeBinary, nullable=False),
)

ANCHOR = Table(
    "rakiza_events_anchor",
    METADATA,
    Column("size", BigKey, primary_key=True, autoincrement=False),
    Column("name", Text, primary_key=True),
    Column("receipt", Text, nullable=False),
    Column("anchored_at", UtcDateTime, nullable=False),
)

NEVER_CHANGED = (EVENT, TAG, SEAL, TILE, ANCHOR)
"""The tables whose rows the database itself refuses to change or delete."""
