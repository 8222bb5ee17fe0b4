"""The probes."""

from rakiza._kernel import OPS_READ, PUBLIC, Request, Response, Route, json_response
from rakiza._kernel.http import PROBLEM, Handler

from .service import Health

HEALTH_JSON = b"application/health+json"
_TEXT = b"text/plain; charset=utf-8"


def _plain(ok: bool, good: bytes, bad: bytes) -> Response:
    return Response(good if ok else bad, 200 if ok else 503, content_type=_TEXT)


def routes(health: Health) -> tuple[Route, ...]:
    """Return the routes of the probes."""

    def livez(_: Request) -> Response:
        return _plain(True, b"ok", b"")

    def readyz(_: Request) -> Response:
        return _plain(health.ready, b"ready", b"not ready")

    def startupz(_: Request) -> Response:
        return _plain(health.started, b"started", b"starting")

    def healthz(request: Request) -> Response:
        principal = request.context.principal
        body = health.report(with_details=principal is not None and principal.may(OPS_READ))
        response = json_response(body, 503 if body["status"] == "fail" else 200)
        response.headers = [(name, HEALTH_JSON if name == b"content-type" else value) for name, value in response.headers]
        return response

    def component(request: Request) -> Response:
        name = request.params["component"]
        if all(seen.check.name != name for seen in health.observations()):
            return Response(b'{"status":404,"title":"Not Found","code":"not_found","detail":"no such component"}', 404, content_type=PROBLEM)
        return json_response(health.report(with_details=True, only=name))

    def probe(path: str, handler: Handler, summary: str, permission: str = PUBLIC) -> Route:
        return Route(method="GET", path=path, handler=handler, permission=permission, summary=summary, inline=True, quiet=True)

    return (
        probe("/livez", livez, "Alive"),
        probe("/readyz", readyz, "Ready for requests"),
        probe("/startupz", startupz, "Started"),
        *(probe(path, healthz, "Health; details for operators") for path in ("/healthz", "/health", "/api/health")),
        probe("/healthz/{component}", component, "One component", OPS_READ),
    )
