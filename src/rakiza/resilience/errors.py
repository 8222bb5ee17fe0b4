"""How a call ends that a policy refused or gave up."""

from rakiza.errors import AppError, ServiceUnavailableError


class NotTriedError(ServiceUnavailableError):
    """Say that a call was refused without being tried (503), and when to come again: the job queue waits that long."""

    def __init__(self, detail: str, retry_after_seconds: float) -> None:
        self.retry_after_seconds = max(0.0, retry_after_seconds)
        super().__init__(detail, headers={"retry-after": str(max(1, int(self.retry_after_seconds + 0.999)))})


class CircuitOpenError(NotTriedError):
    """Say that a circuit breaker is open: what it guards failed too often (503)."""

    code, text_ar = "circuit_open", "الخدمة الخارجية متعثرة وأوقف استدعاؤها مؤقتا، حاول بعد قليل"


class BulkheadFullError(NotTriedError):
    """Say that as many calls as allowed are at work and as many wait (503)."""

    code, text_ar = "bulkhead_full", "بلغت الاستدعاءات المتزامنة حدها الأعلى، حاول بعد قليل"


class OverloadedError(NotTriedError):
    """Say that what is called answers ever more slowly and calls are shed (503)."""

    code, text_ar = "overloaded", "الخدمة مثقلة بالطلبات، حاول بعد قليل"


class DeadlineExceededError(AppError, TimeoutError):
    """Say that there was no time left, or that an answer took too long (504)."""

    status, code, text_ar = 504, "deadline_exceeded", "انتهت المهلة قبل وصول الجواب"

    def __init__(self, detail: str, *, tried: bool = True) -> None:
        self.tried = tried
        """Whether the call was made at all."""
        super().__init__(detail)


def was_tried(error: BaseException) -> bool:
    """Tell whether the call that ended so was made at all: one that was not says nothing about what it would have called."""
    return not isinstance(error, NotTriedError) and getattr(error, "tried", True) is not False
