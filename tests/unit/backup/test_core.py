"""Names, retention and progress: pure decisions, against a naive model."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rakiza.backup._backends import Undoable, outdated
from rakiza.backup._core import (
    FUTURE,
    NAME,
    BackupInfo,
    Progress,
    RetentionPolicy,
    archive_of,
    checked_name,
    checked_prefix,
    name_of,
    periods,
    surplus,
)  # fmt: skip

NOW = datetime(2026, 1, 4, 12, tzinfo=UTC)
KINDS = ("db", "db.zst", "dump", "dump.zst", "sql", "sql.gz")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("prefix", ["backup", "B", "a-b_c", "before_restore", "9", "x" * 64])
def test_names_are_read_as_they_were_made(prefix: str, kind: str) -> None:
    at = datetime(2025, 11, 6, 18, 30, 45, tzinfo=timezone(timedelta(hours=3)))
    name = name_of(prefix, at, kind, [])
    assert name == f"{prefix}_20251106_153045.{kind}"
    found = checked_name(name)
    assert (found["prefix"], found["at"], found["kind"]) == (prefix, "20251106_153045", kind)


ODD = (
    "", ".", "..", "/", "backup", "backup_20251106_153045",
    "backup_20251106_153045.db\n", "\nbackup_20251106_153045.db", "backup_20251106_153045.db\0",
    "../backup_20251106_153045.db", "a/backup_20251106_153045.db", "a\\backup_20251106_153045.db", "/etc/backup_20251106_153045.db",
    "نسخة_20251106_153045.db", "backup_٢٠٢٥١١٠٦_١٥٣٠٤٥.db", "backup_20251106_153045.db.json", ".tmp-backup_20251106_153045.db", "_20251106_153045.db",
    "backup_20251106_153045.exe", "backup_20251106_153045.DB", "backup_20251106_153045 .db", "backup_20251106_153045_1234.db",
    "x" * 65 + "_20251106_153045.db", "backup_20251106_15304５.db", "-backup_20251106_153045.db",
    "backup_20251106_153045.files.tar.zst", "backup_20251106_153045.files.tar.zst.age",
    "backup_20251106_153045.age", "backup_20251106_153045.db.age.age", "backup_20251106_153045.db.gz.age",
    "backup_20251106_15304５.db", "-backup_20251106_153045.db",
)  # fmt: skip


@pytest.mark.parametrize("name", ODD)
def test_what_is_no_name_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="is no name of a backup"):
        checked_name(name)


@pytest.mark.parametrize("value", [None, 7, b"backup_20251106_153045.db", ["x"]])
def test_what_is_no_text_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="is no name"):
        checked_name(value)  # type: ignore[arg-type]


@given(st.text())
@example("a\n")
@example("ة")
@example("a/..")
def test_a_prefix_is_a_plain_name_or_is_refused(prefix: str) -> None:
    plain = 1 <= len(prefix) <= 64 and prefix.isascii() and prefix[0].isalnum() and all(letter.isalnum() or letter in "-_" for letter in prefix)
    if plain:
        assert NAME.match(name_of(prefix, NOW, "db", []))
    else:
        with pytest.raises(ValueError, match="name_prefix"):
            checked_prefix(prefix)


@given(st.integers(0, 40))
def test_a_second_one_of_the_same_second_gets_a_number(number: int) -> None:
    taken: list[str] = []
    for _ in range(number):
        taken.append(name_of("backup", NOW, "db.zst", taken))
    assert len(set(taken)) == number
    assert all(checked_name(name)["at"] == "20260104_120000" for name in taken)


@pytest.mark.parametrize("kind", KINDS)
def test_an_encrypted_one_has_a_name_of_its_own_and_no_other_shares_its_files(kind: str) -> None:
    name = name_of("backup", NOW, f"{kind}.age", ["backup_20260104_120000.sql.gz", "backup_20260104_120000.files.tar.zst", ".tmp-x", ".lock"])
    assert name == f"backup_20260104_120000_2.{kind}.age"
    assert checked_name(name)["kind"] == kind
    assert archive_of(name, ".age") == "backup_20260104_120000_2.files.tar.zst.age"


# -- retention


def info(at: datetime, number: int, *, safety: bool = False, pinned: bool = False, good: bool = True) -> BackupInfo:
    name = f"{'before_restore' if safety else 'backup'}_{at:%Y%m%d_%H%M%S}_{number}.db"
    return BackupInfo(
        filename=name, timestamp=at, size_bytes=1, database_type="sqlite", compressed=False, kind="db", pinned=pinned, safety=safety,
        verified_at=at if good else None,
    )  # fmt: skip


HOURS = st.one_of(st.integers(-3 * 8760, 48), st.integers(-200, 2))
BACKUPS = st.lists(st.tuples(HOURS, st.booleans(), st.booleans(), st.booleans()), max_size=40).map(
    lambda rows: [info(NOW + timedelta(hours=h), n, safety=s and n % 3 == 0, pinned=p and n % 4 == 0, good=g) for n, (h, s, p, g) in enumerate(rows)]
)
COUNTS = st.integers(0, 6)
POLICIES = st.builds(lambda **counts: counts, last=COUNTS, daily=COUNTS, weekly=COUNTS, monthly=COUNTS, yearly=COUNTS).filter(
    lambda found: any(found.values())
)


def naive(backups: list[BackupInfo], policy: RetentionPolicy) -> set[str]:
    """Return what goes: the words of the policy, one by one, from the oldest on."""
    past = [one for one in backups if one.timestamp <= NOW + FUTURE]
    kept = {one.filename for one in backups if one.pinned or one not in past}

    def newest(among: list[BackupInfo]) -> BackupInfo:
        return max(among, key=lambda one: (one.timestamp, one.filename))

    for safety, count in ((False, policy.last), (True, max(1, policy.last))):
        left = [one for one in past if one.safety is safety]
        for _ in range(min(count, len(left))):
            kept.add(newest(left).filename)
            left.remove(newest(left))
    plain = [one for one in past if not one.safety]
    for period in ("daily", "weekly", "monthly", "yearly"):
        groups: dict[str, list[BackupInfo]] = {}
        for one in plain:
            groups.setdefault(periods(one.timestamp)[period], []).append(one)
        champions = sorted((newest(group) for group in groups.values()), key=lambda one: one.timestamp)
        kept |= {one.filename for one in champions[len(champions) - min(getattr(policy, period), len(champions)) :]}
    if good := [one for one in plain if one.verified_at is not None] or plain:
        kept.add(newest(good).filename)
    return {one.filename for one in backups} - kept


@given(BACKUPS, POLICIES)
def test_what_goes_is_what_the_model_says(backups: list[BackupInfo], counts: dict[str, int]) -> None:
    policy = RetentionPolicy(**counts)
    gone = surplus(backups, policy, NOW)
    assert set(gone) == naive(backups, policy)
    assert len(gone) == len(set(gone))
    times = {one.filename: one.timestamp for one in backups}
    assert [times[name] for name in gone] == sorted(times[name] for name in gone)


@given(BACKUPS, POLICIES, st.randoms())
def test_what_may_never_go_stays(backups: list[BackupInfo], counts: dict[str, int], chance: object) -> None:
    shuffled = list(backups)
    chance.shuffle(shuffled)  # type: ignore[attr-defined]
    policy = RetentionPolicy(**counts)
    gone = surplus(shuffled, policy, NOW)
    assert gone == surplus(backups, policy, NOW)
    left = [one for one in backups if one.filename not in gone]
    assert not [one for one in backups if one.filename in gone and (one.pinned or one.timestamp > NOW + FUTURE)]
    past = [one for one in backups if not one.safety and one.timestamp <= NOW + FUTURE]
    for wanted in (past, [one for one in past if one.verified_at is not None]):
        assert not wanted or any(one in left for one in wanted)
    assert surplus(left, policy, NOW) == []


@given(BACKUPS, POLICIES)
def test_one_dated_in_the_future_pushes_nothing_out(backups: list[BackupInfo], counts: dict[str, int]) -> None:
    policy = RetentionPolicy(**counts)
    future = [info(NOW + timedelta(days=400 + n), 900 + n) for n in range(3)]
    assert surplus([*backups, *future], policy, NOW) == surplus(backups, policy, NOW)


@given(st.lists(st.integers(-200, 48), max_size=12), st.integers(1, 4))
def test_of_what_restores_put_aside_the_newest_stay_and_all_of_them_for_a_day(hours: list[int], keep: int) -> None:
    found = [Undoable(f"نوفل_{number}", NOW + timedelta(hours=hour)) for number, hour in enumerate(hours)]
    gone = set(outdated(found, keep, NOW))
    past = [one for one in found if one.at <= NOW]
    for one in found:
        newer = sum((other.at, other.filename) > (one.at, one.filename) for other in past)
        assert (one.filename in gone) is (one in past and newer >= keep and one.at < NOW - timedelta(hours=24))


@pytest.mark.parametrize("wrong", [{"last": 0}, {"last": -1}, {"last": 3, "daily": -1}, {"last": 0, "yearly": 0}])
def test_a_policy_that_keeps_nothing_is_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="keeps at least one"):
        RetentionPolicy(**wrong)


def test_days_are_those_of_utc() -> None:
    at = datetime(2026, 1, 1, 1, 30, tzinfo=timezone(timedelta(hours=3)))
    assert periods(at) == {"daily": "2025-12-31", "weekly": "2026-1", "monthly": "2025-12", "yearly": "2025"}


@given(st.integers(0, 10**13), st.integers(0, 10**13), st.floats(0, 1e7))
def test_progress_is_a_share_and_a_wait(done: int, total: int, seconds: float) -> None:
    found = Progress(step="copy", done_bytes=done, total_bytes=total, seconds=seconds)
    assert (found.percent is None) is (total == 0)
    assert found.percent is None or 0 <= found.percent <= 100
    assert found.seconds_left is None or found.seconds_left >= 0
    assert (found.seconds_left is not None) is (total > 0 and done > 0 and seconds > 0)
