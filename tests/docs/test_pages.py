"""The pages hold together: links lead somewhere, both READMEs say the same, commands exist."""

import re
from pathlib import Path

import pytest
import typer

from noufal.cli import _noufal
from rakiza.cli import _rakiza

ROOT = Path(__file__).parents[2]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md")), ROOT / "benchmarks" / "README.md", ROOT / "ui" / "README.md"]
LINK = re.compile(r"\[[^\]]*\]\((?P<target>[^)\s]+)\)")
FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(r"(?:`|bin/)(?P<program>noufal|rakiza) (?P<words>[a-z][a-z-]+(?: [a-z][a-z-]+)?)")


def names(app: typer.Typer) -> set[str]:
    """Return every command of a command line, those of groups with their group."""
    found = {str(one.name) for one in app.registered_commands}
    for group in app.registered_groups:
        found |= {f"{group.name} {one.name}" for one in group.typer_instance.registered_commands} if group.typer_instance else set()
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    targets = [match["target"].partition("#")[0] for match in LINK.finditer(text)]
    missing = [target for target in targets if target and "://" not in target and not (page.parent / target).exists()]
    assert not missing


def test_both_readmes_have_the_same_parts() -> None:
    english, arabic = ((ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "README.ar.md"))
    for pattern in (r"^#+ ", r"^```.*$", r"^\|", r"^- ", r"^<!-- .*$"):
        assert len(re.findall(pattern, english, re.MULTILINE)) == len(re.findall(pattern, arabic, re.MULTILINE)), pattern
    assert sorted(set(re.findall(r"`([A-Z]+_[A-Z_]+)", english))) == sorted(set(re.findall(r"`([A-Z]+_[A-Z_]+)", arabic)))
    assert FENCE.findall(english) == FENCE.findall(arabic)
    assert {m["target"] for m in LINK.finditer(english)} - {"README.ar.md"} == {m["target"] for m in LINK.finditer(arabic)} - {"README.md"}


@pytest.fixture
def known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, set[str]]:
    """Return the commands of each program."""
    monkeypatch.chdir(tmp_path)
    return {"noufal": names(_noufal()), "rakiza": names(_rakiza())}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_exist(page: Path, known: dict[str, set[str]]) -> None:
    for match in COMMAND.finditer(page.read_text(encoding="utf-8")):
        commands, words = known[match["program"]], match["words"]
        assert words in commands or words.partition(" ")[0] in commands, match[0]


def test_commands_are_found() -> None:
    found = {match["words"] for match in COMMAND.finditer((ROOT / "README.md").read_text(encoding="utf-8"))}
    assert {"serve", "import-boq", "user create", "db upgrade", "health"} <= found
