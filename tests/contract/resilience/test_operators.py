"""What an operator sees of breakers and limits and does about them, in a whole platform."""

import asyncio
import json
import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

import laid
from rakiza import Platform, integrate
from rakiza.resilience import AdaptiveLimit, Bulkhead, CircuitBreaker, CircuitOpenError, RetryBudget, Timeout

KEY = {"X-API-Key": "an-operators-key-of-enough-length"}


@pytest.fixture
def platform(tmp_path: Path) -> Iterator[Platform]:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        """Have no routes."""

    settings = {"hub": {"home": str(laid.home(tmp_path, "app"))}, "security": {"ops_api_key": KEY["X-API-Key"]}, "logs": {"console": False}}
    settings["health"] = {"good_seconds": 600.0, "bad_seconds": 600.0}
    found = integrate(app, settings, resilience={"longest_force_seconds": 3600.0})
    found.start()
    yield found
    found.shutdown()


@pytest.fixture
def breaker() -> CircuitBreaker:
    return CircuitBreaker("مصرف الراجحي", min_calls=2, slow_seconds=1.0)


def ask(platform: Platform, method: str, path: str, body: object = None, headers: dict[str, str] | None = None) -> httpx.Response:
    async def send() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(platform.app), base_url="http://site.example") as client:  # type: ignore[arg-type]
            return await client.request(
                method, path, content=json.dumps(body) if body is not None else None, headers=KEY if headers is None else headers
            )

    return asyncio.run(send())


def row(platform: Platform, kind: str, name: str) -> dict[str, Any]:
    found = [one for one in ask(platform, "GET", "/api/resilience").json()[kind] if one["name"] == name]
    assert len(found) == 1
    return found[0]


def fails() -> None:
    raise OSError("away")


def test_the_overview_shows_breakers_limits_budgets_and_missed_deadlines(platform: Platform, breaker: CircuitBreaker) -> None:
    bulkhead, limit = Bulkhead("مصرف", 2, queue=3), AdaptiveLimit("مصرف", start=7, most=9)
    budget = RetryBudget(0.1, name="مصرف")
    bulkhead.enter()
    budget.deposit()
    Timeout(0.0001, name="قرص بطيء")(time.sleep)(0.01)
    for _ in range(2):
        with pytest.raises(OSError, match="away"):
            breaker.call(fails)
    with pytest.raises(CircuitOpenError):
        breaker.call(fails)
    seen = row(platform, "breakers", "مصرف الراجحي")
    assert (seen["state"], seen["forced"], seen["forced_until"], seen["reason"]) == ("open", None, None, "failures")
    assert 0 < seen["retry_after_seconds"] <= 30
    assert seen["totals"] == {"succeeded": 0, "failed": 2, "slow": 0, "rejected": 1, "ignored": 0, "late": 0, "probes": 0}
    assert seen["thresholds"] | {"window": 100, "failure_rate": 0.5, "slow_seconds": 1.0, "min_calls": 2, "probes": 1} == seen["thresholds"]
    assert [(each["from"], each["to"], each["why"]) for each in seen["history"]] == [("closed", "open", "failures")]
    assert seen["history"][0]["at"].endswith("Z")
    assert row(platform, "bulkheads", "مصرف") == {
        "name": "مصرف",
        "limit": 2,
        "in_use": 1,
        "queue_limit": 3,
        "queued": 0,
        "rejected": 0,
        "total": 1,
    }
    assert row(platform, "limits", "مصرف") == {
        "name": "مصرف",
        "limit": 7,
        "in_flight": 0,
        "min": 1,
        "max": 9,
        "shed": 0,
        "total": 0,
        "latency_ms": None,
    }
    assert row(platform, "budgets", "مصرف") == {"name": "مصرف", "share": 0.1, "calls": 1, "retries": 0, "refused": 0}
    missed = ask(platform, "GET", "/api/resilience").json()["deadlines"]["missed"]
    assert [one["count"] for one in missed if one["name"] == "قرص بطيء"] == [1]
    assert limit.limit == 7


def test_an_operator_opens_closes_and_resets_a_breaker_and_it_is_audited(platform: Platform, breaker: CircuitBreaker, tmp_path: Path) -> None:
    path = f"/api/resilience/breakers/{breaker.name}"
    opened = ask(platform, "POST", f"{path}/open", {"for_seconds": 60, "reason": "صيانة"})
    assert (opened.status_code, opened.json()["state"], opened.json()["forced"], opened.json()["reason"]) == (200, "open", "open", "صيانة")
    assert 59 < opened.json()["retry_after_seconds"] <= 60
    with pytest.raises(CircuitOpenError):
        breaker.call(int)
    closed = ask(platform, "POST", f"{path}/close", {"for_seconds": 60}).json()
    assert (closed["state"], closed["forced"], closed["retry_after_seconds"]) == ("closed", "closed", None)
    reset = ask(platform, "POST", f"{path}/reset", {"reason": "انتهت"}).json()
    assert (reset["state"], reset["forced"], reset["reason"]) == ("closed", None, "انتهت")
    lines = [json.loads(line) for file in tmp_path.rglob("*_audit.log") for line in file.read_text().splitlines()]
    told = [(line["event_type"], line["action"], line["details"]) for line in lines if line["resource"] == f"breaker:{breaker.name}"]
    assert told == [
        ("breaker.open", "OPEN", {"for_seconds": 60.0, "reason": "صيانة"}),
        ("breaker.close", "CLOSE", {"for_seconds": 60.0, "reason": ""}),
        ("breaker.reset", "RESET", {"reason": "انتهت"}),
    ]


def test_every_breaker_of_a_name_obeys_the_operator_not_only_the_one_shown(platform: Platform, breaker: CircuitBreaker) -> None:
    path, shown = f"/api/resilience/breakers/{breaker.name}", CircuitBreaker(breaker.name)
    assert ask(platform, "POST", f"{path}/open", {"for_seconds": 60, "reason": "صيانة"}).status_code == 200
    assert (breaker.state, shown.state) == ("open", "open")
    ask(platform, "POST", f"{path}/close", {"for_seconds": 60})
    assert (breaker.stats().forced, shown.stats().forced) == ("closed", "closed")
    ask(platform, "POST", f"{path}/reset", {})
    assert (breaker.stats().forced, shown.stats().forced) == (None, None)


def test_health_warns_of_a_breaker_that_a_second_one_of_its_name_hides(platform: Platform, breaker: CircuitBreaker) -> None:
    check = next(check for part in platform.parts for check in part.checks if check.name == "circuit breakers")
    hides = CircuitBreaker(breaker.name)
    breaker.force_open(60)
    seen = check.fn()
    assert (seen.status, hides.state) == ("warn", "closed")  # type: ignore[union-attr]
    assert breaker.name in str(seen.output).removeprefix("open: ").split(", ")  # type: ignore[union-attr]


NO_REASON = [{"reason": text} for text in ("x" * 501, "\0", "\ud800")]


@pytest.mark.parametrize("body", [*({"for_seconds": seconds} for seconds in (0, -1, 3601, 1e308)), {"for": 5}, *NO_REASON])
def test_what_cannot_be_forced_is_refused_and_changes_nothing(platform: Platform, breaker: CircuitBreaker, body: object) -> None:
    reply = ask(platform, "POST", f"/api/resilience/breakers/{breaker.name}/open", body)
    assert reply.status_code == (400 if body == {"reason": "\ud800"} else 422)
    assert breaker.state == "closed"
    assert reply.json()["message_ar"]


def test_an_unknown_breaker_and_a_stranger_are_refused(platform: Platform, breaker: CircuitBreaker) -> None:
    missing = ask(platform, "POST", "/api/resilience/breakers/غيره/open", {})
    assert (missing.status_code, missing.json()["code"]) == (404, "not_found")
    assert ask(platform, "GET", "/api/resilience", headers={}).status_code == 401
    assert ask(platform, "POST", f"/api/resilience/breakers/{breaker.name}/open", {}, headers={}).status_code == 401
    assert breaker.state == "closed"


def test_health_warns_while_a_breaker_is_open_and_readiness_stays(platform: Platform, breaker: CircuitBreaker) -> None:
    check = next(check for part in platform.parts for check in part.checks if check.name == "circuit breakers")
    assert not check.required
    assert check.fn().status == "pass"  # type: ignore[union-attr]
    breaker.force_open(60)
    seen = check.fn()
    assert (seen.status, breaker.name in str(seen.output)) == ("warn", True)  # type: ignore[union-attr]
    breaker.reset()
    assert check.fn().status == "pass"  # type: ignore[union-attr]


def test_metrics_show_what_was_counted_without_a_call_paying_for_it(platform: Platform, breaker: CircuitBreaker) -> None:
    breaker.call(int)
    breaker.force_open(60)
    for _ in range(2):
        with pytest.raises(CircuitOpenError):
            breaker.call(int)
    text = platform.metrics.render().decode()
    for line in (
        'resilience_breaker_state{breaker="مصرف الراجحي",state="open"} 1.0',
        'resilience_breaker_state{breaker="مصرف الراجحي",state="closed"} 0.0',
        'resilience_calls_total{breaker="مصرف الراجحي",outcome="succeeded"} 1.0',
        'resilience_calls_total{breaker="مصرف الراجحي",outcome="rejected"} 2.0',
    ):
        assert line in text
    assert b"resilience_calls_total" in platform.metrics.negotiated("application/openmetrics-text")[0]


def test_every_change_is_one_line_in_the_log_as_long_as_the_platform_runs(
    platform: Platform, breaker: CircuitBreaker, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "rakiza.resilience")
    for _ in range(2):
        with pytest.raises(OSError, match="away"):
            breaker.call(fails)
    breaker.reset()
    platform.shutdown()
    breaker.reset()
    assert [(record.levelname, record.getMessage()) for record in caplog.records if record.name == "rakiza.resilience"] == [
        ("WARNING", "circuit breaker مصرف الراجحي: closed -> open (failures)"),
        ("INFO", "circuit breaker مصرف الراجحي: open -> closed (reset)"),
    ]


def test_a_refusal_reaches_the_caller_as_503_with_retry_after(tmp_path: Path, breaker: CircuitBreaker) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        breaker.call(int)

    platform = integrate(app, {"hub": {"home": str(laid.home(tmp_path / "two", "app"))}, "logs": {"console": False}})
    platform.start()
    breaker.force_open(60)
    reply = ask(platform, "GET", "/pay")
    platform.shutdown()
    assert (reply.status_code, reply.json()["code"], reply.headers["retry-after"]) == (503, "circuit_open", "60")
    assert "الخدمة الخارجية" in reply.json()["message_ar"]
