"""Which calls are made again and after which pause; how many hosts are remembered."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rakiza.outbound import OutboundSettings
from rakiza.outbound import _lines as lines_module
from rakiza.outbound._core import may_repeat, retry_after
from rakiza.outbound._lines import Lines

NOW = datetime(2026, 11, 27, 9, tzinfo=UTC)


@pytest.mark.parametrize("method", ["GET", "head", "PUT", "Delete", "OPTIONS"])
def test_methods_that_may_be_repeated(method: str) -> None:
    assert may_repeat(method, {}, kept=True)
    assert not may_repeat(method, {}, kept=False)


@pytest.mark.parametrize("method", ["POST", "PATCH", "CONNECT", "BREW", "دفع"])
def test_methods_that_may_not(method: str) -> None:
    assert not may_repeat(method, {}, kept=True)
    assert not may_repeat(method, {"idempotency-key": ""}, kept=True)
    assert may_repeat(method, {"idempotency-key": "k"}, kept=True) is (method == "POST")


@given(st.integers(0, 10**6))
def test_seconds_are_taken_as_they_are(seconds: int) -> None:
    assert retry_after(f" {seconds} ", NOW) == seconds


@given(st.integers(-(10**6), 10**6))
def test_a_date_is_the_time_until_then_and_never_before_now(seconds: int) -> None:
    assert retry_after(format_datetime(NOW + timedelta(seconds=seconds), usegmt=True), NOW) == max(0, seconds)


@given(st.none() | st.text(max_size=40) | st.from_regex(r"\A[A-Z][a-z]{2}, \d{1,5} [A-Z][a-z]{2} \d{1,7} \d\d?:\d\d?:\d\d? [+-]?\w{1,5}\Z"))
def test_anything_else_is_no_pause(text: str | None) -> None:
    found = retry_after(text, NOW)
    assert found is None or found >= 0


@pytest.mark.parametrize("text", ["", "soon", "-1", "1.5", "١٢٠", "Fri, 32 Nov 2026 09:00:00 GMT"])
def test_what_cannot_be_read_is_no_pause(text: str) -> None:
    assert retry_after(text, NOW) is None


def test_hosts_are_remembered_up_to_a_number_the_latest_called(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines_module, "MAX_HOSTS", 3)
    lines = Lines("hooks", OutboundSettings(), failures=(OSError,), ignored=(), status=lambda _: 200)

    def run(attempt: object) -> object:
        return attempt

    first = lines.to("a", run, repeat=True)
    for host in ("b", "a", "c", "d"):
        lines.to(host, run, repeat=True)
    assert list(lines._hosts) == ["a", "c", "d"]
    assert lines.to("a", run, repeat=True) is first
    assert lines.to("a", run, repeat=False) is not first
