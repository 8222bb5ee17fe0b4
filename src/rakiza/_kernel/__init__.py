"""The kernel every room stands on: parts, ports, settings, request context, clock, ids, rate-limit mathematics, neutral HTTP.

    from rakiza._kernel import Gcra, SYSTEM_CLOCK
    limit = Gcra(limit=10, per_seconds=60)
    assert limit.hit("a client", SYSTEM_CLOCK.monotonic()) == 0.0
"""

from .attach import adapter, attach, framework_of
from .clock import SYSTEM_CLOCK, Clock, SystemClock
from .context import DEFAULT_TENANT, RequestContext, current, deadline, request_context, time_left, use_context
from .gcra import Gcra
from .http import Request, Response, Route, json_response
from .ids import draw, span_id, token, trace_id, uuid7, uuid7_text
from .local import LocalFile
from .maintenance import Maintenance, Pause
from .part import Check, CheckResult, Command, Context, Finding, Migrations, Part, judged, service_at_hand, set_default
from .ports import OPS_ADMIN, OPS_READ, OPS_WRITE, PUBLIC, SIGNED_IN, Audit, Authenticator, Credentials, Ports, Principal, UnitOfWork
from .recipe import AS_GIVEN, Recipe
from .redaction import Redactor
from .settings import RoomSettings, SettingsError, SettingsReader
from .tasks import LoopThread, Repeating, Supervisor, WorkerPool, both, running_loop
from .text import describe

__all__ = [
    "AS_GIVEN",
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
    "Finding",
    "Gcra",
    "LocalFile",
    "LoopThread",
    "Maintenance",
    "Migrations",
    "Part",
    "Pause",
    "Ports",
    "Principal",
    "Recipe",
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
    "UnitOfWork",
    "WorkerPool",
    "adapter",
    "attach",
    "both",
    "current",
    "deadline",
    "describe",
    "draw",
    "framework_of",
    "json_response",
    "judged",
    "request_context",
    "running_loop",
    "service_at_hand",
    "set_default",
    "span_id",
    "time_left",
    "token",
    "trace_id",
    "use_context",
    "uuid7",
    "uuid7_text",
]
