"""A telemetry whose kept spans a test can look at."""

from collections.abc import Callable
from typing import Any

import pytest

from rakiza._kernel import RequestContext, use_context
from rakiza.telemetry import Telemetry, TelemetrySettings


class Watched:
    """A telemetry and the spans it kept."""

    def __init__(self, **settings: Any) -> None:
        self.telemetry = Telemetry("site", TelemetrySettings(**settings))
        self.kept: list[Any] = []
        self.telemetry.outlets.append(self.kept.extend)
        self.tracer = self.telemetry.provider.get_tracer("موقع")

    def begin(self, **given: Any) -> RequestContext:
        asked = {"method": "GET", "path": "/مشروع", "client": "203.0.113.7", "traceparent": None, "trusted": False} | given
        return self.telemetry.begin(asked["method"], asked["path"], asked["client"], asked["traceparent"], trusted=asked["trusted"])

    def answered(self, work: Callable[[], object] = lambda: None, status: int = 200, seconds: float = 0.01, **given: Any) -> RequestContext:
        """Go through a whole request in which `work` is done."""
        context = self.begin(**given)
        span = self.telemetry.open(context) if context.sampled else None
        with use_context(context):
            work()
        if span is not None:
            span.detach()
        self.telemetry.finish(context, span, "/{name}", status, seconds, None, secure=False)
        return context

    @property
    def spans(self) -> list[Any]:
        """Return every span kept so far."""
        self.telemetry.flush()
        return [span for _, records in self.kept for span in records]

    def named(self, name: str) -> Any:
        (found,) = [span for span in self.spans if span.name == name]
        return found


@pytest.fixture
def watched() -> type[Watched]:
    """Return the class of watched telemetries."""
    return Watched
