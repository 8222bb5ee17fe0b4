"""Send errors to Sentry: the one file that imports `sentry_sdk`, and only once there is a DSN."""

import logging
from collections.abc import Callable
from typing import Any

from rakiza._kernel import SettingsError

QUEUE, CLOSE_SECONDS = 100, 2.0
log = logging.getLogger("rakiza.errors")


class Sentry:
    """Hold a client of its own, without integrations: the application's use of `sentry_sdk` stays its own; events wait in a bounded queue."""

    def __init__(self, dsn: str, environment: str, release: str, scrub: Callable[[Any], Any]) -> None:
        try:
            from sentry_sdk import Client
        except ImportError:
            raise SettingsError("SENTRY_DSN is set and sentry-sdk is not installed: pip install 'rakiza[sentry]'") from None
        off = ("default_integrations", "auto_enabling_integrations", "auto_session_tracking", "send_client_reports")
        more: dict[str, Any] = dict.fromkeys(off, False)
        more |= {"integrations": [], "transport_queue_size": QUEUE, "before_send": lambda event, _: scrub(event)}
        try:
            self._client = Client(dsn, environment=environment, release=release or None, **more)
        except ValueError as error:
            raise SettingsError(f"SENTRY_DSN cannot be read: {error}") from None
        self.lost = 0
        self._client.transport.on_dropped_event = self._count  # type: ignore[union-attr] # the way it offers

    def send(self, key: str, sample: dict[str, Any]) -> None:
        """Hand over one error; never waits."""
        self._client.capture_event({name: value for name, value in _event(key, sample).items() if value})  # type: ignore[arg-type]

    def close(self) -> None:
        """Give what waits a last, bounded time."""
        self._client.close(timeout=CLOSE_SECONDS)

    def _count(self, reason: str) -> None:
        self.lost += 1
        if self.lost & (self.lost - 1) == 0:
            log.warning("Sentry did not take an error (%s); %d so far", reason, self.lost)


def _event(key: str, sample: dict[str, Any]) -> dict[str, Any]:
    error = {"type": sample["kind"], "value": sample["message"], "stacktrace": {"frames": [_frame(one) for one in sample["frames"]]}}
    values = [*({"type": one["kind"], "value": one["message"]} for one in reversed(sample["causes"])), error]
    renamed = {"timestamp": "at", "category": "logger", "message": "message"}
    crumbs = [{"level": one["level"].lower(), **{new: one[old] for new, old in renamed.items()}} for one in sample["breadcrumbs"]]
    return {
        "timestamp": sample["at"],
        "level": {"critical": "fatal"}.get(sample["level"], sample["level"]),
        "fingerprint": [key],
        "transaction": sample["route"] or sample["path"],
        "user": {name: sample[field] for name, field in (("id", "user_id"), ("email", "email")) if sample[field]},
        "request": {"method": sample["method"], "url": sample["path"]},
        "tags": {name: sample[name] for name in ("request_id", "trace_id", "route") if sample[name]},
        "contexts": {"trace": {name: sample[name] for name in ("trace_id", "span_id")}} if sample["trace_id"] else {},
        "breadcrumbs": {"values": crumbs},
        **({"exception": {"values": values}} if sample["raised"] else {"message": sample["message"]}),
    }


def _frame(frame: dict[str, Any]) -> dict[str, Any]:
    module, _, function = frame["function"].partition(":")
    before, after = ([one["text"] for one in frame["context"] if sign * one["line"] > sign * frame["line"]] for sign in (-1, 1))
    found = {"abs_path": frame["file"], "filename": frame["file"].rpartition("/")[2], "lineno": frame["line"], "module": module, "function": function}
    line = next((one["text"] for one in frame["context"] if one["line"] == frame["line"]), "")
    return found | {"in_app": frame["in_app"], "pre_context": before, "context_line": line, "post_context": after}
