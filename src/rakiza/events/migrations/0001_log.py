"""Create the log, its counter, what is derived from it, and the guards that keep what is written."""

import sqlalchemy as sa
from alembic import op

from rakiza.events.tables import EventId
from rakiza.store import BigKey, JsonText, UtcDateTime

revision = "0001"
down_revision = None

KEPT = ("event", "tag", "seal", "tile", "anchor")


def upgrade() -> None:
    """Create tables, guards and, on PostgreSQL, the function that appends."""
    _create_log()
    _create_followers()
    _create_seals()
    op.execute("insert into rakiza_events_head (shard, position) values (0, 0)")
    if op.get_bind().dialect.name == "postgresql":
        op.execute(GUARD)
        for name in KEPT:
            op.execute(
                f"create trigger rakiza_events_{name}_kept before update or delete or truncate on rakiza_events_{name}"
                " for each statement execute function rakiza_events_refuse()"
            )
            op.execute(f"revoke update, delete, truncate on rakiza_events_{name} from current_user")
        op.execute(APPEND)
    else:
        for name in KEPT:
            for verb in ("update", "delete"):
                op.execute(
                    f"create trigger rakiza_events_{name}_no_{verb} before {verb} on rakiza_events_{name}"
                    f" begin select raise(abort, 'rakiza_events_{name} is append-only'); end"
                )


def _tenant(primary_key: bool = False) -> sa.Column[str]:
    return sa.Column("tenant_id", sa.Text, nullable=False, server_default="default", primary_key=primary_key)


def _create_log() -> None:
    op.create_table(
        "rakiza_events_head",
        sa.Column("shard", sa.SmallInteger, primary_key=True, autoincrement=False),
        sa.Column("position", sa.BigInteger, nullable=False),
        postgresql_with={"fillfactor": 50},
    )
    op.create_table(
        "rakiza_events_event",
        sa.Column("position", BigKey, primary_key=True, autoincrement=False),
        _tenant(),
        sa.Column("aggregate_type", sa.Text, nullable=False),
        sa.Column("aggregate_id", sa.Text, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("event_id", EventId, nullable=False),
        sa.Column("event_type", sa.Text, nullable=False),
        sa.Column("schema_version", sa.Integer, nullable=False),
        sa.Column("payload", JsonText, nullable=False),
        sa.Column("sealed", sa.Text),
        sa.Column("metadata", JsonText, nullable=False),
        sa.Column("user_id", sa.Text),
        sa.Column("correlation_id", sa.Text),
        sa.Column("causation_id", sa.Text),
        sa.Column("tags", sa.Text),
        sa.Column("recorded_at", UtcDateTime, nullable=False),
        sa.UniqueConstraint("tenant_id", "aggregate_type", "aggregate_id", "version"),
        sa.UniqueConstraint("event_id", "tenant_id"),
    )
    op.create_index("ix_rakiza_events_event_event_type_position", "rakiza_events_event", ["event_type", "position"])
    op.create_index("ix_rakiza_events_event_correlation_id", "rakiza_events_event", ["correlation_id"])
    if op.get_bind().dialect.name == "postgresql":
        op.create_index("ix_rakiza_events_event_recorded_at", "rakiza_events_event", ["recorded_at"], postgresql_using="brin")
    op.create_table(
        "rakiza_events_tag",
        _tenant(primary_key=True),
        sa.Column("tag", sa.Text, primary_key=True),
        sa.Column("position", BigKey, primary_key=True, autoincrement=False),
    )
    op.create_table(
        "rakiza_events_subject",
        _tenant(primary_key=True),
        sa.Column("subject", sa.Text, primary_key=True),
        sa.Column("wrapped_key", sa.LargeBinary),
        sa.Column("created_at", UtcDateTime, nullable=False),
        sa.Column("erased_at", UtcDateTime),
    )


def _create_followers() -> None:
    op.create_table(
        "rakiza_events_snapshot",
        _tenant(primary_key=True),
        sa.Column("aggregate_type", sa.Text, primary_key=True),
        sa.Column("aggregate_id", sa.Text, primary_key=True),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("schema_hash", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("taken_at", UtcDateTime, nullable=False),
    )
    op.create_table(
        "rakiza_events_checkpoint",
        _tenant(primary_key=True),
        sa.Column("projection", sa.Text, primary_key=True),
        sa.Column("generation", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("position", sa.BigInteger, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("owner", sa.Text),
        sa.Column("seen_at", UtcDateTime, nullable=False),
        sa.Column("error", sa.Text),
    )
    op.create_table(
        "rakiza_events_dead_letter",
        _tenant(primary_key=True),
        sa.Column("projection", sa.Text, primary_key=True),
        sa.Column("position", BigKey, primary_key=True, autoincrement=False),
        sa.Column("event_id", sa.Text, nullable=False),
        sa.Column("event_type", sa.Text, nullable=False),
        sa.Column("error", sa.Text, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("failed_at", UtcDateTime, nullable=False),
    )


def _create_seals() -> None:
    op.create_table(
        "rakiza_events_seal",
        sa.Column("size", BigKey, primary_key=True, autoincrement=False),
        sa.Column("root", sa.LargeBinary, nullable=False),
        sa.Column("note", sa.Text, nullable=False),
        sa.Column("sealed_at", UtcDateTime, nullable=False),
    )
    op.create_table(
        "rakiza_events_tile",
        sa.Column("level", sa.SmallInteger, primary_key=True, autoincrement=False),
        sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("hashes", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "rakiza_events_anchor",
        sa.Column("size", BigKey, primary_key=True, autoincrement=False),
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("receipt", sa.Text, nullable=False),
        sa.Column("anchored_at", UtcDateTime, nullable=False),
    )


GUARD = """
create function rakiza_events_refuse() returns trigger language plpgsql as $$
begin
  raise exception '% is append-only', tg_table_name using errcode = 'insufficient_privilege';
end $$
"""

# Statements inside a volatile function each see what was committed before them, so what is read after the update of the
# counter is read under its lock; one statement with common table expressions would read from before the wait.
# The batch is one JSON text: encoding it and reading it again costs less than fourteen arrays.
APPEND = """
create function rakiza_events_append(
  batch json, at timestamptz, expecting boolean, tagged boolean, out first bigint, out versions int[]) language plpgsql as $$
declare n int := json_array_length(batch);
begin
  update rakiza_events_head set position = position + n where shard = 0 returning position - n into strict first;
  with given as (
    select * from rows from (json_to_recordset(batch) as (tenant text, aggregate_type text, aggregate_id text, event_id uuid,
      event_type text, schema_version int, payload text,
      sealed text, metadata text, user_id text, correlation_id text, causation_id text, tags text)) with ordinality),
  made as (
    insert into rakiza_events_event (position, tenant_id, aggregate_type, aggregate_id, version, event_id, event_type, schema_version,
      payload, sealed, metadata, user_id, correlation_id, causation_id, tags, recorded_at)
    select first + g.ordinality, g.tenant, g.aggregate_type, g.aggregate_id,
      coalesce((select max(e.version) from rakiza_events_event e
        where e.tenant_id = g.tenant and e.aggregate_type = g.aggregate_type and e.aggregate_id = g.aggregate_id), 0)
      + row_number() over (partition by g.tenant, g.aggregate_type, g.aggregate_id order by g.ordinality),
      g.event_id, g.event_type, g.schema_version, g.payload::json, g.sealed, g.metadata::json,
      g.user_id, g.correlation_id, g.causation_id, nullif(g.tags, '[]'), at
    from given g
    returning position, version)
  select array_agg(made.version order by made.position) into versions from made;
  if expecting and exists (select 1 from rows from (json_to_recordset(batch) as (expected int), unnest(versions)) as c(expected, version)
      where c.expected <> c.version - 1) then
    raise exception 'a stream is not at the expected version' using errcode = 'RK001';
  end if;
  if tagged then
    insert into rakiza_events_tag (tenant_id, tag, position)
    select g.tenant, t.tag, first + g.ordinality
    from rows from (json_to_recordset(batch) as (tenant text, tags json)) with ordinality as g(tenant, tags, ordinality)
    cross join lateral json_array_elements_text(g.tags) as t(tag);
  end if;
  perform pg_notify('rakiza_events', '');
end $$
"""
