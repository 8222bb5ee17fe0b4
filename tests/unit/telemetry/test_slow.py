"""What was slow and what was repeated."""

import logging
import time
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest
import sqlalchemy as sa

from rakiza import Platform, build
from rakiza._kernel import use_context
from rakiza.store import Store
from rakiza.telemetry import Telemetry

ITEM = sa.text("SELECT n FROM (SELECT 1 AS n) AS item WHERE n = :n")
LAZY = """WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < 400000) SELECT max(n), 'كلمة سر' FROM c"""


def test_slow_requests_are_counted_by_route_and_the_slowest_comes_first(watched: Any) -> None:
    site = watched(sample_ratio=0.0, slow_seconds=0.5)
    for seconds in (0.1, 0.6, 1.0):
        context = site.answered(seconds=seconds)
    site.answered(method="BREW", seconds=3.0)
    brewed, got = site.telemetry.slow.requests()
    assert (brewed.method, got.method) == ("OTHER", "GET")
    assert (got.route, got.count, got.max_ms, got.mean_ms) == ("/{name}", 2, 1000.0, 800.0)
    assert (got.trace_id, got.request_id) == (context.trace_id, context.request_id)
    assert datetime.fromisoformat(got.last_at).tzinfo is not None


def test_pages_of_the_console_that_wait_are_not_slow(watched: Any) -> None:
    site = watched(sample_ratio=0.0)
    site.telemetry.finish(site.begin(), None, "/_rakiza/api/logs/stream", 200, 3600.0, None, secure=False)
    assert site.telemetry.slow.requests() == []
    assert site.spans == []


def test_the_tables_are_bounded(watched: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rakiza.telemetry._slow.MAX_ROWS", 3)
    slow = watched().telemetry.slow
    for number in range(10):
        slow.add_statement(f"SELECT {number}", None, 0.1 * number)
        slow.add_statement("SELECT 0", None, 0.1)
    assert [row.statement for row in slow.statements()] == ["SELECT 9", "SELECT 8", "SELECT 0"]


@pytest.fixture
def platform(tmp_path: Any, erp_url: str) -> Iterator[Platform]:
    settings: dict[str, dict[str, object]] = {
        "hub": {"home": str(tmp_path)},
        "store": {"database_url": erp_url},
        "telemetry": {"sample_ratio": 0.0, "slow_query_seconds": 0.01, "repeated_statements": 5},
    }
    platform = build(settings, environ={})
    platform.start()
    yield platform
    platform.shutdown()


def finished(telemetry: Telemetry, platform: Platform, work: Any, status: int = 200) -> Any:
    context = telemetry.begin("GET", "/مشروع", "", None, trusted=False)
    context.owner = platform.ctx
    with use_context(context):
        work()
    telemetry.finish(context, None, "/{name}", status, 0.01, None, secure=False)
    return context


def test_a_statement_that_runs_again_and_again_in_one_request_is_named(platform: Platform) -> None:
    store, telemetry = platform.store, platform.tracer
    raw = store.compile(sa.select(sa.literal(1).label("n")).where(sa.bindparam("n", type_=sa.Integer) == 1))

    def work(times: int) -> None:
        with store.read() as tx:
            for number in range(times):
                tx.execute(ITEM, {"n": number})
            for number in range(times - 3):
                tx.rows(raw, n=number)

    finished(telemetry, platform, lambda: work(4))
    assert telemetry.slow.repeated() == []
    finished(telemetry, platform, lambda: work(6))
    context = finished(telemetry, platform, lambda: work(9))
    often, seldom = telemetry.slow.repeated()
    assert often.statement.startswith("SELECT n FROM (SELECT ? AS n) AS item")
    assert (often.route, often.times, often.count, often.trace_id) == ("/{name}", 9, 2, context.trace_id)
    assert (seldom.times, seldom.count) == (6, 1)


def test_slow_statements_are_listed_and_logged_without_values(platform: Platform, caplog: pytest.LogCaptureFixture) -> None:
    store, telemetry = platform.store, platform.tracer

    def work() -> None:
        with store.read() as tx:
            tx.execute(sa.text(LAZY))

    with caplog.at_level(logging.WARNING, "rakiza.sql"):
        context = finished(telemetry, platform, work)
        work()  # outside of a request it is seen all the same
    (row,) = (row for row in telemetry.slow.statements() if "RECURSIVE" in row.statement)  # on a busy machine others are slow as well
    assert (row.count, row.trace_id, row.route) == (2, "", "")
    assert row.max_ms >= row.mean_ms >= 10
    lines = [record for record in caplog.records if record.name == "rakiza.sql" and "RECURSIVE" in record.getMessage()]
    assert len(lines) == 2
    assert "WITH RECURSIVE" in lines[0].getMessage()
    assert "كلمة" not in lines[0].getMessage()
    assert context.spans is not None


def test_a_storm_of_slow_statements_does_not_fill_the_log(platform: Platform, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "rakiza.sql"):
        for number in range(200):
            platform.tracer.add_slow_statement(f"SELECT a{number}", 0.5)
        platform.tracer.add_slow_statement("SELECT fast", 0.005)
    told = len([record for record in caplog.records if record.name == "rakiza.sql"])
    assert 25 <= told <= 50  # a burst of 30; a busy machine has spent some before and gains some meanwhile
    assert platform.tracer.slow.statements()[0].count == 1
    assert len(platform.tracer.slow.statements()) == 200


def test_statements_become_client_spans_below_the_span_at_hand(platform: Platform) -> None:
    store, telemetry = platform.store, platform.tracer
    kept: list[Any] = []
    telemetry.outlets.append(kept.extend)

    def work() -> None:
        with telemetry.provider.get_tracer("site").start_as_current_span("حفظ"), store.begin() as tx:
            tx.execute(sa.text("CREATE TABLE item (name TEXT)"))
            tx.execute(sa.text("INSERT INTO item VALUES (:name)"), {"name": "سر"})
            with pytest.raises(sa.exc.DBAPIError), tx.savepoint():
                tx.execute(sa.text("SELECT wrong FROM item"))
            with pytest.raises(sa.exc.DBAPIError), tx.savepoint():
                tx.rows(store.compile(sa.select(sa.column("wrong")).select_from(sa.table("item"))))

    finished(telemetry, platform, work, 500)
    telemetry.flush()
    spans = [span for _, records in kept for span in records]
    (saving,) = [span for span in spans if span.name == "حفظ"]
    calls = [span for span in spans if span.kind == "client" and "avepoint" not in span.name.lower() and span.name != "ROLLBACK"]
    assert [(span.name, span.status) for span in calls] == [
        ("CREATE", "unset"),
        ("INSERT item", "unset"),
        ("SELECT item", "error"),
        ("SELECT item", "error"),
        ("COMMIT", "unset"),
    ]
    assert {span.parent_id for span in calls} == {saving.span_id}
    assert {span.attributes["db.system.name"] for span in calls} == {store.dialect}
    assert "سر" not in str(spans)


def test_a_store_without_a_platform_works(sqlite_url: str) -> None:
    store = Store(sqlite_url)
    with store.begin() as tx:
        tx.execute(sa.text(LAZY))
    store.close()


def test_open_transactions_are_a_metric(platform: Platform) -> None:
    def shows(number: float) -> None:
        give_up = time.monotonic() + 20
        while True:  # the platform's own tasks open transactions of their own now and then
            shown = {line for line in platform.metrics.render().decode().splitlines() if line.startswith("store_")}
            if shown == {f"store_transactions_open {number}", "store_pool_connections 10.0"}:
                return
            assert time.monotonic() < give_up, shown
            time.sleep(0.005)

    with platform.store.read():
        shows(1.0)
    shows(0.0)
