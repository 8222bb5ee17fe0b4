"""The servers of the tests are real, separate, and never outlive the run."""

import os
import signal
import socket
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import create_engine, text

import servers

TESTS = Path(__file__).parents[2]
ARABIC = "فيلا سكنية"


def count_tables(url: str) -> int:
    engine = create_engine(url)
    query = "select count(*) from sqlite_master" if url.startswith("sqlite") else "select count(*) from pg_tables where schemaname = 'public'"
    with engine.connect() as connection:
        found = connection.execute(text(query)).scalar_one()
    engine.dispose()
    return int(found)


@pytest.mark.parametrize("time", [1, 2])
def test_each_test_gets_an_empty_database(database_url: str, time: int) -> None:
    assert count_tables(database_url) == 0
    engine = create_engine(database_url)
    with engine.begin() as connection:
        connection.execute(text("create table t (name text)"))
        connection.execute(text("insert into t values (:name)"), {"name": ARABIC})
        assert connection.execute(text("select name from t")).scalar_one() == ARABIC
    engine.dispose()
    assert count_tables(database_url) == 1


def test_a_database_is_cut_from_a_template_made_once(postgres: servers.Postgres) -> None:
    fills: list[str] = []

    def fill(url: str) -> None:
        fills.append(url)
        with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as connection:
            connection.execute("create table filled (id int)")

    name = postgres.template(f"tpl{uuid.uuid4().hex}", fill)
    assert postgres.template(name, fill) == name
    assert len(fills) == 1
    for _ in range(2):
        with postgres.database(name) as url:
            assert count_tables(url) == 1


@pytest.mark.parametrize(("durable", "fsync"), [(False, "off"), (True, "on")])
def test_only_the_durable_server_keeps_fsync(request: pytest.FixtureRequest, durable: bool, fsync: str) -> None:
    url = request.getfixturevalue("durable_postgres_url" if durable else "postgres_url")
    with psycopg.connect(url.replace("+psycopg", "")) as connection:
        assert connection.execute("show fsync").fetchone() == (fsync,)


@pytest.mark.parametrize("time", [1, 2])
def test_each_test_gets_an_empty_redis(redis_url: str, time: int) -> None:
    port = int(redis_url.rpartition(":")[2].partition("/")[0])
    assert servers.ask_redis(port, "DBSIZE") == ":0"
    assert servers.ask_redis(port, "LPUSH k v") == ":1"


def test_a_redis_of_ones_own_freezes_dies_and_comes_back(redis_server: servers.Redis) -> None:
    redis_server.freeze()
    with socket.create_connection(("127.0.0.1", redis_server.port), timeout=0.2) as connection:
        connection.sendall(b"PING\r\n")
        with pytest.raises(TimeoutError):
            connection.recv(1)
    redis_server.thaw()
    assert servers.ask_redis(redis_server.port, "PING") == "+PONG"
    redis_server.kill()
    with pytest.raises(ConnectionError):
        servers.ask_redis(redis_server.port, "PING")
    redis_server.restart()
    assert servers.ask_redis(redis_server.port, "PING") == "+PONG"


def test_kill9_ends_a_process_that_would_never_end(kill9: Callable[..., list[str]], tmp_path: Path) -> None:
    lines = kill9(
        "import sys, time\nprint('start', sys.argv[1])\nprint('ready')\ntry:\n    time.sleep(60)\nfinally:\n    open('left', 'w')",
        "ready",
        ARABIC,
        cwd=tmp_path,
    )
    assert lines == [f"start {ARABIC}", "ready"]
    assert not (tmp_path / "left").exists()


def test_a_process_without_the_awaited_line_fails_with_what_it_printed(python_process: Callable[..., servers.Child]) -> None:
    with pytest.raises(AssertionError, match="something else"):
        python_process("print('something else')").wait_for("ready")


@pytest.mark.parametrize("end", [signal.SIGKILL, None])
def test_servers_and_their_folder_go_with_the_run(end: signal.Signals | None) -> None:
    source = (
        "import servers, sys, os\n"
        "run = servers.Run()\n"
        "postgres = servers.postgres()\n"
        "redis = servers.start_redis()\n"
        "redis.freeze()\n"
        "pids = [p.read_text().strip() for p in run.folder.glob('*.pid')]\n"
        "print('ready', run.folder, *pids)\n"
        "sys.stdout.flush()\n"
        "import time; time.sleep(60) if sys.argv[1] == 'wait' else run.close()\n"
    )
    env = {name: value for name, value in os.environ.items() if name != servers.FOLDER_VARIABLE} | {"PYTHONPATH": str(TESTS)}
    with subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", source, "wait" if end else "close"], stdout=subprocess.PIPE, text=True, env=env
    ) as process:
        assert process.stdout is not None
        _, folder, *pids = process.stdout.readline().split()
        assert len(pids) == 2
        if end:
            process.send_signal(end)
        process.wait()
    assert gone(Path(folder), pids)


def gone(folder: Path, pids: list[str]) -> bool:
    pause = threading.Event()
    for _ in range(200):
        if not folder.exists() and not any(Path("/proc", pid).exists() for pid in pids):
            return True
        pause.wait(0.05)
    return False


def test_a_missing_program_is_a_skip_here_and_a_failure_in_ci(tmp_path: Path) -> None:
    (tmp_path / "test_needs.py").write_text("def test_needs(chromium): pass\n")
    (tmp_path / "conftest.py").write_text((TESTS / "conftest.py").read_text())
    env = {name: value for name, value in os.environ.items() if name not in {"CI", "CHROMIUM"}} | {"PYTHONPATH": str(TESTS), "PATH": ""}
    without = [part for name in ("cacheprovider", "schemathesis", "faker", "anyio", "xdist") for part in ("-p", f"no:{name}")]
    command = [sys.executable, "-m", "pytest", *without, "-rs", "--rootdir", str(tmp_path), str(tmp_path)]
    here = subprocess.run(command, env=env, capture_output=True, text=True, check=False, cwd=tmp_path)
    in_ci = subprocess.run(command, env=env | {"CI": "true"}, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert here.returncode == 0
    assert "1 skipped" in here.stdout
    assert "Chromium is not installed" in here.stdout
    assert in_ci.returncode == 1
    assert "CI must not skip" in in_ci.stdout


def test_a_process_given_up_takes_its_children_along(python_process: Callable[..., servers.Child]) -> None:
    child = python_process("import os, time; os.fork() and time.sleep(600); time.sleep(600)")
    assert child.finish(timeout_seconds=1.0) == []
    assert child.process.returncode == -signal.SIGKILL
