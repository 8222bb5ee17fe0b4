"""The probes."""

from rakiza._kernel import OPS_READ, PUBLIC, Request, Response, Route, json_response
from rakiza._kernel.http import JSON, Handler
from rakiza.errors import NotFoundError

from .service import Health

HEALTH_JSON = b"application/health+json"
_TEXT = b"text/plain; charset=utf-8"


def _plain(ok: bool, good: bytes, bad: bytes) -> Response:
    return Response(good if ok else bad, 200 if ok else 503, content_type=_TEXT)


def _kind(accept: str) -> bytes:
    """Return the form asked for: browsers and JSON clients get plain JSON, who asks for text only the status, anybody else the health form."""
    if "text/plain" in accept and "json" not in accept and "*/*" not in accept:
        return _TEXT
    return JSON if ("text/html" in accept or "application/json" in accept) and "health+json" not in accept else HEALTH_JSON


def routes(health: Health) -> tuple[Route, ...]:
    """Return the routes of the probes."""

    def livez(_: Request) -> Response:
        return _plain(True, b"ok", b"")

    def readyz(_: Request) -> Response:
        return _plain(health.ready, b"ready", b"not ready")

    def startupz(_: Request) -> Response:
        return _plain(health.started, b"started", b"starting")

    def report(request: Request, *, with_details: bool, only: str = "") -> Response:
        try:
            body = health.report(with_details=with_details, only=only, group=request.query.get("group", ""))
        except KeyError as missing:
            raise NotFoundError(f"no component or group {missing}", message_ar="لا يوجد مكوّن أو مجموعة بهذا الاسم") from None
        kind, code = _kind(request.header("accept")), 503 if body["status"] == "fail" else 200
        found = json_response(body, code) if kind is not _TEXT else Response(str(body["status"]).encode(), code)
        found.headers = [(name, kind if name == b"content-type" else value) for name, value in found.headers]
        return found

    def healthz(request: Request) -> Response:
        principal = request.context.principal
        return report(request, with_details=principal is not None and principal.may(OPS_READ))

    def component(request: Request) -> Response:
        return report(request, with_details=True, only=request.params["component"])

    def probe(path: str, handler: Handler, summary: str, permission: str = PUBLIC) -> Route:
        return Route(method="GET", path=path, handler=handler, permission=permission, summary=summary, inline=True, quiet=True)

    return (
        probe("/livez", livez, "Alive"),
        probe("/readyz", readyz, "Ready for requests"),
        probe("/startupz", startupz, "Started"),
        *(probe(path, healthz, "Health; details for operators") for path in ("/healthz", "/health", "/api/health")),
        probe("/healthz/{component}", component, "One component", OPS_READ),
    )
