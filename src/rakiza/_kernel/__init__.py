"""The kernel every room stands on: parts, ports, settings, request context, clock, ids, rate-limit mathematics, neutral HTTP.

    from rakiza._kernel import Gcra, SYSTEM_CLOCK
    limit = Gcra(limit=10, per_seconds=60)
    assert limit.hit("a client", SYSTEM_CLOCK.monotonic()) == 0.0
"""

from .attach import adapter, attach, framework_of
from .clock import SYSTEM_CLOCK, Clock, SystemClock
from .context import DEFAULT_TENANT, Deadline, RequestContext, current, request_context, use_context
from .gcra import Gcra
from .http import Request, Response, Route, json_response
from .ids import span_id, token, trace_id, uuid7, uuid7_text
from .local import LocalFile
from .part import Check, CheckResult, Command, Context, Migrations, Part, service_at_hand, set_default
from .ports import OPS_ADMIN, OPS_READ, OPS_WRITE, PUBLIC, SIGNED_IN, Audit, Authenticator, Credentials, Ports, Principal
from .redaction import Redactor
from .settings import RoomSettings, SettingsError, SettingsReader
from .tasks import LoopThread, Repeating, Supervisor, WorkerPool
from .text import describe

__all__ = [
    "DEFAULT_TENANT",
    "OPS_ADMIN",
    "OPS_READ",
    "OPS_WRITE",
    "PUBLIC",
    "SIGNED_IN",
    "SYSTEM_CLOCK",
    "Audit",
    "Authenticator",
    "Check",
    "CheckResult",
    "Clock",
    "Command",
    "Context",
    "Credentials",
    "Deadline",
    "Gcra",
    "LocalFile",
    "LoopThread",
    "Migrations",
    "Part",
    "Ports",
    "Principal",
    "Redactor",
    "Repeating",
    "Request",
    "RequestContext",
    "Response",
    "RoomSettings",
    "Route",
    "SettingsError",
    "SettingsReader",
    "Supervisor",
    "SystemClock",
    "WorkerPool",
    "adapter",
    "attach",
    "current",
    "describe",
    "framework_of",
    "json_response",
    "request_context",
    "service_at_hand",
    "set_default",
    "span_id",
    "token",
    "trace_id",
    "use_context",
    "uuid7",
    "uuid7_text",
]
