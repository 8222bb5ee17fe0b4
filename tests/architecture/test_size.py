"""The house stays small enough to be read: ceilings for files, functions and rooms (DESIGN of the house, in CONTRIBUTING.md)."""

import ast
import statistics
from collections import Counter
from pathlib import Path

import pytest

FILE_LINES = 600
FUNCTION_LINES = 60
CENTRAL_IDEAS: set[str] = set()  # at most five, as `module` or `module.function`
ROOM_LINES = {
    "rakiza._kernel": 1395,
    "rakiza.errors": 580,
    "rakiza.logs": 1120,
    "rakiza.telemetry": 1175,
    "rakiza.store": 1550,
    "rakiza.bus": 530,
    "rakiza.resilience": 1600,
    "rakiza.outbound": 640,
    "rakiza.mail": 650,
    "rakiza.health": 450,
    "rakiza.monitoring": 905,
    "rakiza.caching": 2160,
    "rakiza.security": 1800,
    "rakiza.flags": 1100,
    "rakiza.events": 5000,
    "rakiza.jobs": 5100,
    "rakiza.backup": 5000,
    "rakiza.realtime": 1800,
    "rakiza.gateway": 1700,
    "rakiza.web": 1300,
    "rakiza.console": 900,
    "rakiza.testing": 500,
    "rakiza.hub + rakiza.cli": 900,
    "noufal": 7000,
}
PLATFORM_LINES = 31_500
UI_LINES = 15_000
UI_KINDS = {".ts", ".svelte", ".css", ".html", ".mjs", ".js"}


def written(lines: list[str]) -> int:
    """Count the lines that are not blank; docstrings and comments are in."""
    return sum(1 for line in lines if line.strip())


def functions(sources: list) -> dict[str, int]:
    return {
        f"{source.module}.{node.name}:{node.lineno}": (node.end_lineno or node.lineno) - node.lineno + 1
        for source in sources
        if not source.is_migration
        for node in source.nodes
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }


def test_no_file_is_long(sources: list) -> None:
    assert len(CENTRAL_IDEAS) <= 5
    assert {source.place: len(source.lines) for source in sources if len(source.lines) > FILE_LINES and source.module not in CENTRAL_IDEAS} == {}


def test_no_function_is_long(sources: list) -> None:
    found = functions(sources)
    assert len(found) >= 100
    assert {name: length for name, length in found.items() if length > FUNCTION_LINES and name.partition(":")[0] not in CENTRAL_IDEAS} == {}


def test_functions_are_short(sources: list) -> None:
    lengths = sorted(functions(sources).values())
    assert statistics.median(lengths) <= 9
    assert lengths[len(lengths) * 9 // 10] <= 30


def test_rooms_stay_under_their_ceilings(sources: list) -> None:
    sizes: Counter[str] = Counter()
    for source in sources:
        if not source.is_migration:
            sizes[named(source.room)] += written(source.lines)
    assert len(sizes) >= 8
    assert {room: f"{sizes[room]} lines, ceiling {limit}" for room, limit in ROOM_LINES.items() if sizes[room] > limit} == {}
    assert sum(size for room, size in sizes.items() if room.startswith("rakiza")) <= PLATFORM_LINES


def named(room: str) -> str:
    if room.startswith("noufal"):
        return "noufal"
    return "rakiza.hub + rakiza.cli" if room in {"rakiza.hub", "rakiza.cli"} else room


def test_every_room_has_a_ceiling(rooms: list) -> None:
    assert [door.module for door in rooms if named(door.module) not in ROOM_LINES] == []


def test_the_interface_stays_small(root: Path) -> None:
    ui = root / "ui"
    if not (ui / "package.json").exists():
        pytest.skip("the interface is not part of this tree")
    files = [path for path in ui.rglob("*") if path.suffix in UI_KINDS and "node_modules" not in path.parts]
    assert files
    assert sum(written(path.read_text().splitlines()) for path in files) <= UI_LINES
