"""The stand-in's breakers: one open and counting down, one probing, one forced, the rest closed; they obey who forces them."""

import random
import threading
import time
from datetime import UTC, datetime, timedelta
from datetime import timezone as fixed

import mock as erp  # noqa: UP026 - the stand-in beside this file

RIYADH = fixed(timedelta(hours=3))
LOCK = threading.Lock()
LIMITS = {"failure_rate": 0.5, "slow_seconds": 2.0, "slow_rate": 0.8, "min_calls": 10, "window": 100, "time_window_seconds": 0, "open_seconds": 30.0, "probes": 1, "lease_seconds": 60.0}
BREAKERS = {}


def now():
    return time.time_ns() / 1e9


def iso(seconds):
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).astimezone(RIYADH).isoformat(timespec="milliseconds")


STARTED = now()


def flips(times, why="failures"):
    """Return a history of openings, each with a probe that closed it, the given seconds ago."""
    found = []
    for ago, length in times:
        opened = STARTED - ago
        found += [(opened, "closed", "open", why), (opened + length, "open", "half_open", "open_time_over"), (opened + length + 2, "half_open", "closed", "probes_succeeded")]
    return found


def add(name, state, since, rates, calls, totals, past=(), **more):
    thresholds = {**LIMITS, **more.pop("thresholds", {})}
    succeeded, failed, slow, rejected = totals
    BREAKERS[name] = {"name": name, "state": state, "since": STARTED - since, "rates": rates, "calls": calls, "thresholds": thresholds, "past": list(past), "forced": None, "until": None, "reason": "",
                      "totals": {"succeeded": succeeded, "failed": failed, "slow": slow, "rejected": rejected, "ignored": succeeded // 90, "late": failed // 40}, **more}


def make():
    empty = (None, None)
    add("bank-api", "open", 95, empty, 0, (18_420, 311, 96, 1_284), [*flips([(3100, 130), (1500, 61)]), (STARTED - 95, "closed", "open", "failures")])
    add("zatca:invoices/reporting/single", "half_open", 3, empty, 0, (4_020, 92, 61, 207), [(STARTED - 640, "closed", "open", "slow_calls"), (STARTED - 3, "open", "half_open", "open_time_over")], thresholds={"time_window_seconds": 60})
    add("sms-gateway", "closed", 4200, empty, 0, (9_310, 44, 2, 31), flips([(30_000, 90)]), thresholds={"slow_seconds": 0.0})
    force("sms-gateway", "open", {"for_seconds": 3600, "reason": "صيانة معلنة من المزود حتى الرابعة عصرا، والرسائل تنتظر في الطابور"})
    add("gosi", "closed", 900, (0.64, 0.71), 48, (2_210, 190, 204, 88), flips([(2_000, 70)], "slow_calls"), thresholds={"time_window_seconds": 60})
    force("gosi", "close", {"for_seconds": 600, "reason": "Their status page says the errors are of one region that we do not use"})
    add("redis", "closed", 262_000, (0.0, 0.01), 100, (842_113, 12, 40, 0), thresholds={"slow_seconds": 0.05})
    add("smtp", "closed", 2900, (0.22, 0.34), 64, (1_204, 88, 73, 12), flips([(9_000, 34), (3_000, 100)]))
    add("webhook:erp.contractor.example", "closed", 400, (0.0, 0.0), 3, (3, 0, 0, 0))


def force(name, action, body):
    one, at = BREAKERS[name], now()
    before = one["forced"] or one["state"]
    if action == "reset":
        one.update(forced=None, until=None, reason="", state="closed", since=at, rates=(None, None), calls=0)
        one["past"].append((at, before, "closed", "reset"))
        return
    kind = "open" if action == "open" else "closed"
    one.update(forced=kind, until=at + body["for_seconds"], reason=body["reason"], since=at)
    one["past"].append((at, before, kind, body["reason"]))


def line(one):
    after = 30 - now() % 30 if one["state"] == "open" and not one["forced"] else None
    history = [{"at": iso(at), "from": before, "to": to, "why": why} for at, before, to, why in sorted(one["past"])[-50:]]
    return {"name": one["name"], "state": one["forced"] or one["state"], "forced": one["forced"], "forced_until": iso(one["until"]), "reason": one["reason"] or (history[-1]["why"] if history else ""), "since": iso(one["since"]), "retry_after_seconds": after,
            "failure_rate": one["rates"][0], "slow_rate": one["rates"][1], "calls_in_window": one["calls"], "thresholds": one["thresholds"], "totals": one["totals"], "shared": False, "history": history}


def whole():
    busy = random.Random(int(now())).randint(9, 16)
    return {"breakers": [line(one) for one in BREAKERS.values()],
            "bulkheads": [{"name": "bank-api", "limit": 20, "in_use": busy, "queue_limit": 50, "queued": 3, "rejected": 41, "total": 19_731}, {"name": "smtp", "limit": 4, "in_use": 4, "queue_limit": 20, "queued": 20, "rejected": 118, "total": 1_292}, {"name": "boq:import", "limit": 2, "in_use": 0, "queue_limit": 0, "queued": 0, "rejected": 0, "total": 37}],
            "limits": [{"name": "http", "limit": 64, "in_flight": busy * 2, "min": 8, "max": 200, "shed": 0, "latency_ms": 21.4}, {"name": "zatca:invoices/reporting/single", "limit": 4, "in_flight": 4, "min": 1, "max": 32, "shed": 213, "latency_ms": 2140.0}],
            "budgets": [{"name": "bank-api", "share": 0.2, "calls": 412, "retries": 83, "refused": 19}, {"name": "sms-gateway", "share": 0.2, "calls": 96, "retries": 2, "refused": 0}],
            "deadlines": {"missed": [{"name": "POST /api/projects/{code}/boq/import", "count": 12, "last_at": iso(STARTED - 340)}, {"name": "bank-api", "count": 88, "last_at": iso(STARTED - 41)}]}}


def api(method, parts, _query, body):
    """Answer what belongs to the room of resilience, or None."""
    with LOCK:
        match (method, parts[1:]):
            case ("GET", []):
                return 200, whole()
            case ("POST", ["breakers", name, ("open" | "close" | "reset") as action]) if name in BREAKERS:
                if action != "reset" and body.get("reason") == "x":
                    return erp.problem(422, "validation_failed", "Too short", "البيانات المدخلة غير صحيحة", errors=[{"field": "reason", "message_en": "Say more than one letter", "message_ar": "اكتب أكثر من حرف"}])
                force(name, action, body)
                return 200, line(BREAKERS[name])
    return None


make()
