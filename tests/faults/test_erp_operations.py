"""What an operator gets wrong or runs out of: one clear line at the start, a 503 with a reason while running."""

import functools
import http.client
import socket
import subprocess
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path

import pytest

import bills
import offices
import servers
from served import EMAIL, PASSWORD, Ran, Served, command


def one_clear_line(done: Ran, *said: str) -> None:
    assert done.returncode not in {0, None}
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    assert len(lines) == 1, done.stderr
    for word in said:
        assert word in lines[0], lines[0]
    assert "sign-in#token" not in done.stdout


@functools.cache
def big_book() -> bytes:
    lines = [bills.Line("قسم", f"ب-{n:05d}", f"بند رقم {n} حسب المواصفات والمخططات المعتمدة", "م²", Decimal(2), Decimal(9)) for n in range(9_000)]
    return bills.layout_c(lines)


# -- the start


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"NOUFAL_MAX_IMPORT_BYTES": "many"}, ("NOUFAL_MAX_IMPORT_BYTES", "many")),
        ({"NOUFAL_MAX_IMPORT_BYTES": "7"}, ("NOUFAL_MAX_IMPORT_BYTES", "1024")),
        ({"RAKIZA_WEB_RATE_LIMIT_PER_MINUTE": "-5"}, ("RAKIZA_WEB_RATE_LIMIT_PER_MINUTE",)),
        ({"RAKIZA_STORE_POOL_SIZES": "5"}, ("RAKIZA_STORE_POOL_SIZES", "RAKIZA_STORE_POOL_SIZE")),
        ({"DATABASE_URL": "mysql://root@localhost/erp"}, ("mysql",)),
        ({"DATABASE_URL": "postgresql://nobody@127.0.0.1:1/erp"}, ("127.0.0.1:1",)),
        ({"OPS_API_KEY": "short"}, ("OPS_API_KEY",)),
        ({"NOUFAL_ADMIN_EMAIL": "not an address", "NOUFAL_ADMIN_PASSWORD": PASSWORD}, ("NOUFAL_ADMIN_EMAIL", "not an address")),
        ({"NOUFAL_ADMIN_EMAIL": EMAIL, "NOUFAL_ADMIN_PASSWORD": "12345678"}, ("NOUFAL_ADMIN_PASSWORD", "15")),
    ],
)
def test_a_wrong_setting_stops_the_start_and_is_named(tmp_path: Path, settings: dict[str, str], said: tuple[str, ...]) -> None:
    done = command(tmp_path / "home", "serve", "--port", "0", **settings)
    one_clear_line(done, *said)
    assert PASSWORD not in done.stderr
    assert "12345678" not in done.stderr


@pytest.mark.parametrize("server", ["uvicorn", "granian"])
def test_a_taken_port_is_told(tmp_path: Path, server: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        one_clear_line(command(tmp_path / "home", "serve", "--port", str(port), "--server", server), str(port), "--port")


def test_unknown_choices_are_told(tmp_path: Path) -> None:
    one_clear_line(command(tmp_path / "home", "serve", "--server", "gunicorn"), "uvicorn", "granian")
    one_clear_line(command(tmp_path / "home", "serve", "--roles", "web,chef"), "chef")


AS_NOBODY = """
import os, sys
import noufal.cli
from noufal.app import create_platform
warm = create_platform({"noufal": {"home": sys.argv.pop(1)}}, environ={})  # what is imported late, while it can be read
warm.start(); warm.shutdown()
if os.geteuid() == 0:
    os.setgroups([]); os.setgid(65534); os.setuid(65534)
noufal.cli.main()
"""


@pytest.mark.parametrize("locked", ["file", "folder"])
def test_a_place_that_cannot_be_written_stops_the_start_with_one_line(tmp_path: Path, locked: str) -> None:
    home = servers.new_folder("locked")
    url = f"sqlite:///{home}/noufal.db"
    if locked == "file":
        assert command(home, "db", "upgrade", DATABASE_URL=url).returncode == 0
        (home / "noufal.db").chmod(0o444)
    home.chmod(0o555)
    logs = servers.new_folder("logs")
    logs.chmod(0o777)
    arguments = (str(tmp_path / "warm"), "serve", "--port", "0")
    one_clear_line(command(home, *arguments, source=AS_NOBODY, DATABASE_URL=url, LOG_DIR=str(logs)), str(home), "writable")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    mounted: list[Path] = []

    def mount(size: str) -> Path:
        disk = tmp_path / f"disk-{size}"
        disk.mkdir()
        if subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(disk)], check=False, capture_output=True).returncode:
            pytest.skip("this machine does not let a test mount a small disk")
        mounted.append(disk)
        return disk

    yield mount
    for disk in mounted:
        subprocess.run(["umount", "-l", str(disk)], check=True)


def test_a_full_disk_stops_the_start_with_one_line(small_disk: Callable[[str], Path], tmp_path: Path) -> None:
    disk = small_disk("64k")
    (disk / "full").write_bytes(b"x" * 60_000)
    done = command(tmp_path / "home", "serve", "--port", "0", DATABASE_URL=f"sqlite:///{disk}/noufal.db")
    one_clear_line(done, str(disk))


def test_a_disk_that_fills_up_is_a_503_and_nothing_is_lost(small_disk: Callable[[str], Path], tmp_path: Path) -> None:
    disk = small_disk("3m")
    with Served(tmp_path / "home", f"sqlite:///{disk}/noufal.db") as server:
        server.sign_in().send("POST", "/api/projects", {"code": "P", "name": "مشروع"})
        assert server.upload("P", bills.layout_b(bills.lines(20, 2))).status == 200
        before = server.get("/api/projects/P/boq/summary")
        refused = server.upload("P", big_book())
        problem = refused.json()
        assert (refused.status, problem["code"]) == (503, "store_disk_full"), refused
        assert problem["message_ar"]
        assert str(disk) in problem["hint"]
        assert server.get("/api/projects/P/boq/summary") == before
        assert server.request("GET", "/livez").status == 200
    subprocess.run(["mount", "-o", "remount,size=64m", str(disk)], check=True)
    with Served(tmp_path / "home", f"sqlite:///{disk}/noufal.db") as server:
        assert server.sign_in().get("/api/projects/P/boq/summary") == before
        assert server.upload("P", big_book()).status == 200


def test_a_database_that_cannot_be_written_is_a_503_while_reading_goes_on(tmp_path: Path, erp_file: str) -> None:
    with offices.office(tmp_path / "home", erp_file) as office:
        person = office.person()
        person.post("/api/projects", {"code": "P", "name": "مشروع"})
        person.bring_in("P", bills.layout_b(bills.lines(20, 2)))
        items = person.items("P")
        with office.platform.store.begin() as tx:
            driver = tx.driver_connection
            driver.execute("pragma query_only = on")
        try:
            for answer in (
                person.upload("P", bills.layout_b(bills.lines(21, 2))),
                person.send("PATCH", f"/api/projects/P/boq/items/{items[0]['id']}", {"version": 1, "progress": "5"}),
                person.send("POST", "/api/projects", {"code": "Q", "name": "ق"}),
            ):
                problem = answer.json()
                assert (answer.status, problem["code"]) == (503, "store_read_only"), answer
                assert problem["message_ar"]
                assert problem["hint"]
            assert person.items("P") == items
        finally:
            driver.execute("pragma query_only = off")
        assert person.send("POST", "/api/projects", {"code": "Q", "name": "ق"}).status == 201


# -- the first start


@pytest.mark.parametrize(("database_url", "server"), [("sqlite", "uvicorn"), ("postgresql", "granian")], indirect=["database_url"])
def test_the_first_start_prints_one_link_that_works_once(tmp_path: Path, database_url: str, server: str) -> None:
    home = tmp_path / "home"
    blank = {"NOUFAL_ADMIN_EMAIL": "", "NOUFAL_ADMIN_PASSWORD": ""}
    with Served(home, database_url, "--demo", "--server", server, **blank) as served:
        line = served.child.wait_for("/sign-in#token=")
        assert line.count("token=") == 1
        assert f"127.0.0.1:{served.port}/" in line
        token = line.rpartition("token=")[2].strip()
        wait_until_up(served)
        answer = served.send("POST", "/api/auth/link", {"token": token})
        assert answer.status == 200, answer
        served.cookie = answer.headers["set-cookie"].partition(";")[0]
        assert served.get("/api/projects")["total"] == 2
        assert served.send("POST", "/api/auth/link", {"token": token}).status == 401
        assert served.send("POST", "/api/users/me/password", {"new": PASSWORD}).status == 204
        served.child.process.terminate()
        printed = "\n".join(served.child.finish())
    assert "Traceback" not in printed
    with Served(home, database_url, "--demo", "--server", server, **blank) as served:
        wait_until_up(served)
        answer = served.send("POST", "/api/auth/login", {"email": "admin@noufal.example", "password": PASSWORD})
        served.cookie = answer.headers["set-cookie"].partition(";")[0]
        assert served.get("/api/projects")["total"] == 2
        served.child.process.terminate()
        assert "token=" not in "\n".join(served.child.finish())  # an administrator has a password now


def wait_until_up(served: Served) -> None:
    """Wait for the worker of granian, which starts after its parent has printed."""
    from rakiza._kernel.clock import SYSTEM_CLOCK

    give_up = SYSTEM_CLOCK.monotonic() + 30
    while True:
        try:
            served.request("GET", "/livez")
            return
        except (OSError, http.client.HTTPException):
            assert SYSTEM_CLOCK.monotonic() < give_up, served.child.lines


def test_the_settings_make_the_first_administrator(tmp_path: Path, erp_url: str) -> None:
    with Served(tmp_path / "home", erp_url) as served:
        served.sign_in()
        me = served.get("/api/users/me")
        assert (me["email"], me["role"]) == (EMAIL, "admin")
        assert "projects.create" in me["permissions"]
        served.child.process.terminate()
        assert "token=" not in "\n".join(served.child.finish())


def test_a_user_made_by_command_becomes_a_member(tmp_path: Path, erp_url: str) -> None:
    with Served(tmp_path / "home", erp_url) as served:
        served.sign_in().send("POST", "/api/projects", {"code": "P", "name": "مشروع"})
        done = command(tmp_path / "home", "user", "create", "qs@example.com", "--name", "سعاد", DATABASE_URL=erp_url)
        assert done.returncode == 0, done.stderr
        token = done.stdout.rpartition("token=")[2].strip()
        answer = served.request("PUT", "/api/projects/P/members", b'{"email":"qs@example.com","role":"qs"}')
        assert (answer.status, answer.json()["name"]) == (200, "سعاد")
        signed = served.send("POST", "/api/auth/link", {"token": token})
        served.cookie = signed.headers["set-cookie"].partition(";")[0]
        assert served.get("/api/projects/P")["role"] == "qs"
