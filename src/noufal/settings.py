"""Settings of the ERP."""

from pathlib import Path
from typing import Annotated, ClassVar

import msgspec

from rakiza._kernel import RoomSettings


class NoufalSettings(RoomSettings, frozen=True, kw_only=True):
    """Say where the ERP keeps its data and who its first administrator is."""

    room: ClassVar[str] = "noufal"

    home: Path = Path("var")
    """Folder of the database and the log files."""
    admin_email: str = ""
    """E-mail address of the first administrator, created when there is no user yet."""
    admin_password: str = ""
    """Password of the first administrator; without one a one-time sign-in link is printed."""
    max_import_bytes: Annotated[int, msgspec.Meta(ge=1024)] = 50 * 1024 * 1024
    """Largest workbook taken, in bytes."""
