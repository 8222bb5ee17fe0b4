"""Every Python block of the documentation and every example in the door of a room runs as it stands."""

import ast
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from servers import Child

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
DOORS = [door for name in ("rakiza", "noufal") for door in sorted((ROOT / "src" / name).glob("*/__init__.py")) if door.parent.name != "migrations"]
FENCE = re.compile(r"^```python(?: file=(?P<file>\S+))?\n(?P<code>.*?)^```", re.MULTILINE | re.DOTALL)
RUN = """
import os, runpy, sys, warnings
warnings.simplefilter('error')
sys.argv = sys.argv[1:]
sys.path.insert(0, os.getcwd())
runpy.run_path(sys.argv[0], run_name='__main__')
"""
STOP = """
from rakiza import Platform as _Platform
for _found in [one for one in list(globals().values()) if isinstance(one, _Platform)]:
    _found.shutdown()
    _found.store.close()
"""


def blocks(page: Path) -> list[str]:
    """Return the Python blocks of a page; those that are no file follow each other like one program."""
    return [match["code"] for match in FENCE.finditer(page.read_text(encoding="utf-8")) if not match["file"]]


def files(page: Path) -> dict[str, str]:
    """Return the blocks of a page that are files of their own (`python file=PATH`)."""
    return {match["file"]: match["code"] for match in FENCE.finditer(page.read_text(encoding="utf-8")) if match["file"]}


def door_example(door: Path) -> str | None:
    """Return the first indented block of a door's docstring."""
    lines = (ast.get_docstring(ast.parse(door.read_text(encoding="utf-8")), clean=False) or "").splitlines()[1:]
    return textwrap.dedent("\n".join(_first_block(lines))).strip() or None


def _first_block(lines: list[str]) -> Iterator[str]:
    started = False
    for line in lines:
        if line.startswith("    "):
            started = True
            yield line
        elif started and line.strip():
            return
        elif started:
            yield ""


def run(code: str, folder: Path) -> None:
    """Run `code` in its own process and folder; warnings are errors."""
    script = folder / "block.py"
    script.write_text(code + STOP, encoding="utf-8")
    with Child(RUN, script.name, cwd=folder) as child:
        lines = child.finish()
        assert child.process.returncode == 0, "\n".join(lines)


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page) or files(page)], ids=lambda page: str(page.relative_to(ROOT)))
def test_blocks_of_a_page_run(page: Path, tmp_path: Path) -> None:
    for name, code in files(page).items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(code, encoding="utf-8")
    programs = [f"from {name.removesuffix('.py')} import *" for name in files(page) if "/" not in name]
    run("\n".join([*programs, *blocks(page)]), tmp_path)


@pytest.mark.parametrize("door", DOORS, ids=lambda door: f"{door.parents[1].name}.{door.parent.name}")
def test_example_in_a_door_runs(door: Path, tmp_path: Path) -> None:
    code = door_example(door)
    assert code is not None, f"{door} has no example"
    run(code, tmp_path)


def test_there_is_something_to_run() -> None:
    assert len(DOORS) >= 8
    assert blocks(ROOT / "README.md")
    assert blocks(ROOT / "README.md") == blocks(ROOT / "README.ar.md")
