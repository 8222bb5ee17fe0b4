"""Settings of backups."""

from pathlib import Path
from typing import Annotated, ClassVar, Literal

import msgspec

from rakiza._kernel import RoomSettings

from ._core import RetentionPolicy

Count = Annotated[int, msgspec.Meta(ge=0, le=10_000)]


class BackupSettings(RoomSettings, frozen=True, kw_only=True):
    """Say where backups go, how many are kept and when they are made."""

    room: ClassVar[str] = "backup"
    env: ClassVar[dict[str, str]] = {
        "folder": "BACKUP_DIR", "max_backups": "MAX_BACKUPS", "scheduler": "ENABLE_BACKUP_SCHEDULER",
        "hour": "BACKUP_HOUR", "minute": "BACKUP_MINUTE",
    }

    folder: Path | None = None
    """The folder of the backups; when not given, `<home>/backups`."""
    max_backups: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 7
    """How many of the newest backups are kept."""
    keep_daily: Count = 0
    """Of how many further days the newest backup is kept."""
    keep_weekly: Count = 0
    """Of how many further weeks the newest backup is kept."""
    keep_monthly: Count = 0
    """Of how many further months the newest backup is kept."""
    keep_yearly: Count = 0
    """Of how many further years the newest backup is kept."""
    keep_before: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 1
    """PostgreSQL: how many of the databases that restores put aside are kept, and each for a day at least."""
    format: Literal["snapshot", "text"] = "snapshot"
    """`snapshot` is the fast form (`.db.zst`, `.dump.zst`), `text` the specified SQL text (`.sql.gz`)."""
    scheduler: bool = False
    """Whether a backup is made every day by the clock."""
    hour: Annotated[int, msgspec.Meta(ge=0, le=23)] = 2
    """The hour of the daily backup."""
    minute: Annotated[int, msgspec.Meta(ge=0, le=59)] = 0
    """Its minute."""
    drill: Literal["off", "daily", "weekly", "monthly"] = "weekly"
    """How often the newest backup is tried while the scheduler is on: two hours after the daily one, weekly on Friday, monthly on the 1st."""
    timezone: str = "UTC"
    """The time zone of hour and minute, such as `Asia/Riyadh`."""
    max_age_hours: Annotated[float, msgspec.Meta(gt=0)] = 26.0
    """Older than this, the newest good backup is a warning of the check `backup` while the scheduler is on."""
    pitr: Literal["none", "pgbackrest", "litestream"] = "none"
    """The tool beside us that can bring back any moment; `doctor` looks at its work."""
    pitr_config: Path | None = None
    """Where its configuration lies; when not given, `/etc/pgbackrest/pgbackrest.conf` or `/etc/litestream.yml`."""
    megabytes_a_second: Annotated[float, msgspec.Meta(ge=0)] = 0.0
    """How fast a backup reads at most; 0 is as fast as it can."""
    recipients: tuple[str, ...] = ()
    """Public keys of age (`age1…`), commas between, for whose holders alone backups are encrypted; `backup key` makes one. Needs `encryption`."""
    identity_file: Path | None = None
    """The file with the secret key, only where backups are brought back or tried, and only meanwhile. Who loses it has lost the backups."""
    include: tuple[Path, ...] = ()
    """Files and folders that go along with each backup, commas between, such as those of uploaded files."""
    attach: bool = True
    """Whether configuration, seals and what `include` names go along."""

    offsite: tuple[str, ...] = ()
    """Where each backup is taken as well, with commas between: `s3://bucket/prefix`, `az://container/prefix`, `gs://…`, `file:///mnt/…`."""
    offsite_delete: bool = True
    """Whether backups that the policy does not keep are deleted there too."""
    offsite_timeout_seconds: Annotated[float, msgspec.Meta(gt=0, le=3600)] = 60.0
    """How long one request to such a place may take; a backup is sent in parts of 5 MB."""

    @property
    def policy(self) -> RetentionPolicy:
        """Return which backups are kept."""
        return RetentionPolicy(
            last=self.max_backups, daily=self.keep_daily, weekly=self.keep_weekly, monthly=self.keep_monthly, yearly=self.keep_yearly
        )
