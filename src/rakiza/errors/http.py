"""What an operator sees of errors and does about them."""

from typing import Annotated, Any, Literal

import msgspec

from rakiza._kernel import OPS_READ, OPS_WRITE, Ports, Request, Response, Route, json_response

from ._core import ITEM, hourly
from ._groups import LAST
from ._tree import NotFoundError
from .service import ErrorTracker


class Query(msgspec.Struct):
    """Choose groups."""

    state: Literal["all", "open", "resolved", "ignored", "regressed"] = "all"
    q: Annotated[str, msgspec.Meta(max_length=200)] = ""
    limit: Annotated[int, msgspec.Meta(ge=1, le=500)] = 50
    cursor: Annotated[str, msgspec.Meta(pattern=r"^([0-9T:.+-]{19,40}~[0-9a-f]{16})?$")] = ""


class NewState(msgspec.Struct, forbid_unknown_fields=True):
    """Say what becomes of a group."""

    state: Literal["resolved", "ignored", "open"]


def routes(tracker: ErrorTracker, ports: Ports) -> tuple[Route, ...]:
    """Return the routes of the error pages."""

    def page(request: Request) -> Response:
        query = request.decode_query(Query)
        seen, _, key = query.cursor.partition("~")
        tracker.flush()
        items = tracker.groups.page(query.state, query.q, query.limit + 1, (seen, key) if seen else LAST)
        shown = items[: query.limit]
        cursor = f"{shown[-1]['last_seen']}~{shown[-1]['id']}" if len(items) > len(shown) else None
        return json_response({"items": shown, "next_cursor": cursor, "counts": tracker.groups.counts()})

    def one(request: Request) -> Response:
        tracker.flush()
        kept = _there(tracker.groups.one(request.params["id"]))
        shown = {name: kept[name] for name in (*ITEM, "sample", "recent")}
        return json_response({**shown, "hourly": hourly(kept["hours"], tracker.now())})

    def change(request: Request) -> Response:
        state = request.decode(NewState).state
        kept = _there(tracker.groups.change(request.params["id"], state, tracker.now()))
        ports.audit.record("ERROR_STATE", state, f"error:{kept['id']}", {"kind": kept["kind"], "culprit": kept["culprit"]})
        return json_response({name: kept[name] for name in ITEM})

    return (
        Route(method="GET", path="/api/errors", handler=page, permission=OPS_READ, summary="Errors in groups", request_type=Query),
        Route(method="GET", path="/api/errors/{id}", handler=one, permission=OPS_READ, summary="One group of errors"),
        Route(method="POST", path="/api/errors/{id}/state", handler=change, permission=OPS_WRITE, summary="Resolve or ignore", request_type=NewState),
    )


def _there(kept: dict[str, Any] | None) -> dict[str, Any]:
    if kept is None:
        raise NotFoundError("no such error; it may have been forgotten by now", message_ar="لا يوجد خطأ بهذا الرقم، وربما حُذف لقدمه")
    return kept
