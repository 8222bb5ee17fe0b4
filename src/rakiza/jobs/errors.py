"""What a queue refuses, and what a handler may raise to say how its job goes on."""

from collections.abc import Sequence

from rakiza.errors import AppError, ConflictError, NotFoundError, ValidationError

LONGEST_SECONDS = 10 * 366 * 86_400
"""The longest pause or delay: ten years."""


class JobError(ValidationError):
    """Refuse a job, a handler or a limit that cannot be."""

    code, text_ar = "job_invalid", "المهمة غير صالحة"


class JobArgumentsError(JobError):
    """Refuse arguments that do not fit the handler's types; `errors` names the field."""

    code, text_ar = "job_arguments", "معطيات المهمة لا تناسب معالجها"

    def __init__(self, detail: str, *, field: str = "", hint: str | None = None) -> None:
        found: Sequence[object] = [{"field": field, "message_en": detail, "message_ar": f"قيمة غير صحيحة في الحقل {field}"}] if field else []
        super().__init__(detail, hint=hint, errors=found)


class ScheduleError(JobError):
    """Refuse a schedule that cannot be read or would never fire."""

    code, text_ar = "job_schedule", "الجدول الزمني غير صالح"


class ScheduleNotFoundError(NotFoundError):
    """Say that there is no schedule of that name (404)."""

    code, text_ar = "job_schedule_not_found", "لا يوجد جدول زمني بهذا الاسم"


class JobStateError(ConflictError):
    """Refuse an action that the state of a job does not allow (409)."""

    code, text_ar = "job_state", "حالة المهمة لا تسمح بهذا الإجراء"


class JobFailedError(AppError):
    """Say that a job whose result was waited for has failed or was cancelled."""

    code, text_ar = "job_failed", "أخفقت المهمة"


class Outcome(Exception):  # noqa: N818 - not an error: a handler says how its job goes on
    """Be raised by a handler to say how its job goes on."""


class Retry(Outcome):
    """Count this attempt as failed and try again after so many seconds, the usual pause when none are given."""

    def __init__(self, reason: str = "", *, after: float | None = None) -> None:
        super().__init__(reason or "the handler asked for another attempt")
        self.after = None if after is None else _seconds(after)


class Snooze(Outcome):
    """Run again after so many seconds, one at least; it counts as no attempt."""

    def __init__(self, seconds: float, reason: str = "") -> None:
        self.after = max(1.0, _seconds(seconds))
        super().__init__(reason or f"snoozed for {self.after:g} s")


def _seconds(value: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= LONGEST_SECONDS:
        raise JobError(f"{value!r} is no pause", hint=f"give seconds from 0 to {LONGEST_SECONDS:,}")
    return float(value)


class Cancel(Outcome):
    """End the job for good: another attempt would not help."""

    def __init__(self, reason: str = "") -> None:
        super().__init__(reason or "the handler cancelled the job")


class JobCancelled(Outcome):
    """Be raised inside a handler by `job.check()` and `job.progress()` once somebody cancelled the job."""

    def __init__(self, reason: str = "cancelled by an operator") -> None:
        super().__init__(reason)


class JobTimeout(Exception):  # noqa: N818 - named after what happened
    """Be raised inside a handler whose time is over."""


class ProcessDied(Exception):  # noqa: N818 - named after what happened
    """Say that the process a job ran in ended: by itself with an exit code, or by a signal, whose number is negative here."""

    def __init__(self, reason: str, code: int | None = None) -> None:
        super().__init__(reason)
        self.code = code
