"""Errors people are told about (`AppError` and its tree, as RFC 9457 problem+json) and errors nobody foresaw (captured, grouped, kept).

    from rakiza.errors import ErrorTracker, NotFoundError, problem
    body = problem(NotFoundError("no project VILLA-09", hint="see the list of projects"), request_id="4bf9…")
    tracker = ErrorTracker()
    try:
        1 / 0
    except ZeroDivisionError as error:
        tracker.capture_exception(error)
    tracker.flush()
    assert tracker.groups.page()[0]["kind"] == "ZeroDivisionError"
"""

from ._tree import (  # noqa: I001 - one name a line would fill a page
    AppError, BadRequestError, ConflictError, ForbiddenError, MethodNotAllowedError, MissingExtraError, NotFoundError, RateLimitError,
    RequestTimeoutError, ServiceUnavailableError, TooLargeError, UnauthorizedError, ValidationError, from_validation, problem, unexpected,
)
from .part import part
from .service import ErrorTracker, capture_exception, capture_message, init_sentry
from .settings import ErrorSettings

__all__ = [
    "AppError", "BadRequestError", "ConflictError", "ErrorSettings", "ErrorTracker", "ForbiddenError", "MethodNotAllowedError",
    "MissingExtraError", "NotFoundError", "RateLimitError", "RequestTimeoutError", "ServiceUnavailableError", "TooLargeError",
    "UnauthorizedError", "ValidationError", "capture_exception", "capture_message", "from_validation", "init_sentry", "part", "problem",
    "unexpected",
]
