"""The commands for the queue, as an operator types them."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest
import typer
from click.testing import CliRunner

import laid
from job_rows import begin, failure, insert, later, row
from rakiza import Platform, build
from rakiza.cli import command_line
from rakiza.errors import AppError

if TYPE_CHECKING:
    import click

Run = Callable[..., str]
Audited = Callable[[], list[tuple[str, str]]]


class Desk:
    """One platform and its command line, for all the tests here, one after the other."""

    def __init__(self, url: str, home: Path) -> None:
        settings: dict[str, dict[str, object]] = {"hub": {"home": str(home)}, "logs": {"console": False}, "jobs": {"work": False}}
        self.platform = build({**settings, "store": {"database_url": url}})
        self.command = cast("click.Command", typer.main.get_command(command_line("rakiza", "", lambda: self.platform)))
        self.before = 0

    def begin(self) -> None:
        """Take every job away; what was audited up to here is no affair of the test."""
        self.platform.start()
        self.before = begin(self.platform)


@pytest.fixture(scope="module", params=["sqlite"])  # what the commands call has tests of its own on both
def shared_desk(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    folder = tmp_path_factory.mktemp("desk")
    with laid.database(request, folder) as url:
        found = Desk(url, folder / "home")
        yield found
        found.platform.shutdown()


@pytest.fixture
def desk(shared_desk: Desk) -> Desk:
    shared_desk.begin()
    return shared_desk


@pytest.fixture
def platform(desk: Desk) -> Platform:
    return desk.platform


@pytest.fixture
def run(desk: Desk) -> Run:
    """Return a function that types a command and returns what it wrote; an error of ours is raised."""

    def typed(*words: str, code: int = 0) -> str:
        done = CliRunner().invoke(desk.command, list(words))
        desk.platform.start()  # each command stops what it started
        if isinstance(done.exception, AppError):
            raise done.exception
        assert done.exit_code == code, done.output
        return done.output

    return typed


@pytest.fixture
def audited(desk: Desk) -> Audited:
    """Return a function that tells what the test had audited."""

    def read() -> list[tuple[str, str]]:
        trail = desk.platform.events.trail
        assert trail is not None
        return [(one.action, one.resource) for page in trail.pages() for one in page if one.position > desk.before]

    return read


def test_jobs_are_listed(platform: Platform, run: Run) -> None:
    failed, delayed = insert(
        platform.store, [row("failed", errors=[failure()], queue="رسائل", attempt=10), row("delayed", payload={"token": "abcdefgh123"})]
    )
    assert run("jobs", "list", "--queue", "رسائل") == f"{failed}\tfailed\tرسائل\temail:send\t10/10\t2026-01-01T12:00:00+00:00\tتعذر الإرسال\n"
    assert run("jobs", "list", "--state", "delayed").startswith(f"{delayed}\tdelayed\tdefault")
    assert "abcdefgh" not in run("jobs", "list")
    assert run("jobs", "list", "--q", "abcdefgh") == ""
    assert [one["id"] for one in json.loads(run("jobs", "list", "--task", "email:send", "--json"))["jobs"]] == [delayed, failed]
    assert run("jobs", "list", "--limit", "1").splitlines()[-1] == "there may be more (1 shown): narrow the search or raise --limit"
    with pytest.raises(AppError, match="state"):
        run("jobs", "list", "--state", "late")


def test_a_failed_job_and_all_that_failed(platform: Platform, run: Run, audited: Audited) -> None:
    made = insert(platform.store, [row("failed", queue="رسائل" if n % 2 else "default", finished_at=later(n)) for n in range(6)])
    assert run("jobs", "retry", str(made[0])) == f"job {made[0]}: it runs again\n"
    assert run("jobs", "retry", "--all-failed", "--queue", "رسائل") == "3 of 3 failed jobs run again\n"
    assert run("jobs", "cancel", "--all-failed") == "2 of 2 failed jobs are given up\n"
    assert run("jobs", "cancel", str(made[1])) == f"job {made[1]}: cancelled, or asked to end\n"
    states = {one["id"]: one["state"] for one in json.loads(run("jobs", "list", "--json"))["jobs"]}
    assert [states[one] for one in made] == ["ready", "cancelled", "cancelled", "ready", "cancelled", "ready"]
    assert audited() == [("RETRY", f"job:{made[0]}"), ("RETRY", "jobs"), ("DISCARD", "jobs"), ("CANCEL", f"job:{made[1]}")]
    for words in (("jobs", "retry"), ("jobs", "retry", str(made[0]), "--all-failed"), ("jobs", "cancel", str(made[1])), ("jobs", "retry", "999")):
        with pytest.raises(AppError):
            run(*words)


def test_a_failed_job_is_given_up(platform: Platform, run: Run, audited: Audited) -> None:
    made = insert(platform.store, [row("failed", queue="رسائل" if n else "default", finished_at=later(n)) for n in range(3)])
    assert run("jobs", "discard", str(made[0])) == f"job {made[0]}: given up\n"
    assert run("jobs", "discard", "--all-failed", "--queue", "رسائل") == "2 of 2 failed jobs are given up\n"
    assert [one["state"] for one in json.loads(run("jobs", "list", "--json"))["jobs"]] == ["cancelled"] * 3
    assert audited() == [("DISCARD", f"job:{made[0]}"), ("DISCARD", "jobs")]
    for words in (("jobs", "discard"), ("jobs", "discard", str(made[0])), ("jobs", "discard", "999")):
        with pytest.raises(AppError):
            run(*words)


def test_a_queue_is_paused_and_shown(platform: Platform, run: Run, audited: Audited) -> None:
    platform.jobs.add_job("تقرير", {"شهر": 11}, queue="رسائل")
    assert run("jobs", "pause", "رسائل") == "رسائل is paused\n"
    shown = run("jobs", "stats").splitlines()
    assert shown[0].split() == ["queue", "ready", "delayed", "waiting", "running", "retry", "failed", "done", "cancelled"]
    assert shown[1].split() == ["رسائل", "(paused)", "1", *["0"] * 7]
    assert run("jobs", "resume", "رسائل") == "رسائل goes on\n"
    assert json.loads(run("jobs", "stats", "--json"))["totals"]["ready"] == 1
    with pytest.raises(AppError, match="no queue"):
        run("jobs", "pause", "none")
    assert audited() == [("PAUSE", "queue:رسائل"), ("RESUME", "queue:رسائل")]


def test_schedules_are_listed_run_and_paused(platform: Platform, run: Run, audited: Audited) -> None:
    platform.jobs.schedule("nightly", task="تقرير", payload={"شهر": 11}, cron="0 2 * * *", timezone="Asia/Riyadh")
    name, fires, task, words, _ = run("schedules", "list").splitlines()[0].split("\t")
    assert (name, fires[10:], task, words) == ("nightly", "T02:00:00+03:00", "تقرير", "Every day at 02:00 (Asia/Riyadh)")
    assert run("schedules", "run", "nightly").startswith("nightly: job ")
    assert json.loads(run("jobs", "list", "--json"))["total"] == 1
    assert run("schedules", "pause", "nightly") == "nightly is paused\n"
    assert run("schedules", "list").splitlines()[0].split("\t")[1] == "paused"
    assert run("schedules", "resume", "nightly") == "nightly fires again\n"
    assert json.loads(run("schedules", "list", "--json"))[0]["enabled"]
    with pytest.raises(AppError):
        run("schedules", "pause", "none")
    assert audited() == [(one, "schedule:nightly") for one in ("RUN", "PAUSE", "RESUME")]
