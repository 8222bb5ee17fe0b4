"""The endpoints of metrics and traces."""

from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec

from rakiza._kernel import OPS_READ, Request, Response, Route, json_response
from rakiza._kernel.http import PROBLEM

from ._history import TEXT_HOLDS, TraceHistory
from ._metrics import Metrics
from ._spans import Record

_NO_TRACE = b'{"status":404,"title":"Not Found","code":"not_found","detail":"no such trace is kept here"}'


class TraceQuery(msgspec.Struct, frozen=True):
    """Narrow the list of traces."""

    limit: Annotated[int, msgspec.Meta(ge=1, le=500)] = 50
    cursor: Annotated[str, msgspec.Meta(pattern=r"^\d{0,18}$")] = ""
    route: str = ""
    q: str = ""
    min_ms: Annotated[float, msgspec.Meta(ge=0, le=1e12)] = 0.0
    errors: bool | None = None
    since: datetime | None = None

    def conditions(self) -> list[tuple[str, object]]:
        """Return what each trace must fulfil, in SQL."""
        since = self.since and (self.since if self.since.tzinfo else self.since.replace(tzinfo=UTC)).timestamp()
        given = (
            ("id < ?", self.cursor and int(self.cursor)),
            ("route = ?", self.route),
            (TEXT_HOLDS, self.q),
            ("ended - started >= ?", self.min_ms / 1000),
            ("started >= ?", since),
            ("(errors > 0) = ?", self.errors),
        )
        return [(condition, value) for condition, value in given if value not in {"", None}]


def routes(metrics: Metrics, history: TraceHistory) -> tuple[Route, ...]:
    """Return the routes of metrics and traces."""

    def show_metrics(request: Request) -> Response:
        body, content_type = metrics.negotiated(request.header("accept"))
        return Response(body, headers=[(b"vary", b"accept")], content_type=content_type)

    def list_traces(request: Request) -> Response:
        query = request.decode_query(TraceQuery)
        found = history.page(query.limit + 1, query.conditions())
        more = str(found[query.limit - 1]["id"]) if len(found) > query.limit else None
        return json_response({"items": [_item(row) for row in found[: query.limit]], "next_cursor": more})

    def show_trace(request: Request) -> Response:
        trace_id = request.params["trace_id"]
        spans = history.spans(trace_id)
        return json_response(_shown(trace_id, spans)) if spans else Response(_NO_TRACE, 404, content_type=PROBLEM)

    return (
        Route(method="GET", path="/metrics", handler=show_metrics, permission=OPS_READ, summary="Metrics for Prometheus", quiet=True),
        Route(method="GET", path="/api/traces", handler=list_traces, permission=OPS_READ, summary="Traces, newest first"),
        Route(method="GET", path="/api/traces/{trace_id}", handler=show_trace, permission=OPS_READ, summary="One trace with its spans"),
    )


def _item(row: dict[str, Any]) -> dict[str, object]:
    started, ended, _ = row.pop("started"), row.pop("ended"), row.pop("id")
    return {**row, "started_at": _moment(started), "duration_ms": _ms(ended - started)}


def _shown(trace_id: str, spans: list[Record]) -> dict[str, object]:
    start, end = min(span.start for span in spans), max(span.end for span in spans)
    return {"trace_id": trace_id, "started_at": _moment(start), "duration_ms": _ms(end - start), "spans": [_span(span, start) for span in spans]}


def _span(span: Record, start: float) -> dict[str, object]:
    events = [{"name": name, "at_ms": _ms(at - start), "attributes": said} for name, at, said in span.events]
    times = {"start_ms": _ms(span.start - start), "duration_ms": _ms(span.end - span.start), "parent_id": span.parent_id or None}
    return {**{key: value for key, value in span._asdict().items() if key not in {"start", "end"}}, **times, "events": events}


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).astimezone().isoformat(timespec="milliseconds")


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 3)
