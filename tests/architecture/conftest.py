"""The sources of the house, parsed once, and the graph of their imports."""

import ast
from dataclasses import dataclass, field
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Source:
    """One Python file: its place, module name, lines, syntax tree and every node of that."""

    path: Path
    module: str
    lines: list[str]
    tree: ast.Module
    nodes: list[ast.AST] = field(repr=False)

    @property
    def room(self) -> str:
        """Return `rakiza.logs`, `noufal.boq`, or the package itself for a file that stands in no room."""
        return room_of(self.module)

    @property
    def place(self) -> str:
        """Return the path inside the repository."""
        return self.path.relative_to(ROOT).as_posix()

    @property
    def is_migration(self) -> bool:
        """Tell whether the file is a step of a migration."""
        return "migrations" in self.path.parent.parts


def room_of(module: str) -> str:
    """Return the room a module belongs to."""
    return ".".join(module.split(".")[:2])


def _read(path: Path) -> Source:
    inside = path.relative_to(ROOT / "src").with_suffix("").parts
    text = path.read_text()
    tree = ast.parse(text)
    return Source(path, ".".join(inside).removesuffix(".__init__"), text.splitlines(), tree, list(ast.walk(tree)))


@pytest.fixture(scope="session")
def root() -> Path:
    """Return the folder of the repository."""
    return ROOT


@pytest.fixture(scope="session")
def sources() -> list[Source]:
    """Return every Python file of the two packages."""
    found = [_read(path) for path in sorted((ROOT / "src").rglob("*.py"))]
    assert len(found) >= 50, "the tests of the architecture look at an empty house"
    return found


@pytest.fixture(scope="session")
def rooms(sources: list[Source]) -> list[Source]:
    """Return the doors (`__init__.py`) of all rooms."""
    doors = [source for source in sources if source.path.name == "__init__.py" and source.module.count(".") == 1 and not source.is_migration]
    doors = [door for door in doors if door.module != "noufal.migrations"]
    assert len(doors) >= 8, "hardly any room was found"
    return doors


@pytest.fixture(scope="session")
def graph() -> grimp.ImportGraph:
    """Return every import, those in functions and the external ones too, without those only for types."""
    return grimp.build_graph("rakiza", "noufal", include_external_packages=True, exclude_type_checking_imports=True, cache_dir=None)


@pytest.fixture(scope="session")
def full_graph() -> grimp.ImportGraph:
    """Return the same graph with the imports that are only for types."""
    return grimp.build_graph("rakiza", "noufal", include_external_packages=True, cache_dir=None)
