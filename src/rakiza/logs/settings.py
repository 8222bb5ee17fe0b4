"""Settings of the log files."""

from pathlib import Path
from typing import Annotated, ClassVar, Literal

import msgspec

from rakiza._kernel import RoomSettings

Level = Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"]


class LogSettings(RoomSettings, frozen=True, kw_only=True):
    """Say where the log files are, what they hold and how large they grow."""

    room: ClassVar[str] = "logs"
    env: ClassVar[dict[str, str]] = {
        "dir": "LOG_DIR",
        "level": "LOG_LEVEL",
        "json": "LOG_JSON_FORMAT",
        "max_bytes": "LOG_MAX_BYTES",
        "backup_count": "LOG_BACKUP_COUNT",
    }

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
    console: bool = True
    """Write warnings and errors to the terminal as well."""
    files: bool = True
    """Write the files at all."""
