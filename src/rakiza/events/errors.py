"""What can go wrong with events, in words that say what, where and how to mend it."""

from collections.abc import Sequence

from rakiza.errors import AppError, ConflictError, ServiceUnavailableError, ValidationError


class EventError(ValidationError):
    """Say that an event cannot be written as it was given (422); nothing was written."""

    code = "event_invalid"
    text_ar = "لا يمكن تسجيل هذا الحدث كما هو"


class VersionConflictError(ConflictError):
    """Say that a stream is at another version than the writer expected (409); `expected` and `actual` tell which."""

    code = "event_version_conflict"
    text_ar = "سبقك تعديل آخر؛ أعد المحاولة على الحالة الجديدة"

    def __init__(self, stream: str, expected: int, actual: int) -> None:
        super().__init__(f"{stream} is at version {actual}, not {expected}", hint="read the stream again and decide anew")
        self.expected, self.actual = expected, actual


class EventIdTakenError(ConflictError):
    """Say that an event of the same `event_id` but other content is stored already (409)."""

    code = "event_id_taken"
    text_ar = "معرف الحدث مستخدم لحدث آخر"


class AppendConditionError(ConflictError):
    """Say that the log holds an event that the condition of an append rules out (409)."""

    code = "event_condition_failed"
    text_ar = "تغيرت الوقائع التي بني عليها القرار؛ أعد المحاولة"


class RebuildRunningError(ConflictError):
    """Say that the next generation of the projection is being built already (409)."""

    code = "events_rebuild_running"
    text_ar = "إعادة بناء هذا العرض جارية بالفعل"

    def __init__(self, name: str) -> None:
        super().__init__(f"{name} is being rebuilt already", hint="watch its progress in events.projections()")


class EventsBusyError(ServiceUnavailableError):
    """Say that the queue of events to be written stayed full (503); the event was not written."""

    code = "events_busy"
    text_ar = "سجل الأحداث مشغول، حاول بعد قليل"

    def __init__(self, detail: str) -> None:
        super().__init__(detail, hint="try again with the same event_id", headers={"retry-after": "1"})


class EventsUnavailableError(ServiceUnavailableError):
    """Say that the database went away while an event was written (503): it may or may not be stored, so repeat it with the same `event_id`."""

    code = "events_unavailable"
    text_ar = "انقطع الاتصال بقاعدة البيانات أثناء التسجيل؛ أعد المحاولة بالمعرف نفسه"

    def __init__(self, detail: str, event_ids: Sequence[str] = ()) -> None:
        shown = ", ".join(event_ids[:3]) + ("…" if len(event_ids) > 3 else "")
        super().__init__(f"{detail}; the outcome is unknown", hint=f"repeat the append with the same event_id ({shown})")
        self.event_ids = tuple(event_ids)


class SealError(ServiceUnavailableError):
    """Say that the audit trail cannot be sealed, proven or exported as it stands (503)."""

    code = "events_seal"
    text_ar = "تعذر ختم سجل التدقيق أو إثباته بحالته الحالية"


class KeyFileError(ServiceUnavailableError):
    """Say that a key cannot be read or made (503)."""

    code = "events_key"
    text_ar = "تعذرت قراءة مفتاح التشفير أو إنشاؤه"


class SealedDataError(AppError):
    """Say that personal data cannot be opened: another key, another event, or changed bytes (500)."""

    code = "events_sealed_data"
    text_ar = "تعذر فتح البيانات الشخصية: المفتاح مختلف أو البيانات معدلة"

    def __init__(self, detail: str = "the key does not fit, or the sealed bytes were changed", *, hint: str | None = None) -> None:
        super().__init__(detail, hint=hint or "restore the key (KEK) that this database's subjects were sealed with")


class SubjectErasedError(ConflictError):
    """Refuse to seal data of a person whose data was erased (409)."""

    code = "events_subject_erased"
    text_ar = "بيانات هذا الشخص حُذفت ولا يمكن تسجيل بيانات جديدة له"
