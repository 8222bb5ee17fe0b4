"""The tree of expected errors and their one form on the wire, RFC 9457 problem details."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import ClassVar

import msgspec

from rakiza._kernel import Redactor

_encode = msgspec.json.Encoder().encode


class AppError(Exception):
    """Fail in a way the caller can be told: a status, a stable code, what happened in both languages, and how to mend it."""

    status: ClassVar[int] = 500
    code: ClassVar[str] = "error"
    text_ar: ClassVar[str] = "حدث خطأ"

    def __init__(
        self, detail: str = "", *, code: str | None = None, hint: str | None = None, message_ar: str | None = None,
        errors: Sequence[object] | None = None, extra: Mapping[str, object] | None = None, headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail or HTTPStatus(self.status).phrase)
        self.detail, self.stable_code, self.message_ar = str(self), code or self.code, message_ar or self.text_ar
        self.hint, self.errors, self.extra, self.headers = hint, errors, extra, dict(headers or {})
        if hint:
            self.add_note(f"hint: {hint}")  # where nobody answers a request, a traceback shows it


class ValidationError(AppError):
    """Refuse input that breaks a rule (422)."""

    status, code, text_ar = 422, "validation_failed", "البيانات المدخلة غير صحيحة"


class BadRequestError(AppError):
    """Refuse input that cannot be read at all (400)."""

    status, code, text_ar = 400, "bad_request", "تعذرت قراءة الطلب"


class UnauthorizedError(AppError):
    """Ask the caller to sign in (401)."""

    status, code, text_ar = 401, "unauthorized", "يلزم تسجيل الدخول"


class ForbiddenError(AppError):
    """Refuse a caller who is known but may not (403)."""

    status, code, text_ar = 403, "forbidden", "لا تملك صلاحية هذا الإجراء"


class NotFoundError(AppError):
    """Say that there is no such thing, or none the caller may know of (404)."""

    status, code, text_ar = 404, "not_found", "العنصر المطلوب غير موجود"


class MethodNotAllowedError(AppError):
    """Refuse a method the path does not have (405)."""

    status, code, text_ar = 405, "method_not_allowed", "هذه الطريقة غير متاحة لهذا العنوان"


class RequestTimeoutError(AppError):
    """Give up on a request whose body does not arrive (408)."""

    status, code, text_ar = 408, "body_timeout", "لم يصل الطلب كاملا في الوقت المحدد"


class ConflictError(AppError):
    """Refuse a change that another change has overtaken (409)."""

    status, code, text_ar = 409, "conflict", "عُدّل العنصر من مكان آخر"


class TooLargeError(AppError):
    """Refuse a body over the limit (413)."""

    status, code, text_ar = 413, "too_large", "حجم البيانات أكبر من المسموح"


class RateLimitError(AppError):
    """Ask the caller to slow down (429)."""

    status, code, text_ar = 429, "rate_limited", "طلبات كثيرة، حاول بعد قليل"

    def __init__(self, retry_after_seconds: float, detail: str = "", *, code: str | None = None) -> None:
        seconds = max(1, int(retry_after_seconds + 0.999))
        super().__init__(detail or f"too many requests; try again in {seconds} s", code=code, headers={"retry-after": str(seconds)})


class ServiceUnavailableError(AppError):
    """Say that something needed is away for now (503)."""

    status, code, text_ar = 503, "unavailable", "الخدمة غير متاحة مؤقتا"


class MissingExtraError(ServiceUnavailableError):
    """Say that an optional package is not installed (503)."""

    text_ar = "حزمة اختيارية لازمة غير مثبتة"

    def __init__(self, extra: str) -> None:
        super().__init__(f"this needs the extra `{extra}`", code=f"{extra}_extra", hint=f"pip install 'rakiza[{extra}]'")


def problem(error: AppError, request_id: str = "") -> bytes:
    """Return the problem+json body of an error (RFC 9457)."""
    body: dict[str, object] = {"type": "about:blank", "title": HTTPStatus(error.status).phrase, "status": error.status, "detail": error.detail}
    body |= {"code": error.stable_code, "message_en": error.detail, "message_ar": error.message_ar, "request_id": request_id}
    body |= {"hint": error.hint} if error.hint else {}
    body |= {"errors": error.errors} if error.errors is not None else {}
    body |= error.extra or {}
    try:
        return _encode(body)
    except UnicodeEncodeError:  # half a surrogate pair, which a client's JSON may hold
        return _encode(Redactor(on=False).nested(body))


def unexpected(request_id: str) -> AppError:
    """Return the error shown for an exception nobody foresaw: its request id and nothing of its text."""
    hint, arabic = f"give the request id {request_id} to whoever runs this system", "تعذر إتمام الطلب، وسُجّل الخطأ"
    return AppError("the server failed to answer; the error has been recorded", code="internal_error", hint=hint, message_ar=arabic)


def from_validation(error: msgspec.ValidationError | msgspec.DecodeError) -> AppError:
    """Return the 422 (well-formed but wrong) or 400 (not JSON) for what msgspec refused, with the field named."""
    text = str(error)
    if not isinstance(error, msgspec.ValidationError):
        return BadRequestError(f"the body is not valid JSON: {text}", code="malformed_json")
    reason, _, path = text.partition(" - at `")
    field = path.rstrip("`").removeprefix("$").removeprefix(".")
    message = f"{field}: {reason}" if field else reason
    finding = {"field": field, "message_en": reason, "message_ar": f"قيمة غير صحيحة في الحقل {field}" if field else "قيمة غير صحيحة"}
    return ValidationError(message, errors=[finding])
