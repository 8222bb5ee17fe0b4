"""The traces kept on this machine: one row each with a summary and the packed spans, bounded by number, bytes and age."""

import sqlite3
from collections.abc import Iterable
from typing import Any

import msgspec

from rakiza._kernel import LocalFile
from rakiza._kernel.clock import wall_seconds

from ._spans import Record, Trace

MAX_TRACES = 20_000
MAX_BYTES = 24 * 1024 * 1024
"""Bytes of packed spans; with index and pages the table stays below 32 MB."""
MAX_TRACE_SPANS = 2_048
PRUNE_AFTER_BYTES = 1024 * 1024
PRUNE_AFTER_SECONDS = 60.0
SCHEMA = """CREATE TABLE IF NOT EXISTS telemetry_trace (
    id INTEGER PRIMARY KEY AUTOINCREMENT, trace_id TEXT NOT NULL UNIQUE, started REAL NOT NULL, ended REAL NOT NULL,
    name TEXT NOT NULL, method TEXT NOT NULL, route TEXT NOT NULL, status INTEGER NOT NULL, request_id TEXT NOT NULL,
    spans INTEGER NOT NULL, errors INTEGER NOT NULL, bytes INTEGER NOT NULL, body BLOB NOT NULL)"""
_SUMMARY = ("id", "trace_id", "started", "ended", "name", "method", "route", "status", "request_id", "spans", "errors")
_WRITE = f"INSERT INTO telemetry_trace ({', '.join(_SUMMARY[1:])}, bytes, body) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"  # noqa: S608 - own names
_READ = "SELECT body, spans FROM telemetry_trace WHERE trace_id = ?"
TEXT_HOLDS = "instr(lower(name || ' ' || route || ' ' || trace_id || ' ' || request_id), lower(?)) > 0"
_CUT = """DELETE FROM telemetry_trace WHERE id <= (SELECT max(id) FROM (SELECT id, sum(bytes) OVER w AS size, count(*) OVER w AS number
    FROM telemetry_trace WINDOW w AS (ORDER BY id DESC)) WHERE size > ? OR number > ?)"""
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[Record]).decode


class TraceHistory:
    """Write and read the local traces."""

    def __init__(self, local: LocalFile, retention_days: float) -> None:
        self._local = local
        self._retention = retention_days
        self._written = 0
        self._pruned_at = 0.0
        local.declare(SCHEMA)

    def write(self, traces: Iterable[Trace]) -> bool:
        """Write traces in one transaction, beside what is known of them already; tell whether it worked."""
        now = wall_seconds()
        by_id: dict[str, list[Record]] = {}
        for trace_id, records in traces:
            by_id.setdefault(trace_id, []).extend(records)

        def work(connection: sqlite3.Connection) -> bool:
            self._written += sum(_put(connection, *each) for each in by_id.items())
            if self._written >= PRUNE_AFTER_BYTES or abs(now - self._pruned_at) >= PRUNE_AFTER_SECONDS:
                _prune(connection, now - self._retention * 86_400)
                self._written, self._pruned_at = 0, now
            return True

        return not self._retention or self._local.write(work) is True

    def page(self, limit: int, narrowed: list[tuple[str, object]]) -> list[dict[str, Any]]:
        """Return the summaries of at most `limit` traces for which every condition holds, those written last first."""
        conditions = " AND ".join(condition for condition, _ in narrowed) or "1"
        query = f"SELECT {', '.join(_SUMMARY)} FROM telemetry_trace WHERE {conditions} ORDER BY id DESC LIMIT ?"  # noqa: S608 - own names
        values = (*(value for _, value in narrowed), limit)
        return self._local.read(lambda connection: [dict(zip(_SUMMARY, row, strict=True)) for row in connection.execute(query, values)], [])

    def spans(self, trace_id: str) -> list[Record]:
        """Return the spans of a trace by their start, none for one that is not here."""
        found = self._local.read(lambda connection: connection.execute(_READ, (trace_id,)).fetchone(), None)
        return sorted(_decode(found[0]), key=lambda span: span.start) if found is not None else []


def _put(connection: sqlite3.Connection, trace_id: str, records: list[Record]) -> int:
    row = _row(trace_id, records)
    try:
        connection.execute(_WRITE, row)
    except sqlite3.IntegrityError:
        body, spans = connection.execute(_READ, (trace_id,)).fetchone()
        if spans >= MAX_TRACE_SPANS:
            return 0  # whoever sends the same id again and again must not make this costly
        row = _row(trace_id, _decode(body) + records)
        connection.execute(_WRITE.replace("INSERT", "REPLACE"), row)
    return len(row[-1])


def _row(trace_id: str, spans: list[Record]) -> tuple[str, float, float, str, str, str, object, str, int, int, int, bytes]:
    """Return the columns of a trace; its root, else its first span, gives the name."""
    spans = spans[:MAX_TRACE_SPANS]
    known = {span.span_id for span in spans}
    root = min(spans, key=lambda span: (span.parent_id in known, span.kind != "server", span.start))
    said, body = root.attributes.get, _encode(spans)
    texts = (root.name, str(said("http.request.method", "")), str(said("http.route", "")))
    counts = (len(spans), sum(span.status == "error" for span in spans), len(body))
    times = min(span.start for span in spans), max(span.end for span in spans)
    return trace_id, *times, *texts, said("http.response.status_code", 0), str(said("request.id", "")), *counts, body


def _prune(connection: sqlite3.Connection, oldest: float) -> None:
    connection.execute("DELETE FROM telemetry_trace WHERE started < ?", (oldest,))
    connection.execute(_CUT, (MAX_BYTES, MAX_TRACES))
