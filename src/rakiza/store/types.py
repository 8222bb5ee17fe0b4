"""Column types and the naming convention every room's tables share."""

from datetime import UTC, datetime

import sqlalchemy as sa
from sqlalchemy.types import TypeDecorator, TypeEngine

NAMING_CONVENTION = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}

BigKey = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
"""64-bit key that counts up by itself on both engines (SQLite does so only for INTEGER)."""


def metadata() -> sa.MetaData:
    """Return table definitions whose constraints get stable names, so that later migrations can drop them."""
    return sa.MetaData(naming_convention=NAMING_CONVENTION)


def as_utc(value: datetime | str) -> datetime:
    """Return the aware UTC time of a raw timestamp column, as `tx.rows` gives it (datetime on PostgreSQL, text on SQLite)."""
    moment = datetime.fromisoformat(value) if isinstance(value, str) else value
    return moment.astimezone(UTC)


def utc_text(value: datetime) -> str:
    """Return the text SQLite keeps for an aware time: 27 characters that sort by time; raise ValueError for a naive one."""
    if value.tzinfo is None:
        raise ValueError(f"{value.isoformat()} has no time zone; the store keeps moments, so give an aware datetime")
    return value.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


class UtcDateTime(TypeDecorator[datetime]):
    """Keep a moment: aware UTC in and out; timestamptz on PostgreSQL, fixed-width ISO 8601 text on SQLite."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def load_dialect_impl(self, dialect: sa.Dialect) -> TypeEngine[datetime] | TypeEngine[str]:
        """Return text for SQLite, timestamptz elsewhere."""
        return dialect.type_descriptor(sa.String(27)) if dialect.name == "sqlite" else dialect.type_descriptor(sa.DateTime(timezone=True))

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> datetime | str | None:
        """Return what the driver stores; raise ValueError for a naive time."""
        if value is None:
            return None
        text = utc_text(value)
        return text if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | str | None, dialect: sa.Dialect) -> datetime | None:
        """Return the aware UTC time."""
        return None if value is None else as_utc(value)


class JsonText(TypeDecorator[str]):
    """Keep JSON as the text it was written as: `json` on PostgreSQL (not `jsonb`, which rewrites it and would break seals), text on SQLite."""

    impl = sa.Text
    cache_ok = True

    def load_dialect_impl(self, dialect: sa.Dialect) -> TypeEngine[str]:
        """Return `json` for PostgreSQL, text elsewhere."""
        return dialect.type_descriptor(sa.JSON() if dialect.name == "postgresql" else sa.Text())

    def bind_processor(self, dialect: sa.Dialect) -> None:
        """Give the driver the text as it is: the type of PostgreSQL would encode it once more."""

    def result_processor(self, dialect: sa.Dialect, coltype: object) -> None:
        """Take the text as it is."""

    def column_expression(self, column: sa.ColumnElement[str]) -> sa.ColumnElement[str]:
        """Read the column as text: the driver of PostgreSQL would decode it."""
        return sa.cast(column, sa.Text)
