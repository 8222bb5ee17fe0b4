"""The stand-in's backups: a fortnight of one database in a folder; what is asked for takes a moment, tells how far it is and is then done."""

import random
import threading
import time
from datetime import UTC, datetime, timedelta
from datetime import timezone as fixed

RIYADH = fixed(timedelta(hours=3))
LOCK = threading.Lock()
SECONDS = 1.5  # of any piece of work
DATABASE_BYTES = 934_000_000
REPLACING = ("start", "unpack", "check", "copy", "pack", "swap")
STEPS = {"backup": ("copy", "pack"), "verify": ("unpack", "check"), "drill": ("unpack", "check"), "copy": ("send",), "fetch": ("fetch",), "restore": REPLACING, "undo": REPLACING}
ROWS, RUNNING, TOLD, DRILLS = {}, {}, {"last_error": None, "last": None, "maintenance": None, "undo": None}, []
BUCKET, SHARE = "s3://company-backups/noufal", "file:///mnt/riyadh-office/نسخ-نوفل"
KEY = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"
BUSY = (409, "backup_running", "Another process works on the backups now", "تعمل عملية أخرى على النسخ الاحتياطية الآن", "wait for its end, then try again")
GONE = (404, "backup_not_found", "There is no backup of that name", "لا توجد نسخة احتياطية بهذا الاسم", "")
LAST = (409, "backup_refused", "Refused to keep data safe", "مرفوض حفاظا على البيانات", "make another one first")
UNSURE = (422, "validation_failed", "A value of the request is not acceptable", "قيمة في الطلب غير مقبولة", "give the name of the backup in `confirm`")


def now():
    return time.time_ns() / 1e9


def iso(seconds):
    return datetime.fromtimestamp(seconds, UTC).astimezone(RIYADH).isoformat(timespec="milliseconds")


def add(prefix, at, size_mb, rows, kind="db.zst", **more):
    name = f"{prefix}_{datetime.fromtimestamp(at, UTC):%Y%m%d_%H%M%S}.{kind}"
    ROWS[name] = {"filename": name, "size_mb": round(size_mb, 2), "timestamp": iso(at), "compressed": kind.endswith(("zst", "gz")), "kind": kind, "database_type": "sqlite", "pinned": False,
                  "verified_at": iso(at + 9), "drilled_at": None, "rows": rows, "safety": prefix == "before_restore", "encrypted": name.endswith(".age"), "seconds": round(size_mb / 52 + random.Random(name).random(), 2),
                  "parts": [{"name": name.split(".")[0] + ".files.tar.zst.age", "size_mb": round(size_mb / 9, 2), "files": 1204}] if name.endswith(".age") else [], "copies": [], **more}
    return ROWS[name]


def make():
    night = (now() - 7200) // 86400 * 86400 + 7200
    for day in range(9):
        at = night - day * 86400
        second = {"state": "waiting", "error": ""} if day == 0 else {"state": "failed", "error": "the share is not mounted"} if day == 1 else {"state": "ok", "error": ""}
        copies = [{"url": BUCKET, "state": "ok", "at": iso(at + 40), "error": ""}, {"url": SHARE, "at": iso(at + 41), **second}]
        add("backup", at, 331.8 - day * 4.7 + random.Random(day).random() * 2, 4_212_300 - day * 31_240, "db.zst.age" if day < 4 else "db.zst", drilled_at=iso(at + 3900) if day in (3, 7) else None, copies=copies)
    for week in range(6):
        at = night - 3 * 86400 - week * 7 * 86400 + 3900
        bad = week == 2
        DRILLS.append({"at": iso(at), "filename": f"backup_{datetime.fromtimestamp(at - 3900, UTC):%Y%m%d_%H%M%S}.db.zst", "ok": not bad, "problem": "invoice_lines: 51,998 rows were restored where the manifest says 52,000" if bad else "", "rows": 0 if bad else 4_118_580 - week * 90_000, "seconds": 11.4 - week / 3})
    add("before-the-migration-of-the-accounts-to-2026", night - 21 * 86400 - 40_000, 241.07, 3_604_112, pinned=True)
    add("month_end", night - 12 * 86400, 268.4, 3_790_004, "sql.gz", verified_at=None)  # its bytes are not those it was written with
    add("before_restore", night - 5 * 86400 + 30_000, 304.2, 4_050_912)


def rows():
    return sorted(ROWS.values(), key=lambda row: row["timestamp"], reverse=True)


def running():
    if not RUNNING:
        return None
    steps = STEPS[RUNNING["what"]]
    whole = min(0.999, (now() - RUNNING["since"]) / SECONDS) * len(steps)
    share = whole % 1  # of the step
    TOLD["maintenance"] = {"since": iso(now()), "what": RUNNING["what"]} if steps is REPLACING and whole > 3 else None
    return {"what": RUNNING["what"], "filename": RUNNING["filename"], "step": steps[int(whole)], "percent": round(share * 100, 1), "done_bytes": int(DATABASE_BYTES * share), "total_bytes": DATABASE_BYTES, "seconds_left": round(SECONDS / len(steps) * (1 - share), 1)}


def checklist(night, good, drilled):
    said = {"scheduler": (True, f"the next backup is made at {night}", ""), "recent": (good, f"the newest good backup is of {good}", "there is no good backup"),
            "drill": (drilled, f"a backup was last brought to life at {drilled}", "no backup was ever brought to life"), "disk": (True, "132.7 GB are free in /srv/backups", ""),
            "copies": (True, f"3 of 3: the database, the folder /srv/backups, {BUCKET}", ""), "media": (False, "", "all copies seen are on one disk"), "offsite": (True, BUCKET, "")}
    return [{"name": name, "ok": bool(ok), "said": well if ok else ill} for name, (ok, well, ill) in said.items()]


def status():
    plain = [row for row in rows() if not row["safety"]]
    good = next((row["timestamp"] for row in plain if row["verified_at"]), None)
    drilled = max((row["drilled_at"] for row in plain if row["drilled_at"]), default=None)
    night = (now() - 7200) // 86400 * 86400 + 86400 + 7200
    return {"running": running(), "next": [{"name": "backup-daily", "next_run_time": iso(night), "trigger": "every day at 02:00", "trigger_ar": "كل يوم عند 02:00"}, {"name": "before-the-month-closes", "next_run_time": iso(night + 4 * 86400), "trigger": "at 23:30 on the last day of the month", "trigger_ar": "عند 23:30 في آخر يوم من الشهر"}],
            "policy": {"last": 7, "daily": 14, "weekly": 8, "monthly": 0, "yearly": 3}, "newest_good": good, "drilled_at": drilled, "free_bytes": 142_500_000_000,
            "checklist": checklist(iso(night), good, drilled), "folder": "/srv/backups", "drills": DRILLS, "offsite": list(places()), "encryption": {"recipients": [KEY], "readable": False}, **TOLD}


def places():
    for url in (BUCKET, SHARE):
        copies = [(row["timestamp"], copy) for row in ROWS.values() for copy in row["copies"] if copy["url"] == url]
        there = [at for at, copy in copies if copy["state"] == "ok"]
        failed = [copy["error"] for _, copy in copies if copy["state"] == "failed"]
        yield {"url": url, "backups": len(there), "newest": max(there, default=None), "waiting": sum(copy["state"] == "waiting" for _, copy in copies), "failed": len(failed), "error": next(iter(failed), "")}


def away():
    there = [{"url": copy["url"], "filename": row["filename"], "size_mb": row["size_mb"], "timestamp": row["timestamp"], "here": True} for row in rows() for copy in row["copies"] if copy["state"] == "ok"]
    old = {"filename": "backup_20260131_020000.db.zst.age", "size_mb": 122.4, "timestamp": "2026-01-31T05:00:00+03:00"}
    return [*there, {**old, "url": BUCKET, "here": old["filename"] in ROWS}]


def stats():
    seen = rows()
    ends = {"oldest_backup": seen[-1]["timestamp"], "newest_backup": seen[0]["timestamp"]} if seen else {"oldest_backup": None, "newest_backup": None}
    return {"total_backups": len(seen), "total_size_mb": round(sum(row["size_mb"] for row in seen), 2), **ends, "backups": [{key: row[key] for key in ("filename", "size_mb", "timestamp")} for row in seen]}


def problem(status, code, en, ar, hint):
    return status, {"status": status, "code": code, "title": en, "message_en": en, "message_ar": ar, "request_id": "0198c0de-77aa-7000", **({"hint": hint} if hint else {})}


def work(what, filename, done):
    """Work outside of the lock, so that the state can be asked for meanwhile."""
    with LOCK:
        if RUNNING:
            return problem(*BUSY)
        RUNNING.update(what=what, filename=filename, since=now())
    time.sleep(SECONDS)
    with LOCK:
        RUNNING.clear()
        return 200, done()


def hand_over(what, filename):
    """Let a restore go on by itself, as the process that the real one starts."""
    if RUNNING:
        return problem(*BUSY)

    def replace():
        began = now()
        safety = restored(filename) if work(what, filename, dict)[0] == 200 else ""
        with LOCK:
            TOLD.update(maintenance=None, undo={"filename": safety, "at": ROWS[safety]["timestamp"]})
            TOLD["last"] = {"what": what, "error": "", "filename": filename, "at": iso(now()), "rows": ROWS[filename]["rows"], "seconds": now() - began, "seconds_away": 0.22, "safety_backup": safety, "before": ""}

    threading.Thread(target=replace, daemon=True).start()
    return 202, {"success": True, "restore": {"filename": filename}}


def taken(name):
    ROWS[name]["copies"] = [{"url": url, "state": "ok", "at": iso(now()), "error": ""} for url in (BUCKET, SHARE)]
    return {"success": True, "copies": ROWS[name]["copies"]}


def fetched(name):
    found = next(one for one in away() if one["filename"] == name)
    return {"success": True, "backup": add("backup", datetime.fromisoformat(found["timestamp"]).timestamp(), found["size_mb"], 1_604_112, "db.zst.age")}


def made():
    one = add("backup", now(), 333.1, 4_213_077)
    return {"success": True, "backup": {key: one[key] for key in ("filename", "size_mb", "timestamp")}}


def checked(name, **marks):
    if name.startswith("month_end"):
        return {"success": False, "backup": ROWS[name], "problem": f"{name} has another SHA-256 than its manifest says"}
    ROWS[name].update(verified_at=iso(now()), **marks)
    return {"success": True, "backup": ROWS[name], "problem": None}


def restored(name):
    return add("before_restore", now(), 333.1, 4_213_077)["filename"]


def one(method, verb, name, body):
    if name not in ROWS:
        return problem(*GONE)
    match (method, verb):
        case ("POST", "verify"):
            return work("verify", name, lambda: checked(name))
        case ("POST", "restore"):
            return hand_over("restore", name) if body.get("confirm") == name else problem(*UNSURE)
        case ("POST", "offsite"):
            return work("copy", name, lambda: taken(name))
        case ("POST", "pin"):
            ROWS[name]["pinned"] = body["pinned"]
            return 200, {"success": True, "backup": ROWS[name]}
        case ("DELETE", "delete"):
            if len([row for row in ROWS.values() if row["verified_at"]]) == 1 and ROWS[name]["verified_at"]:
                return problem(*LAST)
            del ROWS[name]
            return 200, {"success": True}
        case ("GET", "download"):
            return 200, {"file": name}
    return None


def api(method, parts, query, body):
    """Answer what belongs to the room of backups, or None."""
    match (method, parts[1:]):
        case ("GET", ["list"]):
            return 200, {"backups": rows()}
        case ("GET", ["stats"]):
            return 200, stats()
        case ("GET", ["status"]):
            return 200, status()
        case ("POST", ["create"]):
            return work("backup", None, made)
        case ("POST", ["drill"]):
            newest = rows()[0]["filename"]
            return work("drill", None, lambda: checked(newest, drilled_at=iso(now())))
        case ("POST", ["undo"]):
            return hand_over("undo", body["confirm"]) if body.get("confirm") == (TOLD["undo"] or {}).get("filename") else problem(*UNSURE)
        case ("GET", ["offsite"]):
            return 200, {"backups": away()}
        case ("POST", ["fetch"]):
            return work("fetch", body["filename"], lambda: fetched(body["filename"]))
        case (_, [verb, name]):
            return one(method, verb, name, body)
    return None


make()
