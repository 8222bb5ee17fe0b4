"""Serve the built console under the strict CSP over an in-memory stand-in for the operator API, so that pages can be made without the rooms.

Run `python ui/dev/console_mock.py [port]` after `npm run build --prefix ui`; then open /console/sign-in#token=demo, or demo@noufal.test / demo.
"""

import json
import math
import random
import re
import sys
import time
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import backup_mock
import cache_mock
import events_mock
import jobs_mock
import mock as erp  # noqa: UP026 - the stand-in beside this file
import resilience_mock

erp.STATIC = Path(__file__).parents[2] / "src/rakiza/console/static"
erp.ME = {**erp.ME, "permissions": ["ops.admin", "ops.read", "ops.write"]}


def clock():
    return time.time_ns() / 1e9


RIYADH = timezone(timedelta(hours=3))
STARTED = clock() - 3 * 86400 - 5400
RANGES = {"1h": (3600, 5), "6h": (21600, 60), "24h": (86400, 120), "7d": (604800, 900), "30d": (2592000, 3600), "1y": (31536000, 43800)}
ROUTES = [("GET", "/api/projects", 18), ("GET", "/api/projects/{code}/boq/items", 62), ("PATCH", "/api/projects/{code}/boq/items/{id}", 41),
          ("POST", "/api/projects/{code}/boq/import", 1840), ("GET", "/api/projects/{code}/boq/summary", 27), ("GET", "/api/projects/{code}/boq/export.xlsx", 960),
          ("POST", "/api/auth/login", 96), ("GET", "/api/users/me", 3), ("GET", "/projects/{rest:path}", 1), ("GET", "unmatched", 1)]
STATEMENTS = ["SELECT item.id, item.code, item.description, item.quantity, item.unit_price FROM noufal_boq_item AS item WHERE item.project_id = ? ORDER BY item.position LIMIT ?",
              "INSERT INTO noufal_boq_item (tenant_id, project_id, position, code, description, quantity) VALUES (?, ?, ?, ?, ?, ?)",
              "UPDATE noufal_boq_item SET quantity = ?, version = version + 1 WHERE id = ? AND version = ?"]
MESSAGES = ["تم استيراد جدول الكميات للمشروع TOWER-07: 400 بند", "The rate limit of 203.0.113.9 is reached", "انتهت جلسة المستخدم sara@noufal.test", "slow statement: 812 ms",
            "حُفظت الكمية 12.5 للبند 3.017", "Connection to Redis refused; counting in this process until it is back",
            "توريد وتركيب وصب خرسانة مسلحة جاهزة عيار ٣٥٠ لزوم القواعد والميدات ورقاب الأعمدة حسب المخططات والمواصفات شاملا حديد التسليح والشدات والعزل والمعالجة واختبارات المختبر: الكمية 1,245.50 م٣ خارج حدود العقد TOWER-07"]
rng = random.Random(5)
LEVELS, STATES = {}, {}
ROOMS = {"audit": events_mock, "backup": backup_mock, "cache": cache_mock, "events": events_mock, "jobs": jobs_mock, "resilience": resilience_mock}


def iso(seconds):
    return datetime.fromtimestamp(seconds, UTC).astimezone(RIYADH).isoformat(timespec="milliseconds")


def ident(at, size=32):
    return random.Random(at).randbytes(size // 2).hex()


def wave(t, low, high, period, noise=0.08):
    share = 0.5 + 0.4 * math.sin(t / period * 6.28) + random.Random(int(t)).uniform(-noise, noise)
    return round(low + (high - low) * min(1, max(0, share)), 2)


def history(name):
    span, step = RANGES[name]
    now = int(clock()) // step * step
    ticks = list(range(now - span + step, now + 1, step))
    gap = range(len(ticks) // 3, len(ticks) // 3 + len(ticks) // 40)  # the server was away for a while
    series = {"cpu": (12, 86, 2700), "ram": (58, 66, 9000), "disk": (71.2, 71.9, 90000), "net_sent": (2e5, 4e6, 1500), "net_recv": (4e4, 6e5, 1500), "disk_read": (0, 2e6, 4000),
              "disk_write": (1e5, 9e6, 4000), "requests": (14, 120, 3100), "errors": (0, 0.5, 1100), "p50": (9, 21, 3100), "p95": (48, 170, 3100), "p99": (90, 640, 3100), "loop_lag": (0.2, 4, 600)}
    return {"step_seconds": step, "t": ticks, "series": {key: [None if at in gap else wave(t, *shape) for at, t in enumerate(ticks)] for key, shape in series.items()}}


def figures(minutes):
    rows, total = [], 0
    for at, (method, route, ms) in enumerate(ROUTES):
        count = int(minutes * 900 / (at + 1) ** 1.4)
        total += count * ms
        rows.append({"method": method, "route": route, "count": count, "errors": 0 if at % 3 else count // 700, "mean_ms": ms * 1.2, "p50_ms": float(ms), "p95_ms": ms * 3.4, "p99_ms": ms * 7.1, "share": count * ms})
    for row in rows:
        row["share"] = round(row["share"] * 100 / total, 1)
    count, errors = sum(r["count"] for r in rows), sum(r["errors"] for r in rows)
    return {"window_seconds": minutes * 60, "total": count, "rate": round(count / minutes / 60, 1), "errors": errors, "error_rate": round(errors * 100 / count, 2), "p50_ms": 14.2, "p95_ms": 121.4, "p99_ms": 402.8, "routes": rows}


def slow():
    now = clock()
    seen = lambda at: {"count": 40 // (at + 1), "max_ms": 2840.5 / (at + 1), "mean_ms": 1210.2 / (at + 1), "last_at": iso(now - 90 * at - 12), "trace_id": ident(at)}  # noqa: E731
    return {"requests": [{"method": m, "route": r, "request_id": ident(at + 50), **seen(at)} for at, (m, r, _) in enumerate(ROUTES[2:7])],
            "statements": [{"statement": s, "route": ROUTES[at + 1][1], **seen(at + 2)} for at, s in enumerate(STATEMENTS)],
            "repeated": [{"statement": STATEMENTS[0], "route": ROUTES[4][1], "times": 213, "count": 18, "last_at": iso(now - 300), "trace_id": ident(4)}]}


def alerts():
    now = clock()
    cpu = {"name": "cpu", "metric": "cpu_percent", "level": "warning", "value": 84.6, "threshold": 80.0, "since": iso(now - 1260), "message_en": "CPU above 80 %", "message_ar": "المعالج فوق 80٪"}
    return {"active": [cpu], "recent": [{**cpu, "value": 91.2, "since": iso(now - 90000), "ended": iso(now - 88200)}]}


def checks():
    now = clock()
    one = lambda status, required, kind, ms, value=None, unit="", output="": [{"componentType": kind, "status": status, "required": required, "responseTimeMs": ms, "time": iso(now - 2), **({"observedValue": value, "observedUnit": unit} if value is not None else {}), **({"output": output} if output else {})}]  # noqa: E731
    return {"status": "warn", "version": "0.3.0", "draining": False, "checks": {
        "database": one("pass", True, "datastore", 0.4), "migrations": one("pass", True, "component", 0.9, 4, "heads"), "disk": one("pass", True, "system", 0.1, 142.5, "GB free"),
        "memory": one("pass", False, "system", 0.1, 62.8, "%"), "redis": one("warn", False, "datastore", 2000.0, output="ConnectionError: no answer within 2 s from redis://127.0.0.1:6379; counting in this process until it is back"),
        "event_loop": one("pass", False, "component", 0.0, 1.2, "ms"), "sign_in": one("pass", False, "component", 0.2, 0, "sign-ins waiting"), "clock": one("pass", False, "system", 0.1, 3, "ms skew")}}


def line(at, file):
    stamp = {"timestamp": iso(clock() - at * 7.3), "request_id": ident(at // 3 + 50), "trace_id": ident(at // 3), "span_id": ident(at, 16), "tenant": "default"}
    if file == "requests":
        method, route, ms = ROUTES[at % 8]
        return {**stamp, "method": method, "path": route.replace("{code}", "TOWER-07").replace("{id}", str(at)), "status_code": 500 if at % 17 == 3 else 200, "response_time_ms": ms * 1.3, "user_id": 7, "ip_address": "192.168.1.100", "user_agent": "Mozilla/5.0"}
    if file == "audit":
        return {**stamp, "event_type": "USER_LOGIN", "user_id": 7, "action": "LOGIN", "resource": "authentication", "details": {"method": "password", "success": at % 5 != 0}, "ip_address": "192.168.1.100"}
    level = "ERROR" if file == "errors" else ("INFO", "INFO", "WARNING", "DEBUG", "INFO", "ERROR")[at % 6]
    trouble = {"exception": {"type": "OperationalError", "message": "database is locked", "traceback": ["Traceback (most recent call last):", '  File "store/service.py", line 88, in begin', "sqlite3.OperationalError: database is locked"]}}
    return {**stamp, "level": level, "logger": ("noufal.boq", "rakiza.web", "rakiza.security")[at % 3], "message": MESSAGES[at % 7], "module": "service", "function": "write", "line": 88, **(trouble if level == "ERROR" else {})}


def logs(query):
    first, limit = int(query.get("cursor") or 0), int(query.get("limit", 100))
    lines = [line(at, query.get("file", "app")) for at in range(first, min(first + limit, 900))]
    if query.get("q") == "nowhere":  # a search that has to go on
        lines = []
    keep = [one for one in lines if query.get("q", "").lower() in str(one).lower() and (not query.get("level") or one.get("level") in query["level"].upper().split(","))
            and all(not query.get(key) or str(one.get(key)) == query[key] for key in ("logger", "request_id", "trace_id", "user_id"))]
    return {"items": keep, "next_cursor": str(first + limit) if first + limit < 900 else None, "scanned_bytes": 1_480_000, "complete": first + limit >= 900, "took_ms": 12.4}


def trace_head(at):
    method, route, ms = ROUTES[at % 8]
    return {"trace_id": ident(at), "name": f"{method} {route}", "method": method, "route": route, "status": 500 if at % 7 == 3 else 200, "started_at": iso(clock() - at * 41),
            "duration_ms": round(ms * (1 + at % 5), 1), "spans": 6, "errors": int(at % 7 == 3), "request_id": ident(at + 50)}


def trace(trace_id):
    at = next((n for n in range(300) if ident(n) == trace_id), None)
    if at is None:
        return erp.problem(404, "not_found", "Not found", "غير موجود")
    head = trace_head(at)
    whole, failed = head["duration_ms"], head["errors"]
    span = lambda n, parent, name, kind, start, length, **more: {"span_id": ident(n, 16), "parent_id": parent and ident(parent, 16), "name": name, "kind": kind, "start_ms": round(whole * start, 2), "duration_ms": round(whole * length, 2), "status": "unset", "message": None, "attributes": {}, "events": [], **more}  # noqa: E731
    sql = {"attributes": {"db.system.name": "sqlite", "db.query.text": STATEMENTS[0], "db.response.returned_rows": 400}}
    fault = {"status": "error", "message": "database is locked", "events": [{"name": "exception", "at_ms": whole * 0.9, "attributes": {"exception.type": "OperationalError", "exception.message": "database is locked", "exception.stacktrace": "  File \"store/service.py\", line 88, in begin\n    connection.execute('BEGIN IMMEDIATE')"}}]} if failed else {}
    deep = [span(n, n - 1 if n > 10 else 4, f"boq.section.{n} بند الأعمال" if n % 3 else "SELECT noufal_boq_section AS section_of_the_bill_of_quantities", "internal" if n % 3 else "client", 0.12 + n * 0.01, 0.7 - n * 0.02, **({} if n % 3 else sql)) for n in range(10, 26)] if at == 1 else []
    many = [span(n, 4 if n % 5 else n - 1, f"INSERT noufal_boq_item {n}", "client", 0.1 + n * 0.0012, 0.001, **sql) for n in range(10, 644)] if at == 2 else []
    lost = [span(30 + n, 900 + n, "mail.send", "producer", 0.8, 0.1) for n in range(2)] if at == 4 else []
    if at == 5:
        return 200, {"trace_id": trace_id, "started_at": head["started_at"], "duration_ms": whole, "spans": [span(1, None, head["name"], "server", 0, 1)]}
    return 200, {"trace_id": trace_id, "started_at": head["started_at"], "duration_ms": whole, "spans": [*deep, *many, *lost,
        span(1, None, head["name"], "server", 0, 1, attributes={"http.request.method": head["method"], "http.route": head["route"], "http.response.status_code": head["status"]}, **({"status": "error"} if failed else {})),
        span(2, 1, "authenticate", "internal", 0.02, 0.06), span(3, 2, "SELECT rakiza_security_session", "client", 0.03, 0.04, **sql),
        span(4, 1, "boq.find", "internal", 0.1, 0.82), span(5, 4, "SELECT noufal_boq_item", "client", 0.12, 0.5, **sql), span(6, 4, "UPDATE noufal_boq_item", "client", 0.66, 0.25, **(sql | fault))]}


def error_group(at):
    kind, message, culprit = [("OperationalError", "database is locked", "rakiza.store.service in begin"), ("ValidationError", f"الكمية ليست رقما: «١٢٫٥٫٣» في البند: {MESSAGES[6] * 2}", "noufal.boq.service in update"),
                              ("TimeoutError", "no answer within 2 s from https://mail.example.test", "rakiza.outbound.client in send")][at % 3]
    now = clock()
    return {"id": f"{at + 1}", "kind": kind, "message": message, "culprit": culprit, "state": STATES.get(str(at + 1), ("open", "open", "regressed", "resolved", "ignored")[at % 5]), "count": 480 // (at + 1), "users": 12 // (at + 1),
            "first_seen": iso(now - 86400 * (at + 2)), "last_seen": iso(now - 400 * at - 30), "release": "0.3.0", "route": ROUTES[at % 8][1], "trace_id": ident(at), "request_id": ident(at + 50)}


def errors(query):
    groups, state = [error_group(at) for at in range(11)], query.get("state", "open")
    found = [g for g in groups if state in ("all", g["state"]) and query.get("q", "").lower() in f"{g['kind']} {g['message']} {g['culprit']}".lower()]
    return {"items": found, "next_cursor": None, "counts": {key: sum(g["state"] == key for g in groups) for key in ("open", "resolved", "ignored", "regressed")}}


def error_detail(at):
    group, now = error_group(at), clock()
    context = [{"line": n, "text": text} for n, text in enumerate(["    def begin(self):", "        with self._lock:", "            # الكتابة من خيط واحد", "            connection.execute('BEGIN IMMEDIATE')", "            yield Transaction(connection)"], 85)]
    frames = [{"file": "site-packages/flask/app.py", "line": 917, "function": "full_dispatch_request", "in_app": False, "context": []}, {"file": "site-packages/flask/app.py", "line": 902, "function": "dispatch_request", "in_app": False, "context": []}, {"file": "src/noufal/boq/service.py", "line": 212, "function": "update", "in_app": True, "context": context},
              {"file": "src/rakiza/store/service.py", "line": 88, "function": "begin", "in_app": True, "context": context}]
    sample = {"at": group["last_seen"], "message": group["message"], "request_id": group["request_id"], "trace_id": group["trace_id"], "span_id": ident(6, 16), "user_id": "7", "method": "PATCH", "path": "/api/projects/TOWER-07/boq/items/17", "release": "0.3.0",
              "environment": "production", "frames": frames, "causes": [{"kind": "sqlite3.OperationalError", "message": "database is locked"}],
              "breadcrumbs": [{"at": iso(now - 34), "level": "INFO", "logger": "noufal.boq", "message": MESSAGES[4]}, {"at": iso(now - 31), "level": "WARNING", "logger": "rakiza.store", "message": MESSAGES[3]}]}
    return {**group, "sample": sample, "hourly": [random.Random(at * 31 + n).randint(0, 9) ** 2 // 8 for n in range(24)],
            "recent": [{"at": iso(now - 400 * n - 30), "request_id": ident(n + 50), "trace_id": ident(n), "message": group["message"], "user_id": "7"} for n in range(8)]}


def api(method, path, query, body, _raw):
    parts, now = [unquote(part) for part in path.removeprefix("/api/").split("/")], clock()
    if (room := ROOMS.get(parts[0])) and (answer := room.api(method, parts, query, body)):
        return answer
    match (method, parts):
        case ("GET", ["users", "me"]) | ("PATCH", ["users", "me"]):
            erp.ME.update(body)
            return 200, erp.ME
        case ("GET", ["monitoring", "health"]):
            return 200, {"status": "warning", "timestamp": iso(now), "metrics": {"cpu_percent": wave(now, 12, 86, 2700), "ram_percent": 62.8, "disk_percent": 71.5}, "warnings": ["CPU above 80 %"]}
        case ("GET", ["monitoring", "metrics"]):
            return 200, {"timestamp": iso(now), "cpu_percent": wave(now, 12, 86, 2700), "cpu_count": 4, "ram_total_gb": 16.0, "ram_used_gb": 10.05, "ram_available_gb": 5.95, "ram_percent": 62.8, "disk_total_gb": 500.0, "disk_used_gb": 357.5, "disk_free_gb": 142.5, "disk_percent": 71.5}
        case ("GET", ["monitoring", "processes"]):
            names = ["noufal", "postgres: writer", "redis-server", "granian-worker-1", "systemd", "chromium-headless-shell-with-a-long-name", "sshd", "cron", "node_exporter", "nginx"]
            return 200, {"processes": [{"pid": 1200 + 37 * at, "name": name, "cpu_percent": round(48.2 / (at + 1), 1), "memory_mb": round(412.7 / (at + 1), 1), "memory_percent": round(2.6 / (at + 1), 1), "status": "sleeping" if at else "running"} for at, name in enumerate(names)][:int(query.get("top", 10))]}
        case ("GET", ["monitoring", "history"]):
            return (200, history(query["range"])) if query.get("range") in RANGES else erp.problem(422, "validation", "Invalid", "قيمة خاطئة")
        case ("GET", ["monitoring", "requests"]):
            return 200, figures(int(query.get("minutes", 60)))
        case ("GET", ["monitoring", "slow"]):
            return 200, slow()
        case ("GET", ["monitoring", "alerts"]):
            return 200, alerts()
        case ("GET", ["monitoring", "runtime"]):
            return 200, {"version": "0.3.0", "python": "3.11.2", "pid": 1200, "started_at": iso(STARTED), "uptime_seconds": now - STARTED, "threads": 14, "rss_mb": 118.4, "open_files": 41, "gc_collections": 1932, "loop_lag_ms": 1.2, "in_flight": 3}
        case ("GET", ["logs"]):
            return 200, logs(query)
        case ("GET", ["logs", "download", name]):
            return 200, {"file": name}
        case ("GET", ["logs", "files"]):
            return 200, {"files": [{"name": f"noufal{end}.log{turn}", "kind": kind, "size_bytes": rng.randint(10_000, 10_000_000), "modified": iso(now - 3600 * at)} for at, (end, kind) in enumerate([("", "app"), ("_errors", "errors"), ("_requests", "requests"), ("_audit", "audit")]) for turn in ("", ".1.gz")], "dropped": 0}
        case ("GET", ["logs", "levels"]):
            return 200, {"levels": [{"logger": name, "level": LEVELS.get(name, "INFO"), "effective": LEVELS.get(name, "INFO"), "expires_at": iso(now + 500) if name in LEVELS else None} for name in sorted({"root", "noufal.boq", "rakiza.web", *LEVELS})], "sampling": [{"logger": "rakiza.web", "ratio": 0.1}]}
        case ("PUT", ["logs", "levels", name]):
            LEVELS[name] = body["level"]
            return 200, {"logger": name, "level": body["level"], "effective": body["level"], "expires_at": iso(now + body["seconds"])}
        case ("DELETE", ["logs", "levels", name]):
            LEVELS.pop(name, None)
            return 204, None
        case ("GET", ["traces"]):
            first = int(query.get("cursor") or 0)
            found = [h for h in map(trace_head, range(first, 200)) if (query.get("errors") != "true" or h["errors"]) and h["duration_ms"] >= float(query.get("min_ms") or 0) and query.get("q", "") in f"{h['name']} {h['trace_id']}" and query.get("route", h["route"]) == h["route"]]
            limit = int(query.get("limit", 50))
            return 200, {"items": found[:limit], "next_cursor": str(first + limit) if len(found) > limit else None}
        case ("GET", ["traces", trace_id]):
            return trace(trace_id)
        case ("GET", ["errors"]):
            return 200, errors(query)
        case ("GET", ["errors", number]) if number.isdigit() and int(number) <= 11:
            return 200, error_detail(int(number) - 1)
        case ("POST", ["errors", number, "state"]):
            STATES[number] = body["state"]
            return 200, error_group(int(number) - 1)
    return erp.problem(404, "not_found", "Not found", "غير موجود")


erp.api = api


class Handler(erp.Handler):
    def handle_any(self):
        url = urlsplit(self.path)
        if url.path == "/_rakiza/healthz":
            return self.reply(200, json.dumps(checks(), ensure_ascii=False).encode())
        if url.path == "/_rakiza/api/logs/stream":
            return self.stream({key: values[0] for key, values in parse_qs(url.query).items()})
        if self.command == "HEAD":
            return self.reply(404)
        if not re.match(r"/(_rakiza/api|console)/", url.path):
            return self.reply(308, location="/console/")
        self.path = self.path.removeprefix("/_rakiza").removeprefix("/console") or "/"
        return super().handle_any()

    def stream(self, query):
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("connection", "close")
        self.end_headers()
        try:
            for at in range(10_000):
                fresh = {**line(at, query.get("file", "app")), "timestamp": iso(clock())}
                self.wfile.write(f"data: {json.dumps(fresh, ensure_ascii=False)}\n\n".encode())
                time.sleep(0.6)
        except OSError:
            return

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = handle_any


if __name__ == "__main__":
    server = erp.Server(("127.0.0.1", int(sys.argv[1]) if len(sys.argv) > 1 else 8101), Handler)
    print(f"the mock serves http://127.0.0.1:{server.server_port}/console/", flush=True)
    server.serve_forever()
