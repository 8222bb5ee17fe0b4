"""What can go wrong with events, in words that say what, where and how to mend it."""

from rakiza.errors import AppError, ConflictError, ServiceUnavailableError


class SealError(ServiceUnavailableError):
    """Say that the audit trail cannot be sealed, proven or exported as it stands (503)."""

    code = "events_seal"
    text_ar = "تعذر ختم سجل التدقيق أو إثباته بحالته الحالية"


class KeyFileError(ServiceUnavailableError):
    """Say that a key cannot be read or made (503)."""

    code = "events_key"
    text_ar = "تعذرت قراءة مفتاح التشفير أو إنشاؤه"


class MissingExtraError(ServiceUnavailableError):
    """Say that an optional package is not installed (503)."""

    code = "events_extra"
    text_ar = "حزمة اختيارية لازمة غير مثبتة"

    def __init__(self, extra: str = "events") -> None:
        super().__init__(f"this needs the extra `{extra}`", hint=f"pip install 'rakiza[{extra}]'")


class SealedDataError(AppError):
    """Say that personal data cannot be opened: another key, another event, or changed bytes (500)."""

    code = "events_sealed_data"
    text_ar = "تعذر فتح البيانات الشخصية: المفتاح مختلف أو البيانات معدلة"

    def __init__(self, detail: str = "the key does not fit, or the sealed bytes were changed") -> None:
        super().__init__(detail, hint="restore the key (KEK) that this database's subjects were sealed with")


class SubjectErasedError(ConflictError):
    """Refuse to seal data of a person whose data was erased (409)."""

    code = "events_subject_erased"
    text_ar = "بيانات هذا الشخص حُذفت ولا يمكن تسجيل بيانات جديدة له"
