"""Jobs in processes of their own: what they say, what they return, how they die, and that none is left behind."""

import os
import signal
import sys
import threading
import traceback
import types
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

import heavy
import servers
from patience import until
from rakiza._kernel import Principal, RequestContext, time_left, use_context
from rakiza.jobs import Cancel, JobError, Jobs, Retry, RunningJob, Snooze
from rakiza.jobs._core import Claimed
from rakiza.jobs._definitions import Definition, Options
from rakiza.jobs._process import Processes
from rakiza.jobs.errors import JobCancelled, JobTimeout, ProcessDied

Process = Callable[..., servers.Child]
ON_ONE = pytest.mark.parametrize("jobs_url", ["sqlite"], indirect=True)
"""A job in a process of its own has nothing to do with the kind of the database."""
PATHS = {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}


@pytest.fixture(scope="module")
def processes() -> Iterator[Processes]:
    """Yield the children of all the tests here: each takes a second of the processor to start, and is as good as new for the next job."""
    made = Processes(2)
    yield made
    made.close()
    assert made._idle == []


def claimed(task: str, payload: object) -> Claimed:
    return heavy.claimed(task, payload, id=7, tenant="الشركة", queue="ثقيلة", attempt=2, tags='["وسم"]')


def start(processes: Processes, name: str, payload: object = None, running: RunningJob | None = None) -> object:
    job = claimed(name, payload or {})
    definition = Definition(name, getattr(heavy, name), Options(run_in="process"))
    found = processes.run(definition, job, running or RunningJob(job))
    return None if found is None else msgspec.json.decode(found)


def ended(pid: int) -> bool:
    """Tell whether a process runs no more; one that nobody has waited for yet has ended as well."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in {"Z", "X"}
    except OSError:
        return True


def test_arguments_and_results_keep_their_types_and_the_process_is_kept(processes: Processes) -> None:
    assert start(processes, "add", {"المشروع": "فيلا النرجس", "lengths": [1, 2, 3]}) == {"المشروع": "فيلا النرجس", "sum": 6}
    first, second = start(processes, "who"), start(processes, "who", {"أ": [1, None, "ب"]})
    assert isinstance(first, dict)
    assert isinstance(second, dict)
    assert first["pid"] == second["pid"] != os.getpid()
    assert second["job"] == [7, "who", "ثقيلة", 2, ["وسم"], "الشركة"]
    assert (second["given"], second["tenant"]) == ({"أ": [1, None, "ب"]}, None)
    assert start(processes, "stay", {"seconds": 0}) == first["pid"]


def test_the_request_of_the_job_is_at_hand_in_the_process(processes: Processes) -> None:
    context = RequestContext("r" * 32, "t" * 32, "s" * 16)
    context.tenant, context.principal = "فرع الرياض", Principal("u-1", "سارة", "", "", frozenset({"ops.read"}), "job")
    with use_context(context):
        found = start(processes, "who")
    assert isinstance(found, dict)
    assert (found["tenant"], found["user"]) == ("فرع الرياض", "سارة")


def test_what_a_handler_prints_disturbs_nothing_and_what_it_says_is_heard(processes: Processes, capfd: pytest.CaptureFixture[str]) -> None:
    processes.close()  # a child writes to where this process wrote when it started
    running = RunningJob(claimed("speak", {}))
    assert start(processes, "speak", running=running) is None
    said = running.said()
    assert said is not None
    assert said.progress == (100, "أنجزنا 100")
    assert said.lines == [("info" if percent < 100 else "warning", f"سطر {percent}") for percent in range(0, 101, 10)]
    printed = capfd.readouterr()
    assert "يُطبع على المخرج القياسي" in printed.out
    assert "forged" in printed.out
    assert "تحذير" in printed.err


def test_a_large_result_and_a_long_log_come_through(processes: Processes) -> None:
    assert start(processes, "large", {"size": 3_000_000}) == "ك" * 3_000_000
    running = RunningJob(claimed("chatter", {}))
    assert start(processes, "chatter", {"lines": 1000}, running) == 1000
    said = running.said()
    assert said is not None
    assert len(said.lines) == 200
    assert said.lines[-1] == ("warning", "the log of this job is full")


def test_a_thread_a_job_left_behind_is_not_taken_for_the_next_job(processes: Processes) -> None:
    haunted = start(processes, "haunt")
    running = RunningJob(claimed("stay", {}))
    assert start(processes, "stay", {"seconds": 0.1}, running) == haunted
    assert running.said() is None
    processes.close()  # and with it the thread


def test_what_a_handler_raises_is_raised_here_with_its_traceback(processes: Processes) -> None:
    start(processes, "stay", {"seconds": 0})
    before = set(processes._children)
    with pytest.raises(Exception, match="قيمة خاطئة  \\?") as raised:
        start(processes, "fail", {"how": "raise"})
    assert type(raised.value).__name__ == "ValueError"
    assert 'raise ValueError("قيمة خاطئة' in "".join(traceback.format_exception(raised.value))
    with pytest.raises(Exception, match="مشغول") as busy:
        start(processes, "fail", {"how": "busy"})
    assert getattr(busy.value, "retry_after_seconds", None) == 12.5
    with pytest.raises(Retry, match="لاحقا") as retry:
        start(processes, "fail", {"how": "retry"})
    assert retry.value.after == 7
    with pytest.raises(Snooze) as snooze:
        start(processes, "fail", {"how": "snooze"})
    assert snooze.value.after == 3
    with pytest.raises(Cancel, match="لا فائدة"):
        start(processes, "fail", {"how": "cancel"})
    for how, name in (("exit", "SystemExit"), ("unfit", "TypeError")):
        with pytest.raises(Exception) as other:  # noqa: PT011 - its name says which
            start(processes, "fail", {"how": how, "code": 4})
        assert type(other.value).__name__ == name
    assert processes._children == before, "an error of a handler needs no new process"


@pytest.mark.parametrize(("how", "code"), [("_exit", 3), ("crash", -signal.SIGSEGV), ("close", None)])
def test_a_process_that_dies_says_how_and_the_next_job_has_another(processes: Processes, how: str, code: int | None) -> None:
    start(processes, "stay", {"seconds": 0})
    before = set(processes._children)
    with pytest.raises(ProcessDied) as died:
        start(processes, "fail", {"how": how, "code": 3})
    assert died.value.code == code
    assert len(before - processes._children) == 1
    assert start(processes, "add", {"المشروع": "برج", "lengths": [4]}) == {"المشروع": "برج", "sum": 4}


def test_a_child_killed_from_outside_at_work_or_idle(processes: Processes, tmp_path: Path) -> None:
    file = tmp_path / "pids"
    thread, errors = in_thread(lambda: start(processes, "endless", {"file": str(file)}))
    until(lambda: file.exists() and " " in file.read_text())
    child, grandchild = map(int, file.read_text().split())
    os.kill(child, signal.SIGKILL)
    thread.join(30)
    assert isinstance(errors[0], ProcessDied)
    assert (errors[0].code, str(errors[0])) == (-9, "the process of the job was ended by signal 9 (Killed)")
    until(lambda: ended(grandchild))
    idle = start(processes, "stay", {"seconds": 0})
    assert isinstance(idle, int)
    os.kill(idle, signal.SIGKILL)
    until(lambda: ended(idle))
    assert start(processes, "stay", {"seconds": 0}) != idle


def in_thread(work: Callable[[], object]) -> tuple[threading.Thread, list[BaseException]]:
    errors: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - the test looks at it
            errors.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread, errors


@pytest.mark.parametrize(("how", "reason"), [("python", JobTimeout("it took longer than 1 s")), ("library", JobCancelled("ألغيت"))])
def test_an_endless_job_is_killed_with_what_it_started(processes: Processes, tmp_path: Path, how: str, reason: JobTimeout | JobCancelled) -> None:
    running, file = RunningJob(claimed("endless", {})), tmp_path / "pids"
    thread, errors = in_thread(lambda: start(processes, "endless", {"file": str(file), "how": how}, running))
    until(lambda: running._progress is not None)
    running.stop = reason
    thread.join(30)
    assert errors == [reason]
    for pid in map(int, file.read_text().split()):
        until(lambda pid=pid: ended(pid))  # type: ignore[misc]
    assert start(processes, "add", {"المشروع": "برج", "lengths": [4]}) == {"المشروع": "برج", "sum": 4}


def test_more_jobs_than_processes_wait_and_may_be_cancelled_while_they_do(processes: Processes) -> None:
    pids: set[object] = set()
    threads = [in_thread(lambda: pids.add(start(processes, "stay", {"seconds": 0.2})))[0] for _ in range(6)]
    for thread in threads:
        thread.join(60)
    assert 1 <= len(pids) <= 2
    for _ in range(2):
        processes._room.acquire()
    running = RunningJob(claimed("stay", {}))
    thread, errors = in_thread(lambda: start(processes, "stay", {"seconds": 0}, running))
    running.stop = JobCancelled()
    thread.join(30)
    assert errors == [running.stop]
    processes._room.release(2)


def test_closing_kills_idle_and_busy_ones_and_a_later_job_starts_anew(processes: Processes, tmp_path: Path) -> None:
    idle, file = start(processes, "stay", {"seconds": 0}), tmp_path / "pids"
    other = in_thread(lambda: start(processes, "stay", {"seconds": 600}))
    thread, errors = in_thread(lambda: start(processes, "endless", {"file": str(file)}))
    until(lambda: file.exists() and " " in file.read_text())
    pids = [int(str(idle)), *map(int, file.read_text().split())]
    processes.close()
    for waiting in (thread, other[0]):
        waiting.join(30)
        assert not waiting.is_alive()
    assert all(isinstance(error, ProcessDied) for error in errors + other[1])
    for pid in pids:
        until(lambda pid=pid: ended(pid))  # type: ignore[misc]
    assert start(processes, "stay", {"seconds": 0}) not in pids


def test_a_child_does_not_end_by_the_signals_meant_for_its_parent(processes: Processes) -> None:
    pid = start(processes, "stay", {"seconds": 0})
    assert isinstance(pid, int)
    for number in (signal.SIGTERM, signal.SIGINT):
        os.kill(pid, number)
    assert start(processes, "stay", {"seconds": 0}) == pid


def test_what_no_process_could_import_is_refused_at_once() -> None:
    def inner() -> None:
        """Do nothing."""

    main = types.FunctionType(inner.__code__, {"__name__": "__main__"}, "calculate")
    main.__qualname__ = "calculate"
    assert main.__module__ == "__main__"
    for function in (inner, main, lambda: None):
        with pytest.raises(JobError, match="must import its handler") as refused:
            Definition("حساب", function, Options(run_in="process"))
        assert "top level of a module" in str(refused.value.hint)
    with pytest.raises(JobError, match="must be a plain function"):
        Definition("حساب", heavy.coroutine, Options(run_in="process"))


PARENT = """
import os, sys, threading, time
import heavy
from rakiza.jobs._definitions import Definition, Options
from rakiza.jobs._process import Processes
from rakiza.jobs._running import RunningJob
processes = Processes(4)
ways = sys.argv[2].split()
def run(name, **payload):
    job = heavy.claimed(name, payload)
    return processes.run(Definition(name, getattr(heavy, name), Options(run_in="process")), job, RunningJob(job))
idle = int(bytes(run("stay", seconds=0)))
files = {how: f"{sys.argv[1]}/{how}" for how in ways}
for how, file in files.items():
    threading.Thread(target=run, args=("endless",), kwargs={"file": file, "how": how}, daemon=True).start()
while not all(os.path.exists(file) and " " in open(file).read() for file in files.values()):
    time.sleep(0.01)
time.sleep(0.3)
print("at work", idle)
"""
FORKS = """
pid = os.fork()
if pid == 0:
    assert processes._children == set()
    assert int(bytes(run("stay", seconds=0))) != idle
    print("forked", os.getpid(), flush=True)
    time.sleep(600)
"""


@pytest.mark.parametrize(("end", "ways"), [("kill", "python library"), ("terminate", "library"), ("fork", "python"), ("normal", "library")])
def test_no_child_outlives_its_parent(python_process: Process, tmp_path: Path, end: str, ways: str) -> None:
    after = {"fork": FORKS + "threading.Event().wait()", "normal": "sys.exit(0)"}.get(end, "threading.Event().wait()")
    parent = python_process(PARENT + after, str(tmp_path), ways, env=PATHS)
    pids = [int(parent.wait_for("at work").split()[-1])]
    pids += [int(pid) for how in ways.split() for pid in (tmp_path / how).read_text().split()]
    forked = int(parent.wait_for("forked").split()[-1]) if end == "fork" else 0
    try:
        if end == "terminate":
            parent.process.terminate()
        elif end != "normal":
            parent.process.kill()
        parent.process.wait(30)
        for pid in pids:
            until(lambda pid=pid: ended(pid))  # type: ignore[misc]
    finally:
        if forked:
            os.kill(forked, signal.SIGKILL)


@ON_ONE
def test_a_job_is_told_how_much_of_its_time_is_left_wherever_it_runs(live: Jobs) -> None:
    told: dict[str, float | None] = {}

    async def on_loop() -> None:
        told["loop"] = time_left()

    live.job("thread", timeout_seconds=50)(lambda: told.update(thread=time_left()))
    live.job("loop", timeout_seconds=40)(on_loop)
    live.job("process", run_in="process", timeout_seconds=30)(heavy.left)
    live.job("inline", timeout_seconds=20)(lambda: told.update(inline=time_left()))
    made = live.add_job("process")
    live.add_job("thread")
    live.add_job("loop")
    live.start()
    until(lambda: len(told) == 2 and live.get_job(made.id).state == "done")
    live.stop()
    told["process"] = live.get_job(made.id).result
    live.engine.inline = True
    live.add_job("inline")
    most = {"thread": 50, "loop": 40, "process": 30, "inline": 20}
    assert [(name, told[name]) for name, seconds in most.items() if not 0 < (told[name] or 0.0) <= seconds] == []


@ON_ONE
def test_the_queue_runs_such_jobs_and_ends_them_in_time(live: Jobs) -> None:
    live.job("heavy:add", run_in="process")(heavy.add)
    live.job("heavy:fail", run_in="process", max_attempts=1)(heavy.fail)
    live.job("heavy:stay", run_in="process", max_attempts=1, timeout_seconds=1)(heavy.stay)
    made = live.add_job("heavy:add", {"المشروع": "فيلا النرجس", "lengths": [20, 22]})
    dead = live.add_job("heavy:fail", {"how": "_exit", "code": 3})
    late = live.add_job("heavy:stay", {"seconds": 600})
    live.start()
    until(lambda: all(live.get_job(one.id).state in {"done", "failed"} for one in (made, dead, late)))
    assert live.get_job(made.id).result == {"المشروع": "فيلا النرجس", "sum": 42}
    assert (live.get_job(dead.id).state, live.get_job(late.id).state) == ("failed", "failed")
