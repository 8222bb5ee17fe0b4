"""Back to the moment before a table was dropped, by the real pgBackRest with the configuration we print, taken as it stands."""

import re
import shlex
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

import servers
from rakiza import Platform, build
from rakiza._kernel import Finding
from rakiza.cli import command_line
from rakiza.store import Store

SHIM = '#!/bin/sh\n[ "$(id -u)" = 0 ] && exec {prefix} {program} "$@"\nexec {program} "$@"\n'


class Office:
    """One database on a server of its own, and what its administrator types."""

    def __init__(self, cluster: servers.Cluster, config: Path) -> None:
        self.cluster, self.config = cluster, config
        self.url = cluster.url("postgres")
        self._examined = self.platform()

    def platform(self) -> Platform:
        settings: dict[str, dict[str, object]] = {
            "hub": {"home": str(self.config.parent / "home"), "name": "shop"}, "logs": {"console": False},
            "store": {"database_url": self.url}, "backup": {"pitr": "pgbackrest", "pitr_config": self.config},
        }  # fmt: skip
        return build(settings, environ={})

    def typed(self, *words: str) -> str:
        done = CliRunner().invoke(command_line("rakiza", "", self.platform), list(words))
        assert done.exit_code == 0, (done.output, done.exception)
        return done.output

    def findings(self, *, deep: bool = False) -> dict[str, Finding]:
        backup = next(part for part in self._examined.parts if part.name == "backup")
        assert backup.examine is not None
        try:
            return {one.name: one for one in backup.examine(deep) if one.name.startswith("pitr")}
        finally:
            self._examined.store.close()

    def said(self, *, deep: bool = False) -> dict[str, str]:
        return {name.removeprefix("pitr_"): one.status for name, one in self.findings(deep=deep).items()}

    def execute(self, *statements: str) -> object:
        """Run statements and return what the last one says."""
        store, answer = Store(self.url), None
        with store.raw_connection() as connection:
            for statement in statements:
                cursor = connection.execute(statement)
                answer = cursor.fetchone()[0] if cursor.description else None
        store.close()
        return answer

    def eventually(self, statement: str) -> None:
        end = time.monotonic() + 60
        while not self.execute(statement) and time.monotonic() < end:
            time.sleep(0.2)
        assert self.execute(statement), statement

    def restart(self) -> None:
        self.cluster.stop()
        self.cluster.start()


@pytest.fixture
def office(pgbackrest: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Office]:
    cluster = servers.Cluster()
    repo, notes, locks, programs = (cluster.folder / name for name in ("repo", "notes", "locks", "bin"))
    cluster.run("mkdir", str(repo), str(notes), str(locks), str(programs))
    shim = programs / "pgbackrest"  # the user of the server types it, also when the tests belong to root
    shim.write_text(SHIM.format(prefix=shlex.join(servers.database_prefix()), program=pgbackrest))
    shim.chmod(0o755)
    monkeypatch.setenv("PATH", str(programs), prepend=":")
    for name, value in {"LOG_PATH": notes, "LOCK_PATH": locks, "ARCHIVE_TIMEOUT": 2}.items():
        monkeypatch.setenv(f"PGBACKREST_{name}", str(value))
    monkeypatch.setenv("PGBACKREST_REPO1_CIPHER_PASS", "سر-لا-يكتب-في-ملف")
    cluster.start()
    yield Office(cluster, cluster.folder / "pgbackrest.conf")
    cluster.stop()


def steps(text: str, last_word: str) -> list[str]:
    """Return the commands of the printed text that end with a word, as they stand."""
    return [line.removeprefix("#").strip() for line in text.splitlines() if line.startswith("#      ") and line.endswith(f" {last_word}")]


def test_back_to_the_moment_before_a_table_was_dropped(office: Office) -> None:
    # nothing is set up: each lack is told
    assert office.said() == {"archive": "fail", "program": "ok", "backups": "fail"}

    office.typed("backup", "pitr", "pgbackrest", "--repo", str(office.cluster.folder / "repo"), "--to", str(office.config))
    text = office.config.read_text(encoding="utf-8")
    assert "سر" not in text
    office.cluster.configure("\n".join(re.findall(r"^#      (\w+ = .*)$", text, re.MULTILINE)) + "\n")
    office.restart()

    # the archive is on, and there is no repository yet
    office.execute("create table invoice (name text)", "select pg_switch_wal()")
    office.eventually("select failed_count > 0 from pg_stat_archiver")
    seen = office.findings()
    assert (seen["pitr_archive"].status, seen["pitr_archived"].status, seen["pitr_backups"].status) == ("ok", "fail", "fail")
    assert "missing stanza" in seen["pitr_backups"].seen
    assert "stanza-create" in seen["pitr_backups"].mend

    for word in ("stanza-create", "check", "backup"):
        office.cluster.run("/bin/sh", "-c", steps(text, word)[0])
    assert set(office.said(deep=True).values()) == {"ok"}

    # a bad day, a second later at the least: the tool knows no smaller time of a backup's end
    office.execute("select pg_sleep(1.1)", "insert into invoice values ('فاتورة ١'), ('فاتورة ٢')")
    moment = office.execute("select now()")
    office.execute("drop table invoice", "select pg_switch_wal()")
    office.cluster.stop()
    restore = steps(text, "restore")[0]
    office.cluster.run("/bin/sh", "-c", re.sub(r"--target='[^']*'", f"--target='{moment}'", restore))
    office.cluster.start()
    office.eventually("select not pg_is_in_recovery()")
    office.eventually("select archived_count > 0 from pg_stat_archiver")
    assert office.execute("select string_agg(name, ',' order by name) from invoice") == "فاتورة ١,فاتورة ٢"

    # what was printed for afterwards: nobody works on what was done already
    assert "queues stand still" in office.typed("backup", "settle")
    assert set(office.said(deep=True).values()) == {"ok"}

    # a repository nobody may write
    archived = office.execute("select failed_count from pg_stat_archiver")
    office.cluster.run("chmod", "-R", "a-w", str(office.cluster.folder / "repo"))
    office.execute("create table later (n int)", "select pg_switch_wal()")
    office.eventually(f"select failed_count > {archived} from pg_stat_archiver")
    seen = office.findings(deep=True)
    assert (seen["pitr_archived"].status, seen["pitr_check"].status) == ("fail", "fail")
    assert "was not archived" in seen["pitr_check"].seen
    office.cluster.run("chmod", "-R", "u+w", str(office.cluster.folder / "repo"))

    # an archive command of somebody else
    office.execute("alter system set archive_command = '/bin/true'", "select pg_reload_conf()")
    office.eventually("select current_setting('archive_command') = '/bin/true'")
    seen = office.findings()
    assert (seen["pitr_archive"].status, "/bin/true" in seen["pitr_archive"].seen) == ("fail", True)
