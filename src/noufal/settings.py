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
    background_import_bytes: Annotated[int, msgspec.Meta(ge=0)] = 2 * 1024 * 1024
    """Workbooks larger than this are imported by a job, whose progress the page shows, in bytes."""
    public_url: Annotated[str, msgspec.Meta(pattern=r"^https?://[^\s/]+")] = "http://127.0.0.1:8000"
    """The address under which people reach the ERP, for the links in mails."""
