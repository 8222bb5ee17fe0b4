"""Install the peers' libraries into a place of their own, on first use and when their pins change."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

PEERS = Path(__file__).parent / "peers"
NODE_FOLDER = PEERS / "node"
ENVIRONMENT = PEERS / ".venv"


class MissingToolError(Exception):
    """Say which program is absent and how it is installed."""


def peer_python() -> Path:
    """Return the interpreter that holds the Python peers."""
    return ENVIRONMENT / "bin" / "python"


def peer_packages() -> Path:
    """Return the folder of the Python peers' packages."""
    return ENVIRONMENT / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"


def require(*programs: str) -> None:
    """Raise MissingToolError when a program is not on the path."""
    packages = {"taskset": "util-linux", "node": "nodejs (20 or newer)", "npm": "npm"}
    for program in programs:
        if shutil.which(program) is None:
            raise MissingToolError(f"`{program}` was not found: install the system package {packages.get(program, program)}")


def install_python_peers() -> None:
    """Make the virtual environment of the Python peers when it is missing or older than its pins."""
    pins = PEERS / "requirements.txt"
    stamp = ENVIRONMENT / f".{_digest(pins)}"
    if stamp.exists():
        return
    _say("installing the Python peers (about a minute, once) ...")
    shutil.rmtree(ENVIRONMENT, ignore_errors=True)
    _run([sys.executable, "-m", "venv", str(ENVIRONMENT)])
    _install(pins)
    stamp.touch()


def install_node_peers() -> None:
    """Install the npm peers exactly as locked when they are missing or older than their lock."""
    modules = NODE_FOLDER / "node_modules"
    stamp = modules / f".{_digest(NODE_FOLDER / 'package-lock.json')}"
    if stamp.exists():
        return
    require("node", "npm")
    _say("installing the npm peers (about ten seconds, once) ...")
    _run(["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", str(NODE_FOLDER)])
    stamp.touch()


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def _install(pins: Path) -> None:
    """Run pip and count the packages it takes up; its whole output is shown only when it fails."""
    total, done, lines = len(pins.read_text().splitlines()), 0, []
    command = [str(peer_python()), "-m", "pip", "install", "--disable-pip-version-check", "--no-deps", "-r", str(pins)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as pip:
        for line in pip.stdout or ():
            lines.append(line)
            done += "(from -r " in line
            if sys.stderr.isatty():
                print(f"\r  {done} of {total} packages", end="", file=sys.stderr, flush=True)
    _say(f"\r  {done} of {total} packages")
    if pip.returncode:
        raise MissingToolError("".join(lines[-20:]) + f"pip failed with {pip.returncode}")


def _run(command: list[str]) -> None:
    result = subprocess.run(command, stdout=sys.stderr, check=False)
    if result.returncode:
        raise MissingToolError(f"`{' '.join(command)}` failed with {result.returncode}")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
