"""Errors people are told about (`AppError` and its tree, as RFC 9457 problem+json) and errors nobody foresaw (captured).

    from rakiza.errors import NotFoundError, problem
    body = problem(NotFoundError("no project VILLA-09", hint="see the list of projects"), request_id="4bf9…")
"""

from ._tree import (
    AppError,
    BadRequestError,
    ConflictError,
    ForbiddenError,
    MethodNotAllowedError,
    NotFoundError,
    RateLimitError,
    RequestTimeoutError,
    ServiceUnavailableError,
    TooLargeError,
    UnauthorizedError,
    ValidationError,
    from_validation,
    problem,
    unexpected,
)
from .part import part
from .service import CapturedError, ErrorTracker
from .settings import ErrorSettings

__all__ = [
    "AppError",
    "BadRequestError",
    "CapturedError",
    "ConflictError",
    "ErrorSettings",
    "ErrorTracker",
    "ForbiddenError",
    "MethodNotAllowedError",
    "NotFoundError",
    "RateLimitError",
    "RequestTimeoutError",
    "ServiceUnavailableError",
    "TooLargeError",
    "UnauthorizedError",
    "ValidationError",
    "from_validation",
    "part",
    "problem",
    "unexpected",
]
