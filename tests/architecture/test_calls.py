"""What no file of the house may call."""

import ast
import re
from collections.abc import Iterable, Iterator

import pytest

CLOCK = "rakiza._kernel.clock"
SETTINGS = "rakiza._kernel.settings"
BORDERS = {
    *("the request pass", "the job run", "the group commit", "the task supervisor", "observer hook", "shutdown", "foreign `__str__`"),
    *("handed to the flow", "handed to who waits"),
}

BANNED: dict[str, set[str]] = {
    "print": set(),
    "breakpoint": set(),
    "eval": set(),
    "exec": set(),
    "time.time": {CLOCK},
    "time.time_ns": {CLOCK},
    "datetime.now": {CLOCK},
    "datetime.utcnow": set(),
    "datetime.today": set(),
    "date.today": {CLOCK},
    "os.environ": {SETTINGS},
    "os.getenv": {SETTINGS},
    "os.system": set(),
}
BANNED_MODULES = {"pickle", "shelve", "marshal", "dill", "cloudpickle"}


def dotted(node: ast.AST) -> str:
    """Return `a.b` for a name or an attribute, at most its last two parts."""
    match node:
        case ast.Name(id=name):
            return name
        case ast.Attribute(value=ast.Name(id=first) | ast.Attribute(attr=first), attr=last):
            return f"{first}.{last}"
    return ""


def uses(nodes: Iterable[ast.AST]) -> Iterator[tuple[str, int]]:
    """Yield every banned name a file uses or imports, with its line."""
    for node in nodes:
        match node:
            case ast.Call(func=ast.Name(id=name)) if name in BANNED:
                yield name, node.lineno
            case ast.Attribute() if dotted(node) in BANNED:
                yield dotted(node), node.lineno
            case ast.ImportFrom(module="os" | "time" as module, names=names):
                yield from ((f"{module}.{alias.name}", node.lineno) for alias in names if f"{module}.{alias.name}" in BANNED)


def imported(nodes: Iterable[ast.AST]) -> Iterator[tuple[str, int]]:
    for node in nodes:
        match node:
            case ast.Import(names=names):
                yield from ((alias.name.partition(".")[0], node.lineno) for alias in names)
            case ast.ImportFrom(module=str(module), level=0):
                yield module.partition(".")[0], node.lineno


def test_banned_calls_stand_nowhere(sources: list) -> None:
    found = [(source, name, line) for source in sources for name, line in uses(source.nodes)]
    assert any(name.startswith(("os.", "time.")) for _, name, _ in found), "the clock and the settings were not seen"
    assert [f"{source.place}:{line} {name}" for source, name, line in found if source.module not in BANNED[name]] == []


@pytest.mark.parametrize(
    "text",
    [
        "print(1)",
        "time.time()",
        "datetime.now(UTC)",
        "datetime.datetime.now()",
        "os.environ['A']",
        "from os import environ",
        "from time import time",
        "eval('1')",
    ],
)
def test_a_banned_call_would_be_found(text: str) -> None:
    assert list(uses(ast.walk(ast.parse(text))))


def test_nothing_is_unpickled(sources: list) -> None:
    found = [(source, name, line) for source in sources for name, line in imported(source.nodes)]
    assert len(found) >= 100
    assert [f"{source.place}:{line} {name}" for source, name, line in found if name in BANNED_MODULES] == []


def test_no_middleware_that_costs_a_task_for_each_request(sources: list) -> None:
    assert [source.place for source in sources if any("BaseHTTPMiddleware" in line for line in source.lines)] == []


def test_everything_is_caught_only_at_the_borders(sources: list) -> None:
    marks = [(source, line) for source in sources for line in source.lines if "BLE001" in line]
    assert marks
    assert [f"{source.place}: {line.strip()}" for source, line in marks if line.partition("border: ")[2].strip() not in BORDERS] == []


def test_nothing_is_left_to_be_done(sources: list) -> None:
    mark = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")
    assert [f"{source.place}:{number}" for source in sources for number, line in enumerate(source.lines, 1) if mark.search(line)] == []


