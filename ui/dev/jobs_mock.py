"""The stand-in's job queue: jobs of a contractor's office in every state, 12,000 of them done, a few that run while one looks, and their schedules."""

import json
import random
import threading
import time
from datetime import UTC, datetime, timedelta
from datetime import timezone as fixed
from zoneinfo import ZoneInfo

import mock as erp  # noqa: UP026 - the stand-in beside this file

RIYADH = fixed(timedelta(hours=3))
STATES = ("ready", "delayed", "waiting", "running", "retry", "failed", "done", "cancelled")
MAY = {"retry": {"failed", "cancelled", "retry"}, "cancel": {"ready", "delayed", "waiting", "running"}, "discard": {"failed", "retry"}, "run": {"delayed", "retry"}}
TASKS = {"email:send": "emails", "invoice:issue": "invoices", "boq:import": "imports", "report:monthly_progress_with_a_rather_long_name": "reports", "notify:user": "default", "backup:create": "default"}
NAMES = ["سارة القحطاني", "عبدالله السبيعي", "محمد بن عبدالرحمن الحربي", "Mohammed Al-Harbi"]
WORK = "توريد وتركيب باب خشب مقاوم للحريق 90 دقيقة مع الإطار والملحقات وجهاز الإغلاق الذاتي، شاملًا القواعد والمواد والعمالة والاختبار والتسليم حسب المخططات والمواصفات الفنية المعتمدة"
STEPS = ["قراءة الملف", "مطابقة البنود مع المقايسة السابقة", "حفظ البنود", "Rendering page 14 of 31"]
TRACE = 'Traceback (most recent call last):\n  File "/srv/app/src/noufal/invoices/service.py", line 212, in issue\n    response = self._client.post("/v1/invoices/reporting", json=document)\n  File "/srv/app/src/rakiza/outbound/client.py", line 96, in send\n    raise TimeoutError(f"no answer within {seconds} s from {url}")\n'
FAULTS = [("TimeoutError", "no answer within 10 s from https://gw-fatoora.zatca.test/e-invoicing/core/invoices/reporting/single"), ("ValueError", "الكمية ليست رقما: «١٢٫٥٫٣» في البند 3.017 من مقايسة الأعمال المدنية"), ("OperationalError", "database is locked"), ("SMTPRecipientsRefused", "550 5.1.1 <m.harbi@noufal.test>: Recipient address rejected: User unknown")]
STARTED = time.time_ns() / 1e9
JOBS, PAUSED, LOCK = {}, {"reports"}, threading.Lock()
LIMITS = {"emails": {"rate": 100, "rate_seconds": 60.0, "concurrency": 4}, "imports": {"per_key": 1, "concurrency": 2}, "invoices": {"max_running": 6}}
NONE = {"concurrency": None, "max_running": None, "rate": None, "rate_seconds": None, "per_key": None, "key_rate": None, "key_rate_seconds": None}


def now():
    return time.time_ns() / 1e9


def iso(seconds):
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).astimezone(RIYADH).isoformat(timespec="milliseconds")


def payload(rng, task):
    code = rng.choice(["TOWER-07", "VILLA-01", "METRO-100K"])
    match task:
        case "email:send":
            return {"to": rng.choice(["m.harbi@noufal.test", "sara@noufal.test"]), "subject": f"اعتماد المستخلص رقم {rng.randint(1, 40)} للمشروع {code}", "body": "السلام عليكم، تجدون المستخلص مرفقا للاعتماد."}
        case "invoice:issue":
            return {"project": code, "certificate": rng.randint(1, 40), "amount": f"{rng.randint(10_000, 9_000_000)}.50", "lines": [{"item": "3.017", "description": WORK, "share": "0.25"}]}
        case "boq:import":
            return {"project": code, "file": "مقايسة الأعمال المدنية (النسخة المعدلة).xlsx", "user": rng.choice(NAMES)}
        case "notify:user":
            return {"user": rng.choice(NAMES), "text": f"أُسند إليك البند {rng.randint(1, 9)}.{rng.randint(100, 999)}", "path": f"/projects/{code}/boq/civil-works/structural-steel/section-and-subsection-with-a-very-long-unbroken-identifier-{rng.randint(100, 999)}"}
        case _:
            return {"project": code, "month": "2026-11", "language": "ar"}


def add(task, state, at, **more):
    number = len(JOBS) + 1
    rng = random.Random(number)
    given = more.pop("payload", None) or payload(rng, task)
    tags = more.pop("tags", [given["project"]] if "project" in given else ["بريد"] if task == "email:send" else [])
    job = {"id": number, "task": task, "queue": TASKS.get(task, "default"), "state": state, "reason": None, "priority": 0, "tags": tags, "attempt": 0, "max_attempts": 5, "run_at": at, "created_at": at, "started_at": None, "finished_at": None, "worker": None, "progress": None, "progress_text": None,
           "payload": given, "context": {"user": rng.choice(NAMES), "tenant": "default"}, "result": None, "errors": [], "logs": [], "timeout_seconds": 60.0, "unique_key": None, "concurrency_key": None, "key_limit": None, "before": [], "after": [], "cancel_requested": False, "rescues": 0, "traceparent": f"00-{random.Random(number % 200).randbytes(16).hex()}-{rng.randbytes(8).hex()}-01", "takes": rng.randint(6, 40), **more}
    job["text"] = f"{number} {task} {json.dumps(given, ensure_ascii=False)} {' '.join(job['tags'])}".lower()
    JOBS[number] = job
    return job


def ended(job, at, fault=None, attempt=1):
    kind, message = FAULTS[(fault or 0) % 4]
    errors = [{"at": iso(at - 100 * (attempt - n) ** 2), "attempt": n, "type": kind, "message": message, "traceback": f"{TRACE}{kind}: {message}"} for n in range(1, attempt + 1)] if fault is not None else []
    job.update(attempt=attempt, started_at=at - 1.2 - job["id"] % 7, finished_at=at, worker=f"app-{1 + job['id'] % 2}:1200:3f9c", errors=errors)


def begin(job, at):
    job.update(state="running", reason=None, attempt=job["attempt"] + 1, started_at=at, finished_at=None, worker=f"app-{1 + job['id'] % 2}:1200:3f9c", progress=None, cancel_requested=False)
    job["logs"] = [{"at": iso(at + 0.2), "level": "info", "message": "بدأ العمل على المشروع"}, {"at": iso(at + 0.9), "level": "warning", "message": "unit «م.ط» is written as m.l in row 214; read as metre"}]


def make():
    rng, tasks = random.Random(3), list(TASKS)
    for n in range(12_000):
        job = add(tasks[n * 7 % 6], "done", STARTED - (12_000 - n) * 41)
        ended(job, job["created_at"] + 4)
        job["result"] = {"sent": 1, "message_id": f"<{job['id']}@noufal.test>"}
    for n in range(37):
        job = add(tasks[n % 3], "failed", STARTED - 86_000 + n * 2300)
        ended(job, job["created_at"] + 1900, n, 5)
        job["rescues"] = int(n == 36)
    for n in range(14):
        ended(add(tasks[n % 6], "cancelled", STARTED - 50_000 + n * 3100), STARTED - 49_000 + n * 3100, n if n % 2 else None)
    for n in range(18):
        job = add(tasks[n % 3], "retry", STARTED - 900 - n * 60, run_at=STARTED + 40 + n * 95)
        ended(job, STARTED - 60 - n * 7, n, 1 + n % 4)
    for n in range(60):
        add(tasks[n % 6], "delayed", STARTED - 3600, run_at=STARTED + 600 + n * 1700)
    first = add("boq:import", "running", STARTED - 300, concurrency_key="project:TOWER-07", key_limit=1, takes=1e9, timeout_seconds=3600.0)
    begin(first, STARTED - 290)
    for n in range(8):
        begin(add(tasks[n % 6], "running", STARTED - 60), STARTED - n * 3)
    for n in range(25):
        reason = ("key", "jobs", "handler")[n % 3]
        job = add("boq:import" if reason == "key" else "legacy:sync_of_a_system_that_was_removed" if reason == "handler" else "invoice:issue", "waiting", STARTED - 240 - n * 5, reason=reason, tags=["TOWER-07", "مستورد"])
        job.update(concurrency_key="project:TOWER-07", key_limit=1) if reason == "key" else None
        if reason == "jobs":
            job["before"] = [first["id"], first["id"] + 1]
            first["after"].append(job["id"])
    for n in range(120):
        add(rng.choice(tasks), "ready", STARTED - n * 2)


def tick():
    """Let what runs end and what is ready begin."""
    at = now()
    running = [job for job in JOBS.values() if job["state"] == "running"]
    for job in running:
        spent = at - job["started_at"]
        if job["cancel_requested"] and spent > job["asked"] + 20:
            job.update(state="cancelled", finished_at=at, progress=None)
        elif spent > job["takes"]:
            job.update(state="done", finished_at=at, progress=None, progress_text=None, result={"ok": True, "rows": 400})
        else:
            job["progress"] = None if job["id"] % 5 == 0 else min(99, int(spent * 100 / min(job["takes"], 900)))
            job["progress_text"] = STEPS[job["progress"] // 26] if job["progress"] is not None else None
    free = 9 - sum(job["state"] == "running" for job in running)
    for job in [job for job in JOBS.values() if job["state"] == "ready" and job["queue"] not in PAUSED][: max(0, free)]:
        begin(job, at)
    ready = sum(job["state"] == "ready" for job in JOBS.values())
    for _ in range(max(0, 110 - ready)):
        add(random.Random(len(JOBS)).choice(list(TASKS)), "ready", at)


LINE = ("id", "task", "queue", "state", "reason", "priority", "tags", "attempt", "max_attempts", "worker", "progress", "progress_text")
DETAIL = ("payload", "context", "result", "errors", "logs", "timeout_seconds", "unique_key", "concurrency_key", "key_limit", "before", "after", "cancel_requested", "rescues", "traceparent")


def line(job):
    text = json.dumps(job["payload"], ensure_ascii=False)
    moments = {name: iso(job[name]) for name in ("run_at", "created_at", "started_at", "finished_at")}
    return {**{name: job[name] for name in LINE}, **moments, "error": job["errors"][-1]["message"] if job["errors"] else None, "args": text[:200] + "…" * (len(text) > 200)}


def found(query):
    words = str(query.get("q") or "").lower()
    keep = [job for job in JOBS.values() if query.get("state") in (None, "", job["state"]) and query.get("queue") in (None, "", job["queue"]) and query.get("task") in (None, "", job["task"]) and (not query.get("tag") or query["tag"] in job["tags"]) and words in job["text"]]
    soon = query.get("state") in ("ready", "delayed", "retry", "waiting")
    return sorted(keep, key=lambda job: (job["run_at"], job["id"])) if soon else sorted(keep, key=lambda job: (job["finished_at"] or job["started_at"] or 0, job["id"]), reverse=True)


def listed(query):
    rows, first, limit = found(query), int(query.get("after") or 0), int(query.get("limit") or 50)
    return {"jobs": [line(job) for job in rows[first : first + limit]], "next": str(first + limit) if first + limit < len(rows) else None, "total": None if query.get("q") or query.get("task") or query.get("tag") else len(rows), "capped": False}


def counted(jobs):
    return {state: sum(job["state"] == state for job in jobs) for state in STATES}


def queue_line(name):
    own = [job for job in JOBS.values() if job["queue"] == name]
    oldest = min((job["run_at"] for job in own if job["state"] == "ready"), default=None)
    return {"name": name, "paused": name in PAUSED, **NONE, **LIMITS.get(name, {}), **counted(own), "oldest_seconds": None if oldest is None else now() - oldest}


def stats():
    worker = {"host": "app-1", "pid": 1200, "queues": list(dict.fromkeys(TASKS.values())), "concurrency": 8, "running": 5, "started_at": iso(STARTED - 90_000), "seen_at": iso(now() - 1), "stopping": False, "alive": True}
    workers = [{"id": "app-1:1200:3f9c", **worker}, {"id": "app-2:1200:3f9c", **worker, "host": "app-2", "running": 4, "queues": []}, {"id": "app-3:877:a1", **worker, "host": "app-3", "pid": 877, "queues": ["imports", "reports"], "running": 1, "stopping": True}, {"id": "app-0:3:b0", **worker, "host": "rakiza-worker-7d9f8b6c54-x2x9k", "pid": 3, "running": 2, "seen_at": iso(STARTED - 95), "alive": False}]
    return {"queues": [queue_line(name) for name in sorted(set(TASKS.values()))], "workers": workers, "totals": counted(JOBS.values()), "unknown_tasks": sorted({job["task"] for job in JOBS.values() if job["reason"] == "handler"})}


def history(minutes):
    step = {60: 60, 1440: 900, 10080: 7200}.get(minutes, 60)
    end = int(now()) // step * step
    at = list(range(end - minutes * 60 + step, end + 1, step))
    noise = lambda low, high, salt: [random.Random(tick // step * 31 + salt).randint(low, high) for tick in at]  # noqa: E731
    scale = step // 60
    return {"step_seconds": step, "at": at, "done": noise(40 * scale, 75 * scale, 1), "failed": [n if n > 2 else 0 for n in noise(0, 4 * scale, 2)], "retried": noise(0, 7 * scale, 3), "cancelled": [n // 3 for n in noise(0, 3 * scale, 4)], "run_ms_avg": noise(900, 2400, 5), "wait_ms_avg": noise(20, 900, 6)}


def act(action, job, body=None):
    at = now()
    if action == "run":
        job.update(state="ready", run_at=at)
    elif action == "discard" or (action == "cancel" and job["state"] != "running"):
        job.update(state="cancelled", finished_at=at)
    elif action == "cancel":
        job.update(cancel_requested=True, asked=at - job["started_at"])
    elif action == "retry":
        job.update(state="ready", run_at=at, finished_at=None, worker=None, max_attempts=max(job["max_attempts"], job["attempt"] + 1), **({"payload": body["payload"]} if body and "payload" in body else {}))


def wrong(field, en, ar):
    return erp.problem(422, "validation_failed", en, "البيانات المدخلة غير صحيحة", errors=[{"field": field, "message_en": en, "message_ar": ar}])


def checked(body):
    """Return the refusal of a payload that its task could not take, as the server's types would."""
    given = body.get("payload")
    if given is not None and not isinstance(given, dict):
        return wrong("payload", "Expected `object`, got `array`" if isinstance(given, list) else "Expected `object`", "المطلوب كائن JSON فيه قيمة لكل اسم")
    if given is not None and "to" in given and not isinstance(given["to"], str):
        return wrong("to", "Expected `str`, got `int`", "قيمة غير صحيحة في الحقل to")
    return None


def bulk(body):
    jobs = [JOBS[one] for one in body["ids"] if one in JOBS] if body.get("ids") is not None else found(body["filter"])
    meant = [job for job in jobs if job["state"] in MAY[body["action"]]]
    if not body.get("dry_run"):
        for job in meant:
            act(body["action"], job)
    return 200, {"matched": len(meant), "changed": 0 if body.get("dry_run") else len(meant)}


CRON = {"0 2 * * *": ("Every day at 02:00", "كل يوم الساعة 02:00", 86400, 2 * 3600), "*/15 * * * *": ("Every 15 minutes", "كل 15 دقيقة", 900, 0), "0 8 1 * *": ("On day 1 of every month at 08:00", "في اليوم الأول من كل شهر الساعة 08:00", 30 * 86400, 8 * 3600), "0 7 * * 0": ("Every Sunday at 07:00", "كل أحد الساعة 07:00", 7 * 86400, 7 * 3600)}


def times(kind, expression, zone):
    """Return five next times and their words, or None for what cannot be read."""
    at = now()
    shift = datetime.fromtimestamp(at, ZoneInfo(zone)).utcoffset().total_seconds()
    if kind == "cron" and expression in CRON:
        en, ar, every, offset = CRON[expression]
        first = (int(at + shift) // every + 1) * every + offset % every - shift
        first -= every if first - every > at else 0
        return [first + n * every for n in range(5)], en, ar
    if kind == "interval" and expression.isdigit() and int(expression):
        return [at + int(expression) * n for n in range(1, 6)], f"Every {expression} seconds", f"كل {expression} ثانية"
    if kind == "once" and expression[:4].isdigit():
        moment = datetime.fromisoformat(expression).timestamp()
        return [moment] if moment > at else [], f"Once, {expression}", f"مرة واحدة في {expression}"
    return None


def schedule(name, kind, expression, task, **more):
    return {"name": name, "kind": kind, "expression": expression, "timezone": "Asia/Riyadh", "task": task, "payload": payload(random.Random(1), task), "queue": TASKS.get(task, "default"), "missed": "once", "enabled": True, "last_at": STARTED - 5400, "last_job_id": 11_990, "edited": False, "declared": True, **more}


SCHEDULES = {one["name"]: one for one in [
    schedule("nightly-backup", "cron", "0 2 * * *", "backup:create"), schedule("overdue-invoices", "cron", "*/15 * * * *", "invoice:issue", edited=True, last_job_id=12_003, missed="skip"),
    schedule("monthly-progress-report-for-every-project-of-the-office", "cron", "0 8 1 * *", "report:monthly_progress_with_a_rather_long_name", missed="all"), schedule("تذكير-الأحد", "cron", "0 7 * * 0", "notify:user", enabled=False, declared=False, last_at=None, last_job_id=None),
    schedule("mail-digest", "interval", "1800", "email:send", timezone="Europe/London", declared=False), schedule("handover", "once", "2026-01-05T08:00:00+03:00", "notify:user", declared=False, last_job_id=12_060)]}


def schedule_line(one):
    after, en, ar = times(one["kind"], one["expression"], one["timezone"]) or ([], one["expression"], one["expression"])
    last = JOBS.get(one["last_job_id"])
    return {**one, "last_at": iso(one["last_at"]), "next_at": iso(after[0]) if one["enabled"] and after else None, "last_state": last and last["state"], "next": [iso(each) for each in after] if one["enabled"] else [], "text_en": en, "text_ar": ar}


def planned(body):
    try:
        answer = times(body["kind"], body["expression"], body["timezone"])
    except (ValueError, OSError):
        answer = None
    if answer is None:
        return erp.problem(422, "job_schedule", f"{body['expression']!r} is no minute of a cron expression", "الجدول الزمني غير صالح", hint="a minute is 0 to 59: 0 2 * * *")
    return 200, {"next": [iso(each) for each in answer[0]], "text_en": answer[1], "text_ar": answer[2]}


def put(name, body):
    refused = checked(body) or planned(body)
    if refused[0] != 200:
        return refused
    one = SCHEDULES.setdefault(name, schedule(name, body["kind"], body["expression"], "notify:user", declared=False))
    one.update({key: value for key, value in body.items() if value is not None}, edited=one["declared"])
    return 200, schedule_line(one)


def one_job(number):
    job = JOBS.get(int(number)) if number.isdigit() else None
    return job or None


def schedules_api(method, parts, body):
    match (method, parts):
        case ("GET", []):
            return 200, {"schedules": [schedule_line(one) for one in SCHEDULES.values()], "leader": "app-1:1200:3f9c"}
        case ("POST", ["preview"]):
            return planned(body)
        case ("POST", [name, "run"]) if name in SCHEDULES:
            job = add(SCHEDULES[name]["task"], "ready", now(), payload=SCHEDULES[name]["payload"], tags=[name])
            SCHEDULES[name].update(last_at=now(), last_job_id=job["id"])
            return 200, schedule_line(SCHEDULES[name])
        case ("POST", [name, action]) if name in SCHEDULES:
            SCHEDULES[name]["enabled"] = action == "resume"
            return 200, schedule_line(SCHEDULES[name])
        case ("PUT", [name]):
            return put(name, body)
        case ("DELETE", [name]) if name in SCHEDULES:
            del SCHEDULES[name]
            return 204, None
    return None


def create(body):
    if body["task"] not in TASKS:
        return wrong("task", f"No job is named {body['task']}", f"لا مهمة باسم {body['task']}")
    if refused := checked(body):
        return refused
    delay = body.get("delay_seconds") or 0
    return 200, line(add(body["task"], "delayed" if delay else "ready", now(), payload=body["payload"], run_at=now() + delay, tags=body.get("tags") or [], priority=body.get("priority") or 0))


def change(number, action, body):
    job = one_job(number)
    if not job:
        return None
    if refused := checked(body):
        return refused
    if job["state"] not in MAY[action]:
        return erp.problem(409, "conflict", f"The job is {job['state']}", "تغيرت حالة المهمة قبل ذلك")
    act(action, job, body)
    return 200, line(job)


def api(method, parts, query, body):
    """Answer what belongs to the room of jobs, or None."""
    with LOCK:
        tick()
        return answer(method, parts, query, body)


def answer(method, parts, query, body):
    match (method, parts[1:]):
        case (_, ["schedules", *rest]):
            return schedules_api(method, rest, body)
        case ("GET", ["stats"]):
            return 200, stats()
        case ("GET", []):
            return 200, listed(query)
        case ("POST", []):
            return create(body)
        case ("GET", ["history"]):
            return 200, history(int(query.get("minutes", 60)))
        case ("POST", ["bulk"]):
            return bulk(body)
        case ("POST", ["queues", name, action]):
            (PAUSED.add if action == "pause" else PAUSED.discard)(name)
            return 200, queue_line(name)
        case ("PATCH", ["queues", name]):
            if any(value is not None and value < 0 for value in body.values()):
                return wrong("concurrency", "Expected a number over 0", "المطلوب عدد أكبر من صفر")
            LIMITS[name] = {**LIMITS.get(name, {}), **body}
            return 200, queue_line(name)
        case ("GET", [number]) if one_job(number):
            job = one_job(number)
            return 200, {**line(job), **{name: job[name] for name in DETAIL}}
        case ("POST", [number, action]) if action in MAY:
            return change(number, action, body)
    return None


make()
