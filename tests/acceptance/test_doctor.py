"""The command `doctor`: each thing that would hurt in production is made true and must be told, with the way to mend it."""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa
from typer.testing import CliRunner

from job_rows import insert, row
from rakiza import Platform, build
from rakiza._kernel import Finding, Part
from rakiza.cli import command_line
from rakiza.store import StoreUnavailableError, migrate
from rakiza.testing import FrozenClock

KEY = "an-operators-key-of-enough-length"
Doctor = Callable[..., dict[str, Finding]]


def built(home: Path, url: str = "", **rooms: dict[str, object]) -> Platform:
    given: dict[str, dict[str, object]] = {"hub": {"home": str(home), "name": "نوفل"}, "logs": {"console": False}, "store": {"database_url": url}}
    return build(given | rooms, environ={})


@pytest.fixture
def examined(tmp_path: Path) -> Iterator[Doctor]:
    """Return a function that builds a platform on a database with its tables and examines it."""
    made: list[Platform] = []

    def examine(url: str = "", *, deep: bool = False, **rooms: dict[str, object]) -> dict[str, Finding]:
        made.append(built(tmp_path / "home", url, **rooms))
        migrate(made[-1].store, made[-1].migrations())
        return {one.name: one for one in made[-1].examine(deep=deep)}

    yield examine
    for platform in made:
        platform.store.close()
        platform.ctx.local.close()


def test_what_fails_says_how_to_mend_it(examined: Doctor, rooms_url: str) -> None:
    found = examined(rooms_url)
    assert len(found) >= 20
    assert [one for one in found.values() if one.status == "fail" and not one.mend] == []
    assert found["migrations"].status == "ok"


def test_nobody_can_sign_in(examined: Doctor) -> None:
    assert examined()["operators"].status == "fail"
    assert examined(security={"ops_api_key": KEY})["operators"].status == "ok"


def test_the_mode_of_development(examined: Doctor) -> None:
    assert examined(security={"environment": "development"})["environment"].status == "warn"
    assert examined()["environment"].status == "ok"


def test_secrets_that_everybody_on_the_machine_reads(examined: Doctor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / ".env"
    file.write_text(f"OPS_API_KEY={KEY}\nMAX_BACKUPS=3\n", encoding="utf-8")
    file.chmod(0o644)
    seen = examined()["secrets"]
    assert (seen.status, "OPS_API_KEY" in seen.seen, "MAX_BACKUPS" in seen.seen, KEY in seen.seen) == ("fail", True, False, False)
    file.chmod(0o640)
    assert examined()["secrets"].status == "ok"


def test_a_python_without_security_updates(tmp_path: Path) -> None:
    platform = build({"hub": {"home": str(tmp_path)}, "logs": {"console": False}}, environ={}, clock=FrozenClock(datetime(2040, 1, 1, tzinfo=UTC)))
    health = next(part for part in platform.parts if part.name == "health")
    assert health.examine is not None
    found = {one.name: one for one in health.examine(False)}
    platform.store.close()
    platform.ctx.local.close()
    assert (found["python"].status, found["migrations"].status) == ("warn", "fail")


def test_jobs_that_nobody_works_on(examined: Doctor, rooms_url: str, tmp_path: Path) -> None:
    assert examined(rooms_url)["workers"].status == "warn"  # and nothing waits
    platform = built(tmp_path / "other", rooms_url)
    insert(platform.store, [row("failed"), row("ready")])
    assert examined(rooms_url)["workers"].status == "fail"
    platform.start()
    try:
        platform.jobs.add_job("بريد", {}, queue="رسائل")
        platform.jobs.pause("رسائل")
        beside = examined(rooms_url)
    finally:
        platform.shutdown()
    assert beside["workers"].status == "ok"
    assert (beside["queues"].status, beside["failed_jobs"].status) == ("warn", "warn")
    assert "رسائل" in beside["queues"].seen


def test_a_look_that_breaks_is_a_finding_and_the_others_go_on(examined: Doctor, tmp_path: Path) -> None:
    platform = built(tmp_path / "broken")

    def breaks(_deep: bool) -> Iterator[Finding]:
        yield Finding("first", "ok", "seen")
        raise RuntimeError("كسر")

    platform.ctx.add(Part(name="broken", service=None, examine=breaks))
    platform.ctx.add(Part(name="last", service=None, examine=lambda _: [Finding("last", "ok", "seen")]))
    found = {one.name: one for one in platform.examine()}
    platform.store.close()
    platform.ctx.local.close()
    assert (found["first"].status, found["broken"].status, found["last"].status) == ("ok", "fail", "ok")
    assert "RuntimeError: كسر" in found["broken"].seen


def test_a_database_that_is_away_is_told_and_nothing_stops(tmp_path: Path) -> None:
    platform = built(tmp_path / "away", f"postgresql://nobody@/away?host={tmp_path}")
    found = {one.name: one for one in platform.examine()}
    platform.store.close()
    platform.ctx.local.close()
    assert (found["store"].status, "is the server running" in found["store"].mend) == ("fail", True)
    assert found["python"].status == "ok"
    with pytest.raises(StoreUnavailableError):
        platform.store.ping()


def test_the_command_starts_and_migrates_nothing(tmp_path: Path) -> None:
    platform = built(tmp_path / "home")
    app = command_line("rakiza", "", lambda: platform)
    told = CliRunner().invoke(app, ["doctor"])
    assert told.exit_code == 1
    assert "fail  migrations" in told.output
    assert "-> read the first finding that fails" in told.output
    as_json = json.loads(CliRunner().invoke(app, ["doctor", "--json", "--deep"]).output)
    assert {"sqlite_pages", "migrations", "python"} <= {one["name"] for one in as_json}
    assert set(as_json[0]) == {"name", "status", "seen", "mend"}
    assert sa.inspect(sa.create_engine(platform.store.url, poolclass=sa.NullPool)).get_table_names() == []
