"""The ERP in several processes, of which some die: what one commits the others show, with a Redis and without."""

import json
import random
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

import bills
import offices
import servers
from patience import until
from rakiza.store import Store
from served import CHEAP, EMAIL, PASSWORD, SOURCE, Served

CODE = "P-1"
PATH = f"/api/projects/{CODE}"
SUMMARY = f"{PATH}/boq/summary"
COMMAND = """
import os, sys
from noufal.app import create_platform
from noufal.boq import ItemChange, ItemQuery
from noufal.part import Erp
from noufal.seed import COMMAND_LINE

code, way = sys.argv[1:]
platform = create_platform()
platform.ctx.works = False
platform.start()
erp = platform.service("noufal", Erp)


def edit(number):
    line = erp.bills.items(COMMAND_LINE, code, ItemQuery(limit=1)).items[0]
    erp.bills.edit(COMMAND_LINE, code, line.id, ItemChange(version=line.version, quantity=str(number)))


def die():
    print("dying", flush=True)
    os.kill(os.getpid(), 9)


erp.bills.summary(COMMAND_LINE, code)
print("ready", flush=True)
if way == "endless":
    for number in range(1, 1_000_000):
        edit(number)
        erp.bills.summary(COMMAND_LINE, code)
        print("edited", number, flush=True)
with platform.store.begin() as tx:
    if way == "committed":
        tx.after_commit(die)
    edit(777)
    if way == "uncommitted":
        die()
"""


class Site:
    """Some processes of one ERP on one database, with a Redis or without."""

    def __init__(self, home: Path, url: str, settings: Mapping[str, str]) -> None:
        self.home, self.url, self.settings = home, url, {**settings, **CHEAP}
        self.store = Store(url)
        self.children: list[servers.Child] = []
        self.served: list[Served] = []

    def serve(self, roles: str = "web") -> Served:
        """Start one more and sign the administrator in."""
        server = Served(self.home, self.url, "--roles", roles, **self.settings)
        self.served.append(server)
        return server.sign_in()

    def run(self, source: str, *arguments: str, **settings: str) -> servers.Child:
        env = {"NOUFAL_HOME": str(self.home), "DATABASE_URL": self.url, **self.settings, **settings}
        self.children.append(servers.Child(source, *arguments, env=env))
        return self.children[-1]

    def total(self) -> str:
        """Return what the bill really sums up to."""
        with self.store.read() as tx:
            halalas = int(tx.scalar(sa.text("select coalesce(sum(amount), 0) from noufal_boq_section")))
        return f"{halalas // 100}.{halalas % 100:02d}"

    def agree(self, *over: Served) -> None:
        """Wait until each shows the truth, and see that it stays so."""
        for server in over:
            until(lambda server=server: server.get(SUMMARY)["total_cost"] == self.total())  # type: ignore[misc]
        assert {server.get(SUMMARY)["total_cost"] for server in over} == {self.total()}

    def close(self) -> None:
        for server in self.served:
            server.child.close()
        for child in self.children:
            child.close()
        self.store.close()


GRID = [(kept, kind) for kept in ("memory", "redis") for kind in ("sqlite", "postgresql")]
LIKE, UNLIKE = (GRID[0], GRID[3]), (GRID[1], GRID[2])
"""Each database and each place of what is kept, in either pairing."""
WAYS = [*((cell, "committed") for cell in GRID), *((cell, "uncommitted") for cell in LIKE)]


def found(url: str) -> None:
    """Lay the tables, and write the administrator and a project with a bill."""
    with tempfile.TemporaryDirectory() as home, offices.office(Path(home), url) as office:
        office.platform.security.create_user(EMAIL, "المدير", "admin", PASSWORD)
        person = office.person(EMAIL)
        person.post("/api/projects", {"code": CODE, "name": "فيلا النرجس"})
        person.bring_in(CODE, bills.layout_b(bills.lines(12, 3)))


@pytest.fixture
def redis(request: pytest.FixtureRequest) -> servers.Redis:
    server: servers.Redis = request.getfixturevalue("redis_server")
    return server


@pytest.fixture(params=GRID, ids="-".join)
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Site]:
    kept, kind = request.param
    settings = {"USE_REDIS_CACHE": "false"}
    if kept == "redis":
        settings = {"USE_REDIS_CACHE": "true", "REDIS_URL": request.getfixturevalue("redis").url}
    with ExitStack() as stack:
        if kind == "sqlite":
            url = servers.sqlite_copy(tmp_path / "test.db", "erp-founded", found)
        else:
            server: servers.Postgres = request.getfixturevalue("durable_postgres")
            url = stack.enter_context(server.database(server.template("erp-founded", found)))
        made = Site(tmp_path / "home", url, settings)
        stack.callback(made.close)
        yield made


def founded(site: Site) -> Served:
    """Start the first process; there is a project with a bill."""
    first = site.serve()
    site.agree(first)
    return first


def edited(server: Served, number: int) -> None:
    line = server.get(f"{PATH}/boq/items?limit=1")["items"][0]
    answer = server.send("PATCH", f"{PATH}/boq/items/{line['id']}", {"version": line["version"], "quantity": str(number)})
    assert answer.status == 200, answer


def test_what_one_process_writes_the_others_show(site: Site, tmp_path: Path) -> None:
    one = founded(site)
    two = site.serve()
    site.agree(one, two)
    for number in range(100, 104):
        edited((one, two)[number % 2], number)
        assert (one, two)[number % 2].get(SUMMARY)["total_cost"] == site.total()
        site.agree(one, two)
    version = one.get(PATH)["version"]
    assert one.send("PATCH", PATH, {"version": version, "vat_rate": "5.00", "currency": "USD"}).status == 200
    until(lambda: [two.get(SUMMARY)[name] for name in ("vat_rate", "currency")] == ["5.00", "USD"])
    two.get("/api/users/me")
    assert one.send("PATCH", "/api/users/me", {"name": "نورة", "locale": "en"}).status == 200
    until(lambda: [two.get("/api/users/me")[name] for name in ("name", "locale")] == ["نورة", "en"])
    book = tmp_path / "مقايسة.xlsx"
    book.write_bytes(bills.layout_b(bills.lines(20, 4)))
    site.run(SOURCE, "import-boq", str(book), "--project", CODE).wait_for("written")
    site.agree(one, two)
    site.run(SOURCE, "serve", "--roles", "worker")
    form, kind = offices.multipart(bills.layout_b(bills.lines(15, 2)), "مقايسة.xlsx")
    answer = one.request("POST", f"{PATH}/boq/import?dry_run=false&background=true", form, {"content-type": kind})
    assert answer.status == 202, answer
    until(lambda: two.get(f"{PATH}/imports/{answer.json()['job_id']}")["state"] == "done")
    assert one.get(SUMMARY)["items_count"] in {15, 20}
    site.agree(one, two)
    assert one.get(SUMMARY)["items_count"] == 15


@pytest.mark.parametrize("site", LIKE, indirect=True, ids="-".join)
def test_who_is_taken_off_a_project_reads_nothing_more_anywhere(site: Site) -> None:
    one = founded(site)
    two = site.serve()
    said = site.run(SOURCE, "user", "create", "sara@example.com", "--name", "سارة").wait_for("own page")
    token = said.partition("#token=")[2].strip()
    answer = two.request("POST", "/api/auth/link", json.dumps({"token": token}).encode())
    assert answer.status == 200, answer
    cookie = {"cookie": answer.headers["set-cookie"].partition(";")[0]}
    sara = answer.json()["id"]

    def shown() -> list[Any]:
        answers = [server.request("GET", SUMMARY, headers=cookie) for server in (one, two)]
        return [answer.json()["total_cost"] if answer.status == 200 else answer.status for answer in answers]

    assert shown() == [404, 404]
    for role in ("qs", "viewer", "manager", None, "accountant", "site_engineer", None):
        if role is None:
            assert one.request("DELETE", f"{PATH}/members/{sara}").status == 204
        else:
            assert one.send("PUT", f"{PATH}/members", {"email": "sara@example.com", "role": role}).status == 200
        wanted = 404 if role is None else None if role in {"viewer", "site_engineer"} else site.total()
        assert shown()[0] == wanted  # its own process, at once
        until(lambda wanted=wanted: shown() == [wanted, wanted])  # type: ignore[misc]


@pytest.mark.parametrize(("site", "way"), WAYS, ids=str, indirect=["site"])
def test_kill_9_at_the_commit_leaves_nothing_old_behind(site: Site, way: str) -> None:
    one = founded(site)
    before = site.total()
    site.run(COMMAND, CODE, way).finish()
    assert "dying" in site.children[-1].lines
    assert (site.total() != before) == (way == "committed")
    site.agree(one)
    site.agree(one, site.serve())  # one that begins with nothing but what Redis has


@pytest.mark.parametrize("site", UNLIKE, indirect=True, ids="-".join)
def test_kill_9_of_who_was_alone_leaves_nothing_old_behind(site: Site) -> None:
    one = founded(site)
    one.child.kill9()
    site.run(COMMAND, CODE, "committed").finish()
    assert "dying" in site.children[-1].lines
    site.agree(site.serve())


@pytest.mark.parametrize("site", UNLIKE, indirect=True, ids="-".join)
def test_kill_9_at_any_moment_leaves_nothing_old_behind(site: Site) -> None:
    one = founded(site)
    pause, chance = threading.Event(), random.Random(7)  # noqa: S311 - moments, not secrets
    for _ in range(3):
        child = site.run(COMMAND, CODE, "endless")
        child.wait_for("edited 3")
        reader = threading.Thread(target=lambda: [one.get(SUMMARY) for _ in range(50)])
        reader.start()
        pause.wait(chance.random() / 5)
        child.kill9()
        reader.join()
        site.agree(one)
    site.agree(one, site.serve())


@pytest.mark.parametrize("site", GRID[2:], indirect=True, ids="-".join)
def test_what_changed_while_redis_was_away_is_not_old_when_it_is_back(site: Site, redis: servers.Redis) -> None:
    one = founded(site)
    two = site.serve()
    site.agree(one, two)
    redis.freeze()
    try:
        edited(one, 4711)
        site.agree(one, two)
    finally:
        redis.thaw()
    site.agree(one, two, site.serve())
    redis.kill()
    edited(two, 815)
    site.agree(one, two)
    redis.restart()
    site.agree(one, two, site.serve())
