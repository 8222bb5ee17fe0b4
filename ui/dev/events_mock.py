"""The stand-in's events, projections and audit trail: 2,400 events of a contractor's work, made anew the same way at every start."""

import hashlib
import random
import time
import uuid
from datetime import UTC, datetime, timedelta, timezone

RIYADH = timezone(timedelta(hours=3))
HEAD, SEALED = 2400, 2388
PEOPLE = ["سارة القحطاني", "عبدالله السبيعي", "m.harbi@noufal.test", "system:import"]
WORK = ["توريد وصب خرسانة مسلحة للأساسات بإجهاد لا يقل عن 30 ن/مم²", "حفر التربة حتى منسوب التأسيس مع نقل الناتج", "توريد وتركيب كابل نحاسي 4×16 مم² XLPE/SWA/PVC حسب SASO",
        "توريد وتركيب باب خشب مقاوم للحريق 90 دقيقة مع الإطار والملحقات وجهاز الإغلاق الذاتي، شاملًا القواعد والمواد والعمالة والاختبار والتسليم حسب المخططات والمواصفات الفنية المعتمدة"]


def now():
    return time.time_ns() / 1e9


def iso(seconds):
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def ident(at, size=32):
    return random.Random(at).randbytes(size // 2).hex()


def digest(*parts):
    return hashlib.sha256(b"\x01" + b"".join(parts)).digest()


def leaf(position):
    return hashlib.sha256(b"\x00" + str(position).encode()).digest()


def split(size):
    return 1 << (size - 1).bit_length() - 1


def root(first, size):
    """Return the RFC 6962 root over the leaves of `size` positions from `first` (0-based)."""
    if size == 1:
        return leaf(first + 1)
    half = split(size)
    return digest(root(first, half), root(first + half, size - half))


def path(index, first, size):
    if size == 1:
        return []
    half = split(size)
    if index < half:
        return [*path(index, first, half), root(first + half, size - half)]
    return [*path(index - half, first + half, size - half), root(first, half)]


def written(rng, kind, versions, state):
    """Return aggregate id, event type, payload and tags of one event of this kind."""
    code = rng.choice(["TOWER-07", "VILLA-01", "METRO-100K"])
    if kind == "Project":
        if versions.get((kind, code), 0) == 0:
            return code, "ProjectCreated", {"code": code, "name": "برج المكاتب الإدارية بحي العليا", "client": "شركة الأفق للتطوير العقاري", "vat_rate": "15.00", "dates": {"start": "2026-02-01", "finish": "2027-08-15"}}, [code]
        return code, "BoqImported", {"file": "مقايسة الأعمال المدنية (النسخة المعدلة).xlsx", "sha256": ident(rng.randint(1, 999), 64), "items": rng.randint(40, 400), "changes": {"added": rng.randint(0, 9), "changed": rng.randint(0, 60), "removed": 0}}, [code]
    if kind == "BoqItem":
        item = f"{code}/{rng.randint(1, 60)}"
        if (kind, item) not in versions:
            state[item] = {"unit_price": "125.00", "quantity": "1245.5", "progress": "0"}
            return item, "ItemAdded", {"code": f"3.{item.split('/')[1].zfill(3)}", "description": rng.choice(WORK), "unit": "م³", **state[item]}, [code, "boq"]
        field = rng.choice(["unit_price", "quantity", "progress"])
        new = f"{rng.randint(500, 90000) / 100:.2f}" if field != "progress" else str(rng.choice([25, 50, 80, 100]))
        old, state[item][field] = state[item][field], new
        return item, "ItemChanged", {"project": code, "changes": {field: {"from": old, "to": new}}, "source": None}, [code, "boq"]
    if kind == "Rate":
        price = f"{rng.randint(500, 90000) / 100:.2f}"
        lines = [{"material": "حديد تسليح", "share": rng.randint(20, 40)}, {"material": "Portland cement CEM I 42.5N", "share": rng.randint(20, 40)}]
        return f"rate-{rng.randint(1, 8)}", "RateAnalysed", {"price": price, "currency": "SAR", "approved": rng.random() < 0.5, "breakdown": {"labour": rng.randint(10, 40), "plant": rng.randint(1, 20), "materials": lines}, "note": None if rng.random() < 0.4 else "حسب عرض المورد"}, []
    if kind == "Person":
        return f"person-{rng.randint(1, 12)}", rng.choice(["PersonRegistered", "ContactChanged"]), {"department": "المشتريات", "grade": rng.randint(4, 9)}, ["hr"]
    return f"user-{rng.randint(1, 6)}", rng.choice(["user.signed_in", "user.signed_in", "permission.changed", "sign_in.failed"]), {"method": "password", "ip": f"192.168.1.{rng.randint(2, 250)}"}, ["audit"]


def make():
    rng, versions, state, rows = random.Random(11), {}, {}, []
    for position in range(1, HEAD + 1):
        kind = rng.choices(["BoqItem", "Audit", "Rate", "Project", "Person"], [60, 24, 8, 5, 3])[0]
        name, event_type, payload, tags = written(rng, kind, versions, state)
        kind = "User" if kind == "Audit" else kind
        version = versions[kind, name] = versions.get((kind, name), 0) + 1
        user = None if kind == "User" and event_type == "sign_in.failed" else rng.choice(PEOPLE)
        subject = {"subject": name, "erased": name.endswith(("-3", "-7"))} if kind == "Person" else None
        if subject:
            kept = {"name": "محمد بن عبدالرحمن الحربي", "phone": "+966 55 012 3456", "email": "m.harbi@noufal.test"}
            subject["fields"] = dict.fromkeys(kept) if subject["erased"] else kept
        rows.append({"position": position, "event_id": str(uuid.UUID(bytes=rng.randbytes(16), version=4)), "event_type": event_type, "schema_version": 1 + (event_type == "ItemChanged"), "tenant": "default", "aggregate_type": kind, "aggregate_id": name,
                     "version": version, "user_id": user, "correlation_id": ident(HEAD - position), "causation_id": rows[-1]["event_id"] if rows and position % 5 == 0 else None, "tags": tags, "payload": payload,
                     "metadata": {"request_id": ident(position + 50), "ip_address": f"192.168.1.{position % 250}", "user_agent": "Mozilla/5.0"}, "personal": subject})
    return rows


EVENTS = make()
ROOT = root(0, SEALED).hex()
STATE = {"verify": None, "rebuild": {}, "dead": {"boq_totals": [7, 1204, 2311]}}
RETRIED = {2311}  # a letter that can be delivered now
HIDDEN = {"payload", "metadata", "personal"}


def at(position):
    return now() - (HEAD - position) * 97.0 - 21


def row(event):
    return {key: value for key, value in event.items() if key not in HIDDEN} | {"recorded_at": iso(at(event["position"]))}


def within(seconds, query):
    moment = lambda name: datetime.fromisoformat(query[name]).timestamp()  # noqa: E731
    return not ("since" in query and seconds < moment("since")) and not ("until" in query and seconds > moment("until"))


def page(found, query, name):
    limit = int(query.get("limit", 50))
    rows = [one for one in found if one["position"] < int(query.get("before") or HEAD + 1)][: limit + 1]
    return {name: rows[:limit], "next_before": rows[limit - 1]["position"] if len(rows) > limit else None, "head": HEAD}


def browse(query):
    exact = {"type": "event_type", "aggregate_type": "aggregate_type", "aggregate_id": "aggregate_id", "correlation_id": "correlation_id", "user": "user_id"}
    keep = lambda event: all(query[asked] == event[field] for asked, field in exact.items() if asked in query) and query.get("tag", "") in ["", *event["tags"]] and within(at(event["position"]), query)  # noqa: E731
    return page([row(event) for event in reversed(EVENTS) if keep(event)], query, "events")


def detail(position):
    event = EVENTS[position - 1]
    stream = [one for one in EVENTS if (one["aggregate_type"], one["aggregate_id"]) == (event["aggregate_type"], event["aggregate_id"])]
    here = stream.index(event)
    previous = stream[here - 1] if here else None
    return {**row(event), "payload": event["payload"], "metadata": event["metadata"], "personal": event["personal"], "sealed": position <= SEALED, "previous": previous and {**row(previous), "payload": previous["payload"]},
            "previous_position": previous and previous["position"], "next_position": stream[here + 1]["position"] if here + 1 < len(stream) else None}


def streams(query):
    last = {}
    for event in EVENTS:
        last[event["aggregate_type"], event["aggregate_id"]] = event
    keys = sorted(key for key in last if query.get("aggregate_type", key[0]) == key[0] and key[1].startswith(query.get("q", "")))
    first, limit = int(query.get("after") or 0), int(query.get("limit", 50))
    show = lambda event: {"aggregate_type": event["aggregate_type"], "aggregate_id": event["aggregate_id"], "version": event["version"], "last_type": event["event_type"], "last_position": event["position"], "last_at": iso(at(event["position"]))}  # noqa: E731
    return {"streams": [show(last[key]) for key in keys[first : first + limit]], "next_after": str(first + limit) if first + limit < len(keys) else None, "types": sorted({key[0] for key in last})}


def stats():
    return {"head": HEAD, "waiting": 3, "capacity": 10_000, "appended": 1_204, "conflicts": 2, "flushes": 311, "largest_batch": 64, "sealed": SEALED, "types": sorted({event["event_type"] for event in EVENTS})}


def projections():
    rows = []
    for name, kind, generation, lag, status, error in [
        ("boq_totals", "projection", 3, 0, "live", None), ("item_history", "projection", 1, 212, "live", None), ("audit_search_index_with_a_rather_long_name", "projection", 2, 1804, "failing", "OperationalError: disk I/O error while writing the index of «سجل التدقيق»"),
        ("webhooks", "consumer", 1, 4, "live", None), ("nightly_report", "consumer", 1, 2400, "stopped", None)]:
        begun = STATE["rebuild"].get(name)
        done = int((now() - begun) * 900) if begun else 0
        if begun and done >= HEAD:
            begun, generation = None, generation + 1
        rebuild = {"generation": generation + 1, "position": done} if begun else None
        stopped = status == "stopped"
        rows.append({"name": name, "kind": kind, "generation": generation, "position": HEAD - lag, "lag": lag, "status": "rebuilding" if rebuild else status, "owner": None if stopped else "app-1:1200", "seen_at": None if stopped else iso(now() - 2),
                     "error": error, "dead_letters": len(STATE["dead"].get(name, [])), "rebuild": rebuild})
    return {"head": HEAD, "projections": rows}


def letters(name):
    errors = ["KeyError: 'unit_price'", "ValueError: الكمية ليست رقما: «١٢٫٥٫٣» في البند 3.017 من مقايسة الأعمال المدنية", "TimeoutError: no answer within 2 s from https://mail.example.test"]
    return {"dead_letters": [{"position": position, "event_id": EVENTS[position - 1]["event_id"], "event_type": EVENTS[position - 1]["event_type"], "error": errors[place % 3], "attempts": 5, "failed_at": iso(now() - 900 * (place + 1))} for place, position in enumerate(STATE["dead"].get(name, []))]}


def retry(name, body):
    waiting = STATE["dead"].get(name, [])
    tried = [position for position in waiting if body.get("positions") is None or position in body["positions"]]
    STATE["dead"][name] = [position for position in waiting if position not in tried or position not in RETRIED]
    return {"retried": len(tried), "resolved": len(waiting) - len(STATE["dead"][name])}


def record(event):
    item = event["aggregate_type"] == "BoqItem"
    action = {"user.signed_in": "LOGIN", "sign_in.failed": "LOGIN", "permission.changed": "UPDATE", "ItemAdded": "CREATE", "ProjectCreated": "CREATE", "BoqImported": "IMPORT"}.get(event["event_type"], "UPDATE")
    details = event["payload"] if item or event["aggregate_type"] == "Project" else {"method": "password", "success": event["event_type"] != "sign_in.failed"}
    return {"position": event["position"], "timestamp": iso(at(event["position"])), "event_type": event["event_type"], "user_id": event["user_id"], "action": action, "resource": f"{event['aggregate_type'].lower()}/{event['aggregate_id']}", "details": details,
            "ip_address": event["metadata"]["ip_address"], "request_id": event["metadata"]["request_id"], "trace_id": event["correlation_id"], "tenant": "default", "sealed": event["position"] <= SEALED}


def audit(query):
    keep = lambda one: (query.get("q", "").lower() in str(one).lower() and query.get("user", one["user_id"]) == one["user_id"] and query.get("action", one["action"]) == one["action"]  # noqa: E731
                        and one["resource"].startswith(query.get("resource", "")) and query.get("event_type", one["event_type"]) == one["event_type"] and within(at(one["position"]), query))
    found = [one for one in map(record, (event for event in reversed(EVENTS) if event["aggregate_type"] in ("User", "BoqItem", "Project"))) if keep(one)]
    return {**page(found, query, "records"), "sealed": SEALED}


def note(size, root_hex):
    return f"noufal/audit\n{size}\n{root_hex}\n\n— noufal/audit {ident(9, 64)}="


def seal():
    return {"head": HEAD, "size": SEALED, "root": ROOT, "note": note(SEALED, ROOT), "sealed_at": iso(now() - 34), "key_name": "noufal/audit", "public_key": "kR3v1p0e8m2b5x7n9q4w6y8u0i2o4p6a8s0d2f4g6h8=",
            "anchors": [{"name": "s3-object-lock", "size": 2350, "anchored_at": iso(now() - 3700), "receipt": "etag 9b2cf535f27731c974343645a3985328"}, {"name": "file", "size": SEALED, "anchored_at": iso(now() - 34), "receipt": "/mnt/worm/anchor-2388"}], "trouble": None}


def verify():
    begun = STATE["verify"]
    if begun is None:
        return {"state": "idle", "checked": 0, "total": HEAD, "started_at": None, "finished_at": None, "result": None}
    checked = min(HEAD, int((now() - begun) * 1500))
    done = checked >= HEAD
    result = {"ok": True, "size": SEALED, "root": ROOT, "events": HEAD, "seals": 61, "findings": []} if done else None
    return {"state": "done" if done else "running", "checked": checked, "total": HEAD, "started_at": iso(begun), "finished_at": iso(begun + HEAD / 1500) if done else None, "result": result}


def proof(position):
    return {"position": position, "size": SEALED, "leaf": leaf(position).hex(), "proof": [one.hex() for one in path(position - 1, 0, SEALED)], "root": ROOT, "note": note(SEALED, ROOT)}


def api(method, parts, query, body):
    """Answer what belongs to the room of events, or None."""
    match (method, parts):
        case ("GET", ["events"]):
            return 200, browse(query)
        case ("GET", ["events", "streams"]):
            return 200, streams(query)
        case ("GET", ["events", "stats"]):
            return 200, stats()
        case ("GET", ["events", "projections"]):
            return 200, projections()
        case ("POST", ["events", "projections", name, "rebuild"]):
            STATE["rebuild"][name] = now()
            return 202, {"name": name, "generation": 4}
        case ("GET", ["events", "projections", name, "dead-letters"]):
            return 200, letters(name)
        case ("POST", ["events", "projections", name, "dead-letters", "retry"]):
            return 200, retry(name, body)
        case ("GET", ["events", position]) if position.isdigit() and 0 < int(position) <= HEAD:
            return 200, detail(int(position))
        case ("GET", ["audit"]):
            return 200, audit(query)
        case ("GET", ["audit", "seal"]):
            return 200, seal()
        case ("GET", ["audit", "verify"]):
            return 200, verify()
        case ("POST", ["audit", "verify"]):
            STATE["verify"] = now()
            return 202, verify()
        case ("GET", ["audit", "proof", position]) if position.isdigit() and 0 < int(position) <= SEALED:
            return 200, proof(int(position))
        case ("GET", ["audit", "export"]):
            return 200, audit(query)
    return None
