"""What can go wrong with a database, in words that say what, where and how to mend it."""

from rakiza.errors import ServiceUnavailableError


class StoreError(ServiceUnavailableError):
    """Say that the database cannot do its work: read-only file, full disk, damaged file, wrong address (503)."""

    code = "store_error"
    text_ar = "قاعدة البيانات لا تستجيب بشكل صحيح"


class StoreBusyError(StoreError):
    """Say that the wait for the writer, a connection or a statement took too long (503); nothing was changed."""

    code = "store_busy"
    text_ar = "قاعدة البيانات مشغولة، حاول بعد قليل"

    def __init__(self, detail: str, *, code: str | None = None, hint: str | None = None) -> None:
        super().__init__(detail, code=code, hint=hint, headers={"retry-after": "1"})


class StoreUnavailableError(StoreError):
    """Say that the database server cannot be reached or went away in the middle (503)."""

    code = "store_unavailable"
    text_ar = "تعذر الوصول إلى قاعدة البيانات"


class StoreConflictError(StoreBusyError):
    """Say that PostgreSQL undid the transaction for another one's sake (deadlock, serialization); it may be tried again (503)."""

    code = "store_conflict"


class RolledBackError(StoreError):
    """Say that the transaction was undone because a block inside it failed and the failure was swallowed."""

    code = "store_rolled_back"
    text_ar = "أُلغيت العملية لأن جزءا منها فشل"


class MigrationError(StoreError):
    """Say that the tables and the code do not fit together."""

    code = "store_migration"
    text_ar = "إصدار قاعدة البيانات لا يناسب إصدار البرنامج"


class StorageError(ServiceUnavailableError):
    """Say that object storage cannot do its work: it does not answer, refuses, or its address is wrong (503)."""

    code = "storage_failed"
    text_ar = "مخزن الملفات البعيد لا يستجيب أو يرفض الطلب"
