"""Backups of the database, SQLite or PostgreSQL: made whole, checked, kept by a policy, and brought back at once or not at all.

    from flask import Flask
    from rakiza.backup import init_backup

    app = Flask("shop")
    app.config.update(DATABASE_URL="sqlite:///shop.db", BACKUP_DIR="backups", MAX_BACKUPS=7)
    backup = init_backup(app)                        # in a platform: platform.backups

    made = backup.create_backup()                    # backup_20251106_153045.db.zst
    newest = backup.list_backups()[0]
    assert newest.filename == made.filename
    assert backup.verify_backup(newest.filename)     # brought to life aside, its rows counted
    assert backup.restore_backup(newest.filename)    # checked first; a backup of the live data is made before

Without a platform it is `DatabaseBackup(database_url, backup_dir="backups", max_backups=7)`, and by the clock
`BackupScheduler(backup).schedule_daily_backup(hour=2, minute=0)`. What a restore refuses leaves the live data as they were.
"""

from rakiza._kernel import attach

from ._aside import Comparison, Difference, Slice
from ._attached import Extracted
from ._core import Attached, BackupInfo, RetentionPolicy
from ._outcomes import Aside, Restoration, Verification
from .errors import BackupDamagedError, BackupError, BackupNotFoundError, BackupRefusedError, BackupRunningError, NoRoomError
from .part import part
from .scheduler import BackupScheduler, ScheduledBackup
from .service import DatabaseBackup
from .settings import BackupSettings

__all__ = [
    "Aside", "Attached", "BackupDamagedError", "BackupError", "BackupInfo", "BackupNotFoundError", "BackupRefusedError", "BackupRunningError",
    "BackupScheduler", "BackupSettings", "Comparison", "DatabaseBackup", "Difference", "Extracted", "NoRoomError", "Restoration", "RetentionPolicy",
    "ScheduledBackup", "Slice", "Verification", "init_backup", "part",
]


def init_backup(app: object) -> DatabaseBackup:
    """Give `app` backups of its database and return what makes them; raises as `integrate` does."""
    return attach(app, "backup", DatabaseBackup)
