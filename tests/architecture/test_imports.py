"""Who may import whom, beyond the floors that `.importlinter` states."""

import ast
import sys
from collections.abc import Iterator

import grimp
import pytest

OURS = {"rakiza", "noufal"}
ONE_FILE_EACH = {
    "aiohttp", "argon2", "cryptography", "granian", "httpx", "lxml", "obstore", "psycopg", "pwdlib", "pyrage", "python_calamine", "redis",
    "sentry_sdk", "uvicorn", "xlsxwriter",
}  # fmt: skip
LATE_BINDING = {"rakiza._kernel.attach", "rakiza.cli", "rakiza.hub", "rakiza.jobs._child"}
TOP_FLOOR = {"rakiza.cli", "rakiza.serve", "rakiza.testing"}


def imports(graph: grimp.ImportGraph) -> Iterator[tuple[str, str]]:
    for importer in graph.modules:
        for imported in graph.find_modules_directly_imported_by(importer):
            yield importer, imported


def owner(module: str) -> str | None:
    """Return the package a private module belongs to (`a.b` for `a.b._c.d`), or none; `rakiza._kernel` is open to all."""
    parts = module.split(".")
    first = next((index for index, part in enumerate(parts) if part.startswith("_") and not part.startswith("__")), None)
    return None if first is None or parts[0] not in OURS or parts[:2] == ["rakiza", "_kernel"] else ".".join(parts[:first])


def inside(module: str, package: str) -> bool:
    return module == package or module.startswith(package + ".")


def room(module: str) -> str:
    return ".".join(module.split(".")[:2])


def test_no_room_imports_the_private_modules_of_another(full_graph: grimp.ImportGraph) -> None:
    seen = list(imports(full_graph))
    private = [(importer, imported, package) for importer, imported in seen if (package := owner(imported))]
    assert len(private) >= 20
    assert sorted(f"{importer} -> {imported}" for importer, imported, package in private if not inside(importer, package)) == []


def test_no_room_imports_the_private_names_of_another(sources: list) -> None:
    wrong = [
        f"{source.place}:{node.lineno} imports {alias.name} from {node.module}"
        for source in sources
        for node in source.nodes
        if isinstance(node, ast.ImportFrom) and not node.level and node.module and node.module.split(".")[0] in OURS
        for alias in node.names
        if alias.name.startswith("_") and not alias.name.startswith("__") and alias.name != "_kernel" and room(node.module) != source.room
    ]
    assert wrong == []


def test_no_module_imports_itself_in_a_circle(graph: grimp.ImportGraph) -> None:
    inner = graph.modules - OURS  # the two front doors give their few names late
    own = {importer: graph.find_modules_directly_imported_by(importer) & inner for importer in inner if importer.split(".")[0] in OURS}
    assert sum(map(len, own.values())) >= 50
    assert circles(own) == []


@pytest.mark.parametrize("package", sorted(OURS))
def test_no_room_goes_round_by_the_front_door(sources: list, package: str) -> None:
    taken = {
        alias.name
        for source in sources
        if source.module.startswith(package + ".") and source.module not in TOP_FLOOR
        for node in source.nodes
        if isinstance(node, ast.ImportFrom) and not node.level and node.module == package
        for alias in node.names
    }
    modules = {source.module for source in sources}
    assert sorted(name for name in taken if not name.startswith("__") and f"{package}.{name}" not in modules) == []


def test_a_circle_would_be_found() -> None:
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"a"}}) == [["b", "c"]]


def circles(edges: dict[str, set[str]]) -> list[list[str]]:
    """Peel off what imports nothing that is left or is imported by nothing that is left: the rest stands in circles or between two."""
    left = {node: set(targets) for node, targets in edges.items()}
    while True:
        targets = set().union(*left.values()) if left else set()
        peeled = {node: {t for t in out if t in left} for node, out in left.items() if out & left.keys() and node in targets}
        if peeled.keys() == left.keys():
            return [sorted(left)] if left else []
        left = peeled


def test_the_kernel_needs_only_the_standard_library_and_msgspec(graph: grimp.ImportGraph) -> None:
    kernel = graph.find_descendants("rakiza._kernel") | {"rakiza._kernel"}
    outside = {name for module in kernel for name in graph.find_modules_directly_imported_by(module)} - kernel
    assert "msgspec" in outside
    assert {name for name in outside if name.split(".")[0] not in sys.stdlib_module_names} == {"msgspec"}


@pytest.mark.parametrize("package", sorted(OURS))
def test_a_heavy_package_is_imported_in_one_file(graph: grimp.ImportGraph, package: str) -> None:
    users = {
        heavy: sorted(module for module in graph.find_modules_that_directly_import(heavy) if module.startswith(package + "."))
        for heavy in ONE_FILE_EACH
        if heavy in graph.modules
    }
    assert users
    assert {heavy: where for heavy, where in users.items() if len(where) > 1} == {}


def test_imports_by_name_stand_only_where_late_binding_is_meant(sources: list) -> None:
    users = {source.module for source in sources if any(names_import_module(node) for node in source.nodes)}
    assert "rakiza._kernel.attach" in users
    assert users <= LATE_BINDING


def names_import_module(node: ast.AST) -> bool:
    match node:
        case ast.Attribute(attr="import_module" | "resolve_name") | ast.Name(id="__import__") | ast.alias(name="import_module" | "resolve_name"):
            return True
    return False


