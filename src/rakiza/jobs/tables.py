"""Tables of the job queue."""

from typing import Any

from sqlalchemy import BigInteger, Boolean, Column, Float, Index, Integer, SmallInteger, Table, Text, text

from rakiza.store import BigKey, JsonText, UtcDateTime, metadata

METADATA = metadata()

IN_LINE = "state in ('ready', 'retry') and waits_for is null"
"""What a claim may take. The index of it is partial, so the statement must say these words."""
UNFINISHED = "state in ('ready', 'retry', 'running')"
ONE_OF_A_KEY = "unique_key is not null and " + UNFINISHED


def _partial(name: str, condition: str, *columns: Column[Any], unique: bool = False) -> None:
    Index(name, *columns, unique=unique, sqlite_where=text(condition), postgresql_where=text(condition))


def _tenant(primary_key: bool = False) -> Column[str]:
    return Column("tenant_id", Text, nullable=False, server_default="default", primary_key=primary_key)


JOB = Table(
    "rakiza_jobs_job",
    METADATA,
    Column("id", BigKey, primary_key=True),
    _tenant(),
    Column("queue", Text, nullable=False),
    Column("task", Text, nullable=False),
    Column("payload", JsonText, nullable=False),
    Column("context", JsonText),
    Column("state", Text, nullable=False),
    Column("waits_for", Text),
    Column("priority", SmallInteger, nullable=False),
    Column("run_at", UtcDateTime, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("max_attempts", Integer, nullable=False),
    Column("tries", Integer, nullable=False),
    Column("timeout_seconds", Float),
    Column("rescues", SmallInteger, nullable=False),
    Column("pending", Integer, nullable=False),
    Column("followed", Boolean, nullable=False),
    Column("unique_key", Text),
    Column("unique_window", Boolean, nullable=False),
    Column("concurrency_key", Text),
    Column("key_limit", SmallInteger),
    Column("paced", Boolean, nullable=False),
    Column("tags", Text),
    Column("worker", Text),
    Column("created_at", UtcDateTime, nullable=False),
    Column("started_at", UtcDateTime),
    Column("finished_at", UtcDateTime),
    Column("progress", SmallInteger),
    Column("progress_text", Text),
    Column("result", JsonText),
    Column("errors", JsonText),
    Column("cancel_requested", Boolean, nullable=False),
    sqlite_autoincrement=True,
)
"""Ids are never given twice, not even after pruning: jobs are told apart by them outside."""

# Partial indexes stay small under millions of finished rows, and a change of state touches only those of its two states.
# What follows the time in two of them lets an operator page and count without a look at the rows.
_partial("ix_rakiza_jobs_job_in_line", IN_LINE, JOB.c.queue, JOB.c.priority, JOB.c.run_at, JOB.c.id)
_partial("ix_rakiza_jobs_job_waiting", "waits_for is not null", JOB.c.waits_for, JOB.c.run_at, JOB.c.id, JOB.c.state, JOB.c.queue)
_partial("ix_rakiza_jobs_job_running", "state = 'running'", JOB.c.worker)
_partial("ix_rakiza_jobs_job_finished", "finished_at is not null", JOB.c.state, JOB.c.finished_at, JOB.c.id, JOB.c.queue)
_partial("ix_rakiza_jobs_job_key", "concurrency_key is not null and " + UNFINISHED, JOB.c.concurrency_key, JOB.c.state, JOB.c.priority, JOB.c.run_at)
_partial("uq_rakiza_jobs_job_unique_key", ONE_OF_A_KEY, JOB.c.tenant_id, JOB.c.unique_key, unique=True)
_partial("ix_rakiza_jobs_job_unique_window", "unique_window", JOB.c.tenant_id, JOB.c.unique_key, JOB.c.created_at)

EDGE = Table(
    "rakiza_jobs_edge",
    METADATA,
    Column("before_id", BigInteger, primary_key=True, autoincrement=False),
    Column("after_id", BigInteger, primary_key=True, autoincrement=False),
)
Index(None, EDGE.c.after_id)

LOG = Table(
    "rakiza_jobs_log",
    METADATA,
    Column("id", BigKey, primary_key=True),
    Column("job_id", BigInteger, nullable=False),
    Column("at", UtcDateTime, nullable=False),
    Column("level", Text, nullable=False),
    Column("message", Text, nullable=False),
)
Index(None, LOG.c.job_id, LOG.c.id)

WORKER = Table(
    "rakiza_jobs_worker",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("host", Text, nullable=False),
    Column("place", Text, nullable=False),
    Column("pid", Integer, nullable=False),
    Column("queues", Text, nullable=False),
    Column("concurrency", Integer, nullable=False),
    Column("running", Integer, nullable=False),
    Column("started_at", UtcDateTime, nullable=False),
    Column("seen_at", UtcDateTime, nullable=False),
    Column("stopping", Boolean, nullable=False),
)

QUEUE = Table(
    "rakiza_jobs_queue",
    METADATA,
    Column("name", Text, primary_key=True),
    Column("paused", Boolean, nullable=False),
    Column("concurrency", Integer),
    Column("max_running", Integer),
    Column("rate", Integer),
    Column("rate_seconds", Float),
    Column("per_key", Integer),
    Column("key_rate", Integer),
    Column("key_rate_seconds", Float),
    Column("arrival", UtcDateTime),
    Column("updated_at", UtcDateTime, nullable=False),
)

PACE = Table(
    "rakiza_jobs_pace",
    METADATA,
    Column("queue", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("arrival", UtcDateTime, nullable=False),
)
"""When the jobs of one key that have started, or have a moment of their own, are paid for."""
Index(None, PACE.c.arrival)

SCHEDULE = Table(
    "rakiza_jobs_schedule",
    METADATA,
    _tenant(primary_key=True),
    Column("name", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("expression", Text, nullable=False),
    Column("timezone", Text, nullable=False),
    Column("task", Text, nullable=False),
    Column("payload", JsonText, nullable=False),
    Column("options", JsonText, nullable=False),
    Column("missed", Text, nullable=False),
    Column("enabled", Boolean, nullable=False),
    Column("next_at", UtcDateTime),
    Column("last_at", UtcDateTime),
    Column("last_job_id", BigInteger),
    Column("error", Text),
    Column("declared", Text),
    Column("edited", Boolean, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
)
Index(None, SCHEDULE.c.next_at)

LEASE = Table(
    "rakiza_jobs_lease",
    METADATA,
    Column("name", Text, primary_key=True),
    Column("owner", Text, nullable=False),
    Column("until", UtcDateTime, nullable=False),
)

TALLY = Table(
    "rakiza_jobs_tally",
    METADATA,
    Column("minute", BigInteger, primary_key=True, autoincrement=False),
    Column("queue", Text, primary_key=True),
    Column("task", Text, primary_key=True),
    Column("done", Integer, nullable=False),
    Column("failed", Integer, nullable=False),
    Column("retried", Integer, nullable=False),
    Column("cancelled", Integer, nullable=False),
    Column("run_ms", BigInteger, nullable=False),
    Column("wait_ms", BigInteger, nullable=False),
)
"""What happened in one minute (whole minutes since the epoch), for the charts."""
