"""What an operator sees of breakers and limits and does about them."""

from typing import Annotated, Literal

import msgspec

from rakiza._kernel import OPS_READ, OPS_WRITE, Request, Response, Route, json_response
from rakiza._kernel.http import Handler

from .breaker import BreakerStats
from .service import Overview, Resilience


class ForceBody(msgspec.Struct, forbid_unknown_fields=True):
    """Say for how long, and why; a reset has no end."""

    for_seconds: Annotated[float, msgspec.Meta(gt=0)] = 600.0
    reason: Annotated[str, msgspec.Meta(max_length=500, pattern=r"^[^\x00]*\Z")] = ""


def routes(resilience: Resilience) -> tuple[Route, ...]:
    """Return the routes of the room."""

    def overview(_: Request) -> Response:
        return json_response(resilience.overview())

    def force(state: Literal["open", "closed"]) -> Handler:
        def handler(request: Request) -> Response:
            body = request.decode(ForceBody)
            return json_response(resilience.force(request.params["name"], state, body.for_seconds, body.reason))

        return handler

    def reset(request: Request) -> Response:
        return json_response(resilience.reset(request.params["name"], request.decode(ForceBody).reason))

    def act(action: str, handler: Handler, summary: str) -> Route:
        path = f"/api/resilience/breakers/{{name}}/{action}"
        return Route(
            method="POST", path=path, handler=handler, permission=OPS_WRITE, summary=summary, request_type=ForceBody, response_type=BreakerStats
        )

    looking = Route(
        method="GET", path="/api/resilience", handler=overview, permission=OPS_READ, summary="Breakers, bulkheads, limits", response_type=Overview
    )
    return (
        looking,
        act("open", force("open"), "Refuse every call for a while"),
        act("close", force("closed"), "Let every call pass for a while"),
        act("reset", reset, "Close a breaker and count anew"),
    )
