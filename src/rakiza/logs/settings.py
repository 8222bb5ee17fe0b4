"""Settings of the log files."""

import re
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import msgspec

from rakiza._kernel import RoomSettings

Level = Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL", "debug", "info", "warning", "error", "critical"]


class LogSettings(RoomSettings, frozen=True, kw_only=True):
    """Say where the log files are, what they hold and how large they grow."""

    room: ClassVar[str] = "logs"
    env: ClassVar[dict[str, str]] = {"dir": "LOG_DIR", "level": "LOG_LEVEL", "json": "LOG_JSON_FORMAT"}
    env |= {"max_bytes": "LOG_MAX_BYTES", "backup_count": "LOG_BACKUP_COUNT"}

    dir: Path | None = None
    """Folder of the files; `<home>/logs` when not given."""
    level: Level = "INFO"
    """Lowest level that is written."""
    json: bool = True
    """Write one JSON object a line; plain text otherwise."""
    max_bytes: Annotated[int, msgspec.Meta(ge=4096)] = 10 * 1024 * 1024
    """Size in bytes at which a file is rotated."""
    backup_count: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 10
    """How many rotated files are kept beside the live one."""
    compress: bool = False
    """Compress rotated files (gzip) in the background."""
    console: bool = True
    """Write to the terminal as well."""
    console_level: Level | None = None
    """Lowest level on the terminal; when not given, `level` in development and WARNING elsewhere."""
    pretty: bool | None = None
    """Write for a reader at the terminal: short time, colours, the ids; when not given, on a terminal and in development."""
    files: bool = True
    """Write the files at all."""
    redact: bool = True
    """Replace secrets and personal data by `[redacted]`."""
    redact_keys: tuple[str, ...] = ()
    """Further names of fields whose values are replaced, separated by commas."""
    redact_patterns: tuple[str, ...] = ()
    """Further regular expressions whose matches are replaced, separated by commas."""
    redact_emails: bool = False
    """Replace e-mail addresses as well."""
    sampling: tuple[str, ...] = ()
    """Share of the lines below WARNING that a noisy logger keeps, such as `sqlalchemy.engine=0.1`, separated by commas."""
    slow_query_ms: Annotated[float, msgspec.Meta(ge=0)] = 500.0
    """Milliseconds from which `log_query` warns about a statement."""

    def __post_init__(self) -> None:
        """Refuse a pattern or a share that cannot be read."""
        self.ratios()
        for pattern in self.redact_patterns:
            try:
                re.compile(pattern)
            except re.error as error:
                raise ValueError(f"redact_patterns: {pattern!r} is no regular expression: {error}") from None

    def ratios(self) -> dict[str, float]:
        """Return the share (0 to 1) that each noisy logger keeps; raise ValueError for one that is no number."""
        pairs = [entry.partition("=") for entry in self.sampling]
        try:
            return {name.strip(): min(1.0, max(0.0, float(share))) for name, _, share in pairs}
        except ValueError:
            raise ValueError(f"sampling: expected logger=0.1, found {', '.join(self.sampling)}") from None
