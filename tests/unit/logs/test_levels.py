"""Levels changed while the application runs, for a while and for all processes; shares of noisy loggers."""

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from rakiza.logs import Logs, LogSettings, _levels
from rakiza.logs._levels import MAX_CHANGED


class Clock:
    """A clock that goes when told."""

    def __init__(self) -> None:
        self.at = 1000.0

    def monotonic(self) -> float:
        return self.at


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(_levels, "SYSTEM_CLOCK", made)
    return made


@pytest.fixture
def logs(tmp_path: Path, clock: Clock) -> Iterator[Logs]:
    made = Logs("x", tmp_path / "logs", LogSettings(console=False))
    made.start()
    yield made
    made.stop()
    for name in ("site", "site.crane", "other"):
        logging.getLogger(name).setLevel(logging.NOTSET)


def text(logs: Logs, kind: str) -> str:
    path = logs.path(kind)
    return path.read_text() if path.exists() else ""


def test_a_changed_level_ends_by_itself(logs: Logs, clock: Clock) -> None:
    crane = logging.getLogger("site.crane")
    crane.debug("قبل")
    logs.set_level("site", "debug", 600)
    crane.debug("أثناء")
    logging.getLogger("other").debug("آخر")
    clock.at += 599
    logs.tick()
    crane.debug("ما زال")
    clock.at += 2
    logs.tick()
    crane.debug("بعد")
    assert logging.getLogger("site").level == logging.NOTSET
    found = text(logs, "debug")
    assert "أثناء" in found
    assert "ما زال" in found
    assert not {word for word in ("قبل", "بعد", "آخر") if word in found}
    assert "أثناء" not in text(logs, "app"), "the application's log holds INFO and above"


def test_a_level_is_given_back_as_it_was(logs: Logs) -> None:
    logging.getLogger("site").setLevel(logging.ERROR)
    logs.set_level("site", "INFO", 60)
    logs.set_level("site", "DEBUG", 60)
    assert logging.getLogger("site").level == logging.DEBUG
    assert logs.reset_level("site")
    assert not logs.reset_level("site")
    assert logging.getLogger("site").level == logging.ERROR


def test_a_level_may_be_raised_too(logs: Logs) -> None:
    logs.set_level("site", "ERROR", 60)
    logging.getLogger("site").warning("صامت")
    assert "صامت" not in text(logs, "app")


def test_another_process_takes_a_change_over_and_its_end(logs: Logs, clock: Clock) -> None:
    other = _levels.Levels(logging.INFO, logs.folder / ".x_levels.json", {})
    logs.set_level("site", "DEBUG", 600)
    other.tick()
    assert other.changed == logs.levels.changed
    other.change("other", logging.DEBUG, 60)
    logs.tick()
    assert set(logs.levels.changed) == {"site", "other"}
    logs.reset_level("site")
    other.tick()
    assert set(other.changed) == {"other"}
    clock.at += 61
    other.tick()
    assert other.changed == {}


def test_a_start_keeps_what_is_not_over_and_forgets_what_a_restart_of_the_machine_left(logs: Logs, clock: Clock) -> None:
    logs.set_level("site", "DEBUG", 600)
    logs.stop()
    assert logging.getLogger("site").level == logging.NOTSET
    logs.start()
    assert logging.getLogger("site").level == logging.DEBUG
    again = _levels.Levels(logging.INFO, logs.folder / ".x_levels.json", {})
    clock.at = 1e9
    again.tick()
    assert again.changed == {}
    clock.at = -1e9
    again._seen = 0
    again.tick()
    assert again.changed == {}


def test_what_is_out_of_bounds_is_refused(logs: Logs) -> None:
    for level, seconds in (("LOUD", 60), ("DEBUG", 0), ("DEBUG", 1e9), ("DEBUG", float("nan"))):
        with pytest.raises(ValueError, match=r"no level|at most"):
            logs.set_level("site", level, seconds)
    for number in range(MAX_CHANGED):
        logs.set_level(f"many.{number}", "INFO", 60)
    with pytest.raises(ValueError, match="reset one first"):
        logs.set_level("one.more", "INFO", 60)
    with pytest.raises(ValueError, match="from 0 to 1"):
        logs.sample("site", 2)


def test_a_broken_file_of_levels_changes_nothing(logs: Logs) -> None:
    logs.folder.mkdir(exist_ok=True)
    (logs.folder / ".x_levels.json").write_text("{half")
    logs.tick()
    logs.set_level("site", "DEBUG", 60)
    assert set(logs.levels.changed) == {"site"}


def test_a_noisy_logger_keeps_its_share_and_every_warning(logs: Logs) -> None:
    logs.sample("site", 0.1)
    logs.sample("site.crane", 1)
    for _ in range(1000):
        logging.getLogger("site.mixer").info("ضجيج")
    for _ in range(100):
        logging.getLogger("site.mixer").warning("تنبيه")
        logging.getLogger("site.crane").info("رافعة")
    assert 40 < text(logs, "app").count("ضجيج") < 200
    assert (text(logs, "app").count("تنبيه"), text(logs, "app").count("رافعة")) == (100, 100)


def test_shares_may_be_set(tmp_path: Path) -> None:
    assert LogSettings(sampling=("sqlalchemy.engine=0.1",)).ratios() == {"sqlalchemy.engine": 0.1}
    for wrong in ({"sampling": ("sqlalchemy",)}, {"sampling": ("a=b",)}, {"redact_patterns": ("(",)}):
        with pytest.raises(ValueError, match=r"sampling|redact_patterns"):
            LogSettings(**wrong)
