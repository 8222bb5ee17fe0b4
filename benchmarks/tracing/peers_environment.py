"""Install the contrib instrumentors into a place of their own, on first use and when their pins change."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

PEERS = Path(__file__).parent / "peers"
ENVIRONMENT = PEERS / ".venv"


def load() -> None:
    """Make the contrib instrumentors importable beside the project's own OpenTelemetry, which they need and do not bring."""
    pins = PEERS / "requirements.txt"
    stamp = ENVIRONMENT / f".{hashlib.sha256(pins.read_bytes()).hexdigest()[:16]}"
    if not stamp.exists():
        print("installing the contrib instrumentors (some seconds, once) ...", file=sys.stderr, flush=True)
        shutil.rmtree(ENVIRONMENT, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", str(ENVIRONMENT)], check=True)
        pip = [str(ENVIRONMENT / "bin" / "python"), "-m", "pip", "install", "--disable-pip-version-check", "-q", "--no-deps", "-r", str(pins)]
        subprocess.run(pip, check=True, stdout=sys.stderr)
        stamp.touch()
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    sys.path.append(str(ENVIRONMENT / "lib" / version / "site-packages"))
