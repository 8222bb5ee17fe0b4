"""Errors of backups; each says what was kept safe."""

from rakiza.errors import AppError, ConflictError, NotFoundError, ServiceUnavailableError


class BackupError(AppError):
    """Say that a backup, a look at one or a restore did not come about (500)."""

    status, code, text_ar = 500, "backup_failed", "تعذر إتمام النسخ الاحتياطي"


class BackupDamagedError(BackupError):
    """Refuse a backup that is not whole; live data was not touched (422)."""

    status, code, text_ar = 422, "backup_damaged", "النسخة الاحتياطية تالفة، ولم تُمس البيانات الحية"


class BackupNotFoundError(NotFoundError):
    """Say that there is no backup of that name (404)."""

    code, text_ar = "backup_not_found", "لا توجد نسخة احتياطية بهذا الاسم"


class BackupRunningError(ConflictError):
    """Say that another process works on this folder (409)."""

    code, text_ar = "backup_running", "تعمل عملية أخرى على النسخ الاحتياطية الآن"


class BackupRefusedError(ConflictError):
    """Refuse to do what would lose the last good copy or mix two databases (409)."""

    code, text_ar = "backup_refused", "مرفوض حفاظا على البيانات"


class NoRoomError(ServiceUnavailableError):
    """Say that the disk has too little room; nothing was begun (503)."""

    code, text_ar = "backup_no_room", "لا تكفي مساحة القرص"
