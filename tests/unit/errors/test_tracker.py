"""Capturing: once, cheap, never raising; what is kept of it, and how a group lives."""

import gc
import logging
import os
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from rakiza._kernel import LocalFile, Principal, RequestContext, use_context
from rakiza.errors import ErrorSettings, ErrorTracker, NotFoundError, ServiceUnavailableError, capture_exception, capture_message, init_sentry
from rakiza.errors._capture import CAUSES, INNER_FRAMES, OUTER_FRAMES, SAMPLE_BYTES
from rakiza.errors._groups import GROUPS
from rakiza.testing import FrozenClock
from servers import Child

SARA = Principal("u7", "سارة", "sara@example.com", "admin", frozenset(), "user")


@pytest.fixture
def clock() -> FrozenClock:
    return FrozenClock()


@pytest.fixture
def tracker(tmp_path: Path, clock: FrozenClock) -> Iterator[ErrorTracker]:
    local = LocalFile(tmp_path / "telemetry.db")
    yield ErrorTracker(ErrorSettings(release="1.2", environment="test"), local, clock)
    local.close()


def raised(error: BaseException) -> BaseException:
    try:
        raise error
    except BaseException as caught:  # noqa: BLE001 - the test hands it over
        return caught


def context(request: str = "r1") -> RequestContext:
    found = RequestContext(request, "t" * 32, "s" * 16, method="POST", path="/مشاريع/5")
    found.principal, found.route = SARA, "/مشاريع/{id}"
    return found


def only(tracker: ErrorTracker) -> dict[str, Any]:
    tracker.flush()
    (item,) = tracker.groups.page()
    kept = tracker.groups.one(item["id"])
    assert kept is not None
    return kept


def test_what_is_kept_of_an_error(tracker: ErrorTracker, caplog: pytest.LogCaptureFixture) -> None:
    secret = "hunter2"  # noqa: F841 - a local variable, which must not be kept
    with use_context(context()):
        try:
            try:
                raise KeyError("بند")
            except KeyError as inner:
                raise ValueError("قيمة غير صحيحة: password=hunter2") from inner
        except ValueError as error:
            tracker.capture_exception(error)
    kept = only(tracker)
    assert (kept["kind"], kept["state"], kept["count"], kept["users"]) == ("ValueError", "open", 1, 1)
    assert (kept["release"], kept["route"]) == ("1.2", "/مشاريع/{id}")
    assert kept["message"] == "قيمة غير صحيحة: password=[redacted]"
    assert kept["culprit"].endswith(":test_what_is_kept_of_an_error")
    sample = kept["sample"]
    assert (sample["request_id"], sample["user_id"], sample["environment"]) == ("r1", "u7", "test")
    assert (sample["method"], sample["path"]) == ("POST", "/مشاريع/5")
    assert sample["causes"] == [{"kind": "KeyError", "message": "'بند'"}]
    frame = sample["frames"][-1]
    assert frame["in_app"]
    assert {one["line"]: one["text"] for one in frame["context"]}[frame["line"]].strip().startswith("raise ValueError(")
    assert len(frame["context"]) == 7
    assert kept["recent"][0]["user_id"] == "u7"
    assert [record.message for record in caplog.records] == ["unexpected ValueError"]
    assert caplog.records[0].exc_info


def test_the_same_error_is_counted_once_in_a_request_and_again_in_the_next(tracker: ErrorTracker, caplog: pytest.LogCaptureFixture) -> None:
    error = raised(ValueError("مرة"))
    for request in ("r1", "r1", "r2"):
        with use_context(context(request)):
            tracker.capture_exception(error)
    assert only(tracker)["count"] == 2
    assert len(caplog.records) == 2


def test_nothing_of_the_request_stays_alive(tracker: ErrorTracker) -> None:
    class Big:
        pass

    def fails() -> weakref.ref[Big]:
        big = Big()
        try:
            raise ValueError("كبير")
        except ValueError as error:
            tracker.capture_exception(error)
        return weakref.ref(big)

    logging.getLogger("rakiza.errors").disabled = True  # pytest keeps records with their stack
    try:
        found = fails()
    finally:
        logging.getLogger("rakiza.errors").disabled = False
    gc.collect()
    assert found() is None


class SilentError(Exception):
    """An error without words."""

    def __str__(self) -> str:
        raise ValueError("no words")


class ShyError(Exception):
    """An error that lets nobody write on it."""

    __slots__ = ()

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(name)


@pytest.mark.filterwarnings("ignore")
def test_no_error_is_too_strange(tracker: ErrorTracker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logging.getLogger("rakiza.errors"), "disabled", True)  # half a surrogate pair in a captured line ends a worker

    def deep() -> None:
        deep()

    loop = ValueError("حلقة")
    loop.__cause__ = KeyError("ب")
    loop.__cause__.__context__ = loop
    try:
        deep()
    except RecursionError as caught:
        recursive = caught
    many = ExceptionGroup("معا", [ValueError(str(number)) for number in range(1000)])
    strange = [loop, recursive, SilentError(), ShyError("خجول"), many, KeyboardInterrupt(), ValueError("م" * 10**6), ValueError("\ud800")]
    for error in strange:
        tracker.capture_exception(error if error.__traceback__ else raised(error))
    tracker.flush()
    assert (tracker.total, tracker.dropped) == (len(strange), 0)
    assert sum(item["count"] for item in tracker.groups.page()) == len(strange)
    for item in tracker.groups.page():
        sample = (tracker.groups.one(item["id"]) or {})["sample"]
        assert len(sample["frames"]) <= OUTER_FRAMES + INNER_FRAMES
        assert len(sample["causes"]) <= CAUSES
        assert len(msgspec.json.encode(sample)) <= SAMPLE_BYTES
        assert len(item["message"]) <= 1000


def test_recursion_of_any_depth_is_one_group(tracker: ErrorTracker) -> None:
    def deep(left: int) -> None:
        if left:
            deep(left - 1)
        raise ValueError("عميق")

    for depth in (3, 60, 400):
        try:
            deep(depth)
        except ValueError as error:
            tracker.capture_exception(error)
    assert only(tracker)["count"] == 3


def test_messages_are_grouped_by_their_words(tracker: ErrorTracker, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    tracker.capture_message("تعذر إرسال المستخلص 17 إلى 'سارة'", "warning")
    tracker.capture_message("تعذر إرسال المستخلص 18 إلى 'علي'", "warning")
    kept = only(tracker)
    assert (kept["count"], kept["kind"], kept["sample"]["level"]) == (2, "Message", "warning")
    assert kept["culprit"].endswith("test_messages_are_grouped_by_their_words")
    assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING"]
    tracker.capture_message("مستوى غريب", "لا شيء")
    assert caplog.records[-1].levelname == "ERROR"


def test_an_error_people_are_told_about_is_one_line_and_no_group(tracker: ErrorTracker, caplog: pytest.LogCaptureFixture) -> None:
    try:
        raise ServiceUnavailableError("قاعدة البيانات غائبة") from OSError("connection refused")
    except ServiceUnavailableError as error:
        tracker.capture_exception(error)
    tracker.capture_exception(NotFoundError("لا يوجد"))
    tracker.flush()
    assert tracker.groups.page() == []
    assert [(one.levelname, one.message) for one in caplog.records] == [
        ("WARNING", "503 unavailable: قاعدة البيانات غائبة (connection refused)"),
        ("WARNING", "404 not_found: لا يوجد"),
    ]


def test_a_group_is_resolved_ignored_and_comes_back(tracker: ErrorTracker, clock: FrozenClock, caplog: pytest.LogCaptureFixture) -> None:
    def again(request: str) -> dict[str, Any]:
        with use_context(context(request)):
            try:
                raise ValueError("يعود")
            except ValueError as error:
                tracker.capture_exception(error)
        clock.advance(60)
        return only(tracker)

    key = again("r1")["id"]
    assert again("r2")["state"] == "open"
    tracker.groups.change(key, "resolved", tracker.now())
    clock.advance(60)
    caplog.clear()
    assert again("r3")["state"] == "regressed"
    assert again("r4")["state"] == "regressed"
    assert sum("is back" in record.message for record in caplog.records) == 1
    tracker.groups.change(key, "ignored", tracker.now())
    clock.advance(60)
    assert again("r5")["state"] == "ignored"
    assert tracker.groups.counts() == {"open": 0, "resolved": 0, "ignored": 1, "regressed": 0}
    assert tracker.groups.change("0" * 16, "open", tracker.now()) is None


def test_the_oldest_groups_go_first(tracker: ErrorTracker, clock: FrozenClock) -> None:
    words = [f"{chr(0x621 + number % 26)}{chr(0x621 + number // 26)} فشل" for number in range(GROUPS + 20)]
    for word in words:
        tracker.capture_message(word)
        clock.advance(1)
    tracker.flush()
    kept = [item["message"] for item in tracker.groups.page(limit=1000)]
    assert kept == list(reversed(words))[:GROUPS]
    clock.advance(91 * 86400)
    tracker.capture_message("بعد حين")
    assert only(tracker)["message"] == "بعد حين"


def test_pages_and_search(tracker: ErrorTracker, clock: FrozenClock) -> None:
    for word in ("أ", "ب", "ج_د", "ه%و"):
        tracker.capture_message(f"خطأ {word}")
        clock.advance(1)
    tracker.flush()
    first = tracker.groups.page(limit=3)
    rest = tracker.groups.page(limit=3, before=(first[-1]["last_seen"], first[-1]["id"]))
    assert [item["message"] for item in first + rest] == ["خطأ ه%و", "خطأ ج_د", "خطأ ب", "خطأ أ"]
    assert [item["message"] for item in tracker.groups.page(q="ج_")] == ["خطأ ج_د"]
    assert [item["message"] for item in tracker.groups.page(q="%و")] == ["خطأ ه%و"]
    assert len(tracker.groups.page(q="MESSAGE")) == 4
    assert tracker.groups.page(state="resolved") == []


def test_log_lines_before_an_error_belong_to_its_request(tracker: ErrorTracker) -> None:
    log = logging.getLogger("noufal.boq")
    log.addHandler(tracker.crumbs)
    log.setLevel(logging.DEBUG)
    try:
        with use_context(context("other")):
            log.info("لا شأن له")
        with use_context(context("mine")):
            for number in range(40):
                log.info("قرأت البند %d token=abc%s", number, "x" * 300)
            tracker.crumbs.handle(logging.LogRecord("noufal.boq", logging.WARNING, "", 0, "%d", ("no number",), None))
            tracker.capture_exception(raised(ValueError("فشل")))
    finally:
        log.removeHandler(tracker.crumbs)
    crumbs = only(tracker)["sample"]["breadcrumbs"]
    assert [crumb["message"] for crumb in crumbs][-2:] == ["قرأت البند 39 token=[redacted]", "<a record that cannot be rendered>"]
    assert (crumbs[-1]["level"], crumbs[-1]["logger"], len(crumbs) <= 30) == ("WARNING", "noufal.boq", True)
    assert "لا شأن له" not in str(crumbs)


def test_a_full_queue_is_counted_and_told(tracker: ErrorTracker, monkeypatch: pytest.MonkeyPatch) -> None:
    assert tracker.look().status == "pass"
    logging.getLogger("rakiza.errors").disabled = True
    try:
        for number in range(1010):
            tracker.capture_message(f"فيض {number}")
    finally:
        logging.getLogger("rakiza.errors").disabled = False
    assert only(tracker)["count"] == 1000
    assert tracker.dropped == 10
    assert tracker.look().status == "warn"
    assert tracker.look().status == "pass"


def test_a_file_that_refuses_costs_the_group_and_not_the_program(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    tracker = ErrorTracker(local=LocalFile(tmp_path / "file" / "telemetry.db"))
    tracker.capture_exception(raised(ValueError("قرص")))
    tracker.flush()
    assert (tracker.total, tracker.dropped, tracker.groups.page()) == (1, 1, [])
    assert tracker.look().status == "warn"


def test_a_forked_child_leaves_what_waits_to_its_parent(tracker: ErrorTracker) -> None:
    tracker.capture_exception(raised(ValueError("أب")))
    child = os.fork()
    if child == 0:
        tracker.flush()
        os._exit(0 if not tracker._queue else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert only(tracker)["count"] == 1


def test_without_a_platform_errors_are_only_logged(caplog: pytest.LogCaptureFixture) -> None:
    capture_exception()
    assert caplog.records == []
    try:
        raise ValueError("بلا منصة")
    except ValueError:
        capture_exception()
    capture_message("رسالة")
    init_sentry("")
    assert [record.message for record in caplog.records] == ["unexpected ValueError", "رسالة"]


ALONE = """
import sys
from rakiza import build
from rakiza.errors import capture_message, init_sentry
platform = build({"hub": {"home": sys.argv[1]}, "logs": {"console": False}}, environ={})
platform.start()
init_sentry("")
capture_message("رسالة")
platform.shutdown()
assert "sentry_sdk" not in sys.modules, "imported"
print("not imported")
"""


def test_sentry_is_not_imported_without_a_dsn(python_process: Callable[..., Child], tmp_path: Path) -> None:
    assert python_process(ALONE, str(tmp_path)).finish()[-1] == "not imported"
