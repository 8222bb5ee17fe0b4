"""Tables of the security room."""

from sqlalchemy import Column, ForeignKey, Index, Integer, String, Table, Text, UniqueConstraint

from rakiza.store import BigKey, UtcDateTime, metadata

METADATA = metadata()


def _tenant() -> Column[str]:
    return Column("tenant_id", Text, nullable=False, server_default="default")


USER = Table(
    "rakiza_security_user",
    METADATA,
    Column("id", BigKey, primary_key=True, autoincrement=True),
    _tenant(),
    Column("uuid", String(36), nullable=False),
    Column("email", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("role", Text, nullable=False),
    Column("locale", Text),
    Column("password_hash", Text),
    Column("disabled_at", UtcDateTime),
    Column("created_at", UtcDateTime, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
    Column("version", Integer, nullable=False, server_default="1"),
    UniqueConstraint("tenant_id", "email"),
    UniqueConstraint("tenant_id", "uuid"),
)

SESSION = Table(
    "rakiza_security_session",
    METADATA,
    Column("hash", String(64), primary_key=True),
    _tenant(),
    Column("user_id", BigKey, ForeignKey(USER.c.id, ondelete="CASCADE"), nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("seen_at", UtcDateTime, nullable=False),
    Column("expires_at", UtcDateTime, nullable=False),
    Column("ip", Text, nullable=False),
    Column("device", Text, nullable=False),
    Column("via", Text, nullable=False),
    Column("revoked_at", UtcDateTime),
)
Index(None, SESSION.c.user_id)

LINK = Table(
    "rakiza_security_link",
    METADATA,
    Column("hash", String(64), primary_key=True),
    _tenant(),
    Column("user_id", BigKey, ForeignKey(USER.c.id, ondelete="CASCADE"), nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("expires_at", UtcDateTime, nullable=False),
    Column("used_at", UtcDateTime),
)
Index(None, LINK.c.user_id)
