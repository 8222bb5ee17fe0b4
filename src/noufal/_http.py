"""What every HTTP handler of the ERP shares: the guard, the caller, and errors as problem+json."""

import re
from collections.abc import AsyncGenerator
from typing import Any, cast

import msgspec
from litestar import Litestar, Request, Response
from litestar.connection import ASGIConnection
from litestar.datastructures import FormMultiDict
from litestar.exceptions import HTTPException, InternalServerException
from litestar.handlers import BaseRouteHandler
from litestar.handlers.http_handlers import HTTPRouteHandler
from litestar.openapi.datastructures import ResponseSpec

from noufal.membership import PROJECT_PERMISSIONS
from rakiza import Platform
from rakiza._kernel import PUBLIC, SIGNED_IN, Principal, current
from rakiza.errors import (
    AppError,
    BadRequestError,
    ForbiddenError,
    MethodNotAllowedError,
    NotFoundError,
    TooLargeError,
    UnauthorizedError,
    ValidationError,
    problem,
    unexpected,
)

PROBLEM_JSON = "application/problem+json"
PERMISSION = "permission"
_NAMED = re.compile(r"field `(\w+)`$")
_BY_STATUS: dict[int, type[AppError]] = {400: BadRequestError, 405: MethodNotAllowedError, 413: TooLargeError}


class ProblemFinding(msgspec.Struct, kw_only=True):
    """Name what is wrong: a field of the request, or a cell of a workbook."""

    message_en: str
    message_ar: str
    code: str | msgspec.UnsetType = msgspec.UNSET
    field: str | msgspec.UnsetType = msgspec.UNSET
    sheet: str | msgspec.UnsetType = msgspec.UNSET
    row: int | msgspec.UnsetType | None = msgspec.UNSET
    column: str | msgspec.UnsetType | None = msgspec.UNSET


class Problem(msgspec.Struct, kw_only=True):
    """Describe an error as RFC 9457 does, with a stable code and both languages."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    message_en: str
    message_ar: str
    request_id: str
    hint: str | msgspec.UnsetType = msgspec.UNSET
    errors: list[ProblemFinding] | msgspec.UnsetType = msgspec.UNSET


PROBLEMS = {
    status: ResponseSpec(Problem, description=text, generate_examples=False, media_type=PROBLEM_JSON)
    for status, text in {
        400: "The request cannot be read",
        401: "Nobody is signed in",
        403: "The caller may not do this",
        404: "There is no such thing, or none the caller may know of",
        409: "Somebody was faster; `current` is the fresh state",
        413: "The body is too large",
        422: "The input breaks a rule; `errors` names each place",
        429: "Too many requests; try again after `Retry-After` seconds",
        503: "The database or a part of the server is away for now",
    }.items()
}
"""What every route may answer besides its own success."""


class ErpRequest(Request[Any, Any, Any]):
    """Read a body; what the client did wrong is the client's error and no fault of ours to record."""

    async def stream(self) -> AsyncGenerator[bytes, None]:
        """Yield the body; raise BadRequestError when the client leaves halfway."""
        try:
            async for piece in super().stream():
                yield piece
        except InternalServerException:  # the framework's only one here
            raise BadRequestError("the client went away before its body had arrived", code="client_disconnected") from None

    async def json(self) -> object:
        """Return the body read as JSON; raise BadRequestError for bytes that are no UTF-8 and for bottomless nesting."""
        try:
            return await super().json()
        except UnicodeDecodeError:
            raise BadRequestError("the body is not UTF-8 text", code="malformed_json", message_ar="محتوى الطلب ليس نصا بترميز UTF-8") from None
        except RecursionError:
            raise BadRequestError("the body is nested too deeply", code="malformed_json") from None

    async def form(self) -> FormMultiDict:
        """Return the body read as a form; raise BadRequestError for a field in no known encoding."""
        try:
            return await super().form()
        except (UnicodeDecodeError, LookupError):
            text_ar = "حقل في النموذج ليس نصا مقروءا"
            raise BadRequestError("a field of the form is not UTF-8 text", code="malformed_form", message_ar=text_ar) from None


async def read_form(request: Request[Any, Any, Any]) -> None:
    """Read a form before the framework does it for the handler, which would let the sender's errors through as ours."""
    await request.form()


def caller() -> Principal:
    """Return who calls; raise UnauthorizedError outside a signed-in request."""
    context = current()
    if context is None or context.principal is None:
        raise UnauthorizedError("sign in first", hint="sign in at /sign-in")
    return context.principal


async def guard(_: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
    """Let a request through only with the permission its route declares; those of a project are judged where the project is known."""
    permission = handler.opt.get(PERMISSION, SIGNED_IN)  # only the framework's own OPTIONS handlers declare none: see check_permissions
    if permission == PUBLIC:
        return
    principal = caller()
    if permission not in PROJECT_PERMISSIONS and not principal.may(permission):
        raise ForbiddenError(f"this needs the permission {permission}")


def check_permissions(app: Litestar) -> None:
    """Raise ValueError when a route of the ERP declares no permission, or one that does not exist."""
    known = PROJECT_PERMISSIONS | {PUBLIC, SIGNED_IN, "projects.create"}
    for route in app.routes:
        for handler in getattr(route, "route_handlers", ()):
            if isinstance(handler, HTTPRouteHandler) and handler.opt.get(PERMISSION) not in known and not handler.opt.get("is_options"):
                if handler.http_methods == {"OPTIONS"}:
                    continue
                raise ValueError(f"{sorted(handler.http_methods)} {route.path} declares no known permission; say opt={{'permission': …}}")


def problem_response(error: AppError) -> Response[bytes]:
    """Return the problem+json answer to an expected error."""
    context = current()
    return Response(problem(error, context.request_id if context else ""), status_code=error.status, media_type=PROBLEM_JSON, headers=error.headers)


def error_handlers(platform: Platform) -> dict[type[Exception], object]:
    """Return the handlers that answer expected, framework and unforeseen errors."""

    def expected(_: Request[Any, Any, Any], error: AppError) -> Response[bytes]:
        return problem_response(error)

    def framework(_: Request[Any, Any, Any], error: HTTPException) -> Response[bytes]:
        return problem_response(_translated(error))

    def unforeseen(_: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
        context = current()
        return problem_response(unexpected(context.request_id if context else ""))

    return {AppError: expected, HTTPException: framework, Exception: unforeseen}


def _translated(error: HTTPException) -> AppError:
    """Return a framework error in our form; what failed validation becomes a 422 with its fields named."""
    fields = cast("list[dict[str, str]]", error.extra) if isinstance(error.extra, list) else []
    if error.status_code == 400 and fields:
        findings = [_finding(field) for field in fields]
        said = "; ".join(f"{one['field']}: {one['message_en']}" if one["field"] else one["message_en"] for one in findings)
        return ValidationError(said, errors=findings)
    headers = dict(error.headers or {})
    if error.status_code == 404:
        return NotFoundError("there is nothing at this address", message_ar="لا شيء في هذا العنوان", headers=headers)
    kind = _BY_STATUS.get(error.status_code)
    return kind(error.detail, headers=headers) if kind else _HttpStatusError(error.status_code, error.detail, headers)


def _finding(field: dict[str, str]) -> dict[str, str]:
    """Return what the framework says of one field; of a field missing from the body it names only the body."""
    key, said = field.get("key", ""), field.get("message", "")
    if key == "data":
        named = _NAMED.search(said)
        key = named[1] if named else ""
        said = "the body is missing" if said == "'data'" else said
    return {"field": key, "message_en": said, "message_ar": f"قيمة غير صحيحة في الحقل {key}" if key else "محتوى الطلب غير صحيح"}


class _HttpStatusError(AppError):
    """Carry a status the tree has no name for (405, 413, 415 …)."""

    def __init__(self, status: int, detail: str, headers: dict[str, str]) -> None:
        self.status = status  # type: ignore[misc] # one class for every other status
        super().__init__(detail, code=f"http_{status}", headers=headers)
