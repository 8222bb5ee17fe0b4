"""`rakiza worker` and `noufal worker`: real processes, real signals; nothing is cut off, nothing is done twice."""

import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

import bills
import offices
from rakiza.jobs import Jobs
from rakiza.store import Store, migrate
from served import SOURCE as NOUFAL
from served import Served
from servers import Child

WORKERS = sa.select(sa.table("rakiza_jobs_worker", sa.column("id"), sa.column("stopping")))
PROGRAM = "import sys; sys.argv[0] = 'rakiza'; from rakiza.cli import main; main()"
HANDLERS = """
import time
from pathlib import Path
from rakiza.jobs import RunningJob, job

@job("ورشة:صب", queue="ورشة")
def pour(line: str, seconds: float, job: RunningJob) -> str:
    with Path("begun.txt").open("a", encoding="utf-8") as file:
        file.write(f"{line}\\n")
    time.sleep(seconds)
    with Path("ended.txt").open("a", encoding="utf-8") as file:
        file.write(f"{line}\\n")
    return line
"""
Start = Callable[..., Child]


@pytest.fixture
def jobs(database_url: str, tmp_path: Path) -> Iterator[Jobs]:
    """Yield the queue of the workers' database, seen from here."""
    store = Store(database_url)
    migrate(store, [Jobs.migrations])
    one = Jobs(store)
    (tmp_path / "site_jobs.py").write_text(HANDLERS, encoding="utf-8")
    yield one
    one.close()
    store.close()


@pytest.fixture
def start(python_process: Callable[..., Child], database_url: str, tmp_path: Path) -> Start:
    def run(*arguments: str) -> Child:
        beat = {"RAKIZA_JOBS_LEASE_SECONDS": "3", "RAKIZA_STORE_BUSY_TIMEOUT_SECONDS": "2"}
        env = {"DATABASE_URL": database_url, "RAKIZA_HUB_HOME": str(tmp_path / "var"), **beat}
        child = python_process(PROGRAM, "worker", *arguments, env=env, cwd=tmp_path)
        child.wait_for("works on the jobs of")
        return child

    return run


def lines(file: Path) -> Counter[str]:
    return Counter(file.read_text(encoding="utf-8").splitlines()) if file.exists() else Counter()


def wait(condition: Callable[[], bool]) -> None:
    """Wait until something is so; a test that waits in vain fails after half a minute."""
    pause = threading.Event()
    for _ in range(600):
        if condition():
            return
        pause.wait(0.05)
    raise AssertionError("it did not come to that")


def states(jobs: Jobs) -> dict[str, int]:
    return {state: number for state, number in jobs.get_stats().get("ورشة", {}).items() if number}


def test_sigterm_cuts_nothing_off_and_the_next_worker_does_the_rest_once(jobs: Jobs, start: Start, tmp_path: Path) -> None:
    jobs.add_jobs({"task": "ورشة:صب", "payload": {"line": f"عمود {n}", "seconds": 0.3}, "queue": "ورشة"} for n in range(20))
    first = start("--import", "site_jobs", "--concurrency", "6", "--queues", "ورشة")
    wait(lambda: sum(lines(tmp_path / "begun.txt").values()) >= 6)
    first.process.send_signal(signal.SIGTERM)
    printed = first.finish()
    assert first.process.returncode == 0
    begun, ended = lines(tmp_path / "begun.txt"), lines(tmp_path / "ended.txt")
    assert begun == ended
    assert 6 <= sum(begun.values()) < 20
    assert states(jobs) == {"done": len(ended), "ready": 20 - len(ended)}
    assert printed[-1] == f"rakiza has stopped after {len(ended)} attempts at jobs"
    second = start("--import", "site_jobs")
    wait(lambda: states(jobs) == {"done": 20})
    second.process.send_signal(signal.SIGINT)
    second.finish()
    assert second.process.returncode == 0
    assert lines(tmp_path / "ended.txt") == lines(tmp_path / "begun.txt") == Counter(f"عمود {n}" for n in range(20))


def test_a_second_signal_gives_the_jobs_back_at_once(jobs: Jobs, start: Start, tmp_path: Path) -> None:
    number = jobs.add_job("ورشة:صب", {"line": "سقف", "seconds": 600}, queue="ورشة").id
    child = start("--import", "site_jobs")
    wait(lambda: lines(tmp_path / "begun.txt").total() == 1)
    child.process.send_signal(signal.SIGTERM)
    wait(lambda: any(stopping for *_, stopping in rows(jobs)))
    assert jobs.get_job(number).state == "running"
    child.process.send_signal(signal.SIGTERM)
    child.finish()
    assert child.process.returncode == 0
    job = jobs.get_job(number)
    assert (job.state, job.attempt, lines(tmp_path / "ended.txt").total()) == ("ready", 0, 0)


def rows(jobs: Jobs) -> list[tuple[object, ...]]:
    with jobs.store.read() as tx:
        return [tuple(row) for row in tx.rows(jobs.store.compile(WORKERS))]


def test_a_module_that_is_not_there_is_one_line(python_process: Callable[..., Child], tmp_path: Path) -> None:
    child = python_process(PROGRAM, "worker", "--import", "لا_شيء", env={"RAKIZA_HUB_HOME": str(tmp_path)}, cwd=tmp_path)
    printed = child.finish()
    assert child.process.returncode == 2
    assert printed == ["error: cannot import 'لا_شيء': No module named 'لا_شيء'"]


def test_roles_divide_the_work(python_process: Callable[..., Child], tmp_path: Path, sqlite_url: str) -> None:
    """The web process takes no job, nor does a command that only looks; the worker process does."""
    home, env = tmp_path / "home", {"DATABASE_URL": sqlite_url, "NOUFAL_HOME": str(tmp_path / "home")}
    with Served(home, sqlite_url, "--roles", "web") as server:
        server.sign_in().send("POST", "/api/projects", {"code": "P", "name": "مشروع"})
        form, kind = offices.multipart(bills.layout_b(bills.lines(30)), "مقايسة.xlsx")
        answer = server.request("POST", "/api/projects/P/boq/import?dry_run=false&background=true", form, {"content-type": kind})
        path = f"/api/projects/P/imports/{answer.json()['job_id']}"
        looked = python_process(NOUFAL, "user", "list", env=env, cwd=tmp_path)
        assert any("admin@example.com" in line for line in looked.finish())
        assert server.get(path)["state"] == "ready"
        worker = python_process(NOUFAL, "serve", "--roles", "worker", env=env, cwd=tmp_path)
        worker.wait_for("noufal works on the jobs of every queue")
        wait(lambda: bool(server.get(path)["state"] == "done"))
        assert server.get(path)["report"]["written"] is True
        worker.process.send_signal(signal.SIGTERM)
        assert "noufal has stopped" in worker.finish()[-1]


def test_a_role_there_is_not_is_one_line(python_process: Callable[..., Child], tmp_path: Path) -> None:
    child = python_process(NOUFAL, "serve", "--roles", "web,cook", env={"NOUFAL_HOME": str(tmp_path)}, cwd=tmp_path)
    printed = child.finish()
    assert (child.process.returncode, printed) == (2, ["error: --roles 'web,cook': choose among web, worker"])


UNHEARD = """
import queue, signal, threading
from rakiza.serve import _wait
asked = queue.SimpleQueue()
signal.signal(signal.SIGTERM, lambda number, frame: asked.put(number))
threading.Thread(target=threading.Event().wait, daemon=True).start()
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})  # so that the other thread gets it and nothing interrupts the wait
print("waits", flush=True)
_wait(asked)
print("heard")
"""


def test_a_signal_that_does_not_interrupt_the_wait_is_heard_all_the_same(python_process: Callable[..., Child]) -> None:
    child = python_process(UNHEARD)
    child.wait_for("waits")
    child.process.send_signal(signal.SIGTERM)
    assert child.finish()[-1] == "heard"
