"""What is installed is little, locked, and names no place it must come from."""

import json
import re
import tomllib
from importlib.metadata import distribution, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

BASE_PACKAGES = 25
PINNED = re.compile(r"^(?P<name>[a-z0-9][a-z0-9.-]*)(\[[a-z0-9,-]+\])?==(?P<version>[^ ;\\]+)", re.MULTILINE)
RUN_EXTRAS = ("erp", "redis", "cli", "events", "jobs", "postgres", "security", "server")
LOCKS = ["run", "dev", "build", "node"]


def walk(name: str, extra: str = "") -> set[str]:
    """Return the packages that come with one, by the installed metadata and this machine's markers."""
    found: set[str] = set()
    todo = [(name, extra)]
    done = set(todo)
    while todo:
        name, extra = todo.pop()
        for requirement in map(Requirement, requires(name) or []):
            if requirement.marker and not requirement.marker.evaluate({"extra": extra}):
                continue
            found.add(canonicalize_name(requirement.name))
            wanted = {(requirement.name, each) for each in ["", *requirement.extras]}
            todo += wanted - done
            done |= wanted
    return found


def test_the_base_install_is_small() -> None:
    found = walk("rakiza") | {"rakiza"}
    assert {"sqlalchemy", "msgspec", "alembic"} <= found
    assert len(found) <= BASE_PACKAGES, sorted(found)


def test_every_extra_comes_from_known_packages_only() -> None:
    assert "litestar" in walk("rakiza", "erp")
    assert "litestar" not in walk("rakiza")


def lock(root: Path, name: str) -> str:
    return (root / "requirements" / f"{name}.txt").read_text()


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_pins_and_hashes_everything_and_names_no_place(root: Path, name: str) -> None:
    text = lock(root, name)
    for block in re.split(r"\n(?=\S)", text.strip()):
        assert PINNED.match(block), block
        assert "--hash=sha256:" in block
    assert not re.search(r"://|--(extra-)?index|--find-links|file:", text)


def test_the_locks_answer_the_declared_dependencies(root: Path) -> None:
    project = tomllib.loads((root / "pyproject.toml").read_text())
    extras = project["project"]["optional-dependencies"]
    run = [*project["project"]["dependencies"], *(line for extra in RUN_EXTRAS for line in extras[extra])]
    assert_answered(lock(root, "run"), run)
    assert_answered(lock(root, "dev"), [*run, *project["dependency-groups"]["dev"]])
    assert_answered(lock(root, "build"), project["build-system"]["requires"])


def assert_answered(text: str, declared: list[str]) -> None:
    pinned = {canonicalize_name(match["name"]): Version(match["version"]) for match in PINNED.finditer(text)}
    assert pinned
    for requirement in map(Requirement, declared):
        if requirement.name != "rakiza":
            assert requirement.name in pinned, f"{requirement} is not locked: run `make lock`"
            assert pinned[canonicalize_name(requirement.name)] in requirement.specifier, f"{requirement} is locked otherwise: run `make lock`"


def test_the_two_locks_agree(root: Path) -> None:
    run, dev = ({match["name"]: match["version"] for match in PINNED.finditer(lock(root, name))} for name in ("run", "dev"))
    assert {name: (version, dev.get(name)) for name, version in run.items() if dev.get(name) != version} == {}


def test_the_lock_of_the_interface_names_no_place(root: Path) -> None:
    if not (root / "ui").exists():
        pytest.skip("the interface is not part of this tree")
    packages = json.loads((root / "ui/package-lock.json").read_text())["packages"]
    assert len(packages) >= 10
    assert [name for name, package in packages.items() if "resolved" in package] == []
    assert [name for name, package in packages.items() if name and "integrity" not in package] == []


def test_the_package_is_typed_and_brings_its_licence() -> None:
    files = [str(file) for file in distribution("rakiza").files or []]
    assert any(file.endswith("LICENSE") for file in files)
