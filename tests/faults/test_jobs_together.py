"""Several processes on one queue: limits hold at every moment, every job is done once, and a fork works under a name of its own."""

from collections.abc import Callable, Iterable

import servers
from events_faults import PATHS
from jobs_faults import Journal, Line, Workers, all_done, states, until
from rakiza.jobs import Jobs

Process = Callable[..., servers.Child]
KEYED, NARROW, KEYS, KEY_LIMIT, MAX_RUNNING = 200, 200, 8, 2, 3
FORK = """
import os, sys, threading
from pathlib import Path
from jobs_faults import all_done, build, put, states, until, workers_of
jobs = build(sys.argv[1], Path(sys.argv[2]))
parent = jobs.start(concurrency=2)
put(jobs, 40, seconds=0.02)
until(lambda: sum(state == "done" for state in states(jobs).values()) >= 5)
asked, told = os.pipe()
child = os.fork()
if child == 0:
    assert jobs.workers == [] and not jobs.tally.dirty and not any(jobs.tally.totals.values())
    parent.stop(0.0)  # it is the parent's
    own = jobs.start(concurrency=2)
    assert own.id != parent.id
    put(jobs, 40, seconds=0.02)
    until(lambda: jobs.tally.totals["done"] >= 10)
    until(lambda: all_done(jobs))
    until(lambda: not jobs.tally.dirty)
    assert set(workers_of(jobs)) == {os.getpid(), os.getppid()}
    jobs.close()
    jobs.store.close()
    os._exit(0)
code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
until(lambda: all_done(jobs))
assert parent.alive and workers_of(jobs) == {os.getpid(): parent.id}
put(jobs, 5)
until(lambda: all_done(jobs))
jobs.close()
with jobs.store.read() as tx:
    counted = tx.driver_connection.execute("select sum(done) from rakiza_jobs_tally").fetchone()[0]
print("child", code, "jobs", len(states(jobs)), "counted", counted, "left", len(workers_of(jobs)))
"""


def most_at_once(lines: Iterable[Line]) -> int:
    """Return how many of the intervals between starts and ends there are at most at one moment."""
    now = most = 0
    for line in sorted(lines, key=lambda line: (line.at, line.word == "start")):
        now += 1 if line.word == "start" else -1
        most = max(most, now)
    return most


def test_limits_hold_at_every_moment_over_two_processes_and_every_job_is_done_once(jobs: Jobs, workers: Workers, journal: Journal) -> None:
    keyed = [{"task": "keyed", "payload": {"key": f"برج-{n % KEYS}", "seconds": 0.001}} for n in range(KEYED)]
    narrow = [{"task": "note", "queue": "ضيق", "payload": {"key": "ضيق", "seconds": 0.001}} for _ in range(NARROW)]
    made = jobs.add_jobs(each for pair in zip(keyed, narrow, strict=True) for each in pair)
    jobs.scale("ضيق", max_running=MAX_RUNNING)
    for _ in range(2):
        workers.start(concurrency=12)
    until(lambda: all_done(jobs), "jobs are left")
    lines = journal.lines()
    assert sorted(journal.jobs("end")) == sorted(journal.jobs("start")) == [one.id for one in made]
    assert len({line.pid for line in lines}) == 2
    of_key = {key: most_at_once(line for line in lines if line.key == key) for key in {line.key for line in lines}}
    assert {key: most for key, most in of_key.items() if most > (MAX_RUNNING if key == "ضيق" else KEY_LIMIT)} == {}
    assert most_at_once(lines) > KEY_LIMIT


def test_a_fork_works_under_a_name_of_its_own_and_counts_for_itself(jobs_url: str, jobs: Jobs, journal: Journal, python_process: Process) -> None:
    lines = python_process(FORK, jobs_url, str(journal.path), env=PATHS).finish(timeout_seconds=90)
    assert lines[-1:] == ["child 0 jobs 85 counted 85 left 0"], "\n".join(lines)
    assert sorted(journal.jobs("end")) == sorted(states(jobs))
    assert len({line.pid for line in journal.lines("end")}) == 2
