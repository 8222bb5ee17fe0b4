"""Create the job queue, its workers, queues, schedules and history."""

import sqlalchemy as sa
from alembic import op

from rakiza.store import BigKey, JsonText, UtcDateTime

revision = "0001"
down_revision = None

UNFINISHED = "state in ('ready', 'retry', 'running')"
ONE_OF_A_KEY = "unique_key is not null and " + UNFINISHED


def upgrade() -> None:
    """Create the tables."""
    _create_jobs()
    _create_work()
    _create_schedules()


def _tenant(primary_key: bool = False) -> sa.Column[str]:
    return sa.Column("tenant_id", sa.Text, nullable=False, server_default="default", primary_key=primary_key)


def _partial(name: str, columns: list[str], condition: str, unique: bool = False) -> None:
    where = sa.text(condition)
    op.create_index(name, "rakiza_jobs_job", columns, unique=unique, sqlite_where=where, postgresql_where=where)


def _create_jobs() -> None:
    op.create_table(
        "rakiza_jobs_job",
        sa.Column("id", BigKey, primary_key=True),
        _tenant(),
        sa.Column("queue", sa.Text, nullable=False),
        sa.Column("task", sa.Text, nullable=False),
        sa.Column("payload", JsonText, nullable=False),
        sa.Column("context", JsonText),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("waits_for", sa.Text),
        sa.Column("priority", sa.SmallInteger, nullable=False),
        sa.Column("run_at", UtcDateTime, nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("max_attempts", sa.Integer, nullable=False),
        sa.Column("tries", sa.Integer, nullable=False),
        sa.Column("timeout_seconds", sa.Float),
        sa.Column("rescues", sa.SmallInteger, nullable=False),
        sa.Column("pending", sa.Integer, nullable=False),
        sa.Column("followed", sa.Boolean, nullable=False),
        sa.Column("unique_key", sa.Text),
        sa.Column("unique_window", sa.Boolean, nullable=False),
        sa.Column("concurrency_key", sa.Text),
        sa.Column("key_limit", sa.SmallInteger),
        sa.Column("paced", sa.Boolean, nullable=False),
        sa.Column("tags", sa.Text),
        sa.Column("worker", sa.Text),
        sa.Column("created_at", UtcDateTime, nullable=False),
        sa.Column("started_at", UtcDateTime),
        sa.Column("finished_at", UtcDateTime),
        sa.Column("progress", sa.SmallInteger),
        sa.Column("progress_text", sa.Text),
        sa.Column("result", JsonText),
        sa.Column("errors", JsonText),
        sa.Column("cancel_requested", sa.Boolean, nullable=False),
        sqlite_autoincrement=True,
    )
    _partial("ix_rakiza_jobs_job_in_line", ["queue", "priority", "run_at", "id"], "state in ('ready', 'retry') and waits_for is null")
    _partial("ix_rakiza_jobs_job_waiting", ["waits_for", "run_at", "id", "state", "queue"], "waits_for is not null")
    _partial("ix_rakiza_jobs_job_running", ["worker"], "state = 'running'")
    _partial("ix_rakiza_jobs_job_finished", ["state", "finished_at", "id", "queue"], "finished_at is not null")
    _partial("ix_rakiza_jobs_job_key", ["concurrency_key", "state", "priority", "run_at"], "concurrency_key is not null and " + UNFINISHED)
    _partial("uq_rakiza_jobs_job_unique_key", ["tenant_id", "unique_key"], ONE_OF_A_KEY, unique=True)
    _partial("ix_rakiza_jobs_job_unique_window", ["tenant_id", "unique_key", "created_at"], "unique_window")
    op.create_table(
        "rakiza_jobs_edge",
        sa.Column("before_id", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("after_id", sa.BigInteger, primary_key=True, autoincrement=False),
    )
    op.create_index("ix_rakiza_jobs_edge_after_id", "rakiza_jobs_edge", ["after_id"])
    op.create_table(
        "rakiza_jobs_log",
        sa.Column("id", BigKey, primary_key=True),
        sa.Column("job_id", sa.BigInteger, nullable=False),
        sa.Column("at", UtcDateTime, nullable=False),
        sa.Column("level", sa.Text, nullable=False),
        sa.Column("message", sa.Text, nullable=False),
    )
    op.create_index("ix_rakiza_jobs_log_job_id_id", "rakiza_jobs_log", ["job_id", "id"])


def _create_work() -> None:
    op.create_table(
        "rakiza_jobs_worker",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("host", sa.Text, nullable=False),
        sa.Column("place", sa.Text, nullable=False),
        sa.Column("pid", sa.Integer, nullable=False),
        sa.Column("queues", sa.Text, nullable=False),
        sa.Column("concurrency", sa.Integer, nullable=False),
        sa.Column("running", sa.Integer, nullable=False),
        sa.Column("started_at", UtcDateTime, nullable=False),
        sa.Column("seen_at", UtcDateTime, nullable=False),
        sa.Column("stopping", sa.Boolean, nullable=False),
    )
    op.create_table(
        "rakiza_jobs_queue",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("paused", sa.Boolean, nullable=False),
        sa.Column("concurrency", sa.Integer),
        sa.Column("max_running", sa.Integer),
        sa.Column("rate", sa.Integer),
        sa.Column("rate_seconds", sa.Float),
        sa.Column("per_key", sa.Integer),
        sa.Column("key_rate", sa.Integer),
        sa.Column("key_rate_seconds", sa.Float),
        sa.Column("arrival", UtcDateTime),
        sa.Column("updated_at", UtcDateTime, nullable=False),
    )
    op.create_table(
        "rakiza_jobs_pace",
        sa.Column("queue", sa.Text, primary_key=True),
        sa.Column("key", sa.Text, primary_key=True),
        sa.Column("arrival", UtcDateTime, nullable=False),
    )
    op.create_index("ix_rakiza_jobs_pace_arrival", "rakiza_jobs_pace", ["arrival"])
    op.create_table(
        "rakiza_jobs_tally",
        sa.Column("minute", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("queue", sa.Text, primary_key=True),
        sa.Column("task", sa.Text, primary_key=True),
        sa.Column("done", sa.Integer, nullable=False),
        sa.Column("failed", sa.Integer, nullable=False),
        sa.Column("retried", sa.Integer, nullable=False),
        sa.Column("cancelled", sa.Integer, nullable=False),
        sa.Column("run_ms", sa.BigInteger, nullable=False),
        sa.Column("wait_ms", sa.BigInteger, nullable=False),
    )


def _create_schedules() -> None:
    op.create_table(
        "rakiza_jobs_schedule",
        _tenant(primary_key=True),
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("expression", sa.Text, nullable=False),
        sa.Column("timezone", sa.Text, nullable=False),
        sa.Column("task", sa.Text, nullable=False),
        sa.Column("payload", JsonText, nullable=False),
        sa.Column("options", JsonText, nullable=False),
        sa.Column("missed", sa.Text, nullable=False),
        sa.Column("enabled", sa.Boolean, nullable=False),
        sa.Column("next_at", UtcDateTime),
        sa.Column("last_at", UtcDateTime),
        sa.Column("last_job_id", sa.BigInteger),
        sa.Column("error", sa.Text),
        sa.Column("declared", sa.Text),
        sa.Column("edited", sa.Boolean, nullable=False),
        sa.Column("created_at", UtcDateTime, nullable=False),
        sa.Column("updated_at", UtcDateTime, nullable=False),
    )
    op.create_index("ix_rakiza_jobs_schedule_next_at", "rakiza_jobs_schedule", ["next_at"])
    op.create_table(
        "rakiza_jobs_lease",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("owner", sa.Text, nullable=False),
        sa.Column("until", UtcDateTime, nullable=False),
    )
