"""What the ERP keeps of its answers is what it would answer without: after every write, in every process, for everybody."""

import ast
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import bills
import offices
from noufal.boq import ItemChange, Summary
from noufal.seed import COMMAND_LINE, seed_demo
from patience import until
from rakiza import Platform, build
from rakiza.caching import CacheManager

CODE = "فيلا-١"
PATH = f"/api/projects/{CODE}"
MEMBER, PASSWORD = "sara@example.com", "سبعة جمال تعبر الوادي"
NO_MEMORY = {"session_cache_seconds": 0}  # else a change of roles takes five seconds to be seen elsewhere, with a cache or without


def built(given: dict[str, Mapping[str, object]], off: tuple[str, ...]) -> Platform:
    rooms = {**given, "hub": {"home": given["noufal"]["home"]}, "web": {"protect_application": True, **given["web"]}}
    return build(rooms, extra=["noufal.part"], off=off, environ={})


def without_cache(given: dict[str, Mapping[str, object]]) -> Platform:
    return built(given, ("caching",))


class World:
    """Two processes' worth of ERP with a cache and one without, on one database; the administrator, and somebody whose place changes."""

    def __init__(self, folder: Path, url: str, cached: Mapping[str, Mapping[str, object]]) -> None:
        rooms: dict[str, Mapping[str, object]] = {"jobs": {"work": False}, "security": NO_MEMORY}
        self.offices: list[offices.Office] = []
        try:
            for name in ("one", "two"):
                self.offices.append(offices.Office(folder / name, url, **rooms, **cached))
            self.offices.append(offices.Office(folder / "plain", url, without_cache, **rooms))
        except BaseException:
            self.close()
            raise
        self.one, self.two, self.plain = self.offices
        self.admin = self.plain.person()
        self.admin.post("/api/projects", {"code": CODE, "name": "فيلا النرجس"})
        self.admin.bring_in(CODE, bills.layout_b(bills.lines(12, 3)))
        self.member = self.plain.person(MEMBER, "member", "سارة")
        self.admin.send("PUT", f"{PATH}/members", {"email": MEMBER, "role": "qs"})
        self.item = self.admin.items(CODE)[0]["id"]

    def close(self) -> None:
        for office in self.offices:
            office.close()

    def at(self, office: offices.Office, person: offices.Person) -> offices.Person:
        return offices.Person(office, person.cookie, person.me)

    def answers(self, office: offices.Office) -> list[Any]:
        """Return what everybody is answered, without what differs from one request to the next."""
        found = []
        for person in (self.admin, self.member):
            for path in (f"{PATH}/boq/summary", f"{PATH}/boq/items", f"{PATH}/boq/items/{self.item}/history", "/api/users/me"):
                answer = self.at(office, person).send("GET", path)
                body = answer.json()
                body.pop("request_id", None)
                found.append((path, answer.status, body))
        return found

    def agree(self, written: offices.Office) -> None:
        """Compare at once where it was written, and elsewhere as soon as it is heard of."""
        truth = self.answers(self.plain)
        assert self.answers(written) == truth
        for other in (self.one, self.two):
            if other is not written:
                until(lambda other=other: self.answers(other) == truth)  # type: ignore[misc]


@pytest.fixture
def world(tmp_path: Path, erp_url: str) -> Iterator[World]:
    one = World(tmp_path, erp_url, {})
    yield one
    one.close()


# -- every writer there is

Op = Callable[[World, offices.Office, int], object]


def _item(world: World, number: int) -> dict[str, Any]:
    items = world.admin.items(CODE)
    return items[number % len(items)]


def edit(field: str) -> Op:
    def change(world: World, office: offices.Office, number: int) -> None:
        item = _item(world, number)
        body = {"version": item["version"], field: str(number % 101)}
        world.at(office, world.admin).patch(f"{PATH}/boq/items/{item['id']}", body)

    return change


def import_within(world: World, office: offices.Office, number: int) -> None:
    world.at(office, world.admin).bring_in(CODE, bills.layout_b(bills.lines(6 + number % 12, 2 + number % 3)))


def import_by_job(world: World, office: offices.Office, number: int) -> None:
    form, kind = offices.multipart(bills.layout_c(bills.lines(6 + number % 9, 2)), f"{number}.xlsx")
    person = world.at(office, world.admin)
    answer = person.send("POST", f"{PATH}/boq/import", content=form, kind=kind, dry_run=False, background=True)
    assert answer.status == 202, answer
    folders = {one: one.erp.settings.home / "imports" for one in world.offices}
    assert any(folder.exists() for folder in folders.values())
    office.platform.jobs.drain()
    assert office.platform.jobs.get_job(answer.json()["job_id"]).state == "done"


def import_by_command(world: World, office: offices.Office, number: int) -> None:
    content = bills.layout_b(bills.lines(8 + number % 5, 2))
    office.erp.importer.run(COMMAND_LINE, CODE, content, "أمر.xlsx", dry_run=False)


def terms(**values: str) -> Op:
    def change(world: World, office: offices.Office, number: int) -> None:
        version = world.admin.get(PATH)["version"]
        body = {name: text.format(number % 90 + 5, "SEA"[number % 3]) for name, text in values.items()}
        world.at(office, world.admin).patch(PATH, {"version": version, **body})

    return change


def put_member(world: World, office: offices.Office, number: int) -> None:
    role = ("qs", "site_engineer", "manager", "viewer")[number % 4]
    assert world.at(office, world.admin).send("PUT", f"{PATH}/members", {"email": MEMBER, "role": role}).status == 200


def remove_member(world: World, office: offices.Office, number: int) -> None:
    assert world.at(office, world.admin).send("DELETE", f"{PATH}/members/{world.member.me['id']}").status in {204, 404}


def own_profile(**values: str) -> Op:
    def change(world: World, office: offices.Office, number: int) -> None:
        world.at(office, world.admin).patch("/api/users/me", {name: text.format(number) for name, text in values.items()})

    return change


def role(world: World, office: offices.Office, number: int) -> None:
    security = office.platform.security
    user = security.find_user(MEMBER)
    assert user is not None
    security.update_user(user, role=("admin", "member", "viewer")[number % 3])


def password(world: World, office: offices.Office, number: int) -> None:
    security = office.platform.security
    user = security.find_user(MEMBER)
    assert user is not None
    security.set_password(user, PASSWORD)
    assert {status for _, status, _ in world.answers(office)[4:]} == {401}
    world.member = world.at(world.plain, world.plain.by_link(security.create_link(user)))


def disable(world: World, office: offices.Office, number: int) -> None:
    security = office.platform.security
    user = security.find_user(MEMBER)
    assert user is not None
    security.update_user(user, disabled=True)
    world.agree(office)
    security.update_user(user, disabled=False)
    world.member = world.plain.by_link(security.create_link(user))


def sign_out_everywhere(world: World, office: offices.Office, number: int) -> None:
    security = office.platform.security
    user = security.find_user(MEMBER)
    assert user is not None
    security.revoke_all(user)
    world.agree(office)
    world.member = world.plain.by_link(security.create_link(user))


OPS: dict[str, Op] = {
    "quantity": edit("quantity"),
    "unit_price": edit("unit_price"),
    "progress": edit("progress"),
    "import_within": import_within,
    "import_by_job": import_by_job,
    "import_by_command": import_by_command,
    "vat": terms(vat_rate="{}.00"),
    "currency": terms(currency="X{1}X", name="فيلا {0}"),
    "put_member": put_member,
    "remove_member": remove_member,
    "name": own_profile(name="المدير {}"),
    "locale": own_profile(locale="en"),
    "role": role,
    "password": password,
    "disable": disable,
    "sign_out_everywhere": sign_out_everywhere,
}
"""Whoever writes what an answer shows; see `test_no_writer_is_left_out`."""


@pytest.mark.parametrize(("erp_url", "where"), [("sqlite", "memory"), ("postgresql", "redis")], indirect=["erp_url"])
def test_after_every_write_everybody_is_answered_as_without_a_cache(
    tmp_path: Path, erp_url: str, request: pytest.FixtureRequest, where: str
) -> None:
    world = World(tmp_path, erp_url, with_redis(request) if where == "redis" else {})
    try:
        world.agree(world.one)
        for number, (name, op) in enumerate(OPS.items(), 7):
            office = (world.one, world.two)[number % 2]
            for kept in (world.one, world.two):
                world.answers(kept)
            before = world.answers(world.plain)
            op(world, office, number)
            world.agree(office)
            if name not in {"remove_member", "locale", "role", "password", "sign_out_everywhere", "disable"}:
                assert world.answers(world.plain) != before, name
    finally:
        world.close()


def with_redis(request: pytest.FixtureRequest) -> Mapping[str, Mapping[str, object]]:
    url = request.getfixturevalue("redis_url")
    return {"caching": {"use_redis": True}, "store": {"redis_url": url}}


steps = st.lists(st.tuples(st.sampled_from(sorted(OPS)), st.booleans(), st.integers(0, 10_000), st.integers(0, 3)), min_size=1, max_size=8)


@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(script=steps)
def test_any_order_of_writes_leaves_nothing_old_behind(world: World, script: list[tuple[str, bool, int, int]]) -> None:
    for name, first, number, primed in script:
        office = world.one if first else world.two
        for kept in (world.one, world.two)[primed % 2 : primed]:
            world.answers(kept)
        OPS[name](world, office, number)
        world.agree(office)


def test_a_project_somebody_asked_for_too_early_is_there_once_it_is_made(world: World) -> None:
    early = world.at(world.one, world.admin)
    for code in ("NEW-01", "VILLA-01"):
        assert early.send("GET", f"/api/projects/{code}/boq/summary").status == 404
    world.at(world.two, world.admin).post("/api/projects", {"code": "NEW-01", "name": "جديد"})
    assert early.get("/api/projects/NEW-01/boq/summary")["items_count"] == 0
    assert seed_demo(world.two.erp) == []  # only into an empty system


def test_the_demonstration_is_shown_as_it_was_written(tmp_path: Path, erp_file: str) -> None:
    with offices.office(tmp_path / "home", erp_file) as office:
        admin = office.person()
        assert admin.send("GET", "/api/projects/VILLA-01/boq/summary").status == 404
        seed_demo(office.erp)
        assert admin.get("/api/projects/VILLA-01/boq/summary")["items_count"] == 36


# -- what is kept, and what is not


def test_a_kept_answer_asks_the_database_nothing(tmp_path: Path, erp_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with offices.office(tmp_path / "home", erp_url, security={"session_cache_seconds": 300}) as office:
        admin = office.person()
        admin.post("/api/projects", {"code": CODE, "name": "فيلا النرجس"})
        admin.bring_in(CODE, bills.layout_b(bills.lines(12, 3)))
        paths = (f"{PATH}/boq/summary", "/api/users/me")
        first = [admin.get(path) for path in paths]

        def closed(writing: bool) -> None:
            raise AssertionError("the database was asked")

        monkeypatch.setattr(office.platform.store, "start", closed)
        assert [admin.get(path) for path in paths] == first
        monkeypatch.undo()


def test_nobody_who_can_write_to_redis_says_who_somebody_is_or_what_they_may_do(
    tmp_path: Path, erp_file: str, request: pytest.FixtureRequest
) -> None:
    world = World(tmp_path, erp_file, with_redis(request))
    try:
        world.agree(world.one)
        cache = world.one.platform.service("caching", CacheManager)
        assert cache.level is not None
        until(lambda: cache.state == "redis")
        world.answers(world.one)
        kept = {key.partition(":")[0] for key in cache.memory.entries}
        assert kept >= {"boq-summary", "place", "user"}
        head = len(cache.level.entry("").encode())
        assert {name[head:].decode().partition(":")[0] for name in cache.level.scan(1000)} == {"boq-summary"}
    finally:
        world.close()


def test_nothing_is_kept_of_projects_that_cannot_be(world: World) -> None:
    person = world.at(world.one, world.admin)
    world.answers(world.one)
    kept = world.one.platform.service("caching", CacheManager).get_stats()["total_keys"]
    assert kept >= 4
    for code in ("NOT-THERE", "a%3Ab", "x" * 300, "..", "%00", "a%2Fb", "1'--"):
        assert person.send("GET", f"/api/projects/{code}/boq/summary").status == 404
    assert world.one.platform.service("caching", CacheManager).get_stats()["total_keys"] == kept


def test_where_no_bus_tells_of_changes_nothing_is_kept(tmp_path: Path, erp_file: str) -> None:
    off = ("bus", "events", "jobs", "mail")
    offices_of_two = [offices.Office(tmp_path / name, erp_file, lambda given: built(given, off), security=NO_MEMORY) for name in ("one", "two")]
    try:
        one, two = (office.person() for office in offices_of_two)
        one.post("/api/projects", {"code": CODE, "name": "فيلا النرجس"})
        for number in range(3):
            two.get(f"{PATH}/boq/summary")
            one.bring_in(CODE, bills.layout_b(bills.lines(5 + number, 1)))
            one.patch("/api/users/me", {"name": f"المدير {number}"})
            assert two.get(f"{PATH}/boq/summary") == one.get(f"{PATH}/boq/summary")
            assert two.get("/api/users/me")["name"] == f"المدير {number}"
    finally:
        for office in offices_of_two:
            office.close()


def test_what_is_not_committed_is_not_kept(world: World) -> None:
    erp, store = world.one.erp, world.one.platform.store
    item = _item(world, 0)
    before = erp.bills.summary(COMMAND_LINE, CODE)
    with pytest.raises(ZeroDivisionError), store.begin():
        erp.bills.edit(COMMAND_LINE, CODE, item["id"], ItemChange(version=item["version"], quantity="9999"))
        inside = erp.bills.summary(COMMAND_LINE, CODE)
        assert inside.total_cost != before.total_cost
        raise ZeroDivisionError
    assert erp.bills.summary(COMMAND_LINE, CODE) == before
    world.agree(world.one)


def heard(world: World, office: offices.Office) -> Callable[[], bool]:
    """Return what tells whether this office has heard of a change since now."""
    erp = office.erp
    erp.projects.read_access(COMMAND_LINE, CODE, "boq.read")
    assert erp.projects.access_at_hand(COMMAND_LINE, CODE, "boq.read") is not None
    return lambda: erp.projects.access_at_hand(COMMAND_LINE, CODE, "boq.read") is None


def test_what_an_old_snapshot_shows_is_not_kept(world: World) -> None:
    erp, store = world.one.erp, world.one.platform.store
    erp.bills.summary(COMMAND_LINE, CODE)
    with store.read() as tx:
        erp.projects.access(tx, COMMAND_LINE, CODE, "boq.read")  # from here on SQLite shows this state
        told = heard(world, world.one) if erp.projects.access_at_hand(COMMAND_LINE, CODE, "boq.read") else lambda: True
        OPS["quantity"](world, world.two, 55)
        until(told)
        erp.bills.summary(COMMAND_LINE, CODE)
    assert encoded(erp.bills.summary(COMMAND_LINE, CODE)) == encoded(world.plain.erp.bills.summary(COMMAND_LINE, CODE))


def encoded(summary: Summary) -> tuple[object, ...]:
    return summary.total_cost, summary.gross_total, summary.vat_rate, tuple(summary.sections)


@pytest.mark.parametrize("where", ["own", "other"])
def test_what_was_read_before_a_change_is_not_kept_after_it(world: World, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    erp = world.one.erp
    read, go = threading.Event(), threading.Event()
    summed = erp.bills._summed

    def slow(*arguments: Any) -> Summary:
        found = summed(*arguments)
        read.set()
        assert go.wait(30)
        return found

    world.one.erp.bills.summary(COMMAND_LINE, CODE)
    OPS["progress"](world, world.one, 3)  # drops what is kept
    told = heard(world, world.one)
    monkeypatch.setattr(erp.bills, "_summed", slow)
    with ThreadPoolExecutor(1) as threads:
        late = threads.submit(erp.bills.summary, COMMAND_LINE, CODE)
        assert read.wait(30)
        OPS["unit_price"](world, world.one if where == "own" else world.two, 77)
        until(told)
        go.set()
        late.result(30)
    monkeypatch.undo()
    truth = world.plain.erp.bills.summary(COMMAND_LINE, CODE)
    assert encoded(late.result()) != encoded(truth)
    assert encoded(erp.bills.summary(COMMAND_LINE, CODE)) == encoded(truth)


def test_of_an_access_that_was_read_before_a_change_nothing_is_kept_after_it(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    erp, read_access = world.one.erp, world.one.erp.projects.read_access

    def late(*arguments: Any) -> Any:
        access = read_access(*arguments)
        OPS["vat"](world, world.one, 31)
        OPS["currency"](world, world.one, 31)
        return access

    monkeypatch.setattr(erp.projects, "read_access", late)
    erp.bills.summary(COMMAND_LINE, CODE)
    monkeypatch.undo()
    world.agree(world.one)


def test_everybody_shares_the_sums_and_nobody_the_right_to_see_them(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    erp = world.one.erp
    member, admin = (world.one.platform.security.principal(person.me["id"]) for person in (world.member, world.admin))
    world.at(world.plain, world.admin).send("PUT", f"{PATH}/members", {"email": MEMBER, "role": "viewer"})
    until(lambda: erp.bills.summary(member, CODE).total_cost is None)
    monkeypatch.setattr(erp.bills, "_summed", None)  # the member's answer made the sums; nobody may have to make them again
    whole, hidden = erp.bills.summary(admin, CODE), erp.bills.summary(member, CODE)
    assert whole.total_cost is not None
    assert all(one.total_cost is not None and one.earned_total is not None for one in whole.sections)
    assert (hidden.total_cost, hidden.vat_total, hidden.gross_total, hidden.earned_total) == (None, None, None, None)
    assert all(one.total_cost is None and one.earned_total is None for one in hidden.sections)
    assert (hidden.items_count, hidden.progress, len(hidden.sections)) == (whole.items_count, whole.progress, len(whole.sections))
    monkeypatch.undo()


# -- no writer is left out

WRITES = {
    "noufal.boq._importer._write_import": "import_within",
    "noufal.boq._revision.Ledger": "import_within",
    "noufal.boq._revision._write_sections": "import_within",
    "noufal.boq.service.Bills.edit": "quantity",
    "noufal.boq.service.recount": "quantity",
    "noufal.projects.members.Members.put": "put_member",
    "noufal.projects.members.Members.remove": "remove_member",
    "noufal.projects.service.Projects.change": "vat",
    "noufal.projects.service.Projects.create": "test_a_project_somebody_asked_for_too_early_is_there_once_it_is_made",
    "rakiza.security._users.Users.add": "test_somebody_who_is_gone_is_not_kept",
    "rakiza.security._users.Users.change": "name",
}
"""Each function that writes what an answer shows, and what drives it: whoever adds one must drop the tags and name its driver here."""
SHOWN_TABLES = {"item", "section", "bill_import", "project", "member", "USER"}


def test_no_writer_is_left_out() -> None:
    root = Path(__file__).parents[2] / "src"
    files = [*sorted((root / "noufal").rglob("*.py")), *sorted((root / "rakiza" / "security").glob("*.py"))]
    found = {name for file in files if "migrations" not in file.parts for name in writers(file, root)}
    assert {shortened(name) for name in found} == WRITES.keys()
    assert {driver for driver in WRITES.values() if not driver.startswith("test_")} <= OPS.keys()


def shortened(name: str) -> str:
    return name.rpartition(".Ledger.")[0] + ".Ledger" if ".Ledger." in name else name


def writers(file: Path, root: Path) -> Iterator[str]:
    """Yield the functions of a file that insert into, update or delete from a table that answers show."""
    module = ".".join(file.relative_to(root).with_suffix("").parts)
    tree = ast.parse(file.read_text(encoding="utf-8"))
    for outer in tree.body:
        inner = [outer] if isinstance(outer, ast.FunctionDef) else outer.body if isinstance(outer, ast.ClassDef) else []
        for function in (node for node in inner if isinstance(node, ast.FunctionDef)):
            if any(writes(node) for node in ast.walk(function)):
                yield ".".join([module, *([outer.name] if isinstance(outer, ast.ClassDef) else []), function.name])


def writes(node: ast.AST) -> bool:
    match node:
        case ast.Call(func=ast.Name(id="insert" | "update" | "delete"), args=[ast.Name(id=table), *_]):
            return table in SHOWN_TABLES
    return False
