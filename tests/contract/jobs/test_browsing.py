"""What an operator sees of the queue: the same on both databases, in pages, without a scan of the table."""

import re
from typing import Any

import hypothesis.strategies as st
import msgspec
import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings

from job_rows import NOON, STATES, clear, failure, insert, later, row, written
from rakiza._kernel import Redactor
from rakiza.errors import ValidationError
from rakiza.jobs._browsing import Browser, JobPage
from rakiza.jobs._core import SHOWN
from rakiza.jobs._filters import JobFilter, fold, words
from rakiza.jobs.tables import EDGE, JOB, LOG, QUEUE, TALLY, WORKER
from rakiza.store import Store
from rakiza.testing import FrozenClock


@pytest.fixture
def clock() -> FrozenClock:
    return FrozenClock(NOON)


@pytest.fixture
def browser(store: Store, clock: FrozenClock) -> Browser:
    return Browser(store, clock, window=10, scrub=Redactor().nested)


def pages(browser: Browser, chosen: JobFilter, limit: int) -> list[JobPage]:
    found = [browser.page(chosen, limit)]
    while found[-1].next:
        found.append(browser.page(chosen, limit, found[-1].next))
    return found


def ids(found: list[JobPage]) -> list[int]:
    return [line.id for page in found for line in page.jobs]


# -- the filter

TEXTS = st.sampled_from(["", "a", "A", "فيلا", "فاتورة", "%", "_", "\\", '"', "é", "É", "x,y", "1", "٣", "ab", "\n", "to", "'"]) | st.text(
    st.characters(codec="utf-8", exclude_characters="\0"), max_size=3
)
TAGS = TEXTS.filter(lambda tag: tag not in {"", ","})
ROWS = st.fixed_dictionaries(
    {
        "shown": st.sampled_from(sorted(STATES)),
        "queue": st.sampled_from(["default", "emails", "رسائل"]),
        "task": st.sampled_from(["email:send", "boq:import", "تقرير"]),
        "payload": st.dictionaries(TEXTS, TEXTS | st.integers(-9, 99) | st.none(), max_size=2),
        "tags": st.none() | st.lists(TAGS, min_size=1, max_size=3),
        "priority": st.integers(0, 2),
        "run_at": st.integers(0, 3).map(later),
        "tenant_id": st.sampled_from(["default", "مكتب"]),
    }
)
FILTERS = st.fixed_dictionaries(
    {},
    optional={
        "state": st.sampled_from(SHOWN),
        "queue": st.sampled_from(["default", "emails", "رسائل", "none"]),
        "task": st.sampled_from(["email:send", "boq:import", "تقرير"]),
        "tag": TAGS,
        "q": TEXTS | st.integers(1, 40).map(str),
    },
)


def matches(one: dict[str, Any], job_id: int, chosen: JobFilter, tenant: str | None) -> bool:
    """Decide as the page should, in Python."""
    texts = [one["task"], written(one["payload"]), written(one["tags"]) if one["tags"] else ""]
    said = any(word in fold(text) for word in words(chosen.q) for text in texts)
    wanted = [chosen.state in {None, one["shown"]}, chosen.queue in {"", one["queue"]}, chosen.task in {"", one["task"]}]
    wanted += [not chosen.tag or chosen.tag in (one["tags"] or []), tenant in {None, one["tenant_id"]}]
    return all(wanted) and (not chosen.q or said or (chosen.q.isdecimal() and int(chosen.q) == job_id))


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    rows=st.lists(ROWS, max_size=25), asked=FILTERS, tenant=st.sampled_from([None, "مكتب"]), sizes=st.tuples(st.integers(1, 9), st.integers(1, 30))
)
def test_the_filter_in_sql_is_the_filter_in_python(
    store: Store, rows: list[dict[str, Any]], asked: dict[str, Any], tenant: str | None, sizes: tuple[int, int]
) -> None:
    limit, window = sizes
    clear(store)
    given_ids = insert(store, [row(**one) for one in rows])
    chosen = JobFilter(**asked)
    browser = Browser(store, FrozenClock(NOON), window=window)
    found, after = [], ""
    while True:
        page = browser.page(chosen, limit, after, tenant=tenant)
        assert len(page.jobs) <= limit + 1
        found += [line.id for line in page.jobs]
        if page.next is None:
            break
        assert page.next != after
        after = page.next
    expected = {job_id for job_id, one in zip(given_ids, rows, strict=True) if matches(one, job_id, chosen, tenant)}
    assert len(found) == len(set(found))
    assert set(found) == expected


def test_wildcards_and_letters_are_taken_as_they_are(browser: Browser) -> None:
    payloads = [{"x": "100%"}, {"x": "1000"}, {"x": "a_b"}, {"x": "aXb"}, {"x": "مشروع Villa"}, {"x": 'قال "نعم"'}]
    made = insert(browser.store, [row(payload=payload) for payload in payloads])
    found = {q: ids(pages(browser, JobFilter(q=q), 50)) for q in ("0%", "a_b", "AXB", "مشروع vIL", '"نعم"', '"x":"100', "É")}
    assert found == {
        "0%": made[:1],
        "a_b": [made[2]],
        "AXB": [made[3]],
        "مشروع vIL": [made[4]],
        '"نعم"': [made[5]],
        '"x":"100': [made[1], made[0]],
        "É": [],
    }


def test_digits_find_the_job_of_that_id_beyond_the_window(browser: Browser) -> None:
    made = insert(browser.store, [row(payload={"n": "س"}) for _ in range(40)])
    page = browser.page(JobFilter(q=str(made[0])), 5)
    assert (page.jobs[0].id, page.capped) == (made[0], True)
    arabic = str(made[3]).translate({ord("0") + digit: ord("٠") + digit for digit in range(10)})
    assert browser.page(JobFilter(q=arabic), 5).jobs[0].id == made[3]
    assert browser.page(JobFilter(q=str(made[0]), state="done"), 5).jobs == []
    assert browser.page(JobFilter(q="9" * 19), 5).jobs == []
    assert ids(pages(browser, JobFilter(q=str(made[0])), 5)).count(made[0]) == 1


def test_a_page_that_looked_at_enough_says_so_and_the_next_goes_on(browser: Browser) -> None:
    made = insert(browser.store, [row("done", task="تقرير" if n in {1, 23} else "email:send", finished_at=later(n)) for n in range(25)])
    found = pages(browser, JobFilter(state="done", task="تقرير"), 50)
    assert [([line.id for line in page.jobs], page.capped, page.total) for page in found] == [
        ([made[23]], True, None),
        ([], True, None),
        ([made[1]], False, None),
    ]
    whole = browser.page(JobFilter(state="done"), 50)
    assert (len(whole.jobs), whole.capped, whole.total) == (25, False, 25)


def test_pages_hold_every_job_once_in_order(browser: Browser) -> None:
    shapes = [(shown, queue, priority) for shown in SHOWN for queue in ("q1", "q2") for priority in (0, 1)]
    rows = []
    for shown, queue, priority in shapes:
        ended = {"finished_at": NOON} if shown in {"done", "failed", "cancelled"} else {}
        rows += [row(shown, queue=queue, priority=priority, run_at=later(n % 2), **ended) for n in range(3)]
    insert(browser.store, rows)
    every: list[dict[str, Any]] = [{"state": state} for state in SHOWN]
    for asked in [*every, {}, {"state": "ready", "queue": "q1"}, {"state": "done", "queue": "q1"}]:
        check_pages(browser, asked, len(shapes) * 3)


def check_pages(browser: Browser, asked: dict[str, Any], jobs: int) -> None:
    found = pages(browser, JobFilter(**asked), 4)
    lines = [line for page in found for line in page.jobs]
    expected = jobs // (len(SHOWN) if "state" in asked else 1) // (2 if "queue" in asked else 1)
    assert len({line.id for line in lines}) == len(lines) == expected, asked
    assert all((asked.get("state", line.state), asked.get("queue", line.queue)) == (line.state, line.queue) for line in lines)
    if asked.get("state") == "ready":
        assert [(line.queue, line.priority, line.run_at, line.id) for line in lines] == sorted((x.queue, x.priority, x.run_at, x.id) for x in lines)
    if not asked:
        assert [line.id for line in lines] == sorted((line.id for line in lines), reverse=True)
    assert found[0].total == expected


def test_a_place_of_another_list_is_refused(browser: Browser) -> None:
    insert(browser.store, [row(run_at=later(n)) for n in range(3)])
    place = browser.page(JobFilter(state="ready"), 1).next or ""
    wrong: list[tuple[Any, str]] = [(None, place), ("done", place), *((None, text) for text in ("س", "!", "W10", "WzFlOTld", "WyJ4Il0"))]
    for state, after in wrong:
        with pytest.raises(ValidationError, match="no place in this list"):
            browser.page(JobFilter(state=state), 1, after)


# -- one job


def test_a_line_tells_what_a_job_is_and_hides_secrets(browser: Browser) -> None:
    secret = {"to": "سارة", "password": "hunter2-hunter2", "body": "م" * 400}
    errors = [failure("first"), failure("password=hunter2-hunter2 رُفض")]
    (job,) = insert(browser.store, [row("retry", payload=secret, errors=errors, tags=["عاجل", "b"], queue="رسائل", priority=3, progress=40)])
    (line,) = browser.page(JobFilter(state="retry"), 5).jobs
    assert (line.id, line.state, line.reason, line.tags, line.queue, line.priority, line.progress) == (
        job,
        "retry",
        None,
        ["عاجل", "b"],
        "رسائل",
        3,
        40,
    )
    assert line.args.startswith('{"to":"سارة","password":"[redacted]"')
    assert len(line.args) == 200
    assert line.error is not None
    assert line.error.endswith("رُفض")
    assert "hunter2" not in line.error + line.args
    (held,) = insert(browser.store, [row("waiting", waits_for="handler")])
    assert [(line.id, line.reason) for line in browser.page(JobFilter(state="waiting"), 5).jobs] == [(held, "handler")]


def test_a_retry_in_line_is_ready(browser: Browser) -> None:
    (job,) = insert(browser.store, [row("retry", waits_for=None)])
    assert [(line.id, line.state) for line in browser.page(JobFilter(state="ready"), 5).jobs] == [(job, "ready")]
    assert browser.page(JobFilter(state="retry"), 5).jobs == []


def test_one_job_with_everything(browser: Browser) -> None:
    context = {"traceparent": f"00-{'a' * 32}-{'b' * 16}-01", "user": "u-7"}
    fields = {
        "payload": {"token": "abcdefgh12345", "n": 1},
        "context": context,
        "result": {"عدد": 7},
        "unique_key": "k",
        "concurrency_key": "project:7",
    }
    first, job, last = insert(
        browser.store, [row("done"), row("done", errors=[failure(traceback="Traceback: token=abcdefgh12345")], **fields), row()]
    )
    with browser.store.begin() as tx:
        tx.execute(EDGE.insert(), [{"before_id": first, "after_id": job}, {"before_id": job, "after_id": last}])
        lines = [{"job_id": job, "at": later(n), "level": "info", "message": f"سطر {n} token=abcdefgh12345"} for n in range(3)]
        tx.execute(LOG.insert(), [*lines, {"job_id": last, "at": NOON, "level": "info", "message": "other"}])
    seen = browser.one(job)
    assert seen is not None
    assert (seen.payload, seen.result, seen.traceparent, seen.before, seen.after) == (
        {"token": "[redacted]", "n": 1},
        {"عدد": 7},
        context["traceparent"],
        [first],
        [last],
    )
    assert [line.message for line in seen.logs] == [f"سطر {n} token=[redacted]" for n in range(3)]
    assert (seen.errors[0].traceback, seen.concurrency_key, seen.unique_key) == ("Traceback: token=[redacted]", "project:7", "k")
    opened = browser.one(job, open_payload=True)
    assert opened is not None
    assert opened.payload == fields["payload"]
    assert browser.one(last + 1) is None
    assert browser.one(job, tenant="مكتب") is None


def test_who_may_not_see_secrets_cannot_search_for_them(browser: Browser) -> None:
    (job,) = insert(browser.store, [row(payload={"to": "سارة", "token": "abcdefgh12345"})])
    for q, may_read, found in (("efgh", True, [job]), ("efgh", False, []), ("سارة", False, [job]), (str(job), False, [job])):
        assert [line.id for line in browser.page(JobFilter(q=q), 5, open_payload=may_read).jobs] == found, q


# -- counts


def test_stats_count_queues_and_states(browser: Browser, clock: FrozenClock) -> None:
    for number, shown in enumerate(SHOWN, 1):
        insert(browser.store, [row(shown, queue="رسائل", run_at=later(n)) for n in range(number)])
    insert(browser.store, [row("waiting", waits_for="handler", task="قديم"), row("failed"), row("ready", run_at=later(-5))])
    with browser.store.begin() as tx:
        tx.execute(QUEUE.insert().values(name="empty", paused=True, rate=5, rate_seconds=1.5, updated_at=NOON))
        seen = {"host": "h", "place": "p", "pid": 1, "queues": '["رسائل"]', "concurrency": 4, "running": 2, "started_at": NOON, "stopping": False}
        tx.execute(WORKER.insert(), [{"id": "w1", "seen_at": later(-14), **seen}, {"id": "w2", "seen_at": later(-16), **seen}])
    stats = browser.stats()
    queues = {queue.name: queue for queue in stats.queues}
    assert [getattr(queues["رسائل"], shown) for shown in SHOWN] == list(range(1, 9))
    assert (queues["empty"].paused, queues["empty"].rate, queues["empty"].rate_seconds, queues["empty"].oldest_seconds) == (True, 5, 1.5, None)
    assert (queues["default"].oldest_seconds, queues["default"].failed, queues["default"].waiting) == (5.0, 1, 1)
    assert stats.totals == {shown: number + (shown in {"waiting", "failed", "ready"}) for number, shown in enumerate(SHOWN, 1)}
    assert stats.unknown_tasks == ["قديم"]
    assert [(worker.id, worker.alive, worker.queues) for worker in stats.workers] == [("w1", True, ["رسائل"]), ("w2", False, ["رسائل"])]


def test_counts_are_kept_two_seconds_and_counted_anew_after_a_change(browser: Browser, clock: FrozenClock) -> None:
    insert(browser.store, [row()])
    assert browser.counts().of("ready") == 1
    insert(browser.store, [row()])
    assert browser.counts().of("ready") == 1
    clock.advance(2)
    assert browser.counts().of("ready") == 2
    insert(browser.store, [row()])
    browser.forget()
    assert browser.counts().of(None) == 3


def test_more_queues_than_counters_are_counted_all_the_same(browser: Browser) -> None:
    insert(browser.store, [row(shown, queue=f"صف {n}") for n in range(25) for shown in ("done", "delayed", "running")])
    counts = browser.counts()
    assert len(counts.queues) == 25
    assert all(by == {"done": 1, "delayed": 1, "running": 1} for by in counts.queues.values())


# -- history


def test_history_sums_the_minutes(browser: Browser, clock: FrozenClock) -> None:
    now = int(clock.now().timestamp() // 60)
    rows = [
        (now, "a", "t", 2, 1, 1, 0, 400, 40),
        (now, "b", "t", 1, 0, 0, 1, 100, 0),
        (now - 59, "a", "u", 3, 0, 0, 0, 30, 3),
        (now - 60, "a", "t", 9, 9, 9, 9, 9, 9),
    ]
    with browser.store.begin() as tx:
        tx.execute(TALLY.insert(), [dict(zip(TALLY.c.keys(), one, strict=True)) for one in rows])
    hour: Any = browser.history(60)
    assert (hour["step_seconds"], len(hour["at"]), hour["at"][-1], hour["at"][0]) == (60, 60, now * 60, (now - 59) * 60)
    assert [(hour[name][0], hour[name][1], hour[name][-1]) for name in ("done", "failed", "retried", "cancelled")] == [
        (3, 0, 3),
        (0, 0, 1),
        (0, 0, 1),
        (0, 0, 1),
    ]
    assert (hour["run_ms_avg"][-1], hour["run_ms_avg"][0], hour["run_ms_avg"][1], hour["wait_ms_avg"][-1]) == (100.0, 10.0, None, 8.0)
    only: Any = browser.history(60, queue="b", task="t")
    assert (sum(only["done"]), only["run_ms_avg"][-1]) == (1, 100.0)
    shapes = {minutes: browser.history(minutes) for minutes in (1, 120, 121, 1440, 2881, 10080, 20160)}
    assert {minutes: (one["step_seconds"], len(one["at"])) for minutes, one in shapes.items()} == {  # type: ignore[arg-type]
        1: (60, 1),
        120: (60, 120),
        121: (900, 8),
        1440: (900, 96),
        2881: (7200, 24),
        10080: (7200, 84),
        20160: (7200, 168),
    }
    assert sum(shapes[1440]["done"]) == 15  # type: ignore[call-overload]


# -- how it is found


FAST = [
    *({"state": state} for state in SHOWN),
    *({"state": state, "queue": "q1"} for state in SHOWN),
    *({"state": state, "task": "t"} for state in SHOWN),
    {},
    {"queue": "q1"},
    {"task": "t"},
    {"tag": "x"},
]


def plan(store: Store, work: Any) -> list[tuple[str, str]]:
    """Return each statement that `work` sends about jobs, with the database's plan for it."""
    seen: list[tuple[str, Any]] = []

    def note(_c: object, _cur: object, statement: str, parameters: Any, _ctx: object, _many: bool) -> None:
        if statement.lstrip().lower().startswith("select") and "rakiza_jobs_job" in statement:
            seen.append((statement, parameters))

    with store.read() as tx:
        engine = tx.connection.engine
        sa.event.listen(engine, "before_cursor_execute", note)
        try:
            work()
        finally:
            sa.event.remove(engine, "before_cursor_execute", note)
        prefix = "explain query plan " if store.dialect == "sqlite" else "explain "
        return [(sql, "\n".join(str(line) for line in tx.connection.exec_driver_sql(prefix + sql, parameters))) for sql, parameters in seen]


@pytest.fixture
def crowd(store: Store) -> Store:
    """Return a store with enough jobs for an index to be worth it, half of them waiting and half done."""
    many = {"ready": 1500, "done": 1500, "delayed": 500, "failed": 60, "cancelled": 60, "retry": 60, "waiting": 60, "running": 20}
    long = {"نص": "م" * 900}
    for shown, number in many.items():
        ended = {"finished_at"} & STATES[shown].keys()
        insert(store, [row(shown, queue=f"q{n % 3}", payload=long, run_at=later(n), **dict.fromkeys(ended, later(n))) for n in range(number)])
    with store.raw_connection() as driver:
        # A row counts as visible to all, without a look at it, only once its commit is on the disk.
        for statement in ("analyze",) if store.dialect == "sqlite" else ("checkpoint", "vacuum analyze rakiza_jobs_job"):
            driver.execute(statement)
    return store


def test_no_list_scans_the_table_and_counting_looks_only_into_indexes(crowd: Store) -> None:
    count_in_indexes(crowd)
    look_at_plans(crowd)
    if crowd.dialect == "sqlite":  # a young database has no statistics
        with crowd.begin() as tx:
            tx.connection.exec_driver_sql("delete from sqlite_stat1")
        crowd.close()
        look_at_plans(crowd)


def look_at_plans(store: Store) -> None:
    browser = Browser(store, FrozenClock(NOON), window=200)

    def walk(chosen: JobFilter) -> None:
        with store.read() as tx:
            browser.find(tx, chosen, 20, columns=[JOB.c.id], newest=browser.newest(tx))

    for asked in FAST:
        chosen = msgspec.convert(asked, JobFilter)
        after = browser.page(chosen, 20).next or ""
        for work in (
            lambda chosen=chosen: browser.page(chosen, 20),
            lambda chosen=chosen, after=after: browser.page(chosen, 20, after),
            lambda chosen=chosen: walk(chosen),
        ):
            plans = plan(store, work)
            assert plans
            for sql, seen in plans:
                assert_no_scan(store, chosen, sql, seen)


def assert_no_scan(store: Store, chosen: JobFilter, sql: str, seen: str) -> None:
    """Fail for a look at every row, and for a look at every row of another state."""
    assert "Seq Scan on rakiza_jobs_job" not in seen, (chosen, sql, seen)
    whole = re.search(r"SCAN rakiza_jobs_job(?! USING| .*ix_)", seen)
    assert not whole or chosen.state is None, (chosen, sql, seen)
    if chosen.state is not None and "count(" not in sql and "max(" not in sql:
        index = {"ready": "in_line", "running": "running", "delayed": "waiting", "retry": "waiting", "waiting": "waiting"}.get(
            chosen.state, "finished"
        )
        assert f"ix_rakiza_jobs_job_{index}" in seen, (chosen, sql, seen)
    if chosen.state != "running" and store.dialect == "sqlite" and "count(" not in sql and "max(" not in sql:
        assert "TEMP B-TREE" not in seen, (chosen, sql, seen)


def count_in_indexes(crowd: Store) -> None:
    browser = Browser(crowd, FrozenClock(NOON))
    for sql, seen in plan(crowd, browser.counts):
        assert "Seq Scan on rakiza_jobs_job" not in seen, (sql, seen)
        assert not re.search(r"SCAN rakiza_jobs_job(?! USING| .*ix_)", seen), (sql, seen)
    counted = sum(browser.counts().of(shown) for shown in SHOWN)
    with crowd.read() as tx:
        assert counted == tx.scalar(sa.select(sa.func.count()).select_from(JOB))
