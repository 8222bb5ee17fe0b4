"""Who may do what, generated from the application's own routes; and nobody reads another project."""

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from litestar.handlers.http_handlers import HTTPRouteHandler

import bills
import offices
from noufal.membership import PROJECT_PERMISSIONS, ROLES
from noufal.seed import COMMAND_LINE
from rakiza.errors import NotFoundError

MINE, OTHER = "OWN-01", "OTHER-02"
PRICE_FIELDS = frozenset({"unit_price", "total", "earned", "total_cost", "vat_total", "gross_total", "earned_total", "net_total", "stated_total"})
Call = tuple[str, str]

# What each route asks of a member of the project; a route that is missing here fails the test below.
MATRIX: dict[Call, str] = {
    ("GET", "/api/projects/{code}"): "project.read",
    ("PATCH", "/api/projects/{code}"): "project.edit",
    ("GET", "/api/projects/{code}/members"): "members.manage",
    ("PUT", "/api/projects/{code}/members"): "members.manage",
    ("DELETE", "/api/projects/{code}/members/{user_id}"): "members.manage",
    ("POST", "/api/projects/{code}/boq/import"): "boq.import",
    ("GET", "/api/projects/{code}/imports/{job_id}"): "boq.import",
    ("GET", "/api/projects/{code}/boq/items"): "boq.read",
    ("PATCH", "/api/projects/{code}/boq/items/{item_id}"): "progress.enter",
    ("GET", "/api/projects/{code}/boq/items/{item_id}/history"): "boq.read",
    ("GET", "/api/projects/{code}/boq/summary"): "boq.read",
    ("GET", "/api/projects/{code}/boq/export.xlsx"): "boq.export",
}
OPEN: dict[Call, str] = {("GET", "/api/openapi.json"): "public", ("GET", "/api/projects"): "signed-in", ("POST", "/api/projects"): "projects.create"}
MAY = {
    "manager": set(MATRIX.values()),
    "planner": {"project.read", "boq.read", "boq.export", "progress.enter"},
    "qs": {"project.read", "boq.read", "boq.export", "progress.enter", "boq.import"},
    "site_engineer": {"project.read", "boq.read", "boq.export", "progress.enter"},
    "accountant": {"project.read", "boq.read", "boq.export"},
    "consultant": {"project.read", "boq.read", "boq.export"},
    "viewer": {"project.read", "boq.read"},
}


class World:
    """Two projects, one member in each role of the first, nobody but the administrator in the second."""

    def __init__(self, office: offices.Office) -> None:
        self.office = office
        self.admin = office.person()
        self.members: dict[str, offices.Person] = {}
        self.items: dict[str, list[dict[str, Any]]] = {}
        self.imports: dict[str, int] = {}
        for code, count in ((MINE, 12), (OTHER, 9)):
            self.admin.post("/api/projects", {"code": code, "name": f"مشروع {code}"})
            self.admin.bring_in(code, bills.layout_b(bills.lines(count, 3)))
            self.items[code] = self.admin.items(code)
            body, kind = offices.multipart(bills.layout_b(bills.lines(count, 3)), "مقايسة.xlsx")
            path = f"/api/projects/{code}/boq/import"
            self.imports[code] = self.admin.send("POST", path, content=body, kind=kind, dry_run=True, background=True).json()["job_id"]
        for role in ROLES:
            person = office.person(f"{role}@example.com", "member", f"عضو {role}")
            self.members[role] = person
            assert self.admin.send("PUT", f"/api/projects/{MINE}/members", {"email": f"{role}@example.com", "role": role}).status == 200
        self.guest = office.person("guest@example.com", "member", "ضيف")

    def call(self, person: offices.Person, call: Call, code: str) -> offices.Answer:
        """Call a route as a person, with a body that is right."""
        method, template = call
        item = self.items[code][0]
        path = template.format(code=code, item_id=item["id"], user_id=self.guest.me["id"], job_id=self.imports[code])
        if path.endswith("/import"):
            return person.upload(code, bills.layout_b(bills.lines(12 if code == MINE else 9, 3)), dry_run=True)
        version = next((one["version"] for one in self.admin.items(code) if one["id"] == item["id"]), 1)
        bodies: dict[str, object] = {
            "/api/projects/{code}": {"version": self.admin.get(f"/api/projects/{code}")["version"], "client": "عميل"},
            "/api/projects/{code}/members": {"email": "guest@example.com", "role": "viewer"},
            "/api/projects/{code}/boq/items/{item_id}": {"version": version, "progress": "10"},
        }
        return person.send(method, path, None if method in {"GET", "DELETE"} else bodies[template])


@pytest.fixture
def world(tmp_path: Path, erp_url: str) -> Iterator[World]:
    with offices.office(tmp_path / "home", erp_url) as office:
        yield World(office)


@pytest.fixture(scope="module")
def untouched(tmp_path_factory: pytest.TempPathFactory, shared_erp_url: str) -> Iterator[World]:
    """Yield the two projects for tests whose every request is refused, or only reads."""
    with offices.office(tmp_path_factory.mktemp("home"), shared_erp_url) as office:
        yield World(office)


def routes(office: offices.Office) -> dict[Call, str]:
    """Return every route of the application with the permission it declares."""
    found: dict[Call, str] = {}
    for route in office.app.routes:
        for handler in getattr(route, "route_handlers", ()):
            if isinstance(handler, HTTPRouteHandler):
                template = "".join("/{" + part.name + "}" if hasattr(part, "name") else f"/{part}" for part in route.path_components)
                found |= {(method, template): handler.opt["permission"] for method in handler.http_methods if method != "OPTIONS"}
    return found


def test_every_route_has_a_row(tmp_path: Path, erp_file: str) -> None:
    with offices.office(tmp_path / "home", erp_file) as office:
        found = routes(office)
    assert found.keys() == MATRIX.keys() | OPEN.keys()
    for call, permission in OPEN.items():
        assert found[call] == permission
    for call, permission in MATRIX.items():
        # one item's fields ask for different permissions, so its route asks for reading and the service for the rest
        assert found[call] == ("boq.read" if call[1].endswith("{item_id}") else permission)
    assert set(MATRIX.values()) <= PROJECT_PERMISSIONS
    assert MAY.keys() == ROLES.keys()


def test_the_matrix_of_roles_and_routes(world: World) -> None:
    for role, person in world.members.items():
        for call, permission in MATRIX.items():
            own = world.call(person, call, MINE)
            if permission in MAY[role]:
                # the guest may be no member yet, or no more
                assert own.status in ({204, 404} if call[0] == "DELETE" else {200}), (role, call, own)
            else:
                assert (own.status, own.json()["code"]) == (403, "forbidden"), (role, call, own)
            elsewhere = world.call(person, call, OTHER)
            assert (elsewhere.status, elsewhere.json()["code"]) == (404, "not_found"), (role, call, elsewhere)
    for call in MATRIX:
        assert world.call(world.guest, call, OTHER).status == 404
    for call in MATRIX:
        assert world.call(world.admin, call, OTHER).status in {200, 204}


def test_without_a_session_nothing_opens(untouched: World) -> None:
    stranger = offices.Person(untouched.office, "", {})
    stale = offices.Person(untouched.office, "__Host-sid=" + "x" * 43, {})
    for person in (stranger, stale):
        for call in MATRIX:
            answer = untouched.call(person, call, MINE)
            assert (answer.status, answer.json()["code"]) == (401, "unauthorized"), (call, answer)
        assert person.send("GET", "/api/projects").status == 401
        assert person.send("POST", "/api/projects", {"code": "X", "name": "X"}).status == 401
    assert stranger.send("GET", "/api/openapi.json").status == 200


def test_only_who_may_creates_projects(untouched: World) -> None:
    for person in (*untouched.members.values(), untouched.guest):
        assert person.send("POST", "/api/projects", {"code": "NEW", "name": "جديد"}).status == 403
    assert untouched.admin.get("/api/projects")["total"] == 2


def test_a_page_of_another_site_writes_nothing(untouched: World) -> None:
    path = f"/api/projects/{MINE}"
    body = json.dumps({"version": 1, "client": "مخترق"}).encode()
    for headers in ({"sec-fetch-site": "cross-site"}, {"sec-fetch-site": "", "origin": "https://evil.example"}):
        answer = untouched.office.request(
            "PATCH", path, content=body, headers={"cookie": untouched.admin.cookie, "content-type": "application/json", **headers}
        )
        assert (answer.status, answer.json()["code"]) == (403, "cross_site")
    assert untouched.admin.get(path)["client"] is None


def prices(value: object) -> list[tuple[str, object]]:
    """Return every price in an answer, however deep."""
    if isinstance(value, dict):
        own = [(key, one) for key, one in value.items() if key in PRICE_FIELDS and isinstance(one, str)]
        return own + [pair for one in value.values() for pair in prices(one)]
    return [pair for one in value for pair in prices(one)] if isinstance(value, list) else []


def test_prices_are_hidden_everywhere(world: World) -> None:
    for role, number in (("site_engineer", 3), ("viewer", 5)):
        no_prices(world, role, number)


def no_prices(world: World, role: str, number: int) -> None:
    person, path = world.members[role], f"/api/projects/{MINE}"
    surveyor = world.members["qs"]
    for target in (path, "/api/projects", f"{path}/boq/items", f"{path}/boq/summary"):
        assert prices(surveyor.get(target)), (role, target)
        assert prices(person.get(target)) == [], (role, target)
    for sort in ("unit_price", "-total"):
        assert person.send("GET", f"{path}/boq/items", sort=sort).status == 403
    item = world.items[MINE][number]
    target = f"{path}/boq/items/{item['id']}"
    if role == "site_engineer":
        edited = person.patch(target, {"version": 1, "progress": "25"})
        assert (edited["progress"], prices(edited)) == ("25.00", [])
        late = person.patch(target, {"version": 1, "progress": "30"}, 409)
        assert (late["current"]["progress"], prices(late)) == ("25.00", [])
        export = person.send("GET", f"{path}/boq/export.xlsx").body
        read = world.admin.bring_in(OTHER, export, dry_run=True)
        assert {column["field"] for column in read["columns"]}.isdisjoint({"unit_price", "amount"})
        assert read["net_total"] == "0.00"
    for change in ({"unit_price": "1"}, {"quantity": "1"}, {"progress": "1", "unit_price": "1"}):
        assert person.send("PATCH", target, {"version": 2, **change}).status == 403
    assert person.upload(MINE, bills.layout_b(bills.lines(12, 3)), dry_run=True).status == 403
    known = {one["code"]: one for one in world.admin.items(MINE)}
    assert known[item["code"]]["unit_price"] == item["unit_price"]


def test_an_item_answers_only_in_its_own_project(untouched: World) -> None:
    theirs = untouched.items[OTHER][0]
    answer = untouched.admin.send("PATCH", f"/api/projects/{MINE}/boq/items/{theirs['id']}", {"version": 1, "progress": "90"})
    assert answer.status == 404
    assert untouched.admin.get(f"/api/projects/{MINE}/boq/items", section=theirs["section"])["items"] == []
    assert untouched.admin.items(OTHER) == untouched.items[OTHER]


def test_another_tenant_sees_nothing(untouched: World) -> None:
    erp = untouched.office.erp
    stranger = msgspec.structs.replace(COMMAND_LINE, tenant="other")
    assert erp.projects.page(stranger).total == 0
    for read in (erp.projects.get, erp.bills.summary, erp.members.list):
        with pytest.raises(NotFoundError):
            read(stranger, MINE)


def test_hundreds_of_random_requests_never_read_across_projects(world: World) -> None:
    """Give every role a share of random requests; whatever they ask, the other project's text must not come back."""
    chance = random.Random(731)  # noqa: S311 - requests, not secrets
    secret = "سر-المشروع-الآخر"
    extra = [bills.Line("قسم " + secret, f"S-{number}", f"{secret} {number}", "عدد", bills.Decimal(3), bills.Decimal(7)) for number in range(5)]
    world.admin.bring_in(OTHER, bills.layout_c(extra))
    world.admin.patch(f"/api/projects/{OTHER}", {"version": 1, "client": secret})
    foreign = world.admin.items(OTHER)
    people = [*world.members.values(), world.guest]
    numbers = [str(item["id"]) for item in foreign] + [str(item["section"]) for item in foreign] + [str(item["id"]) for item in world.items[MINE]]
    codes = [MINE, OTHER, OTHER.lower(), f"{OTHER}%20", f"{MINE}%2F..%2F{OTHER}", "%2e%2e", "*", "%25"]
    for _ in range(400):
        call = chance.choice(sorted(MATRIX))
        job = chance.choice([*world.imports.values(), 0])
        path = call[1].format(code=chance.choice(codes), item_id=chance.choice(numbers), user_id=world.guest.me["id"], job_id=job)
        query = {"limit": chance.choice([1, 500]), "offset": chance.choice([0, 3]), "q": chance.choice(["", "سر", "%", "S"])}
        if chance.random() < 0.5:
            query["section"] = chance.choice(numbers)
        asked = query if call[0] == "GET" else {}
        body = {"version": chance.choice([1, 2]), "progress": "5"} if call[0] == "PATCH" else {"email": "guest@example.com", "role": "manager"}
        answer = chance.choice(people).send(call[0], path, None if call[0] in {"GET", "DELETE"} else body, **asked)
        assert answer.status < 500, (call, path, asked, answer)
        assert secret.encode() not in answer.body, (call, path, asked)
    assert world.admin.items(OTHER) == foreign
    assert {member["email"] for member in world.admin.get(f"/api/projects/{OTHER}/members")["items"]} == {"admin@noufal.example"}
