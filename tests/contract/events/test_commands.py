"""The commands for the log and the audit trail, as an operator types them."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rakiza import Platform, build
from rakiza.errors import AppError, NotFoundError


@pytest.fixture
def platform(database_url: str, tmp_path: Path) -> Iterator[Platform]:
    settings = {"hub": {"home": str(tmp_path / "home")}, "logs": {"console": False}, "events": {"seal_seconds": 3600}}
    found = build({**settings, "store": {"database_url": database_url}})
    found.start()
    yield found
    found.shutdown()


def command(platform: Platform, name: str) -> Callable[..., None]:
    return next(one.build() for part in platform.parts for one in part.commands if one.name == name)


def test_only_who_is_known_is_erased(platform: Platform, capsys: pytest.CaptureFixture[str]) -> None:
    erase = command(platform, "audit erase")
    platform.audit.record("a", "CREATE", "user:1", {"email": "sara@example.com"}, user_id="u-7")
    with pytest.raises(NotFoundError) as unknown:  # `user:` was forgotten: nothing was erased, and nobody may believe it was
        erase("u-7", yes=True)
    assert unknown.value.hint == "a subject is written as the events have it, user:<id> for a user; did you mean 'user:u-7'?"
    with pytest.raises(NotFoundError):
        erase("user:u-8", yes=True)
    assert next(platform.audit.pages())[0].details == {"email": "sara@example.com"}
    erase("user:u-7", yes=True)
    assert capsys.readouterr().out == "the personal fields of user:u-7 are erased\n"
    erase("user:u-7", yes=True)
    assert capsys.readouterr().out == "the personal fields of user:u-7 were erased before\n"
    assert [one.action for page in platform.audit.pages() for one in page] == ["CREATE", "ERASE"]


def test_a_folder_that_cannot_be_written_is_one_clear_line(platform: Platform, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(AppError, match="cannot be written: Not a directory"):
        command(platform, "audit export")(tmp_path / "file" / "out")
    with pytest.raises(AppError, match="cannot be written: File exists"):
        command(platform, "audit export")(tmp_path / "file")


def test_replay_tells_where_projections_of_an_application_are_built_anew(platform: Platform) -> None:
    with pytest.raises(NotFoundError, match="'totals' is registered in this process") as error:
        command(platform, "events replay")("totals")
    assert "console" in str(error.value.hint)
    assert "rebuild_projection('totals')" in str(error.value.hint)
