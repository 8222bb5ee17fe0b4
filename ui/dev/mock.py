"""Serve the built UI and an in-memory stand-in for the ERP's API: three projects, the strict CSP, no dependency.

Run `python ui/dev/mock.py [port]` after `npm run build --prefix ui`. Sign in as demo@noufal.test / demo, or open /sign-in#token=demo.
An imported file whose name contains "bad" has errors and is refused; one with "big" is imported in the background, with "fail" in vain.
"""

import contextlib
import copy
import json
import random
import re
import secrets
import sys
import time
from decimal import ROUND_HALF_UP, Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

STATIC = Path(__file__).parents[2] / "src/noufal/static"
CSP = (
    "default-src 'none'; script-src 'nonce-{n}' 'strict-dynamic'; style-src 'self' 'nonce-{n}'; img-src 'self'; font-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'; object-src 'none'; require-trusted-types-for 'script'; trusted-types svelte-trusted-html"
)
TYPES = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml", ".woff2": "font/woff2"}
SECTIONS = ["أعمال الحفر والأساسات", "أعمال الخرسانة المسلحة", "أعمال البناء", "أعمال العزل", "أعمال التشطيبات الداخلية", "الأعمال الكهربائية",
            "الأعمال الصحية", "أعمال التكييف والتهوية", "أعمال الألمنيوم والزجاج", "أعمال الدهانات", "أعمال الأرضيات", "تنسيق الموقع", "أعمال خارجية ومتفرقات"]
WORK = ["توريد وصب خرسانة مسلحة للأساسات بإجهاد لا يقل عن 30 ن/مم²", "حفر التربة حتى منسوب التأسيس مع نقل الناتج", "بناء جدران خارجية من الطوب المعزول سماكة 20 سم",
        "توريد وتركيب بلاط بورسلان 60×60 سم درجة أولى", "أعمال اللياسة الداخلية بمونة إسمنتية", "توريد وتركيب كابل نحاسي 4×16 مم² XLPE/SWA/PVC حسب SASO",
        "عزل مائي للأسطح بطبقتين من لفائف البيتومين", "توريد وتركيب مكيف سبليت 24,000 وحدة BTU", "دهان داخلي أكريليك ثلاثة أوجه",
        "توريد وتركيب باب خشب مقاوم للحريق 90 دقيقة مع الإطار والملحقات وجهاز الإغلاق الذاتي، شاملًا القواعد والمواد والعمالة والاختبار والتسليم حسب المخططات "
        "والمواصفات الفنية المعتمدة وتعليمات المهندس المشرف، مع تقديم العينات والشهادات قبل التوريد وضمان خمس سنوات من تاريخ الاستلام الابتدائي"]
UNITS = [("م²", "m2"), ("م³", "m3"), ("م.ط", "m"), ("عدد", "no"), ("طن", "ton"), ("مقطوعية", "lump_sum")]
FOLD = str.maketrans("أإآىة٠١٢٣٤٥٦٧٨٩", "ااايه0123456789", "ـًٌٍَُِّْ")


def cents(value):
    return str(Decimal(value).quantize(Decimal("0.01"), ROUND_HALF_UP))


def make_items(count, seed=7):
    rng, rows = random.Random(seed), []
    for at in range(count):
        unit, code = rng.choice(UNITS)
        section = at * len(SECTIONS) // count
        rows.append(settle({
            "id": at + 1, "position": at + 1, "code": f"{section + 1}.{at + 1:03d}", "description": rng.choice(WORK), "section": section + 1, "unit": unit,
            "unit_code": code, "quantity": str(Decimal(rng.randint(1, 40000)) / rng.choice([10, 100, 100, 1000])), "unit_price": cents(rng.randint(500, 90000) / 100),
            "progress": str(rng.choice([0, 0, 0, 25, "33.33", 50, 80, 100])), "note": None, "rate_only": False, "version": 1}))
    return rows


def settle(item):
    item["total"] = cents(Decimal(item["quantity"]) * Decimal(item["unit_price"]))
    item["earned"] = cents(Decimal(item["total"]) * Decimal(item["progress"]) / 100)
    return item


def history(project, item):
    """Return who changed an item, from what, when: two imports and some edits made up from its id, then the edits of this run."""
    rng, value = random.Random(item["id"]), {"quantity": "100", "unit_price": "125.00", "progress": "0", "description": item["description"][:60], "unit": item["unit"]}
    moment = lambda days: time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time_ns() / 1e9 - days * 86400))  # noqa: E731
    entries = [{"version": 1, "at": moment(200), "by": "سارة القحطاني", "action": "imported", "source": "مقايسة الأعمال المدنية.xlsx", "changes": [{"field": field, "from": None, "to": was} for field, was in value.items()]}]
    for at in range(rng.randint(1, 9)):
        field = rng.choice(["unit_price", "unit_price", "quantity", "progress"])
        new = cents(rng.randint(500, 90000) / 100) if field != "progress" else str(rng.choice([25, 50, 80, 100]))
        imported = at == 2
        changes = [{"field": field, "from": value[field], "to": new}] + ([{"field": "description", "from": value["description"], "to": item["description"]}] if imported else [])
        entries.append({"version": at + 2, "at": moment(150 / (at + 1)), "by": rng.choice(["عبدالله السبيعي", "Mohammed Al-Harbi", "سارة القحطاني"]), "action": "imported" if imported else "changed", "source": "BOQ rev B - final (2).xlsx" if imported else None, "changes": changes})
        value[field] = new
    for entry in project.edits.get(item["id"], []):
        entries.append({"version": len(entries) + 1, **entry})
    return {"item": {key: item[key] for key in ("id", "code", "description")}, "entries": entries[::-1]}


class Project:
    def __init__(self, code, name, name_en, client, items=(), start=None, finish=None):
        self.data = {"code": code, "name": name, "name_en": name_en, "client": client, "start_date": start, "finish_date": finish, "currency": "SAR", "vat_rate": "15.00",
                     "version": 1, "role": "manager", "permissions": ["boq.read", "boq.import", "boq.edit", "progress.enter", "project.edit", "boq.prices", "boq.export"],
                     "created_at": "2026-11-01T08:00:00+03:00", "updated_at": "2026-11-20T08:00:00+03:00"}
        self.items, self.last, self.edits = list(items), None, {}

    def summary(self):
        groups = {}
        for item in self.items:
            groups.setdefault(item["section"], []).append(item)
        part = lambda rows: (sum(Decimal(r["total"]) for r in rows), sum(Decimal(r["earned"]) for r in rows))  # noqa: E731
        share = lambda cost, earned: str(round(earned / cost * 100, 2)) if cost else "0"  # noqa: E731
        cost, earned = part(self.items)
        vat = cost * Decimal(self.data["vat_rate"]) / 100
        sections = []
        for key, rows in sorted(groups.items()):
            c, e = part(rows)
            sections.append({"id": key, "position": key, "title": SECTIONS[key - 1], "items_count": len(rows), "total_cost": cents(c), "progress": share(c, e), "earned_total": cents(e)})
        return {"total_cost": cents(cost), "items_count": len(self.items), "progress": share(cost, earned), "vat_rate": self.data["vat_rate"], "vat_total": cents(vat),
                "gross_total": cents(cost + vat), "earned_total": cents(earned), "currency": "SAR", "sections": sections, "last_import": self.last}

    def view(self):
        if not hasattr(self, "cached"):
            self.cached = self.summary()
        s = self.cached
        return {**self.data, "items_count": s["items_count"], "total_cost": s["total_cost"], "progress": s["progress"]}

    def find(self, query):
        rows = self.items
        if query.get("section"):
            rows = [r for r in rows if str(r["section"]) == query["section"]]
        if query.get("q"):
            q = query["q"].translate(FOLD).lower()
            rows = [r for r in rows if q in f"{r['code']} {r['description']}".translate(FOLD).lower()]
        sort = query.get("sort", "position")
        key = sort.lstrip("-")
        if sort != "position":
            number = key not in ("code", "description")
            rows = sorted(rows, key=lambda r: Decimal(r[key]) if number else r[key], reverse=sort.startswith("-"))
        offset, limit = int(query.get("offset", 0)), int(query.get("limit", 100))
        return {"items": rows[offset:offset + limit], "next_cursor": None, "total": len(rows)}


ME = {"id": "0198c0de-0000-7000-8000-000000000001", "name": "سارة القحطاني", "email": "demo@noufal.test", "role": "admin", "permissions": ["projects.create", "users.manage"], "locale": None}
PROJECTS = {p.data["code"]: p for p in [
    Project("TOWER-07", "برج المكاتب الإدارية بحي العليا", "Olaya office tower", "شركة الأفق للتطوير العقاري", make_items(400), "2026-02-01", "2027-08-15"),
    Project("VILLA-01", "فيلا سكنية", "Villa", "عبدالله السبيعي", (), "2026-12-01", None),
    Project("METRO-100K", "حزمة أعمال محطات النقل الحضري (مئة ألف بند)", None, "هيئة تطوير المنطقة", make_items(100_000, 3))]}
SESSIONS = set()
JOBS = {}
STEPS = [("ready", None, None, None), ("running", 6, "يُفتح الملف", "Opening the file"), ("running", 38, "الصفوف المقروءة: 61,000 من 100,000", "Rows read: 61,000 of 100,000"),
         ("retry", 38, None, None), ("running", 74, "البنود المكتوبة: 47,000 من 100,000", "Items written: 47,000 of 100,000")]


def problem(status, code, en, ar, **more):
    return status, {"type": "about:blank", "title": en, "status": status, "detail": en, "code": code, "message_en": en, "message_ar": ar, "request_id": secrets.token_hex(8), **more}


def report(name, project, dry):
    rows = make_items(400)
    fresh = Project("X", "x", None, None, rows).summary()
    finding = lambda row, column, en, ar: {"sheet": "BOQ", "row": row, "column": column, "code": "x", "message_en": en, "message_ar": ar}  # noqa: E731
    errors = [finding(12, "D", "Quantity is not a number: \"عشرة\"", "الكمية ليست رقمًا: «عشرة»"), finding(40, "E", "The price \"1,5\" can be read in two ways", "السعر «1,5» يُقرأ بطريقتين")]
    bad = "bad" in name
    lists = {"differences": [finding(88, "F", "Stated total 4,500.00, computed 4,450.00", "الإجمالي المكتوب 4,500.00 والمحسوب 4,450.00")],
             "ignored_rows": [finding(1, None, "Title row", "صف عنوان"), finding(417, None, "Total row", "صف إجمالي")],
             "warnings": [finding(31, "C", "Unknown unit \"طقم/2\": kept as written", "وحدة غير معروفة «طقم/2»: بقيت كما كُتبت")], "errors": errors if bad else []}
    had = {r["code"] for r in project.items}
    changes = {"added": 400 - len(had) if len(had) <= 400 else 0, "changed": 0, "removed": 0, "unchanged": len(had)}
    body = {"file": name, "sha256": "0" * 64, "sheet": "BOQ", "layout": "flat", "dry_run": dry, "written": not dry and not bad, "unchanged": len(had) == 400, "items": 400,
            "sections": 13, "net_total": fresh["total_cost"], "vat_rate": "15.00", "vat_total": fresh["vat_total"], "gross_total": fresh["gross_total"], "stated_total": fresh["total_cost"],
            **lists, "counts": {k: len(v) for k, v in lists.items()}, "changes": changes,
            "columns": [{"field": f, "header": h, "column": c} for f, h, c in [("code", "الكود", "A"), ("description", "الوصف", "B"), ("unit", "الوحدة", "C"), ("quantity", "الكمية", "D"), ("unit_price", "سعر الوحدة", "E"), ("total", "الإجمالي", "F"), ("section", "التصنيف", "G")]],
            "section_list": [{"title": s["title"], "items": s["items_count"], "total": s["total_cost"]} for s in fresh["sections"]]}
    if not dry and bad:
        return problem(422, "import_rejected", "The file has errors", "في الملف أخطاء", report=body)
    if not dry:
        project.items, project.last = rows, {"file": name, "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "by": ME["name"]}
        project.__dict__.pop("cached", None)
    return 200, body


def import_state(job):
    """Return how far a job is; each question brings it on by one step."""
    at, (name, project, dry) = job["at"], job["given"]
    job["at"] += 1
    state, percent, arabic, english = STEPS[at] if at < len(STEPS) else ("failed" if "fail" in name else "done", 100, None, None)
    found = {"job_id": job["id"], "file": name, "dry_run": dry, "created_at": "2026-11-27T09:00:00Z", "state": state, "progress": percent, "progress_text_en": english, "progress_text_ar": arabic, "report": None, "problem": None}
    if state == "failed":
        found["problem"] = problem(500, "import_failed", "several attempts at the import failed; nothing was written", "تعذر الاستيراد بعد عدة محاولات ولم يُكتب شيء")[1]
    elif state == "done":
        answer = report(name, project, dry)[1]
        found["report"] = answer.get("report", answer)
    return found


def api(method, path, query, body, raw):
    parts = path.strip("/").split("/")[1:]
    match (method, parts):
        case ("GET", ["users", "me"]):
            return 200, ME
        case ("PATCH", ["users", "me"]):
            ME.update(body)
            return 200, ME
        case ("POST", ["users", "me", "password"]):
            return problem(422, "weak_password", "Too common", "شائعة جدًا") if "password" in body["new"] else (204, None)
        case ("GET", ["projects"]):
            return 200, {"items": [p.view() for p in PROJECTS.values()], "next_cursor": None, "total": len(PROJECTS)}
        case ("POST", ["projects"]):
            if body["code"] in PROJECTS:
                return problem(409, "code_taken", "Code taken", "الرمز مستعمل")
            PROJECTS[body["code"]] = project = Project(body["code"], body["name"], body.get("name_en"), body.get("client"))
            project.data.update(body)
            return 201, project.view()
    project = PROJECTS.get(unquote(parts[1])) if len(parts) > 1 and parts[0] == "projects" else None
    if project is None:
        return problem(404, "not_found", "Not found", "غير موجود")
    match (method, parts[2:]):
        case ("GET", []):
            return 200, project.view()
        case ("PATCH", []):
            if body.pop("version") != project.data["version"]:
                return problem(409, "conflict", "Changed meanwhile", "تغيّر", current=project.view())
            project.data.update(body, version=project.data["version"] + 1)
            return 200, project.view()
        case ("GET", ["boq", "items"]):
            return 200, project.find(query)
        case ("GET", ["boq", "summary"]):
            return 200, project.view() and project.cached
        case ("POST", ["boq", "import"]):
            time.sleep(0.4)
            given = re.search(rb'filename="([^"]*)"', raw).group(1).decode(), project, query.get("dry_run") != "false"
            if "big" not in given[0]:
                return report(*given)
            number = 7001 + len(JOBS)
            JOBS[number] = {"id": number, "given": given, "at": 0}
            return 202, {"job_id": number}
        case ("GET", ["imports", number]):
            return (200, import_state(JOBS[int(number)])) if int(number) in JOBS else problem(404, "not_found", "Not found", "غير موجود")
        case ("GET", ["boq", "items", number, "history"]):
            return 200, history(project, project.items[int(number) - 1])
        case ("PATCH", ["boq", "items", number]):
            item = project.items[int(number) - 1]
            if body.pop("version") != item["version"]:
                return problem(409, "conflict", "Changed meanwhile", "تغيّر", current=copy.copy(item))
            project.edits.setdefault(item["id"], []).append({"at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "by": ME["name"], "action": "changed", "source": None, "changes": [{"field": field, "from": item[field], "to": new} for field, new in body.items()]})
            item.update(body, version=item["version"] + 1)
            settle(item)
            project.__dict__.pop("cached", None)
            return 200, item
    return problem(404, "not_found", "Not found", "غير موجود")


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        """Stay quiet."""

    def reply(self, status, body=b"", kind="application/json", **headers):
        self.send_response(status)
        for key, value in {"content-type": kind, "content-length": str(len(body)), "x-content-type-options": "nosniff", **headers}.items():
            self.send_header(key.replace("_", "-"), value)
        self.end_headers()
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.wfile.write(body)

    def handle_any(self):
        url = urlsplit(self.path)
        raw = self.rfile.read(int(self.headers.get("content-length") or 0))
        if not url.path.startswith("/api/"):
            return self.page(url.path)
        body = json.loads(raw) if raw and "json" in self.headers.get("content-type", "") else {}
        sid = re.search(r"__Host-sid=(\w+)", self.headers.get("cookie") or "")
        cookie = {}
        if url.path in ("/api/auth/login", "/api/auth/link"):
            if body.get("password") == "demo" or body.get("token") == "demo":
                SESSIONS.add(fresh := secrets.token_hex(16))
                status, answer, cookie = 200, ME, {"set_cookie": f"__Host-sid={fresh}; Path=/; Secure; HttpOnly; SameSite=Lax"}
            else:
                status, answer = problem(401, "link_expired" if "token" in body else "bad_credentials", "Refused", "مرفوض")
        elif not sid or sid[1] not in SESSIONS:
            status, answer = problem(401, "unauthorized", "Sign in", "سجّل الدخول")
        elif url.path == "/api/auth/logout":
            SESSIONS.discard(sid[1])
            status, answer = 204, None
        else:
            status, answer = api(self.command, url.path, {k: v[0] for k, v in parse_qs(url.query).items()}, body, raw)
        return self.reply(status, b"" if answer is None else json.dumps(answer, ensure_ascii=False).encode(), **cookie)

    def page(self, path):
        file = STATIC / path.lstrip("/")
        if path.startswith("/assets/"):
            if not file.is_file():
                return self.reply(404)
            return self.reply(200, file.read_bytes(), TYPES.get(file.suffix, "application/octet-stream"), cache_control="public, max-age=31536000, immutable")
        nonce = secrets.token_urlsafe(16)
        html = (STATIC / "index.html").read_text().replace("__NONCE__", nonce)
        return self.reply(200, html.encode(), "text/html; charset=utf-8", content_security_policy=CSP.format(n=nonce), cache_control="no-store")

    do_GET = do_POST = do_PATCH = handle_any


class Server(ThreadingHTTPServer):
    def handle_error(self, request, client_address):
        """A browser that leaves early is no fault."""


if __name__ == "__main__":
    server = Server(("127.0.0.1", int(sys.argv[1]) if len(sys.argv) > 1 else 8100), Handler)
    print(f"the mock serves http://127.0.0.1:{server.server_port}/", flush=True)
    server.serve_forever()
