"""Settings of the security room."""

from typing import Annotated, ClassVar

import msgspec

from rakiza._kernel import RoomSettings

MIN_KEY_CHARACTERS = 20
MIN_KEY_VARIETY = 8
Positive = Annotated[int, msgspec.Meta(ge=1)]


class SecuritySettings(RoomSettings, frozen=True, kw_only=True):
    """Say how people and operators prove who they are."""

    room: ClassVar[str] = "security"
    env: ClassVar[dict[str, str]] = {"ops_api_key": "OPS_API_KEY", "environment": "APP_ENV"}

    environment: str = "production"
    """`development` lets loopback callers read operator pages while no operator key is set; anything else does not."""
    ops_api_key: str = ""
    """The operator's key for the `X-API-Key` header; empty means none. A weak one stops the start."""
    session_idle_minutes: Positive = 30
    """A session unused for so long ends."""
    session_absolute_hours: Positive = 12
    """A session ends so long after sign-in, used or not."""
    session_touch_seconds: Annotated[int, msgspec.Meta(ge=0)] = 60
    """The last use of a session is written at most this often."""
    session_cache_seconds: Annotated[float, msgspec.Meta(ge=0, le=300)] = 5.0
    """How long a session may be known from memory; a sign-out in another process takes at most so long to be seen."""
    session_cache_entries: Positive = 16_384
    """How many sessions are known from memory at most."""
    argon2_memory_kib: Annotated[int, msgspec.Meta(ge=8)] = 19_456
    """Memory of one password hash in KiB (OWASP minimum for Argon2id with two passes)."""
    argon2_time: Positive = 2
    """Passes of one password hash."""
    argon2_parallelism: Positive = 1
    """Lanes of one password hash."""
    hashing_threads: Positive = 2
    """How many password hashes run at once."""
    hashing_queue: Annotated[int, msgspec.Meta(ge=0)] = 64
    """How many sign-ins may wait for a hash; further ones are answered 503."""
    login_per_account_per_minute: Positive = 5
    """Sign-in attempts for one account; a growing wait follows."""
    login_per_ip_per_minute: Positive = 30
    """Sign-in attempts from one address (one /64 network for IPv6)."""
    password_min_length: Annotated[int, msgspec.Meta(ge=8, le=64)] = 15
    """Characters a password needs at least (NIST SP 800-63B-4 for a password alone)."""
    link_minutes: Positive = 30
    """How long a one-time sign-in link lives."""

    def __post_init__(self) -> None:
        """Refuse a weak operator key; raise ValueError, which never shows the key."""
        weakness = key_weakness(self.ops_api_key)
        if weakness:
            raise ValueError(f"OPS_API_KEY {weakness}; make one with: python -c 'import secrets; print(secrets.token_urlsafe(32))'")
        if self.argon2_memory_kib < 8 * self.argon2_parallelism:
            raise ValueError("argon2_memory_kib must be at least 8 for each lane of argon2_parallelism")

    def __repr__(self) -> str:
        """Show everything but the key."""
        shown = (f"{name}={getattr(self, name)!r}" for name in self.__struct_fields__ if name != "ops_api_key")
        return f"SecuritySettings({', '.join(shown)}, ops_api_key={'***' if self.ops_api_key else ''!r})"


def key_weakness(key: str) -> str | None:
    """Return why an operator key is too weak, or none for a sound or an empty one; never shows the key."""
    if not key:
        return None
    if len(key) < MIN_KEY_CHARACTERS:
        return f"is too weak: {len(key)} characters, at least {MIN_KEY_CHARACTERS} are needed"
    if len(set(key)) < MIN_KEY_VARIETY:
        return f"is too weak: only {len(set(key))} different characters"
    if not (key.isascii() and key.isprintable()) or " " in key:
        return "cannot travel in a header: use ASCII letters, digits and signs without spaces"
    return None
