"""What an operator sees of the queue and does about it."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec

from rakiza._kernel import DEFAULT_TENANT, OPS_READ, OPS_WRITE, Ports, Request, Response, Route, json_response
from rakiza._kernel.http import Handler
from rakiza.errors import ForbiddenError, NotFoundError, ValidationError

from ._browsing import Browser, JobDetail, JobLine, JobPage, JobStats, QueueLine, Scrub
from ._bulk import Bulk, Bulked, Worklist
from ._definitions import DEFAULT_QUEUE
from ._filters import Asked, JobFilter
from ._schedules import ScheduleView
from .service import Jobs

Limit = Annotated[int, msgspec.Meta(ge=1, le=500)]
Count = Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]
Seconds = Annotated[float, msgspec.Meta(gt=0, le=31 * 86_400)]
Single = Literal["retry", "cancel", "discard", "run"]
MAX_DELAY_SECONDS = 366 * 86_400


class JobQuery(JobFilter, kw_only=True, forbid_unknown_fields=True):
    """Choose a page of jobs."""

    limit: Limit = 50
    after: Asked = ""


class HistoryQuery(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Choose a time up to now, at most 14 days, and whose history."""

    minutes: Annotated[int, msgspec.Meta(ge=1, le=20_160)] = 60
    queue: Asked = ""
    task: Asked = ""


class RetryBody(msgspec.Struct, forbid_unknown_fields=True):
    """Give other arguments for the next attempt, or none to keep them."""

    payload: dict[str, object] | None = None


class NewJobBody(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Describe a job to be put into the queue."""

    task: Annotated[str, msgspec.Meta(min_length=1, max_length=200, pattern=r"^[^\x00]*\Z")]
    payload: dict[str, object] = msgspec.field(default_factory=dict)
    queue: Annotated[str, msgspec.Meta(min_length=1, max_length=200, pattern=r"^[^\x00]*\Z")] | None = None
    priority: Annotated[int, msgspec.Meta(ge=0, le=32_767)] | None = None
    delay_seconds: Annotated[float, msgspec.Meta(ge=0, le=MAX_DELAY_SECONDS)] = 0.0
    tags: list[Asked] = []


class Limits(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Set the limits of a queue that are named; null takes one away."""

    concurrency: Count | msgspec.UnsetType | None = msgspec.UNSET
    max_running: Count | msgspec.UnsetType | None = msgspec.UNSET
    rate: Count | msgspec.UnsetType | None = msgspec.UNSET
    rate_seconds: Seconds | msgspec.UnsetType | None = msgspec.UNSET
    per_key: Annotated[int, msgspec.Meta(ge=1, le=32_767)] | msgspec.UnsetType | None = msgspec.UNSET
    key_rate: Count | msgspec.UnsetType | None = msgspec.UNSET
    key_rate_seconds: Seconds | msgspec.UnsetType | None = msgspec.UNSET

    def given(self) -> dict[str, float | None]:
        """Return what was named."""
        return {name: value for name in self.__struct_fields__ if (value := getattr(self, name)) is not msgspec.UNSET}


class Timing(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Say when a schedule fires."""

    kind: Literal["cron", "interval", "once"]
    expression: Asked
    timezone: Asked


class ScheduleBody(Timing, kw_only=True, forbid_unknown_fields=True):
    """Change a schedule; what is none stays."""

    payload: dict[str, object] | None = None
    missed: Literal["once", "skip", "all"] | None = None
    enabled: bool | None = None


class Foreseen(msgspec.Struct):
    """Show when a schedule would fire, and how people read it."""

    next: list[datetime]
    text_en: str
    text_ar: str


class ScheduleLine(msgspec.Struct, kw_only=True):
    """Show one schedule."""

    name: str
    kind: str
    expression: str
    timezone: str
    task: str
    payload: object
    queue: str
    missed: str
    enabled: bool
    next_at: datetime | None
    last_at: datetime | None
    last_job_id: int | None
    last_state: str | None
    error: str | None
    edited: bool
    declared: bool
    next: list[datetime]
    text_en: str
    text_ar: str


class SchedulePage(msgspec.Struct):
    """Hold all schedules, and who fires them."""

    schedules: list[ScheduleLine]
    leader: str | None


class Endpoints:
    """Answer `/api/jobs/*`."""

    def __init__(self, jobs: Jobs, browser: Browser, ports: Ports) -> None:
        self._jobs, self._browser, self._ports = jobs, browser, ports
        self._worklist = Worklist(jobs, browser)
        self._actions: Mapping[str, Callable[[int], int]] = {"cancel": jobs.cancel, "discard": jobs.discard, "run": jobs.run_now}

    # -- looking

    def stats(self, _request: Request) -> Response:
        """Return all queues and workers."""
        return json_response(self._browser.stats())

    def page(self, request: Request) -> Response:
        """Return jobs: the next first for what waits, the last first for what has ended."""
        asked = request.decode_query(JobQuery)
        return json_response(self._browser.page(asked, asked.limit, asked.after, tenant=_tenant(request), open_payload=_may_write(request)))

    def one(self, request: Request) -> Response:
        """Return everything about one job."""
        found = self._browser.one(_id(request), tenant=_tenant(request), open_payload=_may_write(request))
        if found is None:
            raise _unknown(_id(request))
        return json_response(found)

    def history(self, request: Request) -> Response:
        """Return what happened in each step of the last minutes."""
        asked = request.decode_query(HistoryQuery)
        return json_response(self._browser.history(asked.minutes, asked.queue, asked.task))

    # -- jobs

    def act(self, action: Single) -> Handler:
        """Return the handler of an action on one job."""

        def handler(request: Request) -> Response:
            job_id = self._own(request)
            payload = request.decode(RetryBody).payload if action == "retry" else None
            with self._jobs.store.begin() as tx:
                if action == "retry":
                    self._jobs.retry(job_id, payload)
                else:
                    self._actions[action](job_id)
                details = {"payload": "changed"} if payload is not None else {}
                self._ports.audit.record(f"job.{action}", action.upper(), f"job:{job_id}", details, tx=tx)
            return self._line(job_id)

        return handler

    def add(self, request: Request) -> Response:
        """Put a job into the queue."""
        body = request.decode(NewJobBody)
        options: dict[str, Any] = {"queue": body.queue, "priority": body.priority, "delay": body.delay_seconds, "tags": body.tags}
        with self._jobs.store.begin() as tx:
            made = self._jobs.add_job(body.task, body.payload, **options, tx=tx)
            self._ports.audit.record("job.create", "CREATE", f"job:{made.id}", {"task": body.task, "duplicate": made.duplicate}, tx=tx)
        return self._line(made.id, 201)

    def bulk(self, request: Request) -> Response:
        """Do one thing to many jobs, named or found by a filter."""
        body = request.decode(Bulk)
        if (body.ids is None) == (body.filter is None):
            raise ValidationError("give either ids or filter", message_ar="حدد المهام بأرقامها أو بمرشح، أحدهما فقط")
        done = Bulked(0, 0)
        try:
            self._worklist.run(body, done, _tenant(request))
        finally:  # also what was done before a failure
            self._browser.forget()
            if not body.dry_run:
                chosen = {"ids": body.ids} if body.ids is not None else {"filter": _plain(body.filter)}
                details = {**chosen, "matched": done.matched, "changed": done.changed}
                self._ports.audit.record(f"job.{body.action}", body.action.upper(), "jobs", details)
        return json_response(done)

    def _own(self, request: Request) -> int:
        job_id, tenant = _id(request), _tenant(request)
        if tenant is not None and self._browser.one(job_id, tenant=tenant) is None:
            raise _unknown(job_id)
        return job_id

    def _line(self, job_id: int, status: int = 200) -> Response:
        self._browser.forget()
        found = self._browser.one(job_id)
        if found is None:
            raise _unknown(job_id)
        return json_response(msgspec.convert(found, JobLine, from_attributes=True), status)

    # -- queues

    def pause(self, request: Request) -> Response:
        """Let no further job of a queue start."""
        return self._change(request, "pause", {"paused": True})

    def resume(self, request: Request) -> Response:
        """Let the jobs of a queue start again."""
        return self._change(request, "resume", {"paused": False})

    def scale(self, request: Request) -> Response:
        """Set the limits of a queue."""
        return self._change(request, "update", dict(request.decode(Limits).given()))

    def _change(self, request: Request, action: str, fields: dict[str, Any]) -> Response:
        _whole_system(request)
        name = request.params["name"]
        if "\0" in name:
            raise NotFoundError("there is no such queue", message_ar="لا توجد قائمة بهذا الاسم")
        with self._jobs.store.begin() as tx:
            if fields:
                self._jobs.scale(name, **fields)
            self._ports.audit.record(f"queue.{action}", action.upper(), f"queue:{name}", fields, tx=tx)
        return json_response(self._browser.queue(name))


class ScheduleEndpoints:
    """Answer `/api/jobs/schedules/*`."""

    def __init__(self, jobs: Jobs, ports: Ports, scrub: Scrub) -> None:
        self._jobs, self._schedules, self._ports, self._scrub = jobs, jobs.schedules, ports, scrub

    def all(self, request: Request) -> Response:
        """Return every schedule by name."""
        _whole_system(request)
        found = [self._line(one, request) for one in self._schedules.all()]
        return json_response(SchedulePage(found, self._schedules.leader()))

    def preview(self, request: Request) -> Response:
        """Return when something would fire, without keeping it."""
        asked = request.decode(Timing)
        return json_response(Foreseen(*self._schedules.preview(asked.kind, asked.expression, asked.timezone)))

    def pause(self, request: Request) -> Response:
        """Let a schedule fire no more."""
        return self._change(request, "pause", self._schedules.pause)

    def resume(self, request: Request) -> Response:
        """Let a schedule fire again from now on."""
        return self._change(request, "resume", self._schedules.resume)

    def run(self, request: Request) -> Response:
        """Enqueue the job of a schedule at once."""
        return self._change(request, "run", self._schedules.run_now)

    def edit(self, request: Request) -> Response:
        """Change when, and with what, a schedule fires."""
        asked = request.decode(ScheduleBody)
        timing = (asked.kind, asked.expression, asked.timezone)
        more: dict[str, Any] = {"payload": asked.payload, "missed": asked.missed, "enabled": asked.enabled}
        details = {"kind": asked.kind, "expression": asked.expression, "timezone": asked.timezone, "missed": asked.missed, "enabled": asked.enabled}
        details |= {"payload": "changed"} if asked.payload is not None else {}
        return self._change(request, "update", lambda name: self._schedules.edit(name, *timing, **more), details)

    def delete(self, request: Request) -> Response:
        """Take a schedule away; its jobs stay."""
        with self._jobs.store.begin() as tx:
            name = _schedule(request)
            self._schedules.unschedule(name)
            self._ports.audit.record("schedule.delete", "DELETE", f"schedule:{name}", tx=tx)
        return Response(status=204)

    def _change(self, request: Request, action: str, work: Callable[[str], object], details: Mapping[str, object] | None = None) -> Response:
        name = _schedule(request)
        with self._jobs.store.begin() as tx:
            work(name)
            self._ports.audit.record(f"schedule.{action}", action.upper(), f"schedule:{name}", details, tx=tx)
        return json_response(self._line(self._schedules.get(name), request))

    def _line(self, view: ScheduleView, request: Request) -> ScheduleLine:
        fields = msgspec.structs.asdict(view)
        options = fields.pop("options")
        known = self._jobs.registry.find(view.task)
        queue = options.get("queue") or (known.options.queue if known is not None else None) or DEFAULT_QUEUE
        return ScheduleLine(**{**fields, "payload": view.payload if _may_write(request) else self._scrub(view.payload), "queue": queue})


def _schedule(request: Request) -> str:
    _whole_system(request)
    name = request.params["name"]
    if "\0" in name:
        raise NotFoundError("there is no such schedule", message_ar="لا يوجد جدول بهذا الاسم")
    return name


def _id(request: Request) -> int:
    text = request.params["id"]
    if not (text.isdecimal() and len(text) < 19):
        raise _unknown(text[:40])
    return int(text)


def _unknown(job_id: int | str) -> NotFoundError:
    return NotFoundError(f"there is no job {job_id}; it may have been deleted after its time", message_ar="لا توجد مهمة بهذا الرقم")


def _may_write(request: Request) -> bool:
    principal = request.context.principal
    return principal is not None and principal.may(OPS_WRITE)


def _tenant(request: Request) -> str | None:
    """Return the only tenant the caller may see, none for the operators of the whole system."""
    principal = request.context.principal
    return None if principal is None or principal.tenant == DEFAULT_TENANT else principal.tenant


def _whole_system(request: Request) -> None:
    """Raise ForbiddenError for the operators of one tenant: queues serve all of them."""
    if _tenant(request) is not None:
        raise ForbiddenError("queues and schedules belong to the operators of the whole system")


def _plain(chosen: JobFilter | None) -> dict[str, object]:
    return {name: value for name, value in msgspec.structs.asdict(chosen or JobFilter()).items() if value}


def routes(jobs: Jobs, browser: Browser, ports: Ports) -> tuple[Route, ...]:
    """Return the routes of the queue, each with its permission."""
    on, schedules = Endpoints(jobs, browser, ports), ScheduleEndpoints(jobs, ports, browser.scrub)
    return (
        _route("GET /api/jobs/stats", on.stats, OPS_READ, "Queues and workers", (None, JobStats)),
        _route("GET /api/jobs/history", on.history, OPS_READ, "What happened to jobs in the last minutes, hours or days", (HistoryQuery, None)),
        _route("GET /api/jobs", on.page, OPS_READ, "Jobs", (JobQuery, JobPage)),
        _route("POST /api/jobs", on.add, OPS_WRITE, "Put a job into the queue", (NewJobBody, JobLine)),
        _route("POST /api/jobs/bulk", on.bulk, OPS_WRITE, "Do one thing to many jobs", (Bulk, Bulked)),
        _route("GET /api/jobs/{id}", on.one, OPS_READ, "One job", (None, JobDetail)),
        _route("POST /api/jobs/{id}/retry", on.act("retry"), OPS_WRITE, "Run a job again", (RetryBody, JobLine)),
        _route("POST /api/jobs/{id}/cancel", on.act("cancel"), OPS_WRITE, "Cancel a job; one that runs is asked to end", (None, JobLine)),
        _route("POST /api/jobs/{id}/discard", on.act("discard"), OPS_WRITE, "Give a failed job up", (None, JobLine)),
        _route("POST /api/jobs/{id}/run", on.act("run"), OPS_WRITE, "Let a delayed job begin now", (None, JobLine)),
        _route("POST /api/jobs/queues/{name}/pause", on.pause, OPS_WRITE, "Let no further job of a queue start", (None, QueueLine)),
        _route("POST /api/jobs/queues/{name}/resume", on.resume, OPS_WRITE, "Let the jobs of a queue start again", (None, QueueLine)),
        _route("PATCH /api/jobs/queues/{name}", on.scale, OPS_WRITE, "Set the limits of a queue", (Limits, QueueLine)),
        _route("GET /api/jobs/schedules", schedules.all, OPS_READ, "Schedules, and who fires them", (None, SchedulePage)),
        _route("POST /api/jobs/schedules/preview", schedules.preview, OPS_READ, "When something would fire", (Timing, Foreseen)),
        _route("POST /api/jobs/schedules/{name}/pause", schedules.pause, OPS_WRITE, "Let a schedule fire no more", (None, ScheduleLine)),
        _route("POST /api/jobs/schedules/{name}/resume", schedules.resume, OPS_WRITE, "Let a schedule fire again", (None, ScheduleLine)),
        _route("POST /api/jobs/schedules/{name}/run", schedules.run, OPS_WRITE, "Enqueue the job of a schedule now", (None, ScheduleLine)),
        _route("PUT /api/jobs/schedules/{name}", schedules.edit, OPS_WRITE, "Change a schedule", (ScheduleBody, ScheduleLine)),
        _route("DELETE /api/jobs/schedules/{name}", schedules.delete, OPS_WRITE, "Take a schedule away; its jobs stay"),
    )


def _route(target: str, handler: Handler, permission: str, summary: str, types: tuple[type | None, type | None] = (None, None)) -> Route:
    method, _, path = target.partition(" ")
    return Route(method=method, path=path, handler=handler, permission=permission, summary=summary, request_type=types[0], response_type=types[1])
